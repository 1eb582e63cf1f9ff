"""Figures of the studies: shifts of the surface by alternative, paired differences, and detectors side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.selection_figures import AXIS_LABELS
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["ablation_figure", "detectors_figure", "sensitivity_figure"]

#: For panels as narrow as their bins are few.
_SHORT_LABELS = {
    "theta_e": AXIS_LABELS["theta_e"],
    "psf_fwhm": "psfsize_r (arcsec)",
    "depth": r"5$\sigma$ depth (mag)",
}


@house_style
def sensitivity_figure(shifts: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Shift of the completeness under every alternative (row), by bin of each axis (panel).

    shifts, summary: of ``selection.sensitivity``. A dot marks a bin whose own 95 % interval leaves out 0; the name of
    an alternative that is no prior is in italics, with its kind, below the priors; one that is compared with another
    alternative names it. White: not compared. The colours end at the
    largest shift of a prior; other kinds may go beyond, and the bar's arrows say so.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import TwoSlopeNorm

    by_name = summary.drop_duplicates("alternative").set_index("alternative")
    kind = by_name["kind"]
    names = sorted(by_name.index, key=lambda name: kind[name] != "prior")  # the verdict's own first
    labels = {name: _label(name, kind[name], by_name["against"][name]) for name in names}
    axes_there = [axis for axis in AXIS_LABELS if axis in set(shifts["axis"])]
    values = {axis: np.sort(shifts.loc[shifts["axis"] == axis, "value"].unique()) for axis in axes_there}
    seen = shifts[shifts["axis"].isin(axes_there)]
    is_prior = kind == "prior"
    priors = seen[seen["alternative"].map(is_prior)]
    end = float(np.nanmax(np.abs((priors if len(priors) else seen)["shift"]), initial=0.0)) or 0.01
    beyond = float(np.nanmax(np.abs(seen["shift"]), initial=0.0)) > end
    scale = TwoSlopeNorm(0.0, -end, end)
    figure, panels = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.9 + 0.19 * len(names), columns=len(axes_there), sharey=True, squeeze=False,
        width_ratios=[len(values[axis]) for axis in axes_there],
    )  # fmt: skip
    for panel, axis in zip(panels[0], axes_there, strict=True):
        rows = shifts[shifts["axis"] == axis]
        column = np.searchsorted(values[axis], rows["value"])
        row = rows["alternative"].map(names.index).to_numpy()
        grid = np.full((len(names), len(values[axis])), np.nan)
        grid[row, column] = rows["shift"]
        panel.imshow(np.ma.masked_invalid(grid), cmap="RdBu", norm=scale, aspect="auto", interpolation="nearest")
        sure = ((rows["low95"] > 0) | (rows["high95"] < 0)).to_numpy()
        panel.plot(column[sure], row[sure], ".", color="black", markersize=2.5)
        shown = np.arange(0, len(values[axis]), 2 if len(values[axis]) > 4 else 1)
        panel.set_xticks(shown, [f"{values[axis][k]:g}" for k in shown])
        panel.set_xlabel(_SHORT_LABELS[axis])
        panel.tick_params(top=False, right=False, left=False, direction="out", length=2)
    panels[0, 0].set_yticks(np.arange(len(names)), list(labels.values()))
    for label, name in zip(panels[0, 0].get_yticklabels(), names, strict=True):
        label.set_style("normal" if is_prior[name] else "italic")
    bar = figure.colorbar(
        ScalarMappable(scale, "RdBu"), ax=panels.ravel().tolist(), pad=0.012, fraction=0.03,
        extend="both" if beyond else "neither",
    )  # fmt: skip
    bar.set_label("shift of P(detected)")
    figure.suptitle("dot: the bin's own 95 % interval leaves out 0 (not adjusted); italics: no prior", fontsize=7)
    return figure


@house_style
def ablation_figure(table: pd.DataFrame, *, by_radius: Sequence[str] = ()) -> Figure:
    """Paired differences of the share detected: over all for every alternative, by Einstein radius for ``by_radius``.

    table: blocks of ``selection.paired.paired_table`` with a column alternative.
    """
    whole = table[table["bin"] == "all"].iloc[::-1]
    chosen = [name for name in by_radius if name in set(table["alternative"])]
    figure, panels = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=max(2.4, 0.9 + 0.17 * len(whole)), columns=2 if chosen else 1, squeeze=False
    )
    first: Axes = panels[0, 0]
    place = np.arange(len(whole))
    first.hlines(place, whole["low95"], whole["high95"], color=COLOURS["sky"], linewidth=1.2, label="95 %")
    first.hlines(place, whole["low68"], whole["high68"], color=COLOURS["blue"], linewidth=3, label="68 %")
    first.plot(whole["difference"], place, "o", color="black", markersize=3)
    for y, (_, row) in zip(place, whole.iterrows(), strict=True):
        first.annotate(
            f"+{int(row['n_ablation_only'])} −{int(row['n_base_only'])}", (1.0, y), (-3, 0), fontsize=6,
            xycoords=("axes fraction", "data"), textcoords="offset points", va="center", ha="right",
        )  # fmt: skip
    first.axvline(0.0, color="0.5", linewidth=0.6)
    reach = float(np.nanmax(np.abs(whole[["low95", "high95"]].to_numpy()))) or 0.01
    first.set_xlim(-1.15 * reach, 1.6 * reach)
    first.set_yticks(place, [name.replace("_", " ") for name in whole["alternative"]])
    first.set_xlabel("difference of the share detected, paired")
    first.set_title(f"all Einstein radii, n = {int(whole['n'].max()):,} pairs")
    first.tick_params(right=False, left=False)
    figure.legend(
        *first.get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=2,
        title="right of the bars: injections gained and lost",
    )  # fmt: skip
    if chosen:
        _by_radius(panels[0, 1], table, chosen, "alternative")
    return figure


@house_style
def detectors_figure(margins: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """Completeness of every detector along each axis with 68 % intervals, and the paired difference by radius.

    margins: ``completeness.marginals`` with a column detector. pairs: ``paired_table`` with a column detector.
    """
    detectors = list(dict.fromkeys(margins["detector"]))
    end = "_hosts" if "low68_hosts" in margins else ""
    figure, panels = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.75 * DOUBLE_COLUMN_INCHES, rows=2, columns=2, squeeze=False
    )
    flat = panels.ravel()
    for panel, axis in zip(flat, AXIS_LABELS, strict=False):
        rows = margins[(margins["axis"] == axis) & np.isfinite(margins["completeness"])]
        step = _smallest_step(rows["value"].to_numpy(dtype=float))
        for k, (name, colour) in enumerate(zip(detectors, COLOURS.values(), strict=False)):
            one = rows[rows["detector"] == name].sort_values("value")
            x = one["value"] + 0.12 * step * (k - 0.5 * (len(detectors) - 1))
            panel.vlines(x, one[f"low68{end}"], one[f"high68{end}"], color=colour, linewidth=1.5)
            panel.plot(x, one["completeness"], "o", color=colour, markersize=3, label=name)
        panel.set(xlabel=AXIS_LABELS[axis], ylabel="P(detected), other axes averaged")
        panel.set_ylim(0.0, None)
    _by_radius(flat[3], pairs, [name for name in detectors if name in set(pairs["detector"])], "detector")
    flat[3].set_ylabel("paired difference to default (95 %)")
    handles, labels = flat[0].get_legend_handles_labels()
    title = "detector, at its own threshold; bars: 68 % there; differences: 95 %, the thresholds' own error included"
    named = [label.replace("_", " ") for label in labels]
    figure.legend(handles, named, title=title, loc="outside upper center", ncols=len(named), frameon=False)
    return figure


def _by_radius(panel: Axes, table: pd.DataFrame, names: Sequence[str], column: str) -> None:
    """Paired difference against Einstein radius with 95 % intervals, a colour a name; a ring where Holm's p < 0.05.

    Of detectors the p is that of the bootstrap in which thresholds are chosen again.
    """
    rows = table[(table["bin"] != "all") & (table["n"] > 0)]
    colours = list(COLOURS.values())[1:] if column == "detector" else list(COLOURS.values())
    for k, name in enumerate(names):
        one = rows[rows[column] == name]
        middle = 0.5 * (one["theta_e_low"] + one["theta_e_high"]).to_numpy()
        x = middle + 0.05 * (k - 0.5 * (len(names) - 1))
        colour = colours[k % len(colours)]
        panel.vlines(x, one["low95"], one["high95"], color=colour, linewidth=1.2)
        panel.plot(x, one["difference"], "o", color=colour, markersize=3, label=str(name).replace("_", " "))
        sure = (one["p_bootstrap_holm" if column == "detector" else "p_hosts_holm"] < 0.05).to_numpy()
        ring: dict[str, Any] = {"markersize": 6.5, "markerfacecolor": "none", "markeredgewidth": 0.8}
        panel.plot(x[sure], one["difference"].to_numpy()[sure], "o", color=colour, **ring)
    panel.axhline(0.0, color="0.5", linewidth=0.6)
    panel.set(xlabel=AXIS_LABELS["theta_e"], ylabel="difference of the share detected, paired (95 %)")
    panel.set_title("ring: Holm's p < 0.05")
    if column != "detector":  # whose colours are those of the whole figure
        low, high = panel.get_ylim()
        panel.set_ylim(low, high + 0.09 * len(names) * (high - low))  # room for the legend above the bars
        panel.legend(frameon=False, loc="upper left")


def _label(name: str, kind: str, against: str) -> str:
    notes = [*([] if kind == "prior" else [kind]), *([] if against == "base" else [f"to {against}"])]
    return (name + (f" ({', '.join(notes)})" if notes else "")).replace("_", " ")


def _smallest_step(values: NDArray[np.float64]) -> float:
    distinct = np.unique(values)
    return float(np.diff(distinct).min()) if len(distinct) > 1 else 1.0
