"""Train, validation or test by sky: whole HEALPix cells, decided by a hash of the cell and the seed alone.

The first 8 bytes (big-endian) of sha256("{cell}:{seed}") mapped to [0, 1) fall in train, val or test by the cumulated
fractions, in this order (design page ``lens_finder``, stage 3). No table, row order or partition enters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SPLITS", "SplitOptions", "assign_split", "healpix_cell", "split_of_cells", "withhold_anchors"]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitOptions:
    """seed: of the hash. nside: HEALPix resolution, a power of two (128: cells of 0.46 deg). fractions: the shares of
    the sky of train, val, test.
    """

    seed: int = 20260101
    nside: int = 128
    fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)

    def __post_init__(self) -> None:
        check_whole("nside", self.nside, 1, 8192)
        if int(self.nside) & (int(self.nside) - 1):
            raise OptionError(f"nside = {self.nside!r} is not a power of two (nested HEALPix needs one)")
        check_whole("seed", self.seed, 0, 2**63 - 1)
        if len(self.fractions) != len(SPLITS):
            raise OptionError(f"fractions = {self.fractions!r} must be three numbers: {', '.join(SPLITS)}")
        for name, fraction in zip(SPLITS, self.fractions, strict=True):
            check_between(f"fractions.{name}", fraction, 0.0, 1.0)
        if abs(sum(self.fractions) - 1.0) > 1e-9:
            raise OptionError(f"fractions = {self.fractions!r} add up to {sum(self.fractions):g}, not 1")
        object.__setattr__(self, "fractions", tuple(float(fraction) for fraction in self.fractions))


def healpix_cell(ra: ArrayLike, dec: ArrayLike, *, nside: int = 128) -> NDArray[np.int64]:
    """Nested HEALPix cell (n,) of ICRS positions [deg]. Raises CatalogueError on non-finite or impossible positions."""
    from astropy import units
    from astropy_healpix import HEALPix

    ra, dec = np.atleast_1d(np.asarray(ra, dtype=np.float64)), np.atleast_1d(np.asarray(dec, dtype=np.float64))
    impossible = ~(np.isfinite(ra) & (np.abs(dec) <= 90.0))
    if impossible.any():
        row = int(np.flatnonzero(impossible)[0])
        raise CatalogueError(f"row {row} has no place on the sky: ra = {ra[row]}, dec = {dec[row]} deg")
    cells = HEALPix(nside=nside, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
    return np.asarray(cells, dtype=np.int64)


def split_of_cells(
    cells: ArrayLike, *, seed: int, fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
) -> NDArray[np.str_]:
    """Split name (n,) of HEALPix cells; each distinct cell is hashed once."""
    unique, inverse = np.unique(np.asarray(cells, dtype=np.int64), return_inverse=True)
    digests = b"".join(hashlib.sha256(f"{cell}:{seed}".encode()).digest()[:8] for cell in unique.tolist())
    # 53 leading bits: the largest double stays below 1
    uniform = (np.frombuffer(digests, dtype=">u8").astype(np.uint64) >> np.uint64(11)) * 2.0**-53
    chosen = np.searchsorted(np.cumsum(fractions)[:-1], uniform, side="right")
    return np.array(SPLITS)[chosen][inverse]


def assign_split(
    ra: ArrayLike,
    dec: ArrayLike,
    *,
    nside: int = 128,
    seed: int,
    fractions: tuple[float, float, float] = (0.70, 0.15, 0.15),
) -> NDArray[np.str_]:
    """Split ("train", "val" or "test") of ICRS positions [deg], (n,). The same position always gets the same answer."""
    options = SplitOptions(seed=seed, nside=nside, fractions=fractions)
    return split_of_cells(healpix_cell(ra, dec, nside=options.nside), seed=seed, fractions=options.fractions)


def withhold_anchors(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Move evaluation anchors out of train and val, into the split "anchor", which nothing is trained on.

    table: columns split, is_anchor. Returns the table (a copy) and a ledger row in the form of ``select_galaxies``.
    """
    import pandas as pd

    withheld = table["is_anchor"].to_numpy(dtype=bool) & table["split"].isin(["train", "val"]).to_numpy()
    table = table.copy()
    table.loc[withheld, "split"] = "anchor"
    row = {
        "step": 1,
        "filter": "anchor",
        "rows_in": len(table),
        "rows_out": len(table) - int(withheld.sum()),
        "removed": int(withheld.sum()),
        "reason": "evaluation anchor in a train or val cell: withheld, never trained on",
    }
    return table, pd.DataFrame([row])
