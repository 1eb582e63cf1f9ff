"""One verdict of eight gates: what each planted fault does to it, its hash, and its words."""

import dataclasses
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError, RealismGateFailed
from skytrace.imaging.quality import QualityOptions
from skytrace.selection.arcs import ArcOptions
from skytrace.selection.realism import (
    COMPARISON_RULE,
    GATE_NAMES,
    BlindPanelOptions,
    ClassifierTestOptions,
    ComparisonSettings,
    GateOptions,
    GateResult,
    LinearProbeOptions,
    MorphologyOptions,
    comparison_hash,
    comparison_sample,
    realism_report,
    require_go,
    verdict,
)
from skytrace.sky import SelectionOptions
from tests.selection.gate_tables import INJECTIONS, OPTIONS, arcs, background, parity, report, statuses


def test_injections_of_the_anchors_own_universe_are_go():
    result = report(arcs(120, seed=1, discovered=True), INJECTIONS)
    assert result["verdict"] == "GO" and result["validated"] is True
    assert list(statuses(result)) == list(GATE_NAMES)
    judged = {name: status for name, status in statuses(result).items() if status != "reported"}
    assert set(judged.values()) == {"pass"} and [name[0] for name in judged] == ["1", "2", "3", "5", "7", "8"]


def test_the_probe_is_judged_and_reported_gates_decide_nothing():
    anchors = arcs(120, seed=1, discovered=True)
    for judged in ("gate_5", "gate_8"):
        assert report(anchors, INJECTIONS, **{judged: "fail"})["verdict"] == "NO-GO"
    assert report(anchors, INJECTIONS, gate_8="insufficient")["verdict"] == "INSUFFICIENT"
    assert report(anchors, INJECTIONS, gate_4="insufficient")["verdict"] == "INSUFFICIENT"
    reported = [GateResult(name, "reported", {}, {}, 0, 0, "") for name in GATE_NAMES]
    assert verdict(reported) == "INSUFFICIENT"  # nothing was judged


def test_a_report_of_some_of_the_gates_is_refused():
    sample = comparison_sample(arcs(60, seed=1), INJECTIONS, options=OPTIONS)
    rest = {"threshold": 0.5, "options": OPTIONS, "settings": ComparisonSettings()}
    gates = [GateResult(name, "pass", {}, {}, 0, 0, "") for name in GATE_NAMES]
    assert realism_report(gates[::-1], sample, **rest)["gates"][0]["name"] == GATE_NAMES[0]
    for some in (gates[:7], [*gates[:7], gates[0]]):
        with pytest.raises(CatalogueError, match="a report needs 1 arc S/N"):
            realism_report(some, sample, **rest)


@pytest.mark.parametrize("planted, gate", [({"brighter": 3.0}, "1 arc S/N"), ({"redder": 0.5}, "3 arc colour")])
def test_a_planted_difference_is_no_go_by_its_own_gate(planted, gate):
    false = arcs(20_000, seed=0, **planted)
    falls = []
    for seed in range(20):
        result = report(arcs(60, seed=2000 + seed, discovered=True), false)
        falls.append(statuses(result)[gate] == "fail")
        assert result["verdict"] == "NO-GO" or not falls[-1]
        assert statuses(result)["2 background"] == statuses(result)["7 parity"] == "pass"
    assert np.mean(falls) >= 0.9


def test_sky_noise_added_twice_fails_the_background_gate_alone():
    result = report(arcs(120, seed=1, discovered=True), INJECTIONS, sky=background(extra_noise=1.0))
    assert result["verdict"] == "NO-GO"
    assert [name for name, status in statuses(result).items() if status not in ("pass", "reported")] == ["2 background"]
    gate = result["gates"][1]["statistics"]["r"]
    assert abs(gate["scatter_ratio"] - np.sqrt(2)) < 0.05 and gate["p"] < 0.001 and gate["d"] > 0.06


def test_too_few_anchors_are_insufficient_not_go():
    result = report(arcs(12, seed=1, discovered=True), INJECTIONS)
    assert result["verdict"] == "INSUFFICIENT" and result["validated"] is False
    assert statuses(result)["1 arc S/N"] == statuses(result)["3 arc colour"] == "insufficient"
    assert "needs 30" in result["gates"][0]["sentence"]
    empty = report(arcs(0, seed=1), INJECTIONS)
    assert empty["verdict"] == "INSUFFICIENT"


def test_a_failed_gate_outweighs_an_insufficient_one():
    scores = parity()
    scores.loc[5, "zero_score"] += 1e-12
    assert report(arcs(12, seed=1, discovered=True), INJECTIONS, scores=scores)["verdict"] == "NO-GO"
    gates = [GateResult("x", status, {}, {}, 0, 0, "") for status in ("pass", "insufficient", "fail")]
    assert [verdict(gates[:k]) for k in range(4)] == ["INSUFFICIENT", "GO", "INSUFFICIENT", "NO-GO"]


GATE_GROUPS = {
    "morphology": MorphologyOptions, "classifier_test": ClassifierTestOptions, "blind_panel": BlindPanelOptions,
    "linear_probe": LinearProbeOptions,
}  # fmt: skip


def _changed(value):
    """Another value of the same kind, within the range of every option of the gates."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 0.9 * value if value else 0.1
    if isinstance(value, str):
        return {"gradient_boosting": "logistic"}[value]
    if isinstance(value, tuple):
        return value[:-1]
    name = dataclasses.fields(value)[0].name
    return dataclasses.replace(value, **{name: _changed(getattr(value, name))})


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(GateOptions)])
def test_the_hash_changes_with_every_bound_and_every_rule_of_matching(name):
    other = dataclasses.replace(OPTIONS, **{name: _changed(getattr(OPTIONS, name))})
    settings, axes = ComparisonSettings(), ("theta_e",)
    assert comparison_hash(other, settings, axes=axes) != comparison_hash(OPTIONS, settings, axes=axes)


@pytest.mark.parametrize(
    "changed",
    [
        *({name: _changed(getattr(ComparisonSettings(), name))} for name in
          ("psf_beta", "composites_per_anchor", "n_stamps")),
        {"comparison_rule": COMPARISON_RULE + 1},
        *({"arcs": dataclasses.replace(ArcOptions(), **{field.name: _changed(getattr(ArcOptions(), field.name))})}
          for field in dataclasses.fields(ArcOptions)),
        *({group: dataclasses.replace(kind(), **{field.name: _changed(getattr(kind(), field.name))})}
          for group, kind in GATE_GROUPS.items() for field in dataclasses.fields(kind) if field.name != "stamps"),
        {"blind_panel": BlindPanelOptions(stamps=48)},
        {"selection": SelectionOptions(mag_z_max=21.0)}, {"selection": SelectionOptions(maskbits=(1,))},
        {"quality": QualityOptions(nan_fraction_centre_max=0.1)},
    ],
    ids=str,
)  # fmt: skip
def test_the_hash_changes_with_everything_else_that_decides_the_comparison(changed):
    settings = ComparisonSettings()
    other = dataclasses.replace(settings, **changed)
    assert comparison_hash(OPTIONS, other, axes=("theta_e",)) != comparison_hash(OPTIONS, settings, axes=("theta_e",))


def test_the_hash_tells_whether_hosts_were_matched():
    anchors, injections = arcs(60, seed=1, discovered=True), INJECTIONS[:3000]
    blind = report(anchors, injections)
    hosts = {"host_r_mag": 18.5, "host_g_r": 1.6}
    matched = report(anchors.assign(**hosts), injections.assign(**hosts))
    assert blind["matched_axes"] == ["theta_e", "psf_fwhm", "depth"]
    assert matched["matched_axes"] == [*blind["matched_axes"], *hosts]
    assert blind["options_hash"] != matched["options_hash"]
    assert blind["settings"]["comparison_rule"] == COMPARISON_RULE


@pytest.mark.parametrize("real, fake", [([1.0, 1.2], [300.0] * 400), ([5.0], [5.0])])
def test_the_figure_of_samples_that_do_not_overlap_warns_of_nothing(real, fake):
    from skytrace.reporting.selection_figures import realism_figure

    tables = [pd.DataFrame({"arc_snr": v, "arc_g_r": v, "arc_r_z": v}) for v in (np.array(real), np.array(fake))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = realism_figure({"verdict": "NO-GO"}, tables[0], tables[1])
        figure.canvas.draw()
    outlines = [patch.get_path().vertices for axis in figure.axes for patch in axis.patches]
    assert len(outlines) == 6
    for outline in outlines:  # nothing is missing: the bins of either sample add up to one
        _, first = np.unique(outline[:, 0], return_index=True)
        assert outline[first + 1, 1][:-1].sum() == pytest.approx(1.0)


def test_the_report_is_json_without_nan_and_names_its_bounds():
    result = report(arcs(3, seed=1), INJECTIONS.drop(columns="injected_snr"))
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    assert result["options"]["snr_ratio_high"] == 2.0
    assert result["options_hash"] == report(arcs(60, seed=2), INJECTIONS)["options_hash"]
    looser = GateOptions(n_null=100, background_resamples=50, snr_ratio_high=2.5)
    assert report(arcs(60, seed=2), INJECTIONS, options=looser)["options_hash"] != result["options_hash"]
    assert all(gate["sentence"] and gate["bound"] for gate in result["gates"]) and result["limits"]


def test_a_required_go_names_the_gates_that_fell():
    result = report(arcs(12, seed=1, discovered=True), INJECTIONS)
    with pytest.raises(RealismGateFailed, match=r"INSUFFICIENT: 1 arc S/N \(insufficient\); 3 arc colour"):
        require_go(result)
    require_go({"verdict": "GO", "gates": []})


def test_unusable_tables_and_options_are_refused_by_name():
    with pytest.raises(CatalogueError, match="anchors lack the columns arc_snr"):
        comparison_sample(arcs(3, seed=1).drop(columns="arc_snr"), INJECTIONS, options=OPTIONS)
    with pytest.raises(OptionError, match=r"snr_ratio_high = 0.5"):
        GateOptions(snr_ratio_high=0.5)
    with pytest.raises(OptionError, match="whole number"):
        GateOptions(neighbours=2.5)  # type: ignore[arg-type]
