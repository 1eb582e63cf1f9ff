"""The deflection against vectors, lenstronomy, closed forms and symmetries."""

import json
from pathlib import Path

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.lensing import (
    LensModel,
    epl_convergence,
    epl_deflection,
    ray_shoot,
    shear_deflection,
    sie_convergence,
    sie_deflection,
)
from skytrace.lensing.deflection import regular_arccos

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


@pytest.mark.parametrize("case", VECTORS["deflection"]["cases"])
def test_deflection_shear_convergence_and_source_position_match_the_vectors(case):
    given = case["inp"]
    x, y = given["x"] - given["center_x"], given["y"] - given["center_y"]
    ours = sie_deflection(x, y, given["theta_E"], given["q"], given["phi"])
    assert np.allclose(ours, (case["sie_alpha_x"], case["sie_alpha_y"]), atol=1e-9)
    assert sie_convergence(x, y, given["theta_E"], given["q"], given["phi"]) == pytest.approx(case["kappa"], rel=1e-9)
    shear = shear_deflection(given["x"], given["y"], given["gamma1"], given["gamma2"])
    assert np.allclose(shear, (case["shear_alpha_x"], case["shear_alpha_y"]), atol=1e-15)
    lens = LensModel(
        given["theta_E"],
        given["q"],
        given["phi"],
        given["center_x"],
        given["center_y"],
        given["gamma1"],
        given["gamma2"],
    )
    beta = ray_shoot([given["x"]], [given["y"]], lens)
    assert np.allclose(np.ravel(beta), (case["beta_x"], case["beta_y"]), atol=1e-9)


def test_deflection_matches_lenstronomy_to_1e_7():
    from lenstronomy.LensModel.lens_model import LensModel as Peer

    rng = np.random.default_rng(3)
    peer = Peer(["SIE"])
    for _ in range(20):
        theta_e, q, phi = rng.uniform(0.5, 3), rng.uniform(0.3, 0.97), rng.uniform(0, np.pi)
        x, y = rng.uniform(-4, 4, (2, 50))
        e = (1 - q) / (1 + q)
        theirs = peer.alpha(x, y, [{"theta_E": theta_e, "e1": e * np.cos(2 * phi), "e2": e * np.sin(2 * phi)}])
        assert np.allclose(sie_deflection(x, y, theta_e, q, phi), theirs, atol=1e-7)


def test_regular_form_matches_its_vectors_and_is_smooth_through_one():
    for name in ("A", "B"):
        for argument, value in VECTORS["sie_regular_form"][name].items():
            assert regular_arccos(float(argument)) == pytest.approx(value, rel=1e-12)
    steps = np.diff(regular_arccos(np.linspace(0.999, 1.001, 2001)))
    assert np.all(steps < 0) and np.ptp(steps) < 1e-9


def test_round_lens_is_the_isothermal_sphere():
    alpha = sie_deflection(3.0, -4.0, 1.7, 1.0, 0.4)
    assert np.allclose(alpha, (1.7 * 0.6, -1.7 * 0.8), atol=1e-14)
    assert np.all(np.isfinite(sie_deflection(0.0, 0.0, 1.7, 0.6, 0.4)))


def test_turning_the_lens_turns_the_deflection():
    turn = 0.83
    x, y = 0.7, -1.1
    ax, ay = sie_deflection(x, y, 1.3, 0.6, 0.2)
    c, s = np.cos(turn), np.sin(turn)
    turned = sie_deflection(c * x - s * y, s * x + c * y, 1.3, 0.6, 0.2 + turn)
    assert np.allclose(turned, (c * ax - s * ay, s * ax + c * ay), atol=1e-13)


def test_divergence_of_the_deflection_is_twice_the_convergence():
    h = 1e-5
    right, left = sie_deflection(0.9 + h, 0.4, 1.3, 0.6, 0.2), sie_deflection(0.9 - h, 0.4, 1.3, 0.6, 0.2)
    up, down = sie_deflection(0.9, 0.4 + h, 1.3, 0.6, 0.2), sie_deflection(0.9, 0.4 - h, 1.3, 0.6, 0.2)
    divergence = (right[0] - left[0] + up[1] - down[1]) / (2 * h)
    assert divergence == pytest.approx(2 * sie_convergence(0.9, 0.4, 1.3, 0.6, 0.2), rel=1e-8)


@pytest.mark.parametrize(
    ("field", "value"), [("theta_e_arcsec", -1.0), ("q", 0.1), ("q", 1.2), ("gamma1", 0.6), ("gamma_epl", 2.7)]
)
def test_lens_out_of_range_is_refused_by_name(field, value):
    good = {"theta_e_arcsec": 1.0, "q": 0.8, "phi_rad": 0.0}
    with pytest.raises(OptionError, match=field.rstrip("12")):
        LensModel(**(good | {field: value}))


def test_power_law_matches_lenstronomy_at_every_slope_and_flattening():
    from lenstronomy.LensModel.lens_model import LensModel as Peer

    rng = np.random.default_rng(4)
    peer = Peer(["EPL"])
    for _ in range(20):
        theta_e, q, phi, slope = rng.uniform(0.5, 3), rng.uniform(0.2, 1), rng.uniform(0, np.pi), rng.uniform(1.4, 2.6)
        x, y = rng.uniform(-4, 4, (2, 50))
        e = (1 - q) / (1 + q)
        shape = {"theta_E": theta_e, "gamma": slope, "e1": e * np.cos(2 * phi), "e2": e * np.sin(2 * phi)}
        assert np.allclose(epl_deflection(x, y, theta_e, q, phi, slope), peer.alpha(x, y, [shape]), atol=1e-9)
        lens = LensModel(theta_e, q, phi, gamma_epl=slope)
        beta = (x - peer.alpha(x, y, [shape])[0], y - peer.alpha(x, y, [shape])[1])
        assert np.allclose(np.squeeze(ray_shoot(x, y, lens)), beta, atol=1e-6)


def test_power_law_of_slope_two_is_the_isothermal_ellipsoid():
    x, y = np.random.default_rng(5).uniform(-3, 3, (2, 200))
    for q in (0.2, 0.6, 1.0):
        isothermal = sie_deflection(x, y, 1.3, q, 0.4)
        assert np.allclose(epl_deflection(x, y, 1.3, q, 0.4, 2.0), isothermal, atol=1e-12)
        default, named = (ray_shoot(x, y, LensModel(1.3, q, 0.4, **more)) for more in ({}, {"gamma_epl": 2.0}))
        assert np.array_equal(default, named)


def test_power_law_convergence_is_half_the_divergence_and_one_on_average_inside_the_einstein_radius():
    h, shape = 1e-5, (1.3, 0.6, 0.2, 2.3)
    right, left = epl_deflection(0.9 + h, 0.4, *shape), epl_deflection(0.9 - h, 0.4, *shape)
    up, down = epl_deflection(0.9, 0.4 + h, *shape), epl_deflection(0.9, 0.4 - h, *shape)
    divergence = (right[0] - left[0] + up[1] - down[1]) / (2 * h)
    assert divergence == pytest.approx(2 * epl_convergence(0.9, 0.4, *shape), rel=1e-8)
    # Round: alpha = theta_E^(gamma - 1) r^(2 - gamma), so the deflection at theta_E is theta_E for every slope.
    assert np.allclose(epl_deflection(1.3, 0.0, 1.3, 1.0, 0.0, [1.5, 2.0, 2.5])[0], 1.3, atol=1e-12)
    assert epl_deflection(2.6, 0.0, 1.3, 1.0, 0.0, 2.4)[0] == pytest.approx(1.3 * 2**-0.4, rel=1e-12)
