"""The injection loop of the selection function: 77,000 injections rendered, noised, preprocessed and scored.

Full form: the whole grid on two worker processes, wall seconds. --quick: CPU seconds of a sample of injections on one
thread, from which 77,000 on two cores are extrapolated (perfect sharing is assumed, and starting the processes left
out). Both give each step's share of the sample's CPU seconds, and the network's share of the roof: the convolutions'
rate in the same run, of the best of some 3 x 3 layers of ResNet-18. Hosts are those of a small made-up sky and weights
are random: neither changes the work. --check fails above three minutes.

--growth [LARGEST]: CPU seconds and peak memory of 10^3, 10^4, ... injections of one condition up to LARGEST (10^5; with
--quick 10^4), each in a process of its own; ``per_thousand`` is the cost of a thousand more between two sizes, and
``start_seconds`` that of the start (the hosts). --check: every size must lie within 10 % of one straight line.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import argparse
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

INJECTIONS = 77_000
BOUNDS = {"seconds_of_77000": (0.0, 180.0)}
#: Of --growth: how far any size may lie from the straight line, relative to it.
LINEAR_WITHIN = 0.1
#: Steps: the functions that are timed, by the module whose name for it the loop calls.
STEPS = {
    "draw": ("skytrace.pipelines.injection_recovery.shards", "draw_lenses"),
    "hosts": ("skytrace.pipelines.injection_recovery.shards", "condition_hosts"),
    "render": ("skytrace.lensing", "render_lenses"),
    "magnification": ("skytrace.lensing", "flux_magnification"),
    "normals": ("skytrace.selection.injection", "standard_normals"),
    "photon_noise": ("skytrace.selection.injection", "photon_noise"),
    "preprocess": ("skytrace.selection.injection", "preprocess"),
    "network": ("skytrace.learning.scoring", "network_logits"),
}


@contextmanager
def timed_steps(spent: dict[str, float]):
    """Add the CPU seconds of every step to ``spent`` while the body runs."""
    from importlib import import_module

    before = {}
    for step, (module_name, name) in STEPS.items():
        module = import_module(module_name)
        before[module, name] = function = getattr(module, name)

        def timed(*values, _step=step, _function=function, **options):
            start = time.process_time()
            try:
                return _function(*values, **options)
            finally:
                spent[_step] = spent.get(_step, 0.0) + time.process_time() - start

        setattr(module, name, timed)
    try:
        yield
    finally:
        for (module, name), function in before.items():
            setattr(module, name, function)


def campaign_on(sky, per_cell: int):
    """The default grid over the sky's galaxies."""
    from skytrace.imaging.preprocessing import PreprocessOptions
    from skytrace.imaging.quality import QualityOptions
    from skytrace.lensing.population import PopulationOptions
    from skytrace.pipelines.injection_recovery.nodes import choose_hosts
    from skytrace.pipelines.injection_recovery.shards import Campaign
    from skytrace.selection.grid import GridOptions
    from skytrace.selection.hosts import HostOptions
    from skytrace.selection.injection import InjectionOptions
    from skytrace.sky import SelectionOptions

    grid = replace(GridOptions(), injections_per_cell=per_cell)
    split = sky.galaxies()[["galaxy_id", "ra", "dec"]].assign(split="test")
    hosts, conditions, _ = choose_hosts(
        sky, split, SelectionOptions(), HostOptions(), grid, PreprocessOptions(), QualityOptions()
    )
    population = PopulationOptions(position_rule="magnification")
    return Campaign(grid, population, InjectionOptions(), PreprocessOptions(), hosts, conditions)


def network_flops() -> float:
    """Floating-point operations of one stamp through ResNet-18."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from skytrace.learning.networks import build_network

    network = build_network("resnet18").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    return float(counter.get_total_flops())


def roof_flops(repeats: int = 5) -> float:
    """Floating-point operations a CPU second of the fastest of three 3 x 3 layers of ResNet-18, best of ``repeats``."""
    import torch
    from torch.utils.mkldnn import to_mkldnn

    best = 0.0
    for channels, side in ((64, 16), (128, 8), (256, 4)):
        layer = to_mkldnn(torch.nn.Conv2d(channels, channels, 3, padding=1).eval())
        pixels = torch.randn(64, channels, side, side).to_mkldnn()
        operations = 2.0 * 9 * channels**2 * side**2 * 64
        with torch.inference_mode():
            layer(pixels)
            for _ in range(repeats):
                start = time.process_time()
                for _ in range(20):
                    layer(pixels)
                best = max(best, 20 * operations / (time.process_time() - start))
    return best


def sample(campaign, detector, sky, folder: Path, n_conditions: int) -> tuple[dict[str, float], int]:
    """CPU seconds of every step, and in all, of some conditions on one thread, compilation left out; injections."""
    import pandas as pd

    from skytrace.pipelines.injection_recovery import shards

    staged = shards.stage(campaign, detector, sky, folder=folder)
    by_size = campaign.conditions[campaign.conditions["n_per_cell"] > 0].sort_values("n_per_cell", kind="stable")
    used = by_size["condition"].astype(int).tolist()
    shards.load_inputs(staged)
    shards.compute_shard(shards.Shard(staged / "first.parquet", used[0]), campaign=campaign)
    spent: dict[str, float] = {}
    rows, start = 0, time.process_time()
    with timed_steps(spent):
        for number in used[-n_conditions:]:
            path = shards.compute_shard(shards.Shard(staged / f"sample-{number}.parquet", number), campaign=campaign)
            rows += len(pd.read_parquet(path, columns=["cell"]))
    total = time.process_time() - start
    return {**spent, "rest": total - sum(spent.values()), "total": total}, rows


def growth_point(injections: int) -> dict[str, float]:
    """CPU seconds and peak memory [MB] of about so many injections of one condition, compilation left out."""
    import resource

    from skytrace.compute import ClusterOptions
    from skytrace.pipelines.injection_recovery.shards import run_campaign
    from tests.selection.fake_sky import FakeSky, random_detector

    sky, detector, seconds = FakeSky(300), random_detector(), 0.0
    for per_cell in (2, round(injections / 11)):
        campaign = campaign_on(sky, 200)
        most = campaign.conditions.sort_values("n_per_cell", kind="stable").tail(1)
        campaign = replace(campaign, conditions=most.assign(n_per_cell=per_cell))
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            table = run_campaign(
                campaign, detector, sky, folder=Path(folder), cluster=ClusterOptions(cluster="inline", workers=1)
            )
            seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return {"injections": len(table), "seconds": seconds, "peak_mb": peak}


def growth(sizes: tuple[int, ...], *, check: bool) -> None:
    """Print one line a size, then the line of the straight line through them."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    points: list[dict[str, float]] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for size in sizes:
            measure.note(f"{size:,} injections")
            points.append(pool.submit(growth_point, size).result())
            measure.note(str(points[-1]))
    per_thousand = [
        1e3 * (b["seconds"] - a["seconds"]) / (b["injections"] - a["injections"]) for a, b in pairwise(points)
    ]
    start, each, departures = straight_line(points)
    measure.print_line(
        name="selection function growth", unit="CPU s per 1000 more", ours=1e3 * each, start_seconds=start,
        departures=departures, per_thousand=per_thousand, points=points,
    )  # fmt: skip
    if check and max(map(abs, departures)) > LINEAR_WITHIN:
        raise SystemExit(
            f"benchmarks.selection_function: not linear within {LINEAR_WITHIN:.0%}: {departures} off the best line"
        )


def straight_line(points: list[dict[str, float]]) -> tuple[float, float, list[float]]:
    """Seconds at the start and for each injection of the line of least relative squares, and each size's relative
    departure from it."""
    import numpy as np

    count, seconds = (np.array([point[name] for point in points]) for name in ("injections", "seconds"))
    columns = np.stack([np.ones(len(points)), count], axis=1) / seconds[:, None]
    start, each = np.linalg.lstsq(columns, np.ones(len(points)), rcond=None)[0]
    return float(start), float(each), (seconds / (start + each * count) - 1.0).tolist()


def main() -> None:
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--growth", nargs="?", type=int, const=0)
    chosen, others = own.parse_known_args()
    sys.argv = [sys.argv[0], *others]
    options = measure.arguments(__doc__)
    if chosen.growth is not None:
        largest = chosen.growth or (10_000 if options.quick else 100_000)
        if largest < 10_000:
            raise SystemExit(f"benchmarks.selection_function: --growth {largest}: from 10,000 on there are two sizes")
        growth(tuple(10**power for power in range(3, len(str(largest)))), check=options.check)
        return
    if options.gpu:
        measure.print_line(name="selection function", device="unavailable", ours=None, reason="not measured on a GPU")
        return
    from skytrace.compute import ClusterOptions
    from skytrace.compute.processor import processor_name
    from skytrace.pipelines.injection_recovery.shards import run_campaign
    from tests.selection.fake_sky import FakeSky, random_detector

    sky, detector = FakeSky(300), random_detector()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure.note("a sample of injections on one thread")
        # the cost of a condition's hosts is shared by its injections: the sample has the conditions with the most
        spent, rows = sample(campaign_on(sky, 200), detector, sky, folder, 1 if options.quick else 3)
        total = spent.pop("total")
        roof, flops = roof_flops(), network_flops()
        rate = rows / spent["network"]
        fields: dict = {"extrapolated": True, "seconds_of_77000": total / rows * INJECTIONS / 2, "injections": rows}
        if not options.quick:
            start = time.perf_counter()
            cluster = ClusterOptions(cluster="local", workers=2)
            table = run_campaign(campaign_on(sky, 200), detector, sky, folder=folder, cluster=cluster)
            wall = time.perf_counter() - start
            fields = {
                "extrapolated": len(table) != INJECTIONS, "seconds": wall, "injections": len(table),
                "seconds_of_77000": wall * INJECTIONS / len(table),
            }  # fmt: skip
    row = measure.print_line(
        name="selection function", unit="injections/s, two cores", ours=INJECTIONS / fields["seconds_of_77000"],
        **fields, cpu_seconds_per_million=total / rows * 1e6, threads=2, device=processor_name(),
        share={step: round(seconds / total, 3) for step, seconds in spent.items()},
        network_stamps_per_s_core=rate, roof_stamps_per_s_core=roof / flops, share_of_roof=rate * flops / roof,
    )  # fmt: skip
    if options.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.selection_function: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
