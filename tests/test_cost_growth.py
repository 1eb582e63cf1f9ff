"""The growth of cost: its fit finds a known law, every sharded step is measured, and the page shows what was found."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks._growth_steps import STEPS
from benchmarks.cost_growth import broken, fit_growth, growth_points, sizes_of, table
from tests.pipelines.test_sharded_steps import FUNCTIONS, MODULES, _calls

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "results" / "cost_growth.json"


@pytest.fixture(scope="module")
def steps():
    return json.loads(MEASURED.read_text(encoding="utf-8"))["steps"]


def test_sizes_are_two_to_a_decade():
    assert sizes_of(30, 30_000) == [30, 90, 300, 900, 3000, 9000, 30_000]
    assert sizes_of(1, 5) == [1, 3]


@pytest.mark.parametrize(("exponent", "start", "each"), [(1.0, 2.0, 0.003), (2.0, 0.5, 1e-5), (0.8, 0.0, 0.01)])
def test_a_known_law_is_found_and_its_interval_holds_it_as_often_as_it_says(exponent, start, each):
    n, rng, inside = np.array(sizes_of(10, 10_000)), np.random.default_rng(1), 0
    exact = fit_growth(n, start + each * n**exponent)
    assert exact.exponent == pytest.approx(exponent, abs=1e-3)
    assert exact.start_s == pytest.approx(start, abs=1e-3) and exact.each_s == pytest.approx(each, rel=1e-2)
    for _ in range(150):
        found = fit_growth(n, (start + each * n**exponent) * np.exp(0.03 * rng.normal(size=len(n))))
        inside += found.low_95 <= exponent <= found.high_95
    assert 0.9 <= inside / 150 <= 0.995


def test_three_sizes_are_too_few():
    with pytest.raises(ValueError, match="3 sizes"):
        fit_growth([1, 10, 100], [1, 2, 3])


def _points(before, last):
    return [{"objects": 10, "cpu_s": before}, {"objects": 100, "cpu_s": last}]


def test_a_step_that_grows_too_fast_or_gains_too_little_is_named():
    steps = {
        "scanning": {"growth": {"exponent": 1.6, "low_95": 1.5}, "points": _points(1.0, 40.0)},
        "filling": {"growth": {"exponent": 1.2, "low_95": 1.1}, "points": _points(1.0, 10.5)},
        "noisy": {"growth": {"exponent": 1.2, "low_95": 0.8}, "points": _points(1.0, 15.0)},
        "flat": {
            "growth": {"exponent": 1.02, "low_95": 1.01}, "points": _points(1.0, 10.0),
            "pair": {"speed_up_without_start": 1.9},
        },
        "waiting": {"pair": {"speed_up_without_start": 1.2}},
    }  # fmt: skip
    assert broken(steps) == [
        "scanning grows as n^1.60, above 1.1", "two processes do waiting 1.20 times as fast, below 1.7",
    ]  # fmt: skip


def test_a_step_is_measured_at_every_size(tmp_path):
    points = growth_points(STEPS["light_curves"]._replace(smallest=10), tmp_path, 100)
    assert [point["objects"] for point in points] == [10, 30, 100]
    assert all(0 < point["cpu_s"] < 60 and point["peak_mb"] > 50 for point in points)


def test_every_function_that_maps_shards_is_measured():
    mapping = {name for (module, name), node in FUNCTIONS.items() if _maps_shards(module, node)}
    assert mapping == {step.function for step in STEPS.values()}
    assert len(MODULES) > 20


def _maps_shards(module, node):
    return any(name == "map_shards" for _, name in _calls(module, node))


def test_the_page_shows_the_measured_figures(steps):
    assert list(steps) == list(STEPS)
    assert [words for words in broken(steps) if "grows" in words] == []
    assert MEASURED.with_suffix(".md").read_text(encoding="utf-8") == table(steps)
    assert "```{include} results/cost_growth.md" in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for name, one in steps.items():
        counts, seconds = ([point[key] for point in one["points"]] for key in ("objects", "cpu_s"))
        assert counts[-1] >= 1000 * counts[0], name
        assert fit_growth(counts, seconds).exponent == pytest.approx(one["growth"]["exponent"], abs=1e-6), name
