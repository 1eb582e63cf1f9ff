"""Stratified negatives of a survey, out of a Parquet file: ours in chunks, pandas with the whole table in memory.

Each runs in a process of its own on one pinned core and reports its wall seconds, reading included, and its peak
resident memory. Both must choose the same negatives, or the benchmark fails. --quick: 1e6 rows instead of 1e7.
--check fails outside BOUNDS.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import broken_bounds, note, one_thread, print_line

ROWS, QUICK_ROWS = 10_000_000, 1_000_000
GROUP_ROWS = 500_000
POSITIVES_PER_MILLION = 500
COLUMNS = ["galaxy_id", "label", "pool", "type", "nobs_z", "split"]
SEED = 20260101
#: What --check asks, of either form: wall seconds, and megabytes of peak memory.
BOUNDS = {"seconds": (0.0, 60.0), "peak_mb": (0.0, 2000.0)}


def write_sample(path: Path, rows: int) -> None:
    """A table as selection and split leave it: Tractor ids, pools, types and exposures in the survey's proportions."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for start in range(0, rows, GROUP_ROWS):
        n = min(GROUP_ROWS, rows - start)
        rng = np.random.default_rng([SEED, start])
        number = np.arange(start, start + n)
        label = (rng.random(n) < POSITIVES_PER_MILLION * 1e-6).astype(np.int8)
        bricks = pd.Series(300_000 + number // 5000).astype(str)
        table = pd.DataFrame(
            {
                "galaxy_id": "10000-" + bricks + "-" + pd.Series(number % 5000).astype(str),
                "label": label,
                "pool": np.where(label == 1, "lens", np.where(rng.random(n) < 0.3, "N2", "N1")),
                "type": rng.choice(["SER", "DEV", "REX"], n, p=[0.5, 0.2, 0.3]),
                "nobs_z": rng.poisson(6.0, n).astype(np.int16),
                "split": rng.choice(["train", "val", "test"], n, p=[0.7, 0.15, 0.15]),
            }
        )
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, arrow.schema, compression="zstd")
        writer.write_table(arrow)
    if writer is not None:
        writer.close()


class RowGroups:
    """The row groups of a Parquet file as tables; can be iterated over again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self):
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=GROUP_ROWS, columns=COLUMNS, use_threads=False):
                yield batch.to_pandas()


def ours(path: Path):
    """galaxy_id of the chosen negatives."""
    from skytrace.sky import StrataOptions, stratify_chunks

    chosen, _ = stratify_chunks(RowGroups(path), options=StrataOptions(seed=SEED, pool_balance="record"))
    return chosen.loc[chosen["label"] == 0, "galaxy_id"]


def in_memory(path: Path):
    """The same by hand: everything read, hashed, sorted, and numbered within its stratum (no backfill, no balance)."""
    import numpy as np
    import pandas as pd

    from skytrace.sky import galaxy_hash, nobs_z_bin

    table = pd.read_parquet(path, columns=COLUMNS)
    table["bin"] = nobs_z_bin(table["nobs_z"])
    table["hash"] = galaxy_hash(table["galaxy_id"], seed=SEED)
    table = table.sort_values("hash")
    keys = ["split", "type", "bin"]
    asked = table[table["label"] == 1].groupby(keys).size().mul(100).rename("asked")
    table = table[table["label"] == 0].join(asked, on=keys)
    n2 = np.rint(0.15 * table["asked"])
    quota = np.where(table["pool"] == "N2", n2, table["asked"] - n2)
    return table.loc[table.groupby([*keys, "pool"]).cumcount().to_numpy() < quota, "galaxy_id"]


def worker(way: str, path: Path) -> None:
    """Run one way and print seconds, peak_mb, and what was chosen as a count and an order-free sum of hashes."""
    from skytrace.sky import galaxy_hash

    one_thread()
    start = time.perf_counter()
    chosen = {"ours": ours, "peer": in_memory}[way](path)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0**2)
    total = int(galaxy_hash(chosen, seed=0).sum())
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "chosen": len(chosen), "sum": total}))


def measured(way: str, path: Path) -> dict:
    """``worker`` in a fresh process."""
    note(f"{way}: running")
    command = [sys.executable, "-m", "benchmarks.stratify", "--worker", way, "--table", str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stratify", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1e6 rows instead of 1e7; under 40 seconds")
    parser.add_argument("--check", action="store_true", help="exit with 1, naming the figure, where a bound is broken")
    parser.add_argument("--gpu", action="store_true", help="accepted for all benchmarks; nothing here uses one")
    parser.add_argument("--worker", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker, given.table)
        return
    rows = QUICK_ROWS if given.quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.parquet"
        write_sample(path, rows)
        note(f"{rows} rows written")
        own, peer = measured("ours", path), measured("peer", path)
    if (own["chosen"], own["sum"]) != (peer["chosen"], peer["sum"]):
        raise RuntimeError(f"the two ways choose differently: {own} and {peer}")
    row = print_line(
        name="stratified sampling", unit="s (wall, one core, reading included)", ours=own["seconds"],
        peer=peer["seconds"], peer_name="pandas, whole table sorted in memory", ratio=peer["seconds"] / own["seconds"],
        threads=1, device=one_thread(), rows=rows, chosen=own["chosen"], seconds=own["seconds"],
        peak_mb=own["peak_mb"], peer_peak_mb=peer["peak_mb"], rows_per_s=rows / own["seconds"],
    )  # fmt: skip
    if given.check and (broken := broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.stratify: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
