"""Quality columns measure what they say; each defect is rejected under its own name; wrong units are noticed."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.imaging.apertures import elliptical_radius
from skytrace.imaging.preprocessing import annulus_statistics
from skytrace.imaging.psf import MoffatPsf
from skytrace.imaging.quality import QualityOptions, check_flux_unit, cutout_quality, quality_flags
from skytrace.surveys.interface import CutoutBatch

SIGMA, SKY, FLUX = 0.01, 0.05, np.array([4.0, 16.0, 30.0])


@pytest.fixture
def batch():
    """Six Gaussian galaxies (4 px) of flux 4, 16, 30 nmgy on sky 0.05 with noise 0.01."""
    rng = np.random.default_rng(1)
    galaxy = np.exp(-0.5 * (elliptical_radius(101) / 4.0) ** 2) / (2 * np.pi * 16.0)
    image = (SKY + FLUX[:, None, None] * galaxy + rng.normal(0, SIGMA, (6, 3, 101, 101))).astype(np.float32)
    return CutoutBatch(
        galaxy_id=np.array([f"g{i}" for i in range(6)]),
        image=image,
        invvar=np.full(image.shape, SIGMA**-2, dtype=np.float32),
        maskbits=np.zeros((6, 101, 101), dtype=np.int32),
        psf=MoffatPsf(np.full((6, 3), 1.2)),
    )


def with_flux(table):
    return table.assign(**{f"flux_{band}": flux for band, flux in zip("grz", FLUX, strict=True)})


def test_columns_measure_background_and_brightness(batch):
    table = cutout_quality(batch)
    for band, flux in zip("grz", FLUX, strict=True):
        assert table[f"background_median_{band}"].mean() == pytest.approx(SKY, abs=5e-4)
        assert table[f"background_mad_{band}"].mean() == pytest.approx(0.6745 * SIGMA, rel=0.02)
        for radius in (4, 8, 12):
            enclosed = flux * (1 - np.exp(-0.5 * (radius / 4.0) ** 2))
            assert table[f"core_flux_{radius}_{band}"].mean() == pytest.approx(enclosed, rel=0.02)
        assert table[f"nan_fraction_{band}"].max() == 0.0
        expected = np.percentile(batch.image[:, "grz".index(band)].reshape(6, -1), [1, 50, 99], axis=1)
        got = table[[f"percentile_{percent}_{band}" for percent in (1, 50, 99)]].to_numpy().T
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    # one Gaussian in every band: no colour gradient beyond the noise of the annulus, 0.2 mag a galaxy
    assert abs(table["g_minus_r"].mean()) < 0.2
    # noise only about the profile: one background sigma; the core has structure, the annulus much less
    assert table["asymmetry_r"].mean() == pytest.approx(1.0, abs=0.1)
    assert (table["dog_core_r"] > 3 * table["dog_annulus_r"]).all()


def test_an_arc_shows_as_asymmetry_and_as_a_blue_annulus(batch):
    y, x = np.indices((101, 101)) - 50
    arc = np.exp(-0.5 * ((np.hypot(x, y) - 10) / 1.2) ** 2) * (np.abs(np.arctan2(y, x)) < 0.7)
    image = batch.image.copy()
    image[0] += (np.array([0.2, 0.15, 0.1])[:, None, None] * arc).astype(np.float32)
    table = cutout_quality(dataclasses.replace(batch, image=image))
    assert table["asymmetry_g"][0] > 3 * table["asymmetry_g"][1]
    assert table["g_minus_r"][0] < table["g_minus_r"][1] - 0.2
    assert table["annulus_4_16_g"][0] > table["annulus_4_16_g"][1]


def test_a_sound_cutout_is_accepted_and_each_defect_has_its_name(batch):
    image, invvar, maskbits = batch.image.copy(), batch.invvar.copy(), batch.maskbits.copy()
    image[1, 0, 50, 52] = np.nan
    invvar[2, 1, 50, 50] = 0.0
    invvar[3, 2, 30:33, 26:46] = 0.0  # 60 of 2500 pixels, far from the core
    invvar[4, 2] = 0.0
    invvar[5, 0][elliptical_radius(101) > 35] = 0.0
    maskbits[0, :10] = 1 << 3
    table = cutout_quality(dataclasses.replace(batch, image=image, invvar=invvar, maskbits=maskbits))
    flags = quality_flags(with_flux(table))
    assert flags["reasons"].tolist() == [
        "", "nan_core_g", "zero_invvar_core_r", "nan_centre_z", "band_missing_z", "no_background_g",
    ]  # fmt: skip
    assert flags["accepted"].tolist() == [True] + [False] * 5
    assert table["nan_fraction_centre_z"][3] == pytest.approx(60 / 2500)
    assert table.loc[0, ["saturated_fraction_g", "saturated_fraction_r"]].tolist() == pytest.approx([0.0, 10 / 101])
    assert table["edge_score_g"][5] > 0.4 > abs(table["edge_score_g"][0])


def test_every_column_agrees_with_its_plain_formula_on_masked_and_odd_planes(batch):
    """Against numpy, scipy and imaging.apertures, band by band; the compiled loops share no code with them."""
    from scipy.ndimage import gaussian_filter

    from skytrace.imaging.apertures import annulus_photometry, aperture_photometry

    rng = np.random.default_rng(5)
    image, invvar = batch.image.copy(), batch.invvar.copy()
    image[1][rng.random((3, 101, 101)) < 0.03] = np.nan
    invvar[2][rng.random((3, 101, 101)) < 0.3] = 0.0
    image[3] = np.float32(0.25)  # one value: every pixel in one bucket, and no background scale
    image[4] *= -1000.0
    invvar[5, 0] = 0.0
    invvar[5, 0, 50, 50:53] = 1.0
    image[5, 0, 50, 50:53] = [3.0, -1.0, 2.0]  # three pixels in all
    table = cutout_quality(dataclasses.replace(batch, image=image, invvar=invvar))
    good = np.isfinite(image) & (invvar > 0)
    median, scale = annulus_statistics(image, invvar)
    scale[scale == 0] = np.nan
    # the background that preprocessing subtracts, bit for bit
    known = np.where(np.isfinite(scale), median, np.nan)
    np.testing.assert_array_equal(table[[f"background_median_{band}" for band in "grz"]], known)
    np.testing.assert_array_equal(1.4826 * table[[f"background_mad_{band}" for band in "grz"]].to_numpy(), scale)
    above = np.where(good, image - median[..., None, None], np.nan).astype(np.float32)
    zeroed = np.nan_to_num(above).astype(np.float64)
    radius = elliptical_radius(101)
    ring_mean = np.full((6, 3, 17), np.nan)
    residual = np.full(image.shape, np.nan)
    for cutout, band, ring in np.ndindex(6, 3, 17):
        where = (np.floor(radius) == ring) & good[cutout, band]
        if where.any():
            ring_mean[cutout, band, ring] = above[cutout, band][where].mean(dtype=np.float64)
            residual[cutout, band][where] = above[cutout, band][where] - ring_mean[cutout, band, ring]
    difference = gaussian_filter(zeroed, 1.0, axes=(2, 3)) - gaussian_filter(zeroed, 2.0, axes=(2, 3))
    core, annulus = radius <= 8, (radius > 4) & (radius <= 16)
    expected = {
        "dog_core": (difference**2)[:, :, core].mean(axis=2) / scale**2,
        "dog_annulus": (difference**2)[:, :, annulus].mean(axis=2) / scale**2,
        **{f"annulus_{a}_{b}": annulus_photometry(above, invvar, inner_px=a, outer_px=b).mean_nmgy
           for a, b in ((4, 16), (16, 28))},
        **{f"core_flux_{r}": aperture_photometry(above, invvar, radius_px=r).flux_nmgy for r in (4, 8, 12)},
    }  # fmt: skip
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected["asymmetry"] = np.sqrt(np.nanmean(residual[:, :, annulus] ** 2, axis=2)) / scale
        inner, outer = (np.nanmean(above[:, :, where], axis=2) for where in (radius < 4, (radius >= 8) & (radius < 12)))
        expected["radial_gradient"] = (inner - outer) / 8
        for percent in (1, 50, 99):
            expected[f"percentile_{percent}"] = np.nanpercentile(np.where(good, image, np.nan), percent, axis=(2, 3))
    for name, values in expected.items():
        got = table[[f"{name}_{band}" for band in "grz"]].to_numpy()
        np.testing.assert_allclose(got, values, rtol=2e-5, atol=2e-6, err_msg=name)


def test_pixels_in_another_unit_are_noticed_one_by_one_and_as_a_batch(batch):
    check_flux_unit(with_flux(cutout_quality(batch)))
    counts = dataclasses.replace(batch, image=batch.image * np.float32(300.0))
    table = with_flux(cutout_quality(counts))
    assert quality_flags(table)["reasons"][0] == "flux_unit_g;flux_unit_r;flux_unit_z"
    with pytest.raises(PixelError, match=r"g pixels are typically -6\.\d+ mag .* not in nanomaggies"):
        check_flux_unit(table)
    microjansky = dataclasses.replace(batch, image=batch.image * np.float32(1 / 14.68))
    with pytest.raises(PixelError, match="not in nanomaggies"):
        check_flux_unit(with_flux(cutout_quality(microjansky)))
    with pytest.raises(CatalogueError, match="flux_g"):
        check_flux_unit(cutout_quality(batch))


def test_a_row_does_not_depend_on_its_batch(batch):
    alone = dataclasses.replace(
        batch,
        galaxy_id=batch.galaxy_id[3:4],
        image=batch.image[3:4],
        invvar=batch.invvar[3:4],
        maskbits=batch.maskbits[3:4],
        psf=batch.psf.take([3]),
    )
    pd.testing.assert_frame_equal(
        cutout_quality(alone), cutout_quality(batch).iloc[3:4].reset_index(drop=True), check_exact=True
    )


def test_bad_pixels_and_options_are_refused(batch):
    with pytest.raises(PixelError, match="negative"):
        dataclasses.replace(batch, invvar=-batch.invvar)
    with pytest.raises(OptionError, match="nan_fraction_centre_max"):
        QualityOptions(nan_fraction_centre_max=2.0)
