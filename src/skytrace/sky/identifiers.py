"""Membership of many identifiers in many others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["is_among"]


def is_among(names: Iterable[Any], known: Iterable[Any]) -> NDArray[np.bool_]:
    """Which of the texts ``names`` (n,) are in ``known``: what ``Series.isin`` gives, but by Arrow's hash table and
    without a Python object for each. pandas 3.1 takes 8 us for every known text: 0.4 s of a cell of 50,000 galaxies.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = pa.large_string()
    asked, held = (pa.array(list(one) if isinstance(one, set) else one, type=kind) for one in (names, known))
    return np.asarray(pc.is_in(asked, value_set=held), dtype=bool)
