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
from skytrace.surveys.legacy_survey.lenses import MATCH_ARCSEC
from skytrace.surveys.legacy_survey.options import LegacySurveyOptions
from skytrace.surveys.legacy_survey.service import CUTOUT_PATH, cutout_request, filled_cutout, parse_cutout
from skytrace.surveys.legacy_survey.sweeps import read_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from skytrace.surveys.hats_catalogue import HatsCatalogue

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
        self._found: pd.DataFrame | None = None
        self.cutout_folder = under_data_root(self.options.cutouts)
        self.coadd_folder = under_data_root(self.options.coadd)

    def galaxies(self) -> pd.DataFrame:
        """GALAXY_COLUMNS plus brickname."""
        return self._galaxies.copy()

    @property
    def fetches(self) -> bool:
        """Whether cutouts come over the network, at a rate that holds for one process."""
        return self.options.route == "service"

    @cached_property
    def catalogue(self) -> HatsCatalogue | None:
        """The galaxies in partitions, where ``options.hats`` names them; no other than ``galaxies`` holds them all."""
        options = self.options
        if options.hats is None:
            return None
        from skytrace.surveys.hats_catalogue import open_hats  # it reads by this package

        margin = None if options.hats_margin is None else under_data_root(options.hats_margin)
        found = open_hats(
            under_data_root(options.hats), margin=margin, mag_z_limit=options.mag_z_limit,
            sky_box_deg=options.sky_box_deg,
        )  # fmt: skip
        self.files_read.update(file for one in found.partitions for file in (one.file, one.margin) if file is not None)
        return found

    @cached_property
    def _galaxies(self) -> pd.DataFrame:
        options = self.options
        if self.catalogue is not None:
            return check_galaxies(_with_bricks(self.catalogue.galaxies()), source=f"legacy_survey {options.hats}")
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
        return check_galaxies(_with_bricks(table), source=f"legacy_survey {folder}")

    def lenses(self) -> pd.DataFrame:
        """LENS_COLUMNS of the published lenses; those of no galaxy of this survey have an empty galaxy_id."""
        from skytrace.surveys.lens_catalogue import lens_systems, lenses_of_systems  # it reads by this package

        path = under_data_root(self.options.lens_catalog)
        systems, _ = lens_systems(path)
        self.files_read.add(path)
        if self.catalogue is None:
            near = self._galaxies
        else:
            near = self.catalogue.near(systems["ra"], systems["dec"], MATCH_ARCSEC)
        return lenses_of_systems(systems, near, anchor_fraction=self.options.anchor_fraction)

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
        if self.catalogue is None:
            survey.__dict__["_galaxies"] = self._galaxies  # read once
        else:
            survey.__dict__["catalogue"], survey._found = self.catalogue, self._found
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
        self._look_up(galaxy_ids)
        known = self._indexed if self.catalogue is None else self._found
        assert known is not None  # _look_up has set it
        unknown = ids[known.index.get_indexer(ids) < 0]  # isin would hash the whole catalogue each time
        if len(unknown):
            raise SurveyError(f"legacy_survey has no galaxy {unknown[0]!r} ({len(unknown)} unknown in all)")
        return known.loc[ids].rename_axis("galaxy_id").reset_index()

    def expect(self, galaxy_ids: Sequence[str]) -> None:
        """Look the galaxies up together, so that a HATS catalogue's identifiers are read once for all of them, and note
        the bricks of their cutouts as read: other processes may be those that read them.
        """
        rows = self._rows(galaxy_ids)
        if self.options.route == "bricks":
            for brick in rows["brickname"].unique():
                self.files_read.update(brick_files(self.coadd_folder, str(brick)))

    def _look_up(self, galaxy_ids: Sequence[str]) -> None:
        if self.catalogue is None:
            return
        ids = pd.Index(np.asarray(galaxy_ids, dtype=str).astype(object)).unique()
        new = ids if self._found is None else ids[self._found.index.get_indexer(ids) < 0]
        if len(new) or self._found is None:
            rows = _with_bricks(self.catalogue.rows_of(new.tolist())).set_index("galaxy_id")
            self._found = rows if self._found is None else pd.concat([self._found, rows])

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


def _with_bricks(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the brick of its position where it names none."""
    unnamed = (table["brickname"] == "").to_numpy()
    if unnamed.any():
        table.loc[unnamed, "brickname"] = brick_names(table.loc[unnamed, "ra"], table.loc[unnamed, "dec"])
    return table


def _sky_invvar(rows: pd.DataFrame) -> NDArray[np.float64]:
    """(n, band) inverse variance of a sky pixel by the catalogue, psfdepth Neff."""
    depth = rows[[f"psfdepth_{band}" for band in BANDS]].to_numpy(dtype=float)
    return depth * neff_pixels(rows[[f"psfsize_{band}" for band in BANDS]].to_numpy(dtype=float))


def _empty(n: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    image = np.zeros((n, len(BANDS), size, size), dtype=np.float32)
    return image, np.zeros_like(image), np.zeros((n, size, size), dtype=np.int32)
