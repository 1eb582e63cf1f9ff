"""Work for the shard tests, in a module of its own so that spawned processes can import it; also a script."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skytrace.compute import map_shards, save_npz


@dataclass(frozen=True)
class Shard:
    path: Path
    number: int


def shards_in(folder: Path, count: int = 12) -> list[Shard]:
    return [Shard(folder / f"{number:03d}.npz", number) for number in range(count)]


def draw(shard: Shard) -> Path:
    time.sleep(0.02)
    normals = np.random.default_rng([7, shard.number]).normal(size=(64, 64))
    return save_npz(shard.path, normals=normals, mask=np.zeros((64, 64), np.int32), compress=("mask",))


class Counted:
    """``draw`` with a survey's worth of tables, which notes in ``folder`` every time that it is packed or unpacked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tables = folder, np.zeros(10**6)

    def __call__(self, shard: Shard) -> Path:
        return draw(shard)

    def _note(self, what: str) -> None:
        (self.folder / f"{what}-{time.monotonic_ns()}-{os.getpid()}").touch()

    def __getstate__(self) -> dict:
        self._note("packed")
        return dict(self.__dict__)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._note("unpacked")


def draw_or_die(shard: Shard) -> Path:
    """Kill this process the first time that shard 5 is seen."""
    marker = shard.path.parent / "killed"
    if shard.number == 5 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(shard)


def draw_and_die(shard: Shard) -> Path:
    """Kill the whole program in the middle of writing shard 5."""
    if shard.number == 5:
        shard.path.with_name(f".{shard.path.name}.{os.uname().nodename}-{os.getpid()}-1.partial.npz").write_bytes(
            b"half"
        )
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(shard)


if __name__ == "__main__":
    map_shards(draw_and_die, shards_in(Path(sys.argv[1])), workers=1)
