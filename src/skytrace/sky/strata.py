"""Negatives matched to the positives by exposures and type, chosen by a hash of the galaxy (``lens_finder``, stage 4).

Rows are ordered by hash(galaxy_id, seed) and the first K of a stratum are taken, so neither row order, chunking nor the
number of partitions enters. What could not be filled is in the ledger, and so is every backfill.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_choice, check_whole
from skytrace.statistics.streams import splitmix64

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["NOBS_Z_BINS", "StrataOptions", "galaxy_hash", "nobs_z_bin", "stratify", "stratify_chunks"]

NOBS_Z_BINS = ("1-2", "3-5", "6-10", "11+")
_NOBS_Z_EDGES = (3, 6, 11)
_HASH_CHUNK = 250_000
_CHUNK_ROWS = 500_000
#: Rows that wait to be cut, beyond twice those wanted: the sooner the bars are set, the fewer rows are ever held.
_WAITING_ROWS = 50_000


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
        check_whole("seed", self.seed, 0, 2**63 - 1)


def galaxy_hash(galaxy_id: ArrayLike, *, seed: int) -> NDArray[np.uint64]:
    """64-bit hash (n,) of galaxy ids: FNV-1a over the code points, seeded, finished with splitmix64.

    Integer arithmetic alone: the same in every version of every library, for an id in any company.
    """
    result = np.empty(len(galaxy_id), dtype=np.uint64)  # type: ignore[arg-type]
    rows = galaxy_id if isinstance(galaxy_id, pd.Series) else pd.Series(np.asarray(galaxy_id, dtype=object))
    start_state = _splitmix64(np.array([seed], dtype=np.uint64))[0] ^ np.uint64(0xCBF29CE484222325)
    for start in range(0, len(rows), _HASH_CHUNK):
        # Python strings of one stretch at a time: all of a survey's would not fit
        text = rows.iloc[start : start + _HASH_CHUNK].to_numpy(dtype=object).astype(str)
        points = np.ascontiguousarray(text).view(np.uint32).reshape(len(text), -1)
        state = np.full(len(text), start_state, dtype=np.uint64)
        for column in points.T:
            mixed = (state ^ column) * np.uint64(0x100000001B3)
            state = np.where(column != 0, mixed, state)  # padding to the longest id must not count
        result[start : start + len(text)] = _splitmix64(state)
    return result


def nobs_z_bin(nobs_z: ArrayLike) -> NDArray[np.str_]:
    """Name (n,) of the bin of z exposures: 1-2, 3-5, 6-10, 11+ (0 counts as the lowest)."""
    return np.array(NOBS_Z_BINS)[_nobs_code(nobs_z)]


def _nobs_code(nobs_z: ArrayLike) -> NDArray[np.intp]:
    return np.searchsorted(_NOBS_Z_EDGES, np.asarray(nobs_z), side="right")


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
    _check_columns(sample)
    _check_repeats(sample["galaxy_id"])
    return stratify_chunks([sample], options=options)


def stratify_chunks(
    chunks: Iterable[pd.DataFrame], *, options: StrataOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``stratify`` of a sample too large for memory: the same rows and ledger, whatever its order and its parts.

    chunks: tables of the columns of ``stratify``, together the sample; iterated over twice (a list of shards, a
    dataset's partitions; not a generator). The first pass counts strata, which settles how many negatives each gives;
    the second keeps that many of the lowest hashes a stratum. Memory: some ten chunks of _CHUNK_ROWS and three times
    the rows chosen. Raises OptionError on what can be read only once, CatalogueError as ``stratify`` (an id repeated
    among rows that nobody takes is not seen), and on chunks of different columns or another content the second time.
    """
    if isinstance(chunks, Iterator):
        raise OptionError("chunks can be read only once; give a list, or an object whose __iter__ starts anew")
    options = options or StrataOptions()
    ledger = _backfilled(_goals(_counts(chunks), options))
    positives, kept = _first_by_hash(chunks, ledger, options)
    rank = kept.groupby(_KEYS).cumcount().to_numpy()
    kept["backfilled"] = rank >= kept.pop("_taken").to_numpy()
    kept, trimmed = _balanced(kept, options)
    ledger["trimmed"] = trimmed.reindex(pd.MultiIndex.from_frame(ledger[_KEYS])).fillna(0).to_numpy(dtype=np.int64)
    chosen = pd.concat([positives.assign(backfilled=False), kept]).sort_values("galaxy_id")
    _check_repeats(chosen["galaxy_id"])
    ledger = ledger.rename(columns={"_split": "split", "_pool": "pool"})
    return chosen.drop(columns=["_hash", "_split", "_pool"]).reset_index(drop=True), ledger[_LEDGER]


_KEYS = ["_split", "type_bin", "_pool", "nobs_z_bin"]
_LEDGER = [
    "split", "nobs_z_bin", "type_bin", "pool", "positives", "goal", "available", "taken", "backfilled", "lent",
    "trimmed", "shortfall",
]  # fmt: skip


def _check_columns(sample: pd.DataFrame) -> None:
    missing = [name for name in ("galaxy_id", "label", "pool", "type", "nobs_z") if name not in sample.columns]
    if missing:
        raise CatalogueError(f"the sample lacks columns {', '.join(missing)}")


def _check_repeats(galaxy_id: pd.Series) -> None:
    repeated = galaxy_id[galaxy_id.duplicated()]
    if len(repeated):
        raise CatalogueError(f"galaxy_id {repeated.iloc[0]!r} repeats in the sample ({len(repeated)} repeats in all)")


def _pieces(chunks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The chunks in stretches of at most _CHUNK_ROWS, with the keys of their strata."""
    columns = None
    for chunk in chunks:
        _check_columns(chunk)
        columns = chunk.columns if columns is None else columns
        if not chunk.columns.equals(columns):
            raise CatalogueError(f"chunks differ in their columns: {list(columns)} and {list(chunk.columns)}")
        for start in range(0, len(chunk), _CHUNK_ROWS):
            piece = chunk.iloc[start : start + _CHUNK_ROWS]
            yield piece.assign(
                nobs_z_bin=pd.Categorical.from_codes(_nobs_code(piece["nobs_z"]), pd.Index(NOBS_Z_BINS)),
                type_bin=piece["type"].astype(str),
                _split=piece["split"].astype(str) if "split" in piece else "",
                _pool=piece["pool"].replace("N1b", "N1").astype(str),
            )


def _counts(chunks: Iterable[pd.DataFrame]) -> pd.Series:
    """Rows of every (is positive, split, type, pool, nobs bin) that occurs."""
    parts = []
    for piece in _pieces(chunks):
        positive = (piece["label"] == 1).rename("_positive")
        parts.append(piece.groupby([positive, *_KEYS], observed=True).size())
    counts = pd.concat(parts).groupby(level=["_positive", *_KEYS]).sum() if parts else pd.Series(dtype=np.int64)
    if not (len(counts) and counts.index.get_level_values("_positive").any()):
        raise CatalogueError("the sample has no positive to match negatives to")
    return counts


def _first_by_hash(
    chunks: Iterable[pd.DataFrame], ledger: pd.DataFrame, options: StrataOptions
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All positives, and of each stratum the first taken + lent negatives by hash, in hash order.

    A bounded heap a stratum, in blocks: rows at or below the stratum's bar collect until they are twice as many as
    wanted, are cut to the first of each stratum, and the last one kept becomes the bar.
    """
    quota = (ledger["taken"] + ledger["lent"]).to_numpy()
    stratum = pd.MultiIndex.from_frame(ledger[_KEYS])
    bar = np.where(quota > 0, np.uint64(2**64 - 1), np.uint64(0))
    positives, kept, waiting = [], [], 0
    for piece in _pieces(chunks):
        place = stratum.get_indexer(pd.MultiIndex.from_frame(piece[_KEYS].astype(str)))
        positive = (piece["label"] == 1).to_numpy()
        if (place[~positive] < 0).any():
            raise CatalogueError("the second reading of the chunks holds strata that the first did not")
        wanted = np.flatnonzero(~positive & (quota[place] > 0))
        hashed = galaxy_hash(piece["galaxy_id"].iloc[wanted], seed=options.seed)
        near = hashed <= bar[place[wanted]]
        positives.append(piece[positive].assign(_hash=galaxy_hash(piece.loc[positive, "galaxy_id"], seed=options.seed)))
        kept.append(piece.iloc[wanted[near]].assign(_hash=hashed[near], _place=place[wanted[near]]))
        waiting += len(kept[-1])
        if waiting > 2 * quota.sum() + _WAITING_ROWS:
            kept = [_cut(kept, quota, bar)]
            waiting = len(kept[0])
    chosen = _cut(kept, quota, bar)
    if not np.array_equal(np.bincount(chosen["_place"], minlength=len(quota)), quota):
        raise CatalogueError("the second reading of the chunks holds fewer rows than the first")
    chosen["_taken"] = ledger["taken"].to_numpy()[chosen.pop("_place")]
    together = pd.concat(positives)
    return together.astype({"nobs_z_bin": str}), chosen.astype({"nobs_z_bin": str})


def _cut(kept: list[pd.DataFrame], quota: NDArray[np.int64], bar: NDArray[np.uint64]) -> pd.DataFrame:
    """The first ``quota`` rows of each stratum in hash order; ``bar`` is lowered to the last of a full one."""
    rows = pd.concat(kept).sort_values(["_hash", "galaxy_id"], ignore_index=True)
    place = rows["_place"].to_numpy()
    rank = rows.groupby("_place").cumcount().to_numpy()
    last = rank == quota[place] - 1
    bar[place[last]] = rows["_hash"].to_numpy()[last]
    return rows[rank < quota[place]].reset_index(drop=True)


def _goals(counts: pd.Series, options: StrataOptions) -> pd.DataFrame:
    """Positives, goal and negatives available of every (split, type, pool, nobs bin), bins in their order."""
    table = counts.rename("rows").reset_index()
    positives, negatives = table[table["_positive"]], table[~table["_positive"]]
    positives = positives[positives["_split"] != "anchor"]
    groups = pd.concat([positives[["_split", "type_bin"]], negatives[["_split", "type_bin"]]]).drop_duplicates()
    groups = groups.sort_values(["_split", "type_bin"])
    grid = groups.merge(pd.DataFrame({"_pool": ["N1", "N2"]}), how="cross")
    grid = grid.merge(pd.DataFrame({"nobs_z_bin": list(NOBS_Z_BINS)}), how="cross")
    keys = ["_split", "type_bin", "nobs_z_bin"]
    asked = positives.astype({"nobs_z_bin": str}).groupby(keys)["rows"].sum()
    grid["positives"] = asked.reindex(pd.MultiIndex.from_frame(grid[keys])).fillna(0).to_numpy(dtype=np.int64)
    whole = np.rint(grid["positives"] * options.negatives_per_positive).astype(np.int64)
    from_n2 = np.rint(whole * options.n2_fraction).astype(np.int64)
    grid["goal"] = np.where(grid["_pool"] == "N2", from_n2, whole - from_n2)
    there = negatives.astype({"nobs_z_bin": str}).groupby(_KEYS)["rows"].sum()
    grid["available"] = there.reindex(pd.MultiIndex.from_frame(grid[_KEYS])).fillna(0).to_numpy(dtype=np.int64)
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


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of splitmix64 (Steele, Lea & Flood 2014): its increment, then the finaliser of the random streams."""
    return splitmix64(state + np.uint64(0x9E3779B97F4A7C15))
