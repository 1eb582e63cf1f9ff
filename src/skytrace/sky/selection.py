"""Which galaxies enter the sample, and a ledger of what every filter removed and why (``lens_finder``, stages 1 and 2).

Thresholds marked [P4] are those of the reference search, Inchausti et al. 2025 ("Paper IV").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_choice, check_whole
from skytrace.imaging.photometry import mag_ab
from skytrace.sky.confusers import ConfuserOptions, confuser_categories
from skytrace.sky.crossmatch import crossmatch
from skytrace.sky.identifiers import is_among

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LEDGER_COLUMNS",
    "TIERS",
    "SelectionOptions",
    "check_lenses",
    "check_sky_tables",
    "refuse_nothing_left",
    "select_galaxies",
    "select_positions",
    "selection_filters",
    "sieve",
    "with_labels",
    "with_pools",
]

LEDGER_COLUMNS = ("step", "filter", "rows_in", "rows_out", "removed", "lenses_removed", "reason")
#: Lens tiers, best first.
TIERS = ("confirmed", "A", "B")
_POSITION_FILTERS = ("finite_coordinates", "dec", "near_lens")
_TRACTOR_TYPES = ("SER", "DEV", "REX", "EXP", "PSF", "COMP", "SIMP")
_NEEDED = (
    "galaxy_id", "ra", "dec", "type", "flux_g", "flux_r", "flux_z", "shape_r", "shape_e1", "shape_e2", "sersic",
    "maskbits", "nobs_g", "nobs_r", "nobs_z",
)  # fmt: skip


@dataclass(frozen=True)
class SelectionOptions:
    """dec_min_deg, dec_max_deg: excluded ends [P4]. types: Tractor types kept [P4]. exp_pool: also keep EXP (pool N1b).
    maskbits: DR10 bits that reject. nobs_min: exposures needed in each band [P4]. mag_z_max: AB, excluded end [P4].
    lens_exclusion_arcsec: no negative this close to a known or candidate lens (5" + 2 theta_E,max). confusers: pool N2.
    """

    dec_min_deg: float = -18.0
    dec_max_deg: float = 32.0
    types: tuple[str, ...] = ("SER", "DEV", "REX")
    exp_pool: bool = False
    maskbits: tuple[int, ...] = (1, 5, 6, 7, 11, 12, 13)
    nobs_min: int = 3
    mag_z_max: float = 20.0
    lens_exclusion_arcsec: float = 11.0
    confusers: ConfuserOptions = field(default_factory=ConfuserOptions)

    def __post_init__(self) -> None:
        check_between("dec_min_deg", self.dec_min_deg, -90.0, 90.0)
        check_between("dec_max_deg", self.dec_max_deg, self.dec_min_deg, 90.0, include_low=False)
        if not self.types:
            raise OptionError("types = () keeps no galaxy at all; name at least one Tractor type")
        for kind in self.types:
            check_choice("types", kind, _TRACTOR_TYPES)
        for bit in self.maskbits:
            check_whole("maskbits", bit, 0, 30)
        check_whole("nobs_min", self.nobs_min, 0, 1000)
        check_between("mag_z_max", self.mag_z_max, 10.0, 30.0)
        check_between("lens_exclusion_arcsec", self.lens_exclusion_arcsec, 0.0, 600.0)
        object.__setattr__(self, "types", tuple(self.types))
        object.__setattr__(self, "maskbits", tuple(self.maskbits))
        if isinstance(self.confusers, dict):
            object.__setattr__(self, "confusers", ConfuserOptions(**self.confusers))


def select_galaxies(
    galaxies: pd.DataFrame, lenses: pd.DataFrame, *, options: SelectionOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sample and the filter ledger.

    galaxies: GALAXY_COLUMNS of ``surveys.interface``. lenses: LENS_COLUMNS; a lens becomes a positive through its
    ``galaxy_id``, and passes the same filters as any galaxy but the exclusion around lenses.
    sample: the galaxy columns plus label (1 lens, 0 not), tier ("" for negatives), lens_id, is_anchor, pool ("lens",
    "N1", "N1b" = EXP, "N2" = confusers), confuser_category (primary, "" where none) and a bool column per category.
    ledger: one row a filter, LEDGER_COLUMNS. Raises CatalogueError on an empty table, missing columns, repeated
    galaxy_id, a lens of an unknown galaxy, and when nothing survives.
    """
    options = options or SelectionOptions()
    check_sky_tables(galaxies, lenses)
    sample, ledger = _sieved(with_labels(galaxies, lenses), selection_filters(options, lenses))
    return with_pools(sample, neighbours=galaxies, options=options.confusers), ledger


def with_pools(sample: pd.DataFrame, *, neighbours: pd.DataFrame, options: ConfuserOptions) -> pd.DataFrame:
    """The sample with its confuser categories and its pool. neighbours: the table in which companions are sought."""
    sample = sample.join(confuser_categories(sample, neighbours=neighbours, options=options))
    sample["pool"] = _pool(sample)
    return sample


def select_positions(
    positions: pd.DataFrame, lenses: pd.DataFrame, *, options: SelectionOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The filters that ask for a position alone (coordinates, declination, distance to lenses), for a list of negatives
    without photometry; the others are not passed, and the ledger does not name them.

    positions: galaxy_id, ra, dec [deg]. lenses: LENS_COLUMNS. Returns the rows left with label 0, and the ledger.
    Raises CatalogueError on an empty table, missing columns, repeated galaxy_id, and when nothing survives.
    """
    options = options or SelectionOptions()
    missing = [name for name in ("galaxy_id", "ra", "dec") if name not in positions.columns]
    if positions.empty or missing:
        raise CatalogueError(f"the list of positions is empty or lacks columns {', '.join(missing)}")
    repeated = positions.loc[positions["galaxy_id"].duplicated(), "galaxy_id"]
    if len(repeated):
        raise CatalogueError(f"galaxy_id repeats: {repeated.iloc[0]} ({len(repeated)} repeats in all)")
    filters = [entry for entry in selection_filters(options, lenses) if entry[0] in _POSITION_FILTERS]
    return _sieved(positions.reset_index(drop=True).assign(label=np.int8(0)), filters)


def _sieved(sample: pd.DataFrame, filters: list) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What passes all filters, and the ledger. Raises CatalogueError where nothing does."""
    left, ledger = sieve(sample, filters)
    refuse_nothing_left(ledger)
    return left, ledger


def sieve(sample: pd.DataFrame, filters: list) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What passes all filters, which may be nothing, and the ledger. sample: with a column label."""
    rows = []
    for step, (name, keep, reason) in enumerate(filters, start=1):
        kept = keep(sample)
        rows.append(
            {
                "step": step,
                "filter": name,
                "rows_in": len(sample),
                "rows_out": int(kept.sum()),
                "removed": int((~kept).sum()),
                "lenses_removed": int((~kept & (sample["label"].to_numpy() == 1)).sum()),
                "reason": reason,
            }
        )
        sample = sample[kept]
    return sample.reset_index(drop=True), pd.DataFrame(rows, columns=list(LEDGER_COLUMNS))


def refuse_nothing_left(ledger: pd.DataFrame) -> None:
    """Raise CatalogueError naming the first filter of the ledger that left nothing."""
    for row in ledger[ledger["rows_out"] == 0].itertuples():
        raise CatalogueError(
            f"filter {row.filter!r} (step {row.step}) left none of {ledger['rows_in'].iloc[0]} galaxies: "
            f"{row.reason}; loosen it or check the table's units"
        )


def check_sky_tables(galaxies: pd.DataFrame, lenses: pd.DataFrame) -> None:
    """Raise CatalogueError naming all that keeps the two tables of a survey from being selected from."""
    problems = []
    missing = [name for name in _NEEDED if name not in galaxies.columns]
    if galaxies.empty:
        problems.append("the galaxy table is empty")
    if missing:
        problems.append(f"the galaxy table lacks columns {', '.join(missing)}")
    no_columns, no_tier = _lens_problems(lenses)
    problems += no_columns
    if not problems:
        repeated = galaxies.loc[galaxies["galaxy_id"].duplicated(), "galaxy_id"].unique()
        if len(repeated):
            problems.append(f"galaxy_id repeats: {', '.join(map(str, repeated[:3]))} ({len(repeated)} in all)")
        named = lenses.loc[lenses["galaxy_id"].astype(str) != "", "galaxy_id"]
        present = set(galaxies.loc[galaxies["galaxy_id"].isin(named), "galaxy_id"])
        unknown = named[~named.isin(present)]
        if len(unknown):
            problems.append(f"{len(unknown)} lens(es) name an unknown galaxy, the first {unknown.iloc[0]!r}")
        problems += no_tier
    if problems:
        raise CatalogueError("; ".join(problems))


def check_lenses(lenses: pd.DataFrame) -> None:
    """Raise CatalogueError naming the columns that a lens table lacks, or a tier that is none."""
    no_columns, no_tier = _lens_problems(lenses)
    if problems := no_columns + no_tier:
        raise CatalogueError("; ".join(problems))


def _lens_problems(lenses: pd.DataFrame) -> tuple[list[str], list[str]]:
    """What is wrong with the columns, and what with the tiers."""
    missing = [name for name in ("lens_id", "galaxy_id", "ra", "dec", "tier", "is_anchor") if name not in lenses]
    if missing:
        return [f"the lens table lacks columns {', '.join(missing)}"], []
    tiers = sorted(set(lenses["tier"].astype(str)) - set(TIERS))
    return [], [f"lens tier {tiers[0]!r} is not one of {', '.join(TIERS)}"] if tiers else []


def with_labels(galaxies: pd.DataFrame, lenses: pd.DataFrame) -> pd.DataFrame:
    """The galaxies with label, tier, lens_id and is_anchor; of two lenses at one galaxy the better tier counts."""
    # only of these galaxies: a part of the sky does not compare its rows with the lenses of every other part
    here = is_among(lenses["galaxy_id"], galaxies["galaxy_id"]) & (lenses["galaxy_id"].astype(str) != "")
    named = lenses[here].copy()
    named["rank"] = named["tier"].astype(str).map({tier: rank for rank, tier in enumerate(TIERS)})
    named["is_anchor"] = named.groupby("galaxy_id")["is_anchor"].transform("any").astype(bool)
    best = named.sort_values(["rank", "lens_id"], kind="stable").drop_duplicates("galaxy_id").set_index("galaxy_id")
    sample = galaxies.reset_index(drop=True).copy()
    sample["type"] = sample["type"].astype(str).str.strip()
    key = sample["galaxy_id"]
    sample["label"] = key.isin(best.index).astype(np.int8)
    sample["tier"] = key.map(best["tier"].astype(object)).astype(object).fillna("").astype(str)
    sample["lens_id"] = key.map(best["lens_id"].astype(object)).astype(object).fillna("").astype(str)
    sample["is_anchor"] = key.isin(best.index[best["is_anchor"]])
    return sample


def selection_filters(options: SelectionOptions, lenses: pd.DataFrame) -> list:
    """(name, function of the table -> (n,) bool, reason), in the order of the design page."""
    types = (*options.types, "EXP") if options.exp_pool else options.types
    rejecting = int(sum(1 << int(bit) for bit in options.maskbits))
    low, high = options.dec_min_deg, options.dec_max_deg

    def column(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
        return table[name].to_numpy(dtype=float)

    def far_from_lenses(table: pd.DataFrame) -> NDArray[np.bool_]:
        place = lenses[np.isfinite(column(lenses, "ra")) & np.isfinite(column(lenses, "dec"))]
        positions = column(table, "ra"), column(table, "dec")
        index, _ = crossmatch(*positions, column(place, "ra"), column(place, "dec"), options.lens_exclusion_arcsec)
        return (index < 0) | (table["label"].to_numpy() == 1)

    return [
        (
            "finite_coordinates",
            lambda table: np.isfinite(column(table, "ra")) & np.isfinite(column(table, "dec")),
            "ra or dec is not finite",
        ),
        (
            "dec",
            lambda table: (column(table, "dec") > low) & (column(table, "dec") < high),
            f"dec outside ({low:g}, {high:g}) deg",
        ),
        ("type", lambda table: table["type"].isin(types).to_numpy(), f"type not in {', '.join(types)}"),
        (
            "maskbits",
            lambda table: (table["maskbits"].to_numpy(dtype=np.int64) & rejecting) == 0,
            f"one of maskbits {', '.join(map(str, options.maskbits))} is set",
        ),
        *(
            (
                f"nobs_{band}",
                lambda table, band=band: column(table, f"nobs_{band}") >= options.nobs_min,
                f"fewer than {options.nobs_min} exposures in {band}",
            )
            for band in "grz"
        ),
        ("flux_z", lambda table: column(table, "flux_z") > 0, "flux_z is not positive"),
        (
            "mag_z",
            lambda table: mag_ab(column(table, "flux_z")) < options.mag_z_max,
            f"z magnitude not below {options.mag_z_max:g} AB",
        ),
        (
            "near_lens",
            far_from_lenses,
            f'a negative within {options.lens_exclusion_arcsec:g}" of a known or candidate lens',
        ),
    ]


def _pool(sample: pd.DataFrame) -> NDArray[np.str_]:
    lens = sample["label"].to_numpy() == 1
    exponential = sample["type"].to_numpy() == "EXP"
    confuser = sample["confuser_category"].to_numpy() != ""
    return np.select([lens, exponential, confuser], ["lens", "N1b", "N2"], default="N1")
