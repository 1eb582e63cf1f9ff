"""DR10 as a survey: the galaxies of sweep tables, cutouts by either route, and the published lenses among them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.compute.files import is_temporary
from skytrace.errors import SurveyError
from skytrace.imaging.psf import MoffatPsf, moffat_fwhm_from_psfsize, neff_pixels
from skytrace.surveys.data_root import require_folder, under_data_root
from skytrace.surveys.interface import BANDS, CutoutBatch, check_galaxies
from skytrace.surveys.legacy_survey.bricks import brick_files, brick_names, brick_stamps
from skytrace.surveys.legacy_survey.download import DownloadReport, download_all
from skytrace.surveys.legacy_survey.options import LegacySurveyOptions
from skytrace.surveys.legacy_survey.service import CUTOUT_PATH, cutout_request, filled_cutout, parse_cutout
from skytrace.surveys.legacy_survey.sweeps import read_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LegacySurvey"]

_SWEEPS = "DR10.1 sweep tables (sweep-*.fits of the data release's south/sweep/10.1)"


class LegacySurvey:
    """See LegacySurveyOptions for where everything lies; options may be a plain dictionary.

    ``files_read`` grows with the files that were read, for the run manifest: sweeps, lens catalogue, cutouts, bricks.
    """

    name = "legacy_survey"

    def __init__(self, options: LegacySurveyOptions | dict | None = None) -> None:
        given = LegacySurveyOptions.from_mapping(options) if isinstance(options, dict) else options
        self.options = given or LegacySurveyOptions()
        self.files_read: set[Path] = set()
        self.cutout_folder = under_data_root(self.options.cutouts)
        self.coadd_folder = under_data_root(self.options.coadd)

    def galaxies(self) -> pd.DataFrame:
        """GALAXY_COLUMNS plus brickname."""
        return self._galaxies.copy()

    @cached_property
    def _galaxies(self) -> pd.DataFrame:
        options = self.options
        folder = require_folder(under_data_root(options.sweeps), files=_SWEEPS)
        there = (path for path in folder.iterdir() if not is_temporary(path))
        paths = sorted(path for path in there if path.name.lower().endswith((".fits", ".fit")))
        if not paths:
            raise SurveyError(f"no *.fits in {folder}; it must hold {_SWEEPS}. See docs/real_data.md.")
        read = partial(
            read_sweep, chunk_rows=options.chunk_rows, mag_z_limit=options.mag_z_limit, sky_box_deg=options.sky_box_deg
        )
        table = pd.concat([read(path) for path in paths], ignore_index=True)
        self.files_read.update(paths)
        unnamed = (table["brickname"] == "").to_numpy()
        if unnamed.any():
            table.loc[unnamed, "brickname"] = brick_names(table.loc[unnamed, "ra"], table.loc[unnamed, "dec"])
        return check_galaxies(table, source=f"legacy_survey {folder}")

    def lenses(self) -> pd.DataFrame:
        """LENS_COLUMNS of the published lenses; those of no galaxy of this survey have an empty galaxy_id."""
        from skytrace.surveys.lens_catalogue import lens_systems, lenses_of_systems  # it reads by this package

        path = under_data_root(self.options.lens_catalog)
        systems, _ = lens_systems(path)
        self.files_read.add(path)
        return lenses_of_systems(systems, self._galaxies, anchor_fraction=self.options.anchor_fraction)

    def cutouts(self, galaxy_ids: Sequence[str], *, size: int = 101) -> CutoutBatch:
        """Cutouts by the route of the options. Missing ones are downloaded first (route "service")."""
        rows = self._rows(galaxy_ids)
        image, invvar, maskbits, psfsize = (
            self._from_service if self.options.route == "service" else self._from_bricks
        )(rows, size)
        catalogued = rows[[f"psfsize_{band}" for band in BANDS]].to_numpy(dtype=float).reshape(-1, len(BANDS))
        psfsize = np.where(np.isfinite(psfsize), psfsize, catalogued)
        without = ~((psfsize > 0) & np.isfinite(psfsize))
        if (without & (invvar > 0).any(axis=(2, 3))).any():
            first = rows["galaxy_id"].iloc[int(np.argmax(without.any(axis=1)))]
            raise SurveyError(f"galaxy {first} has pixels but no psfsize, in its brick or in its sweep")
        # a band without data needs some PSF to be complete; nothing is ever seen through it
        psfsize = np.where(without, np.nanmax(np.where(without, np.nan, psfsize), initial=1.0), psfsize)
        beta = self.options.psf_beta
        psf = MoffatPsf(moffat_fwhm_from_psfsize(psfsize, beta=beta), beta)
        ids = np.asarray(galaxy_ids, dtype=str)
        return CutoutBatch(ids, image, invvar, maskbits, psf, pixel_scale_arcsec=self.options.pixel_scale_arcsec)

    def second_route(self) -> LegacySurvey | None:
        """For the parity check: the same sky from bricks on disk where the cutouts are the service's; None else.

        Never the other way round: asking the service would download what nobody asked for.
        """
        if self.options.route != "service" or not self.coadd_folder.is_dir():
            return None
        survey = LegacySurvey(replace(self.options, route="bricks"))
        survey.__dict__["_galaxies"] = self._galaxies  # read once
        survey.files_read = self.files_read
        return survey

    def download(self, galaxy_ids: Sequence[str], *, size: int = 101) -> DownloadReport:
        """Fetch the service's cutouts that are not yet on disk. Raises nothing for single failures: they are in the
        report.
        """
        options = self.options
        rows = self._rows(galaxy_ids).drop_duplicates("galaxy_id")
        requests = [
            cutout_request(name, float(ra), float(dec), size=size, options=options)
            for name, ra, dec in zip(rows["galaxy_id"], rows["ra"], rows["dec"], strict=True)
        ]

        def check(content: bytes, name: str) -> None:
            """Raise SurveyError for an answer that is not a cutout of this size and scale."""
            parse_cutout(content, name, size=size, pixel_scale_arcsec=options.pixel_scale_arcsec)

        return download_all(requests, self.cutout_folder, url_path=CUTOUT_PATH, check=check, options=options)

    def _rows(self, galaxy_ids: Sequence[str]) -> pd.DataFrame:
        ids = pd.Index(np.asarray(galaxy_ids, dtype=str).astype(object))
        known = self._indexed
        unknown = ids[~ids.isin(known.index)]
        if len(unknown):
            raise SurveyError(f"legacy_survey has no galaxy {unknown[0]!r} ({len(unknown)} unknown in all)")
        return known.loc[ids].rename_axis("galaxy_id").reset_index()

    @cached_property
    def _indexed(self) -> pd.DataFrame:
        return self._galaxies.set_index("galaxy_id")

    def _from_service(self, rows: pd.DataFrame, size: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        report = self.download(rows["galaxy_id"].tolist(), size=size)
        if report.failures:
            first, reason = next(iter(report.failures.items()))
            raise SurveyError(
                f"cutout of galaxy {first}: {reason}. {len(report.failures)} of {len(rows)} failed; the others are "
                f"kept in {self.cutout_folder}, and a rerun asks only for those that are missing."
            )
        image, invvar, maskbits = _empty(len(rows), size)
        sky = _sky_invvar(rows)
        for k, (name, ra, dec) in enumerate(zip(rows["galaxy_id"], rows["ra"], rows["dec"], strict=True)):
            request = cutout_request(name, float(ra), float(dec), size=size, options=self.options)
            path = self.cutout_folder / request.file
            answer = parse_cutout(
                path.read_bytes(), name, size=size, pixel_scale_arcsec=self.options.pixel_scale_arcsec
            )
            self.files_read.add(path)
            image[k], invvar[k], maskbits[k] = filled_cutout(answer, sky_invvar=sky[k])
        return image, invvar, maskbits, np.full((len(rows), len(BANDS)), np.nan)

    def _from_bricks(self, rows: pd.DataFrame, size: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        require_folder(self.coadd_folder, files="brick coadds (coadd/<AAA>/<brick>/legacysurvey-<brick>-*.fits.fz)")
        image, invvar, maskbits = _empty(len(rows), size)
        psfsize = np.full((len(rows), len(BANDS)), np.nan)
        for brick, indices in rows.groupby("brickname", sort=False).indices.items():
            members = np.asarray(indices, dtype=np.intp)
            places = rows.iloc[members]
            image[members], invvar[members], maskbits[members], psfsize[members] = brick_stamps(
                self.coadd_folder, str(brick), places["ra"], places["dec"], size=size
            )
            self.files_read.update(brick_files(self.coadd_folder, str(brick)))
            blank = members[~(invvar[members] > 0).any(axis=(1, 2, 3))]
            if len(blank):
                name = rows["galaxy_id"].iloc[int(blank[0])]
                raise SurveyError(f"galaxy {name}: brick {brick} has no data around it (inverse variance 0 everywhere)")
        return image, invvar, maskbits, psfsize


def _sky_invvar(rows: pd.DataFrame) -> NDArray[np.float64]:
    """(n, band) inverse variance of a sky pixel by the catalogue, psfdepth Neff."""
    depth = rows[[f"psfdepth_{band}" for band in BANDS]].to_numpy(dtype=float)
    return depth * neff_pixels(rows[[f"psfsize_{band}" for band in BANDS]].to_numpy(dtype=float))


def _empty(n: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    image = np.zeros((n, len(BANDS), size, size), dtype=np.float32)
    return image, np.zeros_like(image), np.zeros((n, size, size), dtype=np.int32)
