"""What the figures of an evaluation show is what their tables say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from skytrace.audit.detectability import recall_factors
from skytrace.errors import CatalogueError
from skytrace.reporting import evaluation_figures as figures
from skytrace.reporting.evaluation_shapes import (
    category_table,
    class_table,
    composition_table,
    factor_table,
    strata_table,
)
from skytrace.reporting.style import COLOURS, figure_png

from . import evaluation_parts as parts


def rank(name):
    """Lenses first, ordinary galaxies last, confusers by name between them."""
    return name != "lens", name == "ordinary", name


@pytest.fixture(scope="module")
def scores():
    return parts.score_table()


@pytest.fixture(scope="module")
def evaluation(scores):
    return parts.evaluation_of(scores)


def dots(axes):
    """x and y of the marked points of a panel."""
    marked = [line for line in axes.get_lines() if line.get_marker() not in (None, "None", "")]
    return np.concatenate([line.get_xdata() for line in marked]), np.concatenate([line.get_ydata() for line in marked])


def segments(axes):
    """Ends of the intervals of a panel: (n, 2) along the axis on which they lie, in the order drawn."""
    ends = [np.array(segment) for collection in axes.collections for segment in collection.get_segments()]
    return np.array([end[:, 1] if end[0, 0] == end[1, 0] else end[:, 0] for end in ends])


def test_recall_points_and_both_intervals_stand_where_the_table_says(scores):
    table = strata_table(parts.by_stratum(scores))
    figure = figures.recall_by_stratum_figure(table)
    for axes, stratum in zip(figure.axes, ("type", "arc_snr"), strict=True):
        rows = table[(table["stratum"] == stratum) & (table["n"] > 0)]  # galaxies have no arc
        assert dots(axes)[1] == pytest.approx(rows["recall"].to_numpy())
        drawn = segments(axes)
        assert drawn[: len(rows)] == pytest.approx(rows[["low95", "high95"]].to_numpy())
        assert drawn[len(rows) :] == pytest.approx(rows[["low68", "high68"]].to_numpy())
        assert [text.get_text() for text in axes.get_xticklabels()] == [
            f"{name}\n{n}" for name, n in zip(rows["bin"], rows["n"], strict=True)
        ]


def test_intervals_are_drawn_only_where_they_were_measured(scores):
    bare = strata_table(parts.by_stratum(scores)).drop(columns=["low95", "high95", "low68", "high68"])
    assert not figures.recall_by_stratum_figure(bare).axes[0].collections


def test_a_confuser_without_a_false_positive_has_an_interval_and_no_point(evaluation):
    table = category_table(evaluation)
    quiet = table.assign(k=table["k"].where(table["category"] != "merger_proxy", 0))
    quiet["value"] = quiet["k"] / quiet["n"]
    axes = figures.confuser_fpr_figure(quiet, overall=0.01).axes[0]
    shown = dots(axes)[0]
    assert np.isfinite(shown).sum() == (quiet["k"] > 0).sum()
    assert sorted(shown[np.isfinite(shown)]) == pytest.approx(sorted(quiet["value"][quiet["k"] > 0]))
    assert len(segments(axes)) == 2 * len(quiet)
    assert axes.get_yticklabels()[-1].get_text().startswith("spiral proxy")  # simulated as the worst


def test_shortcuts_are_sorted_by_strength_and_flags_have_shapes_of_their_own(scores):
    table = parts.shortcuts_of(scores)
    axes = figures.shortcut_figure(table).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["psfsize_r", "core_flux_8_r", "annulus_4_16_g"]
    assert sorted(dots(axes)[0]) == pytest.approx(sorted(table["auc"].dropna()))
    drawn = {line.get_marker(): line for line in axes.get_lines() if line.get_marker() in "o^s"}
    red = table[table["colour"] == "red"]
    assert drawn["s"].get_xdata() == pytest.approx(red["auc"].to_numpy())
    assert to_hex(drawn["s"].get_color()).upper() == COLOURS["vermilion"]
    bounds = {line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() in (None, "None", "")}
    assert {0.6, 0.7} <= bounds


def test_a_feature_that_tells_the_classes_apart_backwards_is_as_strong():
    table = pd.DataFrame(
        {"feature": ["up", "down", "none"], "auc": [0.7, 0.2, 0.5], "colour": ["yellow", "red", "green"]}
    )
    labels = [text.get_text() for text in figures.shortcut_figure(table).axes[0].get_yticklabels()]
    assert labels == ["none", "up", "down"]
    unknown = pd.DataFrame({"feature": ["rare"], "auc": [np.nan], "colour": ["not judged"]})
    few = figures.shortcut_figure(pd.concat([table, unknown]), most=2)
    assert "2 strongest of 3" in few.axes[0].get_xlabel()


def test_gates_are_shown_from_the_top_in_the_order_of_the_table(scores):
    table = parts.gates_of(scores)
    axes = figures.region_gates_figure(table).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == table["classifier"].tolist()[::-1]
    assert dots(axes)[0] == pytest.approx(table["auc"].to_numpy()[::-1])
    assert segments(axes)[: len(table)] == pytest.approx(table[["low_95", "high_95"]].to_numpy()[::-1])


def test_the_diversity_matrix_writes_its_values_from_a_square_or_from_pairs():
    square = pd.DataFrame([[1.0, 0.4], [0.4, 1.0]], index=["a", "b"], columns=["a", "b"])
    pairs = [{"members": ["a", "b"], "spearman_galaxies": 0.4, "disagreement_lenses": 0.1}]
    for given in (square, pairs):
        axes = figures.diversity_figure(given).axes[0]
        assert axes.images[0].get_array().tolist() == square.to_numpy().tolist()
        assert [text.get_text() for text in axes.texts] == ["1.00", "0.40", "0.40", "1.00"]


def test_risk_curves_are_told_apart_by_line_style_with_their_bands():
    coverage = np.linspace(0.1, 1.0, 10)
    table = pd.DataFrame({"curve": np.repeat(["one", "two"], 10), "coverage": np.tile(coverage, 2)})
    table["risk"] = 0.1 * table["coverage"] * np.where(table["curve"] == "one", 1.0, 0.5)
    table["low68"], table["high68"] = 0.9 * table["risk"], 1.1 * table["risk"]
    axes = figures.risk_coverage_figure(table).axes[0]
    one, two = axes.get_lines()
    assert one.get_ydata() == pytest.approx(2 * two.get_ydata())
    assert one.get_linestyle() != two.get_linestyle()
    assert len(axes.collections) == 2


def test_the_top_k_bars_reach_one_and_what_is_not_resolved_has_no_bar(scores):
    composition = parts.composition(scores)
    resolved = composition["scenarios"][0]["top"][1]
    assert resolved["resolved"]
    assert not composition["scenarios"][0]["top"][0]["resolved"]
    axes = figures.topk_composition_figure(composition_table(composition)).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "5,000"]
    heights = [bar.get_height() for bar in axes.patches if bar.get_x() > 0.5]
    expected = {name: entry["value"] / 5000 for name, entry in resolved["expected"].items()}
    assert heights == pytest.approx([expected[name] for name in sorted(expected, key=rank)])
    assert sum(heights) == pytest.approx(1.0)
    assert sum(bar.get_height() for bar in axes.patches if bar.get_x() < 0.5) == 0.0
    assert [text.get_text() for text in axes.texts] == ["not resolved"]
    assert len({bar.get_hatch() for bar in axes.patches}) == len(expected)


def test_a_scenario_that_is_not_resolved_has_no_panel_and_is_named():
    rows = [("common", 100, "lens", 0.75), ("common", 100, "ordinary", 0.25), ("rare", 100, "lens", np.nan)]
    table = pd.DataFrame(rows, columns=["scenario", "k", "category", "share"])
    figure = figures.topk_composition_figure(table)
    assert [axes.get_title() for axes in figure.axes] == ["common"]
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.75, 0.25]
    assert figure.get_supxlabel() == "Not resolved for any K: rare"
    (blank,) = figures.topk_composition_figure(table[table["scenario"] == "rare"]).axes
    assert "too few galaxies score so high" in blank.texts[0].get_text()
    assert not blank.patches


def test_the_factors_of_each_group_stand_at_their_values_and_multiply(scores):
    table = factor_table(parts.two_factor(scores))
    by_quantity = table.pivot_table(index="group", columns="quantity", values="value")
    assert by_quantity["product"].tolist() == pytest.approx(
        (by_quantity["observable"] * by_quantity["recall of observable"]).tolist()
    )
    axes = figures.detectability_figure(table).axes[0]
    assert sorted(dots(axes)[0]) == pytest.approx(sorted(table["value"]))
    assert len(segments(axes)) == 2 * len(table)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["tier A", "tier B"]


def test_anchors_of_every_class_are_counted_with_their_recall():
    found = np.array([True, False, True, False, True])
    table = class_table(recall_factors([True, True, False, False, False], found, measured=[True] * 3 + [False] * 2))
    counts = {row.quantity: (row.k, row.n) for row in table.itertuples()}
    assert counts == {
        "observable, of all": (2, 5), "recall of the observable": (1, 2), "not observable, of all": (1, 5),
        "recall of the not observable": (1, 1), "not measured, of all": (2, 5), "recall of the not measured": (1, 2),
        "recall of all": (3, 5),
    }  # fmt: skip


def test_a_sample_too_small_for_a_figure_says_so_instead_of_failing(scores):
    few = strata_table({"tier": {"strata": [], "reason": "no such column"}})
    unknown = pd.DataFrame({"feature": ["rare"], "auc": [np.nan], "colour": ["not judged"]})
    nothing = composition_table({"scenarios": [{"scenario": "rare", "top": [], "reason": "no galaxies"}]})
    for figure, why in (
        (figures.recall_by_stratum_figure(few), "no lenses in any stratum"),
        (figures.shortcut_figure(unknown), "too few stamps"),
        (figures.topk_composition_figure(nothing), "no scenario"),
    ):
        assert why in figure.axes[0].texts[0].get_text()
    nobody = factor_table(recall_factors([False, False], [True, False]))
    shown = dots(figures.detectability_figure(nobody).axes[0])[0]
    assert np.isfinite(shown).tolist().count(False) == 1  # recall of the observable, of which there are none


def test_a_missing_column_is_named():
    with pytest.raises(CatalogueError, match="gates table lacks columns classifier"):
        figures.region_gates_figure(pd.DataFrame({"auc": [0.5]}))


def test_axes_are_labelled_and_the_same_table_gives_the_same_bytes(scores, evaluation):
    drawn = [
        lambda: figures.recall_by_stratum_figure(strata_table(parts.by_stratum(scores))),
        lambda: figures.confuser_fpr_figure(category_table(evaluation)),
        lambda: figures.detectability_figure(factor_table(parts.two_factor(scores))),
    ]
    for draw in drawn:
        assert all(axes.get_xlabel() for axes in draw().axes)
        assert figure_png(draw()) == figure_png(draw())
