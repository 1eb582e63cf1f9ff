"""What an augmentation of a field must leave alone: the Einstein radius, and the brightness and colours of the arcs.

Measured on pictures of the same field with and without the light behind, both transformed alike: their difference is
the arcs, and noise that both share falls out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import PixelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArcMeasures", "contract_breaches", "measured_arcs"]

#: The design's tolerance of the radius, which the flux shares; colours to a fiftieth of a magnitude.
RADIUS_TOLERANCE, FLUX_TOLERANCE, COLOUR_TOLERANCE_MAG = 0.05, 0.05, 0.02
_SEARCH_PX, _CENTROID_PX = 6, 4


@dataclass(frozen=True)
class ArcMeasures:
    """Of n fields: einstein_radius_arcsec (n,), the flux-weighted mean distance of the arcs from the BCG; flux_nmgy
    (n, band) of all arcs.
    """

    einstein_radius_arcsec: NDArray[np.float64]
    flux_nmgy: NDArray[np.float64]

    @property
    def colour_mag(self) -> NDArray[np.float64]:
        """(n, 2): g - r and r - i of all arcs."""
        magnitude = -2.5 * np.log10(self.flux_nmgy)
        return magnitude[:, :-1] - magnitude[:, 1:]


def measured_arcs(
    fields: NDArray[np.float32], without: NDArray[np.float32], *, pixel_scale_arcsec: float
) -> ArcMeasures:
    """Arcs of fields (n, band, y, x) [nanomaggies], given the same fields without what lies behind.

    The centre is the BCG's in the picture without arcs, wherever the transform moved it. Raises PixelError where the
    shapes differ.
    """
    if fields.shape != without.shape:
        raise PixelError(f"fields {fields.shape} and fields without arcs {without.shape} differ in shape")
    arcs = fields.astype(np.float64) - without
    y, x = np.indices(arcs.shape[-2:])
    radius = np.empty(len(arcs))
    for k, arc in enumerate(arcs.sum(axis=1)):
        centre_y, centre_x = _bcg_centre(without[k].astype(np.float64).sum(axis=0))
        distance = np.hypot(y - centre_y, x - centre_x)
        radius[k] = (arc * distance).sum() / arc.sum() * pixel_scale_arcsec
    return ArcMeasures(radius, arcs.sum(axis=(2, 3)))


def contract_breaches(before: ArcMeasures, after: ArcMeasures) -> list[str]:
    """What a transform changed beyond its tolerance, in words; empty where it keeps the contract."""
    found = []
    ratio = np.abs(after.einstein_radius_arcsec / before.einstein_radius_arcsec - 1.0).max()
    if not ratio <= RADIUS_TOLERANCE:
        found.append(f"Einstein radius changed by up to {100 * ratio:.1f} % (at most {100 * RADIUS_TOLERANCE:.0f} %)")
    flux = np.abs(after.flux_nmgy / before.flux_nmgy - 1.0).max()
    if not flux <= FLUX_TOLERANCE:
        found.append(f"flux changed by up to {100 * flux:.1f} % (at most {100 * FLUX_TOLERANCE:.0f} %)")
    colour = np.abs(after.colour_mag - before.colour_mag).max()
    if not colour <= COLOUR_TOLERANCE_MAG:
        found.append(f"colours changed by up to {colour:.3f} mag (at most {COLOUR_TOLERANCE_MAG:.2f})")
    return found


def _bcg_centre(image: NDArray[np.float64]) -> tuple[float, float]:
    """(y, x) of the light about the brightest pixel near the middle."""
    middle = image.shape[0] // 2
    near = image[middle - _SEARCH_PX : middle + _SEARCH_PX, middle - _SEARCH_PX : middle + _SEARCH_PX]
    at = np.add(np.unravel_index(np.argmax(near), near.shape), middle - _SEARCH_PX)
    y, x = np.indices((2 * _CENTROID_PX + 1,) * 2) - _CENTROID_PX
    part = image[tuple(slice(a - _CENTROID_PX, a + _CENTROID_PX + 1) for a in at)]
    return float(at[0] + (part * y).sum() / part.sum()), float(at[1] + (part * x).sum() / part.sum())
