"""The model of a light curve: what alpha means, redshift, zero before explosion, flux-dependent dimming."""

import numpy as np
import pytest

from skytrace.supernovae import ModelOptions, flux_10pc_jy, model_flux_jy, tau_fdr
from skytrace.supernovae.light_curve_model import alpha_from_mu, mu_from_alpha
from skytrace.supernovae.opacity import FDR_FLUX_CGS_PER_NM


def test_alpha_is_the_distance_modulus_exactly():
    mu = np.array([33.0, 38.5, 44.0])
    flux = model_flux_jy(60_020.0, 600.0, 0.3, 60_000.0, 0.1, 1.2, alpha_from_mu(mu))
    np.testing.assert_allclose(-2.5 * np.log10(flux / flux[0]), mu - mu[0], rtol=1e-12)
    np.testing.assert_allclose(mu_from_alpha(alpha_from_mu(mu)), mu, rtol=1e-15)
    assert alpha_from_mu(40.0) == pytest.approx(-np.log(10.0) / 2.5 * 40.0, rel=1e-15)


def test_a_supernova_ten_parsec_away_has_the_flux_of_its_spectrum():
    for sed in ("blackbody", "template"):
        options = ModelOptions(sed=sed)
        flux = model_flux_jy(60_015.0, 500.0, 0.0, 60_000.0, 0.0, 1.0, 0.0, options=options)
        assert flux == pytest.approx(flux_10pc_jy(15.0, 500.0, options=options), rel=1e-14)


def test_redshift_stretches_time_and_wavelength_and_keeps_photons_per_energy():
    z = 0.7
    near = model_flux_jy(60_010.0, 500.0, 0.0, 60_000.0, 0.4, 1.5, -37.0)
    far = model_flux_jy(60_000.0 + 10.0 * (1 + z), 500.0 * (1 + z), z, 60_000.0, 0.4, 1.5, -37.0)
    assert far == pytest.approx((1 + z) * near, rel=1e-9)


def test_flux_is_zero_before_the_explosion_and_positive_after():
    mjd = np.array([59_000.0, 59_999.999, 60_000.0, 60_000.5, 60_400.0])
    for sed in ("blackbody", "template"):
        flux = model_flux_jy(mjd, 640.0, 0.2, 60_000.0, 0.1, 1.2, -37.0, options=ModelOptions(sed=sed))
        assert (flux[:3] == 0).all() and (flux[3:] > 0).all()


def test_plasma_dims_by_its_opacity():
    clear, dim = (model_flux_jy(60_030.0, 440.0, 0.0, 60_000.0, a, 1.2, -36.0) for a in (0.0, 0.5))
    assert np.log(clear / dim) == pytest.approx(0.5 * (1.0 - np.exp(-1.0)), rel=1e-12)


def test_flux_dependent_dimming_acts_on_the_light_that_arrives():
    fdr = ModelOptions(xi=2.0, eta_prime=3.0)
    arguments = (60_020.0, 640.0, 0.1, 60_000.0, 0.3, 1.2, -33.0)
    clear, dim = model_flux_jy(*arguments), model_flux_jy(*arguments, options=fdr)
    per_nm = clear * 1e-23 * 2.99792458e17 / 640.0**2
    assert np.log(clear / dim) == pytest.approx(tau_fdr(6.0 * np.sqrt(per_nm / FDR_FLUX_CGS_PER_NM)), rel=1e-10)
    far = (*arguments[:-1], -60.0)
    assert model_flux_jy(*far, options=fdr) == pytest.approx(model_flux_jy(*far), rel=1e-5)


def test_arguments_broadcast():
    flux = model_flux_jy(
        np.arange(60_000.0, 60_050.0, 10.0)[:, None], np.array([480.0, 640.0]), 0.1, 60_000.0, 0, 1, -36
    )
    assert flux.shape == (5, 2)
