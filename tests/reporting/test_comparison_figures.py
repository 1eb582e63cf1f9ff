"""What the figures of a comparison show is what its tables say."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from skytrace.reporting.comparison_figures import comparison_cells_figure, comparison_marginals_figure
from skytrace.reporting.style import COLOURS, figure_png


def marginals() -> pd.DataFrame:
    """Both sides along three axes; theirs lack the shallowest depth."""
    rows = []
    axes = {"theta_e": (1.0, 1.25, 1.5), "psf_fwhm": (0.9, 1.05), "depth": (22.5, 23.0, 23.5)}
    for side, (axis, values) in itertools.product(("ours", "theirs"), axes.items()):
        for place, value in enumerate(values):
            if side == "theirs" and value == 22.5:
                continue
            share, half = 0.1 + 0.05 * place, 0.02 if side == "ours" else 0.004
            rows.append(
                {"side": side, "threshold": 0.9 if side == "ours" else 0.3, "axis": axis, "value": value,
                 "n": 1000 if side == "ours" else 2000, "completeness": share, "low68": share - half,
                 "high68": share + half, "low95": share - 2 * half, "high95": share + 2 * half}
            )  # fmt: skip
    return pd.DataFrame(rows)


def cells() -> pd.DataFrame:
    """Twelve cells: one empty there and filled by degraded hosts, one empty in both."""
    rows = []
    for number, (theta, psf, depth) in enumerate(itertools.product((1.0, 1.25, 1.5), (0.9, 1.05), (23.0, 23.5))):
        role = {0: "filled_degraded", 1: "neither"}.get(number, "both")
        mine, yours = 0.04 + 0.01 * number, 0.02 + 0.002 * number
        rows.append(
            {"theta_e": theta, "psf_fwhm": psf, "depth": depth, "role": role, "edge_theirs": depth == 23.5,
             "mode_ours": {"filled_degraded": "degraded", "neither": "none"}.get(role, "matched"),
             "completeness_ours": np.nan if role == "neither" else mine, "low68_ours": mine - 0.01,
             "high68_ours": mine + 0.015, "completeness_theirs": yours if role == "both" else np.nan,
             "low68_theirs": yours - 0.005, "high68_theirs": yours + 0.006}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    table.attrs = {"threshold_ours": 0.9, "threshold_theirs": 0.3}
    return table


def test_a_lone_bin_holds_both_of_its_markers():
    alone = marginals()
    alone = alone[(alone["axis"] != "psf_fwhm") | (alone["value"] == 0.9)]
    panel = comparison_marginals_figure(alone).axes[1]
    places = [float(line.get_xdata()[0]) for line in panel.lines]
    assert len(places) == 2
    assert np.abs(np.array(places) - 0.9).max() < 0.075 / 2, "half the width of a bin is 0.075"
    assert panel.get_xlim() == pytest.approx((0.81, 0.99))


def test_the_legend_says_why_the_bar_of_no_detection_leaves_its_point():
    table = cells()
    said = comparison_cells_figure(table).legends[0].get_title().get_text()
    assert "grey: 68 %" in said
    assert "without any detection" not in said
    table.loc[5, "completeness_ours"] = 0.0
    assert "without any detection the point is at 0" in comparison_cells_figure(table).legends[0].get_title().get_text()


def test_both_sides_stand_at_their_completeness_beside_the_centre_with_their_intervals():
    figure = comparison_marginals_figure(marginals())
    panel = figure.axes[0]
    ours, theirs = (line for line in panel.lines if len(line.get_xdata()) == 3)
    assert ours.get_ydata() == pytest.approx([0.1, 0.15, 0.2])
    assert to_rgba(ours.get_color()) == to_rgba(COLOURS["blue"])
    assert (np.asarray(ours.get_xdata()) < np.asarray(theirs.get_xdata())).all()
    assert np.abs(np.asarray(ours.get_xdata()) - [1.0, 1.25, 1.5]).max() < 0.03  # nearer than an eighth of a bin
    segments = np.concatenate([np.array(c.get_segments()) for c in panel.collections])
    lengths = sorted({round(float(length), 4) for length in np.ptp(segments[:, :, 1], axis=1)})
    assert lengths == pytest.approx([0.008, 0.016, 0.04, 0.08])  # 68 and 95 % of theirs, 68 and 95 % of ours
    assert panel.get_ylim()[0] == 0.0


def test_a_bin_that_is_empty_there_has_our_point_only_and_titles_count_both():
    figure = comparison_marginals_figure(marginals())
    lines = [line for line in figure.axes[2].lines if len(line.get_xdata())]
    assert [len(line.get_xdata()) for line in lines] == [3, 2]
    assert figure.axes[2].get_title() == "n = 3,000 here, 4,000 there"
    legend = figure.legends[0]
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert "0.9" in words
    assert "independent trials" in words
    assert "compare shapes, not levels" in legend.get_title().get_text()


def test_each_cell_measured_in_both_is_one_point_and_open_bins_are_open_markers():
    table = cells()
    figure = comparison_cells_figure(table)
    panel = figure.axes[0]
    points = {}
    for collection in panel.collections:
        offsets = np.ma.getdata(collection.get_offsets())
        if len(offsets) and hasattr(collection, "get_sizes") and len(collection.get_sizes()):
            faces = collection.get_facecolors()
            white = np.allclose(faces, to_rgba("white"))
            points |= {tuple(np.round(xy, 6)): white for xy in offsets}
    both = table[table["role"] == "both"]
    want = {
        (round(row.completeness_theirs, 6), round(row.completeness_ours, 6)): row.edge_theirs
        for row in both.itertuples()
    }
    assert {(float(x), float(y)): bool(white) for (x, y), white in points.items()} == want
    assert panel.get_title() == "10 cells measured in both"
    assert panel.get_xlim() == panel.get_ylim()  # the 1:1 line is a diagonal


def test_cells_that_only_we_fill_stand_alone_and_the_legend_names_marks_that_occur():
    figure = comparison_cells_figure(cells())
    assert figure.axes[1].get_title() == "1 cells empty there, filled here"
    shown = [np.ma.getdata(c.get_offsets()) for c in figure.axes[1].collections if hasattr(c, "get_sizes")]
    values = np.concatenate([xy for xy in shown if len(xy)])
    assert values[:, 1] == pytest.approx([0.04])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "degraded hosts here" in words
    assert any("open-ended" in text for text in words)
    plain = cells().query("role == 'both'").assign(edge_theirs=False)
    words = [text.get_text() for text in comparison_cells_figure(plain).legends[0].get_texts()]
    assert words == ["matched hosts here", "equal"]


def test_the_same_tables_give_the_same_bytes():
    assert figure_png(comparison_cells_figure(cells())) == figure_png(comparison_cells_figure(cells()))
