"""Figures of our selection function beside a published one: marginals over the same cells, and cell against cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.selection_figures import AXIS_LABELS
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison_cells_figure", "comparison_marginals_figure"]

_SIDES: dict[str, dict[str, Any]] = {
    "ours": {"colour": COLOURS["blue"], "marker": "o", "shift": -1.0},
    "theirs": {"colour": COLOURS["vermilion"], "marker": "s", "shift": 1.0},
}
#: Mode of our hosts -> marker and its name; the colour is the depth.
_MODES = {"matched": ("o", "matched hosts here"), "degraded": ("^", "degraded hosts here")}
_TICKS = (0.0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
#: Width of a bin that has no neighbour in the table: the published surface's, and the default grid's.
_LONE_BIN = {"theta_e": 0.25, "psf_fwhm": 0.15, "depth": 0.5}
#: Share of cividis that is dark enough for open markers on white.
_DARK = 0.82


@house_style
def comparison_marginals_figure(
    marginals: pd.DataFrame, *, ours: str = "this work", theirs: str = "published"
) -> Figure:
    """Completeness of both along each axis, pooled over the same cells, with 68 % (thick) and 95 % (thin) intervals.

    marginals: ``common_marginals``. Ours know about injections that share a host; theirs are independent trials, the
    narrowest possible, and the legend says so. Markers stand a little beside the bin centre, within the bin. An empty
    bin has none.
    """
    names = [name for name in AXIS_LABELS if name in set(marginals["axis"])]
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.42 * DOUBLE_COLUMN_INCHES, columns=len(names), sharey=True, squeeze=False
    )
    words = {"ours": f"{ours}, intervals with shared hosts", "theirs": f"{theirs}, independent trials"}
    for axis, name in zip(axes[0], names, strict=True):
        rows = marginals[marginals["axis"] == name]
        centres = np.sort(rows["value"].unique())
        step = float(np.diff(centres).min()) if len(centres) > 1 else _LONE_BIN[name]
        for side, looks in _SIDES.items():
            _draw_marginal(
                axis, rows[rows["side"] == side], 0.09 * step * looks["shift"], looks, _label(marginals, side, words)
            )
        counts = rows.groupby("side")["n"].sum()
        axis.set_title(f"n = {int(counts['ours']):,} here, {int(counts['theirs']):,} there")
        axis.set(xlabel=AXIS_LABELS[name], xlim=(centres[0] - 0.6 * step, centres[-1] + 0.6 * step))
    axes[0, 0].set_ylabel("P(detected), the same cells pooled")
    axes[0, 0].set_ylim(0.0, min(1.0, 1.06 * float(marginals["high95"].max())))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, frameon=False,
        title="detectors, thresholds, sources and sky differ: compare shapes, not levels",
    )  # fmt: skip
    return figure


def _label(marginals: pd.DataFrame, side: str, words: dict[str, str]) -> str:
    threshold = marginals.loc[marginals["side"] == side, "threshold"].iloc[0]
    return f"{words[side]} (score $\\geq$ {threshold:.3g})"


def _draw_marginal(axis: Axes, rows: pd.DataFrame, shift: float, looks: dict[str, Any], label: str) -> None:
    x = rows["value"].to_numpy(dtype=float) + shift
    axis.vlines(x, rows["low95"], rows["high95"], color=looks["colour"], linewidth=0.7)
    axis.vlines(x, rows["low68"], rows["high68"], color=looks["colour"], linewidth=2.2)
    axis.plot(x, rows["completeness"], looks["marker"], color=looks["colour"], markersize=2.6, label=label)


@house_style
def comparison_cells_figure(comparison: pd.DataFrame, *, ours: str = "this work", theirs: str = "published") -> Figure:
    """Left: our completeness against theirs, one point a cell measured in both, on square-root axes. Right: our
    completeness in the cells that are empty there, against theta_E.

    comparison: ``compare_surfaces``. Colour: depth; marker: matched or degraded hosts of ours; open: the outermost PSF
    or depth bins there, which are open-ended. Grey: 68 % intervals, ours with shared hosts; of a cell without any
    detection they leave out 0 by construction (equal tails of the Jeffreys posterior), and the legend says so. A square
    root gives binomial errors the same length anywhere.
    """
    from matplotlib.colors import BoundaryNorm

    figure, axes = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.52 * DOUBLE_COLUMN_INCHES, columns=2)
    depths = np.sort(comparison["depth"].unique())
    half = 0.5 * float(np.diff(depths).min()) if len(depths) > 1 else 0.5
    norm = BoundaryNorm(np.append(depths - half, depths[-1] + half), 256)
    both = comparison[comparison["role"] == "both"]
    filled = comparison[comparison["role"].isin(["filled_matched", "filled_degraded"])]
    shown = comparison[["high68_ours", "high68_theirs"]].to_numpy(dtype=float)
    end = min(1.0, 1.05 * float(np.nanmax(shown))) if np.isfinite(shown).any() else 1.0
    _draw_cells(axes[0], both, norm, end)
    axes[0].set(
        xlabel=f"P(detected), {theirs}", ylabel=f"P(detected), {ours}", title=f"{len(both)} cells measured in both"
    )
    _draw_filled(axes[1], filled, comparison, norm)
    axes[1].set(
        xlabel=AXIS_LABELS["theta_e"] + "; within one by depth, then PSF size",
        title=f"{len(filled)} cells empty there, filled here",
    )
    _label_cells(figure, axes, comparison, norm, depths)
    return figure


def _draw_cells(axis: Axes, both: pd.DataFrame, norm: Any, end: float) -> None:
    """The scatter with its 1:1 line."""
    for name in ("x", "y"):
        _square_root(axis, name, end)
    axis.plot([0, end], [0, end], color="0.4", linewidth=0.7, linestyle="--", zorder=1)
    grey: dict[str, Any] = {"color": "0.8", "linewidth": 0.5, "zorder": 0}
    axis.vlines(both["completeness_theirs"], both["low68_ours"], both["high68_ours"], **grey)
    axis.hlines(both["completeness_ours"], both["low68_theirs"], both["high68_theirs"], **grey)
    for mode, (marker, _) in _MODES.items():
        for outer in (False, True):
            rows = both[(both["mode_ours"] == mode) & (both["edge_theirs"] == outer)]
            _points(axis, rows["completeness_theirs"], rows, marker, norm, filled=not outer)
    axis.set_aspect("equal")


def _draw_filled(axis: Axes, filled: pd.DataFrame, comparison: pd.DataFrame, norm: Any) -> None:
    """Ours against theta_E on a scale of its own; the conditions of one theta_E side by side, by depth, then PSF."""
    highest = float(filled["high68_ours"].max()) if len(filled) else 1.0
    _square_root(axis, "y", min(1.0, 1.05 * highest))
    centres = np.sort(comparison["theta_e"].unique())
    step = float(np.diff(centres).min()) if len(centres) > 1 else 0.5
    axis.set_xlim(centres[0] - 0.7 * step, centres[-1] + 0.7 * step)
    if filled.empty:
        axis.text(0.5, 0.5, "none", transform=axis.transAxes, ha="center")
        return
    place = (
        filled.groupby("theta_e")[["depth", "psf_fwhm"]].transform("rank", method="min").mul([100.0, 1.0]).sum(axis=1)
    )
    order = place.groupby(filled["theta_e"]).rank(method="first")
    x = filled["theta_e"] + step * 0.8 * ((order - 0.5) / order.max() - 0.5)
    axis.vlines(x, filled["low68_ours"], filled["high68_ours"], color="0.8", linewidth=0.5, zorder=0)
    for mode, (marker, _) in _MODES.items():
        rows = filled[filled["mode_ours"] == mode]
        _points(axis, x[rows.index], rows, marker, norm, filled=True)


def _dark_cividis() -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["cividis"](np.linspace(0.0, _DARK, 256)))


def _points(axis: Axes, x: Any, rows: pd.DataFrame, marker: str, norm: Any, *, filled: bool) -> None:
    colours: Any = _dark_cividis()(norm(rows["depth"].to_numpy(dtype=float)))
    axis.scatter(
        x, rows["completeness_ours"], s=9, marker=marker, zorder=2, linewidth=0.7, edgecolors=colours, clip_on=False,
        facecolors=colours if filled else "white",
    )  # fmt: skip


def _square_root(axis: Axes, name: str, end: float) -> None:
    scale, limit = (axis.set_xscale, axis.set_xlim) if name == "x" else (axis.set_yscale, axis.set_ylim)
    scale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0.0)), lambda v: np.asarray(v) ** 2))
    limit(0.0, end)
    ticks = [tick for tick in _TICKS if tick <= end]
    place = axis.set_xticks if name == "x" else axis.set_yticks
    place(ticks, [f"{tick:g}" for tick in ticks])
    place([], minor=True)


def _label_cells(figure: Figure, axes: Any, comparison: pd.DataFrame, norm: Any, depths: np.ndarray) -> None:
    """Colour bar of the depths, and a legend of the markers that occur."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    bar = figure.colorbar(ScalarMappable(norm, _dark_cividis()), ax=list(axes), pad=0.012, fraction=0.03)
    bar.set_ticks(depths.tolist(), labels=[f"{depth:g}" for depth in depths])
    bar.set_label(AXIS_LABELS["depth"])
    plain: dict[str, Any] = {"linestyle": "", "color": "0.3", "markersize": 4}
    handles = [
        Line2D([], [], marker=marker, label=words, **plain)
        for mode, (marker, words) in _MODES.items()
        if (comparison["mode_ours"] == mode).any()
    ]
    both = comparison["role"] == "both"
    if (both & comparison["edge_theirs"]).any():
        open_marker = {**plain, "markerfacecolor": "white"}
        handles.append(
            Line2D([], [], marker="o", label="open: outermost PSF or depth bin there (open-ended)", **open_marker)
        )
    if both.any():
        handles.append(Line2D([], [], color="0.4", linestyle="--", linewidth=0.7, label="equal"))
    limits = " and ".join(f"{comparison.attrs[f'threshold_{side}']:.3g}" for side in _SIDES if comparison.attrs)
    title = f"score $\\geq$ {limits}; detectors, sources and sky differ\n" if limits else ""
    title += "grey: 68 %"
    if (comparison[["completeness_ours", "completeness_theirs"]] == 0).to_numpy().any():
        title += "; without any detection the point is at 0 and its bar, of equal tails, begins above it"
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, title=title)
