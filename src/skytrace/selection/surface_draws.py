"""Detected shares of a surface's cells by resample of hosts drawn whole, and of thresholds where these have an error.

One draw of hosts serves both sides of a comparison: hosts that both use, and with them common random numbers, cancel in
the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ResampledPair", "Side", "with_own_share"]

#: Numbers that a block of resamples may hold where detections differ from one resample to the next (64 MB).
_BLOCK_VALUES = 8_000_000


@dataclass(frozen=True)
class Side:
    """Injections, the threshold from which on they count as detected, and that of every resample, where it varies."""

    table: pd.DataFrame
    threshold: float
    thresholds: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class ResampledPair:
    """Detected and injected by cell of both sides: of the tables themselves (cell,), and by resample of hosts
    (resample, cell). compared: cells that are filled in both.
    """

    share: tuple[NDArray[np.float64], NDArray[np.float64]]
    drawn: tuple[NDArray[np.float64], NDArray[np.float64]]
    compared: NDArray[np.bool_]

    @classmethod
    def of(
        cls, base: Side, other: Side, *, n_cells: int, min_injections: int, n_resamples: int, seed: int
    ) -> ResampledPair:
        """Both sides by cell, hosts drawn whole with replacement: one draw of (resample, host) weights, so that
        what they share cancels in the difference.

        base, other: columns cell (within 0..n_cells - 1), galaxy_id and score. Shares are numbers in [0, 1] without
        unit, NaN where a cell, or a resample of it, holds no injection. Raises CatalogueError for a cell outside the
        grid.
        """
        names = pd.Index(pd.unique(pd.concat([base.table["galaxy_id"], other.table["galaxy_id"]]))).sort_values()
        weight = np.random.default_rng(seed).multinomial(
            len(names), np.full(len(names), 1.0 / len(names)), size=n_resamples
        )
        shares, draws, filled = [], [], []
        for side in (base, other):
            table = side.table
            cell = table["cell"].to_numpy(dtype=np.int64)
            if ((cell < 0) | (cell >= n_cells)).any():
                raise CatalogueError(f"injections lie in cells outside 0..{n_cells - 1}")
            score = table["score"].to_numpy(dtype=np.float64)
            detected = score >= side.threshold
            host = names.get_indexer(pd.Index(table["galaxy_id"]))
            n = np.bincount(cell, minlength=n_cells).astype(np.float64)
            k = np.bincount(cell, weights=detected, minlength=n_cells)
            with np.errstate(invalid="ignore", divide="ignore"):
                shares.append(k / n)
                if side.thresholds is None:
                    drawn_k = _cell_sums(weight, host, cell, detected.astype(np.float64), len(names), n_cells)
                else:
                    drawn_k = _cell_detections(weight, host, cell, score, side.thresholds, n_cells)
                draws.append(drawn_k / _cell_sums(weight, host, cell, np.ones(len(cell)), len(names), n_cells))
            filled.append(n >= min_injections)
        return cls((shares[0], shares[1]), (draws[0], draws[1]), filled[0] & filled[1])


def _cell_sums(
    weight: NDArray,
    host: NDArray[np.intp],
    cell: NDArray[np.int64],
    value: NDArray[np.float64],
    n_hosts: int,
    n_cells: int,
) -> NDArray[np.float64]:
    """(resample, cell) sums with every host counted as often as it was drawn."""
    from scipy.sparse import csr_array

    return (csr_array((value, (cell, host)), shape=(n_cells, n_hosts)) @ weight.T.astype(np.float64)).T


def _cell_detections(
    weight: NDArray,
    host: NDArray[np.intp],
    cell: NDArray[np.int64],
    score: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    n_cells: int,
) -> NDArray[np.float64]:
    """(resample, cell) detections at each resample's own threshold, every host counted as often as it was drawn."""
    from scipy.sparse import csr_array

    member = csr_array((np.ones(len(cell)), (cell, np.arange(len(cell)))), shape=(n_cells, len(cell)))
    step = max(1, _BLOCK_VALUES // len(cell))
    parts = []
    for start in range(0, len(weight), step):
        block = slice(start, start + step)
        parts.append((member @ (weight[block][:, host] * (score >= thresholds[block, None])).T.astype(np.float64)).T)
    return np.concatenate(parts)


def with_own_share(drawn: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resamples in which a cell lost all of its hosts take the cell's own share."""
    return np.where(np.isfinite(drawn), drawn, share)
