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
from skytrace.imaging.psf import moffat_fwhm_from_psfsize, sky_sigma_nmgy
from skytrace.imaging.quality import QualityOptions
from skytrace.learning.samples import split_certificate
from skytrace.lensing.population import PopulationOptions, host_light_shape
from skytrace.parameters import build_options
from skytrace.pipelines.injection_recovery.gates import check_realism, measure_anchors, measure_composites
from skytrace.pipelines.injection_recovery.nodes import choose_hosts, inject, measure_surface
from skytrace.pipelines.injection_recovery.shards import Campaign, recompute, run_campaign
from skytrace.selection.arcs import ArcOptions, arc_annulus_snr, measure_arcs
from skytrace.selection.completeness import CompletenessOptions
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism import GateOptions
from skytrace.selection.trends import TRENDS
from skytrace.sky import SelectionOptions
from skytrace.surveys.interface import LENS_COLUMNS, CutoutBatch

from ..selection.fake_sky import FakeSky, random_detector

GRID = GridOptions((0.75, 1.5), (1.2, 1.5), (23.5, 24.0), injections_per_cell=24)
HOSTS = HostOptions(min_matched_hosts=4, max_hosts_per_cell=8)
INJECTION = InjectionOptions(batch_size=16, score_batch=16, n_stamps=10)


MANIFEST = pd.DataFrame(
    {"galaxy_id": ["a", "b", "c"], "split": ["train", "val", "test"], "label": [1, 0, 0], "stamp_row": [0, 1, 2]}
)


def trained_on(manifest: pd.DataFrame = MANIFEST):
    """The detector of fixed random weights, with a card that says it was trained on the manifest."""
    return random_detector().with_card(split={"splits": split_certificate(manifest)})


def split_of(sky: FakeSky, name: str = "test") -> pd.DataFrame:
    return sky.galaxies()[["galaxy_id", "ra", "dec"]].assign(split=name)


def campaign_of(sky: FakeSky) -> Campaign:
    hosts, conditions, _ = choose_hosts(
        sky, split_of(sky), SelectionOptions(), HOSTS, GRID, PreprocessOptions(), QualityOptions()
    )
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
        PopulationOptions(), CompletenessOptions(thresholds=(0.6,), min_injections=24),
    )  # fmt: skip
    for threshold in (0.5, 0.6):
        rows = table[table["threshold"] == threshold]
        assert rows["n_detected"].sum() == (injections["score"] >= threshold).sum()
    assert not table["validated"].any()
    assert csv.equals(table)
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


class LensSky(FakeSky):
    """FakeSky whose last twelve galaxies are anchors, with the faults that a test plants. margin: cutouts are this much
    larger or smaller than 101 px.
    """

    def __init__(self, *, blind: int = 0, margin: int = 0, **columns: object) -> None:
        super().__init__()
        self.anchor_ids = list(self.table["galaxy_id"][-12:])
        self.blind, self.margin = self.anchor_ids[:blind], margin
        for name, value in columns.items():
            self.table.loc[self.table["galaxy_id"].isin(self.anchor_ids[-2:]), name] = value

    def lenses(self) -> pd.DataFrame:
        rows = self.table[self.table["galaxy_id"].isin(self.anchor_ids)]
        lenses = rows[["galaxy_id", "ra", "dec"]].assign(tier="A", theta_e_arcsec=1.5, is_anchor=True)
        return lenses.assign(lens_id=[f"L{i:02d}" for i in range(len(rows))])[list(LENS_COLUMNS)]

    def cutouts(self, galaxy_ids, *, size: int = 101) -> CutoutBatch:
        batch = super().cutouts(galaxy_ids, size=size + self.margin)
        rows = np.isin(batch.galaxy_id, self.blind)
        batch.image[rows, 1, size // 2 - 2 : size // 2 + 2] = np.nan
        return batch


def anchors_of(sky: FakeSky, *, selection=None, quality=None, injection=INJECTION) -> pd.DataFrame:
    return measure_anchors(
        sky, split_of(sky).assign(split="none"), selection or SelectionOptions(), GRID, injection, PreprocessOptions(),
        quality or QualityOptions(), ArcOptions(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "columns, reason",
    [({"maskbits": 2}, "selection:maskbits"), ({"nobs_z": 1}, "selection:nobs_z"), ({"type": "EXP"}, "selection:type"),
     ({"flux_z": 1.0}, "selection:mag_z"), ({"dec": 80.0}, "selection:dec")],
)  # fmt: skip
def test_an_anchor_that_could_not_be_a_host_is_rejected_by_the_hosts_own_filter(columns, reason):
    anchors = anchors_of(LensSky(**columns))
    assert anchors["rejected"].tolist() == [""] * 10 + [reason] * 2
    assert anchors["arc_snr"].notna().tolist() == [True] * 10 + [False] * 2


def test_a_lens_is_not_excluded_for_being_near_a_lens_and_counts_once():
    sky = LensSky()
    lenses = pd.concat([sky.lenses(), sky.lenses().iloc[:1].assign(lens_id="A-twin", tier="confirmed")])
    sky.lenses = lambda: lenses.reset_index(drop=True)
    anchors = anchors_of(sky)
    assert anchors["lens_id"][anchors["rejected"] != ""].tolist() == ["L00"]
    assert anchors["rejected"].max() == "repeated:galaxy"


def test_an_anchor_without_pixels_is_rejected_by_the_hosts_own_quality_control():
    anchors = anchors_of(LensSky(blind=3))
    assert anchors["rejected"].tolist() == ["quality:nan_core_r;quality:nan_centre_r"] * 3 + [""] * 9
    assert anchors["arc_snr"].isna().tolist() == [True] * 3 + [False] * 9
    lenient = anchors_of(LensSky(blind=3), quality=QualityOptions(nan_fraction_centre_max=1.0))
    assert lenient["rejected"].tolist() == ["quality:nan_core_r"] * 3 + [""] * 9


@pytest.mark.parametrize(
    "sky, n", [(FakeSky(), 0), (LensSky(), 12)], ids=["no lens is known", "every lens is rejected"]
)
def test_a_sky_without_usable_lenses_has_an_anchor_table_all_the_same(sky, n):
    anchors = anchors_of(sky, selection=SelectionOptions(mag_z_max=15.0))
    assert len(anchors) == n == (anchors["rejected"] == "selection:mag_z").sum()
    assert anchors["arc_snr"].isna().all()
    assert set(anchors_of(LensSky()).columns) == set(anchors.columns)


def test_anchors_are_measured_at_the_centre_of_whatever_cutout_the_survey_gives():
    sky = LensSky(margin=40)
    batch = sky.cutouts(sky.anchor_ids)
    assert batch.image.shape[-1] == 141
    window = (slice(None), slice(None), slice(38, 102), slice(38, 102))  # pixel 70, the galaxy's, becomes pixel 32
    table = sky.table.set_index("galaxy_id").loc[sky.anchor_ids]
    q, phi = host_light_shape(table)
    sigma = sky_sigma_nmgy(
        *(table[[f"{name}_{band}" for band in "grz"]].to_numpy() for name in ("psfdepth", "psfsize"))
    )
    expected = measure_arcs(
        batch.image[window], batch.invvar[window], theta_e_arcsec=1.5, sigma_pix_nmgy=sigma, q=q, phi_rad=phi,
        fwhm_arcsec=moffat_fwhm_from_psfsize(table["psfsize_r"].to_numpy()),
    )  # fmt: skip
    np.testing.assert_array_equal(anchors_of(sky)["arc_snr"], expected["arc_snr"])


WIDE = InjectionOptions(**{**vars(INJECTION), "psf_beta": 2.5, "photon_noise": False})


@pytest.fixture
def widths(monkeypatch):
    """The half-maximum widths that ``measure_arcs`` is called with by the gates."""
    from skytrace.pipelines.injection_recovery import gates

    used: list[float] = []

    def measured(image, invvar, *, fwhm_arcsec, **others):
        used.extend(np.asarray(fwhm_arcsec).tolist())
        return measure_arcs(image, invvar, fwhm_arcsec=fwhm_arcsec, **others)

    monkeypatch.setattr(gates, "measure_arcs", measured)
    return used


def composites_of(injections, options, anchors, sky=None):
    campaign = campaign_of(FakeSky())
    return measure_composites(
        sky or FakeSky(), campaign.hosts, campaign.conditions, injections, anchors, GRID, PopulationOptions(), options,
        PreprocessOptions(), GateOptions(max_distance_steps=100.0), ArcOptions(),
    )  # fmt: skip


def test_arc_annuli_of_anchors_and_composites_follow_psf_beta(finished, widths):
    anchors = anchors_of(LensSky(), injection=WIDE)
    np.testing.assert_allclose(widths / anchors["psf_fwhm"], 0.7201, atol=1e-4)
    widths.clear()
    composites, _ = composites_of(finished[1].iloc[::11], WIDE, anchors)
    assert len(composites) == len(widths) > 10
    np.testing.assert_allclose(widths / composites["psf_fwhm"], 0.7201, atol=1e-4)


def test_the_injected_lights_own_snr_is_measured_in_the_same_annulus(finished):
    campaign = Campaign(**{**vars(campaign_of(FakeSky())), "injection": WIDE})
    chosen = finished[1].query("mode == 'matched'").iloc[::7]
    assert len(chosen) > 3
    for rows, stamps, injected in recompute(campaign, FakeSky(), chosen):
        host = rows["host_row"].to_numpy()
        fwhm = moffat_fwhm_from_psfsize(stamps.psfsize_r[host], beta=2.5)
        alone = arc_annulus_snr(injected.added, rows["theta_e"], fwhm, stamps.sigma_nmgy[host]).integrated[:, 1]
        np.testing.assert_allclose(injected.measured["arc_snr"], alone, rtol=1e-6)


def test_the_realism_report_names_the_rejected_anchors_and_the_rules_of_the_comparison(finished):
    injections = finished[1]
    anchors = anchors_of(LensSky(blind=3, flux_z=1.0))
    composites, stamps = composites_of(injections.iloc[::11], INJECTION, anchors)
    hosts = campaign_of(FakeSky()).hosts

    def reported(selection=None, injection=INJECTION, arcs=None):
        return check_realism(
            anchors, composites, injections, stamps, hosts, random_detector(), selection or SelectionOptions(),
            injection, QualityOptions(), arcs or ArcOptions(), GateOptions(),
        )[0]  # fmt: skip

    report = reported()
    assert report["comparison"]["anchors_rejected"] == 5
    assert report["comparison"]["anchors_rejected_by_reason"]["selection:mag_z"] == 2
    assert report["verdict"] in ("INSUFFICIENT", "NO-GO")
    others = [
        reported(selection=SelectionOptions(nobs_min=2)), reported(injection=WIDE), reported(arcs=ArcOptions(2.0)),
        reported(injection=InjectionOptions(**{**vars(INJECTION), "composites_per_anchor": 3})),
    ]  # fmt: skip
    assert len({report["options_hash"], *(other["options_hash"] for other in others)}) == 5


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
