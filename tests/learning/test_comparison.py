import numpy as np
import pytest
from scipy.special import expit

from skytrace.errors import CatalogueError
from skytrace.learning.comparison import compare_scores, score_diversity
from skytrace.learning.metrics import true_positive_rate_at


def two_detectors(n: int, *, gain: float, seed: int):
    """Scores that share most of their noise; the first sees lenses ``gain`` further out."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 == 0).astype(int)
    shared = rng.normal(size=n)
    z = [1.5 * labels + extra * labels + shared + 0.3 * rng.normal(size=n) for extra in (gain, 0.0)]
    return expit(z[0]), expit(z[1]), labels


def test_a_better_detector_is_said_to_beat_the_other():
    first, second, labels = two_detectors(6000, gain=0.7, seed=0)
    result = compare_scores(first, second, labels, n_resamples=200)
    at = result["recall_at_false_positive_rate"]["0.01"]
    expected = [true_positive_rate_at(s, labels, rate=0.01) for s in (first, second)]
    assert at["values"] == {"ensemble": expected[0], "single network": expected[1]}
    assert at["difference"]["value"] == pytest.approx(expected[0] - expected[1])
    assert at["beats"]
    assert at["difference"]["low_95"] > 0
    assert at["sentence"].startswith("The ensemble beats the single network in recall at a false-positive rate of 0.01")
    reverse = compare_scores(second, first, labels, n_resamples=200)["recall_at_false_positive_rate"]["0.01"]
    assert not reverse["beats"]
    assert "falls behind" in reverse["sentence"]


def test_equal_detectors_do_not_beat_each_other():
    first, second, labels = two_detectors(6000, gain=0.0, seed=1)
    at = compare_scores(first, second, labels, n_resamples=200)["recall_at_false_positive_rate"]["0.01"]
    assert not at["beats"]
    assert "does not beat" in at["sentence"]
    same = compare_scores(first, first, labels, n_resamples=100)["auc"]["difference"]
    assert (same["low_95"], same["high_95"]) == (0.0, 0.0)


def test_pairing_makes_the_interval_of_the_difference_narrower_than_independent_ones():
    first, second, labels = two_detectors(4000, gain=0.2, seed=2)
    paired = compare_scores(first, second, labels, n_resamples=200)["auc"]["difference"]["standard_error"]
    from skytrace.learning.metrics import roc_auc
    from skytrace.statistics import bootstrap_interval

    alone = bootstrap_interval(roc_auc, first, labels, n_resamples=200, seed=1, strata=labels).standard_error
    assert paired < 0.5 * np.sqrt(2) * alone


def test_a_rate_that_the_sample_does_not_resolve_is_not_compared():
    first, second, labels = two_detectors(1000, gain=1.0, seed=3)
    at = compare_scores(first, second, labels, n_resamples=100)["recall_at_false_positive_rate"]["0.001"]
    assert at["value"] is None
    assert not at["resolved"]
    assert "800 galaxies show 0.8 false positives" in at["sentence"]


def test_the_lowest_rate_at_which_a_sample_says_much_is_always_compared():
    first, second, labels = two_detectors(1000, gain=1.0, seed=3)
    at = compare_scores(first, second, labels, n_resamples=100)["at_ten_false_positives"]
    assert at["rate"] == 10 / 800
    assert at["values"]["ensemble"] == true_positive_rate_at(first, labels, rate=10 / 800)
    assert "beats" in at
    few = compare_scores([0.1, 0.2, 0.9], [0.1, 0.3, 0.8], [0, 0, 1], n_resamples=100)
    assert few["at_ten_false_positives"]["rate"] is None


def test_diversity_against_a_case_computed_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    scores = {
        "a": [0.1, 0.2, 0.3, 0.9, 0.6, 0.7, 0.8],
        "b": [0.9, 0.3, 0.2, 0.1, 0.6, 0.7, 0.4],
    }
    confuser = np.array([1, 0, 0, 1, 1, 1, 1], bool)  # of which lenses do not count
    result = score_diversity(scores, labels, thresholds={"a": 0.5, "b": 0.5}, is_confuser=confuser)
    pair = result["pairs"][0]
    assert pair["spearman_galaxies"] == pytest.approx(-1.0)
    assert pair["spearman_lenses"] == pytest.approx(-0.5)  # ranks 1 2 3 and 2 3 1
    assert pair["disagreement_confusers"] == 1.0  # both confusers are detected by one of the two alone
    assert pair["disagreement_lenses"] == pytest.approx(1 / 3)
    assert result["confusers"] == 2
    flat = score_diversity({"a": scores["a"], "c": [0.5] * 7}, labels, thresholds={"a": 0.5, "c": 0.4})
    assert flat["pairs"][0]["spearman_galaxies"] is None


def test_one_class_cannot_be_compared():
    with pytest.raises(CatalogueError, match="both"):
        compare_scores([0.1, 0.2], [0.1, 0.2], [0, 0])


def test_whole_cells_are_drawn_where_there_are_enough():
    """Stamps of a cell that agree count once: with 20 copies of each, the interval is that of the cells."""
    first, second, labels = two_detectors(300, gain=0.5, seed=4)
    copies = [np.repeat(values, 20) for values in (first, second, labels)]
    cells = np.repeat(np.arange(300), 20)
    alone = compare_scores(first, second, labels, n_resamples=200)["auc"]["difference"]["standard_error"]
    by_cell = compare_scores(*copies, cells=cells, n_resamples=200)
    assert by_cell["resampled"] == "sky cells"
    assert by_cell["auc"]["difference"]["standard_error"] == pytest.approx(alone, rel=0.2)
    by_stamp = compare_scores(*copies, n_resamples=200)["auc"]["difference"]["standard_error"]
    assert by_stamp < 0.4 * alone
    few = compare_scores(first, second, labels, cells=np.arange(300) % 5, n_resamples=100)
    assert few["resampled"] == "stamps"
