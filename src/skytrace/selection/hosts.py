"""Which galaxies may carry an injected lens, and in which cell.

A host is a galaxy that the detector never saw: not a lens, not near one, not in its training or validation by id or by
position. It belongs to the (PSF, depth) condition of its own sky ("matched"). Where a condition has too few, hosts of
sharper and deeper sky are degraded to it ("degraded"), never the reverse; one condition uses one of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, LeakageError, check_between, check_choice, check_whole
from skytrace.imaging.photometry import band_columns, mag_ab, mag_depth
from skytrace.selection.condition_sky import SkyRelation
from skytrace.sky import crossmatch, galaxy_hash
from skytrace.statistics.streams import splitmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.selection.grid import SelectionGrid

__all__ = ["TARGET_COLUMNS", "HostOptions", "eligible_hosts", "hosts_in_use", "match_hosts", "verify_hosts"]

_SPLITS_SEEN = ("train", "val")
#: Sky of a condition, for degraded hosts: psfsize [arcsec] and psfdepth [nanomaggies^-2].
TARGET_COLUMNS = tuple(f"target_{name}_{band}" for name in ("psfsize", "psfdepth") for band in "grz")


@dataclass(frozen=True)
class HostOptions:
    """host_splits: "test" (the detector's own sky: its test split) or "any" (a sky it never saw; checked all the same).
    min_matched_hosts: below this a condition turns to degraded hosts, if they are more. max_hosts_per_cell: hosts of a
    condition, chosen by a hash of galaxy and condition. max_injections_per_host: of one cell; few hosts then leave a
    cell insufficient rather than repeating themselves. degraded_hosts: whether degrading is allowed.
    exclusion_radius_arcsec: a host this close to anything in training or validation, or to a lens, is a leak. seed: of
    the choice by hash.
    """

    host_splits: str = "test"
    min_matched_hosts: int = 20
    max_hosts_per_cell: int = 60
    max_injections_per_host: int = 20
    degraded_hosts: bool = True
    exclusion_radius_arcsec: float = 1.0
    min_g_r: float | None = None
    seed: int = 20260301

    def __post_init__(self) -> None:
        check_choice("host_splits", self.host_splits, ("test", "any"))
        check_whole("min_matched_hosts", self.min_matched_hosts, 1, 1_000_000)
        check_whole("max_hosts_per_cell", self.max_hosts_per_cell, 1, 1_000_000)
        check_whole("max_injections_per_host", self.max_injections_per_host, 1, 1_000_000)
        check_between("exclusion_radius_arcsec", self.exclusion_radius_arcsec, 0.0, 60.0)
        if self.min_g_r is not None:
            check_between("min_g_r", self.min_g_r, -2.0, 4.0)
        check_whole("seed", self.seed, 0, 2**63 - 1)


def eligible_hosts(
    galaxies: pd.DataFrame,
    lenses: pd.DataFrame,
    split: pd.DataFrame,
    *,
    options: HostOptions | None = None,
) -> pd.DataFrame:
    """The galaxies that may be hosts, sorted by galaxy_id.

    galaxies: selected galaxies (GALAXY_COLUMNS; rows with label 1 are dropped). lenses: the survey's lens table. split:
    the detector's galaxies (galaxy_id, ra, dec, split). With host_splits "test" only its test split remains; with "any"
    everything that is not in it. Raises CatalogueError on missing columns, repeated ids, and when no host is left.
    """
    options = options or HostOptions()
    needed = ["galaxy_id", *(f"{name}_{band}" for name in ("psfsize", "psfdepth") for band in "grz")]
    needed += ["flux_g", "flux_r"] if options.min_g_r is not None else []
    missing = [name for name in needed if name not in galaxies.columns]
    if missing:
        raise CatalogueError(f"host candidates lack the columns {', '.join(missing)}")
    repeated = galaxies["galaxy_id"][galaxies["galaxy_id"].duplicated()]
    if len(repeated):
        raise CatalogueError(f"host candidates repeat galaxy_id {repeated.iloc[0]} ({repeated.nunique()} such ids)")
    hosts = galaxies[galaxies["label"] == 0] if "label" in galaxies else galaxies
    hosts = hosts[~hosts["galaxy_id"].isin(lenses["galaxy_id"])]
    if options.host_splits == "test":
        hosts = hosts[hosts["galaxy_id"].isin(split["galaxy_id"][split["split"] == "test"])]
    if options.min_g_r is not None:
        hosts = hosts[mag_ab(hosts["flux_g"]) - mag_ab(hosts["flux_r"]) >= options.min_g_r]
    finite = np.isfinite(hosts[["psfsize_r", "psfdepth_r"]].to_numpy(dtype=float)).all(axis=1)
    usable = finite & (hosts[[f"psfdepth_{b}" for b in "grz"]].to_numpy(dtype=float) > 0).all(axis=1)
    hosts = hosts[usable].sort_values("galaxy_id", ignore_index=True)
    if hosts.empty:
        raise CatalogueError(
            f"no host galaxies: of {len(galaxies)} selected galaxies none is a negative of split "
            f"{options.host_splits!r} with a PSF and depth in g, r and z, and g-r >= {options.min_g_r}"
        )
    return hosts


def verify_hosts(
    hosts: pd.DataFrame, lenses: pd.DataFrame, split: pd.DataFrame, *, radius_arcsec: float = 1.0
) -> dict[str, int]:
    """Raise LeakageError, naming the offenders, if a host is a lens or was in the detector's training or validation.

    Compared by galaxy_id and by position within ``radius_arcsec``. Returns the numbers that were compared.
    """
    seen = split[split["split"].isin(_SPLITS_SEEN)]
    _refuse(hosts, hosts["galaxy_id"].isin(seen["galaxy_id"]), "were trained or validated on (by galaxy_id)")
    _refuse(hosts, hosts["galaxy_id"].isin(lenses["galaxy_id"]), "are known or candidate lenses")
    for others, words in ((seen, "a galaxy of training or validation"), (lenses, "a known or candidate lens")):
        if len(others) and len(hosts):
            index, _ = crossmatch(hosts["ra"], hosts["dec"], others["ra"], others["dec"], radius_arcsec)
            _refuse(hosts, index >= 0, f'lie within {radius_arcsec:g}" of {words}')
    return {"hosts": len(hosts), "trained_or_validated": len(seen), "lenses": len(lenses)}


def _refuse(hosts: pd.DataFrame, bad: pd.Series | NDArray[np.bool_], words: str) -> None:
    names = hosts["galaxy_id"].to_numpy()[np.asarray(bad, dtype=bool)]
    if len(names):
        shown = ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
        raise LeakageError(
            f"{len(names)} hosts {words}: {shown}; remove them, or give the split that the detector was trained with"
        )


def match_hosts(
    hosts: pd.DataFrame, grid: SelectionGrid, *, options: HostOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hosts of every (PSF, depth) condition, and the account of each condition.

    Returns (assignments, conditions). assignments: one row a host and condition: condition, psf_index, depth_index,
    mode, rank, galaxy_id. conditions: ``grid.conditions()`` plus mode (matched, degraded, no_hosts), n_matched,
    n_degraded (available), n_hosts (used), n_per_cell (injections in each of its cells), and TARGET_COLUMNS: the sky in
    g, r and z that degraded hosts get (``SkyRelation`` of the hosts' own sky).
    Rule: matched if there are min_matched_hosts or more, or no fewer than can be degraded; degraded otherwise.
    """
    options = options or HostOptions()
    conditions = grid.conditions()
    psf = hosts["psfsize_r"].to_numpy(dtype=float)
    depth = hosts[grid.options.depth_column].to_numpy(dtype=float)
    sizes, depths = (band_columns(hosts, name) for name in ("psfsize", "psfdepth"))
    relation = SkyRelation.fit(hosts)
    psf_bin, depth_bin = grid.bin_of("psf_fwhm", psf), grid.bin_of("depth", mag_depth(depth))
    names = hosts["galaxy_id"].astype(str).to_numpy()
    hashed = galaxy_hash(names, seed=options.seed)
    parts, account = [], []
    centres = conditions[["psf_fwhm", "depth"]].to_numpy(dtype=float)
    for number, (cell, (psf_centre, depth_centre)) in enumerate(zip(conditions.itertuples(), centres, strict=True)):
        matched = (psf_bin == cell.psf_index) & (depth_bin == cell.depth_index)
        sky = relation.at(float(psf_centre), float(depth_centre))
        worse = sky.within_reach(sizes, depths)
        n_matched, n_degraded = int(matched.sum()), int(worse.sum()) if options.degraded_hosts else 0
        mode = "matched" if n_matched >= min(options.min_matched_hosts, max(n_degraded, 1)) else "degraded"
        if n_matched + n_degraded == 0:
            mode = "no_hosts"
        # a choice of its own in every condition: with one for all, the same few galaxies would carry most of the sky
        order = splitmix64(hashed ^ splitmix64(np.array([number + 1], dtype=np.uint64)))
        chosen = _lowest(np.flatnonzero(matched if mode == "matched" else worse), order, options.max_hosts_per_cell)
        chosen = chosen[: 0 if mode == "no_hosts" else None]
        parts.append(_rows(cell, mode, names[chosen]))
        n_per_cell = min(grid.options.injections_per_cell, options.max_injections_per_host * len(chosen))
        account.append((mode, n_matched, n_degraded, len(chosen), n_per_cell, *sky.psfsize, *sky.psfdepth))
    columns = ["mode", "n_matched", "n_degraded", "n_hosts", "n_per_cell", *TARGET_COLUMNS]
    conditions = conditions.join(pd.DataFrame(account, columns=columns))
    return pd.concat(parts, ignore_index=True), conditions


def hosts_in_use(assignments: pd.DataFrame, conditions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By mode, and for all ("all"): conditions, hosts (different galaxies), and their effective number.

    Effective: (sum m)^2 / sum m^2 of each galaxy's share m of the injections (Kish 1965, ch. 11): that of as many
    galaxies used alike. assignments, conditions: as ``match_hosts`` returns them.
    """
    share = assignments["condition"].map(
        (conditions["n_per_cell"] / conditions["n_hosts"]).set_axis(conditions["condition"])
    )
    found = {}
    for mode in (*sorted(assignments["mode"].unique()), "all"):
        mine = np.ones(len(assignments), dtype=bool) if mode == "all" else (assignments["mode"] == mode).to_numpy()
        each = share[mine].groupby(assignments.loc[mine, "galaxy_id"]).sum().to_numpy()
        found[mode] = {
            "conditions": int(assignments.loc[mine, "condition"].nunique()),
            "hosts": len(each),
            "effective_hosts": float(each.sum() ** 2 / np.sum(each**2)) if len(each) else 0.0,
        }
    return found


def _lowest(members: NDArray[np.intp], order: NDArray[np.uint64], most: int) -> NDArray[np.intp]:
    """At most ``most`` of ``members``, those of the lowest ``order``, rising."""
    if len(members) > most:
        members = members[np.argpartition(order[members], most - 1)[:most]]
    return members[np.argsort(order[members], kind="stable")]


def _rows(cell: object, mode: str, names: NDArray[np.object_]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": np.full(len(names), cell.condition),  # type: ignore[attr-defined]
            "psf_index": np.full(len(names), cell.psf_index),  # type: ignore[attr-defined]
            "depth_index": np.full(len(names), cell.depth_index),  # type: ignore[attr-defined]
            "mode": np.full(len(names), mode, dtype=object),
            "rank": np.arange(len(names)),
            "galaxy_id": np.asarray(names, dtype=object),
        }
    )
