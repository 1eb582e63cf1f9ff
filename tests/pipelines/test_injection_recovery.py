"""The injection loop: resumed after a kill to the same bytes, the same on any number of workers, and no leak."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import LeakageError, OptionError, PixelError
from skytrace.imaging import PreprocessOptions
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.nodes import choose_hosts, inject, measure_surface
from skytrace.pipelines.injection_recovery.options import ThresholdedOptions
from skytrace.pipelines.injection_recovery.shards import Campaign, recompute, run_campaign
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.sky import SelectionOptions

from ..selection.fake_sky import FakeSky, random_detector

GRID = GridOptions((0.75, 1.5), (1.2, 1.5), (23.5, 24.0), injections_per_cell=24)
HOSTS = HostOptions(min_matched_hosts=4, max_hosts_per_cell=8)
INJECTION = InjectionOptions(batch_size=16, score_batch=16, n_stamps=10)


def split_of(sky: FakeSky, name: str = "test") -> pd.DataFrame:
    return sky.galaxies()[["galaxy_id", "ra", "dec"]].assign(split=name)


def campaign_of(sky: FakeSky) -> Campaign:
    hosts, conditions, _ = choose_hosts(sky, split_of(sky), SelectionOptions(), HOSTS, GRID, PreprocessOptions())
    return Campaign(GRID, PopulationOptions(), INJECTION, PreprocessOptions(), hosts, conditions)


def run(folder: Path, *, workers: int = 1) -> pd.DataFrame:
    sky = FakeSky()
    return run_campaign(
        campaign_of(sky), random_detector(), sky, folder=folder, cluster=ClusterOptions(workers=workers)
    )


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("*/condition-*.parquet"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return folder, run(folder)


def test_every_cell_has_its_injections_and_one_mode(finished):
    _, injections = finished
    assert injections["injection_id"].is_unique
    assert (injections.groupby("cell").size() == 24).all()
    assert (injections.groupby("cell")["mode"].nunique() == 1).all()
    uses = injections.groupby(["cell", "galaxy_id"]).size()
    assert uses.groupby("cell").agg(lambda n: n.max() - n.min()).max() <= 1  # hosts take turns


def test_an_injection_without_light_keeps_the_hosts_score_to_the_bit(finished):
    _, injections = finished
    assert (injections["zero_flux_score"] == injections["host_score"]).all()
    assert (injections["score"] != injections["host_score"]).any()


def test_two_workers_give_the_same_bytes(finished, tmp_path):
    folder, _ = finished
    run(tmp_path, workers=2)
    assert digests(tmp_path) == digests(folder)


def test_a_kill_in_the_loop_is_resumed_to_the_same_bytes(finished, tmp_path):
    folder, _ = finished
    code = "import sys, pathlib, tests.pipelines.test_injection_recovery as t; t.run(pathlib.Path(sys.argv[1]))"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root, env=environment)
    deadline = time.monotonic() + 240
    while not digests(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    survived = digests(tmp_path)
    assert 0 < len(survived) < len(digests(folder))
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in survived}
    run(tmp_path)
    assert digests(tmp_path) == digests(folder)
    assert times == {name: (tmp_path / name).stat().st_mtime_ns for name in survived}  # finished shards were kept


def test_a_recomputed_composite_gets_the_score_that_was_stored(finished):
    from skytrace.learning import score_stamps

    _, injections = finished
    sky = FakeSky()
    chosen = injections.iloc[::17]
    recomputed = []
    for rows, _, injected in recompute(campaign_of(sky), sky, chosen):
        score = score_stamps(random_detector(), injected.stamps, batch_size=INJECTION.score_batch)
        recomputed.append(pd.Series(score, index=rows["injection_id"]))
    scores = pd.concat(recomputed).sort_index()
    assert (scores.index == chosen["injection_id"]).all()
    assert (scores.to_numpy() == chosen["score"].to_numpy()).all()


def test_a_host_that_was_trained_on_stops_the_run(tmp_path):
    sky = FakeSky()
    campaign = campaign_of(sky)
    trained = split_of(sky)
    name = campaign.hosts["galaxy_id"].iloc[0]
    trained.loc[trained["galaxy_id"] == name, "split"] = "train"
    with pytest.raises(LeakageError, match=name):
        inject(
            sky, random_detector(), campaign.hosts, campaign.conditions, trained, GRID, HOSTS, PopulationOptions(),
            INJECTION, PreprocessOptions(), ClusterOptions(), str(tmp_path),
        )  # fmt: skip


def test_stamps_prepared_otherwise_than_in_training_are_refused(tmp_path):
    sky = FakeSky()
    campaign = campaign_of(sky)
    other = Campaign(**{**vars(campaign), "preprocessing": PreprocessOptions(annulus_px=(20, 32))})
    with pytest.raises(PixelError, match="trained with"):
        run_campaign(other, random_detector(), sky, folder=tmp_path, cluster=ClusterOptions())


def test_the_surface_counts_what_the_threshold_passes(finished):
    _, injections = finished
    sky = FakeSky()
    table, csv, along, trends = measure_surface(
        injections, campaign_of(sky).conditions, {"verdict": "INSUFFICIENT"}, random_detector(), GRID,
        PopulationOptions(), ThresholdedOptions(thresholds=(0.6,), min_injections=24),
    )  # fmt: skip
    for threshold in (0.5, 0.6):
        rows = table[table["threshold"] == threshold]
        assert rows["n_detected"].sum() == (injections["score"] >= threshold).sum()
    assert not table["validated"].any()
    assert csv.equals(table)
    assert set(along["axis"]) == {"theta_e", "psf_fwhm", "depth"}
    assert np.isfinite(table["completeness"]).all()
    assert {axis: trend["threshold"] for axis, trend in trends.items()} == dict.fromkeys(along["axis"].unique(), 0.5)
    json.dumps(trends, allow_nan=False)


def test_a_threshold_outside_0_1_is_refused():
    with pytest.raises(OptionError, match=r"thresholds = 1\.0 .*\(0, 1\)"):
        ThresholdedOptions(thresholds=(1.0,))


def test_a_misspelt_parameter_is_refused_by_name():
    with pytest.raises(TypeError, match="min_matched_host"):
        HostOptions(**{"min_matched_host": 3})
