"""Augmentations that the sky allows: reflections, quarter turns and small shifts. Never colour, contrast or noise.

Each moves pixels and leaves their values and the order of the bands alone, so no new colour can be learnt from it.
Apart from these, the core may be masked: what is left to learn from is the arcs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import PixelError
from skytrace.imaging.apertures import elliptical_radius

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["augment", "mask_cores", "move_pixels"]


def augment(stamps: NDArray[np.float32], *, shift_px: int = 2, rng: np.random.Generator) -> NDArray[np.float32]:
    """Each stamp (n, band, y, x) under its own random flip, quarter turn and shift of at most shift_px pixels."""
    n = len(stamps)
    return move_pixels(
        stamps,
        flip=rng.integers(0, 2, n).astype(bool),
        quarter_turns=rng.integers(0, 4, n),
        shift=rng.integers(-shift_px, shift_px + 1, (n, 2)),
    )


def mask_cores(
    stamps: NDArray[np.float32], *, radius_px: float, share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Square stamps (n, band, y, x), each of which with probability ``share`` has its pixels at r < radius_px set to 0.

    r from pixel (size // 2, size // 2), where the galaxy is before any augmentation. The n draws are taken whatever
    the share, so that a stamp masked at one share is masked at every larger one.
    """
    chosen = rng.random(len(stamps)) < share
    core = elliptical_radius(stamps.shape[-1]) < radius_px
    return np.where(chosen[:, None, None, None] & core, np.float32(0.0), stamps)


def move_pixels(
    stamps: NDArray[np.float32], *, flip: NDArray[np.bool_], quarter_turns: NDArray[np.int64], shift: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Stamps shifted by (n, 2) pixels in y and x, turned by quarters (n,), then mirrored in x where ``flip`` (n,).

    Pixels shifted in from outside are 0, the background of preprocessed stamps. Raises PixelError unless square.
    """
    n, _, size, width = stamps.shape
    if size != width:
        raise PixelError(f"quarter turns need square stamps; got {size} x {width}")
    y, x = np.indices((size, size))
    moved = np.zeros_like(stamps)
    for turn in range(4):
        for mirrored in (False, True):
            rows = np.flatnonzero((quarter_turns == turn) & (flip == mirrored))
            if len(rows) == 0:
                continue
            to_y, to_x = (np.rot90(axis, turn) for axis in (y, x))
            if mirrored:
                to_y, to_x = to_y[:, ::-1], to_x[:, ::-1]
            from_y = to_y - shift[rows, 0, None, None]
            from_x = to_x - shift[rows, 1, None, None]
            inside = (from_y >= 0) & (from_y < size) & (from_x >= 0) & (from_x < size)
            flat = np.where(inside, from_y * size + from_x, 0).reshape(len(rows), 1, -1)
            values = np.take_along_axis(stamps[rows].reshape(len(rows), -1, size * size), flat, axis=2)
            moved[rows] = (values * inside.reshape(len(rows), 1, -1)).reshape(len(rows), -1, size, size)
    return moved if n else stamps.copy()
