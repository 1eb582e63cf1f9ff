"""Figures of a measured selection function: heat maps, marginals, and the realism gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["AXIS_LABELS", "marginals_figure", "realism_figure", "selection_heatmaps"]

#: Axis of the grid -> label with unit.
AXIS_LABELS = {
    "theta_e": r"Einstein radius $\theta_\mathrm{E}$ (arcsec)",
    "psf_fwhm": r"PSF size in $r$, psfsize_r (arcsec)",
    "depth": r"5$\sigma$ PSF depth in $r$ (AB mag)",
}


@house_style
def selection_heatmaps(table: pd.DataFrame, *, threshold: float | None = None) -> Figure:
    """P(detected) against theta_E and PSF size, one panel a depth; one threshold of ``table`` (its first by default).

    Hatched cells are insufficient (too few injections); grey cells have no hosts; a dot says degraded hosts.
    """
    from matplotlib import colormaps
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    table = at_threshold(table, threshold)
    thetas, psfs, depths = (np.sort(table[name].unique()) for name in ("theta_e", "psf_fwhm", "depth"))
    height = 0.4 * DOUBLE_COLUMN_INCHES
    figure, axes = new_figure(width=DOUBLE_COLUMN_INCHES, height=height, columns=len(depths), sharey=True)
    colours = colormaps["cividis"]
    for axis, depth in zip(np.atleast_1d(axes).ravel(), depths, strict=True):
        cells = table[table["depth"] == depth]
        for row in cells.itertuples():
            i, j = np.searchsorted(thetas, row.theta_e), np.searchsorted(psfs, row.psf_fwhm)
            empty = not np.isfinite(row.completeness)
            axis.add_patch(
                Rectangle(
                    (i - 0.5, j - 0.5), 1, 1,
                    facecolor="0.88" if empty else colours(row.completeness),
                    edgecolor="0.55" if empty else "white", linewidth=0.3,
                    hatch="xxxx" if empty else ("////" if row.state != "ok" else None),
                )
            )  # fmt: skip
            if row.mode == "degraded":
                axis.plot(i, j, ".", markersize=1.6, color=COLOURS["vermilion"])
        axis.set(xlim=(-0.5, len(thetas) - 0.5), ylim=(-0.5, len(psfs) - 0.5), title=f"depth {depth:.1f}")
        shown = np.arange(0, len(thetas), 2 if len(thetas) <= 6 else 4)
        axis.set_xticks(shown, [f"{thetas[k]:g}" for k in shown])
        axis.set_yticks(np.arange(len(psfs)), [f"{value:.2f}" for value in psfs])
        axis.tick_params(top=False, right=False, which="both")
    first = np.atleast_1d(axes).ravel()[0]
    first.set_ylabel(AXIS_LABELS["psf_fwhm"])
    figure.supxlabel(AXIS_LABELS["theta_e"], fontsize="medium")
    mappable = _mappable(colours)
    figure.colorbar(mappable, ax=np.atleast_1d(axes).ravel().tolist(), label="P(detected)", pad=0.012, fraction=0.03)
    figure.legend(
        handles=[
            Patch(facecolor="0.6", edgecolor="white", hatch="////", label="insufficient"),
            Patch(facecolor="0.88", edgecolor="0.55", hatch="xxxx", label="no hosts"),
            Line2D([], [], marker=".", linestyle="", color=COLOURS["vermilion"], label="degraded hosts"),
        ],
        loc="outside upper center", ncols=3, frameon=False,
    )  # fmt: skip
    return figure


@house_style
def marginals_figure(marginals: pd.DataFrame) -> Figure:
    """Completeness along each axis of the grid with 68 % and 95 % intervals.

    marginals: columns axis (theta_e, psf_fwhm or depth), value, completeness, n, and low68, high68, low95, high95;
    where there are low68_hosts and so on, intervals that know about injections sharing a host, these are drawn.
    """
    end = "_hosts" if "low68_hosts" in marginals else ""
    names = [name for name in AXIS_LABELS if name in set(marginals["axis"])]
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.34 * DOUBLE_COLUMN_INCHES, columns=len(names), sharey=True
    )
    for axis, name in zip(np.atleast_1d(axes).ravel(), names, strict=True):
        rows = marginals[(marginals["axis"] == name) & np.isfinite(marginals["completeness"])].sort_values("value")
        axis.vlines(
            rows["value"], rows[f"low95{end}"], rows[f"high95{end}"], color=COLOURS["sky"], linewidth=1.2, label="95 %"
        )
        axis.vlines(
            rows["value"], rows[f"low68{end}"], rows[f"high68{end}"], color=COLOURS["blue"], linewidth=3, label="68 %"
        )
        axis.plot(rows["value"], rows["completeness"], "o", color="black", markersize=3)
        axis.set(xlabel=AXIS_LABELS[name], title=f"n = {int(rows['n'].sum()):,} injections")
    measured = marginals[f"high95{end}"].to_numpy(dtype=float)
    first = np.atleast_1d(axes).ravel()[0]
    first.set_ylim(0.0, min(1.0, 1.08 * np.nanmax(measured)) if np.isfinite(measured).any() else 1.0)
    first.set_ylabel("P(detected), other axes averaged")
    first.legend(frameon=False, loc="upper left")
    return figure


@house_style
def realism_figure(report: Mapping[str, Any], anchors: pd.DataFrame, injections: pd.DataFrame) -> Figure:
    """Anchors against injections in the quantities that the gates compare: arc S/N and the two arc colours.

    anchors, injections: columns arc_snr, arc_g_r, arc_r_z measured by the same estimator, and ``weight`` on injections.
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
        edges = np.geomspace(low, high, 22) if logarithmic else np.linspace(low, high, 22)
        style = {"bins": edges, "density": True, "histtype": "step", "linewidth": 1.3}
        axis.hist(
            fake[keep], weights=weight[keep], color=COLOURS["blue"], label=f"injections ({keep.sum():,})", **style
        )
        axis.hist(real, color=COLOURS["vermilion"], linestyle="--", label=f"known lenses ({len(real):,})", **style)
        axis.set(xlabel=label, yticks=[])
        if logarithmic:
            axis.set_xscale("log")
            ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= t <= high]
            axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axis.set_xticks([], minor=True)
    axes[0].set_ylabel("density")
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


def _mappable(colours: Any) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, 1), colours)
