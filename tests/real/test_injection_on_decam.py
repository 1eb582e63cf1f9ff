"""Injection on real DECam pixels: what goes in comes out, on hosts that no detector was trained on.

The known host is subtracted again, so this tests the injection alone. Blind photometry of injections on blank real sky
is in tests/real/test_decam_fields_real.py.
"""

import numpy as np
import pytest

from skytrace.imaging import PreprocessOptions
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.imaging.sky_noise import pixel_variance_share
from skytrace.lensing import flux_magnification
from skytrace.lensing.population import draw_lenses
from skytrace.selection.condition_sky import ConditionSky
from skytrace.selection.injection import InjectionOptions, inject_lenses, prepare_hosts
from skytrace.selection.realism import GateOptions, background_pixels


def whole_hosts(survey):
    """(catalogue rows, cutouts) of the galaxies whose central 64 px have data in every band."""
    galaxies = survey.galaxies()
    batch = survey.cutouts(list(galaxies["galaxy_id"].astype(str)))
    whole = (batch.invvar[:, :, 18:82, 18:82] > 0).all(axis=(1, 2, 3))
    table = galaxies[whole].reset_index(drop=True)
    assert len(table) >= 3, "too few hosts with a whole centre to show anything"
    return table, survey.cutouts(list(table["galaxy_id"].astype(str)))


@pytest.fixture(scope="module")
def survey(real_data):
    from skytrace.surveys.decam_fields import DecamFieldsSurvey

    return DecamFieldsSurvey(real_data / "imaging" / "decam_grz_fields")


def test_injected_flux_is_recovered_within_two_percent_where_nothing_else_is(survey):
    table, batch = whole_hosts(survey)
    options, preprocessing = InjectionOptions(), PreprocessOptions()
    hosts = prepare_hosts(batch, table, mode="matched", options=options, preprocessing=preprocessing)
    n = 40 * len(table)
    rows = np.arange(n) % len(table)
    draw = draw_lenses(np.arange(n), np.full(n, 1.5), table.iloc[rows], seed=3)
    injected = inject_lenses(hosts, rows, draw, options=options, preprocessing=preprocessing)
    y, x = np.indices((64, 64)) - 32
    aperture = np.hypot(x, y) < 30
    # the real host and its neighbours are known here, so what is left is the injected light and its photon noise
    measured = (injected.image - hosts.image[rows])[:, :, aperture].sum(axis=2, dtype=np.float64)
    expected = flux_magnification(draw.lenses, draw.sources)[:, None] * draw.sources.flux_nmgy
    bright = expected[:, 1] > 0.5
    assert bright.sum() >= 20
    assert np.abs(np.median(measured[bright] / expected[bright], axis=0) - 1.0).max() < 0.01
    assert np.abs(measured[bright].sum(axis=0) / expected[bright].sum(axis=0) - 1.0).max() < 0.02


@pytest.mark.parametrize("mode", ["matched", "degraded"])
def test_the_background_after_injection_has_the_noise_of_the_fields_own_inverse_variance(survey, mode):
    """Blank pixels of composites in units of 1 / sqrt(invvar): the noise of resampled pixels, less than white noise by
    the square root of ``pixel_variance_share``, and the same after injection as before.
    """
    table, batch = whole_hosts(survey)
    options, preprocessing = InjectionOptions(), PreprocessOptions()
    target = ConditionSky(np.full(3, 1.8), psfdepth_from_mag(np.array([23.3, 23.0, 22.0])))
    hosts = prepare_hosts(batch, table, mode=mode, target=target, options=options, preprocessing=preprocessing)
    n = 10 * len(table)
    rows = np.arange(n) % len(table)
    draw = draw_lenses(np.arange(n), np.full(n, 1.5), table.iloc[rows], seed=3)
    injected = inject_lenses(hosts, rows, draw, options=options, preprocessing=preprocessing)
    per_sigma = np.sqrt(hosts.invvar[rows])
    sample = background_pixels(
        hosts.image[rows] * per_sigma, injected.image * per_sigma, hosts.invvar[rows], theta_e_arcsec=1.5,
        fwhm_arcsec=hosts.fwhm_r_arcsec[rows], sigma_pix_nmgy=1.0, options=GateOptions(),
    )  # fmt: skip
    assert len(sample.before) > 100_000
    before, after = (
        1.4826 * np.median(np.abs(x - np.median(x, axis=0)), axis=0) for x in (sample.before, sample.after)
    )
    np.testing.assert_allclose(after / before, 1.0, atol=2e-3)
    np.testing.assert_allclose(sample.after.std(axis=0) / sample.before.std(axis=0), 1.0, atol=2e-3)
    np.testing.assert_allclose(after / np.sqrt(pixel_variance_share()), 1.0, atol=0.05)
