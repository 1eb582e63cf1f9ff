"""How the cost of every sharded step grows with the size of its input, over three decades, and what a second process
is worth.

Growth: CPU seconds of one worker at sizes two to a decade (``_growth_steps``), a process a step, after a run of ten
objects or more that is not counted: JAX keeps what it compiles. Sizes below 40 CPU s are the best of two or three.
t0 + c n^a is fitted with relative errors, t0 and c not negative; the interval of a is that of its profile (95 %, F).
Pair: wall seconds of one size with one worker in a process (``inline``) held to one core, and with two on a
LocalCluster, each in a fresh process, programs of JAX compiled before; and of ten objects, which is the start: the
ratio is told with it and without.
--check fails where an exponent and that of the last decade are above 1.1, the interval above 1, or where two processes
are less than 1.7 times as fast without the start.

--steps a,b: only these; the others' figures stay as they are in --save FILE (JSON), which also draws FILE's figure and
writes its table beside it. --folder: where inputs are kept. --only growth | pair. --quick: two steps, two decades less.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import argparse
import datetime
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

from benchmarks._growth_steps import STEPS, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

LARGEST_EXPONENT, LEAST_SPEED_UP = 1.1, 1.7
QUICK = ("light_curves", "cross_validated")
#: A size is measured so often, or until so many CPU seconds are spent on it.
_REPEATS, _ENOUGH_S = 3, 40.0
#: Objects, at least, of the run before the others.
_FIRST = 10


class Growth(NamedTuple):
    """t = start_s + each_s n^exponent, the exponent with its 95 % interval; rms: of the relative residuals."""

    exponent: float
    low_95: float
    high_95: float
    start_s: float
    each_s: float
    rms: float


def fit_growth(n: Sequence[float], seconds: Sequence[float]) -> Growth:
    """The power law with a start through the points, by least relative squares. Raises ValueError below four points."""
    import numpy as np
    from scipy.optimize import brentq, minimize_scalar, nnls
    from scipy.stats import f

    count, t = np.asarray(n, dtype=float), np.asarray(seconds, dtype=float)
    if len(count) < 4:
        raise ValueError(f"{len(count)} sizes: a start, a slope and an exponent need at least four")
    scale = count.max()

    def solve(exponent: float) -> tuple[Any, float]:
        columns = np.stack([np.ones_like(t), (count / scale) ** exponent], axis=1) / t[:, None]
        found, rest = nnls(columns, np.ones_like(t))
        return found, float(rest) ** 2

    grid = np.linspace(0.05, 4.0, 80)
    first = int(np.argmin([solve(a)[1] for a in grid]))
    bounds = grid[max(first - 1, 0)], grid[min(first + 1, len(grid) - 1)]
    best = float(minimize_scalar(lambda a: solve(a)[1], bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
    (start, each), least = solve(best)
    left = len(t) - 3
    limit = max(least, 1e-12) * (1.0 + f.ppf(0.95, 1, left) / left)

    def beyond(exponent: float) -> float:
        return solve(exponent)[1] - limit

    low = brentq(beyond, grid[0], best) if beyond(grid[0]) > 0 else 0.0
    high = brentq(beyond, best, grid[-1]) if beyond(grid[-1]) > 0 else float("inf")
    return Growth(best, low, high, float(start), float(each / scale**best), float(np.sqrt(least / len(t))))


def last_decade(points: Sequence[dict[str, float]]) -> float:
    """Exponent between the largest size and the one ten times smaller: what an extrapolation rests on."""
    largest = points[-1]
    before = next(one for one in points if 10 * one["objects"] == largest["objects"])
    return math.log10(largest["cpu_s"] / before["cpu_s"])


def sizes_of(smallest: int, largest: int) -> list[int]:
    """Two sizes a decade from the smallest to the largest."""
    sizes, size = [], smallest
    while size <= largest:
        sizes += [size, 3 * size]
        size *= 10
    return [size for size in sizes if size <= largest]


def growth_points(step: Step, folder: Path, largest: int) -> list[dict[str, float]]:
    """objects, CPU seconds and peak memory [MB] so far of every size, in this process."""
    from benchmarks.catalogue_scale import own_peak_mb
    from skytrace.compute import ClusterOptions

    inline, points = ClusterOptions(cluster="inline", workers=1), []
    run_first(step, folder)
    for size in sizes_of(step.smallest, largest):
        work, spent = step.prepare(size, folder), []
        while len(spent) < _REPEATS and sum(spent) < _ENOUGH_S:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                start = time.process_time()
                work.run(Path(name), inline)
                spent.append(time.process_time() - start)
        best = min(spent)
        peak = own_peak_mb()
        points.append({"objects": work.objects, "cpu_s": best, "peak_mb": peak})
        measure.note(f"{work.objects:,} {step.objects}: {best:.2f} CPU s, {peak:.0f} MB")
    return points


def run_first(step: Step, folder: Path) -> None:
    """A run of few objects, whose compiled programs stay in JAX's folder."""
    from skytrace.compute import ClusterOptions

    with tempfile.TemporaryDirectory(dir=folder) as name:
        step.prepare(max(step.smallest, _FIRST), folder).run(Path(name), ClusterOptions(workers=1))


def wall_seconds(step: Step, folder: Path, objects: int, workers: int) -> float:
    """Wall seconds of so many objects in this process, which has computed nothing yet. One worker has one core: XLA
    would share its matrices among all.
    """
    from skytrace.compute import ClusterOptions

    if workers == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work = step.prepare(objects, folder)
    cluster = ClusterOptions(cluster="inline" if workers == 1 else "local", workers=workers)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        start = time.perf_counter()
        work.run(Path(name), cluster)
        return time.perf_counter() - start


def measured(name: str, folder: Path, *, largest: int, parts: Sequence[str]) -> dict[str, Any]:
    """What was asked for of one step, each part in a process of its own."""
    step, found = STEPS[name], {}
    command = [sys.executable, "-m", "benchmarks.cost_growth", "--worker", name, "--folder", str(folder)]
    programs = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def ask(*arguments: str) -> Any:
        done = subprocess.run(
            [*command, *arguments], stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **programs}
        )
        return json.loads(done.stdout.splitlines()[-1])

    if "growth" in parts:
        measure.note(f"{name}: growth to {largest:,} {step.objects}")
        points = ask("--largest", str(largest))
        fitted = fit_growth([one["objects"] for one in points], [one["cpu_s"] for one in points])
        found |= {"growth": fitted._asdict(), "points": points}
    if "pair" in parts:
        measure.note(f"{name}: {step.pair:,} {step.objects} by one process and by two")
        few = max(step.smallest, _FIRST)
        for workers in (1, 2):  # programs are compiled, for a worker of a cluster another one
            ask("--workers", str(workers), "--largest", str(few))
        one_few, two_few, one, two = (
            ask("--workers", str(workers), "--largest", str(objects))
            for objects in (few, step.pair) for workers in (1, 2)
        )  # fmt: skip
        found["pair"] = {
            "objects": step.pair, "one_s": one, "two_s": two, "one_start_s": one_few, "two_start_s": two_few,
            "speed_up": one / two, "speed_up_without_start": (one - one_few) / (two - two_few),
        }  # fmt: skip
    told = {"pipeline": step.pipeline, "function": step.function, "objects": step.objects, "note": step.note}
    return told | found | {"day": datetime.date.today().isoformat()}


def table(steps: dict[str, dict[str, Any]]) -> str:
    """Two tables as Markdown: the growth of every step, and the pairs that were measured."""
    grown = [
        "| pipeline: function | sizes | exponent, 95 % | last decade | start, s | then | largest: CPU s, peak MB |"
    ]
    pairs = ["| pipeline: function | objects | one process, s | two, s | ratio | without the start |"]
    grown, pairs = [*grown, "|---|---|---|---|---|---|---|"], [*pairs, "|---|---|---|---|---|---|"]
    for one in steps.values():
        growth, points, pair = one.get("growth"), one.get("points"), one.get("pair")
        name = f"| {one['pipeline']}: `{one['function']}`"
        if growth and points:
            per = growth["each_s"] * 1e3 * points[-1]["objects"] ** (growth["exponent"] - 1.0)
            grown.append(
                f"{name}{' (' + one['note'] + ')' if one['note'] else ''} "
                f"| {points[0]['objects']:,} to {points[-1]['objects']:,} {one['objects']} "
                f"| **{growth['exponent']:.2f}** ({growth['low_95']:.2f} to {growth['high_95']:.2f}) "
                f"| {last_decade(points):.2f} | {growth['start_s']:.2f} | {per:.3g} ms each "
                f"| {points[-1]['cpu_s']:.1f}, {points[-1]['peak_mb']:,.0f} |"
            )
        if pair:
            pairs.append(
                f"{name} | {pair['objects']:,} | {pair['one_s']:.1f} | {pair['two_s']:.1f} | {pair['speed_up']:.2f} "
                f"| **{pair['speed_up_without_start']:.2f}** |"
            )
    return "\n".join([*grown, "", *pairs]) + "\n"


def draw(steps: dict[str, dict[str, Any]]) -> Figure:
    """CPU seconds of every step against its size, with the fitted law."""
    import numpy as np

    from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

    @house_style
    def drawn() -> Figure:
        grown = {name: one for name, one in steps.items() if one.get("growth")}
        rows = -(-len(grown) // 3)
        figure, axes = new_figure(width=DOUBLE_COLUMN_INCHES, height=1.55 * rows, rows=rows, columns=3, squeeze=False)
        for axis in axes.flat[len(grown) :]:
            axis.set_axis_off()
        for axis, one in zip(axes.flat, grown.values(), strict=False):
            growth = one["growth"]
            n, seconds = (np.array([point[key] for point in one["points"]]) for key in ("objects", "cpu_s"))
            line = np.geomspace(n[0], n[-1], 100)
            axis.loglog(line, growth["start_s"] + growth["each_s"] * line ** growth["exponent"], color=COLOURS["blue"])
            axis.loglog(n, seconds, "o", ms=3, color=COLOURS["black"])
            axis.set_title(f"{one['pipeline']}: {one['function']}", fontsize=6.5)
            label = f"$n^{{{growth['exponent']:.2f}}}$\n{growth['low_95']:.2f} to {growth['high_95']:.2f}"
            axis.text(0.05, 0.93, label, transform=axis.transAxes, va="top", fontsize=6.5)
            axis.set_xlabel(one["objects"], labelpad=1)
        for axis in axes[:, 0]:
            axis.set_ylabel("CPU time [s]")
        return figure

    return drawn()


def keep(path: Path, steps: dict[str, dict[str, Any]]) -> None:
    """The figures as JSON, and beside them the table and the figure."""
    from skytrace.compute.processor import processor_name
    from skytrace.reporting.style import figure_png

    ordered = {name: steps[name] for name in STEPS if name in steps}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"device": processor_name(), "steps": ordered}, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(ordered), encoding="utf-8")
    if any(one.get("growth") for one in ordered.values()):
        path.with_suffix(".png").write_bytes(figure_png(draw(ordered)))


def broken(steps: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence for every step that grows or scales worse than it must."""
    sentences = []
    for name, one in steps.items():
        growth = one.get("growth", {"exponent": 0.0, "low_95": 0.0})
        if growth["low_95"] > 1.0 and min(growth["exponent"], last_decade(one["points"])) > LARGEST_EXPONENT:
            sentences.append(f"{name} grows as n^{growth['exponent']:.2f}, above {LARGEST_EXPONENT:g}")
        if (ratio := one.get("pair", {}).get("speed_up_without_start", LEAST_SPEED_UP)) < LEAST_SPEED_UP:
            sentences.append(f"two processes do {name} {ratio:.2f} times as fast, below {LEAST_SPEED_UP:g}")
    return sentences


def _arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost_growth", description=__doc__, formatter_class=formatter
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"{' and '.join(QUICK)}, growth alone, one decade and a half"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1, naming the step, where a bound is broken")
    parser.add_argument("--gpu", action="store_true", help="accepted for all benchmarks; nothing here uses one")
    parser.add_argument("--steps", help=f"of {', '.join(STEPS)} (all of them), between commas")
    parser.add_argument("--only", choices=("growth", "pair"), help="one of the two measurements")
    parser.add_argument("--folder", type=Path, help="where inputs are kept (a temporary folder)")
    parser.add_argument("--save", type=Path, help="JSON file; table and figure are written beside it")
    parser.add_argument("--worker", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--largest", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.steps.split(",") if given.steps else list(QUICK if given.quick else STEPS)
    if unknown := sorted(set(names) - set(STEPS)):
        parser.error(f"--steps {', '.join(unknown)}: there are {', '.join(STEPS)}")
    given.steps = names
    return given


def main() -> None:
    given = _arguments()
    if given.worker:
        step, folder = STEPS[given.worker], given.folder / given.worker
        folder.mkdir(parents=True, exist_ok=True)
        found: Any = None
        if given.workers:
            found = wall_seconds(step, folder, given.largest, given.workers)
        else:
            found = growth_points(step, folder, given.largest)
        print(json.dumps(found))
        return
    steps: dict[str, dict[str, Any]] = {}
    if given.save and given.save.exists():
        steps = json.loads(given.save.read_text(encoding="utf-8"))["steps"]
    parts = ("growth",) if given.quick else (given.only,) if given.only else ("growth", "pair")
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.steps:
            step = STEPS[name]
            largest = max(step.largest // 100, 30 * step.smallest) if given.quick else step.largest
            figures = measured(name, given.folder or Path(scratch), largest=largest, parts=parts)
            steps[name] = steps.get(name, {}) | figures
            if given.save:
                keep(given.save, steps)
    asked = {name: steps[name] for name in given.steps}
    exponents = [one["growth"]["exponent"] for one in asked.values() if one.get("growth")]
    measure.print_line(
        name="cost growth", unit=f"largest exponent of {len(exponents)} sharded steps",
        ours=max(exponents, default=None),
        peer=None, device=measure.one_thread(), steps=asked,
    )  # fmt: skip
    if given.check and (sentences := broken(asked)):
        raise SystemExit(f"benchmarks.cost_growth: {'; '.join(sentences)}")


if __name__ == "__main__":
    main()
