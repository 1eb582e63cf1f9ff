"""Is a cutout fit to be looked at? Quality columns of a batch, and the reasons to reject (``lens_finder``, stage 5).

A pixel carries no data where it is not finite or its inverse variance is not positive; both count as NaN here. Radii
are in pixels about the centre. Negative inverse variances never get here: ``CutoutBatch`` refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, PixelError, check_between
from skytrace.imaging.apertures import annulus_photometry, aperture_photometry, elliptical_radius, radial_profile
from skytrace.imaging.photometry import mag_ab
from skytrace.imaging.preprocessing import CORE_RADIUS_PX, PreprocessOptions, annulus_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.surveys.interface import CutoutBatch

__all__ = ["QualityOptions", "check_flux_unit", "cutout_quality", "quality_flags"]

_BANDS = ("g", "r", "z")
#: DR10 maskbits SATUR_G, SATUR_R, SATUR_Z.
_SATURATED_BIT = {"g": 2, "r": 3, "z": 4}
_MAD_TO_SIGMA = 1.4826
_FRAME_PX = 5


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
    good = np.isfinite(batch.image) & (batch.invvar > 0)
    size = batch.image.shape[-1]
    median, scale = annulus_statistics(batch.image, batch.invvar, options=preprocess_options)
    with np.errstate(invalid="ignore"):
        subtracted = (batch.image - median[..., None, None]).astype(np.float32)
    columns = {
        **_gaps(batch, good),
        "background_median": np.where(scale > 0, median, np.nan),
        "background_mad": np.where(scale > 0, scale / _MAD_TO_SIGMA, np.nan),
        **_percentiles(batch.image, good),
        "saturated_fraction": _saturated(batch.maskbits),
        **_brightness(subtracted, batch.invvar),
        **_structure(subtracted, good, np.where(scale > 0, scale, np.nan)),
    }
    table = pd.DataFrame({"galaxy_id": np.asarray(batch.galaxy_id, dtype=str)})
    wide = {f"{name}_{band}": values[:, i] for name, values in columns.items() for i, band in enumerate(_BANDS)}
    core = mag_ab(np.nan_to_num(columns["core_flux_4"]))
    annulus = mag_ab(np.nan_to_num(columns["annulus_4_16"]))
    wide["g_minus_r"] = (annulus[:, 0] - annulus[:, 1]) - (core[:, 0] - core[:, 1])
    wide["r_minus_z"] = (annulus[:, 1] - annulus[:, 2]) - (core[:, 1] - core[:, 2])
    if size < 50:
        raise PixelError(f"cutouts of {size} px are smaller than the 50 px centre that quality is judged on")
    return pd.concat([table, pd.DataFrame(wide)], axis=1)


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


def _gaps(batch: CutoutBatch, good: NDArray[np.bool_]) -> dict[str, NDArray]:
    size = good.shape[-1]
    radius = elliptical_radius(size)
    core = radius <= CORE_RADIUS_PX
    middle = slice(size // 2 - 25, size // 2 + 25)
    frame = np.ones((size, size), dtype=bool)
    frame[_FRAME_PX:-_FRAME_PX, _FRAME_PX:-_FRAME_PX] = False
    return {
        "nan_fraction": 1.0 - good.mean(axis=(2, 3)),
        "nan_fraction_centre": 1.0 - good[:, :, middle, middle].mean(axis=(2, 3)),
        "nan_fraction_core": 1.0 - good[:, :, core].mean(axis=2),
        "core_zero_invvar": (np.isfinite(batch.image[:, :, core]) & ~good[:, :, core]).mean(axis=2),
        "band_present": good.any(axis=(2, 3)),
        "edge_score": good[:, :, ~frame].mean(axis=2) - good[:, :, frame].mean(axis=2),
    }


def _percentiles(images: NDArray[np.float32], good: NDArray[np.bool_]) -> dict[str, NDArray]:
    """Percentiles of the pixels with data, by rank in the sorted row (linear between ranks)."""
    flat = np.sort(np.where(good, images, np.float32(np.inf)).reshape(*images.shape[:2], -1), axis=2)
    count = good.sum(axis=(2, 3))
    columns = {}
    for percent in (1, 50, 99):
        rank = 0.01 * percent * np.maximum(count - 1, 0)
        low = np.floor(rank).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        ends = [np.take_along_axis(flat, place[..., None], axis=2)[..., 0].astype(np.float64) for place in (low, high)]
        with np.errstate(invalid="ignore"):
            columns[f"percentile_{percent}"] = np.where(count > 0, ends[0] + (rank - low) * (ends[1] - ends[0]), np.nan)
    return columns


def _saturated(maskbits: NDArray[np.int32]) -> NDArray[np.float64]:
    shares = [((maskbits >> _SATURATED_BIT[band]) & 1).mean(axis=(1, 2)) for band in _BANDS]
    return np.stack(shares, axis=1)


def _brightness(subtracted: NDArray[np.float32], invvar: NDArray[np.float32]) -> dict[str, NDArray]:
    columns: dict[str, NDArray] = {}
    for radius in (4, 8, 12):
        disc = aperture_photometry(subtracted, invvar, radius_px=float(radius))
        columns[f"core_flux_{radius}"] = np.where(disc.coverage > 0, disc.flux_nmgy, np.nan)
    for inner, outer in ((4, 16), (16, 28)):
        ring = annulus_photometry(subtracted, invvar, inner_px=float(inner), outer_px=float(outer))
        columns[f"annulus_{inner}_{outer}"] = ring.mean_nmgy
    profile = radial_profile(subtracted, invvar, edges_px=[0.0, 4.0, 8.0, 12.0])
    columns["radial_gradient"] = (profile[..., 0] - profile[..., 2]) / 8.0
    return columns


def _structure(
    subtracted: NDArray[np.float32], good: NDArray[np.bool_], scale: NDArray[np.float64]
) -> dict[str, NDArray]:
    """Difference-of-Gaussians energy and azimuthal asymmetry of the central 49x49 pixels, in background units."""
    from scipy.ndimage import gaussian_filter1d

    size = subtracted.shape[-1]
    inner = slice(size // 2 - 24, size // 2 + 25)
    used = good[:, :, inner, inner]
    pixels = np.where(used, subtracted[:, :, inner, inner], 0.0)
    blurred = [
        gaussian_filter1d(gaussian_filter1d(pixels, sigma, axis=2), sigma, axis=3, truncate=4.0) for sigma in (1.0, 2.0)
    ]
    square = (blurred[0] - blurred[1]) ** 2
    radius = elliptical_radius(49)
    core, annulus = radius <= CORE_RADIUS_PX, (radius > 4) & (radius <= 16)
    edges = np.arange(0.0, 20.0)
    weights = np.where(used, np.float32(1.0), np.float32(0.0))
    profile = radial_profile(pixels, weights, edges_px=edges)
    ring = np.minimum(radius.astype(np.int64), len(edges) - 2)
    residual = np.where(used, pixels - np.nan_to_num(profile)[:, :, ring], 0.0)
    count = np.maximum(used[:, :, annulus].sum(axis=2), 1)
    return {
        "dog_core": square[:, :, core].mean(axis=2) / scale**2,
        "dog_annulus": square[:, :, annulus].mean(axis=2) / scale**2,
        "asymmetry": np.sqrt((residual[:, :, annulus] ** 2).sum(axis=2) / count) / scale,
    }
