"""DR10 mask bits of pixels that a survey's own files do not flag: no data, and the surroundings of saturated stars.

Bits as on the DR10 page "maskbits": 0 not the brick's own area, 1 bright star, 5/6/7 no good g/r/z exposure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ALLMASK_BITS", "BRIGHT_BIT", "NPRIMARY_BIT", "bright_star_mask", "field_maskbits"]

NPRIMARY_BIT = 0
BRIGHT_BIT = 1
#: Bit of "no good pixel in any exposure", bands g, r, z.
ALLMASK_BITS = (5, 6, 7)


def field_maskbits(invvar: NDArray[np.floating]) -> NDArray[np.int32]:
    """(y, x) bits 5, 6, 7 where ``invvar`` (band = g, r, z, y, x) is not positive; bit 0 where no band has data."""
    missing = ~(invvar > 0)
    bits = sum((plane.astype(np.int32) << bit) for plane, bit in zip(missing, ALLMASK_BITS, strict=True))
    return np.asarray(bits | (missing.all(axis=0).astype(np.int32) << NPRIMARY_BIT), dtype=np.int32)


def bright_star_mask(
    image: NDArray[np.floating],
    invvar: NDArray[np.floating],
    *,
    ring_signal_to_noise: float = 50.0,
    minimum_hole: int = 9,
) -> NDArray[np.int32]:
    """(y, x) bit 1 around saturated stars of one band: no-data holes with a bright rim.

    A hole is a connected region of at least ``minimum_hole`` pixels without data; it is a star's saturated core if the
    brightest tenth of the pixels within 2 px of it are all above ``ring_signal_to_noise``. The bit covers 3 radii
    of a circle of the hole's bright part, plus 8 px: the radius within which halo and bleed spoil a DECam image.
    """
    from scipy import ndimage

    missing = ~(invvar > 0)
    signal = image * np.sqrt(np.maximum(invvar, 0.0))
    labels, count = ndimage.label(missing)
    bits = np.zeros(image.shape, dtype=np.int32)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for hole in range(1, count + 1):
        inside = labels == hole
        rim = ndimage.binary_dilation(inside, iterations=2) & ~missing
        if inside.sum() < minimum_hole or not rim.any():
            continue
        bright = rim & (signal > ring_signal_to_noise)
        if bright.sum() < max(0.1 * rim.sum(), 8):
            continue
        y, x = rows[bright], columns[bright]
        centre_y, centre_x = y.mean(), x.mean()
        radius = 3.0 * np.sqrt(((y - centre_y) ** 2 + (x - centre_x) ** 2).mean()) + 8.0
        bits[np.hypot(rows - centre_y, columns - centre_x) <= radius] |= 1 << BRIGHT_BIT
    return bits
