"""Training models in shards: resumable, on this machine or on a cluster, the same to the bit.

A shard is named by the parameters, the options, the simulator and the sources that compute it, so one of another run is
never taken for this one's.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint, load_npz, map_shards, save_npz
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.errors import OptionError, ShardError, check_whole
from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions, open_simulator, simulator_fingerprint
from skytrace.spectra.training_options import TrainingSetOptions
from skytrace.spectra.training_set import TrainingSet, assemble_training_set, simulate_models

__all__ = ["ModelShard", "ModelShardOptions", "compute_model_shard", "simulate_in_shards"]

#: What a shard depends on beside the simulator.
_COMPUTED_BY = (
    __name__, "skytrace.spectra.training_set", "skytrace.spectra.training_options", "skytrace.spectra.resampling",
    "skytrace.compute.arrays", "skytrace.compute.shards", "skytrace.compute.table_shards",
)  # fmt: skip
_TABLE = "parameters.parquet"


@dataclass(frozen=True)
class ModelShardOptions:
    """folder: of unfinished and finished shards. models: in a shard; it changes no result."""

    folder: str
    models: int = 20

    def __post_init__(self) -> None:
        if not (isinstance(self.folder, str) and self.folder.strip()):
            raise OptionError(f"folder = {self.folder!r} is not the path of a folder")
        check_whole("models", self.models, 1, 10**6)


@dataclass(frozen=True)
class ModelShard:
    """The file of models ``start`` to ``stop`` of the table of parameters."""

    path: Path
    table: Path
    start: int
    stop: int


def simulate_in_shards(
    parameters: pd.DataFrame,
    *,
    seed: int,
    simulator: SimulatorOptions,
    training: TrainingSetOptions,
    shards: ModelShardOptions,
    cluster: ClusterOptions,
) -> TrainingSet:
    """The training set of the models in the rows of ``parameters`` (model_id: the row's number), shard by shard.

    What is there already is not computed again, and what is in quarantine is decided anew. Raises OptionError for a
    training grid that the built-in simulator's wavelengths do not cover, and what ``assemble_training_set`` raises.
    """
    own = simulator.built_in
    if simulator.simulator == "built_in" and not (
        own.wavelength_low_angstrom < 0.99 * training.wavelength_low_angstrom
        and own.wavelength_high_angstrom > 1.01 * training.wavelength_high_angstrom
    ):
        raise OptionError(
            f"training wavelengths {training.wavelength_low_angstrom:g} to {training.wavelength_high_angstrom:g} A do "
            f"not lie 1 % within the simulator's, {own.wavelength_low_angstrom:g} to {own.wavelength_high_angstrom:g}"
        )
    table = parameters.reset_index(drop=True).rename_axis("model_id").reset_index()
    grid = (training.wavelength_low_angstrom, training.wavelength_high_angstrom, training.bins)
    key = fingerprint(source_fingerprint(*_COMPUTED_BY), simulator_fingerprint(simulator), grid, int(seed), table)
    folder = Path(shards.folder) / f"models-{key}"
    staged = folder / _TABLE
    if not is_whole(staged):
        save_shard(table, staged)
    todo = [
        ModelShard(folder / f"spectra-{start:07d}-{stop:07d}.npz", staged, start, stop)
        for start in range(0, len(table), int(shards.models))
        for stop in (min(start + int(shards.models), len(table)),)
    ]
    for shard in todo:
        if shard.path.exists() and not _is_whole_npz(shard.path):
            shard.path.unlink()
    compute = partial(compute_model_shard, seed=seed, simulator=simulator, training=training)
    paths = map_shards(compute, todo, cluster=cluster, description="models")
    _staged.cache_clear()
    return assemble_training_set([load_npz(path) for path in paths], options=training)


def compute_model_shard(
    shard: ModelShard, *, seed: int, simulator: SimulatorOptions, training: TrainingSetOptions
) -> Path:
    """Simulate the models of one shard and write its file."""
    mine = _staged(shard.table).iloc[shard.start : shard.stop]
    arrays = simulate_models(mine, simulate=open_simulator(simulator), seed=seed, options=training)
    return save_npz(shard.path, **arrays)


@lru_cache(maxsize=2)
def _staged(table: Path) -> pd.DataFrame:
    """The parameters of a run, read once a process."""
    return read_shard(table)


def _is_whole_npz(path: Path) -> bool:
    try:
        load_npz(path)
    except ShardError:
        return False
    return True
