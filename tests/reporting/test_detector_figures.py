import numpy as np
import pytest

from skytrace.learning import EvaluationOptions, evaluate_scores, metrics
from skytrace.reporting.detector_figures import (
    calibration_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
)
from skytrace.reporting.style import figure_png
from tests.learning.test_evaluation import table


@pytest.fixture(scope="module")
def scores():
    return table(1200)


@pytest.fixture(scope="module")
def evaluation(scores):
    return evaluate_scores(scores, threshold=0.8, options=EvaluationOptions(n_resamples=100))


def line(axes, label):
    return next(item for item in axes.get_lines() if item.get_label().startswith(label))


def test_roc_curve_holds_the_area_it_states_and_marks_the_threshold(scores, evaluation):
    axes = roc_figure(scores, evaluation=evaluation).axes[0]
    curve = line(axes, "AUC")
    assert f"{evaluation['ranking']['auc']['value']:.4f}" in curve.get_label()
    x, y = curve.get_data()
    assert np.trapezoid(y, x) == pytest.approx(evaluation["ranking"]["auc"]["value"], abs=3e-3)
    point = line(axes, "threshold")
    assert point.get_xdata()[0] == metrics.false_positive_rate(scores["score"], scores["label"], threshold=0.8)
    assert point.get_ydata()[0] == metrics.recall(scores["score"], scores["label"], threshold=0.8)


def test_precision_recall_states_the_samples_share_of_lenses(scores, evaluation):
    axes = precision_recall_figure(scores, evaluation=evaluation).axes[0]
    text = " ".join(item.get_text() for item in axes.texts)
    assert "16.7 % of this sample" in text
    assert "no survey precision" in text
    recall, precision = line(axes, "average").get_data()
    assert (recall[-1], precision[-1]) == (1.0, pytest.approx(1 / 6))


def test_reliability_shows_the_highest_scores_apart(scores, evaluation):
    everything, top = reliability_figure(scores, evaluation=evaluation).axes
    assert "n = 1200" in everything.get_title()
    assert "highest 1 %" in top.get_title()
    assert "n = 12" in top.get_title()
    assert top.get_xlim()[0] > everything.get_xlim()[0]


def test_axes_have_labels_and_the_same_scores_give_the_same_bytes(scores, evaluation):
    for draw in (roc_figure, precision_recall_figure, reliability_figure):
        figures = [draw(scores, evaluation=evaluation) for _ in range(2)]
        assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figures[0].axes)
        assert figure_png(figures[0]) == figure_png(figures[1])


def test_a_sample_without_any_detection_still_has_figures(scores):
    quiet = scores.assign(score=scores["score"] * 0.5)
    evaluation = evaluate_scores(quiet, threshold=0.999, options=EvaluationOptions(n_resamples=100))
    assert evaluation["at_threshold"]["sample_precision"]["value"] is None
    assert len(roc_figure(quiet, evaluation=evaluation).axes) == 1
    assert len(precision_recall_figure(quiet, evaluation=evaluation).axes) == 1


def test_calibration_compares_the_same_stamps_before_and_after(scores):
    before, label = scores["score"].to_numpy(), scores["label"].to_numpy()
    after = before**2
    everything, top = calibration_figure({"before": before, "after": after}, label, top_share=0.05).axes
    chosen = metrics.top_scores(before, share=0.05)
    for axes, rows in ((everything, slice(None)), (top, chosen)):
        for container, values in zip(axes.containers, (before, after), strict=True):
            bins = metrics.calibration_bins(values[rows], label[rows])
            filled = bins["count"] > 0
            x, y = container.lines[0].get_data()
            assert x == pytest.approx(bins["mean_score"][filled])
            assert y == pytest.approx(bins["lenses"][filled] / bins["count"][filled])
            ece = metrics.calibration_errors(values[rows], label[rows])[0]
            assert container.get_label().endswith(f"ECE {ece:.3f}")
    assert "n = 60" in top.get_title()
