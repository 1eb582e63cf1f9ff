"""The gates on rendered lenses: what is planted in the pixels falls, what is of one generator does not."""

import pytest

from skytrace.selection.realism import (
    ClassifierTestOptions,
    GateOptions,
    MorphologyOptions,
    gate_arc_snr,
    gate_classifier,
    gate_morphology,
)
from tests.selection.gate_arcs import composites, sample_of

GATES = GateOptions(max_distance_steps=2.0, n_null=50)
CLASSIFIER = ClassifierTestOptions(n_permutations=19, n_resamples=100, classifier="logistic", per_anchor=3)
MORPHOLOGY = MorphologyOptions(n_simulations=0, n_permutations=99, per_anchor=3)


@pytest.fixture(scope="module")
def injections():
    """Smooth sources."""
    return composites(460, seed=1)[1]


def judged(injections, **planted):
    """Gates 1, 4 and 5 of 112 anchors of the same generator, but for what is planted in them."""
    sample = sample_of(composites(112, seed=2, **planted)[1], injections)
    return (
        gate_arc_snr(sample, options=GATES),
        gate_morphology(sample, gates=GATES, options=MORPHOLOGY),
        gate_classifier(sample, gates=GATES, options=CLASSIFIER),
    )


def test_lenses_of_one_generator_are_told_apart_by_none(injections):
    snr, morphology, classifier = judged(injections)
    assert snr.status == "pass" and morphology.statistics["p"] > 0.05
    assert classifier.statistics["low_95"] <= 0.5 <= classifier.statistics["high_95"]
    assert classifier.status == "pass"


def test_ten_times_the_flux_falls_at_brightness_and_classifier(injections):
    snr, _, classifier = judged(injections, flux=0.1)  # the injections are ten times as bright as the anchors
    assert snr.status == "fail"
    assert classifier.status == "fail" and classifier.statistics["auc"] > 0.9


def test_a_wrong_psf_falls_at_shape_or_classifier(injections):
    _, morphology, classifier = judged(injections, psf_ratio=0.6)
    assert morphology.statistics["p"] <= 0.01 or classifier.statistics["low_95"] > 0.5
