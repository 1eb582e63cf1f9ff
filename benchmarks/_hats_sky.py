"""A made-up survey as a HATS catalogue of any size, written a cell at a time: what ``catalogue_scale`` reads.

Cells of order 3 hold CELL_ROWS rows each, so that a larger survey has more cells and not larger ones. Measured columns
are one block of CELL_ROWS drawn rows, rolled from cell to cell; positions and identifiers are each row's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["CELL_ROWS", "MARGIN_ARCSEC", "write_sky"]

ORDER, CELL_ROWS, MARGIN_ARCSEC = 3, 50_000, 10.0
_SEED, _LENSES_PER_CELL = 20261122, 50
#: Only the first cells have known lenses: a larger survey has more sky, and as many lenses.
_LENS_CELLS = 5
#: Distance from a cell's border, in cells, beyond which no row is in a margin (1 is some 7 deg).
_NEAR = 0.003


def write_sky(folder: Path, rows: int) -> pd.DataFrame:
    """Write a collection of ``rows`` galaxies with its margins; the table of its lenses."""
    cells = np.arange(-(-rows // CELL_ROWS))
    block = _block()
    beyond: dict[int, list[pd.DataFrame]] = {}
    lenses, sizes = [], []
    for cell in cells:
        n = min(CELL_ROWS, rows - int(cell) * CELL_ROWS)
        table = _cell(int(cell), n, block)
        for other, part in _margins(table, int(cell), set(cells.tolist())):
            beyond.setdefault(other, []).append(part)
        if cell < _LENS_CELLS:
            lenses.append(table[["galaxy_id", "ra", "dec"]].iloc[:: max(n // _LENSES_PER_CELL, 1)][:_LENSES_PER_CELL])
        sizes.append(n)
        _write(table, folder / "galaxies", int(cell))
    if not beyond:  # one cell alone has a margin without a row
        beyond[0] = [table.iloc[:0]]
    for other, parts in beyond.items():
        _write(pd.concat(parts, ignore_index=True), folder / "margin", other)
    common = f"hats_col_ra=ra\nhats_col_dec=dec\nhats_npix_suffix=.parquet\nhats_order={ORDER}\n"
    healpix = "hats_col_healpix=_healpix_29\nhats_col_healpix_order=29\n"
    _describe(folder / "galaxies", cells, f"dataproduct_type=object\nhats_nrows={sum(sizes)}\n{common}{healpix}")
    n_margin = sum(len(part) for parts in beyond.values() for part in parts)
    words = f"hats_primary_table_url=galaxies\nhats_margin_threshold={MARGIN_ARCSEC}\n"
    _describe(folder / "margin", sorted(beyond), f"dataproduct_type=margin\nhats_nrows={n_margin}\n{words}{common}")
    (folder / "collection.properties").write_text(
        "obs_collection=made_up\nhats_primary_table_url=galaxies\nall_margins=margin\ndefault_margin=margin\n"
    )
    together = pd.concat(lenses, ignore_index=True)
    names = [f"lens-{number:06d}" for number in range(len(together))]
    return together.assign(lens_id=names, tier="A", theta_e_arcsec=1.5, is_anchor=np.arange(len(names)) % 3 == 0)


def _block() -> dict[str, Any]:
    from skytrace.surveys.interface import GALAXY_COLUMNS

    rng = np.random.default_rng(_SEED)
    own = ("galaxy_id", "ra", "dec", "type", "maskbits", "nobs_g", "nobs_r", "nobs_z", "flux_g", "flux_r", "flux_z")
    block: dict[str, Any] = {
        name: rng.uniform(0.2, 1.5, CELL_ROWS).astype(np.float32) for name in GALAXY_COLUMNS if name not in own
    }
    block["type"] = rng.choice(["SER", "DEV", "REX", "EXP", "PSF"], CELL_ROWS, p=[0.2, 0.1, 0.3, 0.2, 0.2])
    block["maskbits"] = np.where(rng.random(CELL_ROWS) < 0.05, 2, 0).astype(np.int16)
    for band in "grz":
        block[f"flux_{band}"] = (10.0 ** rng.uniform(0.3, 1.8, CELL_ROWS)).astype(np.float32)
        block[f"nobs_{band}"] = rng.poisson(6.0, CELL_ROWS).astype(np.int16)
    return block


def _cell(cell: int, n: int, block: dict[str, Any]) -> pd.DataFrame:
    """n rows of a cell, at random order-29 places within it, in their order."""
    from astropy_healpix import healpix_to_lonlat

    inside = 4 ** (29 - ORDER)
    place = np.sort(np.random.default_rng([_SEED, cell]).integers(0, inside, n)) + cell * inside
    lon, lat = healpix_to_lonlat(place, 2**29, order="nested")
    columns = {"_healpix_29": place, "galaxy_id": [f"10000-{300000 + cell}-{number}" for number in range(n)]}
    rolled = {name: np.roll(values, 977 * cell)[:n] for name, values in block.items()}
    return pd.DataFrame({**columns, "ra": lon.to_value("deg"), "dec": lat.to_value("deg"), **rolled})


def _margins(table: pd.DataFrame, cell: int, cells: set[int]) -> list[tuple[int, pd.DataFrame]]:
    """The rows that lie within the margin of another cell, by that cell."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy_healpix import lonlat_to_healpix

    lon, lat = (table[name].to_numpy() * units.deg for name in ("ra", "dec"))
    _, dx, dy = lonlat_to_healpix(lon, lat, 2**ORDER, return_offsets=True, order="nested")
    near = np.flatnonzero(np.minimum(np.minimum(dx, 1 - dx), np.minimum(dy, 1 - dy)) < _NEAR)
    here = SkyCoord(lon[near], lat[near])
    found: dict[int, set[int]] = {}
    for share in (0.35, 0.7, 1.0):
        for angle in np.arange(0.0, 360.0, 22.5):
            moved = here.directional_offset_by(angle * units.deg, share * MARGIN_ARCSEC * units.arcsec)
            at = lonlat_to_healpix(moved.ra, moved.dec, 2**ORDER, order="nested")
            for row in np.flatnonzero(at != cell):
                found.setdefault(int(at[row]), set()).add(int(near[row]))
    return [(other, table.iloc[sorted(rows)]) for other, rows in found.items() if other in cells]


def _write(table: pd.DataFrame, folder: Path, cell: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "dataset" / f"Norder={ORDER}" / "Dir=0" / f"Npix={cell}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(arrow, path, compression="none", use_dictionary=["type"])
    if not (folder / "dataset" / "_common_metadata").exists():
        pq.write_metadata(arrow.schema, folder / "dataset" / "_common_metadata")


def _describe(folder: Path, cells: Any, properties: str) -> None:
    table = pd.DataFrame({"Norder": ORDER, "Npix": list(cells)})
    table.to_csv(folder / "partition_info.csv", index=False)
    (folder / "hats.properties").write_text(f"obs_collection={folder.name}\n{properties}hats_version=v1.0\n")
