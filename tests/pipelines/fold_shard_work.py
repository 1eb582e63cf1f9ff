"""A cross-validation of few supernovae, in a module of its own; as a script, one that is killed while it writes."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from skytrace.compute import ClusterOptions
from skytrace.pipelines.supernova.fold_shards import score_in_shards
from skytrace.pipelines.supernova.shards import FitShardOptions
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions

LAW = "log_distance"


def cross_validate(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    return score_in_shards(
        table, models=(LAW,), population=PopulationOptions(), sampler=SamplerOptions(n_draws=2000, ess_min=1.0),
        shards=FitShardOptions(str(folder)), cluster=ClusterOptions(workers=1),
    )  # fmt: skip


def _die_at(count: int) -> None:
    """Kill this program in the middle of the ``count``-th Parquet file that it writes."""
    write, written = pq.write_table, []

    def write_or_die(table: Any, where: Path, **options: Any) -> None:
        write(table, where, **options)
        written.append(where)
        if len(written) == count:
            whole = Path(where).read_bytes()
            Path(where).write_bytes(whole[: len(whole) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    pq.write_table = write_or_die


if __name__ == "__main__":
    _die_at(3)  # the Hubble table is the first file, the held-out supernovae's scores the second
    cross_validate(pd.read_parquet(sys.argv[1]), Path(sys.argv[2]))
