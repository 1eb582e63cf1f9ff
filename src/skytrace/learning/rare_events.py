"""How good a ranking is where one object in thousands is wanted: rates, precision and effort *at the true prior*.

A test sample holds far more positives than the sky. Its recall and false-positive rate carry over; its precision does
not: at a share pi of positives, precision = pi TPR / (pi TPR + (1 - pi) FPR). Every number has percentile-bootstrap
intervals (positives and negatives drawn apart, or whole sky cells), and where it is a share of the positives also
Jeffreys intervals at its threshold, which stay honest where the share is near 0 or 1 and a bootstrap is not.
No false-positive rate below that of a few negatives is known: what rests on none at all is said beside it, with what
is left at the upper limit of the rate (``rare_event_limits``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole
from skytrace.learning import metrics, rare_event_limits
from skytrace.learning.resampling import drawn_by
from skytrace.statistics import LEVELS, beta_interval, bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "RareEventOptions",
    "average_precision_at_prior",
    "calibration_error_at_prior",
    "calibration_report",
    "cost_per_discovery",
    "discovery_curve",
    "interpolated_recall",
    "precision_at_prior",
    "precision_at_recall",
    "rare_event_report",
    "recall_without_false_positives",
]

#: Bins of the logit over which a calibration error at a small prior is summed.
CALIBRATION_BINS = 15
_LOGIT_LIMIT = 16.0


@dataclass(frozen=True)
class RareEventOptions:
    """prior: share of positives in the survey. survey_size: objects in it. seconds_per_review: of a person's time for
    one candidate. false_positive_rates, recall: where recall and precision are read. hours: budgets of the curve.
    n_resamples, seed: of the bootstrap.
    """

    prior: float = 1e-4
    survey_size: int = 1_000_000
    seconds_per_review: float = 30.0
    false_positive_rates: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    recall: float = 0.8
    hours: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    n_resamples: int = 500
    seed: int = 20260101

    def __post_init__(self) -> None:
        check_between("prior", self.prior, 0.0, 1.0, include_low=False, include_high=False)
        check_whole("survey_size", self.survey_size, 1, 10**12)
        check_between("seconds_per_review", self.seconds_per_review, 0.0, np.inf, include_low=False)
        check_between("recall", self.recall, 0.0, 1.0, include_low=False)
        for rate in self.false_positive_rates:
            check_between("false_positive_rates", rate, 0.0, 1.0, include_low=False, include_high=False)
        for budget in self.hours:
            check_between("hours", budget, 0.0, np.inf, include_low=False, include_high=False)
        check_whole("n_resamples", self.n_resamples, 20, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        object.__setattr__(self, "false_positive_rates", tuple(float(rate) for rate in self.false_positive_rates))
        object.__setattr__(self, "hours", tuple(float(budget) for budget in self.hours))


def interpolated_recall(scores: ArrayLike, labels: ArrayLike, *, rate: float) -> float:
    """Recall at a false-positive rate, on the straight line between the points of the ROC curve on both its sides.

    At a rate that is a point, its recall (the highest, where several share it). NaN without both classes.
    """
    false, found = _roc(scores, labels)
    highest = np.r_[np.diff(false) > 0, True]
    return float(np.interp(rate, false[highest], found[highest]))


def precision_at_prior(recall: ArrayLike, false_positive_rate: ArrayLike, *, prior: float) -> NDArray[np.float64]:
    """Positives' share of the selected where a share ``prior`` is positive; NaN where nothing is selected."""
    check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
    found = prior * np.asarray(recall, dtype=np.float64)
    false = (1.0 - prior) * np.asarray(false_positive_rate, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return found / (found + false)


def average_precision_at_prior(scores: ArrayLike, labels: ArrayLike, *, prior: float) -> float:
    """Precision averaged over recall at ``prior`` in place of the sample's share; NaN without both classes."""
    false, found = _roc(scores, labels)
    return float(np.sum(precision_at_prior(found[1:], false[1:], prior=prior) * np.diff(found)))


def precision_at_recall(scores: ArrayLike, labels: ArrayLike, *, recall: float, prior: float) -> float:
    """Precision at ``prior`` and the highest threshold that finds a share ``recall`` of the positives or more."""
    false, found = _roc(scores, labels)
    first = int(np.argmax(found >= recall - 1e-12)) if np.isfinite(found).all() else 0
    return float(precision_at_prior(found[first], false[first], prior=prior))


def recall_without_false_positives(scores: ArrayLike, labels: ArrayLike) -> float:
    """Share of the positives above every negative: where precision is 1 for want of negatives, not by measurement."""
    false, found = _roc(scores, labels)
    return float(found[false == 0.0].max()) if np.isfinite(false).all() else np.nan


def calibration_error_at_prior(
    probabilities: ArrayLike, labels: ArrayLike, *, prior: float, bins: int = CALIBRATION_BINS
) -> dict[str, float]:
    """ece, ece_over_prior, mean_over_prior: of probabilities of being positive, rows weighted to share ``prior``.

    ece = sum over bins of weight x |mean probability - share of positives|. Bins of equal width in the *logit*, between
    the lowest and the highest: of bins of equal width in the probability the lowest would hold nearly every row. An
    ece means something only beside the prior: one that calls all objects negative has ece = prior.
    """
    check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
    p, y = metrics.check_scores(probabilities, labels)
    weight = np.where(y == 1, prior / max(y.sum(), 1), (1.0 - prior) / max((y == 0).sum(), 1))
    with np.errstate(divide="ignore"):
        logit = np.clip(np.log(p) - np.log1p(-p), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    edges = np.linspace(logit.min(), logit.max(), bins + 1)
    which = np.clip(np.searchsorted(edges, logit, side="right") - 1, 0, bins - 1)
    gap = np.abs(np.bincount(which, weights=weight * (p - y), minlength=bins))
    mean = float(np.sum(weight * p))
    return {"ece": float(gap.sum()), "ece_over_prior": float(gap.sum() / prior), "mean_over_prior": mean / prior}


def discovery_curve(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    options: RareEventOptions | None = None,
    cells: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
) -> pd.DataFrame:
    """Expected discoveries against hours of review, candidates taken from the top of the ranking: a row a budget.

    Columns: hours, reviewed, discoveries, at_random (of as many objects drawn blindly), precision, hours_per_discovery,
    low_68, high_68, low_95, high_95 of the discoveries (bootstrap of the test sample); negatives_above (of the sample,
    above the budget's threshold), resolved (one or more), at_limit (the discoveries with every false-positive rate at
    its upper limit), and with probabilities (n,), at options.prior, by_probability: what these sum to. A survey's own
    number scatters around them as Poisson besides. cells (n,): sky cells, drawn whole where there are enough.
    """
    import pandas as pd

    options = options or RareEventOptions()
    scores, labels = _checked(scores, labels)
    rows = []
    for budget in options.hours:
        reviewed = min(3600.0 * budget / options.seconds_per_review, float(options.survey_size))
        statistic = partial(_discoveries, reviewed=reviewed, prior=options.prior, survey_size=options.survey_size)
        found = _interval(statistic, scores, labels, cells, options)
        number = found.pop("value")
        hours = reviewed * options.seconds_per_review / 3600.0
        rows.append(
            {
                "hours": hours,
                "reviewed": reviewed,
                "discoveries": number,
                "at_random": options.prior * reviewed,
                "precision": number / reviewed,
                "hours_per_discovery": hours / number if number > 0 else np.inf,
                **{key: value for key, value in found.items() if key.startswith(("low", "high"))},
            }
        )
    curve = pd.DataFrame(rows)
    survey = {"reviewed": curve["reviewed"], "prior": options.prior, "survey_size": options.survey_size}
    curve["negatives_above"] = rare_event_limits.negatives_above(scores, labels, **survey)
    curve["resolved"] = curve["negatives_above"] >= 1.0 - 1e-9
    curve["at_limit"] = rare_event_limits.discoveries_at_limit(scores, labels, **survey)
    if probabilities is not None:
        curve["by_probability"] = rare_event_limits.expected_discoveries(probabilities, scores, labels, **survey)
    return curve


def cost_per_discovery(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    recall: float,
    options: RareEventOptions | None = None,
    cells: ArrayLike | None = None,
) -> dict[str, float]:
    """Hours of review for one discovery, on the way to a share ``recall`` of all positives: value and intervals."""
    options = options or RareEventOptions()
    scores, labels = _checked(scores, labels)

    def hours(s: NDArray, y: NDArray) -> float:
        return options.seconds_per_review / 3600.0 / precision_at_recall(s, y, recall=recall, prior=options.prior)

    return _interval(hours, scores, labels, cells, options)


def rare_event_report(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    probabilities: ArrayLike | None = None,
    options: RareEventOptions | None = None,
    cells: ArrayLike | None = None,
) -> dict[str, Any]:
    """JSON-ready: sample, auroc, recall_at, average_precision, precision_at_recall, cost_per_discovery, calibration
    (where probabilities are given), discovery_curve; each number as value, standard_error, low_68, high_68, low_95,
    high_95, and the average precision and the curve also at the upper limit of the false-positive rates.

    scores (n,): any finite ranking, best unclipped logits. labels (n,): the *truth*, 1 or 0, of rows that nothing was
    fitted to. cells (n,): sky cells. Raises CatalogueError without both classes or on scores that are not finite.
    """
    options = options or RareEventOptions()
    scores, labels = _checked(scores, labels)
    interval = partial(_interval, scores=scores, labels=labels, cells=cells, options=options)
    n_positives, n_negatives = int(labels.sum()), int((labels == 0).sum())
    report: dict[str, Any] = {
        "sample": {
            "positives": n_positives,
            "negatives": n_negatives,
            "prior": options.prior,
            "survey_size": options.survey_size,
            "resampled": "sky cells" if "clusters" in drawn_by(labels, cells, rows=len(labels)) else "rows by class",
            "lowest_resolved_false_positive_rate": metrics.MIN_FALSE_POSITIVES / n_negatives,
        },
        "auroc": interval(metrics.roc_auc),
        "recall_at": {},
        "average_precision": {
            **interval(partial(average_precision_at_prior, prior=options.prior)),
            "recall_without_false_positives": recall_without_false_positives(scores, labels),
            "at_limit": rare_event_limits.average_precision_at_limit(scores, labels, prior=options.prior),
        },
        "precision_at_recall": {
            "recall": options.recall,
            **interval(partial(precision_at_recall, recall=options.recall, prior=options.prior)),
        },
        "cost_per_discovery_hours": cost_per_discovery(
            scores, labels, recall=options.recall, options=options, cells=cells
        ),
        "discovery_curve": discovery_curve(
            scores, labels, options=options, cells=cells, probabilities=probabilities
        ).to_dict("records"),
    }
    for rate in options.false_positive_rates:
        found = interval(partial(interpolated_recall, rate=rate))
        jeffreys = {}
        for name, level in LEVELS.items():
            low, high = beta_interval(found["value"] * n_positives, n_positives, level)
            jeffreys[f"jeffreys_low_{name}"], jeffreys[f"jeffreys_high_{name}"] = float(low), float(high)
        resolved = rate * n_negatives >= metrics.MIN_FALSE_POSITIVES * (1 - 1e-12)
        report["recall_at"][f"{rate:g}"] = {**found, **jeffreys, "resolved": bool(resolved)}
    if probabilities is not None:
        report["calibration"] = calibration_report(probabilities, labels, options=options, cells=cells)
    return report


def calibration_report(
    probabilities: ArrayLike, labels: ArrayLike, *, options: RareEventOptions, cells: ArrayLike | None = None
) -> dict[str, dict[str, float]]:
    """``calibration_error_at_prior`` at ``options.prior``, for which the probabilities are, each with its intervals.

    At a rare prior the mean probability is that of the non-positives' likelihood ratios, most of which few rows with
    large ones hold: rows too rare to be in the sample are missing from it, and the bootstrap does not know them.
    """
    p = metrics.check_scores(probabilities, labels)[0]
    return {
        key: _interval(
            lambda s, y, key=key: calibration_error_at_prior(s, y, prior=options.prior)[key], p, labels, cells, options
        )
        for key in ("ece", "ece_over_prior", "mean_over_prior")
    }


def _discoveries(scores: NDArray, labels: NDArray, *, reviewed: float, prior: float, survey_size: float) -> float:
    """Positives among the ``reviewed`` highest of a survey; between two points of the curve, on a straight line."""
    false, found = _roc(scores, labels)
    number = survey_size * (prior * found + (1.0 - prior) * false)
    return float(np.interp(reviewed, number, survey_size * prior * found))


def _interval(
    statistic: Callable[..., float],
    scores: NDArray,
    labels: NDArray,
    cells: ArrayLike | None,
    options: RareEventOptions,
) -> dict[str, float]:
    found = bootstrap_interval(
        statistic, scores, labels, n_resamples=options.n_resamples, seed=options.seed,
        **drawn_by(labels, cells, rows=len(labels)),
    )  # fmt: skip
    return found.as_dict()


def _roc(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``metrics.roc_curve``, and NaN (a resample of whole cells may hold one class only) where it has none."""
    labels = np.asarray(labels)
    if not 0 < np.sum(labels == 1) < len(labels):
        return np.full(2, np.nan), np.full(2, np.nan)
    return metrics.roc_curve(scores, labels)


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise CatalogueError(f"scores {scores.shape} and labels {labels.shape} must be two lists of one length")
    if not np.isfinite(scores).all():
        raise CatalogueError(f"{int((~np.isfinite(scores)).sum())} score(s) are NaN or inf; a ranking needs numbers")
    if not np.isin(labels, (0, 1)).all():
        raise OptionError(f"labels are {np.unique(labels)[:5]}; a label is 1 (positive) or 0 (negative)")
    if len(np.unique(labels)) < 2:
        raise CatalogueError(f"{int(labels.sum())} positives in {len(labels)} rows: both classes are needed")
    return scores, labels.astype(np.int64)
