"""A galaxy catalogue in HATS, a partition at a time: HEALPix cells of a few hundred thousand rows in Parquet files.

HATS is the layout of LINCC Frameworks' LSDB (Caplar et al. 2025, arXiv:2501.02103). LSDB opens the folder and finds the
partitions and their margins (rows just beyond a border, kept twice); workers read the files and need no LSDB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.compute.parquet import read_parquet
from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.sky.crossmatch import crossmatch
from skytrace.sky.identifiers import is_among
from skytrace.sky.split import healpix_cell
from skytrace.surveys.interface import BANDS, GALAXY_COLUMNS
from skytrace.surveys.legacy_survey.sweeps import within_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["HatsCatalogue", "Partition", "open_hats"]

_ID_COLUMNS = ("release", "brickid", "objid")
_WHOLE = ("maskbits", *(f"nobs_{band}" for band in BANDS))
_TEXT = ("galaxy_id", "type", "brickname")
#: Fluxes of a partition from which on their median magnitude says whether they are nanomaggies.
_ROWS_TO_JUDGE = 100
#: Libraries may put a row on the very border into either cell.
_BORDER_ARCSEC = 0.1


@dataclass(frozen=True)
class Partition:
    """A nested HEALPix cell ``pixel`` of ``order``, the file of its rows, and that of its margin (None: empty)."""

    order: int
    pixel: int
    file: Path
    margin: Path | None = None

    @property
    def name(self) -> str:
        """Order and pixel."""
        return f"Norder={self.order}-Npix={self.pixel}"


@dataclass(frozen=True)
class HatsCatalogue:
    """What is known of a HATS catalogue without reading its rows; small, and can be pickled.

    stored: name in the files of every column that is read. margin_arcsec: how far margins reach, 0 where there are
    none. mag_z_limit, sky_box_deg: rows beyond them are skipped while reading, as in LegacySurveyOptions.
    """

    folder: Path
    partitions: tuple[Partition, ...]
    stored: tuple[tuple[str, str], ...]
    margin_arcsec: float = 0.0
    mag_z_limit: float | None = None
    sky_box_deg: tuple[float, float, float, float] | None = None

    def read(self, partition: Partition, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """GALAXY_COLUMNS (``columns`` of them) and brickname of a partition's own rows, in the file's order.

        Raises SurveyError on a damaged file, CatalogueError on rows that do not lie in the partition's cell and on
        fluxes that are not nanomaggies.
        """
        table = self._read(partition.file, columns)
        if len(table):
            _check_cell(table, partition)
            _check_flux(table, partition)
        return table

    def read_margin(self, partition: Partition) -> pd.DataFrame:
        """Rows of other partitions near this one's border; the columns of ``read``."""
        if partition.margin is None:
            return self._read(partition.file, None).iloc[:0]
        return self._read(partition.margin, None)

    def chunks(self) -> Iterator[pd.DataFrame]:
        """The rows of each partition, in their order."""
        for partition in self.partitions:
            yield self.read(partition)

    def galaxies(self) -> pd.DataFrame:
        """All rows at once: for catalogues that fit."""
        return pd.concat(self.chunks(), ignore_index=True)

    def near(self, ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> pd.DataFrame:
        """galaxy_id, ra and dec of the galaxies within ``radius_arcsec`` of any position [deg], in partition order."""
        ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
        finite = np.isfinite(ra) & np.isfinite(dec)
        found = []
        for partition in self._touched(ra[finite], dec[finite], radius_arcsec):
            table = self.read(partition, ("galaxy_id", "ra", "dec"))
            index, _ = crossmatch(table["ra"], table["dec"], ra[finite], dec[finite], radius_arcsec)
            found.append(table[index >= 0])
        if not found:
            return pd.DataFrame({"galaxy_id": pd.Series(dtype=str), "ra": np.empty(0), "dec": np.empty(0)})
        return pd.concat(found, ignore_index=True)

    def rows_of(self, galaxy_ids: Sequence[str]) -> pd.DataFrame:
        """The rows of these galaxies, in partition order; identifiers that are not there are left out. Reads every
        partition's identifiers.
        """
        wanted, found = set(galaxy_ids), []
        for partition in self.partitions:
            if not wanted:
                break
            here = is_among(self.read(partition, ("galaxy_id", "ra", "dec"))["galaxy_id"], wanted)
            if here.any():
                found.append(self.read(partition)[here])
                wanted -= set(found[-1]["galaxy_id"])
        return pd.concat(found, ignore_index=True) if found else self.read(self.partitions[0]).iloc[:0]

    def _touched(self, ra: NDArray, dec: NDArray, radius_arcsec: float) -> list[Partition]:
        from astropy import units
        from astropy_healpix import HEALPix

        cells: set[tuple[int, int]] = set()
        for order in sorted({partition.order for partition in self.partitions}):
            grid = HEALPix(nside=2**order, order="nested")
            for lon, lat in zip(ra * units.deg, dec * units.deg, strict=True):
                around = grid.cone_search_lonlat(lon, lat, (radius_arcsec + _BORDER_ARCSEC) * units.arcsec)
                cells.update((order, int(cell)) for cell in around)
        return [partition for partition in self.partitions if (partition.order, partition.pixel) in cells]

    @cached_property
    def _names(self) -> dict[str, str]:
        return dict(self.stored)

    def _read(self, file: Path, columns: Sequence[str] | None) -> pd.DataFrame:
        names = self._names
        asked = [name for name in names if columns is None or name in (*columns, *self._limits())]
        if columns is not None and "galaxy_id" in columns and "galaxy_id" not in names:
            asked += [name for name in _ID_COLUMNS if name not in asked]
        table = read_parquet(file, columns=[names[name] for name in asked], error=SurveyError)
        table = table.rename(columns={names[name]: name for name in asked})[asked]
        raw = {name: table[name].to_numpy() for name in self._limits()} or {"ra": table["ra"].to_numpy()}
        table = table[within_limits(raw, self.mag_z_limit, self.sky_box_deg)]
        return _galaxies(table.reset_index(drop=True), columns)

    def _limits(self) -> tuple[str, ...]:
        return ("ra", "dec", "flux_z") if self.mag_z_limit is not None or self.sky_box_deg is not None else ()


def open_hats(
    folder: Path,
    *,
    margin: Path | None = None,
    mag_z_limit: float | None = None,
    sky_box_deg: tuple[float, float, float, float] | None = None,
) -> HatsCatalogue:
    """The HATS catalogue or collection in ``folder``. margin: the folder of its margins (None: a collection's default).

    Raises OptionError where LSDB is not installed, SurveyError for a folder that is no HATS catalogue, CatalogueError
    naming all columns that it lacks.
    """
    try:
        import lsdb
        from hats.io.paths import pixel_catalog_file
    except ImportError as error:
        raise OptionError(
            f"the catalogue {folder} is HATS, and LSDB, which opens it, is not installed: pip install 'skytrace[hats]'"
        ) from error
    if not Path(folder).is_dir():
        raise SurveyError(f"no folder {folder}; it must hold a HATS catalogue (docs/scale.md says how to make one)")
    try:
        opened: Any = lsdb.open_catalog(folder, columns="all", margin_cache=margin)
    except Exception as error:  # LSDB and HATS answer with many kinds
        raise SurveyError(
            f"{folder} is no HATS catalogue ({error}); it must hold hats.properties or collection.properties and "
            "dataset/Norder=*/Dir=*/Npix=*.parquet. docs/scale.md says how to make one"
        ) from error

    def files(dataset: Any) -> dict[tuple[int, int], Path]:
        """The file of each cell (order, pixel)."""
        base, suffix = dataset.hc_structure.catalog_base_dir, dataset.hc_structure.catalog_info.npix_suffix
        pixels = dataset.get_ordered_healpix_pixels()
        return {
            (int(cell.order), int(cell.pixel)): Path(str(pixel_catalog_file(base, cell, npix_suffix=suffix)))
            for cell in pixels
        }

    beside = files(opened.margin) if opened.margin is not None else {}
    reach = float(opened.margin.hc_structure.catalog_info.margin_threshold) if opened.margin is not None else 0.0
    partitions = tuple(Partition(*cell, file, beside.get(cell)) for cell, file in files(opened).items())
    stored = _stored(list(opened.hc_structure.schema.names), folder)
    return HatsCatalogue(Path(folder), partitions, stored, reach, mag_z_limit, sky_box_deg)


def _stored(names: list[str], folder: Path) -> tuple[tuple[str, str], ...]:
    """(our name, name in the files) of the columns to read; case does not matter."""
    known = {name.lower(): name for name in names}
    identifier = ("galaxy_id",) if "galaxy_id" in known else _ID_COLUMNS
    wanted = (*identifier, *(name for name in GALAXY_COLUMNS if name != "galaxy_id"))
    missing = [name for name in wanted if name not in known]
    if missing:
        or_id = " (or galaxy_id in place of release, brickid, objid)" if set(missing) & set(_ID_COLUMNS) else ""
        raise CatalogueError(f"HATS catalogue {folder} lacks columns {', '.join(missing)}{or_id}")
    return tuple((name, known[name]) for name in (*wanted, "brickname") if name in known)


def _galaxies(table: pd.DataFrame, columns: Sequence[str] | None) -> pd.DataFrame:
    """The names and types of a sweep's table (``surveys.legacy_survey.sweeps``)."""
    if "galaxy_id" not in table and "objid" in table:
        parts = [table[name].astype(np.int64).astype(str) for name in _ID_COLUMNS]
        table = table.assign(galaxy_id=parts[0] + "-" + parts[1] + "-" + parts[2])
    if columns is None and "brickname" not in table:
        table = table.assign(brickname="")
    kept = {}
    for name in columns or (*GALAXY_COLUMNS, "brickname"):
        kind: Any = str if name in _TEXT else np.int64 if name in _WHOLE else np.float64
        kept[name] = table[name].astype(kind)
    return pd.DataFrame(kept)


def _check_cell(table: pd.DataFrame, partition: Partition) -> None:
    """Rows in another cell: positions in other units, or another catalogue's file."""
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    nside = 2**partition.order
    possible = np.isfinite(ra) & (np.abs(dec) <= 90.0)
    outside = ~possible
    outside[possible] = healpix_cell(ra[possible], dec[possible], nside=nside) != partition.pixel
    rows = np.flatnonzero(outside & possible)
    if len(rows):
        outside[rows] = healpix_cell(*_pulled_in(ra[rows], dec[rows], partition), nside=nside) != partition.pixel
    if outside.any():
        row = int(np.argmax(outside))
        raise CatalogueError(
            f"{int(outside.sum())} of {len(table)} rows of {partition.file} do not lie in its cell ({partition.name}), "
            f"the first at ra = {ra[row]}, dec = {dec[row]}: positions must be ICRS degrees, those it was divided by"
        )


def _pulled_in(ra: NDArray, dec: NDArray, partition: Partition) -> tuple[NDArray, NDArray]:
    """The positions moved by _BORDER_ARCSEC towards the middle of the cell."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy_healpix import HEALPix

    lon, lat = HEALPix(nside=2**partition.order, order="nested").healpix_to_lonlat(partition.pixel)
    here, middle = SkyCoord(ra * units.deg, dec * units.deg), SkyCoord(lon, lat)
    moved = here.directional_offset_by(here.position_angle(middle), _BORDER_ARCSEC * units.arcsec)
    return moved.ra.deg, moved.dec.deg


def _check_flux(table: pd.DataFrame, partition: Partition) -> None:
    if "flux_r" not in table:
        return
    flux = table["flux_r"].to_numpy()
    flux = flux[np.isfinite(flux) & (flux > 0)]
    if len(flux) < _ROWS_TO_JUDGE:
        return
    median = 22.5 - 2.5 * np.log10(np.median(flux))
    if not 12.0 <= median <= 28.0:
        raise CatalogueError(f"{partition.file} has a median r magnitude of {median:.1f}: flux_r is not in nanomaggies")
