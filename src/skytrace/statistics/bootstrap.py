"""Percentile bootstrap (Efron & Tibshirani 1993, ch. 13), and its cluster form for trials that share a host.

Stratified by class, a resample keeps the number of members of every class. Rows that are not independent (a host's
injections, a sky cell's galaxies) are drawn in whole clusters: as rows for any statistic, or, for a share, as
multinomial counts for all resamples at once, one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import OptionError, check_between
from skytrace.statistics.intervals import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BootstrapInterval",
    "bootstrap_indices",
    "bootstrap_interval",
    "cluster_bootstrap_proportion",
    "design_effect",
]


#: Values of one block of resamples (16 MB of row numbers).
_BLOCK_VALUES = 2_000_000


@dataclass(frozen=True)
class BootstrapInterval:
    """value: of the sample itself. intervals: level -> (low, high). standard_error: of the resamples. n_resamples: how
    many gave a finite statistic.
    """

    value: float
    intervals: dict[float, tuple[float, float]]
    standard_error: float
    n_resamples: int

    def as_dict(self) -> dict[str, float]:
        """Flat, for a JSON file: value, standard_error, low_68, high_68, low_95, high_95, ..."""
        flat = {"value": self.value, "standard_error": self.standard_error}
        for level, (low, high) in self.intervals.items():
            flat[f"low_{int(100 * level)}"], flat[f"high_{int(100 * level)}"] = low, high
        return flat


def bootstrap_indices(n: int, *, n_resamples: int, seed: int, strata: ArrayLike | None = None) -> NDArray[np.intp]:
    """Rows drawn with replacement, (n_resamples, n); within each stratum where ``strata`` (n,) is given."""
    return np.concatenate(list(_index_blocks(n, n_resamples, seed, strata)))


def bootstrap_interval(
    statistic: Callable[..., ArrayLike],
    *arrays: ArrayLike,
    levels: Sequence[float] = tuple(LEVELS.values()),
    n_resamples: int = 1000,
    seed: int,
    strata: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    vectorised: bool = False,
) -> BootstrapInterval:
    """Percentile interval of ``statistic(*arrays)``, arrays with a common first axis n.

    strata: classes resampled apart (e.g. labels: an AUC is never asked of one class). vectorised: the statistic takes
    arrays (resample, n, ...) and returns (resample,). Resamples without a finite statistic are left out, not counted.
    clusters: (n,) group of each row; as many groups as there are, drawn whole with replacement (Davison & Hinkley 1997,
    sect. 3.8), so that the number of rows varies. Neither strata nor vectorised goes with it.
    Raises OptionError on no rows, unequal lengths, levels outside (0, 1), fewer than two clusters, clusters with strata
    or vectorised, or when no resample is usable.
    """
    columns = [np.asarray(array) for array in arrays]
    if not columns or len({len(column) for column in columns}) != 1 or not len(columns[0]):
        raise OptionError(f"arrays of lengths {[len(column) for column in columns]} cannot be resampled together")
    for level in levels:
        check_between("levels", level, 0.0, 1.0, include_low=False, include_high=False)
    if clusters is not None and (strata is not None or vectorised):
        raise OptionError("clusters are drawn whole: give neither strata nor vectorised with them")
    value = np.asarray(statistic(*(column[None] for column in columns)))[0] if vectorised else statistic(*columns)
    draws = []
    if clusters is None:
        blocks: Iterator = _index_blocks(len(columns[0]), n_resamples, seed, strata)
    else:
        blocks = _cluster_blocks(np.asarray(clusters), len(columns[0]), n_resamples, seed)
    for index in blocks:
        if vectorised:
            draws.append(np.asarray(statistic(*(column[index] for column in columns)), dtype=np.float64))
        else:
            draws.append(np.array([float(statistic(*(column[rows] for column in columns))) for rows in index]))  # type: ignore[arg-type]
    return _summarise(float(value), np.concatenate(draws), levels)  # type: ignore[arg-type]


def cluster_bootstrap_proportion(
    detected: ArrayLike,
    cluster: ArrayLike,
    *,
    levels: Sequence[float] = tuple(LEVELS.values()),
    n_resamples: int = 1000,
    seed: int,
) -> BootstrapInterval:
    """Interval of a detected share whose trials share hosts: whole hosts are drawn, with all their trials.

    detected: (n,) bool or 0/1. cluster: (n,) host of each trial.
    """
    k, n = _cluster_counts(detected, cluster)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(n), np.full(len(n), 1.0 / len(n)), size=n_resamples)
    return _summarise(float(k.sum() / n.sum()), (weights @ k) / (weights @ n), levels)


def design_effect(detected: ArrayLike, cluster: ArrayLike) -> float:
    """Variance of the detected share with hosts drawn whole, over the binomial variance of independent trials.

    The linearised (Taylor) variance of a ratio of cluster totals with the m / (m - 1) correction (Kish 1965, ch. 6);
    n / design_effect is the effective number of trials. n / (n - 1) for one trial a host; about 1 + (size - 1) rho for
    clusters of equal size. NaN where it cannot be measured: fewer than two hosts, or all or none detected.
    """
    k, n = _cluster_counts(detected, cluster)
    share = k.sum() / n.sum()
    if len(n) < 2 or share in (0.0, 1.0):
        return float("nan")
    residual = k - share * n
    clustered = len(n) / (len(n) - 1.0) * np.sum(residual**2) / n.sum() ** 2
    return float(clustered / (share * (1.0 - share) / n.sum()))


def _index_blocks(n: int, n_resamples: int, seed: int, strata: ArrayLike | None) -> Iterator[NDArray[np.intp]]:
    """The resamples' rows in blocks of bounded memory, from one random stream: the block size changes nothing."""
    check_between("n", n, 1, np.inf)
    check_between("n_resamples", n_resamples, 1, 10_000_000)
    codes = np.zeros(n, dtype=np.intp) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    if len(codes) != n:
        raise OptionError(f"strata has {len(codes)} values for {n} rows")
    members = np.argsort(codes, kind="stable")
    size = np.bincount(codes)
    first, width = np.repeat(np.cumsum(size) - size, size), np.repeat(size, size)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_VALUES // n)
    for start in range(0, n_resamples, block):
        uniform = rng.random((min(block, n_resamples - start), n))
        yield members[first + (uniform * width).astype(np.intp)]


def _cluster_blocks(clusters: NDArray, n: int, n_resamples: int, seed: int) -> Iterator[list[NDArray[np.intp]]]:
    """The rows of one resample at a time: every cluster's rows as often as it was drawn."""
    check_between("n_resamples", n_resamples, 1, 10_000_000)
    if clusters.shape != (n,):
        raise OptionError(f"clusters has shape {clusters.shape} for {n} rows")
    codes = np.unique(clusters, return_inverse=True)[1]
    members, size = np.argsort(codes, kind="stable"), np.bincount(codes)
    if len(size) < 2:
        raise OptionError("1 cluster cannot be resampled: two are needed, and tens for an interval to be trusted")
    first = np.cumsum(size) - size
    rng = np.random.default_rng(seed)
    for _ in range(n_resamples):
        drawn = rng.integers(len(size), size=len(size))
        width = size[drawn]
        start = np.repeat(first[drawn] - (np.cumsum(width) - width), width)
        yield [members[start + np.arange(len(start))]]


def _cluster_counts(detected: ArrayLike, cluster: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    detected, cluster = np.asarray(detected, dtype=np.float64), np.asarray(cluster)
    if detected.shape != cluster.shape or detected.ndim != 1 or not len(detected):
        raise OptionError(f"detected {detected.shape} and cluster {cluster.shape} must be (n,) with n > 0")
    if not np.isin(detected, (0.0, 1.0)).all():
        raise OptionError("detected must hold 0 or 1 only")
    codes = np.unique(cluster, return_inverse=True)[1]
    return np.bincount(codes, weights=detected).astype(np.float64), np.bincount(codes).astype(np.float64)


def _summarise(value: float, draws: NDArray[np.float64], levels: Sequence[float]) -> BootstrapInterval:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        raise OptionError("no resample gave a finite statistic; the sample is too small for this statistic")
    intervals = {}
    for level in levels:
        low, high = np.quantile(draws, [0.5 * (1.0 - level), 0.5 * (1.0 + level)])
        intervals[float(level)] = (float(low), float(high))
    return BootstrapInterval(value, intervals, float(draws.std()), len(draws))
