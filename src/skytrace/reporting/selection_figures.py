"""Figures of a measured selection function: heat maps, marginals, and the realism gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, colour_maximum, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["AXIS_LABELS", "marginals_figure", "realism_figure", "selection_heatmaps"]

#: Axis of the grid -> label with unit.
AXIS_LABELS = {
    "theta_e": r"Einstein radius $\theta_\mathrm{E}$ (arcsec)",
    "psf_fwhm": r"PSF size in $r$, psfsize_r (arcsec)",
    "depth": r"5$\sigma$ PSF depth in $r$ (AB mag)",
}
_INSUFFICIENT: dict[str, Any] = {"hatch": "////", "edgecolor": "white"}
_NO_HOSTS: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.55", "hatch": "xxxx"}
_DEGRADED: dict[str, Any] = {"marker": "<", "markersize": 2.6, "linestyle": "", "color": COLOURS["vermilion"]}


@house_style
def selection_heatmaps(table: pd.DataFrame, *, threshold: float | None = None) -> Figure:
    """P(detected) against theta_E and PSF size, one panel a depth; one threshold of ``table`` (its first by default).

    One colour scale for all panels, from 0 to the end that its bar states (``colour_maximum``). Hatched cells are
    insufficient (too few injections), white crossed ones have no hosts, a triangle marks a row of degraded hosts.
    ``table`` may have a column ``verdict`` (of the realism gates): the legend then says it.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    table = at_threshold(table, threshold)
    thetas, psfs, depths = (np.sort(table[name].unique()) for name in ("theta_e", "psf_fwhm", "depth"))
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.42 * DOUBLE_COLUMN_INCHES, columns=len(depths), sharey=True, squeeze=False
    )
    scale = Normalize(0.0, colour_maximum(table["completeness"]))
    for axis, depth in zip(axes[0], depths, strict=True):
        _draw_cells(axis, table[table["depth"] == depth], thetas, psfs, colormaps["cividis"], scale)
        axis.set_title(rf"$5\sigma$ depth {depth:.1f} mag")
    axes[0, 0].set_ylabel(AXIS_LABELS["psf_fwhm"])
    figure.supxlabel(AXIS_LABELS["theta_e"], fontsize="medium")
    _label_colours(figure, axes, table, colormaps["cividis"], scale)
    return figure


def _draw_cells(axis: Axes, cells: pd.DataFrame, thetas: NDArray, psfs: NDArray, colours: Any, scale: Any) -> None:
    """One panel: a rectangle a cell at (index of theta_E, index of PSF size), a triangle a row of degraded hosts."""
    from matplotlib.patches import Rectangle

    columns, rows = np.searchsorted(thetas, cells["theta_e"]), np.searchsorted(psfs, cells["psf_fwhm"])
    values = cells["completeness"].to_numpy(dtype=float)
    for i, j, value, state in zip(columns, rows, values, cells["state"], strict=True):
        empty = not np.isfinite(value)
        looks = _NO_HOSTS if empty else {"facecolor": colours(scale(value)), "edgecolor": "white"}
        hatch = {} if empty or state == "ok" else _INSUFFICIENT
        axis.add_patch(Rectangle((i - 0.5, j - 0.5), 1, 1, **{"linewidth": 0.3, **looks, **hatch}))
    degraded = np.unique(rows[cells["mode"] == "degraded"])
    if len(degraded):  # an empty line outside the axes has no extent, and the layout fails
        beside = np.full(len(degraded), 1.045)
        axis.plot(beside, degraded, transform=axis.get_yaxis_transform(), clip_on=False, **_DEGRADED)
    axis.set(xlim=(-0.5, len(thetas) - 0.5), ylim=(-0.5, len(psfs) - 0.5))
    shown = np.arange(0, len(thetas), 2 if len(thetas) <= 6 else 4)
    axis.set_xticks(shown, [f"{thetas[k]:g}" for k in shown])
    axis.set_yticks(np.arange(len(psfs)), [f"{value:.2f}" for value in psfs])
    axis.tick_params(top=False, right=False, which="both", direction="out", length=2)


def _label_colours(figure: Figure, axes: NDArray, table: pd.DataFrame, colours: Any, scale: Any) -> None:
    """The colour bar with its true upper end, and a legend of the marks that occur."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes.ravel().tolist(), pad=0.012, fraction=0.03)
    bar.set_ticks(np.linspace(0.0, scale.vmax, 6 if scale.vmax in (0.05, 0.5, 1.0) else 5).tolist())
    bar.set_label(f"P(detected), colours 0 to {scale.vmax:g}")
    empty = ~np.isfinite(table["completeness"])
    marks = {
        "insufficient": (
            (~empty & (table["state"] != "ok")).any(),
            Patch(facecolor=colours(0.45), label="insufficient: too few injections", **_INSUFFICIENT),
        ),
        "no_hosts": (empty.any(), Patch(label="no hosts", **_NO_HOSTS)),
        "degraded": ((table["mode"] == "degraded").any(), Line2D([], [], label="row of degraded hosts", **_DEGRADED)),
    }
    titles = [f"score $\\geq$ {table['threshold'].iloc[0]:.3g}"] if "threshold" in table else []
    titles += [f"realism gates: {table['verdict'].iloc[0]}"] if "verdict" in table else []
    handles = [handle for occurs, handle in marks.values() if occurs]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=max(1, len(handles)), frameon=False, title="; ".join(titles)
    )


@house_style
def marginals_figure(marginals: pd.DataFrame) -> Figure:
    """Completeness along each axis of the grid with 68 % and 95 % intervals.

    marginals: columns axis (theta_e, psf_fwhm or depth), value, completeness, n, and low68, high68, low95, high95;
    where there are low68_hosts and so on, intervals that know about injections sharing a host, these are drawn.
    An axis spans all of its bins; one without injections is crossed out. A bin without a detection is an open triangle
    and its interval a limit, which the legend says: a Jeffreys interval has equal tails, so it starts above 0.
    """
    end = "_hosts" if "low68_hosts" in marginals else ""
    names = [name for name in AXIS_LABELS if name in set(marginals["axis"])]
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.38 * DOUBLE_COLUMN_INCHES, columns=len(names), sharey=True, squeeze=False
    )
    highest = marginals[f"high95{end}"].to_numpy(dtype=float)
    top = min(1.0, 1.08 * float(np.nanmax(highest))) if np.isfinite(highest).any() else 1.0
    for axis, name in zip(axes[0], names, strict=True):
        _draw_marginal(axis, marginals[marginals["axis"] == name].sort_values("value"), end)
        axis.set(xlabel=AXIS_LABELS[name], ylim=(0.0, top))
    axes[0, 0].set_ylabel("P(detected), other axes averaged")
    _label_marginals(figure, axes[0], end)
    return figure


def _draw_marginal(axis: Axes, rows: pd.DataFrame, end: str) -> None:
    """One panel: intervals, dots, triangles where none was detected, crosses where nothing was measured."""
    values = rows["value"].to_numpy(dtype=float)
    half = 0.5 * float(np.diff(values).min()) if len(values) > 1 else 0.5
    axis.set_xlim(values[0] - 1.2 * half, values[-1] + 1.2 * half)
    full = rows[np.isfinite(rows["completeness"])]
    for level, colour, width in (("95", COLOURS["sky"], 1.2), ("68", COLOURS["blue"], 3)):
        ends = full[f"low{level}{end}"], full[f"high{level}{end}"]
        axis.vlines(full["value"], *ends, color=colour, linewidth=width, label=f"{level} %")
    none = full["completeness"] == 0
    marks = {
        "measured": (full[~none], "o", {}),
        "none detected: limits": (full[none], "v", {"markerfacecolor": "white"}),
    }
    for label, (part, marker, looks) in marks.items():
        if len(part):  # on the axis itself, so not cut by it
            style: dict[str, Any] = {"color": "black", "markersize": 3.2, "clip_on": False, "zorder": 5, **looks}
            axis.plot(part["value"], part["completeness"], marker, label=label, **style)
    empty = rows.loc[~np.isfinite(rows["completeness"]), "value"]
    if len(empty):
        axis.plot(
            empty, np.full(len(empty), 0.03), "x", color="0.4", markersize=4, label="no injections",
            transform=axis.get_xaxis_transform(),
        )  # fmt: skip
    if full.empty:
        axis.text(0.5, 0.5, "nothing was measured", transform=axis.transAxes, ha="center")
    axis.set_title(f"n = {int(rows['n'].sum()):,} injections, {len(full)} of {len(rows)} bins")


def _label_marginals(figure: Figure, axes: NDArray, end: str) -> None:
    """One legend of the marks that occur, above the panels, where it covers nothing."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found = {**dict(zip(labels, handles, strict=True)), **found}
    words = "injections that share a host succeed together" if end else "independent trials"
    figure.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=len(found), frameon=False,
        title=f"Jeffreys intervals, {words}",
    )  # fmt: skip


@house_style
def realism_figure(report: Mapping[str, Any], anchors: pd.DataFrame, injections: pd.DataFrame) -> Figure:
    """Anchors against injections in the quantities that the gates compare: arc S/N and the two arc colours.

    anchors, injections: columns arc_snr, arc_g_r, arc_r_z measured by the same estimator, and ``weight`` on injections.
    An axis holds the middle 98 % of both samples together; what lies beyond is counted in its first and last bin.
    """
    panels = [
        ("arc_snr", r"arc-annulus S/N in $r$", True),
        ("arc_g_r", r"arc $g-r$ (mag)", False),
        ("arc_r_z", r"arc $r-z$ (mag)", False),
    ]
    figure, axes = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.34 * DOUBLE_COLUMN_INCHES, columns=len(panels))
    for axis, (name, label, logarithmic) in zip(axes, panels, strict=True):
        real = anchors[name].to_numpy(dtype=float)
        fake = injections[name].to_numpy(dtype=float)
        weight = injections["weight"].to_numpy(dtype=float) if "weight" in injections else np.ones(len(fake))
        usable = (lambda x: np.isfinite(x) & (x > 0)) if logarithmic else np.isfinite
        real, keep = real[usable(real)], usable(fake)
        if not len(real) or not keep.any():
            axis.text(0.5, 0.5, "no measurable arcs", transform=axis.transAxes, ha="center")
            axis.set_xlabel(label)
            continue
        low, high = np.percentile(np.concatenate([real, fake[keep]]), [1, 99])
        if high - low <= 1e-6 * abs(high):  # one value, or one sample too small to reach into the percentiles
            low, high = (low / 2.0, high * 2.0) if logarithmic else (low - 0.5, high + 0.5)
        edges = np.geomspace(low, high, 22) if logarithmic else np.linspace(low, high, 22)
        style: dict[str, Any] = {"bins": edges, "histtype": "step", "linewidth": 1.3}
        share, equal = weight[keep] / weight[keep].sum(), np.full(len(real), 1.0 / len(real))
        real, fake = np.clip(real, edges[0], edges[-1]), np.clip(fake[keep], edges[0], edges[-1])
        axis.hist(fake, weights=share, color=COLOURS["blue"], label=f"injections ({keep.sum():,})", **style)
        axis.hist(
            real, weights=equal, color=COLOURS["vermilion"], linestyle="--", label=f"known lenses ({len(real):,})",
            **style,
        )  # fmt: skip
        axis.set(xlabel=label)
        if logarithmic:
            axis.set_xscale("log")
            ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= t <= high]
            axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axis.set_xticks([], minor=True)
    axes[0].set_ylabel("share of the sample in a bin")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3, frameon=False, title=f"verdict: {report['verdict']}"
    )
    return figure


def at_threshold(table: pd.DataFrame, threshold: float | None) -> pd.DataFrame:
    """The rows of ``table`` at one threshold. Raises ValueError naming the thresholds there are."""
    if "threshold" not in table.columns:
        return table
    known = table["threshold"].unique()
    wanted = known[0] if threshold is None else threshold
    nearest = known[np.argmin(np.abs(known - wanted))]
    if not np.isclose(nearest, wanted):
        raise ValueError(f"no rows at threshold {wanted:g}; there are {', '.join(f'{t:g}' for t in known)}")
    return table[table["threshold"] == nearest]
