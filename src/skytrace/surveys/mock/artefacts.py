"""What a camera and a reduction do to the sky: saturation, bleed trails, blemishes, survey edges, DR10 mask bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC
from skytrace.surveys.interface import BANDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.surveys.mock.field import Stars
    from skytrace.surveys.mock.options import MockSurveyOptions

__all__ = ["MASKBITS", "SATURATION_NMGY", "Artefacts", "apply_artefacts", "draw_artefacts"]

#: DR10 maskbits (legacysurvey.org/dr10/bitmasks): name -> bit.
MASKBITS = {
    "BRIGHT": 1, "SATUR_G": 2, "SATUR_R": 3, "SATUR_Z": 4, "ALLMASK_G": 5, "ALLMASK_R": 6, "ALLMASK_Z": 7,
    "MEDIUM": 11, "GALAXY": 12, "CLUSTER": 13,
}  # fmt: skip
#: Pixel value [nanomaggies] at which an exposure saturates: 45,000 ADU over the ADU of 1 nanomaggy in one exposure
#: (electrons of ``conditions`` over a gain of 4).
SATURATION_NMGY = (32.0, 50.0, 43.0)


@dataclass(frozen=True)
class Artefacts:
    """Per stamp (n,): edge and blemish lines x cos + y sin = offset [pixels from the centre], NaN angle for none.

    edge_bands (n, band): bands that end at the edge. blemish_band (n,). region_bits (n,): bits set all over the stamp.
    """

    edge_angle: NDArray[np.float64]
    edge_offset: NDArray[np.float64]
    edge_bands: NDArray[np.bool_]
    blemish_angle: NDArray[np.float64]
    blemish_offset: NDArray[np.float64]
    blemish_band: NDArray[np.int64]
    region_bits: NDArray[np.int32]


def draw_artefacts(*, options: MockSurveyOptions, rng: np.random.Generator) -> Artefacts:
    """Which stamps have a survey edge, a masked streak, or lie by a large galaxy or in a globular cluster's mask."""
    n, share = options.n_galaxies, options.artefact_fraction
    edge_angle = np.where(rng.random(n) < share, rng.uniform(0.0, 2.0 * np.pi, n), np.nan)
    edge_bands = rng.random((n, len(BANDS))) < 0.4
    edge_bands[np.arange(n), rng.integers(0, len(BANDS), n)] = True
    blemish_angle = np.where(rng.random(n) < share, rng.uniform(0.0, np.pi, n), np.nan)
    region = np.where(rng.random(n) < 0.006, 1 << MASKBITS["GALAXY"], 0)
    region |= np.where(rng.random(n) < 0.002, 1 << MASKBITS["CLUSTER"], 0)
    return Artefacts(
        edge_angle, rng.uniform(-10.0, 60.0, n), edge_bands,
        blemish_angle, rng.uniform(-45.0, 45.0, n), rng.integers(0, len(BANDS), n), region.astype(np.int32),
    )  # fmt: skip


def apply_artefacts(
    image: NDArray[np.float32], invvar: NDArray[np.float32], artefacts: Artefacts, index: int, stars: Stars
) -> NDArray[np.int32]:
    """Saturate, mask and cut one stamp (band, y, x) in place; return its maskbits (y, x).

    ``stars`` are those of this stamp. Pixels without data have image 0 and invvar 0; saturated pixels keep the
    saturation value and have invvar 0.
    """
    height, width = image.shape[1:]
    y, x = np.mgrid[:height, :width]
    x, y = x - width // 2, y - height // 2
    maskbits = np.full((height, width), artefacts.region_bits[index], dtype=np.int32)
    for star in range(len(stars)):
        star_x, star_y = stars.x_arcsec[star] / PIXEL_SCALE_ARCSEC, stars.y_arcsec[star] / PIXEL_SCALE_ARCSEC
        _mask_star(maskbits, np.hypot(x - star_x, y - star_y), stars.mag_r[star])
        _saturate(image, invvar, maskbits, (x, y), (star_x, star_y), stars.mag_r[star])
    if np.isfinite(artefacts.blemish_angle[index]):
        b, angle = artefacts.blemish_band[index], artefacts.blemish_angle[index]
        streak = np.abs(x * np.cos(angle) + y * np.sin(angle) - artefacts.blemish_offset[index]) < 1.6
        _blank(image[b], invvar[b], streak)
        maskbits[streak] |= 1 << MASKBITS[f"ALLMASK_{BANDS[b].upper()}"]
    if np.isfinite(artefacts.edge_angle[index]):
        angle = artefacts.edge_angle[index]
        beyond = x * np.cos(angle) + y * np.sin(angle) > artefacts.edge_offset[index]
        for b in np.flatnonzero(artefacts.edge_bands[index]):
            _blank(image[b], invvar[b], beyond)
    return maskbits


def _blank(image: NDArray[np.float32], invvar: NDArray[np.float32], where: NDArray[np.bool_]) -> None:
    image[where] = 0.0
    invvar[where] = 0.0


def _mask_star(maskbits: NDArray[np.int32], distance: NDArray[np.float64], mag_r: float) -> None:
    """MEDIUM within 1630" 1.396^-G for G < 16, BRIGHT within half of it for G < 13 (legacypipe ``reference.py``)."""
    radius = 1630.0 * 1.396**-mag_r / PIXEL_SCALE_ARCSEC
    if mag_r < 16.0:
        maskbits[distance < radius] |= 1 << MASKBITS["MEDIUM"]
    if mag_r < 13.0:
        maskbits[distance < 0.5 * radius] |= 1 << MASKBITS["BRIGHT"]


def _saturate(
    image: NDArray[np.float32],
    invvar: NDArray[np.float32],
    maskbits: NDArray[np.int32],
    grid: tuple[NDArray, NDArray],
    star: tuple[float, float],
    mag_r: float,
) -> None:
    near = np.hypot(grid[0] - star[0], grid[1] - star[1]) < 25.0
    for b, level in enumerate(SATURATION_NMGY):
        full = near & (image[b] > level)
        if full.any():
            length = 6.0 * 10.0 ** (0.28 * (15.5 - mag_r))  # charge bleeds along the columns
            full |= (np.abs(grid[0] - star[0]) < 1.2) & (np.abs(grid[1] - star[1]) < length)
            image[b][full] = level
            invvar[b][full] = 0.0
            maskbits[full] |= 1 << MASKBITS[f"SATUR_{BANDS[b].upper()}"]
