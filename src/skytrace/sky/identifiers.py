"""Membership of many identifiers in many others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Set

    from numpy.typing import NDArray

__all__ = ["is_among"]


def is_among(names: Iterable[Any], known: Iterable[Any] | Set[Any]) -> NDArray[np.bool_]:
    """Which of ``names`` (n,) are in ``known``. What ``Series.isin`` gives; but that takes 8 us for every known text
    (pandas 3.1), 0.4 s of a cell of 50,000 galaxies, and a set takes 0.1 us.
    """
    own = known if isinstance(known, set | frozenset) else set(_plain(known))
    return np.fromiter((name in own for name in _plain(names)), dtype=bool)


def _plain(names: Iterable[Any]) -> Iterable[Any]:
    return names.to_numpy(dtype=object) if isinstance(names, pd.Series | pd.Index) else names
