"""Gate 8: size and power of the linear probe on the detector's features, and the Frechet distance."""

import dataclasses

import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.selection.realism.linear_probe import frechet_distance, gate_linear_probe
from skytrace.selection.realism.options import GateOptions, LinearProbeOptions
from tests.selection.gate_arcs import cheap, sample_of

GATES = GateOptions()
FAST = LinearProbeOptions(n_permutations=12, n_resamples=100, n_frechet=19, n_simulations=4, per_anchor=2)
MIXING = np.random.default_rng(9).normal(size=(12, 30))


def activations(n, *, seed, shift=0.0):
    """Correlated features of one generator (12 factors in 30 units); shift moves the first factor."""
    factors = np.random.default_rng(seed).normal(size=(n, 12))
    factors[:, 0] += shift
    return factors @ MIXING


def probe(n_anchors, *, seed=1, shift=0.0, n_injections=500, options=FAST, **more):
    sample = sample_of(cheap(n_anchors, seed=seed, n_features=1), cheap(n_injections, seed=seed + 500, n_features=1))
    layers = [{"penultimate": activations(n, seed=s, shift=d)} for n, s, d in
              ((n_anchors, seed + 1000, shift), (n_injections, seed + 2000, 0.0))]  # fmt: skip
    return gate_linear_probe(sample, *layers, gates=GATES, options=options, **more)


def test_one_generator_gives_an_interval_that_holds_one_half_at_its_stated_rate():
    quick = dataclasses.replace(FAST, n_simulations=0)
    found = [probe(60, seed=k, n_injections=200, options=dataclasses.replace(quick, seed=k)) for k in range(24)]
    statistics = [gate.statistics for gate in found]
    assert 0.44 <= np.mean([s["low_68"] <= 0.5 <= s["high_68"] for s in statistics]) <= 0.92
    assert np.mean([s["low_95"] <= 0.5 <= s["high_95"] for s in statistics]) >= 0.83
    assert np.mean([s["p"] for s in statistics]) > 0.3
    assert abs(np.mean([s["auc"] for s in statistics]) - 0.5) < 0.05
    assert {gate.status for gate in found} == {"insufficient"}  # no simulation, no power, no pass


def test_equal_features_pass_with_size_and_power_stated():
    gate = probe(112, seed=1)
    assert gate.status == "pass" and "mock anchors" in gate.sentence
    assert gate.statistics["false_alarm_rate"] == 0.0 and gate.statistics["power"] >= 0.8
    assert abs(gate.statistics["auc_if_equal"] - 0.5) < 0.08 < gate.statistics["auc_if_changed"] - 0.7
    # the smaller the difference, the less it sees; the sentence says both, and what the probe itself reached
    reached = gate.statistics["auc_if_changed_at"]
    assert reached["0.8"] < reached["0.85"] < gate.statistics["auc_if_changed"] < gate.statistics["best_auc_if_changed"]
    power = gate.statistics["power_at"]
    assert power["0.8"] <= power["0.85"] <= gate.statistics["power"]
    said = [f"in {power[auc]:.0%} at {auc} ({reached[auc]:.2f})" for auc in ("0.8", "0.85")]
    assert ", ".join(said) in gate.sentence and "less" not in gate.sentence


@pytest.mark.parametrize("n_injections", [290, 790])
def test_no_more_is_planted_than_said_where_the_features_are_many(n_injections):
    # 512 independent units: what is there is what the best classifier sees, and 56 anchors do not let the probe find it
    rng = np.random.default_rng(n_injections)
    sample = sample_of(cheap(56, seed=1, n_features=1), cheap(n_injections, seed=2, n_features=1))
    layers = [{"penultimate": rng.normal(size=(n, 512))} for n in (56, n_injections)]
    gate = gate_linear_probe(sample, *layers, gates=GATES, options=dataclasses.replace(FAST, n_simulations=8))
    best = gate.statistics["best_auc_if_changed_at"] | {"0.95": gate.statistics["best_auc_if_changed"]}
    for auc, counted in best.items():
        assert counted == pytest.approx(float(auc), abs=0.03)  # one choice of anchors scatters by 0.03 at 0.8
    assert 0.5 < gate.statistics["auc_if_changed_at"]["0.8"] < 0.70
    assert gate.statistics["power_at"]["0.8"] == 0.0 and gate.statistics["power"] < 0.8
    assert gate.status == "insufficient" and "below the 80% asked for" in gate.sentence


def test_a_shift_in_the_features_fails_with_the_auc_that_it_allows():
    gate = probe(112, seed=1, shift=2.5)
    # the best linear classifier of a shift by 2.5 scatters: Phi(2.5 / sqrt 2) = 0.961
    assert gate.status == "fail" and 0.88 < gate.statistics["auc"] < 0.99
    assert gate.statistics["p"] == pytest.approx(1 / 13)
    assert gate.statistics["frechet"]["penultimate"]["p"] == pytest.approx(1 / 20)


def test_an_alternative_population_is_what_power_is_stated_against():
    other = activations(500, seed=2001, shift=4.0)
    gate = probe(112, seed=1, alternative=other)
    assert gate.statistics["power"] == 1.0 and "alternative" in gate.sentence


def test_too_few_anchors_or_too_little_power_are_insufficient():
    assert probe(12).status == "insufficient"
    gate = probe(60, options=dataclasses.replace(FAST, planted_auc=0.6))
    assert (
        gate.status == "insufficient" and gate.statistics["power"] < 0.8 and "below the 80% asked for" in gate.sentence
    )


def test_brightness_alone_is_matched_away():
    rng = np.random.default_rng(3)
    anchors, injections = cheap(120, seed=1, n_features=1), cheap(2000, seed=2, n_features=1)
    anchors["arc_snr"] *= 2.0
    features = [
        {"penultimate": np.log10(t["arc_snr"].to_numpy())[:, None] + 0.02 * rng.normal(size=(len(t), 6))}
        for t in (anchors, injections)
    ]
    matched = gate_linear_probe(
        sample_of(anchors, injections), *features, gates=GATES, options=dataclasses.replace(FAST, n_simulations=0)
    )
    blind = gate_linear_probe(
        sample_of(anchors, injections), *features, gates=dataclasses.replace(GATES, max_distance_steps=50.0),
        options=dataclasses.replace(FAST, n_simulations=0, arc_snr_step_dex=10.0),
    )  # fmt: skip
    assert matched.statistics["auc"] < 0.7 < 0.75 < blind.statistics["auc"]


def test_frechet_distance_is_that_of_the_two_gaussians():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(400, 3)) * [1.0, 2.0, 3.0], rng.normal(size=(300, 3)) + np.array([1.0, 0.0, 2.0])
    from scipy.linalg import sqrtm

    first, second = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(a, a + np.array([3.0, 4.0, 0.0])) == pytest.approx(25.0, rel=1e-9)


def test_frechet_distance_of_fewer_points_than_dimensions():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(6, 10)), rng.normal(size=(5, 10)) + 1.0
    first, second = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * shared
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(CatalogueError, match="two points"):
        frechet_distance(a[:1], b)


def test_features_that_do_not_fit_are_named():
    sample = sample_of(cheap(40, seed=1), cheap(200, seed=2))
    good = {"penultimate": activations(40, seed=1)}
    with pytest.raises(CatalogueError, match="not 200 rows"):
        gate_linear_probe(sample, good, {"penultimate": activations(150, seed=1)}, gates=GATES)
    with pytest.raises(CatalogueError, match="must be the same"):
        gate_linear_probe(sample, good, {"layer4": activations(200, seed=1)}, gates=GATES)
