"""Gate 4: shapes measured as defined, one universe passes, another brightness, place or lopsidedness does not."""

import dataclasses

import numpy as np
import pytest

from skytrace.errors import CatalogueError, PixelError
from skytrace.selection.realism.morphology import GATE_4_COLUMNS, arc_morphology, gate_morphology
from skytrace.selection.realism.options import GateOptions, MorphologyOptions
from tests.selection.gate_arcs import cheap, sample_of

GATES = GateOptions()
FAST = MorphologyOptions(n_permutations=99, n_simulations=8, per_anchor=2)
Y, X = np.indices((64, 64)) - 32
RADIUS, ANGLE = np.hypot(X, Y) * 0.262, np.arctan2(Y, X)


def measured(*arcs, theta=2.0, fwhm=1.0):
    """Shapes of arc light alone; a bare sky takes no host model away but its median, which is 0."""
    image = np.stack([np.repeat(arc[None], 3, axis=0) for arc in arcs]).astype(np.float32)
    return arc_morphology(image, np.ones_like(image), theta_e_arcsec=theta, fwhm_arcsec=fwhm)


def spot(angle, *, r=2.0, width=0.25, flux=1.0):
    light = np.exp(-0.5 * ((X * 0.262 - r * np.cos(angle)) ** 2 + (Y * 0.262 - r * np.sin(angle)) ** 2) / width**2)
    return flux * light / light.sum()


def test_one_side_is_lopsided_an_even_pair_is_not_but_twofold():
    table = measured(spot(0.26), spot(0.26) + spot(0.26 + np.pi))
    assert table["arc_asymmetry"][0] > 0.85 and table["arc_asymmetry"][1] < 0.02
    assert table["arc_two_fold"][1] > 0.8
    assert table["arc_extent"][1] == pytest.approx(2 * table["arc_extent"][0], rel=0.02)


def test_ten_times_the_flux_is_two_and_a_half_magnitudes_and_nothing_else():
    faint, bright = measured(spot(1.0), spot(1.0, flux=10.0)).to_dict("records")
    assert faint["arc_surface_brightness"] - bright["arc_surface_brightness"] == pytest.approx(2.5, abs=1e-4)
    for name in set(faint) - {"arc_surface_brightness"}:
        assert faint[name] == pytest.approx(bright[name], abs=1e-4)


def test_radius_width_and_rings_follow_the_light():
    near, far, wide = measured(spot(0.7, r=1.6), spot(0.7, r=2.4), spot(0.7, width=0.5)).to_dict("records")
    assert near["arc_radius_ratio"] == pytest.approx(0.8, abs=0.03)
    assert far["arc_radius_ratio"] == pytest.approx(1.2, abs=0.03)
    assert wide["arc_spread"] > 2.5 * far["arc_spread"] and wide["arc_width"] > 1.4 * far["arc_width"]
    # weighted by the square of a Gaussian: 4 pi (0.25 / sqrt 2)^2 of lit area at FWHM 1
    assert far["arc_spread"] == pytest.approx(2 * np.pi * 0.25**2, rel=0.05)
    inner, outer = ([row[f"arc_ring_{k}"] for k in range(6)] for row in (near, far))
    assert np.argmax(inner) == 2 and np.argmax(outer) == 3
    assert np.abs(inner).sum() == pytest.approx(1.0)


def test_nothing_is_measured_where_the_annulus_has_no_data():
    image = np.repeat(spot(0.0)[None, None], 3, axis=1).astype(np.float32)
    invvar = np.ones_like(image)
    invvar[:, :, :, :32] = 0.0
    assert arc_morphology(image, invvar, theta_e_arcsec=2.0, fwhm_arcsec=1.0).isna().all(axis=None)
    with pytest.raises(PixelError):
        arc_morphology(image[:, :1], invvar[:, :1], theta_e_arcsec=2.0, fwhm_arcsec=1.0)


def shapes(n, *, seed, brighter=0.0, lopsided=0.0):
    """Arcs of one universe as numbers: cheap features under the names of gate 4."""
    table = cheap(n, seed=seed, n_features=3).rename(columns={f"arc_{k}": GATE_4_COLUMNS[k] for k in range(3)})
    table["arc_surface_brightness"] = 24.5 - brighter + 0.5 * table["arc_surface_brightness"]
    table["arc_asymmetry"] = np.clip(0.5 + lopsided + 0.15 * table["arc_asymmetry"], 0.0, 1.0)
    return table


def test_one_universe_has_small_p_at_the_stated_rate():
    quick = dataclasses.replace(FAST, n_simulations=0)
    status = [
        gate_morphology(sample_of(shapes(60, seed=k), shapes(300, seed=900 + k)), gates=GATES, options=quick).statistics
        for k in range(30)
    ]
    assert sum(found["p"] > 0.05 for found in status) >= 25  # 28.5 expected of 30


@pytest.mark.parametrize(
    "planted, column", [({"brighter": 2.5}, "arc_surface_brightness"), ({"lopsided": 0.12}, "arc_asymmetry")]
)
def test_a_planted_difference_has_the_smallest_p_and_is_named(planted, column):
    anchors, injections = shapes(112, seed=1), shapes(600, seed=2, **planted)
    gate = gate_morphology(sample_of(anchors, injections), gates=GATES, options=FAST)
    assert gate.status == "reported" and gate.statistics["farthest"] == column and column in gate.sentence
    assert gate.statistics["p"] == pytest.approx(0.01)
    if "brighter" in planted:  # magnitudes: injections brighter by 2.5 mag, 5 scatters of 0.5
        assert gate.statistics["columns"][column]["difference_in_scatters"] == pytest.approx(-5.0, abs=0.8)
    assert gate.statistics["small_p_if_equal"] <= 0.4


def test_too_few_anchors_are_insufficient_and_missing_columns_are_named():
    few = gate_morphology(sample_of(shapes(12, seed=1), shapes(300, seed=2)), gates=GATES, options=FAST)
    assert few.status == "insufficient" and few.n_anchors == 12
    with pytest.raises(CatalogueError, match="arc_asymmetry"):
        bare = shapes(40, seed=1).drop(columns="arc_asymmetry")
        gate_morphology(sample_of(bare, shapes(300, seed=2)), gates=GATES, options=FAST)


def test_unmeasured_arcs_take_no_part():
    anchors = shapes(60, seed=1)
    anchors.loc[:9, "arc_asymmetry"] = np.nan
    assert gate_morphology(sample_of(anchors, shapes(300, seed=2)), gates=GATES, options=FAST).n_anchors == 50
