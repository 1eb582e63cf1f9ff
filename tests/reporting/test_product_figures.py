"""Every number of a product stands in its figure where its axis says it does."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from skytrace.reporting.product_figures import (
    CAUSE_LABELS,
    absent_figure,
    calibration_figure,
    failure_figure,
    stability_figure,
)


def test_calibration_points_are_the_cells_and_the_histogram_their_deviations():
    z = np.array([-1.6, -0.2, 0.1, 0.3, 2.2])
    cells = pd.DataFrame(
        {
            "predicted_completeness": [0.05, 0.1, 0.2, 0.3, 0.4],
            "observed_completeness": [0.03, 0.09, 0.21, 0.33, 0.45],
            "standard_error": [0.01, 0.02, 0.03, 0.04, 0.05],
            "n": 200,
            "z": z,
        }
    )
    figure = calibration_figure(cells, {"verdict": "calibrated", "p_value": 0.25, "rms_difference": 0.0123})
    left, right = figure.axes
    points, bars = left.containers[0][0], left.containers[0][2][0]
    np.testing.assert_allclose(points.get_xdata(orig=False), cells["predicted_completeness"])
    np.testing.assert_allclose(points.get_ydata(orig=False), cells["observed_completeness"])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends.mean(axis=1), cells["observed_completeness"])
    np.testing.assert_allclose(np.ptp(ends, axis=1), 2 * cells["standard_error"])
    assert left.get_title() == "5 cells, 1,000 injections"
    heights = {round(bar.get_x(), 6): bar.get_height() for bar in right.patches if bar.get_height() > 0}
    assert heights == pytest.approx({-2.0: 0.4, -0.5: 0.4, 0.0: 0.8, 2.0: 0.4})  # count / (5 cells x 0.5)
    normal = right.get_lines()[0]
    assert np.interp(1.0, *normal.get_data()) == pytest.approx(np.exp(-0.5) / np.sqrt(2 * np.pi), rel=1e-3)
    assert right.get_title() == "calibrated: p = 0.25, rms beyond noise 0.0123"


def test_stability_points_are_the_tested_regions_alone_with_their_errors_and_hosts():
    regions = pd.DataFrame(
        {
            "region": [3, 7, 9, 12],
            "tested": [True, False, True, True],
            "excess": [0.02, 0.5, -0.03, 0.1],
            "standard_error": [0.01, 0.01, 0.02, np.nan],
            "n_hosts": [40, 2, 55, 30],
        }
    )
    figure = stability_figure(regions, "Stable, as far as it can be seen.")
    (axis,) = figure.axes
    points, bars = axis.containers[0][0], axis.containers[0][2][0]
    assert points.get_ydata().tolist() == [0.02, -0.03]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [[0.01, 0.03], [-0.05, -0.01]])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["3\n40", "9\n55"]
    (blank,) = stability_figure(regions.assign(tested=False), "No region was tested.").axes
    assert blank.texts[0].get_text() == "No region was tested."


def failures():
    """Three causes; cells of theta_E 1 with 100 misses and of 2 with 300, of which 10 each were measured."""
    summary = pd.DataFrame(
        {
            "cause": ["faint_arc", "blended", "unexplained"],
            "share": [0.5, 0.2, 0.3],
            "low95": [0.5, 0.15, 0.25],
            "high95": [0.5, 0.25, 0.35],
            "holds_missed": [0.5, 0.4, np.nan],
            "holds_detected": [0.1, 0.3, np.nan],
        }
    )
    counts = pd.DataFrame(
        {
            "theta_e": [1.0, 1.0, 2.0],
            "n_missed": [100, 300, 80],
            "n_missed_sampled": [10, 10, 8],
            "faint_arc": [10, 0, 4],
            "blended": [0, 5, 2],
            "unexplained": [0, 5, 2],
        }
    )
    return summary, counts, {"missed_measured": 28, "missed": 480}


def test_failure_bars_are_the_shares_and_the_diamonds_how_often_a_cause_holds():
    left, _ = failure_figure(*failures()).axes
    labels = {label.get_text(): y for label, y in zip(left.get_yticklabels(), left.get_yticks(), strict=True)}
    assert list(labels) == [CAUSE_LABELS[name] for name in ("faint_arc", "blended", "unexplained")]
    bars = {round(bar.get_y() + bar.get_height() / 2, 6): bar.get_width() for bar in left.patches}
    assert [bars[labels[name]] for name in labels] == [0.5, 0.2, 0.3]
    ends = {segment[0, 1]: segment[:, 0].tolist() for segment in left.collections[0].get_segments()}
    assert ends[labels["blended"]] == [0.15, 0.25]
    assert ends[labels["arc too faint"]] == [0.5, 0.5]
    missed, detected = left.get_lines()
    assert dict(zip(missed.get_ydata(), missed.get_xdata(), strict=True))[labels["blended"]] == 0.4
    assert dict(zip(detected.get_ydata(), detected.get_xdata(), strict=True))[labels["blended"]] == 0.3
    assert same_color(detected.get_markerfacecolor(), "white")
    assert left.get_title() == "28 of 480 missed were measured"


def test_failure_shares_along_theta_e_weigh_cells_by_all_their_misses_and_not_by_the_sample():
    _, right = failure_figure(*failures()).axes
    drawn = {}
    for container in right.containers:
        for bar in container:
            drawn.setdefault(round(bar.get_x() + bar.get_width() / 2, 6), []).append(bar.get_height())
    # theta_E 1: 100 faint of 400; 150 blended, 150 unexplained of the other cell's 300
    assert drawn[1.0] == pytest.approx([0.25, 0.375, 0.375])
    assert drawn[2.0] == pytest.approx([0.5, 0.25, 0.25])
    tops = [container[0].get_y() for container in right.containers]
    assert tops == pytest.approx([0.0, 0.25, 0.625])


def test_a_figure_of_nothing_says_why():
    (axis,) = absent_figure("The published surface is not configured.").axes
    assert axis.texts[0].get_text() == "The published surface is not configured."
    assert not axis.axison
