"""Is a cutout fit to be looked at? Quality columns of a batch, and the reasons to reject (``lens_finder``, stage 5).

A pixel carries no data where it is not finite or its inverse variance is not positive; both count as NaN here. Radii
are in pixels about the centre. Negative inverse variances never get here: ``CutoutBatch`` refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, PixelError, check_between
from skytrace.imaging.apertures import elliptical_radius
from skytrace.imaging.photometry import mag_ab
from skytrace.imaging.preprocessing import (
    _MIN_ANNULUS_PIXELS,
    CORE_RADIUS_PX,
    MAD_TO_SIGMA,
    PreprocessOptions,
    _annulus_index,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.surveys.interface import CutoutBatch

__all__ = ["QUALITY_COLUMNS", "QualityOptions", "check_flux_unit", "cutout_quality", "quality_flags"]

_BANDS = ("g", "r", "z")
#: DR10 maskbits SATUR_G, SATUR_R, SATUR_Z.
_SATURATED_BITS = (2, 3, 4)
_FRAME_PX = 5
_CENTRE_PX = 50
#: (inner, outer) radii of the discs (softened as in ``imaging.apertures``) and annuli.
_APERTURES_PX = ((-1.0, 4.0), (-1.0, 8.0), (-1.0, 12.0), (4.0, 16.0), (16.0, 28.0))
#: The columns of ``cutout_quality`` that exist once a band.
QUALITY_COLUMNS = (
    "nan_fraction", "nan_fraction_centre", "nan_fraction_core", "core_zero_invvar", "band_present", "edge_score",
    "background_median", "background_mad", "percentile_1", "percentile_50", "percentile_99", "saturated_fraction",
    "core_flux_4", "core_flux_8", "core_flux_12", "annulus_4_16", "annulus_16_28", "radial_gradient",
    "dog_core", "dog_annulus", "asymmetry",
)  # fmt: skip


@dataclass(frozen=True)
class QualityOptions:
    """nan_fraction_centre_max: of the central 50x50 pixels. magnitude_offset_max: largest |aperture - catalogue| [mag]
    in any band before the unit of the pixels is doubted (r = 12 px = 3.1": neighbours and wings stay far below it).
    """

    nan_fraction_centre_max: float = 0.02
    magnitude_offset_max: float = 3.0

    def __post_init__(self) -> None:
        check_between("nan_fraction_centre_max", self.nan_fraction_centre_max, 0.0, 1.0)
        check_between("magnitude_offset_max", self.magnitude_offset_max, 0.5, 20.0)


def cutout_quality(batch: CutoutBatch, *, preprocess_options: PreprocessOptions | None = None) -> pd.DataFrame:
    """One row a cutout: galaxy_id, then per band _g, _r, _z (fluxes [nanomaggies], brightnesses [nanomaggies a pixel]):

    nan_fraction, nan_fraction_centre (50x50), nan_fraction_core (r <= 8), core_zero_invvar (share of the core that is
    finite but has no weight), band_present, background_median, background_mad, percentile_1/50/99, saturated_fraction,
    edge_score (NaN share of the 5 px frame minus that of the rest: 0 inside a field, towards 1 at its border),
    core_flux_4/8/12 (background-subtracted sums), annulus_4_16, annulus_16_28 (mean brightness), radial_gradient (mean
    of r < 4 minus that of 8-12, over 8 px), dog_core, dog_annulus (mean square of a 1 px - 2 px difference of Gaussians
    in units of the background variance), asymmetry (rms about the radial profile in 4-16 px, in background sigmas); and
    g_minus_r, r_minus_z: colour of the annulus 4-16 px minus that of the core r < 4 [mag]. NaN where not measurable.
    """
    from skytrace.imaging.quality_kernels import PLANE_COLUMNS, measure_planes, set_bit_shares

    n, n_band, size, _ = batch.image.shape
    if size < _CENTRE_PX:
        raise PixelError(f"cutouts of {size} px are smaller than the {_CENTRE_PX} px centre that quality is judged on")
    index = _annulus_index(size, preprocess_options or PreprocessOptions()).astype(np.uint32)
    annulus = (index, _MIN_ANNULUS_PIXELS)
    image, invvar = (
        np.ascontiguousarray(pixels, dtype=np.float32).reshape(n * n_band, size * size)
        for pixels in (batch.image, batch.invvar)
    )
    core, apertures, rings, dog = _geometry(size)
    measured = measure_planes(image, invvar, size, _FRAME_PX, annulus, core, apertures, rings, dog)
    columns = dict(zip(PLANE_COLUMNS, np.moveaxis(measured.reshape(n, n_band, -1), 2, 0), strict=True))
    columns["band_present"] = columns["band_present"] > 0
    mad = np.where(columns["background_mad"] > 0, columns["background_mad"], np.nan)
    scale = MAD_TO_SIGMA * mad
    columns |= {
        "background_median": np.where(mad > 0, columns["background_median"], np.nan),
        "background_mad": mad,
        "saturated_fraction": set_bit_shares(
            np.ascontiguousarray(batch.maskbits, dtype=np.int32).reshape(n, size * size), np.array(_SATURATED_BITS)
        ),
        "dog_core": columns["dog_core"] / scale**2,
        "dog_annulus": columns["dog_annulus"] / scale**2,
        "asymmetry": columns["asymmetry"] / scale,
    }
    wide = {f"{name}_{band}": columns[name][:, i] for name in QUALITY_COLUMNS for i, band in enumerate(_BANDS)}
    inside, outside = (mag_ab(np.nan_to_num(columns[name])) for name in ("core_flux_4", "annulus_4_16"))
    wide["g_minus_r"] = (outside[:, 0] - outside[:, 1]) - (inside[:, 0] - inside[:, 1])
    wide["r_minus_z"] = (outside[:, 1] - outside[:, 2]) - (inside[:, 1] - inside[:, 2])
    return pd.DataFrame({"galaxy_id": np.asarray(batch.galaxy_id, dtype=str), **wide})


def quality_flags(table: pd.DataFrame, *, options: QualityOptions | None = None) -> pd.DataFrame:
    """galaxy_id, accepted (bool) and reasons ("" or names joined by ";") for the rows of ``cutout_quality``.

    Reasons, each with its band: band_missing, nan_core, zero_invvar_core, nan_centre, no_background, and flux_unit
    where the table also has the catalogue's flux_g, flux_r, flux_z and the r = 12 px sum is off by more than
    magnitude_offset_max.
    """
    options = options or QualityOptions()
    reasons = np.full(len(table), "", dtype=object)
    for band in _BANDS:
        present = table[f"band_present_{band}"].to_numpy(dtype=bool)
        weightless = table[f"core_zero_invvar_{band}"].to_numpy(dtype=float) > 0
        failures = {
            "band_missing": ~present,
            "nan_core": present & (table[f"nan_fraction_core_{band}"] > table[f"core_zero_invvar_{band}"] + 1e-9),
            "zero_invvar_core": present & weightless,
            "nan_centre": present & (table[f"nan_fraction_centre_{band}"] >= options.nan_fraction_centre_max),
            "no_background": present & ~np.isfinite(table[f"background_mad_{band}"].to_numpy(dtype=float)),
        }
        if f"flux_{band}" in table:
            failures["flux_unit"] = present & (np.abs(_magnitude_offset(table, band)) > options.magnitude_offset_max)
        for name, failed in failures.items():
            reasons[np.asarray(failed, dtype=bool)] += f";{name}_{band}"
    text = np.array([reason[1:] for reason in reasons], dtype=object)
    return pd.DataFrame({"galaxy_id": table["galaxy_id"].to_numpy(), "accepted": text == "", "reasons": text})


def check_flux_unit(table: pd.DataFrame, *, magnitude_offset_max: float = 1.5) -> None:
    """Raise PixelError where the typical aperture magnitude of a band is too far from the catalogue's.

    table: ``cutout_quality`` with flux_g, flux_r, flux_z [nmgy]. The median over the batch is immune to odd galaxies,
    and catches pixels in counts or microjansky, and catalogues in magnitudes.
    """
    for band in _BANDS:
        if f"flux_{band}" not in table:
            raise CatalogueError(f"the quality table lacks flux_{band} of the catalogue to compare with")
        offset = _magnitude_offset(table, band)
        offset = offset[np.isfinite(offset)]
        if len(offset) and not abs(np.median(offset)) <= magnitude_offset_max:
            raise PixelError(
                f"{band} pixels are typically {np.median(offset):+.2f} mag from the catalogue (allowed "
                f"{magnitude_offset_max:g}): image or catalogue is not in nanomaggies"
            )


def _magnitude_offset(table: pd.DataFrame, band: str) -> NDArray[np.float64]:
    """Aperture minus catalogue magnitude; NaN where either flux is not positive."""
    aperture = mag_ab(np.nan_to_num(table[f"core_flux_12_{band}"].to_numpy(dtype=float)))
    return aperture - mag_ab(np.nan_to_num(table[f"flux_{band}"].to_numpy(dtype=float)))


@lru_cache(maxsize=8)
def _geometry(size: int) -> tuple:
    """core, apertures, rings and dog of ``measure_planes`` for square planes of ``size`` px."""
    radius = elliptical_radius(size).ravel()
    core = np.flatnonzero(radius <= CORE_RADIUS_PX)
    pixel, weight = [], []
    for inner, outer in _APERTURES_PX:
        share = np.clip(outer - radius + 0.5, 0.0, 1.0) * np.clip(radius - inner + 0.5, 0.0, 1.0)
        inside = np.flatnonzero(share)
        spare = -len(inside) % 4  # the kernel takes four pixels at a time
        pixel.append(np.pad(inside, (0, spare), mode="edge"))
        weight.append(np.pad(share[inside], (0, spare)))
    first, area = np.cumsum([0, *map(len, pixel)]), np.array([share.sum() for share in weight])
    ring_pixel = np.flatnonzero(radius < 17.0)
    ring_pixel = ring_pixel[_dealt(radius[ring_pixel].astype(np.int64))]
    ring = radius[ring_pixel]
    middle = elliptical_radius(33)
    return (
        core,
        (first, np.concatenate(pixel).astype(np.uint32), np.concatenate(weight), area),
        (ring_pixel.astype(np.uint32), ring.astype(np.uint32), _in_annulus(ring)),
        (_gaussian_taps(1.0), _gaussian_taps(2.0), middle <= CORE_RADIUS_PX, _in_annulus(middle)),
    )


def _dealt(ring: NDArray[np.int64]) -> NDArray[np.intp]:
    """An order in which neighbours lie in different rings, so that a sum need not wait for the one before."""
    by_ring = np.argsort(ring, kind="stable")
    size = np.bincount(ring)
    turn = np.empty(len(ring))
    turn[by_ring] = (np.arange(len(ring)) - np.repeat(np.cumsum(size) - size, size)) / np.repeat(size, size)
    return np.lexsort((ring, turn))


def _in_annulus(radius: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where arcs are: 4-16 px."""
    return (radius > 4.0) & (radius <= 16.0)


def _gaussian_taps(sigma: float) -> NDArray[np.float32]:
    """The weights of a symmetric Gaussian filter cut at 4 sigma, from its middle outwards."""
    offset = np.arange(-int(4 * sigma), int(4 * sigma) + 1)
    taps = np.exp(-0.5 * (offset / sigma) ** 2)
    return (taps / taps.sum())[int(4 * sigma) :].astype(np.float32)
