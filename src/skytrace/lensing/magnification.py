"""Total magnification of an extended source: lensed over unlensed flux, by integration over the image plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

from skytrace.errors import PixelError
from skytrace.lensing.sources import ImageSource, sersic_b

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.lensing.deflection import LensModel
    from skytrace.lensing.sources import SourceModel

__all__ = ["flux_magnification"]

_CELLS = 24  # a multiple of 8: the inner box is a whole number of cells of the next
_GROWTH = 4.0
_LEVELS = 4
_TOLERANCE = 3e-5
_FLUX_OUTSIDE = 1e-4


def flux_magnification(lenses: LensModel, sources: SourceModel | ImageSource) -> NDArray[np.float64]:
    """Total lensed over unlensed flux (n,), clumps included; about 0.25 ms a lens.

    Good to 1e-4 (median), 4e-4 (nine in ten) and 2e-3 (99 in 100; n near 4 on a caustic reaches 7e-3). The image plane
    is integrated with the renderer's adaptive rules, without a PSF, over a box around the lens and the source and
    frames of four times its width, until at most 1e-4 of the source's light is outside (four boxes at most).
    Raises PixelError where lenses and sources differ in number.
    """
    from skytrace.lensing import _kernels
    from skytrace.lensing.rendering import kernel_columns

    if len(lenses) != len(sources):
        raise PixelError(f"{len(lenses)} lenses for {len(sources)} sources: give one source per lens")
    columns = kernel_columns(lenses, sources)
    radius = sources.half_light_radius_arcsec
    tolerance = (_TOLERANCE * 0.5 / (np.pi * radius**2)).astype(np.float32)
    offset = np.hypot(sources.x_arcsec, sources.y_arcsec) + np.hypot(lenses.center_x_arcsec, lenses.center_y_arcsec)
    shear = 1.0 - np.hypot(lenses.gamma1, lenses.gamma2)
    inner = (
        1.3 * lenses.theta_e_arcsec / np.sqrt(lenses.q) + offset + np.maximum(2.0 * radius, _clump_reach(sources))
    ) / shear + 0.3
    needed = (1.3 * lenses.theta_e_arcsec / np.sqrt(lenses.q) + offset + _light_radius(sources)) / shear
    rules = (_kernels.RULE_OFFSETS, _kernels.RULE_WEIGHTS, _kernels.RULE_STARTS)
    total, part = np.zeros(len(lenses)), np.zeros(len(lenses))
    rows = np.arange(len(lenses))
    for level in range(_LEVELS):
        half_width = (inner[rows] * _GROWTH**level).astype(np.float32)
        hole = int(_CELLS / _GROWTH) if level else 0
        _kernels.lensed_flux(  # type: ignore[call-arg]
            *(column[rows] for column in columns[:3]),
            *columns[3:],
            tolerance[rows] / np.float32(_GROWTH ** (2 * level)),
            half_width,
            _CELLS,
            hole,
            *rules,
            part[: len(rows)],
        )
        total[rows] += part[: len(rows)]
        rows = rows[needed[rows] > half_width]
        if len(rows) == 0:
            break
    return total


def _light_radius(sources: SourceModel | ImageSource) -> NDArray[np.float64]:
    """Distance (n,) [arcsec] from the source's centre beyond which lies 1e-4 of its light, clumps included."""
    if isinstance(sources, ImageSource):
        return sources.reach_arcsec
    n = sources.sersic_index
    scaled = (gammaincinv(2.0 * n, 1.0 - _FLUX_OUTSIDE) / sersic_b(n)) ** n
    radius = scaled * sources.half_light_radius_arcsec / np.sqrt(sources.q)
    return np.maximum(radius, _clump_reach(sources))


def _clump_reach(sources: SourceModel | ImageSource) -> NDArray[np.float64]:
    """Distance (n,) [arcsec] from the source's centre that holds every clump, or the whole stamp; 0 without clumps."""
    if isinstance(sources, ImageSource):
        return sources.reach_arcsec
    clumps = sources.clumps
    if clumps is None or clumps.flux_fraction.shape[1] == 0:
        return np.zeros(len(sources))
    return (np.hypot(clumps.dx_arcsec, clumps.dy_arcsec) + 4.5 * clumps.sigma_arcsec).max(axis=1)
