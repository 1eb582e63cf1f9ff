"""Run every benchmark, each in a process of its own, and write docs/benchmarks.md: `python -m benchmarks [--quick]`."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "benchmarks.md"
NOT_BENCHMARKS = {"__init__", "__main__", "measure", "reference"}


def benchmark_names() -> list[str]:
    """The modules of this folder that are benchmarks (private modules and the harness are not)."""
    stems = sorted(path.stem for path in HERE.glob("*.py"))
    return [stem for stem in stems if stem not in NOT_BENCHMARKS and not stem.startswith("_")]


def machine() -> str:
    """The machine in words: processor, cores in use, Python."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def run(name: str, arguments: list[str]) -> dict:
    """The JSON line of one benchmark. Raises RuntimeError when it fails or prints none."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"benchmarks.{name} ended with exit code {done.returncode} and {len(lines)} JSON lines")
    return json.loads(lines[-1])


def table(rows: list[dict], arguments: list[str]) -> str:
    """The page: one row a benchmark, accuracy beside speed."""
    head = (
        "# Benchmarks\n\n"
        "Ours and a named peer in one process on one pinned thread, CPU seconds. Written by `make bench`.\n\n"
        f"{datetime.date.today().isoformat()}; {machine()}; `python -m benchmarks {' '.join(arguments)}`\n\n"
        "| what | unit | ours | peer | ratio | device | error of ours (median / p90 / max) | of the peer | error of |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {row['name']} | {row['unit']} | {row['ours']:.4g} | {row['peer']:.4g} ({row['peer_name']}) "
        f"| **{row['ratio']:.3g}** | {row['device']} | {errors(row, 'error')} | {errors(row, 'peer_error')} "
        f"| {row.get('error_of', '')} |\n"
        for row in rows
    )


def errors(row: dict, prefix: str) -> str:
    """The three error figures of a row, or nothing where the benchmark has none."""
    values = [row.get(f"{prefix}_{part}") for part in ("median", "p90", "max")]
    return " / ".join(f"{value:.1e}" for value in values) if None not in values else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs; the page is then not written")
    arguments = ["--quick"] if parser.parse_args().quick else []
    rows = [run(name, arguments) for name in benchmark_names()]
    for row in rows:
        print(json.dumps(row))
    if not arguments:
        TABLE.write_text(table(rows, arguments), encoding="utf-8")
        print(f"wrote {TABLE.relative_to(HERE.parent)}", file=sys.stderr)


if __name__ == "__main__":
    main()
