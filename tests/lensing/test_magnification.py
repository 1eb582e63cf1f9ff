"""Total magnification against integrals that know nothing of the engine."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from skytrace.lensing import Clumps, LensModel, SourceModel, flux_magnification, sersic_b

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())["flux_magnification"]


def same_profile_radius(radius, index):
    """The vectors used b = 1.9992 n - 0.3271; the same profile under the exact b has another half-light radius."""
    return radius * (sersic_b(index) / (1.9992 * index - 0.3271)) ** index


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_magnification_matches_the_vectors_to_their_own_uncertainty(case):
    lens = LensModel(case["theta_E"], case["q"], case["phi"], 0.0, 0.0, case["gamma1"], case["gamma2"])
    radius = same_profile_radius(case["Re"], case["n"])
    source = SourceModel(
        np.ones((1, 3)), case["src_x"], case["src_y"], radius, case["n"], case["q_src"], case["phi_src"]
    )
    assert flux_magnification(lens, source)[0] == pytest.approx(case["mu_flux"], rel=1.6e-3)


def test_centred_source_behind_a_round_lens_matches_the_analytic_integral():
    theta_e, radius, b = 1.0, 0.2, float(sersic_b(1.0))

    def light(beta):
        return np.exp(-b * beta / radius)

    lensed = quad(lambda beta: light(beta) * (beta + theta_e + max(theta_e - beta, 0)), 0, 12, points=[theta_e])[0]
    unlensed = quad(lambda beta: light(beta) * beta, 0, 12)[0]
    source = SourceModel(np.ones((1, 1)), 0.0, 0.0, radius, 1.0, 1.0, 0.0)
    found = flux_magnification(LensModel(theta_e, 1.0, 0.0), source)[0]
    assert found == pytest.approx(lensed / unlensed, rel=5e-4)
    scaled = SourceModel(np.ones((1, 1)), 0.0, 0.0, same_profile_radius(radius, 1.0), 1.0, 1.0, 0.0)
    found = flux_magnification(LensModel(theta_e, 1.0, 0.0), scaled)[0]
    assert found == pytest.approx(VECTORS["sis_centred_analytic"]["value"], rel=5e-4)


def test_no_lens_magnifies_by_one():
    rng = np.random.default_rng(2)
    index = rng.uniform(0.5, 4.0, 30)
    source = SourceModel(np.ones((30, 1)), 0.4, -0.8, rng.uniform(0.1, 0.6, 30), index, 0.7, 0.3)
    assert np.allclose(flux_magnification(LensModel(np.zeros(30), 1.0, 0.0), source), 1.0, atol=2e-3)


def test_small_source_outside_the_caustics_has_the_magnification_of_a_point():
    # Round lens, one image: mu = 1 + theta_E / beta.
    source = SourceModel(np.ones((1, 1)), 3.0, 0.0, 0.05, 1.0, 1.0, 0.0)
    assert flux_magnification(LensModel(1.5, 1.0, 0.0), source)[0] == pytest.approx(1.5, rel=1e-3)


def test_clumps_are_magnified_where_they_are():
    clumps = Clumps([[1.0]], [[2.0]], [[0.0]], [[0.03]])
    source = SourceModel(np.ones((1, 1)), 1.0, 0.0, 0.3, 1.0, 1.0, 0.0, clumps=clumps)
    assert flux_magnification(LensModel(1.5, 1.0, 0.0), source)[0] == pytest.approx(1.5, rel=2e-3)


def test_a_lens_has_one_magnification_alone_and_in_a_batch():
    rng = np.random.default_rng(5)
    lens = LensModel(rng.uniform(0.5, 3.0, 20), 0.7, 0.3, 0.0, 0.0, 0.03, 0.0)
    source = SourceModel(np.ones((20, 3)), 0.2, 0.1, 0.3, rng.uniform(0.5, 4.0, 20), 0.7, 0.2)
    together = flux_magnification(lens, source)
    alone = [flux_magnification(lens.take([i]), source.take([i]))[0] for i in range(20)]
    assert np.array_equal(together, alone)
