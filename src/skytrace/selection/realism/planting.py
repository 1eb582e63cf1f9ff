"""Mock anchors that differ from the injections by as much as is said: what the power of a linear probe is stated for.

In hundreds of dimensions a shift of the mean cannot be planted at a known size: what separates it best, Sigma^-1 shift,
needs the covariance of fewer points than would measure it (a shift along components of the sample is longer than the
sample says by up to sqrt(1 + d / n): 0.80 becomes 0.92 at d = 512 and n = 290). So nothing is moved. Mock anchors are
*chosen* among the injections, the more likely the higher one known linear score of theirs. The chance to be an anchor
then depends on the features through that score alone, so by Neyman & Pearson no classifier does better than the score
itself, and its AUC, counted in one dimension, is the optimum, whatever the features' distribution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["main_scores", "planted_anchors"]

#: Draws whose mean AUC sets the tilt: its error is that of one choice of anchors over four.
_DRAWS = 16
_MOST_TILT = 64.0


def main_scores(
    features: NDArray[np.floating],
    conditions: NDArray[np.floating],
    *,
    n: int,
    rng: np.random.Generator,
    variance_share: float = 0.9,
) -> NDArray[np.float64]:
    """n linear scores (n, m) of features (m, d): random directions of the whitened leading components that hold
    ``variance_share`` of the standardised variance, uncorrelated with the conditions (m, axis) that rows are matched
    in (NaN: not known), since matching would take a difference along these away.

    Where there are no more components than axes, the directions are those of all components.
    """
    values = np.asarray(features, dtype=np.float64)
    scale = values.std(axis=0)
    left, singular, _ = np.linalg.svd((values - values.mean(axis=0)) / np.where(scale > 0, scale, 1.0), False)
    held = np.cumsum(singular**2) / (singular**2).sum()
    rank = int((singular > singular[0] * 1e-9).sum())
    wanted = int(np.searchsorted(held, variance_share)) + 1
    axes = conditions.shape[1]
    kept = min(max(wanted, axes + 1), rank)
    direction = rng.normal(size=(n, kept))
    if kept > axes:
        known = np.isfinite(conditions)
        mean = np.where(known, conditions, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        seen = left[:, :kept].T @ np.where(known, conditions - mean, 0.0)
        basis = np.linalg.qr(seen)[0]
        direction -= (direction @ basis) @ basis.T
    score = direction @ left[:, :kept].T
    return np.asarray(score / score.std(axis=1, keepdims=True))


def planted_anchors(
    score: NDArray[np.float64], *, auc: float, n: int, weight: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """n rows (n,) of score (m,), none twice, drawn by weight times exp(tilt x the normal score of their rank).

    The tilt is such that the AUC of ``score``, chosen rows against the others, is ``auc`` on average (with many rows
    tilt = sqrt(2) Phi^-1(auc), a shift of a normal score's mean); auc 1/2 leaves the weights alone. The same seed
    gives the same luck at every auc. Draws without replacement: the n largest of log weight + Gumbel noise (Yellott
    1977).
    """
    from scipy.stats import rankdata

    rank = rankdata(score)
    normal = ndtri((rank - 0.5) / len(score))
    rng = np.random.default_rng(seed)
    with np.errstate(divide="ignore"):
        luck = np.log(weight) + rng.gumbel(size=(1 + _DRAWS, len(score)))

    def chosen(tilt: float, draws: slice) -> NDArray[np.int64]:
        return np.argpartition(-(luck[draws] + tilt * normal), n - 1, axis=1)[:, :n]

    if auc == 0.5:
        return np.sort(chosen(0.0, slice(0, 1))[0])

    def reached(tilt: float) -> float:
        above = rank[chosen(tilt, slice(1, None))].sum(axis=1) - 0.5 * n * (n + 1)
        return float(above.mean() / (n * (len(score) - n)))

    low, high = 0.0, float(np.sqrt(2.0) * ndtri(auc))
    while reached(high) < auc and high < _MOST_TILT:
        low, high = high, 2.0 * high
    for _ in range(12):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if reached(middle) < auc else (low, middle)
    return np.sort(chosen(0.5 * (low + high), slice(0, 1))[0])
