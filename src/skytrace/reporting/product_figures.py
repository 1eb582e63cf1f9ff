"""Figures of what is made of the measured surface: the model's calibration, the sky's stability, causes of failure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.selection_figures import AXIS_LABELS
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, SINGLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["CAUSE_LABELS", "absent_figure", "calibration_figure", "failure_figure", "stability_figure"]

#: Cause of ``selection.failures`` -> how a figure names it.
CAUSE_LABELS = {
    "faint_arc": "arc too faint", "blended": "blended", "host_outshines": "host outshines arc",
    "neighbour_or_mask": "neighbour or mask", "clipped": "clipped", "core_sensitive": "core sensitive",
    "unexplained": "unexplained", "not_measured": "not measured",
}  # fmt: skip
_PAINTS: tuple[str, ...] = tuple(COLOURS[name] for name in ("blue", "sky", "orange", "green", "purple", "vermilion"))
_CAUSE_COLOURS = dict(zip(CAUSE_LABELS, (*_PAINTS, "0.35", "0.8"), strict=True))


@house_style
def absent_figure(words: str) -> Figure:
    """A figure that says why there is nothing to show."""
    figure, axis = new_figure(width=SINGLE_COLUMN_INCHES, height=1.4)
    axis.set_axis_off()
    axis.text(0.5, 0.5, textwrap.fill(words, 52), ha="center", va="center", transform=axis.transAxes)
    return figure


@house_style
def calibration_figure(cells: pd.DataFrame, report: Mapping[str, Any]) -> Figure:
    """Left: measured completeness of every cell against what the model predicts for its injections. Right: the
    differences in units of their standard errors, beside a unit normal.

    cells: table of ``CellCalibration``. report: verdict, p_value, rms_difference. Predictions are out of fold.
    """
    figure, (left, right) = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.44 * DOUBLE_COLUMN_INCHES, columns=2, width_ratios=(1.1, 1.0)
    )
    predicted, observed = cells["predicted_completeness"], cells["observed_completeness"]
    end = min(1.0, 1.06 * float(max(predicted.max(), observed.max())))
    left.errorbar(
        predicted, observed, yerr=cells["standard_error"], fmt="o", markersize=2.2, color=COLOURS["blue"],
        ecolor="0.75", elinewidth=0.6,
    )  # fmt: skip
    left.plot([0, end], [0, end], color="0.3", linewidth=0.7, linestyle="--")
    left.set(
        xlabel="P(detected) of the model, out of fold", ylabel="detected / injected", xlim=(-0.01, end),
        ylim=(-0.01, end), title=f"{len(cells)} cells, {int(cells['n'].sum()):,} injections",
    )  # fmt: skip
    left.set_aspect("equal")
    z = cells["z"].to_numpy(dtype=float)
    z = z[np.isfinite(z)]
    span = max(4.0, float(np.ceil(np.abs(z).max()))) if len(z) else 4.0
    bins = np.arange(-span, span + 0.25, 0.5)
    right.hist(z, bins=bins, density=True, color=COLOURS["sky"], label="cells")
    x = np.linspace(-span, span, 200)
    right.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color="black", linewidth=0.9, label="unit normal")
    right.set(
        xlabel="(measured - model) / standard error", ylabel="density",
        title=f"{report['verdict']}: p = {report['p_value']:.2g}, rms beyond noise {report['rms_difference']:.4f}",
    )  # fmt: skip
    right.legend(frameon=False)
    return figure


@house_style
def stability_figure(regions: pd.DataFrame, sentence: str) -> Figure:
    """Completeness of every tested sky region minus that of the whole sky for the same cells, 68 % errors.

    regions: table of ``StabilityTest``. A number says how many hosts the region has.
    """
    tested = regions[regions["tested"] & regions["standard_error"].notna()].reset_index(drop=True)
    if tested.empty:
        return absent_figure(sentence)
    figure, axis = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.36 * DOUBLE_COLUMN_INCHES)
    place = np.arange(len(tested))
    axis.errorbar(
        place, tested["excess"], yerr=tested["standard_error"], fmt="o", color=COLOURS["blue"], markersize=3,
        elinewidth=1.0,
    )  # fmt: skip
    axis.axhline(0.0, color="0.4", linewidth=0.7, linestyle="--")
    axis.set_xticks(place, [f"{row.region}\n{row.n_hosts}" for row in tested.itertuples()])
    axis.set(xlabel="sky region (HEALPix, nested), and its number of hosts", ylabel="excess completeness")
    axis.set_title(textwrap.fill(f"{sentence} Bars: 68 %.", 118), loc="left", fontsize=6.5)
    return figure


@house_style
def failure_figure(summary: pd.DataFrame, counts: pd.DataFrame, report: Mapping[str, Any]) -> Figure:
    """Left: share of all missed injections by first cause (bar; lines: 95 % of the drawing, none where all were
    counted), and how often the cause
    holds at all among missed (filled) and detected (open). Right: the shares along the Einstein radius.

    summary: ``cause_summary`` with ``stratified_shares``. counts: ``failure_counts`` with n_missed of all injections.
    """
    figure, (left, right) = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.46 * DOUBLE_COLUMN_INCHES, columns=2, width_ratios=(1.15, 1.0)
    )
    names = [name for name in CAUSE_LABELS if name in set(summary["cause"])]
    rows = summary.set_index("cause").loc[names]
    place = np.arange(len(names))[::-1]
    left.barh(place, rows["share"], color=[_CAUSE_COLOURS[name] for name in names], height=0.62)
    left.hlines(place, rows["low95"], rows["high95"], color="black", linewidth=1.0)
    left.plot(rows["holds_missed"], place, "D", color="black", markersize=3.4, label="holds, among missed")
    left.plot(
        rows["holds_detected"], place, "D", color="black", markerfacecolor="white", markersize=3.4,
        label="holds, among detected",
    )  # fmt: skip
    left.set_yticks(place, [CAUSE_LABELS[name] for name in names])
    left.set(xlim=(0.0, 1.0), xlabel="share of missed injections (bar: first cause)")
    left.legend(frameon=False, loc="lower right")
    left.set_title(f"{report['missed_measured']:,} of {report['missed']:,} missed were measured")
    full = counts[counts["n_missed_sampled"] > 0]
    scaled = full[names].div(full["n_missed_sampled"], axis=0).mul(full["n_missed"], axis=0)
    by_theta = scaled.groupby(full["theta_e"]).sum()
    total = by_theta.sum(axis=1)
    bottom = np.zeros(len(by_theta))
    centres = by_theta.index.to_numpy(dtype=float)
    step = float(np.diff(centres).min()) if len(centres) > 1 else 0.25
    for name in names:
        share = (by_theta[name] / total).to_numpy()
        right.bar(centres, share, width=0.9 * step, bottom=bottom, color=_CAUSE_COLOURS[name])
        bottom += share
    right.set(xlabel=AXIS_LABELS["theta_e"], ylabel="share of missed, first cause", ylim=(0.0, 1.0))
    return figure
