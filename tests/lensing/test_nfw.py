"""NFW and truncated isothermal halos against the mass along the line of sight, numerical derivatives and a peer."""

import numpy as np
import pytest
from scipy.integrate import quad

from skytrace.errors import OptionError
from skytrace.lensing import nfw_convergence, nfw_deflection, nfw_mean_convergence, truncated_isothermal_deflection


def divergence(deflection, x, y, step=1e-4):
    """kappa from central differences of a deflection."""
    along = deflection(x + step, y)[0] - deflection(x - step, y)[0]
    across = deflection(x, y + step)[1] - deflection(x, y - step)[1]
    return (along + across) / (4.0 * step)


@pytest.mark.parametrize("radius", [0.05, 0.7, 1.0, 3.0, 20.0])
def test_projected_mass_is_the_density_integrated_along_the_line_of_sight(radius):
    # Sigma / (rho_s r_s) at R: 2 int rho dz, rho = 1 / (r (1 + r)^2) in units of r_s
    def surface(r):
        return 2.0 * quad(lambda z: 1.0 / (np.hypot(r, z) * (1.0 + np.hypot(r, z)) ** 2), 0.0, np.inf)[0]

    assert nfw_convergence(2.0 * radius, 0.0, 0.3, 2.0) == pytest.approx(0.3 * surface(radius), rel=1e-7)
    mean = quad(lambda r: surface(r) * 2.0 * r, 0.0, radius, limit=200)[0] / radius**2
    assert nfw_mean_convergence(2.0 * radius, 0.3, 2.0) == pytest.approx(0.3 * mean, rel=1e-6)
    alpha = nfw_deflection(2.0 * radius, 0.0, 0.3, 2.0)
    assert alpha[0] == pytest.approx(2.0 * radius * 0.3 * mean, rel=1e-6) and alpha[1] == 0.0


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_convergence_is_half_the_divergence_of_the_deflection(epsilon):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-60, 60, (2, 200))
    halo = (0.25, 30.0, epsilon, 0.7)
    numerical = divergence(lambda x, y: nfw_deflection(x, y, *halo), x, y)
    np.testing.assert_allclose(nfw_convergence(x, y, *halo), numerical, rtol=1e-6, atol=1e-9)


def test_deflection_is_curl_free_and_turns_with_the_halo():
    x, y, step = 7.0, -4.0, 1e-4
    halo = (0.3, 20.0, 0.25, 0.4)
    curl = (nfw_deflection(x + step, y, *halo)[1] - nfw_deflection(x - step, y, *halo)[1]) - (
        nfw_deflection(x, y + step, *halo)[0] - nfw_deflection(x, y - step, *halo)[0]
    )
    assert curl / (2 * step) == pytest.approx(0.0, abs=1e-7)
    turned = nfw_deflection(-y, x, 0.3, 20.0, 0.25, 0.4 + np.pi / 2)
    np.testing.assert_allclose((turned[1], -turned[0]), nfw_deflection(x, y, *halo), rtol=1e-12)


def test_series_and_closed_form_meet_near_the_centre_and_near_the_scale_radius():
    for edge in (1e-3, 1.0 - 1e-4, 1.0 + 1e-4):
        below, above = (nfw_mean_convergence(edge * (1 + side), 1.0, 1.0) for side in (-1e-9, 1e-9))
        assert below == pytest.approx(above, rel=2e-6)
        low, high = (nfw_convergence(edge * (1 + side), 0.0, 1.0, 1.0) for side in (-1e-9, 1e-9))
        assert low == pytest.approx(high, rel=1e-6)
    assert nfw_deflection(0.0, 0.0, 1.0, 1.0) == (0.0, 0.0)


def test_deflection_is_lenstronomys():
    from lenstronomy.LensModel.Profiles.nfw import NFW

    x, y = np.array([0.1, 2.0, 15.0, 40.0]), np.array([0.3, -5.0, 8.0, 10.0])
    kappa_s, scale = 0.2, 25.0
    # their alpha_Rs is the deflection at the scale radius: 4 kappa_s r_s (1 + ln(1/2))
    theirs = NFW().derivatives(x, y, Rs=scale, alpha_Rs=4 * kappa_s * scale * (1 + np.log(0.5)))
    np.testing.assert_allclose(nfw_deflection(x, y, kappa_s, scale), theirs, rtol=1e-6)


def test_a_subhalo_is_isothermal_inside_and_a_point_mass_outside_its_truncation():
    inner = truncated_isothermal_deflection(1e-3, 0.0, 0.8, 10.0)[0]
    assert inner == pytest.approx(0.8, rel=2e-4)
    far = 1e4
    assert truncated_isothermal_deflection(far, 0.0, 0.8, 10.0)[0] == pytest.approx(0.8 * 10.0 / far, rel=1e-3)
    x, y = 3.0, 4.0
    kappa = divergence(lambda x, y: truncated_isothermal_deflection(x, y, 0.8, 10.0), x, y)
    assert kappa == pytest.approx(0.4 * (1 / 5 - 1 / np.hypot(5, 10)), rel=1e-6)


def test_values_out_of_range_are_named():
    with pytest.raises(OptionError, match=r"NFW epsilon\[0\] = .*0\.5.* in \[0, 0\.4\]"):
        nfw_deflection(1.0, 0.0, 0.2, 10.0, 0.5)
    with pytest.raises(OptionError, match="NFW scale_arcsec"):
        nfw_deflection(1.0, 0.0, 0.2, 0.0)
