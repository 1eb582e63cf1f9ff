"""The real DECam fields: what is found in them, and that light put into their blank sky comes back out."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from skytrace.imaging.photometry import mag_ab, mag_depth
from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing import LensModel, SourceModel, render_lenses
from skytrace.surveys.decam_fields import DecamFieldsSurvey
from skytrace.surveys.detection import detect_sources
from skytrace.surveys.interface import GALAXY_COLUMNS


@pytest.fixture(scope="module")
def survey(real_data):
    return DecamFieldsSurvey(real_data / "imaging" / "decam_grz_fields")


def test_table_is_whole_and_finite(survey):
    table = survey.galaxies()
    assert np.isfinite(table[list(GALAXY_COLUMNS[4:])].to_numpy(dtype=float)).all()
    assert table["galaxy_id"].is_unique and len(table) >= 25
    assert table.loc[table["type"] != "PSF", "galaxy_id"].nunique() >= 10


def test_conditions_of_the_hosts_are_those_of_the_exposure_tables(survey, real_data):
    """psfdepth from the pixels agrees with survey-ccds sig1, its exposures added in inverse variance, within 0.15
    mag.
    """
    ccds = pd.read_parquet(real_data / "imaging" / "decam_grz_fields" / "ccds.parquet")
    table = survey.galaxies()
    for name in ("obiwan_decals_grz", "lp_testcase4"):
        rows = table[table["field"] == name]
        for band in "grz":
            exposures = ccds[(ccds["field"] == name) & (ccds["band"] == band)]
            deepest = (exposures["sig1_table"] ** -2.0).sum()
            neff = 4 * np.pi * (rows[f"psfsize_{band}"].iloc[0] / 2.354820 / 0.262) ** 2
            assert mag_depth(rows[f"psfdepth_{band}"].max()) == pytest.approx(
                float(mag_depth(deepest / neff)), abs=0.15
            )


def test_known_cutouts_of_the_same_fields_are_the_same_sources(survey, real_data):
    """The bright cutouts of decam_grz_cutouts were made independently; each lies on one of our detections."""
    manifest = pd.read_parquet(real_data / "imaging" / "decam_grz_cutouts" / "manifest.parquet")
    bright = manifest[manifest["snr_r"] > 50]
    bright = bright[bright["field"] != "lp_testcase6"]  # a saturated star
    table = survey.galaxies()
    assert len(bright) >= 4
    for row in bright.itertuples():
        field = survey.fields[row.field]
        x, y = field.wcs.all_world2pix(row.ra, row.dec, 0)
        near = table[table["field"] == row.field]
        distance = np.hypot(near["x"] - x, near["y"] - y)
        assert distance.min() < 3.0, row.cutout_id
        match = near.loc[distance.idxmin()]
        # a 2" aperture holds most of the light, and the Kron flux all of it
        assert 0.9 < match["flux_r"] / row.flux_ap2_r < 2.5


def test_cutout_of_a_host_equals_the_independent_cutout(survey, real_data):
    manifest = pd.read_parquet(real_data / "imaging" / "decam_grz_cutouts" / "manifest.parquet")
    stamps = np.load(real_data / "imaging" / "decam_grz_cutouts" / "cutouts.npz", allow_pickle=False)
    theirs = dict(zip(stamps["id"].tolist(), stamps["image"], strict=True))
    table = survey.galaxies()
    compared = 0
    for row in manifest.itertuples():
        near = table[(table["field"] == row.field) & (np.hypot(table["x"] - row.x, table["y"] - row.y) < 4)]
        if near.empty or row.field == "lp_testcase6":
            continue
        ours = survey.cutouts([near["galaxy_id"].iloc[0]], size=101).image[0]
        dx = int(row.x - np.rint(near["x"].iloc[0]))
        dy = int(row.y - np.rint(near["y"].iloc[0]))
        window = ours[:, 50 + dy - 10 : 50 + dy + 11, 50 + dx - 10 : 50 + dx + 11]
        np.testing.assert_allclose(window, theirs[row.cutout_id][:, 22:43, 22:43], atol=1e-6)
        compared += 1
    assert compared >= 4


def test_saturated_star_field_offers_no_clean_host(survey):
    rows = survey.galaxies().query("field == 'lp_testcase6'")
    assert (rows["maskbits"] & 2 != 0).all()


def test_bright_unmasked_sources_have_plausible_colours(survey):
    table = survey.galaxies().query("maskbits == 0")
    bright = table[table["flux_r"] > 5]
    assert len(bright) >= 6
    g_r = mag_ab(bright["flux_g"]) - mag_ab(bright["flux_r"])
    r_z = mag_ab(bright["flux_r"]) - mag_ab(bright["flux_z"])
    assert ((g_r > -0.3) & (g_r < 2.0)).all() and ((r_z > -0.4) & (r_z < 2.5)).all()


def test_mirror_image_of_the_sky_has_almost_no_sources(survey):
    """Purity: what is found in the negative of the clean fields is noise, for noise is symmetric and sources are
    not.
    """
    found = spurious = 0
    for name in ("lp_testcase4", "obiwan_decals_grz"):
        field = survey.fields[name]
        found += len(detect_sources(field.image, field.invvar, psf_fwhm_arcsec=field.psf_fwhm_arcsec))
        spurious += len(detect_sources(-field.image, field.invvar, psf_fwhm_arcsec=field.psf_fwhm_arcsec))
    assert found >= 25 and spurious <= 0.1 * found


def blank_places(field, table, *, radius=22):
    """Pixels (x, y), apart from each other, with data in every band and no detection within ``radius`` px."""
    free = (field.invvar > 0).all(axis=0)
    rows = table[table["field"] == field.name]
    free[np.rint(rows["y"]).astype(int), np.rint(rows["x"]).astype(int)] = False
    free = ndimage.binary_erosion(free, iterations=1)
    room = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1]
    places = []
    while room.max() > radius:
        y, x = np.unravel_index(room.argmax(), room.shape)
        places.append((x, y))
        yy, xx = np.indices(room.shape)
        room[np.hypot(xx - x, yy - y) < 2 * radius] = 0
    return places


@pytest.mark.parametrize("name", ["obiwan_decals_grz", "lp_testcase4"])
def test_light_injected_into_blank_sky_has_its_total_flux_within_two_percent(survey, name):
    """What an aperture gains in real pixels is what was put in: unlensed theta_E = 0 source, then a lensed one."""
    everything = DecamFieldsSurvey(survey.folder, {"minimum_valid_fraction": 0.0})
    field, table = survey.fields[name], everything.galaxies()
    places = blank_places(field, table)
    assert len(places) >= 3
    n = len(places)
    flux = np.tile([4.0, 8.0, 12.0], (n, 1))
    zero, one = np.zeros(n), np.ones(n)
    psf = MoffatPsf(np.tile(field.psf_fwhm_arcsec, (n, 1)), 3.5)
    source = SourceModel(flux, zero, zero, 0.3 * one, one, 0.8 * one, 0.4 * one)
    stamps = render_lenses(LensModel(zero, one, zero), source, psf, pixels=43)
    image = field.image.astype(np.float64)
    for stamp, (x, y) in zip(stamps, places, strict=True):
        image[:, y - 21 : y + 22, x - 21 : x + 22] += stamp
    yy, xx = np.indices(image.shape[1:])
    gained = np.array([
        [(image[k] - field.image[k])[np.hypot(xx - x, yy - y) <= 21].sum() for k in range(3)] for x, y in places
    ])  # fmt: skip
    # light of a Moffat and its source beyond 5.5": 1 %
    np.testing.assert_allclose(gained, flux, rtol=0.02)


@pytest.mark.parametrize("name", ["obiwan_decals_grz", "lp_testcase4"])
def test_injected_source_is_measured_at_its_flux_against_the_real_sky(survey, name):
    """The measurement knows neither the sky nor the noise it was put into: background from an annulus, aperture of
    3.1", corrected for what a noiseless rendering of the same source has outside it. Mean over places and bands within
    2 %."""
    everything = DecamFieldsSurvey(survey.folder, {"minimum_valid_fraction": 0.0})
    field, table = survey.fields[name], everything.galaxies()
    places = blank_places(field, table)
    n = len(places)
    flux = np.tile([8.0, 16.0, 40.0], (n, 1))
    zero, one = np.zeros(n), np.ones(n)
    psf = MoffatPsf(np.tile(field.psf_fwhm_arcsec, (n, 1)), 3.5)
    source = SourceModel(flux, zero, zero, 0.3 * one, one, 0.8 * one, 0.4 * one)
    stamps = render_lenses(LensModel(zero, one, zero), source, psf, pixels=43)
    yy, xx = np.indices((43, 43)) - 21
    aperture, annulus = np.hypot(xx, yy) <= 12, np.hypot(xx, yy) >= 17
    ratios = []
    for stamp, (x, y) in zip(stamps, places, strict=True):
        pixels = stamp + field.image[:, y - 21 : y + 22, x - 21 : x + 22]
        net, model = (
            p[:, aperture].sum(axis=1) - aperture.sum() * np.median(p[:, annulus], axis=1) for p in (pixels, stamp)
        )
        ratios.append(net / model)
    ratios = np.array(ratios)
    scatter = ratios.std(axis=0, ddof=1) / np.sqrt(n)
    # all places together; the three bands are one measurement of the injection
    assert np.average(ratios.mean(axis=0), weights=scatter**-2) == pytest.approx(1.0, abs=0.02)
