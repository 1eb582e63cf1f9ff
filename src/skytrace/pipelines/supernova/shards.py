"""Fits in shards of some hundred supernovae: resumable, on this machine or on a cluster, the same to the bit.

A shard is named by the light curves, the options and the sources that compute it, so one of another run is never taken
for this one's.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
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
_STAGED = "light-curves"


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
    """The file of the fits of some SNe in order of snid, and that of their light curves."""

    path: Path
    light_curves: Path


def fit_in_shards(
    light_curves: pd.DataFrame, *, options: FitOptions, shards: FitShardOptions, cluster: ClusterOptions
) -> pd.DataFrame:
    """``fit_light_curves`` of the whole table, shard by shard; what is there already is not computed again."""
    folder = Path(shards.folder) / fingerprint(source_fingerprint(*_COMPUTED_BY), options, light_curves)
    codes, names = pd.factorize(light_curves["snid"], sort=True)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    todo = []
    for start in range(0, len(names), shards.supernovae):
        stop = min(start + shards.supernovae, len(names))
        shard = FitShard(
            folder / f"fits-{start:07d}-{stop:07d}.parquet", folder / f"{_STAGED}-{start:07d}-{stop:07d}.parquet"
        )
        if shard.path.exists() and not is_whole(shard.path):
            shard.path.unlink()
        if not (shard.path.exists() or is_whole(shard.light_curves)):
            rows = order[(ends[start - 1] if start else 0) : ends[stop - 1]]
            save_shard(light_curves.iloc[np.sort(rows)].reset_index(drop=True), shard.light_curves)
        todo.append(shard)
    paths = map_shards(partial(compute_fit_shard, options=options), todo, cluster=cluster, description="supernovae")
    return pd.concat([read_shard(path) for path in paths], ignore_index=True)


def compute_fit_shard(shard: FitShard, *, options: FitOptions) -> Path:
    """Fit the SNe of one shard and write its file. A worker reads no others' light curves."""
    from skytrace.supernovae.light_curve_fit import fit_light_curves

    save_shard(fit_light_curves(read_shard(shard.light_curves), options=options), shard.path)
    return shard.path
