"""Gates pass what is the same, stop what is planted, and say so when they cannot judge."""

import dataclasses
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError, PixelError, RealismGateFailed
from skytrace.imaging.quality import QualityOptions
from skytrace.selection.arcs import ArcOptions
from skytrace.selection.realism import (
    COMPARISON_RULE,
    BackgroundSample,
    ComparisonSettings,
    GateOptions,
    GateResult,
    background_pixels,
    comparison_hash,
    comparison_sample,
    gate_arc_colour,
    gate_arc_snr,
    gate_background,
    gate_parity,
    nearest_injections,
    realism_report,
    require_go,
    verdict,
)
from skytrace.selection.realism.comparison import weighted_quantile
from skytrace.sky import SelectionOptions

OPTIONS = GateOptions(n_null=100, background_resamples=50)


def arcs(n, *, seed, discovered=False, brighter=1.0, redder=0.0):
    """Arcs of one universe: fainter in shallow and blurred sky, log-normal in flux, with colours and noise.

    discovered: as anchors are, from large theta_E and good sky; otherwise evenly over the grid.
    """
    rng = np.random.default_rng(seed)
    theta = rng.choice(np.arange(0.5, 3.01, 0.25), n)
    psf = rng.choice(np.arange(0.9, 1.81, 0.15), n)
    depth = rng.choice(np.arange(22.5, 24.51, 0.5), n)
    if discovered:
        theta = np.clip(rng.normal(1.7, 0.4, n), 0.5, 3.0)
        psf, depth = np.clip(rng.normal(1.15, 0.12, n), 0.9, 1.8), np.clip(rng.normal(23.7, 0.3, n), 22.5, 24.5)
    flux = brighter * 10 ** rng.normal(0.3 + 0.3 * (theta - 1.5), 0.35)
    sigma = 10 ** (-0.4 * (depth - 23.0)) * (psf / 1.2) / 6.0
    g_r, r_z = rng.normal(0.3, 0.25, n) + redder, rng.normal(0.4, 0.3, n)
    fluxes = {"g": flux * 10 ** (-0.4 * g_r), "r": flux, "z": flux * 10 ** (0.4 * r_z)}
    noisy = {band: value + sigma * rng.normal(size=n) for band, value in fluxes.items()}
    table = pd.DataFrame({"theta_e": theta, "psf_fwhm": psf, "depth": depth, "arc_snr": noisy["r"] / sigma})
    return table.assign(injected_snr=flux / sigma, **{f"arc_flux_{band}": value for band, value in noisy.items()})


def stamps(extra_noise=0.0, seed=0, n=40):
    """Hosts in white noise, the same with a faint ring injected (and, if asked, with sky noise added once more)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((64, 64)) - 32
    r = np.hypot(x, y) * 0.262
    sigma = rng.uniform(0.01, 0.03, (n, 3))[..., None, None]
    host = (np.exp(-r / 0.5) + sigma * rng.normal(size=(n, 3, 64, 64))).astype(np.float32)
    ring = 0.05 * np.exp(-0.5 * ((r - 1.5) / 0.4) ** 2)
    after = host + ring + extra_noise * sigma * rng.normal(size=host.shape)
    invvar = np.broadcast_to(1 / sigma**2, host.shape).astype(np.float32)
    return host, after.astype(np.float32), invvar, sigma[..., 0, 0]


def background(extra_noise=0.0, seed=0):
    host, after, invvar, sigma = stamps(extra_noise, seed)
    return background_pixels(
        host, after, invvar, theta_e_arcsec=1.5, fwhm_arcsec=1.0, sigma_pix_nmgy=sigma, options=OPTIONS
    )


def parity(n=300, seed=1):
    score = np.random.default_rng(seed).random(n)
    return pd.DataFrame(
        {"host_score": score, "zero_score": score, "category": np.where(np.arange(n) % 3, "", "spiral_proxy")}
    )


def report(anchors, injections, sky=None, scores=None, options=OPTIONS):
    sample = comparison_sample(anchors, injections, options=options)
    return realism_report(
        sample, background() if sky is None else sky, parity() if scores is None else scores,
        threshold=0.9, options=options, settings=ComparisonSettings(),
    )  # fmt: skip


INJECTIONS = arcs(20_000, seed=0)


def statuses(result):
    return {gate["name"]: gate["status"] for gate in result["gates"]}


def test_injections_of_the_anchors_own_universe_are_go():
    result = report(arcs(120, seed=1, discovered=True), INJECTIONS)
    assert result["verdict"] == "GO" and result["validated"] is True
    assert set(statuses(result).values()) == {"pass"}
    assert list(statuses(result)) == ["1 arc S/N", "2 background", "3 arc colour", "7 parity"]


@pytest.mark.parametrize("n_anchors, lowest", [(40, 0.86), (120, 0.97)])
def test_equal_populations_pass_at_the_rate_that_the_report_states(n_anchors, lowest):
    passed, stated = [], []
    for seed in range(100):
        sample = comparison_sample(arcs(n_anchors, seed=1000 + seed, discovered=True), INJECTIONS, options=OPTIONS)
        gates = [gate_arc_snr(sample, options=OPTIONS), gate_arc_colour(sample, options=OPTIONS)]
        passed.append(all(gate.status == "pass" for gate in gates))
        stated.append([gate.statistics["pass_rate_if_equal"] for gate in gates])
    assert np.mean(passed) >= lowest
    assert abs(np.mean(passed) - np.prod(np.mean(stated, axis=0))) < 0.1


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
    assert [name for name, status in statuses(result).items() if status != "pass"] == ["2 background"]
    gate = result["gates"][1]["statistics"]["r"]
    assert abs(gate["scatter_ratio"] - np.sqrt(2)) < 0.05 and gate["p"] < 0.001 and gate["d"] > 0.06


def test_clean_injections_pass_the_background_gate_whatever_the_noise():
    status = [gate_background(background(seed=seed), options=OPTIONS).status for seed in range(20)]
    assert status.count("pass") == 20


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


def _changed(value):
    """Another value of the same kind, within the range of every option of the gates."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 0.9 * value if value else 0.1
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


def test_injected_light_alone_is_reported_beside_but_not_judged():
    sample = comparison_sample(arcs(60, seed=1, discovered=True), INJECTIONS, options=OPTIONS)
    gate = gate_arc_snr(sample, options=OPTIONS)
    sample.injections["injected_snr"] *= 100
    again = gate_arc_snr(sample, options=OPTIONS)
    assert again.status == gate.status == "pass"
    assert again.statistics["ratio_injected_light"]["median"] == pytest.approx(
        100 * gate.statistics["ratio_injected_light"]["median"]
    )


def test_a_negative_flux_in_a_faint_band_does_not_bias_the_colour():
    anchors, injections = arcs(200, seed=1, discovered=True), INJECTIONS.copy()
    honest = gate_arc_colour(comparison_sample(anchors, injections, options=OPTIONS), options=OPTIONS)
    faint = (
        anchors["arc_flux_g"] < np.quantile(anchors["arc_flux_g"] / anchors["arc_flux_r"], 0.2) * anchors["arc_flux_r"]
    )
    anchors.loc[faint, "arc_flux_g"] = -0.1
    again = gate_arc_colour(comparison_sample(anchors, injections, options=OPTIONS), options=OPTIONS)
    assert again.statistics["g_r"]["anchors"] == pytest.approx(honest.statistics["g_r"]["anchors"])


def test_masks_leave_out_sources_arcs_and_pixels_without_data():
    host, after, invvar, sigma = stamps()
    y, x = np.indices((64, 64)) - 32
    neighbour = np.exp(-0.5 * ((x - 24) ** 2 + (y - 24) ** 2) / 4.0)
    host, after = host + neighbour.astype(np.float32), after + neighbour.astype(np.float32)
    invvar[:, 1, :, :5] = 0.0
    host[:, 1, :, :5] = 1e9
    found = background_pixels(
        host, after, invvar, theta_e_arcsec=1.5, fwhm_arcsec=1.0, sigma_pix_nmgy=sigma, options=OPTIONS
    )
    outside = np.hypot(x, y) * 0.262 > 4.5
    assert 0.6 * outside[:, 5:].sum() * 40 < len(found.before) < outside[:, 5:].sum() * 40
    assert found.before.max() < 6 and abs(found.before.std() - 1) < 0.06 and abs(found.before.mean()) < 0.05
    assert found.n_stamps == 40
    with pytest.raises(PixelError, match="must be one"):
        background_pixels(host, after[:1], invvar, theta_e_arcsec=1, fwhm_arcsec=1, sigma_pix_nmgy=1, options=OPTIONS)


def test_too_few_background_pixels_are_insufficient():
    few = BackgroundSample(np.zeros((100, 3)), np.zeros((100, 3)), 1)
    assert gate_background(few, options=OPTIONS).status == "insufficient"


def test_parity_asks_for_the_same_score_bit_for_bit_and_the_same_false_positives():
    gate = gate_parity(parity(), threshold=0.9, options=OPTIONS)
    assert gate.status == "pass" and set(gate.statistics["false_positive_rate"]) == {"all", "spiral_proxy"}
    assert gate.statistics["false_positive_rate"]["spiral_proxy"]["n"] == 100
    moved = parity()
    moved["zero_score"] = np.nextafter(moved["host_score"], 2.0)
    moved.loc[0, "zero_score"] = np.nan
    gate = gate_parity(moved, threshold=0.9, options=OPTIONS)
    assert gate.status == "fail" and gate.statistics["n_changed"] == 299
    assert gate.statistics["n_without_zero_injection"] == 1
    assert gate_parity(parity(0), threshold=0.9, options=OPTIONS).status == "insufficient"


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
