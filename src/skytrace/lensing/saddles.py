"""Where a lens turns images over: the share of each cell of a grid where the determinant of its Jacobian is negative.

Images of negative parity are saddles of the arrival time (Schneider, Ehlers & Falco 1992, section 5.3): the
counter-image of a double, the two inner images of a quad. For an isothermal lens they are all images inside the
tangential critical curve; a shallower power law has a core of positive determinant besides, which is no saddle and
stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.lensing.deflection import ray_shoot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.lensing.deflection import LensModel

__all__ = ["jacobian_determinant", "minimum_share"]

#: Half the step of the central differences [arcsec]: truncation and rounding are both below 1e-6.
_STEP_ARCSEC = 1e-4


def jacobian_determinant(x: NDArray[np.float64], y: NDArray[np.float64], lenses: LensModel) -> NDArray[np.float64]:
    """det A = d(beta) / d(theta), the inverse of the signed magnification, at points (m, ...) [arcsec]: (n, m, ...)."""
    h = _STEP_ARCSEC
    east, west = ray_shoot(x + h, y, lenses), ray_shoot(x - h, y, lenses)
    north, south = ray_shoot(x, y + h, lenses), ray_shoot(x, y - h, lenses)
    a_xx, a_yx = ((plus - minus) / (2 * h) for plus, minus in zip(east, west, strict=True))
    a_xy, a_yy = ((plus - minus) / (2 * h) for plus, minus in zip(north, south, strict=True))
    return a_xx * a_yy - a_xy * a_yx


def minimum_share(lenses: LensModel, *, cells: int, origin_arcsec: float, cell_arcsec: float) -> NDArray[np.float32]:
    """Share of each cell of a square grid whose images keep their parity (minima), (n, cells, cells) in [0, 1].

    Cell (0, 0) is centred on (origin, origin). Within a cell the determinant is taken as linear: a cell that the
    critical curve crosses has a share between 0 and 1.
    """
    axis = origin_arcsec + cell_arcsec * np.arange(cells)
    x, y = np.meshgrid(axis, axis)
    determinant = jacobian_determinant(x, y, lenses)
    slope = np.hypot(*np.gradient(determinant, axis=(1, 2)))
    # at the singular centre the differences mean nothing, and no light comes from there
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 0.5 + determinant / slope
    return np.clip(np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0).astype(np.float32)
