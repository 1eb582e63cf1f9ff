"""Real DECam g, r, z fields on disk as a survey: sources detected in them, hosts cut out of their real pixels.

A field is a FITS file of the cutout service's layout: HDU 0 (3, y, x) nanomaggies with BANDS, BAND0.. and PSF_G/R/Z,
HDU 1 inverse variance, HDU 2 number of exposures. PSF_* are exposure-weighted FWHM of the survey's CCD tables, which
for these exposures lie within 8 % of the half-maximum width of their PSFEx models and 6-21 % *below* the width of the
Gaussian of equal Neff: they are half-maximum widths, so psfsize = PSF / 0.8113 (Moffat, beta 3.5), the inverse of
``moffat_fwhm_from_psfsize``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.compute.files import is_temporary
from skytrace.errors import SurveyError, check_between, check_names, check_whole
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, MoffatPsf, moffat_fwhm_from_psfsize, neff_pixels
from skytrace.surveys.data_root import require_folder, under_data_root
from skytrace.surveys.detection import DetectionOptions, detect_sources
from skytrace.surveys.fits_files import celestial_wcs, open_fits
from skytrace.surveys.interface import BANDS, GALAXY_COLUMNS, LENS_COLUMNS, CutoutBatch, check_galaxies
from skytrace.surveys.pixel_masks import bright_star_mask, field_maskbits
from skytrace.surveys.stamps import paste_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["DecamField", "DecamFieldsOptions", "DecamFieldsSurvey", "read_field"]

_FILES = "the g, r, z field files (imaging/decam_grz_fields/*.fits: HDU 0 image in nanomaggies, 1 invvar, 2 nexp)"
_BETA = 3.5


@dataclass(frozen=True)
class DecamFieldsOptions:
    """minimum_valid_fraction: a source is kept if this share of its ``stamp_pixels`` stamp carries data in r.
    ebv: E(B-V) given to every source [mag]; 0 means *unknown*, no extinction is applied: the field files hold none.
    """

    minimum_valid_fraction: float = 0.5
    stamp_pixels: int = 101
    ebv: float = 0.0
    detection: DetectionOptions = field(default_factory=DetectionOptions)

    def __post_init__(self) -> None:
        check_between("minimum_valid_fraction", self.minimum_valid_fraction, 0.0, 1.0)
        check_whole("stamp_pixels", self.stamp_pixels, 1, 4096)
        check_between("ebv", self.ebv, 0.0, 10.0)
        if isinstance(self.detection, dict):
            check_names("decam_fields detection", self.detection, [field.name for field in fields(DetectionOptions)])
            object.__setattr__(self, "detection", DetectionOptions(**self.detection))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> DecamFieldsOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming every key that does not exist."""
        check_names("decam_fields", values, [field.name for field in fields(cls)])
        return cls(**values)


@dataclass(frozen=True)
class DecamField:
    """One field: image, invvar (3, y, x), exposures (3, y, x), maskbits (y, x), half-maximum psf_fwhm_arcsec (3,), a
    WCS.
    """

    name: str
    image: NDArray[np.float32]
    invvar: NDArray[np.float32]
    exposures: NDArray[np.int32]
    maskbits: NDArray[np.int32]
    psf_fwhm_arcsec: NDArray[np.float64]
    wcs: Any


def read_field(path: Path) -> DecamField:
    """Read one field file. Raises SurveyError naming the file for a wrong shape, unit, band order, pixel scale or
    PSF.
    """
    from astropy.utils.exceptions import AstropyUserWarning
    from astropy.wcs.utils import proj_plane_pixel_scales

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # of a file cut short: it is an error here
        with open_fits(path, label=f"field {path}", what="FITS with image, invvar and nexp") as hdus:
            if len(hdus) < 3:
                raise SurveyError(
                    f"field {path} is not whole: of the three HDUs image, invvar and nexp it has {len(hdus)}; "
                    "fetch it again"
                )
            header = hdus[0].header.copy()
            planes = [np.asarray(hdus[i].data) for i in range(3)]
    problems = []
    bands = tuple(str(header.get("BANDS", "")).strip())
    if bands != BANDS or tuple(str(header.get(f"BAND{i}", "")).strip() for i in range(3)) != BANDS:
        problems.append(
            f"its header says bands {''.join(bands) or 'none'}, not {''.join(BANDS)} with BAND0..2 agreeing"
        )
    if not all(plane.shape == planes[0].shape and plane.ndim == 3 and len(plane) == 3 for plane in planes):
        problems.append(f"shapes {[plane.shape for plane in planes]} are not three times (3, y, x)")
    if str(header.get("BUNIT", "")).strip().lower() not in ("nanomaggy", "nanomaggies", "nmgy"):
        problems.append(f"BUNIT is {header.get('BUNIT')!r}, not nanomaggy")
    keys = [f"PSF_{band.upper()}" for band in BANDS]
    missing = [key for key in keys if key not in header]
    fwhm = np.array([_number(header.get(key)) for key in keys])
    if missing:
        problems.append(f"its header has no {', '.join(missing)} (the half-maximum width of the PSF in arcsec)")
    elif not (np.isfinite(fwhm) & (fwhm > 0)).all():
        found = ", ".join(f"{key} = {header[key]!r}" for key in keys)
        problems.append(f"{found} are not three widths in arcsec")
    wcs = celestial_wcs(header, path)
    scale = proj_plane_pixel_scales(wcs) * 3600.0 if wcs.has_celestial else np.array([np.nan])
    if not np.allclose(scale, PIXEL_SCALE_ARCSEC, rtol=1e-3):
        problems.append(f"pixel scale {scale.tolist()} arcsec is not {PIXEL_SCALE_ARCSEC}")
    if not problems and (planes[1] < 0).any():
        problems.append("the inverse variance has negative values")
    if problems:
        raise SurveyError(f"field {path}: " + "; ".join(problems))
    image, invvar = (plane.astype(np.float32) for plane in planes[:2])
    good = np.isfinite(image) & np.isfinite(invvar) & (invvar > 0)
    image, invvar = np.where(good, image, 0).astype(np.float32), np.where(good, invvar, 0).astype(np.float32)
    bits = field_maskbits(invvar) | bright_star_mask(image[BANDS.index("r")], invvar[BANDS.index("r")])
    return DecamField(path.stem, image, invvar, planes[2].astype(np.int32), bits, fwhm, wcs)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


class DecamFieldsSurvey:
    """The fields of one folder. galaxy_id is ``decam-<field>-<k>``, k counting sources from the brightest in r.

    ``files_read`` grows with the files that were read, for the run manifest.
    """

    name = "decam_fields"

    def __init__(
        self, folder: str | Path = "imaging/decam_grz_fields", options: DecamFieldsOptions | dict | None = None
    ) -> None:
        self.folder = under_data_root(folder)
        given = DecamFieldsOptions.from_mapping(options) if isinstance(options, dict) else options
        self.options = given or DecamFieldsOptions()
        self.files_read: set[Path] = set()

    @cached_property
    def fields(self) -> dict[str, DecamField]:
        """Field name -> field, in alphabetical order."""
        folder = require_folder(self.folder, files=_FILES)
        paths = sorted(path for path in folder.glob("*.fits") if not is_temporary(path))
        if not paths:
            raise SurveyError(f"no *.fits in {self.folder}; it must hold {_FILES}. See docs/real_data.md.")
        fields_read = {path.stem: read_field(path) for path in paths}
        self.files_read.update(paths)
        return fields_read

    def __getstate__(self) -> dict[str, Any]:
        """Without the pixels: a worker reads the files."""
        return {name: value for name, value in self.__dict__.items() if name != "fields"}

    def galaxies(self) -> pd.DataFrame:
        """GALAXY_COLUMNS plus field, x, y (0-based pixels of the field) and valid_fraction. Stars are there, as type
        PSF.
        """
        return self._galaxies.copy()

    @cached_property
    def _galaxies(self) -> pd.DataFrame:
        tables = [_measure(field, self.options) for field in self.fields.values()]
        tables = [table for table in tables if len(table)]
        if not tables:
            raise SurveyError(f"no source was detected in any field of {self.folder}")
        return check_galaxies(pd.concat(tables, ignore_index=True), source=f"decam_fields {self.folder}")

    @cached_property
    def _indexed(self) -> pd.DataFrame:
        return self._galaxies.set_index("galaxy_id")

    def lenses(self) -> pd.DataFrame:
        """Empty: no known lens lies in these fields."""
        kinds = {"theta_e_arcsec": float, "ra": float, "dec": float, "is_anchor": bool}
        return pd.DataFrame({name: pd.Series([], dtype=kinds.get(name, object)) for name in LENS_COLUMNS})

    def cutouts(self, galaxy_ids: Sequence[str], *, size: int = 101) -> CutoutBatch:
        """Stamps of real pixels; beyond the field's edge image 0, invvar 0 and the bits of "no data"."""
        ids = np.asarray(galaxy_ids, dtype=str)
        table = self._indexed
        unknown = [name for name in ids if name not in table.index]
        if unknown:
            raise SurveyError(f"decam_fields has no galaxy {str(unknown[0])!r} ({len(unknown)} unknown in all)")
        rows = table.loc[ids]
        image = np.zeros((len(ids), len(BANDS), size, size), dtype=np.float32)
        invvar = np.zeros_like(image)
        outside = field_maskbits(np.zeros((len(BANDS), 1, 1), dtype=np.float32))[0, 0]
        maskbits = np.full((len(ids), size, size), outside, dtype=np.int32)
        for k, (name, x, y) in enumerate(zip(rows["field"], rows["x"], rows["y"], strict=True)):
            field = self.fields[name]
            centre = int(np.rint(x)), int(np.rint(y))
            for stamp, plane in ((image[k], field.image), (invvar[k], field.invvar), (maskbits[k], field.maskbits)):
                paste_window(stamp, plane, centre=centre)
        psfsize = rows[[f"psfsize_{band}" for band in BANDS]].to_numpy(dtype=float).reshape(-1, len(BANDS))
        return CutoutBatch(
            ids, image, invvar, maskbits, MoffatPsf(moffat_fwhm_from_psfsize(psfsize, beta=_BETA), _BETA)
        )


def _measure(field: DecamField, options: DecamFieldsOptions) -> pd.DataFrame:
    """GALAXY_COLUMNS of one field: photometry from ``detect_sources``, conditions from the pixels under each source."""
    found = detect_sources(
        field.image, field.invvar, psf_fwhm_arcsec=field.psf_fwhm_arcsec, bands=BANDS, options=options.detection
    )
    if not len(found):
        return pd.DataFrame(columns=list(GALAXY_COLUMNS))
    column, row = np.rint(found["x"]).astype(int).to_numpy(), np.rint(found["y"]).astype(int).to_numpy()
    valid_fraction = _valid_fraction(field.invvar[BANDS.index("r")], column, row, size=options.stamp_pixels)
    ra, dec = field.wcs.all_pix2world(found["x"], found["y"], 0)
    table = found.assign(ra=ra, dec=dec, field=field.name, ebv=options.ebv, valid_fraction=valid_fraction)
    table["maskbits"] = field.maskbits[row, column]
    psfsize = field.psf_fwhm_arcsec / moffat_fwhm_from_psfsize(1.0, beta=_BETA)
    # a galaxy of 0.45" half-light radius, legacypipe's standard for galdepth, seen through the PSF
    galaxy = np.hypot(psfsize, 2.0 * 0.45)
    for k, band in enumerate(BANDS):
        weight = _local_median(field.invvar[k], column, row)
        table[f"nobs_{band}"] = field.exposures[k][row, column]
        table[f"psfsize_{band}"] = psfsize[k]
        table[f"psfdepth_{band}"] = weight / neff_pixels(psfsize[k])
        table[f"galdepth_{band}"] = weight / neff_pixels(galaxy[k])
    # the number of a source does not depend on which of its neighbours were kept
    table["galaxy_id"] = [f"decam-{field.name}-{k}" for k in range(len(table))]
    keep = (valid_fraction >= options.minimum_valid_fraction) & (field.invvar[:, row, column] > 0).all(axis=0)
    extra = [name for name in table.columns if name not in GALAXY_COLUMNS]
    return table.loc[keep, [*GALAXY_COLUMNS, *extra]]


def _valid_fraction(invvar: NDArray, column: NDArray, row: NDArray, *, size: int) -> NDArray[np.float64]:
    """Share of the pixels of a ``size`` stamp that carry data; pixels off the field count as missing."""
    low, high = size // 2, size - size // 2
    total = np.pad((invvar > 0).astype(np.int64), size).cumsum(axis=0).cumsum(axis=1)
    total = np.pad(total, ((1, 0), (1, 0)))
    y0, y1, x0, x1 = row - low + size, row + high + size, column - low + size, column + high + size
    return (total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]) / size**2


def _local_median(invvar: NDArray, column: NDArray, row: NDArray, *, half: int = 10) -> NDArray[np.float64]:
    """Median inverse variance of the valid pixels within ``half`` pixels of each source, 0 where there is none."""
    padded = np.pad(np.where(invvar > 0, invvar, np.nan).astype(np.float64), half, constant_values=np.nan)
    boxes = np.lib.stride_tricks.sliding_window_view(padded, (2 * half + 1, 2 * half + 1))[row, column]
    boxes = boxes.reshape(len(row), -1)
    counted = np.isfinite(boxes).any(axis=1)
    local = np.zeros(len(row))
    local[counted] = np.nanmedian(boxes[counted], axis=1)
    return local
