"""The injection loop: resumed after a kill to the same bytes, the same on any number of workers, and no leak."""

import hashlib
import json
import os
import shutil
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
from skytrace.imaging.quality import QualityOptions
from skytrace.learning.samples import split_certificate
from skytrace.lensing.population import PopulationOptions
from skytrace.parameters import build_options
from skytrace.pipelines.injection_recovery.nodes import choose_hosts, inject, measure_surface
from skytrace.pipelines.injection_recovery.shards import Campaign, recompute, run_campaign
from skytrace.selection.completeness import HOST_COLUMNS, CompletenessOptions
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.selection.selection_function import SelectionFunction
from skytrace.selection.trends import TRENDS
from skytrace.sky import SelectionOptions

from ..selection.fake_sky import FakeSky, random_detector
from .small_campaign import GRID, HOSTS, INJECTION, campaign_of, run, split_of

MANIFEST = pd.DataFrame(
    {"galaxy_id": ["a", "b", "c"], "split": ["train", "val", "test"], "label": [1, 0, 0], "stamp_row": [0, 1, 2]}
)


def trained_on(manifest: pd.DataFrame = MANIFEST):
    """The detector of fixed random weights, with a card that says it was trained on the manifest."""
    return random_detector().with_card(split={"splits": split_certificate(manifest)})


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
            sky, trained_on(), campaign.hosts, campaign.conditions, trained, MANIFEST, GRID, HOSTS,
            PopulationOptions(), INJECTION, PreprocessOptions(), ClusterOptions(), str(tmp_path),
        )  # fmt: skip


def test_a_split_table_of_another_run_cannot_hide_what_the_detector_was_trained_on(tmp_path):
    """The split table calls every host "test"; the detector's own sample, proved by its card, says otherwise."""
    sky = FakeSky()
    campaign = campaign_of(sky)

    def go(detector, manifest):
        inject(
            sky, detector, campaign.hosts, campaign.conditions, split_of(sky), manifest, GRID, HOSTS,
            PopulationOptions(), INJECTION, PreprocessOptions(), ClusterOptions(), str(tmp_path),
        )  # fmt: skip

    name = str(campaign.hosts["galaxy_id"].iloc[0])
    shown = pd.concat([MANIFEST, MANIFEST.iloc[:1].assign(galaxy_id=name)], ignore_index=True)
    with pytest.raises(LeakageError, match=f"shown to the detector in training or validation: {name}"):
        go(trained_on(shown), shown)
    with pytest.raises(LeakageError, match=r"train sample of lens_finder\.manifest is not the one"):
        go(trained_on(shown), MANIFEST)
    with pytest.raises(LeakageError, match="no split certificate"):
        go(random_detector(), MANIFEST)


def test_a_damaged_or_changed_shard_is_computed_again_to_the_same_bytes(finished, tmp_path, caplog):
    folder, injections = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    first, second = sorted(tmp_path.glob("*/condition-*.parquet"))[:2]
    first.write_bytes(first.read_bytes()[:2000])
    forged = pd.read_parquet(second)
    forged["score"] = 0.99
    forged.to_parquet(second)
    again = run(tmp_path)
    assert digests(tmp_path) == digests(folder)
    pd.testing.assert_frame_equal(again, injections)
    assert sum("computed again" in record.message for record in caplog.records) == 2


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
        PopulationOptions(), CompletenessOptions(thresholds=(0.6,), min_injections=24), HOSTS, SelectionOptions(),
    )  # fmt: skip
    known = SelectionFunction.from_table(table).metadata  # of whom the number is travels in the file
    assert known["population"] == vars(PopulationOptions()) and known["hosts"] == vars(HOSTS)
    assert known["host_selection"]["types"] == ["SER", "DEV", "REX"]
    for threshold in (0.5, 0.6):
        rows = table[table["threshold"] == threshold]
        assert rows["n_detected"].sum() == (injections["score"] >= threshold).sum()
    assert not table["validated"].any()
    assert csv.equals(table.drop(columns=list(HOST_COLUMNS)))  # lists have no place in a text file
    assert [sum(one) for one in table["host_n"]] == table["n"].tolist()
    assert set(along["axis"]) == {"theta_e", "psf_fwhm", "depth"}
    assert np.isfinite(table["completeness"]).all()
    assert {axis: trend["threshold"] for axis, trend in trends.items()} == dict.fromkeys(TRENDS, 0.5)
    json.dumps(trends, allow_nan=False)


def test_a_threshold_outside_0_1_is_refused():
    with pytest.raises(OptionError, match=r"thresholds = 1\.0 .*\(0, 1\)"):
        CompletenessOptions(thresholds=(1.0,))


def test_a_misspelt_parameter_is_refused_by_name():
    with pytest.raises(TypeError, match="min_matched_host"):
        HostOptions(**{"min_matched_host": 3})


def test_galdepth_cannot_be_the_depth_of_degraded_hosts():
    sky, galaxy_depth = FakeSky(), GridOptions(**{**vars(GRID), "depth_column": "galdepth_r"})
    rest = (PreprocessOptions(), QualityOptions())
    with pytest.raises(OptionError, match=r"depth_column = 'galdepth_r'.*set degraded_hosts: false, or .*psfdepth_r"):
        choose_hosts(sky, split_of(sky), SelectionOptions(), HOSTS, galaxy_depth, *rest)
    matched = HostOptions(**{**vars(HOSTS), "degraded_hosts": False})
    _, conditions, _ = choose_hosts(sky, split_of(sky), SelectionOptions(), matched, galaxy_depth, *rest)
    assert set(conditions["mode"]) <= {"matched", "no_hosts"}


def test_hosts_pass_the_quality_control_that_the_parameters_ask_for():
    sky = FakeSky()
    arguments = (sky, split_of(sky), SelectionOptions(), HOSTS, GRID, PreprocessOptions())
    usual = choose_hosts(*arguments, QualityOptions())[2]
    assert usual["rejected_by_quality"] == 0 < usual["hosts_used"]
    none = choose_hosts(*arguments, QualityOptions(nan_fraction_centre_max=0.0))[2]  # no cutout has less than none
    assert none["rejected_by_quality"] >= usual["hosts_used"] and none["hosts_used"] == 0


def parameters_of(environment: str, pipeline: str) -> dict:
    from kedro.config import OmegaConfigLoader

    conf = Path(__file__).resolve().parents[2] / "conf"
    loader = OmegaConfigLoader(
        str(conf), base_env="base", default_run_env=environment, merge_strategy={"parameters": "soft"}
    )
    return loader["parameters"][pipeline]


@pytest.mark.parametrize("environment", ["base", "smoke", "decam_fields", "legacy_survey"])
@pytest.mark.parametrize(
    "here, there, kind", [("quality", "quality", QualityOptions), ("preprocess", "preprocess", PreprocessOptions),
                          ("host_selection", "selection", SelectionOptions)],
)  # fmt: skip
def test_hosts_are_judged_as_the_detectors_own_galaxies_are(environment, here, there, kind):
    if (environment, here) == ("decam_fields", "host_selection"):
        pytest.skip("these hosts are of another sky than the detector's galaxies, and its parameters say so")
    mine = build_options(here, parameters_of(environment, "injection_recovery")[here], kind)
    assert mine == build_options(there, parameters_of(environment, "lens_finder")[there], kind)
