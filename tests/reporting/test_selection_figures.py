"""What the figures of the surface show is what the table says."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from skytrace.reporting.selection_figures import at_threshold, marginals_figure, realism_figure, selection_heatmaps
from skytrace.reporting.style import colour_maximum, figure_png

from .test_page import surface


def cell_colours(axis):
    return {(round(p.get_x() + 0.5), round(p.get_y() + 0.5)): p for p in axis.patches if isinstance(p, Rectangle)}


def test_each_cell_has_the_colour_of_its_completeness_and_the_hatch_of_its_state():
    table = surface()
    figure = selection_heatmaps(table, threshold=0.9)
    panel = cell_colours(figure.axes[2])  # depth 24.5
    row = table.query("depth == 24.5 and threshold == 0.9 and theta_e == 1.5 and psf_fwhm == 1.2").iloc[0]
    # the highest value at this threshold is 0.52, so the scale ends at 0.6
    assert panel[2, 1].get_facecolor() == pytest.approx(to_rgba(mpl.colormaps["cividis"](row["completeness"] / 0.6)))
    assert panel[2, 1].get_hatch() is None
    assert panel[0, 1].get_hatch() == "////"  # theta_E 0.5 has n = 40
    assert cell_colours(figure.axes[0])[1, 0].get_hatch() == "xxxx"  # no hosts at depth 22.5, PSF 0.9


@pytest.mark.parametrize(
    ("highest", "end"),
    [(0.0, 0.05), (0.05, 0.05), (0.0501, 0.1), (0.485, 0.5), (0.61, 0.8), (1.0, 1.0), (np.nan, 0.05)],
)
def test_the_colour_scale_ends_at_a_round_number_not_below_any_value(highest, end):
    assert colour_maximum([0.0, highest, np.nan]) == end


@pytest.mark.parametrize(("threshold", "end"), [(0.5, 1.0), (0.9, 0.6)])
def test_one_colour_bar_states_the_end_of_the_scale_of_all_panels(threshold, end):
    table = surface()
    figure = selection_heatmaps(table, threshold=threshold)
    bar = figure.axes[-1]
    assert bar.get_ylim() == (0.0, end)
    assert [float(tick.get_text()) for tick in bar.get_yticklabels()][-1] == end
    assert f"0 to {end:g}" in bar.get_ylabel()
    lightness = {}
    for axis, depth in zip(figure.axes[:3], (22.5, 23.5, 24.5), strict=True):
        rows = table[(table["depth"] == depth) & (table["threshold"] == threshold) & (table["n"] > 0)]
        for row in rows.itertuples():
            place = round((row.theta_e - 0.5) / 0.5), round((row.psf_fwhm - 0.9) / 0.3)
            lightness[row.completeness] = sum(cell_colours(axis)[place].get_facecolor()[:3])
    # lighter means more probable across panels, and the scale is used: from dark blue to (nearly) yellow
    assert list(np.argsort([lightness[value] for value in sorted(lightness)])) == list(range(len(lightness)))


def test_a_mark_stands_beside_rows_of_degraded_hosts_and_the_legend_names_only_marks_that_occur():
    figure = selection_heatmaps(surface(), threshold=0.9)
    marked = {k: [line.get_ydata().tolist() for line in axis.lines] for k, axis in enumerate(figure.axes[:3])}
    assert marked == {0: [[1]], 1: [], 2: []}  # depth 22.5 has degraded hosts at PSF 1.2 and none at 0.9
    clean = surface().query("state == 'ok' and mode == 'matched'").assign(verdict="NO-GO")
    legend = selection_heatmaps(clean, threshold=0.5).legends[0]
    assert not legend.get_texts()
    assert legend.get_title().get_text() == r"score $\geq$ 0.5; realism gates: NO-GO"


@pytest.mark.filterwarnings("error")
def test_titles_legend_and_panels_do_not_overlap():
    figure = selection_heatmaps(surface(), threshold=0.9)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    titles = [axis.title.get_window_extent() for axis in figure.axes[:3]]
    assert all(title.y1 <= legend.y0 for title in titles)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(titles))


def test_an_unknown_threshold_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no rows at threshold 0\.7; there are 0\.5, 0\.9"):
        at_threshold(surface(), 0.7)


def test_marginal_points_stand_at_their_values():
    marginals = pd.DataFrame(
        {
            "axis": ["theta_e", "theta_e", "depth"], "value": [0.5, 1.0, 23.0], "completeness": [0.1, 0.4, 0.3],
            "low68": [0.05, 0.3, 0.2], "high68": [0.2, 0.5, 0.4], "low95": [0.0, 0.2, 0.1], "high95": [0.3, 0.6, 0.5],
            "n": [10, 20, 30],
        }
    )  # fmt: skip
    figure = marginals_figure(marginals)
    assert len(figure.axes) == 2
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.1, 0.4]
    assert "30 injections" in figure.axes[1].get_title()


def test_a_marginal_axis_spans_bins_without_injections_and_marks_limits_where_none_was_detected():
    nan = np.nan
    marginals = pd.DataFrame(
        {
            "axis": ["psf_fwhm"] * 4, "value": [0.9, 1.05, 1.2, 1.35], "completeness": [nan, 0.0, 0.5, nan],
            "low68": [nan, 0.01, 0.4, nan], "high68": [nan, 0.1, 0.6, nan], "low95": [nan, 0.001, 0.3, nan],
            "high95": [nan, 0.3, 0.7, nan], "n": [0, 10, 10, 0],
        }
    )  # fmt: skip
    figure = marginals_figure(marginals)
    axis = figure.axes[0]
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axis.lines}
    assert drawn == {"measured": [1.2], "none detected: limits": [1.05], "no injections": [0.9, 1.35]}
    assert axis.get_xlim()[0] < 0.9
    assert axis.get_xlim()[1] > 1.35
    assert axis.get_ylim() == pytest.approx((0.0, 1.08 * 0.7))
    assert axis.get_title() == "n = 20 injections, 2 of 4 bins"
    assert [text.get_text() for text in figure.legends[0].texts] == ["95 %", "68 %", *drawn]
    assert figure.legends[0].get_title().get_text() == "Jeffreys intervals, independent trials"


def test_marginals_without_any_injection_say_so():
    empty = pd.DataFrame({"axis": ["depth"] * 2, "value": [23.0, 24.0], "n": [0, 0]}).assign(
        **dict.fromkeys(("completeness", "low68", "high68", "low95", "high95"), np.nan)
    )
    axis = marginals_figure(empty).axes[0]
    assert axis.texts[0].get_text() == "nothing was measured"
    assert axis.get_ylim() == (0.0, 1.0)


def test_realism_panels_count_only_what_is_measurable():
    anchors = pd.DataFrame({"arc_snr": [3.0, -1.0, 9.0], "arc_g_r": [0.1, np.nan, 0.2], "arc_r_z": [np.nan] * 3})
    injections = pd.DataFrame(
        {"arc_snr": [4.0, 5.0], "arc_g_r": [0.2, 0.3], "arc_r_z": [0.1, 0.1], "weight": [1.0, 2.0]}
    )
    figure = realism_figure({"verdict": "GO"}, anchors, injections)
    assert [text.get_text() for text in figure.legends[0].texts] == ["injections (2)", "known lenses (2)"]
    assert figure.axes[2].texts[0].get_text() == "no measurable arcs"


def test_a_figure_is_the_same_bytes_every_time():
    assert figure_png(selection_heatmaps(surface())) == figure_png(selection_heatmaps(surface()))
