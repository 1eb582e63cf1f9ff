"""A box of parameters, each linear or logarithmic between two ends, and places in it as shares from 0 to 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Box = tuple[ArrayLike, ArrayLike, ArrayLike]

__all__ = ["box_ends", "box_shares", "box_values"]


def box_ends(box: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """low and high (d,) on the box's axes: logarithms where its third array (d,) says so."""
    log = np.asarray(box[2], dtype=bool)
    low, high = (np.asarray(end, dtype=np.float64) for end in box[:2])
    return np.where(log, np.log(np.where(log, low, 1.0)), low), np.where(log, np.log(np.where(log, high, 1.0)), high)


def box_shares(values: Any, box: Box, xp: Any = np) -> Any:
    """Shares (..., d) of values (..., d) in their own units, NaN or infinite where one without a logarithm is on a
    logarithmic axis; xp: numpy or jax.numpy.
    """
    low, high = box_ends(box)
    log = np.asarray(box[2], dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = xp.where(log, xp.log(xp.where(log, values, 1.0)), values)
    return (scaled - low) / (high - low)


def box_values(shares: Any, box: Box, xp: Any = np) -> Any:
    """Values (..., d) in their own units at shares (..., d); xp: numpy or jax.numpy."""
    low, high = box_ends(box)
    log = np.asarray(box[2], dtype=bool)
    scaled = low + shares * (high - low)
    return xp.where(log, xp.exp(xp.where(log, scaled, 0.0)), scaled)
