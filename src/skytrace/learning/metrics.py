"""How good scores are: ranking, operating points and calibration, each a pure function of (scores, labels).

labels: (n,) 1 lens, 0 galaxy. A stamp is detected where ``score >= threshold``. Definitions follow scikit-learn where
it has one. A quantity that the sample cannot give (one class only, too few negatives) is NaN, never a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, PixelError
from skytrace.learning.options import ThresholdOptions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MIN_FALSE_POSITIVES",
    "average_precision",
    "calibration_bins",
    "calibration_errors",
    "check_scores",
    "choose_threshold",
    "false_positive_rate",
    "precision",
    "precision_recall_curve",
    "recall",
    "recall_at_rate",
    "roc_auc",
    "roc_curve",
    "top_scores",
    "true_positive_rate_at",
]

#: A false-positive rate is resolved by a sample that would show at least this many false positives at it.
MIN_FALSE_POSITIVES = 5
#: Equal-width bins of the score in [0, 1] for calibration errors and the reliability curve.
CALIBRATION_BINS = 15


def check_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(scores, labels) as arrays (n,); CatalogueError if they are not probabilities and 0/1 labels of one length."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise CatalogueError(f"scores {scores.shape} and labels {labels.shape} must be two lists of one length")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise PixelError(f"{int((~((scores >= 0) & (scores <= 1))).sum())} score(s) are outside [0, 1] or not finite")
    if not np.isin(labels, (0, 1)).all():
        raise CatalogueError(f"labels are {np.unique(labels)[:5]}; a label is 1 (lens) or 0 (galaxy)")
    return scores, labels.astype(np.int64)


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Probability that a lens scores above a galaxy, ties counting half (Mann-Whitney); NaN without both."""
    from scipy.stats import rankdata

    scores, labels = np.asarray(scores), np.asarray(labels)
    n_lens = int((labels == 1).sum())
    n_galaxy = len(labels) - n_lens
    if n_lens == 0 or n_galaxy == 0:
        return np.nan
    return float((rankdata(scores)[labels == 1].sum() - n_lens * (n_lens + 1) / 2) / (n_lens * n_galaxy))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Precision averaged over recall, at the *sample's* share of lenses; NaN without lenses."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if not (labels == 1).any():
        return np.nan
    found, false = _cumulative_counts(scores, labels)
    return float(np.sum(found / (found + false) * np.diff(found, prepend=0)) / found[-1])


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(false-positive rate, recall), from (0, 0) to (1, 1), a point for every distinct score from the highest down."""
    found, false = _cumulative_counts(np.asarray(scores), np.asarray(labels))
    return np.r_[0.0, false / false[-1]], np.r_[0.0, found / found[-1]]


def precision_recall_curve(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(recall, precision at the sample's share of lenses), a point for every distinct score from the highest down."""
    found, false = _cumulative_counts(np.asarray(scores), np.asarray(labels))
    return found / found[-1], found / (found + false)


def recall(scores: ArrayLike, labels: ArrayLike, *, threshold: float) -> float:
    """Detected share of the lenses; NaN without lenses."""
    return _share(np.asarray(scores)[np.asarray(labels) == 1] >= threshold)


def precision(scores: ArrayLike, labels: ArrayLike, *, threshold: float) -> float:
    """Lenses' share of the detected, at the *sample's* share of lenses; NaN where nothing is detected."""
    return _share(np.asarray(labels)[np.asarray(scores) >= threshold] == 1)


def false_positive_rate(scores: ArrayLike, labels: ArrayLike, *, threshold: float) -> float:
    """Detected share of the galaxies; NaN without galaxies."""
    return _share(np.asarray(scores)[np.asarray(labels) == 0] >= threshold)


def true_positive_rate_at(scores: ArrayLike, labels: ArrayLike, *, rate: float) -> float:
    """Largest recall whose false-positive rate is at most ``rate``; NaN where the sample does not resolve it.

    Resolved means rate x (number of galaxies) >= MIN_FALSE_POSITIVES.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if rate * np.sum(labels == 0) < MIN_FALSE_POSITIVES * (1 - 1e-12):
        return np.nan
    return recall_at_rate(scores, labels, rate=rate)


def recall_at_rate(scores: ArrayLike, labels: ArrayLike, *, rate: float) -> float:
    """As ``true_positive_rate_at`` for a rate that is known to be resolved: what a bootstrap draws, whose resamples of
    whole cells hold fewer galaxies now and then.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    return recall(scores, labels, threshold=_threshold_above(scores[labels == 0], rate))


def choose_threshold(scores: ArrayLike, labels: ArrayLike, *, options: ThresholdOptions | None = None) -> dict:
    """The threshold by ``options`` on *validation* scores, with how it was chosen and what it gives there (JSON-ready).

    Raises CatalogueError if rule "false_positive_rate" finds no galaxies.
    """
    options = options or ThresholdOptions()
    scores, labels = check_scores(scores, labels)
    galaxies = scores[labels == 0]
    value, rule = options.value, "fixed by a parameter"
    if options.rule == "false_positive_rate":
        if len(galaxies) == 0:
            raise CatalogueError("no galaxies among the validation scores: a false-positive rate cannot be set")
        value = _threshold_above(galaxies, options.false_positive_rate)
        rule = f"lowest threshold with a validation false-positive rate <= {options.false_positive_rate:g}"
    # a threshold of exactly 0 or 1 would detect everything or nothing
    value = float(np.clip(value, np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0)))
    return {
        "value": value,
        "rule": rule,
        "chosen_on": "validation",
        "validation_galaxies": len(galaxies),
        "validation_false_positives": int((galaxies >= value).sum()),
        "validation_lenses": int(labels.sum()),
        "validation_lenses_detected": int((scores[labels == 1] >= value).sum()),
    }


def calibration_bins(scores: ArrayLike, labels: ArrayLike, *, bins: int = CALIBRATION_BINS) -> dict[str, NDArray]:
    """Reliability curve over equal-width bins of the score: low, high, count, lenses, mean_score (NaN where empty)."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    edges = np.linspace(0.0, 1.0, bins + 1)
    which = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_score = np.bincount(which, weights=scores, minlength=bins) / np.where(count, count, np.nan)
    lenses = np.bincount(which, weights=labels, minlength=bins).astype(np.int64)
    return {"low": edges[:-1], "high": edges[1:], "count": count, "lenses": lenses, "mean_score": mean_score}


def calibration_errors(scores: ArrayLike, labels: ArrayLike, *, bins: int = CALIBRATION_BINS) -> tuple[float, float]:
    """(expected, maximum) calibration error: |mean score - share of lenses|, mean and worst bin."""
    curve = calibration_bins(scores, labels, bins=bins)
    filled = curve["count"] > 0
    if not filled.any():
        return np.nan, np.nan
    count = curve["count"][filled]
    gap = np.abs(curve["mean_score"][filled] - curve["lenses"][filled] / count)
    return float(np.sum(gap * count) / count.sum()), float(gap.max())


def top_scores(scores: ArrayLike, *, share: float = 0.01) -> NDArray[np.bool_]:
    """Which stamps (n,) are among the highest ``share`` of scores, at least one, rounded up, and all that tie with the
    last: the order of the rows decides nothing.
    """
    scores = np.asarray(scores)
    number = int(np.ceil(share * len(scores)))
    return scores >= np.partition(scores, len(scores) - number)[len(scores) - number]


def _cumulative_counts(
    scores: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lenses and galaxies at or above every distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf) != 0)  # last row of each tied run
    found = np.cumsum(labels[order])[last]
    return found, last + 1 - found


def _threshold_above(galaxies: NDArray[np.float64], rate: float) -> float:
    """Lowest threshold at which at most ``rate`` of the galaxies' scores are detected."""
    allowed = int(np.floor(rate * len(galaxies) + 1e-9))
    descending = np.sort(galaxies)[::-1]
    return float(np.nextafter(descending[allowed], np.inf)) if allowed < len(descending) else 0.0


def _share(chosen: NDArray[np.bool_]) -> float:
    return float(chosen.mean()) if len(chosen) else np.nan
