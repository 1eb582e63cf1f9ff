"""Clusters of a redMaPPer-style catalogue cut out of FITS mosaics by their WCS.

A mosaic is an image HDU with a celestial WCS, in any unit that its zero point turns into nanomaggies; where a file of
inverse variances goes with it, pixels of no weight carry no data. A cutout takes whole pixels around the one nearest
to the BCG: nothing is resampled. What lies beyond the mosaic, or has no data, is NaN, and the cutout says how much of
it there is: nothing is padded with zeros, which would look like perfectly dark sky.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.clusters.options import BANDS
from skytrace.errors import SurveyError
from skytrace.imaging.photometry import mag_depth
from skytrace.imaging.psf import MoffatPsf
from skytrace.surveys.clusters.interface import (
    CLUSTER_COLUMNS,
    CLUSTER_TRUTH_COLUMNS,
    ClusterCutouts,
    check_clusters,
)
from skytrace.surveys.clusters.options import MosaicOptions
from skytrace.surveys.clusters.tables import known_flags, read_cluster_table
from skytrace.surveys.data_root import require_folder, under_data_root
from skytrace.surveys.fits_files import celestial_wcs, open_fits
from skytrace.surveys.stamps import paste_window, window_overlap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["ClusterMosaic", "Mosaic", "read_mosaic"]

_FILES = "FITS mosaics of g, r and i and a cluster catalogue (Parquet, CSV or FITS)"
_MAD_TO_SIGMA = 1.4826
_SCALE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Mosaic:
    """image (y, x) float32 [nanomaggies], NaN without data; invvar (y, x) or None; its WCS and pixel scale [arcsec]."""

    path: Path
    image: NDArray[np.float32]
    invvar: NDArray[np.float32] | None
    wcs: Any
    pixel_scale_arcsec: float

    def pixel_of(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) x, y (0-based) of positions [deg]; NaN where the projection has none (the far side of the sky)."""
        from astropy.coordinates import SkyCoord

        sky = SkyCoord(ra, dec, unit="deg")
        x, y = self.wcs.world_to_pixel(sky)
        back = self.wcs.pixel_to_world(x, y)
        near = np.isfinite(x) & np.isfinite(y) & (np.nan_to_num(back.separation(sky).deg, nan=1.0) < 1e-4)
        return np.where(near[:, None], np.stack([x, y], axis=1), np.nan)


def read_mosaic(path: Path, weight: Path | None = None, *, zero_point_mag: float = 22.5) -> Mosaic:
    """The first image HDU of ``path`` in nanomaggies. Raises SurveyError naming the file and what is wrong with it."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    def plane_of(file: Path) -> tuple[NDArray, Any]:
        with open_fits(file, label=f"mosaic {file}") as hdus:
            for hdu in hdus:
                if getattr(hdu, "is_image", False) and hdu.data is not None and hdu.data.ndim == 2:
                    return np.asarray(hdu.data, dtype=np.float32), hdu.header.copy()
        raise SurveyError(f"mosaic {file} has no image HDU of two dimensions")

    image, header = plane_of(path)
    wcs = celestial_wcs(header, path)
    if not wcs.has_celestial:
        raise SurveyError(f"mosaic {path} has no celestial WCS: cutouts of sky positions cannot be found in it")
    scales = proj_plane_pixel_scales(wcs) * 3600.0
    if not np.isclose(scales[0], scales[1], rtol=_SCALE_TOLERANCE):
        raise SurveyError(f"mosaic {path} has pixels of {scales[0]:.4g} x {scales[1]:.4g} arcsec, which are not square")
    unit = 10.0 ** (0.4 * (22.5 - zero_point_mag))
    image = np.where(np.isfinite(image), image * np.float32(unit), np.nan).astype(np.float32)
    invvar = None
    if weight is not None:
        invvar, _ = plane_of(weight)
        if invvar.shape != image.shape:
            raise SurveyError(f"weights {weight} of shape {invvar.shape} do not fit mosaic {path} of {image.shape}")
        if (invvar < 0).any():
            raise SurveyError(f"weights {weight} have negative values; an inverse variance is 0 (no data) or positive")
        invvar = np.nan_to_num(invvar / np.float32(unit**2))
        image = np.where(invvar > 0, image, np.nan).astype(np.float32)
    return Mosaic(path, image, invvar, wcs, float(scales.mean()))


class ClusterMosaic:
    """A ClusterSurvey of real pixels. ``files_read`` grows with the files that were read, for the run manifest."""

    name = "cluster_mosaic"

    def __init__(self, folder: str | Path, options: MosaicOptions | Mapping[str, Any]) -> None:
        self.folder = under_data_root(folder)
        self.options = options if isinstance(options, MosaicOptions) else MosaicOptions.from_mapping(options)
        self.files_read: set[Path] = set()

    def content(self) -> dict[str, str]:
        """SHA-256 of every mosaic, by name: part of the name of what is cut from them. A missing one is "missing"."""
        require_folder(self.folder, files=_FILES)
        named = [name for files in (*self.options.images.values(), *self.options.weights.values()) for name in files]
        found = {}
        for name in sorted({name for name in named if name}):
            path = self.folder / name
            if not path.is_file():
                found[name] = "missing"
                continue
            with path.open("rb") as stream:
                found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return found

    @cached_property
    def mosaics(self) -> dict[str, list[Mosaic]]:
        """Band -> its mosaics. Raises SurveyError where pixel scales differ."""
        require_folder(self.folder, files=_FILES)
        found: dict[str, list[Mosaic]] = {}
        for band, zero_point in zip(BANDS, self.options.zero_point_mag, strict=True):
            images = [self.folder / name for name in self.options.images[band]]
            named = self.options.weights.get(band) or (None,) * len(images)
            weights = [self.folder / name if name else None for name in named]
            pairs = zip(images, weights, strict=True)
            found[band] = [read_mosaic(*pair, zero_point_mag=zero_point) for pair in pairs]
            self.files_read.update(path for path in (*images, *weights) if path is not None)
        scales = [mosaic.pixel_scale_arcsec for band in BANDS for mosaic in found[band]]
        if not np.allclose(scales, scales[0], rtol=_SCALE_TOLERANCE):
            raise SurveyError(
                f"mosaics in {self.folder} have pixel scales of {min(scales):.4g} to {max(scales):.4g} arcsec"
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Without the pixels: a worker reads the files."""
        return {name: value for name, value in self.__dict__.items() if name != "mosaics"}

    def clusters(self) -> pd.DataFrame:
        """CLUSTER_COLUMNS plus padded_fraction and missing_fraction (the worst band's): clusters of the catalogue of
        whose cutout at least ``minimum_valid_fraction`` carries data in every band.
        """
        return self._clusters.copy()

    @cached_property
    def _clusters(self) -> pd.DataFrame:
        table = self._catalogue()
        cutouts = self._cut(table)
        usable = np.asarray((1.0 - cutouts.missing_fraction >= self.options.minimum_valid_fraction).all(axis=1))
        if not usable.any():
            raise SurveyError(
                f"none of the {len(table)} clusters of {self.options.catalogue} has minimum_valid_fraction = "
                f"{self.options.minimum_valid_fraction:g} of its {self.options.pixels} px cutout on the mosaics in "
                f"{self.folder}"
            )
        fwhm = self.options.psf_fwhm_arcsec
        neff = _neff_pixels(np.array(fwhm), self.options.psf_beta, cutouts.pixel_scale_arcsec)
        for b, band in enumerate(BANDS):
            table[f"psf_fwhm_{band}_arcsec"] = fwhm[b]
            table[f"depth_{band}_mag"] = mag_depth(1.0 / (cutouts.noise[:, b] ** 2 * neff[b]))
            table[f"zero_point_{band}_mag"] = 22.5
        table["padded_fraction"] = cutouts.padded_fraction.max(axis=1)
        table["missing_fraction"] = cutouts.missing_fraction.max(axis=1)
        kept = table[usable].reset_index(drop=True)
        return check_clusters(kept, source=f"cluster mosaic {self.folder}")

    def cutouts(self, cluster_ids: Sequence[str]) -> ClusterCutouts:
        """Cutouts in the order asked for. Raises SurveyError naming the first unknown cluster."""
        ids = np.asarray(cluster_ids, dtype=str).reshape(-1)
        table = self._clusters.set_index("cluster_id", drop=False)
        unknown = [str(name) for name in ids if name not in table.index]
        if unknown:
            raise SurveyError(
                f"cluster mosaic {self.folder} has no cluster {unknown[0]!r} ({len(unknown)} unknown in all)"
            )
        return self._cut(table.loc[ids])

    def truth(self) -> pd.DataFrame:
        """No row: nobody knows."""
        return pd.DataFrame(columns=list(CLUSTER_TRUTH_COLUMNS))

    def _catalogue(self) -> pd.DataFrame:
        path = require_folder(self.folder, files=_FILES) / self.options.catalogue
        found = read_cluster_table(path, self.options.columns)
        self.files_read.add(path)
        known = known_flags(found["known_lens"], path) if "known_lens" in found else False
        found = found.reindex(columns=list(CLUSTER_COLUMNS))
        return found.assign(known_lens=known)

    def _cut(self, table: pd.DataFrame) -> ClusterCutouts:
        n, size = len(table), self.options.pixels
        image = np.full((n, len(BANDS), size, size), np.nan, dtype=np.float32)
        noise, padded = np.full((n, len(BANDS)), np.nan), np.ones((n, len(BANDS)))
        ra, dec = (table[name].to_numpy(dtype=float) for name in ("ra", "dec"))
        for b, band in enumerate(BANDS):
            waiting = np.ones(n, dtype=bool)
            for mosaic in self.mosaics[band]:
                place = mosaic.pixel_of(ra, dec)
                height, width = mosaic.image.shape
                on_it = (place >= -0.5).all(axis=1) & (place < [width - 0.5, height - 0.5]).all(axis=1)
                for k in np.flatnonzero(waiting & on_it):
                    centre = int(np.rint(place[k, 0])), int(np.rint(place[k, 1]))
                    paste_window(image[k, b], mosaic.image, centre=centre)
                    spans = [
                        window_overlap(at, size, length)[0] for at, length in zip(centre, (width, height), strict=True)
                    ]
                    padded[k, b] = 1.0 - np.prod([span.stop - span.start for span in spans]) / size**2
                    noise[k, b] = _noise(mosaic, image[k, b], centre)
                waiting &= ~on_it
        missing = np.isnan(image).mean(axis=(2, 3))
        psf = MoffatPsf(np.tile(self.options.psf_fwhm_arcsec, (n, 1)), self.options.psf_beta)
        scale = self.mosaics[BANDS[0]][0].pixel_scale_arcsec
        return ClusterCutouts(table["cluster_id"].to_numpy(dtype=str), image, noise, psf, padded, missing, scale)


def _noise(mosaic: Mosaic, cutout: NDArray[np.float32], centre: tuple[int, int]) -> float:
    """Sky sigma [nanomaggies]: of the median inverse variance, or from the differences of neighbouring pixels, whose
    median absolute deviation knows neither galaxies nor the sky's level (it is too small where noise is correlated).
    """
    if mosaic.invvar is not None:
        weights = np.zeros_like(cutout)
        paste_window(weights, mosaic.invvar, centre=centre)
        return float(1.0 / np.sqrt(np.median(weights[weights > 0]))) if (weights > 0).any() else np.nan
    step = (cutout[:, 1:] - cutout[:, :-1]).ravel()
    step = step[np.isfinite(step)]
    if not len(step):
        return np.nan
    sigma = float(_MAD_TO_SIGMA * np.median(np.abs(step - np.median(step))) / np.sqrt(2.0))
    return sigma if sigma > 0 else np.nan


def _neff_pixels(fwhm_arcsec: NDArray[np.float64], beta: float, scale: float) -> NDArray[np.float64]:
    """Effective area [pixels] of a Moffat PSF."""
    alpha2 = fwhm_arcsec**2 / (4.0 * (2.0 ** (1.0 / beta) - 1.0))
    return np.pi * alpha2 * (2.0 * beta - 1.0) / (beta - 1.0) ** 2 / scale**2
