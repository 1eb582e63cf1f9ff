"""The images of point sources behind any mass whose deflection can be computed.

Every triangle of a grid in the image plane that maps onto a source holds an image (Keeton 2001, astro-ph/0102340,
section 4.3), which Newton's method then finds. Images closer to each other than the grid's step may be missed in pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytrace.errors import check_between

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["PointImages", "image_positions"]

_NEWTON_STEPS, _DIFFERENCE_ARCSEC, _CLOSED_ARCSEC, _SAME_ARCSEC = 30, 1e-4, 1e-7, 1e-3


class PointImages(NamedTuple):
    """Of k images: source (k,), the index of the source; x, y (k,) [arcsec]; magnification (k,), signed."""

    source: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    magnification: NDArray[np.float64]


def image_positions(
    deflection: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]], source_x: ArrayLike, source_y: ArrayLike, *,
    half_width_arcsec: float, step_arcsec: float = 0.25,
) -> PointImages:  # fmt: skip
    """Images within +-half_width_arcsec of sources (s,) [arcsec], ordered by source and brightness.

    deflection: (x, y) -> (alpha_x, alpha_y) [arcsec], arrays of one shape. Raises OptionError for a step that is not
    between 0.001 and half_width_arcsec.
    """
    check_between("step_arcsec", step_arcsec, 1e-3, half_width_arcsec)
    beta = np.stack(np.broadcast_arrays(np.atleast_1d(source_x), np.atleast_1d(source_y))).astype(np.float64)
    axis = np.linspace(-half_width_arcsec, half_width_arcsec, int(np.ceil(2 * half_width_arcsec / step_arcsec)) + 1)
    source, x, y = _containing(deflection, beta, axis)
    for _ in range(_NEWTON_STEPS):
        miss, xx, xy, yx, yy = _linearised(deflection, x, y, beta[:, source])
        determinant = xx * yy - xy * yx
        step_x, step_y = (yy * miss[0] - xy * miss[1]) / determinant, (xx * miss[1] - yx * miss[0]) / determinant
        shrink = np.minimum(1.0, step_arcsec / np.maximum(np.hypot(step_x, step_y), 1e-300))
        x, y = x + shrink * step_x, y + shrink * step_y
    miss, xx, xy, yx, yy = _linearised(deflection, x, y, beta[:, source])
    magnification = 1.0 / (xx * yy - xy * yx)
    near = (np.abs(x) <= half_width_arcsec) & (np.abs(y) <= half_width_arcsec)
    good = (np.hypot(*miss) < _CLOSED_ARCSEC) & np.isfinite(magnification) & near
    order = np.lexsort([-np.abs(magnification), source])
    order = order[good[order]]
    source, x, y, magnification = source[order], x[order], y[order], magnification[order]
    same = (source[:, None] == source) & (np.hypot(x[:, None] - x, y[:, None] - y) < _SAME_ARCSEC)
    first = ~np.tril(same, -1).any(axis=1)
    return PointImages(source[first], x[first], y[first], magnification[first])


def _containing(
    deflection: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]], beta: NDArray, axis: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(source, x, y) of the centre of every triangle of the grid whose map holds a source."""
    x, y = np.meshgrid(axis, axis)
    alpha_x, alpha_y = deflection(x, y)
    plane = np.stack([x, y, x - alpha_x, y - alpha_y])
    corners = plane[:, :-1, :-1], plane[:, :-1, 1:], plane[:, 1:, :-1], plane[:, 1:, 1:]
    lower, upper = (np.stack([corners[k] for k in which]) for which in ((0, 1, 2), (3, 2, 1)))
    triangles = np.concatenate([lower.reshape(3, 4, -1), upper.reshape(3, 4, -1)], axis=2)  # vertex, plane, triangle
    sides = []
    for k in range(3):
        from_x, from_y = triangles[k, 2], triangles[k, 3]
        to_x, to_y = triangles[(k + 1) % 3, 2] - from_x, triangles[(k + 1) % 3, 3] - from_y
        sides.append(to_x * (beta[1][:, None] - from_y) - to_y * (beta[0][:, None] - from_x) > 0)
    source, triangle = np.nonzero((sides[0] == sides[1]) & (sides[1] == sides[2]))
    centre = triangles[:, :2, triangle].mean(axis=0)
    return source, centre[0], centre[1]


def _linearised(
    deflection: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]], x: NDArray, y: NDArray, beta: NDArray
) -> tuple[NDArray, ...]:
    """What the source of each image is off (2, k), and the elements of the Jacobian by central differences."""
    h = _DIFFERENCE_ARCSEC
    here, east, west = deflection(x, y), deflection(x + h, y), deflection(x - h, y)
    north, south = deflection(x, y + h), deflection(x, y - h)
    (a_xx, a_yx), (a_xy, a_yy) = (
        tuple((plus - minus) / (2 * h) for plus, minus in zip(*pair, strict=True))
        for pair in ((east, west), (north, south))
    )
    miss = np.stack([beta[0] - (x - here[0]), beta[1] - (y - here[1])])
    return miss, 1.0 - a_xx, -a_xy, -a_yx, 1.0 - a_yy
