"""What a detector finds, mistakes and looks at, in figures: each takes a small table and returns a Figure.

Dots with a thick bar (68 %) and a thin one (95 %); where a table has no intervals, none are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.evaluation_shapes import pair_matrix
from skytrace.reporting.evaluation_tables import DASH, as_table
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, SINGLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "SHORTCUT_BOUNDS",
    "confuser_fpr_figure",
    "detectability_figure",
    "diversity_figure",
    "recall_by_stratum_figure",
    "region_gates_figure",
    "risk_coverage_figure",
    "shortcut_figure",
    "topk_composition_figure",
]

#: AUC of a single feature above which (by its lower 68 % bound) it is yellow, red (``lens_finder``, stage 6).
SHORTCUT_BOUNDS = (0.60, 0.70)
#: Colour of a shortcut -> colour and marker: told apart without colour too.
COLOUR_MARKS = {"green": ("green", "o"), "yellow": ("orange", "^"), "red": ("vermilion", "s")}
STRATUM_LABELS = {
    "tier": "tier", "psfsize_r": "psfsize_r (arcsec)", "psfdepth_r": r"psfdepth_r (nmgy$^{-2}$)",
    "nobs_z": "exposures in z",
    "galdepth_r": r"galdepth_r (nmgy$^{-2}$)", "nobs_z_bin": "exposures in z", "type": "Tractor type",
    "type_bin": "Tractor type",
    "arc_snr": "arc S/N in r", "arc_evidence": "arc evidence (sigma)",
    "theta_e": "θE (arcsec)", "theta_e_arcsec": "θE (arcsec)",
}  # fmt: skip
_ROW_INCHES = 0.19


@house_style
def recall_by_stratum_figure(table: pd.DataFrame) -> Figure:
    """Recall of lenses in the bins of every stratum, one panel a stratum, the bins in the table's order.

    table: of ``strata_table``: stratum, bin, n (lenses), recall, low68, high68, and low95, high95 where known. Bins
    without lenses are left out.
    """
    table = as_table(table, needs=("stratum", "bin", "n", "recall"), name="recall by stratum")
    table = table[table["n"] > 0]
    if table.empty:
        return _blank("no lenses in any stratum")
    strata = list(dict.fromkeys(table["stratum"]))
    columns = min(2, len(strata))
    rows = -(-len(strata) // columns)
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=1.9 * rows + 0.3, rows=rows, columns=columns, sharey=True, squeeze=False
    )
    for axis, stratum in zip(axes.ravel(), strata, strict=False):
        bins = table[table["stratum"] == stratum]
        _dots(axis, np.arange(len(bins)), bins, "recall", upright=True)
        axis.set_xticks(
            np.arange(len(bins)), [f"{name}\n{n:,}" for name, n in zip(bins["bin"], bins["n"].astype(int), strict=True)]
        )
        if bins["bin"].astype(str).str.len().sum() > 48:
            axis.tick_params(axis="x", labelsize=5.5)
        axis.set(xlim=(-0.6, len(bins) - 0.4), ylim=(-0.03, 1.03), xlabel=STRATUM_LABELS.get(stratum, stratum))
        axis.tick_params(top=False)
    for axis in axes.ravel()[len(strata) :]:
        axis.set_visible(False)
    figure.supylabel("Recall of lenses", fontsize="medium")
    _interval_legend(figure, table, "below each bin: its number of lenses")
    return figure


@house_style
def confuser_fpr_figure(table: pd.DataFrame, *, overall: float | None = None) -> Figure:
    """False-positive rate of each confuser category on a logarithmic axis, the worst on top.

    table: category, k, n, value, low68, high68, low95, high95 (``category_table`` of an evaluation). A category without
    a false positive has its interval and no dot. overall: the rate of all galaxies, a line.
    """
    table = as_table(table, needs=("category", "k", "n", "value"), name="confuser")
    table = table[table["n"] > 0]
    table = table.assign(order=np.where(table["k"] > 0, table["value"], -1.0 / table["n"])).sort_values("order")
    figure, axes = new_figure(width=SINGLE_COLUMN_INCHES * 1.3, height=0.95 + 1.3 * _ROW_INCHES * len(table))
    _dots(axes, np.arange(len(table)), table.assign(value=table["value"].where(table["k"] > 0)), "value")
    labels = [
        f"{str(name).replace('_', ' ')}  {k:,}/{n:,}"
        for name, k, n in zip(table["category"], table["k"].astype(int), table["n"].astype(int), strict=True)
    ]
    axes.set_yticks(np.arange(len(table)), labels)
    if overall:
        axes.axvline(overall, ls=":", color="0.4", lw=0.8)
        axes.annotate("all galaxies", (overall, 1.01), xycoords=("data", "axes fraction"), ha="center", fontsize=6)
    positive = table["high95" if "high95" in table else "value"]
    lowest = table["low95"][table["k"] > 0].min() if "low95" in table and (table["k"] > 0).any() else 1e-5
    axes.set(
        xscale="log", xlim=(max(lowest / 2, 1e-6), min(1.0, 2 * float(positive.max()))), ylim=(-0.6, len(table) - 0.4),
        xlabel="False-positive rate at the threshold",
    )  # fmt: skip
    axes.tick_params(axis="y", length=0, right=False)
    return figure


@house_style
def shortcut_figure(table: pd.DataFrame, *, most: int = 40) -> Figure:
    """AUC of single features, the strongest on top, against the bounds of yellow and red.

    table: of ``audit.shortcut_aucs``: feature, auc, low68, high68, colour (green, yellow, red; others are not drawn),
    and low95, high95 where known. Features are sorted by distance from 1/2. most: features shown.
    """
    table = as_table(table, needs=("feature", "auc", "colour"), name="shortcut")
    table = table[table["colour"].isin(list(COLOUR_MARKS)) & table["auc"].notna()]
    if table.empty:
        return _blank("too few stamps to judge any feature")
    counts = table["colour"].value_counts()
    shown = table.assign(strength=(table["auc"] - 0.5).abs()).sort_values("strength", kind="stable").tail(most)
    omitted = f" ({len(shown)} strongest of {len(table)})" if len(shown) < len(table) else ""
    table = shown
    figure, axes = new_figure(width=SINGLE_COLUMN_INCHES * 1.35, height=0.9 + _ROW_INCHES * len(table))
    y = np.arange(len(table))
    for judged, (colour, marker) in COLOUR_MARKS.items():
        chosen = (table["colour"] == judged).to_numpy()
        if chosen.any():
            label = f"{judged} ({counts[judged]})"
            _dots(axes, y[chosen], table[chosen], "auc", colour=colour, marker=marker, label=label)
    for bound, style in zip((0.5, *SHORTCUT_BOUNDS), (":", "--", "-"), strict=True):
        axes.axvline(bound, ls=style, color="0.4", lw=0.7, zorder=0)
        if bound > 0.5 and (table["auc"] < 0.5).any():
            axes.axvline(1.0 - bound, ls=style, color="0.8", lw=0.7, zorder=0)
    low = min(0.46, float(table["low95" if "low95" in table else "auc"].min()) - 0.02)
    high = max(0.72, float(table["high95" if "high95" in table else "auc"].max()) + 0.02)
    axes.set_yticks(y, table["feature"].astype(str))
    axes.set(xlim=(low, min(high, 1.02)), ylim=(-0.7, len(table) - 0.3), xlabel=f"AUC of the feature alone{omitted}")
    axes.tick_params(axis="y", length=0, labelsize=6, right=False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


@house_style
def region_gates_figure(table: pd.DataFrame) -> Figure:
    """AUC of classifiers that see only part of a stamp, and of the detector with and without its core, in this order.

    table: of ``audit.compare_gates``: classifier, auc, low68, high68, and low95, high95 where known.
    """
    table = as_table(table, needs=("classifier", "auc"), name="gates").iloc[::-1].reset_index(drop=True)
    figure, axes = new_figure(width=SINGLE_COLUMN_INCHES * 1.2, height=0.8 + 1.3 * _ROW_INCHES * len(table))
    _dots(axes, np.arange(len(table)), table, "auc")
    axes.axvline(0.5, ls=":", color="0.4", lw=0.8)
    axes.set_yticks(np.arange(len(table)), table["classifier"].astype(str))
    low = float(table["low95" if "low95" in table else "auc"].min())
    axes.set(xlim=(min(0.48, low - 0.02), 1.01), ylim=(-0.6, len(table) - 0.4), xlabel="AUC, lenses against galaxies")
    axes.tick_params(axis="y", length=0, right=False)
    return figure


@house_style
def diversity_figure(
    correlation: Any, *, value: str = "spearman_galaxies", label: str = "Correlation of scores"
) -> Figure:
    """Pairwise correlation of the members' scores as a matrix with its values written in.

    correlation: square, members as index and columns (or a first column ``member``), or one row a pair: members (two
    names) and ``value``, as ``pairs`` of ``learning.score_diversity``.
    """
    matrix = pair_matrix(correlation, value)
    names = [str(name).replace("_", " ") for name in matrix.columns]
    values = matrix.to_numpy(dtype=float)
    side = max(2.4, 0.5 * len(names) + 1.2)
    figure, axes = new_figure(width=min(side + 0.9, DOUBLE_COLUMN_INCHES), height=side)
    image = axes.imshow(values, cmap="cividis", vmin=min(0.0, float(np.nanmin(values))), vmax=1.0)
    for (i, j), value in np.ndenumerate(values):
        dark = image.norm(value) < 0.55
        axes.text(
            j,
            i,
            f"{value:.2f}" if np.isfinite(value) else DASH,
            ha="center",
            va="center",
            fontsize=6.5,
            color="white" if dark else "black",
        )
    axes.set_xticks(np.arange(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(names)), names)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label=label, fraction=0.046)
    return figure


@house_style
def risk_coverage_figure(table: pd.DataFrame, *, risk_label: str = "Risk: share of wrong decisions") -> Figure:
    """Risk among the stamps that a detector decides on, against the share of stamps it decides on.

    table: coverage, risk, and low68, high68 where known; ``curve`` names several curves.
    """
    table = as_table(table, needs=("coverage", "risk"), name="risk-coverage")
    curves = table["curve"].astype(str) if "curve" in table else np.full(len(table), "risk")
    figure, axes = new_figure()
    for k, name in enumerate(dict.fromkeys(curves)):
        rows = table[np.asarray(curves == name)].sort_values("coverage")
        colour = list(COLOURS.values())[k % len(COLOURS)]
        axes.plot(rows["coverage"], rows["risk"], color=colour, ls=("-", "--", "-.", ":")[k % 4], lw=1.2, label=name)
        if {"low68", "high68"} <= set(rows):
            axes.fill_between(rows["coverage"], rows["low68"], rows["high68"], color=colour, alpha=0.2, lw=0)
    axes.set(xlim=(0.0, 1.0), xlabel="Coverage: share of stamps decided on", ylabel=risk_label)
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="upper left", frameon=False)
    return figure


@house_style
def topk_composition_figure(table: pd.DataFrame) -> Figure:
    """Expected composition of the K highest scores of a survey, one panel a prevalence scenario that the sample
    resolves for any K; the others are named below.

    table: of ``composition_table``: scenario, k, category, share (of the K); NaN where it is not resolved.
    """
    table = as_table(table, needs=("scenario", "k", "category", "share"), name="top-K")
    if table.empty:
        return _blank("no scenario could be followed")
    resolved = table["share"].notna().groupby(table["scenario"]).transform("any")
    unresolved, table = list(dict.fromkeys(table["scenario"][~resolved])), table[resolved]
    if table.empty:
        return _blank("too few galaxies score so high to tell\nwhat the highest K scores of any scenario hold")
    scenarios, categories = list(dict.fromkeys(table["scenario"])), list(dict.fromkeys(table["category"]))
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=2.6, columns=len(scenarios), sharey=True, squeeze=False
    )
    fills = [*(COLOURS[name] for name in ("blue", "orange", "green", "vermilion", "sky", "purple")), "0.75", "0.45"]
    for axis, scenario in zip(axes[0], scenarios, strict=True):
        rows = table[table["scenario"] == scenario]
        shares = rows.pivot_table(index="k", columns="category", values="share", dropna=False)
        for place in np.flatnonzero(shares.isna().all(axis=1)):
            axis.text(place, 0.5, "not resolved", rotation=90, ha="center", va="center", fontsize=6.5)
        base = np.zeros(len(shares))
        for number, category in enumerate(categories):
            if category not in shares:
                continue
            height = shares[category].fillna(0.0).to_numpy()
            axis.bar(
                np.arange(len(shares)), height, bottom=base, width=0.75, color=fills[number % len(fills)],
                hatch=("", "////", "....", "\\\\\\\\", "xxxx", "oo", "||", "--")[number % 8], edgecolor="white", lw=0.4,
                label=str(category).replace("_", " "),
            )  # fmt: skip
            base += height
        axis.set_xticks(np.arange(len(shares)), [f"{int(k):,}" for k in shares.index])
        axis.set(title=str(scenario), xlabel="K", ylim=(0.0, 1.0))
        axis.tick_params(axis="x", length=0, top=False, labelsize=6)
    axes[0, 0].set_ylabel("Expected share of the top K")
    if unresolved:
        figure.supxlabel(f"Not resolved for any K: {', '.join(map(str, unresolved))}", fontsize="small")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(5, len(labels)), frameon=False)
    return figure


@house_style
def detectability_figure(table: pd.DataFrame) -> Figure:
    """Recall as observable share times recall of the observable, group by group.

    table: group, quantity, value, low68, high68, and low95, high95 where known (``factor_table``).
    """
    table = as_table(table, needs=("group", "quantity", "value"), name="detectability")
    groups, quantities = list(dict.fromkeys(table["group"])), list(dict.fromkeys(table["quantity"]))
    figure, axes = new_figure(width=SINGLE_COLUMN_INCHES * 1.25, height=1.0 + 0.55 * len(groups))
    marks = list(zip(("sky", "orange", "blue", "black"), "^so*", strict=True))
    for k, quantity in enumerate(quantities):
        rows = table[table["quantity"] == quantity]
        y = np.array([-groups.index(group) for group in rows["group"]]) - 0.24 * (k - (len(quantities) - 1) / 2)
        colour, marker = marks[k % len(marks)]
        _dots(axes, y, rows, "value", colour=colour, marker=marker, label=str(quantity))
    axes.set_yticks(-np.arange(len(groups)), [str(group) for group in groups])
    axes.set(xlim=(-0.02, 1.02), ylim=(-len(groups) + 0.45, 0.55), xlabel="Share of lenses")
    axes.tick_params(axis="y", length=0, right=False)
    figure.legend(loc="outside upper center", ncols=len(quantities), frameon=False)
    return figure


def _dots(
    axes: Axes, place: Sequence[float] | np.ndarray, table: pd.DataFrame, value: str, *, upright: bool = False,
    colour: str = "blue", marker: str = "o", label: str | None = None,
) -> None:  # fmt: skip
    """Values with a thick 68 % and a thin 95 % bar where the table has them, along x or (upright) along y."""
    bars: Any = axes.vlines if upright else axes.hlines
    for level, width in (("95", 0.8), ("68", 2.2)):
        if {f"low{level}", f"high{level}"} <= set(table.columns):
            bars(place, table[f"low{level}"], table[f"high{level}"], color=COLOURS[colour], lw=width, alpha=0.75)
    numbers = table[value].astype(float)
    x, y = (place, numbers) if upright else (numbers, place)
    axes.plot(x, y, marker, ms=3.4, color=COLOURS[colour], mec="black", mew=0.4, ls="", label=label)


def _blank(why: str) -> Figure:
    """A figure that says why it shows nothing."""
    figure, axes = new_figure(height=1.0)
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"Nothing to draw: {why}.", ha="center", va="center", transform=axes.transAxes)
    return figure


def _interval_legend(figure: Figure, table: pd.DataFrame, remark: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS["blue"], lw=width, label=f"{level} %")
        for level, width in (("68", 2.2), ("95", 0.8))
        if f"low{level}" in table.columns
    ]
    handles.append(Line2D([], [], ls="", label=remark))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
