"""How good a detector is, in figures of its test scores: ROC, precision-recall, reliability, and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.learning import metrics
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure
from skytrace.statistics import beta_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = ["calibration_figure", "precision_recall_figure", "reliability_figure", "roc_figure"]


@house_style
def roc_figure(scores: pd.DataFrame, *, evaluation: dict[str, Any]) -> Figure:
    """Recall against false-positive rate, from the rate of a single false positive up.

    scores: score, label of the evaluated split. evaluation: of ``learning.evaluate_scores`` on the same rows.
    """
    rate, found = metrics.roc_curve(scores["score"], scores["label"])
    n_galaxies = int((scores["label"] == 0).sum())
    figure, axes = new_figure()
    lowest = 1.0 / n_galaxies
    axes.step(np.maximum(rate, lowest), found, where="post", color=COLOURS["blue"], label=f"AUC {_value(evaluation)}")
    axes.plot(
        [max(evaluation["at_threshold"]["false_positive_rate"]["value"], lowest)],
        [evaluation["at_threshold"]["recall"]["value"]],
        "o", ms=4, color=COLOURS["vermilion"], label=f"threshold {evaluation['threshold']:.3g}",
    )  # fmt: skip
    unresolved = metrics.MIN_FALSE_POSITIVES / n_galaxies
    axes.axvspan(lowest, unresolved, color="0.9", lw=0, label=f"< {metrics.MIN_FALSE_POSITIVES} false positives")
    chance = np.geomspace(lowest, 1.0, 50)
    axes.plot(chance, chance, ":", color="0.5", lw=0.8)
    axes.set(
        xscale="log", xlim=(lowest, 1.0), ylim=(0.0, 1.02), xlabel="False-positive rate", ylabel="Recall of lenses",
        title=_sample(evaluation),
    )  # fmt: skip
    axes.legend(loc="lower right", frameon=False)
    return figure


@house_style
def precision_recall_figure(scores: pd.DataFrame, *, evaluation: dict[str, Any]) -> Figure:
    """Precision against recall at the sample's share of lenses, which it states. Arguments as ``roc_figure``."""
    found, precision = metrics.precision_recall_curve(scores["score"], scores["label"])
    share = evaluation["sample"]["lens_share"]
    figure, axes = new_figure()
    average = evaluation["ranking"]["average_precision"]["value"]
    axes.step(found, precision, where="pre", color=COLOURS["blue"], label=f"average precision {average:.3f}")
    point = evaluation["at_threshold"]
    if point["sample_precision"]["value"] is not None:
        axes.plot(
            [point["recall"]["value"]], [point["sample_precision"]["value"]], "o", ms=4, color=COLOURS["vermilion"],
            label=f"threshold {evaluation['threshold']:.3g}",
        )  # fmt: skip
    axes.axhline(share, ls=":", color="0.5", lw=0.8)
    axes.annotate(
        f"lenses are {100 * share:.3g} % of this sample,\nnot of the sky: no survey precision",
        (0.03, 0.05), xycoords="axes fraction", fontsize=6,
    )  # fmt: skip
    axes.set(
        xlim=(0.0, 1.0), ylim=(0.0, 1.02), xlabel="Recall of lenses", ylabel="Precision in this sample",
        title=_sample(evaluation),
    )  # fmt: skip
    axes.legend(loc="center left", frameon=False)
    return figure


@house_style
def reliability_figure(scores: pd.DataFrame, *, evaluation: dict[str, Any]) -> Figure:
    """Share of lenses against mean score, 68 % Jeffreys intervals: all scores, and the highest ones apart.

    Arguments as ``roc_figure``.
    """
    score, label = scores["score"].to_numpy(), scores["label"].to_numpy()
    figure, (left, right) = new_figure(width=DOUBLE_COLUMN_INCHES, columns=2)
    everything, top = evaluation["calibration"]["all"], evaluation["calibration"]["top"]
    _reliability(left, score, label, f"as trained, all scores, ECE {_number(everything['ece'])}, n = {len(score)}")
    chosen = metrics.top_scores(score, share=top["share"])
    title = f"as trained, highest {100 * top['share']:g} %, ECE {_number(top['ece'])}, n = {top['n']}"
    _reliability(right, score[chosen], label[chosen], title)
    low = max(0.0, float(score[chosen].min()) - 0.05)
    right.set_xlim(low, 1.0 + 0.02 * (1.0 - low))
    return figure


@house_style
def calibration_figure(probabilities: Mapping[str, ArrayLike], label: ArrayLike, *, top_share: float = 0.01) -> Figure:
    """Reliability of several sets of probabilities of the same stamps, e.g. before and after calibration.

    probabilities: name -> (n,), the uncalibrated ones first. label: (n,) 1 lens, 0 galaxy. Left all stamps; right those
    with the highest ``top_share`` of the first set, the same stamps for every set.
    """
    label = np.asarray(label)
    figure, (left, right) = new_figure(width=DOUBLE_COLUMN_INCHES, columns=2)
    chosen = metrics.top_scores(next(iter(probabilities.values())), share=top_share)
    titles = (f"all scores, n = {len(label)}", f"highest {100 * top_share:g} % before, n = {int(chosen.sum())}")
    for axes, rows, title in zip((left, right), (np.ones_like(chosen), chosen), titles, strict=True):
        marks = zip(probabilities.items(), ("blue", "vermilion", "green", "purple", "orange"), "os^Dv", strict=False)
        for (name, values), colour, marker in marks:
            score = np.asarray(values, dtype=float)[rows]
            ece = metrics.calibration_errors(score, label[rows])[0]
            style = {"color": COLOURS[colour], "fmt": marker, "label": f"{name}, ECE {ece:.3f}"}
            _reliability(axes, score, label[rows], title, **style)
        axes.set_xlabel("Mean probability")
        axes.legend(loc="lower right", frameon=False)
    low = min(float(np.min(np.asarray(values)[chosen])) for values in probabilities.values())
    left_edge = max(0.0, low - 0.05)
    right.set_xlim(left_edge, 1.0 + 0.02 * (1.0 - left_edge))
    right.legend(loc="lower left", frameon=False)
    return figure


def _reliability(axes: Axes, score: np.ndarray, truth: np.ndarray, title: str, **style: Any) -> None:
    curve = metrics.calibration_bins(score, truth)
    filled = curve["count"] > 0
    count, lenses, mean = curve["count"][filled], curve["lenses"][filled], curve["mean_score"][filled]
    share = lenses / count
    low, high = beta_interval(lenses, count)
    # a Jeffreys interval need not hold k/n when k is 0 or n; a bar never points backwards
    bars = np.maximum(np.stack([share - low, high - share]), 0.0)
    style = {"fmt": "o", "ms": 3, "lw": 0.8, "color": COLOURS["blue"], **style}
    axes.errorbar(mean, share, yerr=bars, **style)
    axes.plot([0.0, 1.0], [0.0, 1.0], ":", color="0.5", lw=0.8)
    axes.set(
        xlim=(0.0, 1.0), ylim=(-0.02, 1.04), xlabel="Mean score", ylabel="Share of lenses in this sample", title=title
    )


def _value(evaluation: dict[str, Any]) -> str:
    auc = evaluation["ranking"]["auc"]
    if "low_95" not in auc:
        return f"{auc['value']:.4f}"
    return f"{auc['value']:.4f} ({auc['low_95']:.4f}-{auc['high_95']:.4f}, 95 %)"


def _number(record: dict[str, Any]) -> str:
    return "unknown" if record["value"] is None else f"{record['value']:.3f}"


def _sample(evaluation: dict[str, Any]) -> str:
    return f"{evaluation['sample']['lenses']} lenses, {evaluation['sample']['galaxies']} galaxies"
