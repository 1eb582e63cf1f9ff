"""Do two samples come from one distribution? Kolmogorov-Smirnov, energy distance, standardised mean difference.

Energy distance: Szekely & Rizzo 2013, J. Stat. Plan. Inference 143, 1249, 2 E|X-Y| - E|X-X'| - E|Y-Y'| (V-statistic,
not negative); its p-value by permutation. NaN values are left out by every function here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from skytrace.errors import OptionError, check_between

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "EnergyTest",
    "KsTest",
    "energy_distance",
    "energy_distance_permutation",
    "ks_fixed_sample",
    "ks_statistic",
    "standardised_mean_difference",
]


@dataclass(frozen=True)
class EnergyTest:
    """distance: in the samples' unit. p_value: share of permutations at least as far, (1 + hits) / (1 + tries)."""

    distance: float
    p_value: float
    n_a: int
    n_b: int


@dataclass(frozen=True)
class KsTest:
    """statistic, p_value: medians over the resamples at sample size n; low, high: 68.27 % range of the statistic."""

    statistic: float
    p_value: float
    statistic_low: float
    statistic_high: float
    n: int


def ks_statistic(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Largest distance of the two empirical distributions, and its asymptotic two-sided p-value."""
    a, b = np.sort(_finite("a", a)), np.sort(_finite("b", b))
    both = np.concatenate([a, b])
    steps = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    distance = float(np.abs(steps).max())
    effective = np.sqrt(len(a) * len(b) / (len(a) + len(b)))
    return distance, float(special.kolmogorov(effective * distance))


def ks_fixed_sample(a: ArrayLike, b: ArrayLike, *, n: int = 2000, n_resamples: int = 200, seed: int) -> KsTest:
    """KS of ``n`` values drawn from each sample, repeated: D and p that mean the same for any input size.

    A KS test of millions of pixels rejects anything; at a fixed n the p-value answers a pre-registered question. Each
    draw is without replacement (ties would raise D); n falls to the size of the smaller sample where that is less.
    """
    check_between("n", n, 2, 10_000_000)
    check_between("n_resamples", n_resamples, 1, 1_000_000)
    a, b = _finite("a", a), _finite("b", b)
    n = min(n, len(a), len(b))
    rng = np.random.default_rng(seed)
    draws = [
        ks_statistic(rng.choice(a, n, replace=False, shuffle=False), rng.choice(b, n, replace=False, shuffle=False))
        for _ in range(n_resamples)
    ]
    statistic, p_value = np.array(draws).T
    low, high = np.percentile(statistic, [15.865, 84.135])
    return KsTest(float(np.median(statistic)), float(np.median(p_value)), float(low), float(high), n)


def energy_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Energy distance of two samples of (n,) numbers or (n, d) points, in their unit."""
    a, b = _points(a, b)
    return float(_energy_of_labels(_distances(np.concatenate([a, b])), np.arange(len(a) + len(b))[None] < len(a))[0])


def energy_distance_permutation(a: ArrayLike, b: ArrayLike, *, n_permutations: int = 999, seed: int) -> EnergyTest:
    """Energy distance with the p-value of exchanging the two samples' members at random.

    a, b: (n,) or (n, d). Memory grows as (n_a + n_b)^2: give at most some thousands of points.
    """
    check_between("n_permutations", n_permutations, 1, 1_000_000)
    a, b = _points(a, b)
    total = len(a) + len(b)
    check_between("n_a + n_b", total, 2, 20_000)
    distances = _distances(np.concatenate([a, b]))
    observed = float(_energy_of_labels(distances, np.arange(total)[None] < len(a))[0])
    rng = np.random.default_rng(seed)
    hits, block = 0, max(1, min(n_permutations, 4_000_000 // total))
    for start in range(0, n_permutations, block):
        order = rng.permuted(np.tile(np.arange(total), (min(block, n_permutations - start), 1)), axis=1)
        # rounding must not hide a permutation that only relabels equal members
        hits += int((_energy_of_labels(distances, order < len(a)) >= observed * (1.0 - 1e-9) - 1e-300).sum())
    return EnergyTest(observed, (1.0 + hits) / (1.0 + n_permutations), len(a), len(b))


def standardised_mean_difference(a: ArrayLike, b: ArrayLike) -> float:
    """(mean a - mean b) / sqrt((var a + var b) / 2), Cohen's d with equal weights; 0 for two equal constants."""
    a, b = _finite("a", a), _finite("b", b)
    difference = float(a.mean() - b.mean())
    spread = float(np.sqrt(0.5 * (a.var() + b.var())))
    if spread == 0.0:
        return 0.0 if difference == 0.0 else float(np.copysign(np.inf, difference))
    return difference / spread


def _energy_of_labels(distances: NDArray[np.float64], in_a: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Energy distance for each labelling (p, n) of the same points: one matrix product for all."""
    a = in_a.astype(np.float64)
    n_a = a.sum(axis=1)
    n_b = a.shape[1] - n_a
    to_a = a @ distances  # (p, n): summed distance of every point to the members of a
    within_a = (to_a * a).sum(axis=1)
    across = to_a.sum(axis=1) - within_a
    within_b = distances.sum() - within_a - 2.0 * across
    return np.maximum(2.0 * across / (n_a * n_b) - within_a / n_a**2 - within_b / n_b**2, 0.0)


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.distance import cdist

    return cdist(points, points)


def _points(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    samples = []
    for key, sample in (("a", a), ("b", b)):
        points = np.asarray(sample, dtype=np.float64)
        points = points[:, None] if points.ndim == 1 else points
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            raise OptionError(f"sample {key} has no finite value to compare")
        samples.append(points)
    if samples[0].shape[1] != samples[1].shape[1]:
        raise OptionError(f"samples have {samples[0].shape[1]} and {samples[1].shape[1]} dimensions")
    return samples[0], samples[1]


def _finite(key: str, values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        raise OptionError(f"sample {key} has no finite value to compare")
    return values
