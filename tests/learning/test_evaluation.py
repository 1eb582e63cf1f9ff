import json

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning import EvaluationOptions, evaluate_scores
from skytrace.statistics import beta_interval

OPTIONS = EvaluationOptions(n_resamples=200, seed=1)


def table(n=900, *, seed=0, separation=3.0):
    rng = np.random.default_rng(seed)
    label = (np.arange(n) % 6 == 0).astype(int)
    score = 1.0 / (1.0 + np.exp(-rng.normal(separation * (label - 0.5))))
    tier = np.where(label == 1, np.where(np.arange(n) % 12 == 0, "A", "B"), "")
    category = np.where((label == 0) & (np.arange(n) % 5 == 0), "ring_proxy", "")
    return pd.DataFrame({"score": score, "label": label, "tier": tier, "confuser_category": category})


@pytest.fixture(scope="module")
def report():
    return evaluate_scores(table(), threshold=0.5, options=OPTIONS)


def test_auc_interval_brackets_the_known_auc(report):
    from scipy.stats import norm

    auc = report["ranking"]["auc"]
    assert auc["low_95"] < norm.cdf(3.0 / np.sqrt(2.0)) < auc["high_95"]
    assert auc["low_95"] < auc["low_68"] < auc["value"] < auc["high_68"] < auc["high_95"]
    assert auc["high_95"] - auc["low_95"] < 0.05


def test_shuffled_labels_give_an_auc_of_one_half_within_its_interval():
    shuffled = table().assign(score=np.random.default_rng(9).permutation(table()["score"]))
    auc = evaluate_scores(shuffled, threshold=0.5, options=OPTIONS)["ranking"]["auc"]
    assert auc["low_95"] < 0.5 < auc["high_95"]


def test_false_positive_rates_carry_jeffreys_intervals_by_category(report):
    rows = table()
    ring = rows[(rows["confuser_category"] == "ring_proxy")]
    k, n = int((ring["score"] >= 0.5).sum()), len(ring)
    entry = report["false_positives_by_category"]["ring_proxy"]
    assert (entry["k"], entry["n"]) == (k, n)
    assert (entry["low_68"], entry["high_68"]) == pytest.approx([float(v) for v in beta_interval(k, n, 0.6827)])
    assert sum(e["n"] for e in report["false_positives_by_category"].values()) == (rows["label"] == 0).sum()


def test_rates_that_the_sample_cannot_resolve_have_no_number(report):
    assert report["recall_at_false_positive_rate"]["0.01"]["resolved"]
    unresolved = report["recall_at_false_positive_rate"]["0.001"]
    assert unresolved["value"] is None
    assert "750 galaxies" in unresolved["reason"]


def test_tiers_have_a_recall_and_no_calibration_error(report):
    assert set(report["by_tier"]) == {"A", "B"}
    assert report["by_tier"]["A"]["recall"]["n"] == 75
    assert "ece" not in json.dumps(report["by_tier"])


def test_report_is_json_without_nan_and_names_no_survey_precision(report):
    text = json.dumps(report, allow_nan=False)
    assert "survey_precision" not in text
    assert report["calibration"]["top"]["n"] == 9


@pytest.mark.parametrize("threshold", [0.0, 1.0, 1.7, float("nan")])
def test_threshold_outside_zero_and_one_is_refused(threshold):
    with pytest.raises(OptionError, match="threshold"):
        evaluate_scores(table(60), threshold=threshold, options=OPTIONS)


def test_one_class_cannot_be_evaluated():
    with pytest.raises(CatalogueError, match="both lenses and galaxies"):
        evaluate_scores(table(60).assign(label=0), threshold=0.5, options=OPTIONS)
