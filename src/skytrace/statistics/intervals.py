"""Intervals of a detection probability after k successes in n trials.

Jeffreys prior Beta(1/2, 1/2); the posterior is Beta(k + 1/2, n - k + 1/2); the interval leaves equal posterior
probability in both tails (Brown, Cai & DasGupta 2001, Stat. Sci. 16, 101, eq. 5). The one Beta interval of the house.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from skytrace.errors import OptionError, check_between

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LEVELS", "beta_interval", "beta_mean"]

#: The two intervals that every number is quoted with: the name in columns and keys, and the level.
LEVELS = {"68": 0.6827, "95": 0.9545}

_JEFFREYS = 0.5
#: The rounded names of the 1, 2 and 3 sigma levels, and the levels that they stand for: erf(m / sqrt(2)).
_SIGMA_LEVELS = {
    0.6827: float(special.erf(np.sqrt(0.5))),
    0.9545: float(special.erf(np.sqrt(2.0))),
    0.9973: float(special.erf(np.sqrt(4.5))),
}


def beta_interval(k: ArrayLike, n: ArrayLike, level: float = 0.6827) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Equal-tailed Jeffreys interval (low, high) of the probability behind ``k`` successes in ``n`` trials.

    k, n: broadcast together, 0 <= k <= n. They may be fractional: trials that share hosts count as n / design effect
    effective ones (Kish 1965, ch. 6), and k as the same share of these. level: posterior probability inside, in (0, 1).
    0.6827, 0.9545 and 0.9973 mean 1, 2 and 3 sigma exactly. With n = 0 it is the interval of the prior alone: wide,
    never (0, 0). Raises OptionError on impossible counts.

    >>> low, high = beta_interval(100, 200)
    >>> bool(low < 0.5 < high)
    True
    """
    check_between("level", level, 0.0, 1.0, include_low=False, include_high=False)
    k, n = _checked_counts(k, n)
    tail = 0.5 * (1.0 - _SIGMA_LEVELS.get(level, level))
    a, b = k + _JEFFREYS, n - k + _JEFFREYS
    # the complement keeps full precision where the upper end is near 1
    return special.betaincinv(a, b, tail), 1.0 - special.betaincinv(b, a, tail)


def beta_mean(k: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Posterior mean (k + 1/2) / (n + 1) under the Jeffreys prior; 1/2 where nothing was tried."""
    k, n = _checked_counts(k, n)
    return (k + _JEFFREYS) / (n + 2.0 * _JEFFREYS)


def _checked_counts(k: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    k, n = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    impossible = ~((k >= 0) & (k <= n) & np.isfinite(n))
    if impossible.any():
        where = tuple(np.argwhere(impossible)[0])
        raise OptionError(
            f"k = {k[where]:g}, n = {n[where]:g} are not counts with 0 <= k <= n ({int(impossible.sum())} such cell(s))"
        )
    return k, n
