"""Cross-validation in shards: one law and one fold each, named by what it depends on; resumable, on any cluster."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint, map_shards
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.pipelines.supernova.shards import FitShardOptions
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions

__all__ = ["FoldShard", "compute_fold_shard", "score_in_shards"]

#: Everything that decides what a shard holds.
_COMPUTED_BY = (
    __name__, "skytrace.supernovae", "skytrace.statistics.nuts", "skytrace.compute.compiled", "skytrace.compute.shards",
    "skytrace.compute.table_shards",
)  # fmt: skip
_HELD_OUT = -1  # the fold of those that are kept from every other fit


@dataclass(frozen=True)
class FoldShard:
    """The file of the scores of one fold under one law, and the Hubble table."""

    path: Path
    table: Path
    model: str
    fold: int


def score_in_shards(
    table: pd.DataFrame,
    *,
    models: tuple[str, ...],
    population: PopulationOptions,
    sampler: SamplerOptions,
    shards: FitShardOptions,
    cluster: ClusterOptions,
) -> pd.DataFrame:
    """``score_fold`` of every fold and of the held-out SNe, by law: its rows with model and held_out.

    table: with columns fold and held_out. A fold is scored by a fit to the other folds, the held-out SNe by a fit to
    all folds. The fast mode draws; where it is refused, NUTS.
    """
    key = fingerprint(source_fingerprint(*_COMPUTED_BY), population, sampler, table)
    folder = Path(shards.folder) / f"folds-{key}"
    staged = folder / "hubble.parquet"
    if not is_whole(staged):
        save_shard(table, staged)
    folds = [*sorted(table.loc[~table["held_out"], "fold"].unique()), _HELD_OUT]
    todo = [
        FoldShard(folder / f"{model}-{fold}.parquet", staged, model, int(fold)) for model in models for fold in folds
    ]
    for shard in todo:
        if shard.path.exists() and not is_whole(shard.path):
            shard.path.unlink()
    if cluster.cluster == "inline":
        import skytrace.supernovae.model_comparison  # noqa: F401  imported once, not by two threads at a time
    compute = partial(compute_fold_shard, population=population, sampler=sampler)
    # laws in turn: two threads that begin with one law would wait for each other's compilation
    in_turn = sorted(todo, key=lambda shard: (shard.fold, models.index(shard.model)))
    map_shards(compute, in_turn, cluster=cluster, description="folds")
    parts = [read_shard(shard.path).assign(model=shard.model) for shard in todo]
    scores = pd.concat(parts, ignore_index=True)
    return scores.assign(held_out=scores["fold"] == _HELD_OUT)


def compute_fold_shard(shard: FoldShard, *, population: PopulationOptions, sampler: SamplerOptions) -> Path:
    """Score one fold and write its file."""
    from skytrace.supernovae.model_comparison import score_fold
    from skytrace.supernovae.sampling import ImportanceSamplingRefused

    table = read_shard(shard.table)
    if shard.fold != _HELD_OUT:
        table = table[~table["held_out"]].reset_index(drop=True)
    fold = np.where(table["held_out"], _HELD_OUT, table["fold"])
    options = replace(population, model=shard.model)
    try:
        scores = score_fold(table, fold, shard.fold, options=options, sampler=replace(sampler, method="fast"))
    except ImportanceSamplingRefused:
        scores = score_fold(table, fold, shard.fold, options=options, sampler=replace(sampler, method="nuts"))
    save_shard(scores, shard.path)
    return shard.path
