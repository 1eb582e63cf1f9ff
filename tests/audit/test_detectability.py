"""The gate on planted arcs, noise and artefacts; recall in two factors, exactly; completeness with Beta intervals."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrace.audit.detectability import (
    DetectabilityOptions,
    anchor_completeness,
    arc_evidence,
    calibrate_gate,
    measurable,
    observable,
    recall_factors,
)
from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.statistics import beta_interval

SIGMA = 0.01
#: The bare measures: nothing clipped that is planted, no error granted to the host model.
OPTIONS = DetectabilityOptions(clip=10.0, host_error=0.0, false_alarm_rate=0.05, n_resamples=200)


def evidence_of(stamps, weight=None, **shape):
    return arc_evidence(stamps, weight, options=OPTIONS, **shape)


def hosts(n, *, seed=0, arc=0.0, bands=(1.0, 1.0, 1.0), half_deg=50.0):
    """Round hosts in white noise, (n, 3, 101, 101); arc: brightness [sigma] of an arc at 8-10 px."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((101, 101)) - 50
    radius = np.hypot(x, y)
    light = 0.5 * np.exp(-radius / 3.0)
    where = (np.abs(radius - 9.0) <= 1.0) & (np.abs(np.arctan2(y, x)) < np.radians(half_deg))
    stamps = np.tile(light, (n, 3, 1, 1)) + arc * SIGMA * where * np.asarray(bands)[:, None, None]
    return (stamps + rng.normal(0.0, SIGMA, stamps.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def random():
    return evidence_of(hosts(300, seed=1))


def test_noise_about_a_host_has_no_energy_and_a_score_of_unit_variance(random):
    assert abs(random["arc_energy"].mean()) < 0.05
    assert abs(random["coherence"].mean()) < 0.005
    assert abs(random["score"].mean()) < 4.0 / np.sqrt(300)
    assert random["score"].std() == pytest.approx(1.0, abs=0.12)


def test_an_arc_has_the_energy_that_was_planted():
    y, x = np.indices((101, 101)) - 50
    radius = np.hypot(x, y)
    annulus = (radius >= 4) & (radius <= 16)
    arc = (np.abs(radius - 9.0) <= 1.0) & (np.abs(np.arctan2(y, x)) < np.radians(12.0))
    share = arc.sum() / annulus.sum()
    # short: an arc of 100 degrees would draw the median of its rings by half a sigma
    planted = evidence_of(hosts(60, seed=2, arc=5.0, half_deg=12.0))
    assert planted["arc_energy"].mean() == pytest.approx(share * 25.0, rel=0.08)
    assert planted["score"].mean() == pytest.approx(np.sqrt(3 * annulus.sum()) * share * 25.0, rel=0.08)
    fraction = share * 25.0 * (1 - share) / (1.0 + share * 25.0 * (1 - share))
    assert planted["coherence"].mean() == pytest.approx(fraction, abs=0.03)


def test_light_in_one_band_alone_is_no_evidence(random):
    artefact = evidence_of(hosts(60, seed=3, arc=5.0, bands=(0.0, 1.0, 0.0)))
    assert artefact["arc_energy"].mean() > 0.3
    assert abs(artefact["score"].mean()) < 0.6 and artefact["score"].std() < 2.0


def test_a_bright_neighbour_counts_no_more_than_its_clipped_pixels():
    stamps = hosts(4, seed=4)
    stamps[:, :, 48:53, 60:65] += 100.0
    evidence = evidence_of(stamps)
    n_pix = (np.hypot(*(np.indices((101, 101)) - 50)) <= 16).sum()
    assert (evidence["arc_energy"] < 100.0 * 25 / (n_pix - 60)).all()


@pytest.mark.parametrize("how", ["step", "noise"])
def test_an_unstable_background_is_never_observable(how):
    stamps = hosts(10, seed=5, arc=8.0)
    if how == "step":
        stamps[:, 2, :50, :50] += 2.0 * SIGMA
    else:
        stamps[:, 0, 51:, 51:] += np.random.default_rng(1).normal(0, 2 * SIGMA, (10, 50, 50)).astype(np.float32)
    evidence = evidence_of(stamps)
    column, limit = ("median_range", 0.5) if how == "step" else ("sigma_ratio", 1.5)
    assert (evidence[column] > limit).all()
    assert not observable(evidence, 3.0).any() and not measurable(evidence).any()
    assert observable(evidence_of(hosts(10, seed=5, arc=8.0)), 3.0).all()


def test_the_host_shape_matters_and_is_taken_from_the_catalogue():
    y, x = np.indices((101, 101)) - 50
    radius = np.sqrt(0.5 * x**2 + y**2 / 0.5)
    noise = np.random.default_rng(6).normal(0, SIGMA, (20, 3, 101, 101))
    stamps = (0.8 * np.exp(-radius / 3.0) + noise).astype(np.float32)
    assert evidence_of(stamps, q=0.5)["score"].mean() < 3.0
    assert evidence_of(stamps)["score"].mean() > 30.0


def test_missing_pixels_lower_the_coverage_until_nothing_is_measured():
    stamps = hosts(2, seed=7)
    weight = np.full_like(stamps, SIGMA**-2)
    weight[1, 0, 30:50, :] = 0.0
    evidence = evidence_of(stamps, weight)
    assert evidence["coverage"].tolist()[0] == 1.0 and evidence["coverage"][1] < 0.6
    assert np.isfinite(evidence["score"][0]) and np.isnan(evidence["score"][1])
    assert not observable(evidence, -100.0)[1]
    assert measurable(evidence).tolist() == [True, False]


def test_the_threshold_keeps_the_stated_false_alarms_and_not_one_fewer(random):
    arcs = evidence_of(hosts(60, seed=8, arc=2.0))
    gate = calibrate_gate(arcs, random, options=OPTIONS)
    assert gate["false_alarms"]["k"] == 15 and gate["false_alarms"]["n"] == 300
    assert observable(random, gate["threshold"]).sum() == 15
    # 5 % of a unit normal lies above 1.64
    assert gate["threshold"] == pytest.approx(1.64, abs=0.35)
    assert gate["anchors_observable"]["share"] > 0.95 and gate["auc"]["value"] > 0.98
    low, high = gate["anchors_observable"]["interval_95"]
    k, n = gate["anchors_observable"]["k"], 60
    assert [low, high] == [float(end) for end in beta_interval(k, n, 0.9545)]
    unstable = pd.concat([arcs, arcs.assign(median_range=9.0)], ignore_index=True)
    apart = calibrate_gate(unstable, random, options=OPTIONS)
    assert apart["anchors_observable"] == gate["anchors_observable"]  # 60 of these say nothing about their arcs
    assert apart["unstable_or_unmeasured"]["anchors"] == 60
    same = calibrate_gate(random.iloc[:150], random.iloc[150:], options=OPTIONS)
    assert same["auc"]["low_95"] < 0.5 < same["auc"]["high_95"]
    assert gate["confusers_passing"] is None
    assert calibrate_gate(arcs, random, confusers=arcs, options=OPTIONS)["confusers_passing"]["n"] == 60
    with pytest.raises(CatalogueError, match="at least 20 random galaxies"):
        calibrate_gate(arcs, random.iloc[:19], options=OPTIONS)


def test_galaxies_of_one_sky_cell_widen_the_interval_of_the_gates_auc(random):
    """Every galaxy ten times, in one cell: as many galaxies as before, so the interval is that of the ten-fold rest."""
    arcs = evidence_of(hosts(30, seed=8, arc=0.4))
    cells = np.arange(30), np.arange(30, 30 + len(random))
    ten = [pd.concat([table] * 10, ignore_index=True) for table in (arcs, random)]
    ten_cells = tuple(np.tile(cell, 10) for cell in cells)

    def width(*tables, **given):
        gate = calibrate_gate(*tables, options=OPTIONS, **given)
        return gate["auc"]["high_68"] - gate["auc"]["low_68"], gate["auc_resampled"]

    alone, by_row = width(arcs, random, cells=cells), width(*ten)
    together = width(*ten, cells=ten_cells)
    assert (alone[1], by_row[1], together[1]) == ("sky cells", "stamps", "sky cells")
    assert together[0] == pytest.approx(alone[0], rel=1e-9)
    assert by_row[0] == pytest.approx(alone[0] / np.sqrt(10), rel=0.25)
    assert width(arcs, random, cells=tuple(cell % 3 for cell in cells))[1] == "stamps"


def test_an_error_granted_to_the_host_model_silences_its_structure_and_not_an_arc_outside():
    y, x = np.indices((101, 101)) - 50
    lumpy = hosts(20, seed=9) + (0.1 * 2.0 * np.exp(-np.hypot(x, y) / 4.0) * np.cos(6 * np.arctan2(y, x))).astype("f4")
    lumpy += (1.5 * np.exp(-np.hypot(x, y) / 4.0)).astype(np.float32)
    arcs = hosts(20, seed=10, arc=4.0)
    bare, granted = DetectabilityOptions(host_error=0.0, clip=10.0), DetectabilityOptions(host_error=0.2, clip=10.0)
    lumps = [arc_evidence(lumpy, options=options)["score"].mean() for options in (bare, granted)]
    arc = [arc_evidence(arcs, options=options)["score"].mean() for options in (bare, granted)]
    assert lumps[1] < 0.1 * lumps[0]
    assert arc[1] > 0.7 * arc[0]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_two_factors_multiply_to_the_recall_exactly(pairs):
    gate, found = np.array(pairs).T
    factors = recall_factors(gate, found)

    def exact(name):
        return Fraction(factors[name]["k"], factors[name]["n"]) if factors[name]["n"] else Fraction(0)

    assert exact("observable_fraction") * exact("conditional_recall") == exact("product")
    assert exact("recall") == exact("recall_of_measured") == exact("product") + exact("recovered_unobservable")
    unobservable = 1 - exact("observable_fraction")
    assert exact("recovered_unobservable") == unobservable * exact("recall_of_unobservable")
    consistent = recall_factors(gate, found & gate)
    assert consistent["product"] == consistent["recall"]


def test_factors_carry_beta_intervals_and_nobody_observable_has_no_conditional_recall():
    factors = recall_factors([True] * 30 + [False] * 70, [True] * 20 + [False] * 80)
    assert factors["observable_fraction"]["share"] == pytest.approx(0.3)
    assert factors["conditional_recall"]["share"] == pytest.approx(2 / 3)
    assert factors["recall"]["interval_68"] == [float(end) for end in beta_interval(20, 100, 0.6827)]
    nobody = recall_factors([False, False], [True, False])
    assert nobody["conditional_recall"]["share"] is None and nobody["recall"]["share"] == pytest.approx(0.5)
    with pytest.raises(CatalogueError, match="same anchors"):
        recall_factors([True], [True, False])


@given(
    st.lists(st.tuples(st.sampled_from(["observable", "not_observable", "not_measured"]), st.booleans()), min_size=1)
)
def test_what_is_not_measured_is_in_neither_factor_and_counted_apart(pairs):
    kind, found = np.array([one for one, _ in pairs]), np.array([one for _, one in pairs])
    known = kind != "not_measured"
    factors = recall_factors(kind == "observable", found, measured=known)
    for name, part in factors["classes"].items():
        assert (part["k"], part["n"]) == ((kind == name).sum(), len(kind))
    recalls = ("conditional_recall", "recall_of_unobservable", "recall_of_unmeasured")
    for name, recall in zip(factors["classes"], recalls, strict=True):
        assert (factors[recall]["k"], factors[recall]["n"]) == (found[kind == name].sum(), (kind == name).sum())
    alone = recall_factors(kind[known] == "observable", found[known]) if known.any() else None
    for name in ("observable_fraction", "product", "recall_of_measured", "recovered_unobservable"):
        assert alone is None or factors[name] == alone[name]  # as if the others were not there
    assert (factors["recall"]["k"], factors["recall"]["n"]) == (found.sum(), len(found))


def test_an_anchor_cannot_be_observable_without_being_measured():
    with pytest.raises(CatalogueError, match="1 anchors are called observable although not measured"):
        recall_factors([True, False], [True, False], measured=[False, True])


def test_completeness_is_counted_in_every_bin_and_over_all():
    anchors = pd.DataFrame(
        {
            "psfsize_r": [1.0, 1.2, 1.2, 1.4, 2.0],
            "psfdepth_r": psfdepth_from_mag([23.0, 23.7, 24.2, 24.9, 24.9]),
            "theta_e_arcsec": [0.8, 1.2, np.nan, 2.5, 1.0],
        }
    )
    detected = np.array([True, False, True, True, False])
    table = anchor_completeness(anchors, detected)
    assert table.iloc[0][["axis", "n", "k"]].tolist() == ["all", 5, 3]
    theta = table[table["axis"] == "theta_e_arcsec"].set_index("low")
    assert theta["n"].to_dict() == {0.0: 1, 1.0: 2, 1.5: 0, 2.0: 1}
    assert theta["k"].to_dict() == {0.0: 1, 1.0: 0, 1.5: 0, 2.0: 1}
    assert np.isnan(theta.loc[1.5, "completeness"])
    unmeasured = table[table["axis"] == "theta_e_arcsec unmeasured"].iloc[0]
    assert (unmeasured["n"], unmeasured["k"]) == (1, 1)
    for axis in ("psfsize_r", "depth_r_mag", "theta_e_arcsec"):
        assert table[table["axis"].str.startswith(axis)]["n"].sum() == 5
    low, high = beta_interval(table["k"], table["n"], 0.9545)
    np.testing.assert_allclose(table[["low95", "high95"]], np.stack([low, high], axis=1))
    with pytest.raises(CatalogueError, match="psfsize_r outside"):
        anchor_completeness(anchors.assign(psfsize_r=9.0), detected)
    with pytest.raises(CatalogueError, match="4 answers for 5 anchors"):
        anchor_completeness(anchors, detected[:4])


def test_bad_pixels_and_options_are_refused():
    with pytest.raises(PixelError, match="bands g, r, z"):
        evidence_of(np.zeros((1, 2, 101, 101)))
    for bad in ({"outer_px": 4.5}, {"false_alarm_rate": 0.0}, {"sigma_ratio_max": 1.0}, {"depth_edges_mag": (3, 2)}):
        with pytest.raises(OptionError, match=next(iter(bad))):
            DetectabilityOptions(**bad)
