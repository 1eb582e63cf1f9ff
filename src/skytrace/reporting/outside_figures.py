"""Figure of the outside check: shapes of real lenses seen from space, at the survey's sky, against injections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["outside_figure"]

_LABELS = {
    "arc_radius_ratio": r"arc radius / $\theta_\mathrm{E}$",
    "arc_asymmetry": "tangential asymmetry",
}


@house_style
def outside_figure(report: Mapping[str, Any], ranked: pd.DataFrame) -> Figure:
    """Left and middle: each real lens, its median over cells against that of matched injections, bars: 16-84 % of the
    cells. Right: mean rank of the lenses among their injections with its 95 % interval; 1/2 where nothing differs.
    """
    figure, axes = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.36 * DOUBLE_COLUMN_INCHES, columns=3)
    used = ranked[ranked["compared"].to_numpy(dtype=bool)]
    for axis, (name, label) in zip(axes, _LABELS.items(), strict=False):
        if not len(used):
            words = "no lens with enough\nmatched injections"
            axis.text(0.5, 0.5, words, ha="center", va="center", transform=axis.transAxes)
            axis.set(xlabel=label)
            continue
        groups = used.groupby("name")[[name, f"{name}_matched"]]
        low, middle, high = (groups.quantile(share).to_numpy() for share in (0.16, 0.5, 0.84))
        axis.errorbar(
            middle[:, 1], middle[:, 0], xerr=np.array([middle[:, 1] - low[:, 1], high[:, 1] - middle[:, 1]]),
            yerr=np.array([middle[:, 0] - low[:, 0], high[:, 0] - middle[:, 0]]), fmt="o", markersize=3.5,
            color=COLOURS["blue"], ecolor=COLOURS["sky"], elinewidth=0.8,
        )  # fmt: skip
        ends = [float(low.min()), float(high.max())]
        axis.plot(ends, ends, color="0.5", linewidth=0.6, linestyle=":")
        axis.set(xlabel="matched injections (median)", ylabel=label)
    right = axes[-1]
    for place, name in enumerate(_LABELS):
        for row, (key, colour, who) in enumerate((
            ("if_sources_are_bluer", "sky", "sources bluer"), (None, "blue", "assumed colour"),
            ("if_sources_are_redder", "vermilion", "sources redder"),
        )):  # fmt: skip
            shape = (report if key is None else report.get(key, {})).get("shapes", {}).get(name)
            if shape is None:
                continue
            at = place + 0.2 * (row - 1)
            right.hlines(at, shape["low_95"], shape["high_95"], color=COLOURS[colour], linewidth=1.4)
            right.plot(
                [shape["mean_rank"]], [at], "o", color=COLOURS[colour], markersize=3.5, label=None if place else who
            )
    right.axvline(0.5, color="0.5", linewidth=0.6, linestyle=":")
    right.set(xlim=(0.0, 1.0), ylim=(-0.5, 2.4), xlabel="mean rank among injections (95 %)")
    right.set_yticks(range(len(_LABELS)), ["radius", "asymmetry"])
    handles, labels = right.get_legend_handles_labels()
    if handles:
        right.legend(handles, labels, loc="upper right", frameon=False)
    else:
        right.text(0.5, 0.85, "too few lenses to rank", ha="center", transform=right.transAxes)
    figure.suptitle(
        f"{report['lenses_compared']} lenses imaged in F140W, in {report['lens_cells_compared']} lens-cells: "
        f"{report['verdict']} (colours and absolute S/N are not checked)",
        fontsize=8,
    )
    return figure
