"""Two detectors on the same stamps: how different their scores are, and whether one finds more lenses.

Differences are bootstrapped in pairs (the same resampled stamps are scored by both), which removes the luck of the
sample that the two share (Efron & Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.learning.metrics import MIN_FALSE_POSITIVES, check_scores, recall_at_rate, roc_auc
from skytrace.learning.resampling import drawn_by
from skytrace.statistics import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["compare_scores", "score_diversity"]


def compare_scores(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    *,
    rates: Sequence[float] = (1e-2, 1e-3),
    names: tuple[str, str] = ("ensemble", "single network"),
    cells: ArrayLike | None = None,
    n_resamples: int = 1000,
    seed: int = 20260101,
) -> dict[str, Any]:
    """JSON-ready: recall of each at every false-positive rate, and first minus second with paired intervals.

    first, second: scores (n,) of the same stamps, each in [0, 1]. Each rate has a ``sentence`` that says whether the
    first beats the second: at 95 % or not at all. An unresolved rate (fewer than MIN_FALSE_POSITIVES expected) has
    value None and the reason. ``at_ten_false_positives`` is at the lowest rate at which this sample says much, 10 / the
    number of galaxies. The AUC is compared in the same way. cells: (n,) sky cell of each stamp; where
    there are enough, whole cells are drawn (``learning.resampling``), and ``resampled`` says so.
    """
    first, labels = check_scores(first, labels)
    second, _ = check_scores(second, labels)
    if len(np.unique(labels)) < 2:
        raise CatalogueError("a comparison needs both lenses and galaxies")
    galaxies = int((labels == 0).sum())
    drawn = drawn_by(labels, cells, rows=len(labels))
    difference = partial(
        _difference, first, second, labels, names=names, drawn=drawn, n_resamples=n_resamples, seed=seed
    )
    at_rates = {}
    for rate in rates:
        if rate * galaxies < MIN_FALSE_POSITIVES * (1 - 1e-12):
            reason = f"{galaxies} galaxies show {rate * galaxies:.1f} false positives; {MIN_FALSE_POSITIVES} are needed"
            sentence = f"Recall at a false-positive rate of {rate:g} cannot be compared: {reason}."
            at_rates[f"{rate:g}"] = {"resolved": False, "value": None, "reason": reason, "sentence": sentence}
            continue
        statistic = partial(recall_at_rate, rate=rate)
        at_rates[f"{rate:g}"] = {
            "resolved": True,
            **difference(statistic, what=f"recall at a false-positive rate of {rate:g}"),
        }
    return {
        "names": list(names),
        "resampled": "sky cells" if "clusters" in drawn else "stamps",
        "lenses": int(labels.sum()),
        "galaxies": galaxies,
        "recall_at_false_positive_rate": at_rates,
        "at_ten_false_positives": _at_ten(galaxies, difference),
        "auc": difference(roc_auc, what="AUC"),
    }


def score_diversity(
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    thresholds: Mapping[str, float],
    is_confuser: ArrayLike | None = None,
) -> dict[str, Any]:
    """How differently the members of an ensemble see the same stamps (JSON-ready), pair by pair.

    spearman: rank correlation of scores, within the galaxies and within the lenses (over both together it would only
    say that both are good). disagreement: share of confusers (of all galaxies without ``is_confuser``), and of lenses,
    that one detects at its threshold and the other does not. None where fewer than 3 stamps or no spread.
    """
    names = list(scores)
    columns = {name: check_scores(scores[name], labels)[0] for name in names}
    labels = np.asarray(labels)
    confusers = (labels == 0) if is_confuser is None else np.asarray(is_confuser, dtype=bool) & (labels == 0)
    detected = {name: columns[name] >= thresholds[name] for name in names}
    pairs: list[dict[str, Any]] = []
    for one, other in combinations(names, 2):
        differ = detected[one] != detected[other]
        pairs.append(
            {
                "members": [one, other],
                "spearman_galaxies": _spearman(columns[one][labels == 0], columns[other][labels == 0]),
                "spearman_lenses": _spearman(columns[one][labels == 1], columns[other][labels == 1]),
                "disagreement_confusers": float(differ[confusers].mean()) if confusers.any() else None,
                "disagreement_lenses": float(differ[labels == 1].mean()) if (labels == 1).any() else None,
            }
        )
    return {
        "pairs": pairs,
        "confusers": int(confusers.sum()),
        "mean_spearman_galaxies": _mean([pair["spearman_galaxies"] for pair in pairs]),
        "mean_disagreement_confusers": _mean([pair["disagreement_confusers"] for pair in pairs]),
    }


def _at_ten(galaxies: int, difference: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    rate = 2 * MIN_FALSE_POSITIVES / galaxies
    if rate >= 1.0:
        return {"rate": None, "reason": f"{galaxies} galaxies are too few to compare recall at any false-positive rate"}
    statistic = partial(recall_at_rate, rate=rate)
    return {"rate": rate, **difference(statistic, what=f"recall at a false-positive rate of {rate:.2g}")}


def _difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    labels: NDArray[np.int64],
    statistic: Callable[..., float],
    *,
    what: str,
    names: tuple[str, str],
    drawn: dict[str, Any],
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    def gain(a: NDArray, b: NDArray, y: NDArray) -> float:
        return statistic(a, y) - statistic(b, y)

    interval = bootstrap_interval(gain, first, second, labels, n_resamples=n_resamples, seed=seed, **drawn).as_dict()
    low, high = interval["low_95"], interval["high_95"]
    verdict = "beats" if low > 0 else "falls behind" if high < 0 else "does not beat"
    values = {name: float(statistic(scores, labels)) for name, scores in zip(names, (first, second), strict=True)}
    sentence = (
        f"The {names[0]} {verdict} the {names[1]} in {what}: {values[names[0]]:.3f} against {values[names[1]]:.3f}, "
        f"difference {interval['value']:+.3f} (95 % interval {low:+.3f} to {high:+.3f})."
    )
    return {"values": values, "difference": interval, "beats": bool(low > 0), "sentence": sentence}


def _spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
