"""DR10.1 sweep tables (FITS binary tables) into GALAXY_COLUMNS, a bounded number of rows at a time.

Only the rows' bytes are read, from the offset that the header gives: a 5 GB sweep never lies in memory. Column names
are matched whatever their case; the identifier is RELEASE-BRICKID-OBJID, unique in a data release.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import SurveyError
from skytrace.surveys.fits_files import open_fits
from skytrace.surveys.interface import BANDS, GALAXY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["read_sweep", "sweep_chunks", "within_limits"]

_ID_COLUMNS = ("release", "brickid", "objid")
_COPIED = tuple(name for name in GALAXY_COLUMNS if name != "galaxy_id")
_OPTIONAL = ("brickname",)
_NEEDED = (*_ID_COLUMNS, *_COPIED)


def read_sweep(
    path: Path,
    *,
    chunk_rows: int = 200_000,
    mag_z_limit: float | None = None,
    sky_box_deg: tuple[float, float, float, float] | None = None,
) -> pd.DataFrame:
    """GALAXY_COLUMNS and brickname ("" where the sweep has none) of the rows inside the limits, in the file's order."""
    chunks = [
        _galaxies(rows[within_limits(rows, mag_z_limit, sky_box_deg)])
        for rows in sweep_chunks(path, chunk_rows=chunk_rows)
    ]
    if not chunks:
        return pd.DataFrame(columns=[*GALAXY_COLUMNS, "brickname"])
    return pd.concat(chunks, ignore_index=True)


def sweep_chunks(path: Path, *, chunk_rows: int) -> Iterator[NDArray]:
    """Structured arrays of at most ``chunk_rows`` rows with the needed columns, lower-case names, native byte order.

    Raises SurveyError naming the file if it is not a table, lacks columns (all of them named), or is shorter than its
    header says.
    """
    from astropy.io import fits

    with open_fits(path, label=f"sweep {path}", whole=False) as hdus:
        table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
        if table is None or isinstance(table, fits.CompImageHDU):
            raise SurveyError(f"sweep {path} holds no binary table")
        # FITS is big-endian, whatever astropy says of a table that it has not read
        layout = table.columns.dtype.newbyteorder(">")
        rows, offset = int(table.header["NAXIS2"]), table.fileinfo()["datLoc"]
        scales = {c.name.lower(): (c.bscale, c.bzero) for c in table.columns}
        unsupported = [c.name for c in table.columns if c.name.lower() in _NEEDED and c.format.strip()[-1] in "XPQ"]
    stored = {name.lower(): name for name in layout.names}
    missing = [name for name in _NEEDED if name not in stored]
    if missing or unsupported:
        raise SurveyError(
            f"sweep {path} lacks columns {', '.join(missing) or '(none)'}"
            + (f" and stores {', '.join(unsupported)} in a form that is not a plain value" if unsupported else "")
            + "; a DR10.1 sweep (sweep-*.fits of south/sweep/10.1) has them all"
        )
    wanted = [name for name in (*_NEEDED, *_OPTIONAL) if name in stored]
    whole_rows = max(path.stat().st_size - offset, 0) // layout.itemsize
    if whole_rows < rows:
        raise SurveyError(f"sweep {path} ends in row {whole_rows} of {rows}: truncated")
    with path.open("rb") as file:
        file.seek(offset)
        for start in range(0, rows, chunk_rows):
            count = min(chunk_rows, rows - start)
            block = np.frombuffer(file.read(count * layout.itemsize), dtype=layout)
            columns = {name: _physical(block[stored[name]], *scales[name]) for name in wanted}
            chunk = np.empty(count, dtype=[(name, values.dtype) for name, values in columns.items()])
            for name, values in columns.items():
                chunk[name] = values
            yield chunk


def _physical(values: NDArray, scale: float | str | None, zero: float | str | None) -> NDArray:
    """FITS values in native byte order, TSCAL and TZERO applied."""
    if values.dtype.kind in "SU":
        return np.char.strip(np.char.decode(values, "ascii") if values.dtype.kind == "S" else values)
    native = values.astype(values.dtype.newbyteorder("="))
    if scale in (None, "", 1, 1.0) and zero in (None, "", 0, 0.0):
        return native
    factor, shift = (1.0 if scale in (None, "") else float(scale)), (0.0 if zero in (None, "") else float(zero))
    if native.dtype.kind in "iu" and factor == 1.0:
        return native.astype(np.int64) + int(shift)
    return native * factor + shift


def within_limits(
    rows: Any, mag_z_limit: float | None, sky_box_deg: tuple[float, float, float, float] | None
) -> NDArray[np.bool_]:
    """Which rows (anything with arrays flux_z, ra, dec by name) are brighter than the limit and in the box, (n,)."""
    keep = np.ones(len(rows["ra"]), dtype=bool)
    if mag_z_limit is not None:
        # a flux that is not positive has no magnitude: it is fainter than any limit
        keep &= rows["flux_z"] > 10.0 ** (0.4 * (22.5 - mag_z_limit))
    if sky_box_deg is not None:
        ra_min, ra_max, dec_min, dec_max = sky_box_deg
        inside = (rows["ra"] >= ra_min) & (rows["ra"] <= ra_max)
        if ra_min > ra_max:
            inside = (rows["ra"] >= ra_min) | (rows["ra"] <= ra_max)
        keep &= inside & (rows["dec"] >= dec_min) & (rows["dec"] <= dec_max)
    return keep


def _galaxies(rows: NDArray) -> pd.DataFrame:
    ids = (rows[name].astype(np.int64) for name in _ID_COLUMNS)
    table: dict[str, Any] = {
        "galaxy_id": [f"{release}-{brickid}-{objid}" for release, brickid, objid in zip(*ids, strict=True)]
    }
    for name in _COPIED:
        values = rows[name]
        if name in ("maskbits", *(f"nobs_{band}" for band in BANDS)):
            values = values.astype(np.int64)
        elif values.dtype.kind == "f":
            values = values.astype(np.float64)
        table[name] = values
    table["brickname"] = (
        rows["brickname"] if "brickname" in (rows.dtype.names or ()) else np.full(len(rows), "", dtype=object)
    )
    frame = pd.DataFrame(table)
    frame["type"] = frame["type"].astype(str)
    frame["brickname"] = frame["brickname"].astype(str)
    return frame[[*GALAXY_COLUMNS, "brickname"]]
