"""The endless balanced stream of training rows: lenses, ordinary galaxies and confusers in fixed shares of each batch.

Row k of a pool's stream depends on (seed, pool, k) alone, so training can be resumed at any step without stored state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BalancedStream"]


@dataclass(frozen=True)
class BalancedStream:
    """labels: (n,) 1 for lenses, 0 for galaxies. is_confuser: (n,) true for galaxies of pool N2.

    Every batch holds the same number of each; a pool is gone through in a new order before any row of it comes again.
    Raises CatalogueError if there are no lenses or no galaxies.
    """

    labels: NDArray[np.int64]
    is_confuser: NDArray[np.bool_]
    batch_size: int
    positive_share: float
    confuser_share: float
    seed: int

    def __post_init__(self) -> None:
        for value, name in ((1, "lens"), (0, "galaxy")):
            if not (self.labels == value).any():
                raise CatalogueError(f"the training sample has no {name}: nothing can be learnt from one class")

    def batch(self, step: int) -> NDArray[np.int64]:
        """Row numbers (batch_size,) of the batch of optimizer step ``step``."""
        parts = [
            _stream_rows(rows, step * count, count, seed=[self.seed, pool])
            for pool, (rows, count) in enumerate(zip(self._pools(), self.counts(), strict=True))
        ]
        return np.concatenate(parts)

    def counts(self) -> tuple[int, int, int]:
        """Lenses, ordinary galaxies and confusers of a batch; an empty pool of galaxies gives its share away."""
        positive = min(max(1, round(self.batch_size * self.positive_share)), self.batch_size - 1)
        negative = self.batch_size - positive
        _, ordinary_rows, confuser_rows = self._pools()
        confusers = round(negative * self.confuser_share) if len(confuser_rows) else 0
        if len(ordinary_rows) == 0:
            confusers = negative
        return positive, negative - confusers, confusers

    def _pools(self) -> tuple[NDArray[np.int64], ...]:
        lens = self.labels == 1
        return tuple(np.flatnonzero(m) for m in (lens, ~lens & ~self.is_confuser, ~lens & self.is_confuser))


def _stream_rows(rows: NDArray[np.int64], start: int, count: int, *, seed: list[int]) -> NDArray[np.int64]:
    if count == 0:
        return rows[:0]
    positions = np.arange(start, start + count)
    cycles = positions // len(rows)
    orders = {int(c): np.random.default_rng([*seed, int(c)]).permutation(rows) for c in np.unique(cycles)}
    return np.array([orders[int(c)][p] for c, p in zip(cycles, positions % len(rows), strict=True)], dtype=np.int64)
