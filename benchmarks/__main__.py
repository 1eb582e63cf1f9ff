"""Run every benchmark, each in a process of its own, and write docs/benchmarks.md: `python -m benchmarks [--quick]`.

Names measure only those anew; the other rows of the page stay as they were measured last, each with its device and its
day. A benchmark that fails is named at the end and takes no other one's row with it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "benchmarks.md"
NOTES = """
`python -m benchmarks.injection --check` fails when the ratio to lenstronomy is below 60, that to jaxtronomy below 15,
clumpy sources run at less than half of the speed of smooth ones, or the p90 of our error is above 1.5e-3. With --quick
(half a minute, part of `.ci/run`) the same errors are asked, but looser ratios, 30, 10 and 0.4: it catches a collapse
and shows none of the figures above. The quick form times the same lenses as the full form, with fewer repeats; its
errors are of 32 hold-out lenses and not 96. Ours and the peers take turns, so that a busy machine slows all of them;
the ratio still varies by some ten per cent from run to run on a machine that does other work.

Memory. glibc maps arrays above a limit anew for each allocation and unmaps them when they are freed, and it moves that
limit up to the size of the largest array freed so far, if that is below 32 MB. Lenstronomy allocates many arrays of
0.5 to 3 MB a call. In a process where nothing larger was freed before, each call takes 9,000 to 15,000 page faults,
and 24 to 31 stamps/s; where something of 25 MB was freed, none, and 55 to 58 stamps/s (measured on the machine above,
the same lenses and the same code). Until 2026-11-21 the quick form rendered 512 of our lenses first (25 MB: the peer
was fast) and the full form 1024 (50 MB: the peer was slow), which doubled the ratio of the full form. Both forms now
set the limits when they start (`benchmarks/measure.py`), which is the better case for the peer; with glibc's own
limits, as in a fresh interpreter, it runs at half of the speed in the table.
"""
# probe_power needs a detector; cost_growth has a table of its own in docs/scale.md
NOT_BENCHMARKS = {"__init__", "__main__", "measure", "reference", "probe_power", "cost_growth"}


def benchmark_names() -> list[str]:
    """The modules of this folder that are benchmarks (private modules and the harness are not)."""
    stems = sorted(path.stem for path in HERE.glob("*.py"))
    return [stem for stem in stems if stem not in NOT_BENCHMARKS and not stem.startswith("_")]


def run(name: str, arguments: list[str]) -> dict:
    """The JSON line of one benchmark. Raises RuntimeError when it fails or prints none."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"benchmarks.{name} ended with exit code {done.returncode} and {len(lines)} JSON lines")
    return {**json.loads(lines[-1]), "day": datetime.date.today().isoformat()}


def table(rows: list[dict], page: str) -> str:
    """The page: one row a benchmark, accuracy beside speed. page: as it was, whose rows of other benchmarks stay."""
    lines = {row["benchmark"]: "".join(map(line, with_other_peers(row))) for row in rows}
    kept: dict[str, str] = {}
    for old in page.splitlines():
        name = old.removeprefix("| ").partition(" | ")[0]
        if name in benchmark_names() and name not in lines:
            kept[name] = kept.get(name, "") + old + "\n"
    lines |= kept
    missing = [name for name in benchmark_names() if name not in lines]
    head = (
        "# Benchmarks\n\n"
        "Ours and a named peer in one process on one pinned thread of the device named, CPU seconds. Written by "
        "`make bench`.\n" + f"Not measured in full yet: {', '.join(missing)}.\n" * bool(missing) + "\n"
        "| benchmark | what | unit | ours | peer | ratio | device | error of ours (median / p90 / max) | of the peer |"
        " error of | day |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(lines[name] for name in sorted(lines)) + NOTES


def line(row: dict) -> str:
    """One row of the page."""
    return (
        f"| {row['benchmark']} | {row['name']} | {row['unit']} | {row['ours']:.4g} | {peer(row)} "
        f"| {row['device']} | {errors(row, 'error')} | {errors(row, 'peer_error')} "
        f"| {row.get('error_of', '')} | {row['day']} |\n"
    )


def with_other_peers(row: dict) -> list[dict]:
    """The row, and for the renderer those of its second peer and of the engine with derivatives."""
    found = [row]
    if row.get("jaxtronomy"):
        errors_of_peer = {
            key.replace("jaxtronomy_", "peer_"): row[key] for key in row if key.startswith("jaxtronomy_err")
        }
        named = {"peer_name": f"jaxtronomy, {row['jaxtronomy_is']}", "ratio": row["ratio_jaxtronomy"]}
        found.append({**row, **errors_of_peer, **named, "peer": row["jaxtronomy"]})
    if row.get("ours_jax"):
        own = {key.removeprefix("ours_jax_"): row[key] for key in row if key.startswith("ours_jax_err")}
        named = {"name": f"{row['name']}, with derivatives (JAX)", "ratio": row["ours_jax"] / row["peer"]}
        found.append({**row, **own, **named, "ours": row["ours_jax"]})
    return found


def peer(row: dict) -> str:
    """The cells of the peer and of the ratio; dashes for a whole job, which has no peer."""
    if row.get("peer") is None:
        return "- | -"
    return f"{row['peer']:.4g} ({row['peer_name']}) | **{row['ratio']:.3g}**"


def errors(row: dict, prefix: str) -> str:
    """The three error figures of a row, or nothing where the benchmark has none."""
    values = [row.get(f"{prefix}_{part}") for part in ("median", "p90", "max")]
    return " / ".join(f"{value:.1e}" for value in values) if None not in values else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs; the page is then not written")
    parser.add_argument("--check", action="store_true", help="fail where a benchmark breaks its own bounds")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(benchmark_names())} (all of them)")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(benchmark_names())):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(benchmark_names())}")
    arguments = ["--quick"] * options.quick + ["--check"] * options.check
    failed, rows = [], []
    for name in options.names or benchmark_names():
        try:
            row = {"benchmark": name, **run(name, arguments)}
        except RuntimeError as error:
            failed.append(str(error))
            continue
        print(json.dumps(row), flush=True)
        rows.append(row)
    if not options.quick:
        TABLE.write_text(table(rows, TABLE.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {TABLE.relative_to(HERE.parent)}", file=sys.stderr)
    if failed:
        raise SystemExit("; ".join(failed))


if __name__ == "__main__":
    main()
