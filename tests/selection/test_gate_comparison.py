"""Who is compared with whom: the same cut on both sides, weights, hosts, and every one left out is counted."""

import numpy as np
import pandas as pd
import pytest

from skytrace.selection.realism import comparison_sample, gate_arc_snr, nearest_injections
from skytrace.selection.realism.comparison import weighted_quantile
from tests.selection.gate_tables import INJECTIONS, OPTIONS, arcs, report


def test_anchors_left_out_are_counted_by_reason():
    anchors = arcs(100, seed=1, discovered=True)
    anchors.loc[:9, "theta_e"] = np.nan
    anchors.loc[10:14, "arc_flux_z"] = np.nan
    anchors.loc[15:21, "arc_snr"] = 1.0
    anchors.loc[22:24, "theta_e"] = 5.0
    counts = comparison_sample(anchors[:25], INJECTIONS, options=OPTIONS).counts
    assert [counts[f"anchors{key}"] for key in ("", "_without_theta_e", "_not_measurable")] == [25, 10, 5]
    assert counts["anchors_below_snr_cut"] + counts["anchors_without_near_injections"] == 10
    assert counts["anchors_compared"] == 0 and counts["anchors_without_near_injections"] >= 2


def test_rejected_anchors_are_counted_by_reason_and_never_compared():
    anchors = arcs(100, seed=1, discovered=True).assign(rejected="")
    honest = comparison_sample(anchors[10:], INJECTIONS, options=OPTIONS)
    anchors.loc[:9, "rejected"] = ["selection:mag_z"] * 6 + ["quality:nan_core_g;quality:nan_core_r"] * 4
    anchors.loc[:9, "arc_snr"] = 1e6
    sample = comparison_sample(anchors, INJECTIONS, options=OPTIONS)
    assert (sample.counts["anchors"], sample.counts["anchors_rejected"]) == (100, 10)
    assert sample.counts["anchors_rejected_by_reason"] == {
        "quality:nan_core_g": 4, "quality:nan_core_r": 4, "selection:mag_z": 6,
    }  # fmt: skip
    pd.testing.assert_frame_equal(sample.anchors, honest.anchors)
    result = report(anchors, INJECTIONS)
    assert result["comparison"]["anchors_rejected_by_reason"]["selection:mag_z"] == 6
    near = nearest_injections(anchors, INJECTIONS, n_per_anchor=5, options=OPTIONS)
    np.testing.assert_array_equal(near, nearest_injections(anchors[10:], INJECTIONS, n_per_anchor=5, options=OPTIONS))


def test_weights_carry_the_anchors_conditions_over_to_the_injections():
    anchors = arcs(300, seed=1, discovered=True)
    sample = comparison_sample(anchors, INJECTIONS, options=OPTIONS)
    weight = sample.injections["weight"]
    assert weight.sum() == pytest.approx(len(sample.anchors))
    for axis, step in (("theta_e", 0.25), ("psf_fwhm", 0.15), ("depth", 0.5)):
        weighted = np.average(sample.injections[axis], weights=weight)
        assert abs(weighted - sample.anchors[axis].mean()) < 0.35 * step
    assert abs(INJECTIONS["psf_fwhm"].mean() - anchors["psf_fwhm"].mean()) > 0.15  # unweighted they differ
    assert (sample.injections["arc_snr"] >= OPTIONS.observable_snr).all()


def test_the_cut_is_never_below_the_faint_end_of_what_was_discovered():
    anchors = arcs(400, seed=1, discovered=True)
    deep = comparison_sample(anchors, INJECTIONS, options=OPTIONS)
    shallow = comparison_sample(anchors[anchors["arc_snr"] > 20], INJECTIONS, options=OPTIONS)
    assert 5.0 <= deep.counts["arc_snr_cut"] < 20.0 < shallow.counts["arc_snr_cut"]
    assert shallow.injections["arc_snr"].min() >= shallow.counts["arc_snr_cut"]
    # discovery that went less deep is not held against the injections
    assert gate_arc_snr(shallow, options=OPTIONS).status == "pass"


def test_an_annulus_lit_by_a_neighbour_is_no_visible_arc():
    injections = INJECTIONS.copy()
    injections.loc[:4999, "arc_snr"] += 500.0
    sample = comparison_sample(arcs(100, seed=1, discovered=True), injections, options=OPTIONS)
    assert 0 <= sample.counts["injections_lit_by_others"] - (INJECTIONS["injected_snr"][:5000] < 5).sum() < 20
    assert (sample.injections["injected_snr"] >= 5.0).all()


def test_injections_are_matched_to_the_anchors_hosts_where_these_are_known():
    rng = np.random.default_rng(3)
    anchors = arcs(100, seed=1, discovered=True).assign(host_r_mag=18.5, host_g_r=1.6)
    red = rng.random(len(INJECTIONS)) < 0.3
    injections = INJECTIONS.assign(host_r_mag=rng.normal(19, 0.7, len(red)), host_g_r=np.where(red, 1.6, 0.6))
    injections.loc[~red, "arc_snr"] *= 8.0  # what blue hosts leave in the annulus
    blind = comparison_sample(anchors.drop(columns="host_g_r"), injections, options=OPTIONS)
    matched = comparison_sample(anchors, injections, options=OPTIONS)
    assert (blind.counts["host_matched"], matched.counts["host_matched"]) == (False, True)
    assert gate_arc_snr(blind, options=OPTIONS).status == "fail"
    assert gate_arc_snr(matched, options=OPTIONS).status == "pass"
    assert (matched.injections["host_g_r"] == 1.6).all()
    near = nearest_injections(anchors, injections, n_per_anchor=5, options=OPTIONS)
    assert len(near) and (injections["host_g_r"].iloc[near] == 1.6).all()


def test_composites_to_measure_are_chosen_near_the_anchors_and_blind_to_brightness():
    anchors = arcs(50, seed=1, discovered=True)
    chosen = nearest_injections(anchors, INJECTIONS, n_per_anchor=20, options=OPTIONS)
    assert len(np.unique(chosen)) == len(chosen) <= 1000
    dimmed = INJECTIONS.assign(arc_snr=-INJECTIONS["arc_snr"])
    np.testing.assert_array_equal(chosen, nearest_injections(anchors, dimmed, n_per_anchor=20, options=OPTIONS))
    near = INJECTIONS.iloc[chosen]
    assert near["theta_e"].between(anchors["theta_e"].min() - 0.26, anchors["theta_e"].max() + 0.26).all()
    assert abs(near["depth"].mean() - anchors["depth"].mean()) < 0.25


def test_weighted_quantile_counts_a_weight_as_repeats():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])
    assert weighted_quantile(values, 0.5, weights)[0] == pytest.approx(2.0)
    np.testing.assert_allclose(weighted_quantile(np.arange(101.0), [0.1, 0.5, 0.9]), [9.6, 50.0, 90.4])
    two = weighted_quantile(np.array([[1.0, 2, 3], [4, 5, 6]]), [0.5])
    np.testing.assert_allclose(two, [[2.0], [5.0]])
