"""Stamps from brick coadds on disk: ``coadd/<AAA>/<brick>/legacysurvey-<brick>-<what>[-<band>].fits.fz``, image in HDU
1.

A brick is a 0.25 deg cell of the sky (3600 x 3600 px with overlap), named from its centre, "3301m007" = 330.1, -0.75.
Only the tiles of the compressed image that a stamp touches are decompressed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import SurveyError
from skytrace.surveys.fits_files import celestial_wcs, open_fits
from skytrace.surveys.interface import BANDS
from skytrace.surveys.pixel_masks import field_maskbits
from skytrace.surveys.stamps import window_overlap

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

__all__ = ["BRICK_DEG", "brick_files", "brick_names", "brick_path", "brick_stamps"]

BRICK_DEG = 0.25


def brick_names(ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.str_]:
    """(n,) names of the bricks in which positions [deg] are primary (tiling of desispec and legacypipe).

    Rows are centred on multiples of 0.25 deg in dec; a row holds the even number of columns at or above
    360 cos(dec_low) / 0.25, dec_low the row's edge nearer to the equator; the pole rows hold one.
    """
    ra = np.mod(np.atleast_1d(np.asarray(ra_deg, dtype=np.float64)), 360.0)
    dec = np.atleast_1d(np.asarray(dec_deg, dtype=np.float64))
    rows = int(180.0 / BRICK_DEG) + 1
    row = np.clip(np.floor((dec + 90.0 + BRICK_DEG / 2) / BRICK_DEG).astype(int), 0, rows - 1)
    centre_dec = -90.0 + BRICK_DEG * row
    nearer = np.abs(centre_dec) - BRICK_DEG / 2
    columns = (2 * np.ceil(360.0 / BRICK_DEG * np.cos(np.radians(nearer)) / 2.0)).astype(int)
    columns = np.where((row == 0) | (row == rows - 1), 1, columns)
    column = np.minimum(np.floor(ra / 360.0 * columns).astype(int), columns - 1)
    centre_ra = (column + 0.5) * 360.0 / columns
    # names keep tenths of a degree, cut off rather than rounded
    tenths_ra, tenths_dec = (
        np.floor(centre_ra * 10 + 1e-9).astype(int),
        np.floor(np.abs(centre_dec) * 10 + 1e-9).astype(int),
    )
    sign = np.where(centre_dec >= 0, "p", "m")
    return np.array([f"{a:04d}{s}{d:03d}" for a, s, d in zip(tenths_ra, sign, tenths_dec, strict=True)])


def brick_path(coadd: Path, brick: str, what: str, band: str | None = None) -> Path:
    """Path of one product, e.g. ``what`` image, invvar, psfsize with a band, or maskbits without.

    Raises SurveyError for a name that no brick has: sweeps say it, and it names a folder.
    """
    if not re.fullmatch(r"[0-9]{4}[pm][0-9]{3}", brick):
        raise SurveyError(f"brick {brick!r} is no name of a brick, such as 3301m007")
    suffix = f"-{band}" if band else ""
    return coadd / brick[:3] / brick / f"legacysurvey-{brick}-{what}{suffix}.fits.fz"


def brick_files(coadd: Path, brick: str) -> list[Path]:
    """The files of one brick that there are, of those that ``brick_stamps`` reads."""
    paths = [brick_path(coadd, brick, what, band) for band in BANDS for what in ("image", "invvar", "psfsize")]
    return [path for path in (*paths, brick_path(coadd, brick, "maskbits")) if path.is_file()]


def brick_stamps(
    coadd: Path, brick: str, ra_deg: ArrayLike, dec_deg: ArrayLike, *, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32], NDArray[np.float64]]:
    """Stamps of n positions of one brick: image, invvar (n, band, y, x), maskbits (n, y, x), psfsize (n, band)
    [arcsec].

    Beyond the brick's edge, and in a band that the brick was not observed in (no image file), image and invvar are 0
    and the maskbits say so. psfsize is NaN where the brick has no psfsize map. Raises SurveyError for a brick with no
    image in any band, an image without its invvar, or a position off the brick.
    """
    positions = np.column_stack([np.atleast_1d(ra_deg), np.atleast_1d(dec_deg)]).astype(np.float64)
    n = len(positions)
    image, invvar = np.zeros((2, n, len(BANDS), size, size), dtype=np.float32)
    psfsize = np.full((n, len(BANDS)), np.nan)
    present = [band for band in BANDS if brick_path(coadd, brick, "image", band).is_file()]
    if not present:
        raise SurveyError(
            f"brick {brick}: no {brick_path(coadd, brick, 'image', BANDS[0])} nor any other band. Put the "
            "coadd/<AAA>/<brick> folders of the data release under $SKYTRACE_DATA (docs/real_data.md)."
        )
    x, y = _pixels(brick_path(coadd, brick, "image", present[0]), brick, positions)
    for band in present:
        k = BANDS.index(band)
        _fill(image[:, k], brick_path(coadd, brick, "image", band), x, y)
        _fill(invvar[:, k], brick_path(coadd, brick, "invvar", band), x, y)
        if brick_path(coadd, brick, "psfsize", band).is_file():
            at_centre = np.zeros((n, 1, 1))
            _fill(at_centre, brick_path(coadd, brick, "psfsize", band), x, y)
            psfsize[:, k] = np.where(at_centre[:, 0, 0] > 0, at_centre[:, 0, 0], np.nan)
    good = (invvar > 0) & np.isfinite(image) & np.isfinite(invvar)
    if (invvar < 0).any():
        raise SurveyError(f"brick {brick}: the inverse variance has negative values")
    image, invvar = np.where(good, image, 0).astype(np.float32), np.where(good, invvar, 0).astype(np.float32)
    maskbits = np.zeros((n, size, size), dtype=np.int32)
    if brick_path(coadd, brick, "maskbits").is_file():
        _fill(maskbits, brick_path(coadd, brick, "maskbits"), x, y)
    return image, invvar, maskbits | np.stack([field_maskbits(weights) for weights in invvar]), psfsize


def _pixels(path: Path, brick: str, positions: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Nearest 0-based pixels of positions, through the WCS of the brick's image."""
    wcs, shape = _wcs_and_shape(path)
    x, y = wcs.all_world2pix(positions, 0).T
    outside = ~((x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5))
    if outside.any():
        ra, dec = positions[outside][0]
        raise SurveyError(f"position {ra:.5f} {dec:+.5f} lies outside brick {brick} ({path.name})")
    return np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)


@lru_cache(maxsize=64)
def _wcs_and_shape(path: Path) -> tuple[Any, tuple[int, int]]:
    with open_fits(path) as hdus:
        hdu = _image_hdu(hdus, path)
        return celestial_wcs(hdu.header, path), tuple(hdu.shape)


def _fill(stamps: NDArray, path: Path, x: NDArray[np.intp], y: NDArray[np.intp]) -> None:
    """Copy the windows of one file into ``stamps`` (n, size, size)."""
    if not path.is_file():
        raise SurveyError(f"no {path}, which belongs to the image beside it")
    size = stamps.shape[-1]
    with open_fits(path) as hdus:
        hdu = _image_hdu(hdus, path)
        for stamp, column, row in zip(stamps, x, y, strict=True):
            to_y, from_y = window_overlap(int(row), size, hdu.shape[0])
            to_x, from_x = window_overlap(int(column), size, hdu.shape[1])
            try:
                stamp[to_y, to_x] = hdu.section[from_y, from_x]
            except (OSError, ValueError, RuntimeError, TypeError) as error:
                raise SurveyError(f"{path} cannot be decompressed (truncated?): {error}") from error


def _image_hdu(hdus: Any, path: Path) -> Any:
    for hdu in hdus[1:]:
        if hdu.is_image and len(hdu.shape) == 2:
            return hdu
    raise SurveyError(f"{path} has no two-dimensional image after HDU 0")
