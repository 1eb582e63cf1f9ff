"""Posteriors of simulated observations in shards: resumable, on this machine or on a cluster, the same to the bit.

A shard is named by the observations, the emulator, the options and the sources that compute it, so one of another run
is never taken for this one's.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skytrace.compute import ClusterOptions, fingerprint, load_npz, map_shards, save_npz
from skytrace.compute.arrays import is_whole_npz
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.errors import OptionError, check_whole
from skytrace.spectra.emulator import SpectrumEmulator, emulator_from_arrays, emulator_to_arrays
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.parameter_space import ParameterSpace

__all__ = ["MockShard", "MockShardOptions", "compute_mock_shard", "coverage_in_shards"]

#: Everything that decides what a shard holds.
_COMPUTED_BY = (
    __name__, "skytrace.spectra.emulator", "skytrace.spectra.emulator_inputs", "skytrace.spectra.emulator_error",
    "skytrace.spectra.abundance_profiles", "skytrace.spectra.wavelengths", "skytrace.compute.arrays",
    "skytrace.spectra.composition", "skytrace.spectra.inference_covariance", "skytrace.spectra.inference_coverage",
    "skytrace.spectra.boxes", "skytrace.spectra.emulator_displacement", "skytrace.spectra.inference_displacement",
    "skytrace.spectra.inference_density", "skytrace.spectra.inference_mode", "skytrace.spectra.inference_model",
    "skytrace.spectra.inference_options", "skytrace.spectra.inference_posterior",
    "skytrace.spectra.inference_sampling", "skytrace.spectra.inference_target", "skytrace.statistics.nuts",
    "skytrace.supernovae.adaptive_importance", "skytrace.compute.shards", "skytrace.compute.table_shards",
)  # fmt: skip
_MOCKS = "mocks.npz"


@dataclass(frozen=True)
class MockShardOptions:
    """folder: of unfinished and finished shards. mocks: in a shard, sampled together; the last bits of the result
    depend on it, as a batch's sums have another order.
    """

    folder: str
    mocks: int = 5

    def __post_init__(self) -> None:
        if not (isinstance(self.folder, str) and self.folder.strip()):
            raise OptionError(f"folder = {self.folder!r} is not the path of a folder")
        check_whole("mocks", self.mocks, 1, 10_000)


@dataclass(frozen=True)
class MockShard:
    """The file of the posteriors of mocks ``start`` to ``stop``, and the observations and the emulator of all."""

    path: Path
    staged: Path
    start: int
    stop: int


def coverage_in_shards(
    luminosity: NDArray[np.float64],
    error: NDArray[np.float64],
    truth: NDArray[np.float64],
    *,
    emulator: SpectrumEmulator,
    space: ParameterSpace,
    options: LikelihoodOptions,
    sampler: SpectrumSamplerOptions,
    shards: MockShardOptions,
    cluster: ClusterOptions,
    scales: tuple[float, float] = (1.0, 1.0),
    phase_day: float | None = None,
) -> pd.DataFrame:
    """``coverage_of_mocks`` of observations (t, m) on the emulator's grid, NaN where masked, shard by shard; what is
    there already is not computed again.
    """
    arrays = {
        "luminosity": np.asarray(luminosity, dtype=np.float64), "error": np.asarray(error, dtype=np.float64),
        "truth": np.asarray(truth, dtype=np.float64),
    }  # fmt: skip
    arrays |= {f"emulator_{name}": value for name, value in emulator_to_arrays(emulator).items()}
    settings = (space, options, sampler, tuple(scales), phase_day)
    key = fingerprint(source_fingerprint(*_COMPUTED_BY), arrays, *settings, int(shards.mocks))
    folder = Path(shards.folder) / f"mocks-{key}"
    staged = folder / _MOCKS
    if not is_whole_npz(staged):
        save_npz(staged, **arrays)
    n = len(arrays["truth"])
    todo = [
        MockShard(folder / f"posteriors-{start:06d}-{stop:06d}.parquet", staged, start, stop)
        for start in range(0, n, int(shards.mocks))
        for stop in (min(start + int(shards.mocks), n),)
    ]
    for shard in todo:
        if shard.path.exists() and not is_whole(shard.path):
            shard.path.unlink()
    compute = partial(
        compute_mock_shard, space=space, options=options, sampler=sampler, scales=tuple(scales), phase_day=phase_day
    )
    if cluster.cluster == "inline":
        _staged(staged, space, options)  # made once, not by two threads at a time: programs are compiled for one model
    paths = map_shards(compute, todo, cluster=cluster, description="mocks")
    return pd.concat([read_shard(path) for path in paths], ignore_index=True)


def compute_mock_shard(
    shard: MockShard,
    *,
    space: ParameterSpace,
    options: LikelihoodOptions,
    sampler: SpectrumSamplerOptions,
    scales: tuple[float, float],
    phase_day: float | None,
) -> Path:
    """Sample the posteriors of one shard's mocks and write its file."""
    from skytrace.spectra.inference_coverage import coverage_of_mocks

    model, used, arrays = _staged(shard.staged, space, options)
    rows = slice(shard.start, shard.stop)
    table = coverage_of_mocks(
        arrays["luminosity"][rows][:, used], arrays["error"][rows][:, used], arrays["truth"][rows],
        np.arange(shard.start, shard.stop), model=model, options=options, sampler=sampler, scales=scales,
        phase_day=phase_day,
    )  # fmt: skip
    save_shard(table, shard.path)
    return shard.path


@lru_cache(maxsize=1)
def _staged(
    path: Path, space: ParameterSpace, options: LikelihoodOptions
) -> tuple[Any, NDArray[np.bool_], dict[str, NDArray]]:
    """Model, used bins and arrays of a run, made once a process, so that its programs are compiled once."""
    from skytrace.spectra.inference_model import inference_model
    from skytrace.spectra.inference_target import used_bins

    arrays = load_npz(path)
    own = {name.removeprefix("emulator_"): value for name, value in arrays.items() if name.startswith("emulator_")}
    emulator = emulator_from_arrays(own)
    masked = ~np.isfinite(arrays["luminosity"]).all(axis=0)
    used = used_bins(emulator.wavelength_angstrom, masked, options)
    return inference_model(emulator, space, bins=used), used, arrays
