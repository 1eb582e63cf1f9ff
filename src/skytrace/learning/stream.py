"""The endless balanced stream of training rows: lenses, ordinary galaxies and confusers in fixed shares of each batch.

Row k of a pool's stream depends on (seed, pool, k) alone, so training can be resumed at any step without stored state.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
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
    in_domain: (n,) rows of which domain_share of every pool's draws come, by a stream of their own; exact in the long
    run, and as near as whole rows allow in each batch. A pool without rows in the domain is drawn from as a whole.
    Raises CatalogueError if there are no lenses or no galaxies.
    """

    labels: NDArray[np.int64]
    is_confuser: NDArray[np.bool_]
    batch_size: int
    positive_share: float
    confuser_share: float
    seed: int
    in_domain: NDArray[np.bool_] | None = None
    domain_share: float = 0.0
    _orders: dict[tuple[int, int], NDArray[np.int64]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for value, name in ((1, "lens"), (0, "galaxy")):
            if not (self.labels == value).any():
                raise CatalogueError(f"the training sample has no {name}: nothing can be learnt from one class")

    def batch(self, step: int) -> NDArray[np.int64]:
        """Row numbers (batch_size,) of the batch of optimizer step ``step``."""
        parts = []
        for pool, count in enumerate(self.counts()):
            share = self.domain_share if len(self._pools[3 + pool]) else 0.0
            # whole rows of the domain's share so far: carried over, so that no rounding adds up
            first, last = (math.floor(s * count * share + 1e-9) for s in (step, step + 1))
            parts.append(self._rows(pool, step * count - first, count - (last - first)))
            parts.append(self._rows(3 + pool, first, last - first))
        return np.concatenate(parts)

    def counts(self) -> tuple[int, int, int]:
        """Lenses, ordinary galaxies and confusers of a batch; an empty pool of galaxies gives its share away."""
        positive = min(max(1, round(self.batch_size * self.positive_share)), self.batch_size - 1)
        negative = self.batch_size - positive
        _, ordinary_rows, confuser_rows = self._pools[:3]
        confusers = round(negative * self.confuser_share) if len(confuser_rows) else 0
        if len(ordinary_rows) == 0:
            confusers = negative
        return positive, negative - confusers, confusers

    @functools.cached_property
    def _pools(self) -> tuple[NDArray[np.int64], ...]:
        """Rows of lenses, ordinary galaxies and confusers: all of them, then those of the domain."""
        lens = self.labels == 1
        pools = [lens, ~lens & ~self.is_confuser, ~lens & self.is_confuser]
        within = np.zeros(len(lens), dtype=bool) if self.in_domain is None else self.in_domain
        return tuple(np.flatnonzero(m) for m in (*pools, *(m & within for m in pools)))

    def _rows(self, pool: int, start: int, count: int) -> NDArray[np.int64]:
        """``count`` rows of a pool's endless stream from position ``start`` on."""
        if count == 0:
            return self._pools[pool][:0]
        positions = np.arange(start, start + count)
        cycles, places = np.divmod(positions, len(self._pools[pool]))
        return np.array([self._order(pool, int(c))[p] for c, p in zip(cycles, places, strict=True)], dtype=np.int64)

    def _order(self, pool: int, cycle: int) -> NDArray[np.int64]:
        """The order in which a pool is gone through for the cycle-th time; the last one asked for is kept."""
        if (pool, cycle) not in self._orders:
            for old in [key for key in self._orders if key[0] == pool and key[1] < cycle - 1]:
                del self._orders[old]
            rng = np.random.default_rng([self.seed, pool, cycle])
            self._orders[pool, cycle] = rng.permutation(self._pools[pool])
        return self._orders[pool, cycle]
