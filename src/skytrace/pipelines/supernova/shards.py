"""Fits in shards of some hundred supernovae: resumable, on this machine or on a cluster, the same to the bit.

A shard is named by the light curves, the options and the sources that compute it, so one of another run is never taken
for this one's.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint, map_shards
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.errors import OptionError, check_whole
from skytrace.supernovae.fit_options import FitOptions

__all__ = ["FitShard", "FitShardOptions", "compute_fit_shard", "fit_in_shards"]

#: Everything that decides what a shard holds.
_COMPUTED_BY = (
    __name__, "skytrace.supernovae._fit_kernels", "skytrace.supernovae._fit_model_kernels",
    "skytrace.supernovae._fit_step_kernels", "skytrace.supernovae.cosmology", "skytrace.supernovae.distance_basis",
    "skytrace.supernovae.fit_options", "skytrace.supernovae.population_options",
    "skytrace.supernovae.light_curve_fit", "skytrace.supernovae.light_curve_model",
    "skytrace.supernovae.light_curve_packing", "skytrace.supernovae.light_curves", "skytrace.supernovae.opacity",
    "skytrace.supernovae.spectral_energy", "skytrace.compute.shards", "skytrace.compute.table_shards",
)  # fmt: skip
_TABLE = "light_curves.parquet"


@dataclass(frozen=True)
class FitShardOptions:
    """folder: of unfinished and finished shards. supernovae: in a shard; it changes no result."""

    folder: str
    supernovae: int = 500

    def __post_init__(self) -> None:
        if not (isinstance(self.folder, str) and self.folder.strip()):
            raise OptionError(f"folder = {self.folder!r} is not the path of a folder")
        check_whole("supernovae", self.supernovae, 1, 10**7)


@dataclass(frozen=True)
class FitShard:
    """The file of the fits of SNe ``start`` to ``stop`` in order of snid, and the light curves of all."""

    path: Path
    table: Path
    start: int
    stop: int


def fit_in_shards(
    light_curves: pd.DataFrame, *, options: FitOptions, shards: FitShardOptions, cluster: ClusterOptions
) -> pd.DataFrame:
    """``fit_light_curves`` of the whole table, shard by shard; what is there already is not computed again."""
    key = fingerprint(source_fingerprint(*_COMPUTED_BY), options, light_curves)
    folder = Path(shards.folder) / key
    table = folder / _TABLE
    if not is_whole(table):
        save_shard(light_curves, table)
    n = light_curves["snid"].nunique()
    starts = range(0, n, shards.supernovae)
    todo = [
        FitShard(folder / f"fits-{start:07d}-{min(start + shards.supernovae, n):07d}.parquet", table, start,
                 min(start + shards.supernovae, n))
        for start in starts
    ]  # fmt: skip
    for shard in todo:
        if shard.path.exists() and not is_whole(shard.path):
            shard.path.unlink()
    paths = map_shards(partial(compute_fit_shard, options=options), todo, cluster=cluster, description="supernovae")
    _staged.cache_clear()
    return pd.concat([read_shard(path) for path in paths], ignore_index=True)


def compute_fit_shard(shard: FitShard, *, options: FitOptions) -> Path:
    """Fit the SNe of one shard and write its file."""
    from skytrace.supernovae.light_curve_fit import fit_light_curves

    light_curves = _staged(shard.table)
    names = light_curves["snid"].drop_duplicates().sort_values().iloc[shard.start : shard.stop]
    mine = light_curves[light_curves["snid"].isin(names)].reset_index(drop=True)
    save_shard(fit_light_curves(mine, options=options), shard.path)
    return shard.path


@lru_cache(maxsize=2)
def _staged(table: Path) -> pd.DataFrame:
    """The light curves of a run, read once a process."""
    return read_shard(table)
