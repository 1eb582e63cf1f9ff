"""Survey-sized catalogues in HATS: selection, exclusion around lenses and strata in partitions, or all in memory.

For each size a made-up catalogue is written; two workers of a LocalCluster select its partitions, and one process draws
the strata from what they leave; then a process of its own does the same with the whole table in memory. Rows, values
and ledgers must be the same, or the benchmark fails. Peak memory is that of the largest worker and of either main
process. --quick: 2.5e5 and 1e6 rows instead of 1e6 and 1e7. --rows: one size. --check fails outside BOUNDS.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

SIZES, QUICK_SIZES = (1_000_000, 10_000_000), (250_000, 1_000_000)
#: What --check asks: the largest worker's megabytes, and the growth of it and of the main process from the smallest
#: catalogue to the largest: from 2.5e5 rows on all have the same lenses, and as many galaxies are chosen.
BOUNDS = {"worker_peak_mb": (0.0, 1200.0), "worker_growth": (0.0, 1.15), "main_growth": (0.0, 1.15)}


def options() -> tuple[Any, Any]:
    """The whole sky is selected from, and ten negatives go to a lens."""
    from skytrace.sky import SelectionOptions, StrataOptions

    return SelectionOptions(dec_min_deg=-90.0, dec_max_deg=90.0), StrataOptions(negatives_per_positive=10.0)


def digest(ledger: Any, chosen: Any, strata: Any) -> str:
    """Fingerprint of the ledger, the chosen galaxies with all their columns, and the strata's ledger."""
    from skytrace.compute import fingerprint

    return fingerprint(ledger, chosen, strata, length=32)


def in_partitions(folder: Path, lenses: Any, workers: int) -> dict[str, Any]:
    """Wall seconds, peaks of memory, and what was chosen, partition by partition."""
    from skytrace.compute import ClusterOptions
    from skytrace.sky import stratify_chunks
    from skytrace.surveys.hats_catalogue import open_hats
    from skytrace.surveys.selected import select_in_partitions

    selection, strata = options()
    start = time.perf_counter()
    with WorkerPeak() as workers_peak:
        found = select_in_partitions(
            open_hats(folder / "sky"), lenses, options=selection, folder=folder / "shards",
            cluster=ClusterOptions(cluster="local", workers=workers),
        )  # fmt: skip
    selected = time.perf_counter() - start
    chosen, counted = stratify_chunks(found, options=strata)
    return {
        "seconds": time.perf_counter() - start, "seconds_selection": selected, "worker_peak_mb": workers_peak.mb,
        "main_peak_mb": own_peak_mb(), "selected": int(found.ledger["rows_out"].iloc[-1]), "chosen": len(chosen),
        "digest": digest(found.ledger, chosen, counted),
    }  # fmt: skip


def in_memory(folder: Path, lenses: Any) -> dict[str, Any]:
    """The same by the functions that the pipelines use on a table in memory."""
    from skytrace.sky import select_galaxies, stratify
    from skytrace.surveys.hats_catalogue import open_hats

    selection, strata = options()
    start = time.perf_counter()
    sample, ledger = select_galaxies(open_hats(folder / "sky").galaxies(), lenses, options=selection)
    chosen, counted = stratify(sample, options=strata)
    return {
        "seconds": time.perf_counter() - start, "main_peak_mb": own_peak_mb(), "selected": len(sample),
        "chosen": len(chosen), "digest": digest(ledger, chosen, counted),
    }  # fmt: skip


def own_peak_mb() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0**2)


class WorkerPeak:
    """Peak resident memory of the largest process that descends from this one while the body runs, in ``mb``."""

    def __init__(self) -> None:
        self.mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> WorkerPeak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        while not self._stop.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                try:
                    self.mb = max(self.mb, process.memory_info().rss / 2**20)
                except psutil.Error:  # it has just ended
                    continue


def measured(rows: int, workers: int, peer: bool) -> dict[str, Any]:
    """Both ways of one size, each in a process of its own. Raises SystemExit where they differ."""
    from benchmarks._hats_sky import write_sky

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure.note(f"{rows:,} rows: writing")
        write_sky(folder / "sky", rows).to_parquet(folder / "lenses.parquet")
        found = {}
        for way in ("partitions", "memory")[: 2 if peer else 1]:
            measure.note(f"{rows:,} rows: in {way}")
            command = [sys.executable, "-m", "benchmarks.catalogue_scale", "--worker", way, "--folder", name]
            done = subprocess.run([*command, "--workers", str(workers)], stdout=subprocess.PIPE, text=True, check=True)
            found[way] = json.loads(done.stdout.splitlines()[-1])
            measure.note(json.dumps(found[way]))
    if peer and found["partitions"]["digest"] != found["memory"]["digest"]:
        raise SystemExit(f"benchmarks.catalogue_scale: partitions and memory differ: {found}")
    return {"rows": rows, "identical": peer, **found["partitions"], "peer": found.get("memory")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue_scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2.5e5 and 1e6 rows instead of 1e6 and 1e7")
    parser.add_argument("--check", action="store_true", help="exit with 1, naming the figure, where a bound is broken")
    parser.add_argument("--gpu", action="store_true", help="accepted for all benchmarks; nothing here uses one")
    parser.add_argument("--rows", type=int, action="append", help="these sizes, smallest first")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-peer", action="store_true", help="without the way that holds everything in memory")
    parser.add_argument("--worker", choices=("partitions", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        import pandas as pd

        lenses = pd.read_parquet(given.folder / "lenses.parquet")
        ours = given.worker == "partitions"
        print(
            json.dumps(in_partitions(given.folder, lenses, given.workers) if ours else in_memory(given.folder, lenses))
        )
        return
    sizes = given.rows or (QUICK_SIZES if given.quick else SIZES)
    found = [measured(rows, given.workers, not given.no_peer) for rows in sizes]
    last, beside = found[-1], found[-1]["peer"]
    row = measure.print_line(
        name="catalogue in partitions", unit="s (wall, two workers, reading included)", ours=last["seconds"],
        peer=beside and beside["seconds"], peer_name="the same functions, whole table in memory, one process",
        ratio=beside and beside["seconds"] / last["seconds"], threads=given.workers, device=measure.one_thread(),
        rows=last["rows"], worker_peak_mb=max(one["worker_peak_mb"] for one in found),
        worker_growth=last["worker_peak_mb"] / found[0]["worker_peak_mb"],
        main_growth=last["main_peak_mb"] / found[0]["main_peak_mb"], identical=all(o["identical"] for o in found),
        sizes=found,
    )  # fmt: skip
    if given.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.catalogue_scale: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
