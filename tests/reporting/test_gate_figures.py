"""The figures of the gates say what the gates say, and the panel says nothing that gives a stamp away."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import PixelError
from skytrace.reporting.gate_figures import (
    MORPHOLOGY_LABELS,
    blind_panel_figure,
    classifier_figure,
    morphology_figure,
)
from skytrace.reporting.style import figure_png


def test_the_panel_shows_numbered_stamps_in_the_given_order_and_the_same_bytes():
    images = np.zeros((13, 3, 16, 16))
    images[4, :, 8, 8] = 1.0
    figure = blind_panel_figure(images, columns=5)
    titles = [axis.get_title() for axis in figure.axes if axis.get_images()]
    assert titles == [str(k) for k in range(1, 14)] and len(figure.axes) == 15
    lit = [np.asarray(axis.get_images()[0].get_array()).max() > 150 for axis in figure.axes if axis.get_images()]
    assert lit == [k == 4 for k in range(13)]
    assert figure_png(figure) == figure_png(blind_panel_figure(images, columns=5))
    (words,) = blind_panel_figure(images[:0]).axes[0].texts
    assert words.get_text().startswith("no panel: too few known lenses")
    with pytest.raises(PixelError, match="got shape"):
        blind_panel_figure(images[0])


def test_the_shapes_are_drawn_as_weighted_cumulative_shares():
    table = pd.DataFrame({name: [3.0, 1.0, 2.0, np.nan] for name in MORPHOLOGY_LABELS})
    gate = {"status": "fail", "statistics": {"p": 0.012, "columns": {"arc_asymmetry": {"p": 0.034}}}}
    figure = morphology_figure(gate, table, table.assign(weight=[2.0, 1.0, 1.0, 5.0]))
    injections, anchors = figure.axes[0].get_lines()
    np.testing.assert_allclose(injections.get_xydata(), [[1, 0.25], [2, 0.5], [3, 1.0]])
    np.testing.assert_allclose(anchors.get_xydata()[:, 1], [1 / 3, 2 / 3, 1.0])
    assert figure.axes[2].get_title() == "p = 0.034"
    assert "fail, p together 0.012" in figure.legends[0].get_title().get_text()


def test_auc_bounds_and_importances_are_the_gates_own():
    found = {
        "auc": 0.8,
        "low_68": 0.75,
        "high_68": 0.84,
        "low_95": 0.7,
        "high_95": 0.9,
        "null_mean": 0.5,
        "null_sd": 0.03,
    }
    importance = {"arc_width": {"loss": 0.2, "loss_sd": 0.02}, "arc_extent": {"loss": 0.1, "loss_sd": 0.01}}
    gate = {"status": "fail", "bound": {"auc_max": 0.75}, "statistics": {**found, "importance": importance}}
    figure = classifier_figure(gate, {"status": "insufficient", "bound": {"auc_max": 0.75}, "statistics": {}})
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["linear probe (8): insufficient"]
    assert any(np.allclose(line.get_xdata(), 0.75) for line in left.get_lines())
    assert any(np.allclose(line.get_xydata(), [[0.8, 0.0]]) for line in left.get_lines())
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "lit share of the circle",
        "scatter of radii / FWHM",
    ]
    assert [bar.get_width() for bar in right.patches] == [0.1, 0.2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "95 %", "68 %", "AUC", r"labels permuted, mean $\pm$ sd", "bound",
    ]  # fmt: skip
    figure_png(figure)


def test_a_ring_of_the_classifier_is_named_by_its_radii():
    importance = {f"arc_ring_{k}": {"loss": 0.1 - 0.01 * k, "loss_sd": 0.01} for k in range(6)}
    gate = {"status": "pass", "bound": {}, "statistics": {"importance": importance}}
    shown = classifier_figure(gate, gate, half_width_fwhm=1.5).axes[1].get_yticklabels()[::-1]
    # six rings over theta_E +- 1.5 FWHM: half a FWHM each
    assert [label.get_text().split("$ ")[1] for label in shown] == [
        "−1.5 to −1 FWHM", "−1 to −0.5 FWHM", "−0.5 to 0 FWHM", "0 to +0.5 FWHM", "+0.5 to +1 FWHM", "+1 to +1.5 FWHM",
    ]  # fmt: skip
    plain = classifier_figure(gate, gate).axes[1].get_yticklabels()[::-1]
    assert plain[3].get_text() == "light in ring 4 of 6 from inside"
