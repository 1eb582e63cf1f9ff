"""What a ranking is worth where a sample holds too few negatives to know the false-positive rate.

Where no negative of a sample lies above a threshold its rate is not 0: it has an upper limit, Jeffreys' (Brown, Cai &
DasGupta 2001, Stat. Sci. 16, 101), here at the upper end of the 95 % interval, at each threshold by itself. The recall
is taken as measured, and the ROC curve as concave: picking at random from above a threshold does no better than the
ranking. Beside the limit stands what calibrated probabilities promise, which need no rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, check_between
from skytrace.learning import metrics
from skytrace.statistics import LEVELS, beta_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "average_precision_at_limit",
    "discoveries_at_limit",
    "expected_discoveries",
    "negatives_above",
    "roc_at_limit",
]


def roc_at_limit(
    scores: ArrayLike, labels: ArrayLike, *, level: float = LEVELS["95"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(upper limit of the false-positive rate, recall): (0, 0), then a point for each number of negatives above.

    Of thresholds with equally many negatives above them the lowest, with the highest recall. scores, labels (n,): both
    classes. level: of the interval whose upper end the limit is. Raises CatalogueError with one class alone.
    """
    false, found, n = _roc(scores, labels)
    lowest = np.r_[np.diff(false) > 0, True]
    seen = np.rint(false[lowest] * n)
    limit = np.where(seen == n, 1.0, beta_interval(seen, n, level)[1])
    return np.r_[0.0, limit], np.r_[0.0, found[lowest]]


def average_precision_at_limit(
    scores: ArrayLike, labels: ArrayLike, *, prior: float, level: float = LEVELS["95"]
) -> float:
    """Precision averaged over recall at ``prior`` with every false-positive rate at its upper limit.

    Between two points the precision is that of the lower threshold, the smaller of both on a concave curve.
    """
    check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
    limit, found = roc_at_limit(scores, labels, level=level)
    precision = prior * found[1:] / (prior * found[1:] + (1.0 - prior) * limit[1:])
    return float(np.sum(precision * np.diff(found)))


def discoveries_at_limit(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    reviewed: ArrayLike,
    prior: float,
    survey_size: float,
    level: float = LEVELS["95"],
) -> NDArray[np.float64]:
    """Positives (m,) among the ``reviewed`` (m,) highest of a survey with every false-positive rate at its limit.

    On straight lines between the points, so that what lies above every negative of the sample is taken in any order.
    """
    check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
    limit, found = roc_at_limit(scores, labels, level=level)
    number = survey_size * (prior * found + (1.0 - prior) * limit)
    return np.interp(np.asarray(reviewed, dtype=np.float64), number, survey_size * prior * found)


def negatives_above(
    scores: ArrayLike, labels: ArrayLike, *, reviewed: ArrayLike, prior: float, survey_size: float
) -> NDArray[np.float64]:
    """Negatives of the sample (m,) above the threshold of the ``reviewed`` (m,) highest of a survey.

    Below 1 no negative lies above it: what is told of so few is an extrapolation.
    """
    check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
    false, found, n = _roc(scores, labels)
    number = survey_size * (prior * found + (1.0 - prior) * false)
    return np.interp(np.asarray(reviewed, dtype=np.float64), number, n * false)


def expected_discoveries(
    probabilities: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    reviewed: ArrayLike,
    prior: float,
    survey_size: float,
) -> NDArray[np.float64]:
    """Sum (m,) of the ``probabilities`` (n,) of the ``reviewed`` (m,) highest of a survey.

    The survey is the sample with positives weighted to a share ``prior``; beyond that no label enters. For calibrated
    probabilities at that prior it is the number of discoveries, up to the sample's scatter.
    """
    check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
    p, y = metrics.check_scores(probabilities, labels)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    weight = survey_size * np.where(y == 1, prior / max(y.sum(), 1), (1.0 - prior) / max((y == 0).sum(), 1))[order]
    number, promised = np.r_[0.0, np.cumsum(weight)], np.r_[0.0, np.cumsum(weight * p[order])]
    return np.interp(np.asarray(reviewed, dtype=np.float64), number, promised)


def _roc(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    labels = np.asarray(labels)
    negatives = int((labels == 0).sum())
    if not 0 < negatives < len(labels):
        raise CatalogueError(f"{len(labels) - negatives} positives in {len(labels)} rows: both classes are needed")
    return *metrics.roc_curve(scores, labels), negatives
