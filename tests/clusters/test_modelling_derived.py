"""Outlines of known maps: areas and the mass within them."""

import numpy as np
import pytest

from skytrace.clusters.modelling_derived import interval_68, tangential_outline, within_outline

AXIS = np.linspace(-30.0, 30.0, 121)
X, Y = np.meshgrid(AXIS, AXIS)
RADIUS = np.hypot(X, Y)


def test_an_isothermal_sphere_holds_the_mass_of_its_einstein_radius():
    theta_e = 17.3
    outline = tangential_outline(1.0 - theta_e / np.maximum(RADIUS, 0.1), AXIS)
    area, mass = within_outline(outline, AXIS, theta_e * X / (RADIUS + 1e-9), theta_e * Y / (RADIUS + 1e-9))
    assert np.sqrt(area / np.pi) == pytest.approx(theta_e, rel=1e-3)
    assert mass == pytest.approx(np.pi * theta_e**2, rel=2e-3)  # mean convergence 1


def test_shear_adds_no_mass_and_the_largest_closed_line_is_taken():
    stretch = np.minimum(RADIUS - 12.0, np.hypot(X - 22.0, Y) - 2.0)
    outline = tangential_outline(stretch, AXIS)
    area, mass = within_outline(outline, AXIS, 0.1 * X + 0.05 * Y, 0.05 * X - 0.1 * Y)
    assert np.sqrt(area / np.pi) == pytest.approx(12.0, rel=1e-3)
    assert abs(mass) < 1e-6 * area


def test_a_curve_that_leaves_the_grid_has_no_radius():
    assert tangential_outline(X - 3.0, AXIS) is None
    beside_a_galaxy = np.minimum(X - 3.0, np.hypot(X - 15.0, Y) - 2.0)
    assert tangential_outline(beside_a_galaxy, AXIS) is None  # the galaxy's loop is not the cluster's curve
    assert np.isnan(within_outline(None, AXIS, X, Y)).all()
    low, median, high = interval_68(np.append(np.linspace(0.0, 1.0, 10_001), np.nan))
    assert (low, median, high) == pytest.approx((0.15865, 0.5, 0.84135), abs=1e-3)
