"""Opacities: their limits, and the closed form of the flux-dependent one against the iteration that it replaces."""

import numpy as np
import pytest

from skytrace.supernovae.opacity import FDR_FLUX_CGS_PER_NM, tau_fdr, tau_fdr_of_flux, tau_plasma


def damped_iteration(strength, steps=60):
    """tau <- (tau + a exp(-tau / 2)) / 2 from 0."""
    tau = np.zeros_like(strength)
    for _ in range(steps):
        tau = 0.5 * tau + 0.5 * strength * np.exp(-0.5 * tau)
    return tau


def test_closed_form_equals_sixty_damped_iterations():
    strength = np.concatenate([[0.0], np.logspace(-12, 1.4, 500)])  # beyond, sixty iterations are not enough
    np.testing.assert_allclose(tau_fdr(strength), damped_iteration(strength), rtol=0, atol=1e-12)


@pytest.mark.parametrize("strength", [1e-6, 0.3, 7.0, 1e3, 1e8])
def test_closed_form_is_the_fixed_point(strength):
    tau = tau_fdr(strength)
    assert tau == pytest.approx(strength * np.exp(-0.5 * tau), rel=1e-13)


def test_negative_strength_has_no_opacity_to_speak_of():
    assert np.isnan(tau_fdr(-1.0))


def test_fdr_strength_is_the_root_of_flux_per_nm():
    wavelength = 600.0
    # F_lambda = F_nu c / lambda^2; one F_0 of flux at that wavelength
    flux_jy = FDR_FLUX_CGS_PER_NM * wavelength**2 / 2.99792458e17 * 1e23
    assert tau_fdr_of_flux(flux_jy, wavelength, xi=0.5, eta_prime=2.0) == pytest.approx(tau_fdr(1.0), rel=1e-12)
    assert tau_fdr_of_flux(4 * flux_jy, wavelength, xi=0.5, eta_prime=2.0) == pytest.approx(tau_fdr(2.0), rel=1e-12)


def test_plasma_is_empty_before_the_explosion_and_full_long_after():
    assert (tau_plasma([-100.0, -1e-9, 0.0], 500.0, 0.7, 1.3) == 0.0).all()
    assert tau_plasma(1e4, 440.0, 0.7, 1.3) == pytest.approx(0.7)
    assert tau_plasma(30.0, 440.0, 1.0, 1.3) == pytest.approx(1.0 - np.exp(-1.0))
    assert tau_plasma(1e4, 880.0, 0.8, 2.0) == pytest.approx(0.2)  # lambda^-beta
