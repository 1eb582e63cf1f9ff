"""A small training set, in a module of its own; as a script, one that is killed while it writes."""

import os
import signal
import sys
from functools import cache
from pathlib import Path

import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.pipelines.spectral_emulator import shards
from skytrace.pipelines.spectral_emulator.shards import ModelShardOptions, simulate_in_shards
from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions
from skytrace.spectra.atomic_data import atomic_to_arrays
from skytrace.spectra.atomic_lines import load_atomic_data
from skytrace.spectra.parameter_space import draw_latin_hypercube, stage_one_space
from skytrace.spectra.simulation_options import SimulationOptions
from skytrace.spectra.training_options import TrainingSetOptions
from skytrace.spectra.training_set import TrainingSet

N_MODELS = 7
#: Far too coarse for science, and quick.
COARSE = SimulationOptions(
    zones=6, coarse_km_s=1000.0, fine_km_s=1000.0, coarse_iterations=2, fine_iterations=1, core_rays=2,
)  # fmt: skip
TRAINING = TrainingSetOptions(bins=50, quarantine_unconverged=False)


@cache
def atoms() -> dict:
    return atomic_to_arrays(load_atomic_data(options=COARSE.atomic))


def models() -> pd.DataFrame:
    return draw_latin_hypercube(stage_one_space(), N_MODELS, seed=1)[0]


def train(folder: Path, *, cluster: str = "inline", workers: int = 1, **changes) -> TrainingSet:
    fields = {"seed": 3, "atomic": atoms(), "simulator": SimulatorOptions(built_in=COARSE), "training": TRAINING}
    return simulate_in_shards(
        models(), shards=ModelShardOptions(str(folder), models=2),
        cluster=ClusterOptions(cluster=cluster, workers=workers), **(fields | changes),
    )  # fmt: skip


def _die_at(count: int) -> None:
    """Kill this program in the middle of the ``count``-th shard that it writes."""
    save, written = shards.save_npz, []

    def save_or_die(path, **arrays):
        if path.name.startswith("spectra"):
            written.append(path)
        if len(written) == count:
            name = f".{path.name}.{os.uname().nodename}-{os.getpid()}-1.partial.npz"
            path.with_name(name).write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return save(path, **arrays)

    shards.save_npz = save_or_die


if __name__ == "__main__":
    _die_at(3)
    train(Path(sys.argv[1]))
