"""Selective classification: how often a detector is wrong if it may stay silent where it is unsure.

Stamps are accepted from the most confident down. Coverage: the accepted share. Risk: the share of errors among the
accepted (El-Yaniv & Wiener 2010). AURC: the mean risk over the coverages 1/n, 2/n, ... 1 (Geifman, Uziel & El-Yaniv
2019); E-AURC: its excess over a detector whose confidence puts every error last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_between
from skytrace.learning.metrics import check_scores
from skytrace.learning.resampling import drawn_by
from skytrace.learning.stacking import clipped_logit
from skytrace.statistics import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "area_under_risk_coverage",
    "best_area_under_risk_coverage",
    "confidence",
    "coverage_at_risk",
    "risk_coverage_curve",
    "selective_summary",
]


def confidence(scores: ArrayLike, *, threshold: float) -> NDArray[np.float64]:
    """How sure a decision ``score >= threshold`` is: the distance of the score's logit from the threshold's, (n,)."""
    check_between("threshold", threshold, 0.0, 1.0, include_low=False, include_high=False)
    return np.abs(clipped_logit(scores) - clipped_logit(threshold))


def risk_coverage_curve(
    sureness: ArrayLike, wrong: ArrayLike, *, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(coverage, risk), (n,) each, as one stamp after another is accepted from the most confident down.

    sureness: (n,), larger is surer. wrong: (n,) bool. weights: (n,), e.g. for another share of lenses. Stamps of equal
    confidence are accepted in all orders at once: each brings the mean error of its group.
    """
    sureness, wrong = np.asarray(sureness, dtype=np.float64), np.asarray(wrong, dtype=np.float64)
    weights = np.ones(len(wrong)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(wrong) or not sureness.shape == wrong.shape == weights.shape:
        raise CatalogueError(f"confidences {sureness.shape}, errors {wrong.shape}: two lists of one length > 0 needed")
    if np.isnan(sureness).any() or not (np.isfinite(weights) & (weights > 0)).all():
        raise CatalogueError("confidences must be numbers, and weights finite and positive")
    order = np.argsort(-sureness, kind="stable")
    group = np.cumsum(np.diff(sureness[order], prepend=sureness[order][0]) != 0)
    weight = weights[order]
    mean_error = np.bincount(group, weights=weight * wrong[order]) / np.bincount(group, weights=weight)
    accepted = np.cumsum(weight)
    return accepted / accepted[-1], np.cumsum(weight * mean_error[group]) / accepted


def area_under_risk_coverage(sureness: ArrayLike, wrong: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """AURC: the mean risk over all coverages; 0 for a detector without errors, the error rate for blind confidence."""
    coverage, risk = risk_coverage_curve(sureness, wrong, weights=weights)
    return float(np.sum(risk * np.diff(coverage, prepend=0.0)))


def best_area_under_risk_coverage(n: int, errors: int) -> float:
    """AURC of n stamps, ``errors`` of them wrong and accepted last: (1/n) sum_{i=1}^{k} i / (n - k + i).

    For large n, with r = errors / n: r + (1 - r) ln(1 - r) (Geifman, Uziel & El-Yaniv 2019, eq. 6).
    """
    if not 0 <= errors <= n or n < 1:
        raise OptionError(f"errors = {errors} of n = {n} stamps are impossible")
    i = np.arange(1, errors + 1)
    return float(np.sum(i / (n - errors + i)) / n)


def coverage_at_risk(sureness: ArrayLike, wrong: ArrayLike, *, risk: float, weights: ArrayLike | None = None) -> float:
    """Largest coverage at which the risk is at most ``risk``; 0 where it is at none."""
    check_between("risk", risk, 0.0, 1.0)
    coverage, risks = risk_coverage_curve(sureness, wrong, weights=weights)
    within = np.flatnonzero(risks <= risk * (1 + 1e-12) + 1e-15)
    return float(coverage[within[-1]]) if len(within) else 0.0


def selective_summary(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    threshold: float,
    risks: Sequence[float] = (0.001, 0.01, 0.05),
    cells: ArrayLike | None = None,
    n_resamples: int = 1000,
    seed: int = 20260101,
    curve_points: int = 200,
) -> dict[str, Any]:
    """JSON-ready: AURC, its excess, coverage at the stated risks, all with bootstrap intervals, and a thinned curve.

    Errors are missed lenses and false positives alike, at the *sample's* share of lenses; ``by_class`` has each alone.
    cells: (n,) sky cell of each stamp, drawn whole where there are enough (``learning.resampling``).
    """
    scores, labels = check_scores(scores, labels)
    sureness, wrong = confidence(scores, threshold=threshold), (scores >= threshold) != (labels == 1)

    def interval(statistic: Any, chosen: NDArray[np.bool_]) -> dict[str, float]:
        own = None if cells is None else np.asarray(cells)[chosen]
        drawn = drawn_by(labels[chosen], own, rows=int(chosen.sum()))
        return bootstrap_interval(
            statistic, sureness[chosen], wrong[chosen], n_resamples=n_resamples, seed=seed, **drawn
        ).as_dict()

    def record(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        if not chosen.any():
            return {"n": 0, "aurc": None, "reason": "the sample has no such stamps"}
        n, errors = int(chosen.sum()), int(wrong[chosen].sum())
        aurc = interval(area_under_risk_coverage, chosen)
        return {
            "n": n,
            "errors": errors,
            "aurc": aurc,
            "excess_aurc": aurc["value"] - best_area_under_risk_coverage(n, errors),
            "coverage_at_risk": {
                f"{risk:g}": interval(lambda s, w, r=risk: coverage_at_risk(s, w, risk=r), chosen) for risk in risks
            },
        }

    coverage, risk = risk_coverage_curve(sureness, wrong)
    points = np.unique(np.linspace(0, len(coverage) - 1, min(curve_points, len(coverage))).astype(int))
    return {
        "threshold": float(threshold),
        **record(np.ones(len(labels), dtype=bool)),
        "by_class": {"lenses": record(labels == 1), "galaxies": record(labels == 0)},
        "curve": {"coverage": coverage[points].tolist(), "risk": risk[points].tolist()},
        "note": "risk at the sample's share of lenses, not the sky's",
    }
