"""A step in shards, slow to write, and the program that runs it: ``python chaos_work.py FOLDER CLUSTER``."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, map_shards, save_npz
from skytrace.compute.table_shards import save_shard

SHARDS = 32
WORKERS = 2


@dataclass(frozen=True)
class Pixels:
    """Rows of one shard, written a block at a time, so that a kill often comes in the middle of a file."""

    number: int
    shape: tuple[int, int] = (64, 512)
    dtype: type = np.float64

    def blocks(self) -> Iterator[np.ndarray]:
        """Eight rows at a time."""
        rng = np.random.default_rng([11, self.number])
        for _ in range(0, self.shape[0], 8):
            time.sleep(0.005)
            yield rng.normal(size=(8, self.shape[1]))


@dataclass(frozen=True)
class ChaosShard:
    """A file of pixels (npz) or a table (parquet)."""

    path: Path
    number: int


def shards_in(folder: Path) -> list[ChaosShard]:
    """Pixels and tables in turn."""
    return [
        ChaosShard(folder / f"{number:03d}.{'parquet' if number % 4 == 3 else 'npz'}", number)
        for number in range(SHARDS)
    ]


def compute(shard: ChaosShard) -> Path:
    """Write one shard."""
    if shard.path.suffix == ".npz":
        return save_npz(shard.path, pixels=Pixels(shard.number), mask=np.zeros((64, 64), np.int32), compress=("mask",))
    time.sleep(0.03)
    values = np.random.default_rng([12, shard.number]).normal(size=20_000)
    save_shard(pd.DataFrame({"number": np.arange(values.size), "value": values}), shard.path)
    return shard.path


if __name__ == "__main__":
    map_shards(compute, shards_in(Path(sys.argv[1])), cluster=ClusterOptions(cluster=sys.argv[2], workers=WORKERS))
