"""Figures of the studies show the numbers of their tables, where they say."""

import numpy as np
import pandas as pd
import pytest

from skytrace.reporting.study_figures import ablation_figure, detectors_figure, sensitivity_figure


def _shifts() -> pd.DataFrame:
    rows = []
    for name, size in (("steep_counts", 0.05), ("threshold_0.5", -0.02)):
        for axis, values in (("theta_e", (0.5, 1.0, 1.5)), ("psf_fwhm", (0.9, 1.2)), ("depth", (23.0, 24.0))):
            for k, value in enumerate(values):
                shift = size * (k + 1)
                rows.append(
                    {"alternative": name, "axis": axis, "value": value, "shift": shift,
                     "low95": shift - 0.06, "high95": shift + 0.06}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_each_panel_holds_its_shifts_and_marks_the_sure_ones():
    shifts = _shifts()
    summary = shifts.assign(kind=np.where(shifts["alternative"] == "steep_counts", "prior", "choice"), against="base")
    figure = sensitivity_figure(shifts, summary)
    panels = figure.axes[:3]
    image = np.asarray(panels[0].images[0].get_array())
    np.testing.assert_allclose(image, [[0.05, 0.10, 0.15], [-0.02, -0.04, -0.06]])
    assert panels[0].images[0].norm.vmax == pytest.approx(0.15) == -panels[0].images[0].norm.vmin
    dots = panels[0].lines[0]
    assert list(zip(dots.get_xdata(), dots.get_ydata(), strict=True)) == [(1, 0), (2, 0)]  # +-0.06 leave out 0
    assert [label.get_style() for label in panels[0].get_yticklabels()] == ["normal", "italic"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["steep counts", "threshold 0.5 (choice)"]


def test_an_alternative_without_cells_is_a_white_row():
    shifts = _shifts()
    summary = pd.concat([shifts, shifts.iloc[:1].assign(alternative="hosts_none")]).assign(kind="prior", against="base")
    image = sensitivity_figure(shifts, summary).axes[0].images[0].get_array()
    assert np.ma.getmaskarray(image)[2].all() and not np.ma.getmaskarray(image)[:2].any()


def _pairs(column: str, names: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for name in names:
        for low, high, label in ((0.5, 1.0, "0.5-1"), (1.0, 2.0, "1-2"), (-np.inf, np.inf, "all")):
            rows.append(
                {column: name, "theta_e_low": low, "theta_e_high": high, "bin": label, "n": 200, "difference": 0.1,
                 "low68": 0.08, "high68": 0.12, "low95": 0.06, "high95": 0.14, "n_base_only": 3, "n_ablation_only": 23,
                 "p_hosts_holm": 0.01 if label == "1-2" else 0.5, "p_bootstrap_holm": 0.5}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_gains_and_losses_stand_beside_each_difference_and_rings_mark_small_p():
    figure = ablation_figure(_pairs("alternative", ("a", "b")), by_radius=("a",))
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == ["+23 −3", "+23 −3"]
    assert "n = 200 pairs" in first.get_title()
    ring = [line for line in second.lines if line.get_markerfacecolor() == "none"]
    assert len(ring) == 1
    assert ring[0].get_xdata() == pytest.approx([1.5], abs=0.05)


def test_every_detector_has_its_points_on_every_axis():
    rows = [
        {"detector": name, "axis": axis, "value": value, "completeness": share, "low68": share - 0.1,
         "high68": share + 0.1}
        for name, share in (("default", 0.3), ("masked", 0.4))
        for axis, values in (("theta_e", (0.5, 1.0)), ("psf_fwhm", (0.9, 1.2)), ("depth", (23.0, 24.0)))
        for value in values
    ]  # fmt: skip
    figure = detectors_figure(pd.DataFrame(rows), _pairs("detector", ("masked",)))
    for panel in figure.axes[:3]:
        assert [list(line.get_ydata()) for line in panel.lines] == [[0.3, 0.3], [0.4, 0.4]]
    ring = [line for line in figure.axes[3].lines if line.get_markerfacecolor() == "none"]
    assert [len(line.get_xdata()) for line in ring] == [0]  # the p at fixed thresholds would have drawn one
    assert "difference to default" in figure.axes[3].get_ylabel()


def test_priors_stand_first_and_a_base_of_its_own_is_named():
    shifts = _shifts()
    kind = np.where(shifts["alternative"] == "steep_counts", "ablation", "prior")
    against = np.where(shifts["alternative"] == "threshold_0.5", "multiply_imaged", "base")
    panel = sensitivity_figure(shifts, shifts.assign(kind=kind, against=against)).axes[0]
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels == ["threshold 0.5 (to multiply imaged)", "steep counts (ablation)"]
    np.testing.assert_allclose(np.asarray(panel.images[0].get_array())[0], [-0.02, -0.04, -0.06])
