"""The AUC of many features over the same bootstrap resamples, by counts instead of copies.

A resample is a number of times for each row. The AUC under such counts is a weighted Mann-Whitney statistic, so that a
feature is sorted once for all resamples, and two features can be compared on the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, OptionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["check_labels", "resample_counts", "resampled_auc"]

#: Values of one block of resamples (32 MB of cumulated counts).
_BLOCK_VALUES = 4_000_000


def check_labels(labels: ArrayLike, cells: ArrayLike | None) -> tuple[NDArray[np.bool_], NDArray[np.int64] | None]:
    """(is a lens (n,), cell number from 0 (n,)); CatalogueError unless both classes are there and lengths agree."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise CatalogueError(f"labels are {np.unique(labels)[:5]}; a label is 1 (lens) or 0 (galaxy)")
    if len(np.unique(labels)) < 2:
        raise CatalogueError("an audit needs both lenses and galaxies; the sample has one class only")
    if cells is None:
        return labels == 1, None
    cells = np.asarray(cells)
    if cells.shape != labels.shape:
        raise CatalogueError(f"{len(cells)} sky cells for {len(labels)} labels")
    return labels == 1, np.unique(cells, return_inverse=True)[1].astype(np.int64)


def resample_counts(
    is_lens: NDArray[np.bool_], cells: NDArray[np.int64] | None, *, n_resamples: int, seed: int
) -> NDArray[np.uint16]:
    """How often each resample draws each row, (n_resamples, n).

    Whole sky cells are drawn where ``cells`` (n,), numbered from 0, are given: their rows share PSF, depth and
    neighbours and are not independent. Otherwise lenses and galaxies are drawn apart, each in their number.
    """
    rng = np.random.default_rng(seed)
    if cells is not None:
        n_cells = int(cells.max()) + 1
        drawn = rng.multinomial(n_cells, np.full(n_cells, 1.0 / n_cells), size=n_resamples)
        return drawn.astype(np.uint16)[:, cells]
    counts = np.zeros((n_resamples, len(is_lens)), dtype=np.uint16)
    for one in (True, False):
        rows = np.flatnonzero(is_lens == one)
        counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1.0 / len(rows)), size=n_resamples)
    return counts


def resampled_auc(values: ArrayLike, is_lens: NDArray[np.bool_], counts: NDArray[np.uint16]) -> NDArray[np.float64]:
    """AUC (n_resamples,) of ``values`` (n,), ties counting half; NaN in a resample that lacks a class.

    Rows whose value is not finite take no part. With counts of one it is ``learning.metrics.roc_auc``.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != is_lens.shape or counts.shape[1:] != is_lens.shape:
        raise OptionError(
            f"values {values.shape}, labels {is_lens.shape} and counts {counts.shape} do not fit together"
        )
    known = np.isfinite(values)
    galaxies = np.flatnonzero(known & ~is_lens)
    galaxies = galaxies[np.argsort(values[galaxies], kind="stable")]
    lenses = np.flatnonzero(known & is_lens)
    if not len(lenses) or not len(galaxies):
        return np.full(len(counts), np.nan)
    below = np.searchsorted(values[galaxies], values[lenses], side="left")
    up_to = np.searchsorted(values[galaxies], values[lenses], side="right")
    auc = np.empty(len(counts))
    block = max(1, _BLOCK_VALUES // len(galaxies))
    for start in range(0, len(counts), block):
        rows = slice(start, start + block)
        cumulated = np.zeros((len(counts[rows]), len(galaxies) + 1), dtype=np.int64)
        np.cumsum(counts[rows][:, galaxies], axis=1, dtype=np.int64, out=cumulated[:, 1:])
        weight = counts[rows][:, lenses].astype(np.float64)
        beaten = 0.5 * (weight * (cumulated[:, below] + cumulated[:, up_to])).sum(axis=1)
        with np.errstate(invalid="ignore"):
            auc[rows] = beaten / (weight.sum(axis=1) * cumulated[:, -1])
    return auc
