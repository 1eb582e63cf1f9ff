"""A survey's worth of clusters through catalogue entries, features and scores, in shards: `--rows 1000000`.

Richness and redshift of a row are drawn from the real clusters in $SKYTRACE_DATA (imaging/catalogs/
cluster_catalog.parquet), where they are there, else from the mock's. Its pixels are those of one of --fields rendered
mock fields, flipped or turned, with white noise of its own: rendering a million fields is not what is measured, and
entry and pixels do not belong together, so the scores rank nothing. Features and scores are computed from each row's
own pixels by the functions of the pipeline, on models that its nodes fitted to the same mock fields.

Shards go through the project's shard map on --workers processes; with --folder they stay, and a run that was killed
goes on where it was. --kill: a run is killed with SIGKILL halfway and started again, and every byte must be that of a
run that was left alone. --check: features below 1 ms, scores below 0.1 ms of CPU a row, memory below 4 GB and flat.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import argparse
import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

SHARD_ROWS = 2000
BOUNDS = {
    "features_ms": (0.0, 1.0), "scores_ms": (0.0, 0.1), "peak_mb": (0.0, 4096.0), "memory_growth": (0.0, 1.1),
}  # fmt: skip
_CATALOGUE = "imaging/catalogs/cluster_catalog.parquet"


def prepare(folder: Path, n_fields: int) -> str:
    """Fields, catalogue, models and options into ``folder``, by the pipeline's own nodes. Where entries come from."""
    import numpy as np
    import yaml

    from benchmarks._cluster_rows import PREPARED
    from skytrace.compute import ClusterOptions
    from skytrace.parameters import build_options
    from skytrace.pipelines.cluster_pu import estimators, features, fields, options
    from skytrace.sky.split import SplitOptions
    from skytrace.surveys.clusters.mock import MockClusters
    from skytrace.surveys.clusters.options import MockClusterOptions

    if all((folder / name).exists() for name in (*PREPARED, "source.txt")):
        return (folder / "source.txt").read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    chosen = yaml.safe_load((Path(__file__).parents[1] / "conf/base/parameters_cluster_pu.yml").read_text())
    chosen = chosen["cluster_pu"] | {"split": {"nside": 16, "fractions": [0.5, 0.25, 0.25]}}
    chosen["features"]["shifts"] = []
    what = build_options("features", chosen["features"], options.FeatureOptions)
    learning = build_options("learning", chosen["learning"], options.LearningOptions)
    split_by = build_options("split", chosen["split"], SplitOptions)
    shards, inline = options.FieldOptions(str(folder / "shards"), fields=50), ClusterOptions(workers=1)
    survey = MockClusters(MockClusterOptions(n_clusters=n_fields, lens_fraction=0.3, label_fraction=0.6, threads=1))
    clusters = fields.read_clusters(survey)
    table = fields.cut_fields(survey, clusters, shards, inline)
    split, _ = estimators.split_fields(clusters, table, split_by)
    measured, _ = features.measure_features(table, clusters, split, what, shards, inline)
    hidden = 0.3 * (1 - 0.6) / (1 - 0.3 * 0.6)
    _, models, _, _ = estimators.learn(measured, split, what, learning, options.PriorOptions(unlabelled=hidden))
    cutouts = [fields.read_fields(path) for path in table["shard"].drop_duplicates()]
    np.save(folder / "image.npy", np.concatenate([one.image for one in cutouts]))
    np.save(folder / "noise.npy", np.concatenate([one.noise for one in cutouts]))
    np.save(folder / "fwhm.npy", np.concatenate([one.psf.fwhm_arcsec for one in cutouts]))
    catalogue, words = _catalogue(clusters)
    catalogue.to_parquet(folder / "catalogue.parquet")
    (folder / "models.json").write_text(json.dumps(models), encoding="utf-8")
    held = {"features": chosen["features"], "pixel_scale_arcsec": cutouts[0].pixel_scale_arcsec}
    (folder / "options.json").write_text(json.dumps(held), encoding="utf-8")
    (folder / "source.txt").write_text(words, encoding="utf-8")
    return words


def _catalogue(mock: Any) -> tuple[Any, str]:
    import pandas as pd

    from skytrace.surveys.data_root import under_data_root

    path = under_data_root(_CATALOGUE)
    if not path.exists():
        return mock[["richness", "redshift"]], f"{len(mock)} clusters of the mock"
    real = pd.read_parquet(path, columns=["richness", "z_cl"]).rename(columns={"z_cl": "redshift"})
    return real, f"{len(real):,} real clusters"


def run(folder: Path, prepared: Path, rows: int, workers: int) -> list[Path]:
    """The shards of the rows, computed where they are not there."""
    from benchmarks._cluster_rows import PREPARED, RowShard, score_shard
    from skytrace.compute import ClusterOptions, fingerprint, map_shards
    from skytrace.compute.fingerprint import source_fingerprint

    content = [hashlib.sha256((prepared / name).read_bytes()).hexdigest() for name in PREPARED]
    code = source_fingerprint("skytrace.clusters", "skytrace.learning", "skytrace.pipelines.cluster_pu")
    own = (Path(__file__).parent / "_cluster_rows.py").read_bytes()
    into = folder / f"scores-{fingerprint(content, code, own, rows)}"
    shards = [
        RowShard(into / f"scores-{first:09d}.parquet", first, min(first + SHARD_ROWS, rows))
        for first in range(0, rows, SHARD_ROWS)
    ]
    cluster = ClusterOptions(cluster="inline" if workers == 1 else "local", workers=workers)
    return map_shards(partial(score_shard, prepared=prepared), shards, cluster=cluster, description="cluster rows")


def digest(paths: list[Path]) -> str:
    """SHA-256 over the bytes of all shards, in order."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()


def costs(paths: list[Path]) -> dict[str, Any]:
    """CPU milliseconds a row by step; peak memory of the largest worker, and that of the last fifth of the shards over
    that of the first.
    """
    import numpy as np

    records = sorted(
        ((path.stat().st_mtime, json.loads(path.read_text())) for path in paths[0].parent.glob("cost-*.json")),
        key=lambda pair: pair[0],
    )
    told = [record for _, record in records]
    rows = sum(record["rows"] for record in told)
    step = {
        f"{name}_ms": 1e3 * sum(record[name] for record in told) / rows for name in ("fields", "features", "scores")
    }
    peaks = np.array([record["peak_mb"] for record in told])
    fifth = max(len(peaks) // 5, 1)
    return {
        **step, "worker_peak_mb": float(peaks.max()),
        "memory_growth": float(peaks[-fifth:].max() / peaks[:fifth].max()),
        "wall_s_first_to_last_shard": records[-1][0] - records[0][0],
    }  # fmt: skip


def _own_peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def killed_and_resumed(folder: Path, arguments: list[str], rows: int, workers: int) -> dict[str, Any]:
    """Shards there when a run of the same rows in a process of its own was killed; whether the bytes are the same after
    it was started again.
    """
    reference = digest(run(folder / "alone", folder / "prepared", rows, workers))
    command = [sys.executable, "-m", "benchmarks.cluster_scale", *arguments, "--folder", str(folder)]
    wanted, process = rows // SHARD_ROWS // 2, subprocess.Popen(command, start_new_session=True)
    while len(list(folder.glob("scores-*/scores-*.parquet"))) < wanted and process.poll() is None:
        time.sleep(0.02)
    if process.poll() is not None:
        raise SystemExit(f"benchmarks.cluster_scale: the run ended with {process.returncode} before it was killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    there = len(list(folder.glob("scores-*/scores-*.parquet")))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    again = sorted(folder.glob("scores-*/scores-*.parquet"))
    same = digest(again) == reference
    if not same:
        raise SystemExit("benchmarks.cluster_scale: a killed and resumed run has other bytes than one left alone")
    return {"killed_after_shards": there, "of_shards": len(again), "same_bytes": same}


def main() -> None:
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--rows", type=int)
    own.add_argument("--fields", type=int, default=400)
    own.add_argument("--workers", type=int, default=2)
    own.add_argument("--folder", type=Path)
    own.add_argument("--kill", action="store_true")
    chosen, others = own.parse_known_args()
    sys.argv = [sys.argv[0], *others]
    options = measure.arguments(__doc__)
    from skytrace.compute.processor import processor_name

    if options.quick:
        chosen.rows, chosen.fields = chosen.rows or 4000, min(chosen.fields, 120)
    rows = chosen.rows or 20_000
    with contextlib.ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measure.note(f"{chosen.fields} rendered fields and the models fitted to them")
        words = prepare(folder / "prepared", chosen.fields)
        shutil.rmtree(folder / "prepared" / "shards", ignore_errors=True)
        extra: dict[str, Any] = {}
        if chosen.kill:
            measure.note("a run that is killed, and one that is not")
            arguments = ["--rows", str(rows), "--fields", str(chosen.fields), "--workers", str(chosen.workers)]
            extra = killed_and_resumed(folder, arguments, rows, chosen.workers)
        measure.note(f"{rows:,} rows")
        start = time.perf_counter()
        paths = run(folder, folder / "prepared", rows, chosen.workers)
        seconds = time.perf_counter() - start
        found = costs(paths)
        each = found["fields_ms"] + found["features_ms"] + found["scores_ms"]
        row = measure.print_line(
            name="cluster rows", unit="rows/s/core", ours=1e3 / each, peer=None, rows=rows, seconds=seconds, **found,
            peak_mb=chosen.workers * found["worker_peak_mb"] + _own_peak_mb(), catalogue=words, threads=chosen.workers,
            device=processor_name(), sha256=digest(paths), **extra,
        )  # fmt: skip
    if options.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.cluster_scale: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
