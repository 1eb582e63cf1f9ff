"""Negatives matched to the positives by exposures and type, chosen by a hash of the galaxy (``lens_finder``, stage 4).

Rows are ordered by hash(galaxy_id, seed) and the first K of a stratum are taken, so neither row order, chunking nor the
number of partitions enters. What could not be filled is in the ledger, and so is every backfill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_choice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["NOBS_Z_BINS", "StrataOptions", "galaxy_hash", "nobs_z_bin", "stratify"]

NOBS_Z_BINS = ("1-2", "3-5", "6-10", "11+")
_NOBS_Z_EDGES = (3, 6, 11)
_HASH_CHUNK = 1_000_000


@dataclass(frozen=True)
class StrataOptions:
    """seed: of the order. negatives_per_positive: the goal in every stratum. n2_fraction: share of confusers (N2) among
    all negatives. pool_balance: "trim" drops the surplus pool until the share holds, "record" only writes it down.
    """

    seed: int = 20260101
    negatives_per_positive: float = 100.0
    n2_fraction: float = 0.15
    pool_balance: str = "trim"

    def __post_init__(self) -> None:
        check_between("negatives_per_positive", self.negatives_per_positive, 0.0, 1e6, include_low=False)
        check_between("n2_fraction", self.n2_fraction, 0.0, 1.0, include_low=False, include_high=False)
        check_choice("pool_balance", self.pool_balance, ("trim", "record"))
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"seed = {self.seed!r} is outside its allowed range [0, 2^63)")


def galaxy_hash(galaxy_id: ArrayLike, *, seed: int) -> NDArray[np.uint64]:
    """64-bit hash (n,) of galaxy ids: FNV-1a over the code points, seeded, finished with splitmix64.

    Integer arithmetic of this page alone: the same in every version of every library, for an id in any company.
    """
    ids = np.asarray(galaxy_id, dtype=object)
    result = np.empty(len(ids), dtype=np.uint64)
    start_state = _splitmix64(np.array([seed], dtype=np.uint64))[0] ^ np.uint64(0xCBF29CE484222325)
    for start in range(0, len(ids), _HASH_CHUNK):
        text = ids[start : start + _HASH_CHUNK].astype(str)
        points = np.ascontiguousarray(text).view(np.uint32).reshape(len(text), -1)
        state = np.full(len(text), start_state, dtype=np.uint64)
        for column in points.T:
            mixed = (state ^ column) * np.uint64(0x100000001B3)
            state = np.where(column != 0, mixed, state)  # padding to the longest id must not count
        result[start : start + len(text)] = _splitmix64(state)
    return result


def nobs_z_bin(nobs_z: ArrayLike) -> NDArray[np.str_]:
    """Name (n,) of the bin of z exposures: 1-2, 3-5, 6-10, 11+ (0 counts as the lowest)."""
    return np.array(NOBS_Z_BINS)[np.searchsorted(_NOBS_Z_EDGES, np.asarray(nobs_z), side="right")]


def stratify(sample: pd.DataFrame, *, options: StrataOptions | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All positives, and per split and stratum (nobs_z bin, type) the first negatives by hash; with the ledger.

    sample: galaxy_id (unique), label, pool ("lens", "N1", "N1b", "N2"), type, nobs_z and, where there is one, split
    (each split is matched to its own positives; withheld anchors are kept and ask for none). Goal of a stratum:
    positives x negatives_per_positive, of which n2_fraction from N2 and the rest from N1 (N1b counts as N1). A
    shortfall is backfilled from the nearest nobs bins of the same split, type and pool, lower first; then N1:N2 is
    balanced within every split by dropping the last of the surplus pool by hash (not where the other pool is empty,
    which the ledger shows). Returns the sample sorted by galaxy_id, with nobs_z_bin, type_bin and backfilled; and one
    ledger row a (split, nobs_z_bin, type_bin, pool): positives, goal, available, taken, backfilled (from other bins),
    lent (to other bins), trimmed, shortfall. Raises CatalogueError on missing columns, repeated ids or no positive.
    """
    options = options or StrataOptions()
    table = _prepared(sample, options.seed)
    negatives = table[table["label"] == 0]
    positives = table[(table["label"] == 1) & (table["_split"] != "anchor")]
    goal = _goals(positives, negatives, options)
    counts = negatives.groupby(["_split", "type_bin", "_pool", "nobs_z_bin"]).size()
    goal["available"] = counts.reindex(pd.MultiIndex.from_frame(goal[_KEYS])).fillna(0).to_numpy(dtype=np.int64)
    ledger = _backfilled(goal)

    kept = negatives.merge(ledger[[*_KEYS, "taken", "lent"]], on=_KEYS, how="left")
    rank = kept.groupby(_KEYS).cumcount().to_numpy()
    taken, lent = kept["taken"].fillna(0).to_numpy(), kept["lent"].fillna(0).to_numpy()
    kept["backfilled"] = rank >= taken
    kept = kept[rank < taken + lent].drop(columns=["taken", "lent"])
    kept, trimmed = _balanced(kept, options)
    ledger["trimmed"] = trimmed.reindex(pd.MultiIndex.from_frame(ledger[_KEYS])).fillna(0).to_numpy(dtype=np.int64)

    chosen = pd.concat([table[table["label"] == 1].assign(backfilled=False), kept]).sort_values("galaxy_id")
    ledger = ledger.rename(columns={"_split": "split", "_pool": "pool"})
    return chosen.drop(columns=["_hash", "_split", "_pool"]).reset_index(drop=True), ledger[_LEDGER]


_KEYS = ["_split", "type_bin", "_pool", "nobs_z_bin"]
_LEDGER = [
    "split", "nobs_z_bin", "type_bin", "pool", "positives", "goal", "available", "taken", "backfilled", "lent",
    "trimmed", "shortfall",
]  # fmt: skip


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of Steele, Lea & Flood 2014 (splitmix64)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _prepared(sample: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The sample in hash order, with its bins."""
    missing = [name for name in ("galaxy_id", "label", "pool", "type", "nobs_z") if name not in sample.columns]
    if missing:
        raise CatalogueError(f"the sample lacks columns {', '.join(missing)}")
    repeated = sample["galaxy_id"][sample["galaxy_id"].duplicated()]
    if len(repeated):
        raise CatalogueError(f"galaxy_id {repeated.iloc[0]!r} repeats in the sample ({len(repeated)} repeats in all)")
    if not (sample["label"] == 1).any():
        raise CatalogueError("the sample has no positive to match negatives to")
    table = sample.copy()
    table["nobs_z_bin"] = nobs_z_bin(table["nobs_z"])
    table["type_bin"] = table["type"].astype(str)
    table["_split"] = table["split"].astype(str) if "split" in table else ""
    table["_pool"] = table["pool"].replace("N1b", "N1").astype(str)
    table["_hash"] = galaxy_hash(table["galaxy_id"], seed=seed)
    return table.sort_values(["_hash", "galaxy_id"]).reset_index(drop=True)


def _goals(positives: pd.DataFrame, negatives: pd.DataFrame, options: StrataOptions) -> pd.DataFrame:
    """Positives and goal of every (split, type, pool, nobs bin), bins in their order."""
    groups = pd.concat([positives[["_split", "type_bin"]], negatives[["_split", "type_bin"]]]).drop_duplicates()
    groups = groups.sort_values(["_split", "type_bin"])
    grid = groups.merge(pd.DataFrame({"_pool": ["N1", "N2"]}), how="cross")
    grid = grid.merge(pd.DataFrame({"nobs_z_bin": list(NOBS_Z_BINS)}), how="cross")
    counts = positives.groupby(["_split", "type_bin", "nobs_z_bin"]).size()
    place = pd.MultiIndex.from_frame(grid[["_split", "type_bin", "nobs_z_bin"]])
    grid["positives"] = counts.reindex(place).fillna(0).to_numpy(dtype=np.int64)
    whole = np.rint(grid["positives"] * options.negatives_per_positive).astype(np.int64)
    from_n2 = np.rint(whole * options.n2_fraction).astype(np.int64)
    grid["goal"] = np.where(grid["_pool"] == "N2", from_n2, whole - from_n2)
    return grid.reset_index(drop=True)


def _backfilled(goal: pd.DataFrame) -> pd.DataFrame:
    """The goals with taken, backfilled, lent and shortfall; counts only, a few dozen groups of four bins."""
    n_bins = len(NOBS_Z_BINS)
    wanted = goal["goal"].to_numpy().reshape(-1, n_bins)
    available = goal["available"].to_numpy().reshape(-1, n_bins)
    taken = np.minimum(wanted, available)
    short, spare = wanted - taken, available - taken
    received, lent = np.zeros_like(taken), np.zeros_like(taken)
    for distance in range(1, n_bins):
        for place in range(n_bins):
            for source in (place - distance, place + distance):
                if 0 <= source < n_bins:
                    moved = np.minimum(short[:, place], spare[:, source])
                    short[:, place] -= moved
                    spare[:, source] -= moved
                    received[:, place] += moved
                    lent[:, source] += moved
    return goal.assign(taken=taken.ravel(), backfilled=received.ravel(), lent=lent.ravel(), shortfall=short.ravel())


def _balanced(kept: pd.DataFrame, options: StrataOptions) -> tuple[pd.DataFrame, pd.Series]:
    """``kept`` without the surplus pool of each split, and the number dropped per ledger key."""
    size = kept.groupby(["_split", "_pool"]).size().unstack(fill_value=0).reindex(columns=["N1", "N2"], fill_value=0)
    share = options.n2_fraction
    limit = {}
    for split, row in size.iterrows():
        n1, n2 = int(row["N1"]), int(row["N2"])
        if options.pool_balance == "trim" and n1 and n2:
            n1, n2 = (
                min(n1, max(1, int(np.rint(n2 * (1.0 - share) / share)))),
                min(n2, max(1, int(np.rint(n1 * share / (1.0 - share))))),
            )
        limit[split, "N1"], limit[split, "N2"] = n1, n2
    kept = kept.sort_values(["_hash", "galaxy_id"])
    rank = kept.groupby(["_split", "_pool"]).cumcount().to_numpy()
    limits = pd.Series(limit, dtype=np.int64)
    allowed = limits.reindex(pd.MultiIndex.from_frame(kept[["_split", "_pool"]])).to_numpy()
    return kept[rank < allowed], kept[rank >= allowed].groupby(_KEYS).size()
