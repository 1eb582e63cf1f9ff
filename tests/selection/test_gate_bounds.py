"""Gates 1, 2, 3 and 7: size where nothing differs, and what each of them measures."""

import dataclasses

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.selection.realism import (
    BackgroundSample,
    background_pixels,
    comparison_sample,
    gate_arc_colour,
    gate_arc_snr,
    gate_background,
    gate_parity,
)
from tests.selection.gate_tables import INJECTIONS, OPTIONS, arcs, background, parity, stamps


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


def test_clean_injections_pass_the_background_gate_whatever_the_noise():
    status = [gate_background(background(seed=seed), options=OPTIONS).status for seed in range(20)]
    assert status.count("pass") == 20


def test_the_background_gate_states_the_least_scatter_that_it_would_fail():
    rng = np.random.default_rng(3)
    before = rng.normal(size=(40_000, 1))
    gate = gate_background(BackgroundSample(before, before, 10), options=OPTIONS)
    failing = gate.statistics["g"]["scatter_ratio_failing"]
    assert gate.statistics["g"]["scatter_ratio"] == 1.0
    # two normal distributions differ by max x phi(x) ln(factor) = 0.242 ln(factor), and p is 0.05 at
    # D = 1.358 sqrt(2 / n): 0.043 at 2,000. That is 1.19 without the samples' own scatter, which adds to D
    assert 1.08 < failing < np.exp(1.358 * np.sqrt(2 / OPTIONS.background_sample_px) / 0.242)
    for factor, status in ((failing - 0.03, "pass"), (failing + 0.03, "fail")):
        again = gate_background(BackgroundSample(before, factor * before, 10), options=OPTIONS)
        assert again.status == status
        assert again.statistics["g"]["scatter_ratio"] == pytest.approx(factor)
    assert f"g 1.000 and {failing:.2f}" in gate.sentence
    # a sample of a quarter sees half as well
    fewer = dataclasses.replace(OPTIONS, background_sample_px=OPTIONS.background_sample_px // 4)
    coarse = gate_background(BackgroundSample(before, before, 10), options=fewer)
    ratio = (coarse.statistics["g"]["scatter_ratio_failing"] - 1.0) / (failing - 1.0)
    assert ratio == pytest.approx(2.0, abs=0.35)


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
