"""Peaks of one colour are told from peaks of many; features are filled in and grouped; a worse sky is what it says."""

import numpy as np
import pandas as pd
import pytest

from skytrace.clusters.feature_table import (
    GROUPS,
    colour_columns,
    feature_groups,
    filled_features,
    fit_filling,
    group_of,
)
from skytrace.clusters.options import ColourOptions, PatchOptions
from skytrace.clusters.patches import feature_schema, patch_features, patch_features_and_peaks
from skytrace.clusters.peak_colours import PEAK_COLOUR_SCHEMA, agreeing_peaks, peak_colour_features
from skytrace.clusters.worse_sky import SkyShift, worsened_fields
from skytrace.errors import CatalogueError, OptionError
from skytrace.imaging.profiles import point_sources
from skytrace.imaging.psf import MoffatPsf

SCALE, PIXELS = 0.262, 96


def field(colours_red, *, seed=0):
    """Twelve members of one colour and a ring of peaks of the given (g-r, r-i), PSF 1.0, 1.1, 1.2 in i, r, g."""
    rng = np.random.default_rng(seed)
    fwhm = np.array([1.2, 1.1, 1.0])
    image = np.zeros((3, PIXELS, PIXELS))
    for k in range(12):
        angle = 2 * np.pi * k / 12
        image += star(5.0 * np.cos(angle), 5.0 * np.sin(angle), 20.0, (1.5, 0.6), fwhm)
    for k, colour in enumerate(colours_red):
        angle = 2 * np.pi * (k + 0.5) / len(colours_red)
        image += star(9.0 * np.cos(angle), 9.0 * np.sin(angle), 20.5, colour, fwhm)
    noise = np.full(3, 0.01)
    image += rng.normal(0, 0.01, image.shape)
    return image[None].astype(np.float32), noise[None], MoffatPsf(fwhm[None])


def star(x, y, mag_i, colour, fwhm):
    mags = np.array([mag_i + sum(colour), mag_i + colour[1], mag_i])
    flux = 10.0 ** (0.4 * (22.5 - mags))
    return point_sources(x, y, flux[None], fwhm, beta=3.5, pixels=PIXELS, pixel_scale_arcsec=SCALE).astype(float)


def measured(colours_red):
    images, noise, psf = field(colours_red)
    return peak_colour_features(
        images, noise, psf, pixel_scale_arcsec=SCALE,
        patches=PatchOptions(pixels=PIXELS, max_peaks=12 + len(colours_red)),
        colours=ColourOptions(aperture_fwhm_arcsec=2.0),
    ).iloc[0]  # fmt: skip


def test_images_of_one_source_agree_and_galaxies_of_many_redshifts_do_not():
    one = measured([(1.4, 1.3)] * 6)
    many = measured([(1.7, 0.9), (1.6, 1.3), (1.2, 1.1), (0.9, 0.8), (1.9, 1.5), (0.7, 1.2)])
    assert one["redder_peaks"] == 6 and one["agreeing_peaks"] == 5 and one["agreeing_share"] == 1.0
    assert many["redder_peaks"] >= 5 and many["agreeing_peaks"] <= 1
    assert one["redder_r_minus_i"] == pytest.approx(0.7, abs=0.05)
    assert many["redder_group_distance"] > 5.0 > one["redder_group_distance"]
    assert many["redder_flagged"] == 1.0 and one["redder_flagged"] == 0.0


def test_without_redder_peaks_their_colour_is_not_known():
    none = measured([])
    assert none["redder_peaks"] == 0 and none["agreeing_peaks"] == 0
    assert np.isnan([none["redder_r_minus_i"], none["agreeing_r_minus_i"], none["redder_distance"]]).all()


def test_a_field_whose_seeing_fills_the_aperture_is_not_measured():
    images, noise, psf = field([(1.4, 1.3)] * 6)
    features = peak_colour_features(
        images, noise, MoffatPsf(psf.fwhm_arcsec * 2), pixel_scale_arcsec=SCALE,
        patches=PatchOptions(pixels=PIXELS), colours=ColourOptions(aperture_fwhm_arcsec=2.0),
    ).iloc[0]  # fmt: skip
    assert features["peaks_measured"] == 0 and np.isnan(features["redder_r_minus_i"])


def test_agreement_is_counted_by_hand():
    colour = np.array([[[1.0, 1.0], [1.01, 1.0], [1.5, 1.0], [1.0, 1.01], [np.nan, 1.0]]])
    covariance = np.broadcast_to(1e-4 * np.eye(2), (1, 5, 2, 2)).copy()
    count, which = agreeing_peaks(colour, covariance, np.ones((1, 5), bool), intrinsic_mag=0.01)
    assert count.tolist() == [2] and which.tolist() == [0]
    count, _ = agreeing_peaks(colour, covariance, np.array([[True, False, True, False, True]]), intrinsic_mag=0.01)
    assert count.tolist() == [0]
    count, which = agreeing_peaks(colour, covariance, np.zeros((1, 5), bool), intrinsic_mag=0.01)
    assert count.tolist() == [0] and which.tolist() == [0]
    # errors that go together: within two sigma along the long axis of their ellipse, far beyond along the short one
    pair = np.array([[[0.0, 0.0], [0.1, 0.1]], [[0.0, 0.0], [0.1, -0.1]]])
    tilted = np.broadcast_to(0.05**2 * np.array([[1.0, 0.9], [0.9, 1.0]]), (2, 2, 2, 2)).copy()
    count, _ = agreeing_peaks(pair, tilted, np.ones((2, 2), bool), intrinsic_mag=0.0)
    assert count.tolist() == [1, 0]


def test_peaks_that_are_known_already_are_not_looked_for_again():
    images, noise, psf = field([(1.4, 1.3)] * 6)
    patches, colours = PatchOptions(pixels=PIXELS, max_peaks=18), ColourOptions(aperture_fwhm_arcsec=2.0)
    known = {"pixel_scale_arcsec": SCALE, "patches": patches, "colours": colours}
    table, peaks = patch_features_and_peaks(images, noise, options=patches)
    pd.testing.assert_frame_equal(table, patch_features(images, noise, options=patches))
    given = peak_colour_features(images, noise, psf, peaks=peaks, **known)
    pd.testing.assert_frame_equal(given, peak_colour_features(images, noise, psf, **known))
    fewer = peak_colour_features(images, noise, psf, peaks=peaks[:, :5], **known)
    assert fewer["peaks_measured"].item() == 5


def test_what_is_not_known_is_the_median_and_says_so():
    table = pd.DataFrame({"a": [1.0, 2.0, 9.0], "b": [np.nan, 4.0, 6.0], "never": [np.nan] * 3})
    filling = fit_filling(table, ["a", "b", "never"])
    filled = filled_features(pd.DataFrame({"a": [np.nan], "b": [np.nan], "never": [1.0]}), filling)
    assert filled.to_dict("records") == [{"a": 2.0, "b": 5.0, "b_known": 0.0}]
    with pytest.raises(CatalogueError, match="lacks c"):
        fit_filling(table, ["a", "c"])


def test_every_feature_has_one_group_and_no_position_flag_or_name_is_a_feature():
    groups = feature_groups(PatchOptions(pool_outer=True))
    names = [name for columns in groups.values() for name in columns]
    assert tuple(groups) == GROUPS and len(set(names)) == len(names)
    assert not [name for name in names if "missing" in name or name.startswith(("x_px", "y_px", "cluster_id"))]
    assert not [name for name in names if "_err" in name]  # they tell depth over brightness
    assert {"r_minus_i_p11", "r_minus_i_outer_std"} <= set(names)
    assert group_of("theta_e_l_x_arcsec_known", groups) == "catalogue"


def test_every_feature_that_rests_on_colours_is_a_colour_a_count_by_colour_or_a_coherence():
    options = PatchOptions(pool_outer=True)
    kinds = colour_columns(options)
    named = [name for names in kinds.values() for name in names]
    every = [name for columns in feature_groups(options).values() for name in columns]
    assert len(set(named)) == len(named) and set(named) <= set(every)
    assert "off_colour_peaks" in kinds["count"] and "redder_g_minus_r" in kinds["colour"]
    schema = feature_schema(options).set_index("name")
    told = {**schema["description"], **{name: text for name, (_, text) in PEAK_COLOUR_SCHEMA.items()}}
    assert all(schema["unit"].get(name, "mag") == "mag" for name in kinds["colour"])
    rest = {name for name in every if name in told and name not in named}
    assert {name for name in rest if "colour" in told[name] or "redder" in told[name]} == {"peaks_measured"}


def test_a_worse_sky_widens_a_star_keeps_its_flux_and_has_the_noise_that_it_says():
    fwhm = np.array([1.2, 1.1, 1.0])
    image = star(0.0, 0.0, 18.0, (0.5, 0.3), fwhm)[None].astype(np.float32)
    quiet = np.full((1, 3), 1e-9)
    nothing = np.zeros(image.shape, np.float32)
    shift = SkyShift("worse", 1.4, 0.0)
    wide, _, psf = worsened_fields(
        image, quiet, MoffatPsf(fwhm[None]), shift=shift, pixel_scale_arcsec=SCALE, normals=nothing
    )
    expected = star(0.0, 0.0, 18.0, (0.5, 0.3), 1.4 * fwhm)
    np.testing.assert_allclose(psf.fwhm_arcsec[0], 1.4 * fwhm)
    middle = slice(PIXELS // 2 - 8, PIXELS // 2 + 9)
    np.testing.assert_allclose(
        wide[0, :, middle, middle], expected[:, middle, middle], rtol=0.02, atol=1e-3 * expected.max()
    )
    sky = np.random.default_rng(2).normal(0, 0.05, (1, 3, PIXELS, PIXELS)).astype(np.float32)
    normals = np.random.default_rng(3).standard_normal(sky.shape, dtype=np.float32)
    sky[0, 0, 5, 5] = np.nan
    both = SkyShift("both", 1.3, 0.5)
    worse, noise, _ = worsened_fields(
        sky, np.full((1, 3), 0.05), MoffatPsf(fwhm[None]), shift=both, pixel_scale_arcsec=SCALE, normals=normals
    )
    np.testing.assert_allclose(noise, 0.05 * 10**0.2)
    np.testing.assert_allclose(np.nanstd(worse, axis=(2, 3)), noise, rtol=0.05)
    # white: neighbours do not know of each other
    assert abs(np.corrcoef(worse[0, 1, :, 1:].ravel(), worse[0, 1, :, :-1].ravel())[0, 1]) < 0.05
    assert np.isnan(worse[0, 0, 5, 5]) and np.isfinite(worse).sum() == worse.size - 1


def test_a_sky_is_never_made_sharper_or_deeper():
    with pytest.raises(OptionError, match="seeing_factor"):
        SkyShift("sharper", 0.9)
    with pytest.raises(OptionError, match="depth_loss_mag"):
        SkyShift("deeper", 1.0, -0.1)
