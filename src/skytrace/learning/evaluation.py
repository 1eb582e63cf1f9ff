"""One evaluation of a detector on scores it was not chosen by: every number with its 68 and 95 % intervals.

Intervals are percentile bootstraps of whole sky cells, because the galaxies of a cell share their PSF and depth; where
the cells are unknown or too few, of stamps, lenses and galaxies apart. The report says which. Counts have Jeffreys
intervals, of stamps as independent trials. A number that the sample cannot resolve is None beside the reason. No
precision of a survey is given: that needs a prevalence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole
from skytrace.learning import metrics
from skytrace.learning.resampling import CELL, MIN_CELLS, drawn_by
from skytrace.statistics import LEVELS, beta_interval, bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["EvaluationOptions", "count_share", "evaluate_scores"]

_TOO_NARROW = "galaxies of one sky cell share their PSF and depth, so the intervals are too narrow"
Statistic = Callable[..., Any]


@dataclass(frozen=True)
class EvaluationOptions:
    """n_resamples, seed: of the bootstrap. false_positive_rates: where the recall is quoted. top_share: the highest
    scores whose calibration is quoted apart.
    """

    n_resamples: int = 1000
    seed: int = 20260101
    false_positive_rates: tuple[float, ...] = (1e-2, 1e-3)
    top_share: float = 0.01

    def __post_init__(self) -> None:
        check_whole("n_resamples", self.n_resamples, 100, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        check_between("top_share", self.top_share, 0.0, 1.0, include_low=False)
        for rate in self.false_positive_rates:
            check_between("false_positive_rates", rate, 0.0, 1.0, include_low=False, include_high=False)
        object.__setattr__(self, "false_positive_rates", tuple(float(rate) for rate in self.false_positive_rates))


def evaluate_scores(
    table: pd.DataFrame, *, threshold: float, options: EvaluationOptions | None = None
) -> dict[str, Any]:
    """JSON-ready evaluation of one split.

    table: score, label, tier ("" for galaxies), pool, confuser_category ("" where none fits); one row a galaxy; and
    healpix_128, the sky cell that the bootstrap resamples whole, where it is known.
    threshold: chosen beforehand, on other scores, in (0, 1). Keys: sample, threshold, resampled (sky cells | stamps),
    resampled_note, ranking (auc, average_precision), at_threshold (recall, false_positive_rate, sample_precision),
    recall_at_false_positive_rate, calibration (all, top_share), by_tier, false_positives_by_category. Raises
    CatalogueError without both classes, or where healpix_128 is missing in some rows.
    """
    options = options or EvaluationOptions()
    check_between("threshold", threshold, 0.0, 1.0, include_low=False, include_high=False)
    scores, labels = metrics.check_scores(table["score"], table["label"])
    if len(np.unique(labels)) < 2:
        raise CatalogueError("an evaluation needs both lenses and galaxies; this split has one class only")
    cells, resampled, note = _resampled(table)
    interval = partial(_interval, scores, labels, cells, options)
    at = partial(partial, threshold=threshold)
    return {
        "sample": {
            "rows": len(labels),
            "lenses": int(labels.sum()),
            "galaxies": int((labels == 0).sum()),
            "lens_share": float(labels.mean()),
            "note": "the lens share is the sample's, not the sky's: nothing here is a precision of a survey",
        },
        "threshold": float(threshold),
        "resampled": resampled,
        "resampled_note": note,
        "ranking": {"auc": interval(metrics.roc_auc), "average_precision": interval(metrics.average_precision)},
        "at_threshold": {
            "recall": interval(at(metrics.recall)),
            "false_positive_rate": count_share(scores[labels == 0] >= threshold),
            "sample_precision": interval(at(metrics.precision)),
        },
        "recall_at_false_positive_rate": {
            f"{rate:g}": _recall_at(rate, int((labels == 0).sum()), interval) for rate in options.false_positive_rates
        },
        "calibration": _calibration(scores, labels, options, interval),
        "by_tier": _by_tier(table, scores, labels, cells, threshold, options),
        "false_positives_by_category": _by_category(table, scores, labels, threshold),
    }


def count_share(chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """k of n with Jeffreys 68 and 95 % intervals, flat; value None where n is 0."""
    k, n = int(np.sum(chosen)), len(chosen)
    record: dict[str, Any] = {"k": k, "n": n, "value": k / n if n else None}
    for name, level in LEVELS.items():
        low, high = beta_interval(k, n, level)
        record |= {f"low_{name}": float(low), f"high_{name}": float(high)}
    return record


def _resampled(table: pd.DataFrame) -> tuple[NDArray | None, str, str]:
    """(cell of each row or None, what the bootstrap draws, one sentence why)."""
    if CELL not in table:
        return None, "stamps", f"no column {CELL}: {_TOO_NARROW}"
    if table[CELL].isna().any():
        raise CatalogueError(f"{int(table[CELL].isna().sum())} row(s) have no {CELL}; give every row its sky cell")
    cells, n = table[CELL].to_numpy(), int(table[CELL].nunique())
    if "clusters" not in drawn_by(None, cells, rows=len(cells)):
        return None, "stamps", f"{n} sky cells, {MIN_CELLS} needed: {_TOO_NARROW}"
    return cells, "sky cells", f"{n} cells of HEALPix nside 128, drawn whole with replacement"


def _interval(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    cells: NDArray | None,
    options: EvaluationOptions,
    statistic: Statistic,
) -> dict[str, Any]:
    """Value and intervals, or value None where neither the sample nor its resamples give one."""
    if not np.isfinite(statistic(scores, labels)):
        return {"value": None, "reason": "the sample does not give this quantity"}
    try:
        result = bootstrap_interval(
            statistic, scores, labels, n_resamples=options.n_resamples, seed=options.seed,
            **drawn_by(labels, cells, rows=len(labels)),
        )  # fmt: skip
    except OptionError as error:
        return {"value": float(statistic(scores, labels)), "reason": f"no interval: {error}"}
    return result.as_dict()


def _recall_at(rate: float, n_galaxies: int, interval: Callable[[Statistic], dict[str, Any]]) -> dict[str, Any]:
    expected = rate * n_galaxies
    if expected < metrics.MIN_FALSE_POSITIVES:
        return {
            "value": None,
            "resolved": False,
            "reason": f"{n_galaxies} galaxies show {expected:.1f} false positives at this rate; "
            f"{metrics.MIN_FALSE_POSITIVES} are needed to resolve it",
        }
    return {"resolved": True, **interval(partial(metrics.recall_at_rate, rate=rate))}


def _calibration(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    options: EvaluationOptions,
    interval: Callable[[Statistic], dict[str, Any]],
) -> dict[str, Any]:
    def top(number: int, s: NDArray, y: NDArray) -> float:
        chosen = metrics.top_scores(s, share=options.top_share)
        return metrics.calibration_errors(s[chosen], y[chosen])[number]

    chosen = metrics.top_scores(scores, share=options.top_share)
    return {
        "all": {
            "ece": interval(lambda s, y: metrics.calibration_errors(s, y)[0]),
            "mce": interval(lambda s, y: metrics.calibration_errors(s, y)[1]),
        },
        "top": {
            "share": options.top_share,
            "n": int(chosen.sum()),
            "lenses": int(labels[chosen].sum()),
            "ece": interval(partial(top, 0)),
            "mce": interval(partial(top, 1)),
        },
        "note": "scores are probabilities at the training stream's share of lenses; a calibration error over the "
        "imbalanced sample certifies nothing about its lenses",
    }


def _by_tier(
    table: pd.DataFrame,
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    cells: NDArray | None,
    threshold: float,
    options: EvaluationOptions,
) -> dict[str, Any]:
    """Recall of each tier, and its AUC against all galaxies. A stratum of one class gets no calibration error."""
    tiers = table["tier"].astype(str).to_numpy()
    report: dict[str, Any] = {}
    for tier in sorted(set(tiers[labels == 1])):
        rows = (tiers == tier) & (labels == 1)
        against = rows | (labels == 0)
        report[tier] = {
            "recall": count_share(scores[rows] >= threshold),
            "auc": _interval(
                scores[against], labels[against], None if cells is None else cells[against], options, metrics.roc_auc
            ),
        }
    return report


def _by_category(
    table: pd.DataFrame, scores: NDArray[np.float64], labels: NDArray[np.int64], threshold: float
) -> dict[str, Any]:
    """False-positive rate of each primary confuser category; "none" are the galaxies that fit no category."""
    category = table["confuser_category"].astype(str).replace("", "none").to_numpy()
    return {
        str(name): count_share(scores[(category == name) & (labels == 0)] >= threshold)
        for name in sorted(set(category[labels == 0]))
    }
