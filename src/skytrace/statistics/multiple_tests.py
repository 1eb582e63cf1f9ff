"""p-values that stay honest when many tests are made at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["holm_adjusted"]


def holm_adjusted(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values (n,) that hold for all tests together, however these depend on one another.

    The chance that any true null falls at or below a level is at most that level (Holm 1979, Scand. J. Stat. 6, 65).
    NaN are left out of the count and stay NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    out = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return out
