"""Figures of the search for lensing clusters: discoveries, what they rest on, and what the prior does to them.

Each takes a table or the rare-event report and returns a Figure; bars are 68 and 95 % bootstrap intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, SINGLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "ablation_figure", "discovery_figure", "importance_figure", "in_words", "prior_figure", "prior_study_figure",
    "robustness_figure",
]  # fmt: skip

_UNRESOLVED = {"facecolor": "0.9", "edgecolor": "0.6", "lw": 0.4, "zorder": 0}
_GROUP_COLOURS = {"patches": "blue", "cutout": "orange", "peak_colours": "vermilion", "catalogue": "green"}
_STUDY_MARKS = ("o", "s", "^", "D", "v", "P")
#: Parts of the names of columns and variants, and what a reader is told instead, in this order.
_WORDS = {
    "elkan_noto": "Elkan-Noto, weighted", "nn_pu": "nnPU, balanced",
    "positive_vs_unlabelled": "positives against unlabelled", "_outer_mean": ", outer patches (mean)",
    "_outer_std": ", outer patches (scatter)", "_outer_max": ", outer patches (largest)", "_p11": ", middle patch",
    "theta_e_": "θE proxy of ", "_arcsec": "", "theta_E": "θE", "_known": ": known or not", "_minus_": " − ",
    "glcm": "GLCM", "_": " ",
}  # fmt: skip


def in_words(name: str) -> str:
    """A column or a variant as figures and pages call it."""
    for part, words in _WORDS.items():
        name = name.replace(part, words)
    return name


@house_style
def discovery_figure(curves: pd.DataFrame, rare_events: Mapping[str, Any]) -> Figure:
    """Left: ROC of the test fields, false-positive rates on a logarithmic axis; grey where fewer than five of their
    non-lenses decide. Right: discoveries in the survey against hours of review, with 68 and 95 %, and by chance. Both
    with what is left at the upper limit of the rate, and the right one with what the probabilities promise.
    """
    figure, (left, right) = new_figure(width=DOUBLE_COLUMN_INCHES, height=2.7, columns=2)
    false, recall = (curves[name].to_numpy(dtype=float) for name in ("false_positive_rate", "recall"))
    sample = rare_events["sample"]
    resolved, lowest = sample["lowest_resolved_false_positive_rate"], 0.5 / max(sample["negatives"], 1)
    left.axvspan(lowest, resolved, **_UNRESOLVED)
    grid = np.geomspace(lowest, 1.0, 600)
    highest = np.r_[np.diff(false) > 0, True]
    left.plot(grid, np.interp(grid, false[highest], recall[highest]), color=COLOURS["blue"], label="stack, calibrated")
    limit = curves["false_positive_rate_limit"].to_numpy(dtype=float)
    left.fill_betweenx(recall[1:], false[1:], limit[1:], lw=0, color=COLOURS["orange"], alpha=0.3)
    left.plot(limit[1:], recall[1:], color=COLOURS["orange"], lw=0.9, label="at the rate's upper limit")
    left.plot(grid, grid, color="0.4", ls="--", lw=0.8, label="chance")
    for rate, found in rare_events["recall_at"].items():
        if found["value"] is None or float(rate) < lowest:
            continue
        bars = [[found["value"] - found["jeffreys_low_95"]], [found["jeffreys_high_95"] - found["value"]]]
        left.errorbar(
            [float(rate)], [found["value"]], np.clip(bars, 0.0, None), fmt="o", ms=3.5, color=COLOURS["black"],
            mfc=COLOURS["black"] if found["resolved"] else "white", zorder=3,
        )  # fmt: skip
    left.set(
        xscale="log", xlim=(lowest, 1.0), ylim=(0.0, 1.02), xlabel="False-positive rate",
        ylabel="Recall of lenses",
    )  # fmt: skip
    left.legend(loc="upper left", frameon=False)
    _draw_discoveries(right, rare_events)
    return figure


def _draw_discoveries(right: Any, rare_events: Mapping[str, Any]) -> None:
    import pandas as pd

    sample = rare_events["sample"]
    curve = pd.DataFrame(rare_events["discovery_curve"])
    for level, shade in (("95", 0.15), ("68", 0.3)):
        right.fill_between(
            curve["hours"], curve[f"low_{level}"].astype(float), curve[f"high_{level}"].astype(float), lw=0,
            color=COLOURS["blue"], alpha=shade,
        )  # fmt: skip
    right.plot(
        curve["hours"], curve["discoveries"], "o-", ms=3, color=COLOURS["blue"], label="from the top of the ranking"
    )
    right.fill_between(
        curve["hours"], curve["at_limit"], curve["discoveries"], lw=0, color=COLOURS["orange"], alpha=0.3, zorder=1
    )
    right.plot(curve["hours"], curve["at_limit"], color=COLOURS["orange"], lw=0.9, label="at the rate's upper limit")
    if "by_probability" in curve:
        right.plot(curve["hours"], curve["by_probability"], "k:", lw=1.2, label="sum of probabilities")
    right.plot(curve["hours"], curve["at_random"], "--", color="0.4", lw=0.8, label="at random")
    # the hours in which as many non-lenses are seen as the least resolved false-positive rate of the survey
    hours = float((curve["hours"] / curve["reviewed"]).iloc[0])
    shortest = sample["lowest_resolved_false_positive_rate"] * (1.0 - sample["prior"]) * sample["survey_size"] * hours
    first, last = float(curve["hours"].min()) / 1.3, float(curve["hours"].max()) * 1.3
    right.axvspan(first, min(shortest, last), **_UNRESOLVED)
    right.set(
        xscale="log", yscale="log", xlim=(first, last), xlabel="Review time (hours)",
        ylabel=f"Discoveries ({sample['survey_size']:,} fields)",
    )  # fmt: skip
    right.legend(loc="lower right", frameon=False, title=f"prior {sample['prior']:g}")


@house_style
def ablation_figure(table: pd.DataFrame) -> Figure:
    """AUROC of every variant with 68 and 95 %, the rows of the table from the top."""
    rows = table.reset_index(drop=True)
    figure, axis = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.9 + 0.21 * len(rows))
    y = np.arange(len(rows))[::-1]
    axis.hlines(y, rows["auroc_low_95"], rows["auroc_high_95"], color=COLOURS["blue"], lw=1.0)
    axis.hlines(y, rows["auroc_low_68"], rows["auroc_high_68"], color=COLOURS["blue"], lw=3.0)
    axis.plot(rows["auroc"], y, "o", ms=4, color=COLOURS["black"])
    axis.axvline(float(rows["auroc"].iloc[0]), color="0.6", lw=0.6, zorder=0)
    axis.axvline(0.5, color="0.4", ls="--", lw=0.8, zorder=0)
    axis.set_yticks(y, [in_words(str(name)) for name in rows["variant"]])
    axis.tick_params(axis="y", length=0)
    axis.set(xlabel="AUROC on test fields (thick: 68 %, thin: 95 %)", ylim=(-0.7, len(rows) - 0.3))
    return figure


@house_style
def importance_figure(table: pd.DataFrame, *, most: int = 20) -> Figure:
    """Mean absolute Shapley value of the most important features, coloured and hatched by group."""
    rows = table.head(most).iloc[::-1]
    figure, axis = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.8 + 0.17 * len(rows))
    hatches = dict(zip(_GROUP_COLOURS, ("", "//", "xx", ".."), strict=True))
    colours = [COLOURS[_GROUP_COLOURS.get(group, "black")] for group in rows["group"]]
    bars = axis.barh(np.arange(len(rows)), rows["shap"], color=colours, height=0.75)
    for bar, group in zip(bars, rows["group"], strict=True):
        bar.set(hatch=hatches.get(group, ""), edgecolor="white", linewidth=0)
    axis.set_yticks(np.arange(len(rows)), [in_words(str(name)) for name in rows["feature"]])
    axis.tick_params(axis="y", length=0)
    axis.set(xlabel="Mean |Shapley value| (change of the logit)", ylim=(-0.7, len(rows) - 0.3))
    from matplotlib.patches import Patch

    groups = [group for group in _GROUP_COLOURS if group in set(rows["group"])]
    handles = [
        Patch(
            facecolor=COLOURS[_GROUP_COLOURS[name]],
            hatch=hatches[name],
            edgecolor="white",
            label=name.replace("_", " "),
        )
        for name in groups
    ]
    axis.legend(handles=handles, loc="lower right", frameon=False)
    return figure


@house_style
def prior_figure(table: pd.DataFrame, *, recall: float) -> Figure:
    """By prior of the sky: average precision and precision at a recall; mean probability over the prior; and AUROC of
    a learner that was told this share of lenses among its unlabelled fields.
    """
    figure, axes = new_figure(width=DOUBLE_COLUMN_INCHES, height=2.4, columns=3)
    x = table["prior"].to_numpy(dtype=float)
    panels: Sequence[tuple[Any, Sequence[tuple[str, str, str, str]]]] = (
        (axes[0], (("average_precision", "average precision", "blue", "o"),
                   ("precision_at_recall", f"precision at {100 * recall:.0f} % recall", "vermilion", "s"))),
        (axes[1], (("mean_over_prior", "", "blue", "o"),)),
        (axes[2], (("learner_auroc", "", "blue", "o"),)),
    )  # fmt: skip
    for axis, lines in panels:
        for name, label, colour, mark in lines:
            if name not in table or not np.isfinite(table[name].astype(float)).any():
                continue
            values, low, high = (
                table[key].to_numpy(dtype=float) for key in (name, f"{name}_low_68", f"{name}_high_68")
            )
            axis.fill_between(x, low, high, color=COLOURS[colour], alpha=0.2, lw=0)
            axis.plot(x, values, marker=mark, ms=3, color=COLOURS[colour], label=label or None)
        axis.set(xscale="log", xlabel="Prior of the sky")
    axes[0].set(yscale="log", ylabel="Precision")
    axes[0].set_ylim(bottom=axes[0].get_ylim()[0] / 30.0, top=1.0)
    axes[0].legend(loc="lower right", frameon=False)
    axes[1].axhspan(0.8, 1.2, color="0.9", lw=0, zorder=0)
    axes[1].axhline(1.0, color="0.4", lw=0.8, ls="--", zorder=0)
    axes[1].set(
        ylabel="Mean probability / prior", ylim=(min(0.6, axes[1].get_ylim()[0]), max(1.4, axes[1].get_ylim()[1]))
    )
    axes[2].set(ylabel="AUROC, told this prior", xlabel="Prior told to the learner")
    if "learner_auroc" in table and np.isfinite(table["learner_auroc"].astype(float)).any():
        middle = float(np.nanmedian(table["learner_auroc"].astype(float)))
        axes[2].set_ylim(max(middle - 0.1, 0.0), min(middle + 0.1, 1.0))
    return figure


@house_style
def prior_study_figure(table: pd.DataFrame) -> Figure:
    """Estimated over true prior of simulations with known densities: median and 16-84 %, by true prior."""
    figure, axis = new_figure(width=SINGLE_COLUMN_INCHES, height=3.1)
    names = list(dict.fromkeys(table["estimator"]))
    for k, name in enumerate(names):
        rows = table[table["estimator"] == name]
        x = rows["prior"].to_numpy(dtype=float) * 10.0 ** (0.09 * (k - 0.5 * (len(names) - 1)))
        middle, low, high = (rows[key].to_numpy(dtype=float) for key in ("median_ratio", "low_ratio", "high_ratio"))
        shown = np.maximum(middle, 1e-2)
        bars = np.clip([shown - np.maximum(low, 1e-2), high - shown], 0.0, None)
        axis.errorbar(
            x, shown, bars, fmt=_STUDY_MARKS[k % len(_STUDY_MARKS)], ms=3.5, lw=0.9, label=name.replace("_", " "),
            color=list(COLOURS.values())[k % len(COLOURS)],
        )  # fmt: skip
    axis.axhspan(0.5, 2.0, color="0.9", lw=0, zorder=0)
    axis.axhline(1.0, color="0.4", lw=0.8, ls="--", zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="True prior", ylabel="Estimate / true prior")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


@house_style
def robustness_figure(conditions: Sequence[Mapping[str, Any]]) -> Figure:
    """AUROC under a worse sky minus that of the same fields as observed, with 68 and 95 %."""
    figure, axis = new_figure(width=SINGLE_COLUMN_INCHES, height=0.9 + 0.3 * max(len(conditions), 1))
    for y, row in enumerate(reversed(conditions)):
        found = row["difference"]
        axis.hlines(y, found["low_95"], found["high_95"], color=COLOURS["blue"], lw=1.0)
        axis.hlines(y, found["low_68"], found["high_68"], color=COLOURS["blue"], lw=3.0)
        axis.plot([found["value"]], [y], "o", ms=4, color=COLOURS["black"])
    axis.axvline(0.0, color="0.4", ls="--", lw=0.8, zorder=0)
    axis.set_yticks(np.arange(len(conditions)), [str(row["condition"]).replace("_", " ") for row in conditions][::-1])
    axis.tick_params(axis="y", length=0)
    axis.set(xlabel="Change of AUROC", ylim=(-0.7, max(len(conditions), 1) - 0.3))
    return figure
