"""The environment decam_fields from end to end: a small grid of injections into real DECam pixels, as a user runs it.

The detector has fixed random weights: the run is the subject, and its scores mean nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.learning.samples import split_certificate

from ..selection.fake_sky import FakeSky, random_detector

PER_CELL = 12
THRESHOLD = 0.57  # amid the scores of these weights
GRID = {
    "theta_e_arcsec": [1.0, 2.0],
    "psf_fwhm_arcsec": [1.05, 1.2],
    "depth_mag": [23.5, 24.0, 24.5],
    "injections_per_cell": PER_CELL,
}
PARAMETERS = {
    "injection_recovery": {
        "grid": GRID,
        "injection": {"batch_size": 48, "n_stamps": 16},
        "completeness": {"min_injections": PER_CELL, "thresholds": [THRESHOLD]},
    }
}


def run(folder: str) -> None:
    """Put a detector and its split where lens_finder leaves them, then run injection_recovery on the real fields."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(Path(folder))
    options = {"project_path": folder, "env": "decam_fields", "runtime_params": PARAMETERS}
    with KedroSession.create(**options) as session:
        catalog = session.load_context().catalog
        manifest = pd.DataFrame({"galaxy_id": ["a", "b"], "split": ["train", "val"], "label": [1, 0]})
        manifest["stamp_row"] = [0, 1]
        card = {"splits": split_certificate(manifest)}
        catalog.save("lens_finder.manifest", manifest)
        catalog.save("lens_finder.detector", random_detector().with_card(split=card))
        trained = FakeSky().galaxies()[["galaxy_id", "ra", "dec"]].assign(split="train")
        catalog.save("lens_finder.split_galaxies", trained)
    with KedroSession.create(**options) as session:
        session.run(pipeline_names=["injection_recovery"], tags=["injection_recovery"])


@pytest.fixture(scope="module")
def project(repository, real_data, tmp_path_factory) -> Path:
    """A project of its own: the checkout's code and configuration, and no data yet."""
    project = tmp_path_factory.mktemp("decam") / "project"
    (project / "src").mkdir(parents=True)  # Kedro wants one; the code is the checkout's, with its compiled kernels
    shutil.copytree(repository / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    (project / "conf/local").mkdir()
    shutil.copyfile(repository / "pyproject.toml", project / "pyproject.toml")
    code = "import sys; from tests.real.test_decam_fields_run import run; run(sys.argv[1])"
    environment = {
        **os.environ, "PYTHONPATH": f"{repository / 'src'}{os.pathsep}{repository}", "SKYTRACE_DATA": str(real_data),
        "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg",
    }  # fmt: skip
    environment.pop("KEDRO_RELEASE", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(project)],
        cwd=project, env=environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return project


@pytest.fixture(scope="module")
def results(project) -> Path:
    return project / "data/08_reporting/decam_fields/injection_recovery"


@pytest.fixture(scope="module")
def injections(project) -> pd.DataFrame:
    (path,) = (project / "data/07_model_output/decam_fields/injection_recovery/injections.parquet").glob("*/*.parquet")
    return pd.read_parquet(path)


def test_conditions_are_those_that_the_fields_offer(results):
    """PSF 1.05" at depth 24.0 is the sharper field's own; shallower skies are degraded from it; none is deeper."""
    table = pd.read_csv(results / "conditions.csv").set_index(["psf_fwhm", "depth"])
    assert len(table) == 6
    assert table.loc[(1.05, 24.0), "mode"] == "matched"
    assert set(table.xs(23.5, level="depth")["mode"]) == {"degraded"}
    assert set(table.xs(24.5, level="depth")["mode"]) == {"no_hosts"}


def test_every_host_is_a_galaxy_of_the_real_fields_seen_under_its_own_sky(injections, real_data):
    from skytrace.surveys.decam_fields import DecamFieldsSurvey

    real = DecamFieldsSurvey(real_data / "imaging" / "decam_grz_fields").galaxies().set_index("galaxy_id")
    assert injections["galaxy_id"].nunique() >= 5
    hosts = real.loc[injections["galaxy_id"]]
    assert hosts["type"].isin(["SER", "DEV", "REX", "EXP"]).all()
    np.testing.assert_allclose(injections["host_psfsize_r"], hosts["psfsize_r"], rtol=1e-6)
    np.testing.assert_allclose(injections["host_psfdepth_r"], hosts["psfdepth_r"], rtol=1e-6)
    matched = injections["mode"] == "matched"
    assert (injections.loc[~matched, "host_psfsize_r"] < injections.loc[~matched, "psf_fwhm"] + 0.075).all()


def test_no_light_changes_no_score_and_light_does(injections):
    assert (injections["zero_flux_score"] == injections["host_score"]).all()
    assert (injections["score"] != injections["host_score"]).mean() > 0.9


def test_kept_composites_gained_the_light_that_the_table_says(project, injections):
    """Image minus host is arcs and their photon noise: what was lensed, less what was cut off, in real pixels."""
    (path,) = (project / "data/07_model_output").rglob("injection_stamps.npz/*/*.npz")
    with np.load(path, allow_pickle=False) as stamps:
        gained = (stamps["image"] - stamps["host"])[:, 1].sum(axis=(1, 2), dtype=np.float64)
        rows = injections.set_index("injection_id").loc[stamps["injection_id"]]
    put_in = rows["lensed_flux_r_nmgy"] * (1 - rows["flux_cut_fraction"])
    assert len(rows) >= 10
    assert np.median(gained / put_in) == pytest.approx(1.0, abs=0.02)
    assert gained.sum() / put_in.sum() == pytest.approx(1.0, abs=0.02)


def test_the_surface_counts_the_injections_that_pass_and_says_that_it_is_not_validated(results, injections):
    table = pd.read_csv(results / "selection_function.csv")
    table = table[np.isclose(table["threshold"], THRESHOLD)].set_index("cell")
    assert len(table) == 12
    passed = (injections["score"] >= THRESHOLD).groupby(injections["cell"]).agg(["sum", "size"])
    assert (passed["size"] == PER_CELL).all()
    assert 0 < passed["sum"].sum() < passed["size"].sum()
    measured = table.loc[passed.index]
    assert (measured["n_detected"] == passed["sum"]).all() and (measured["n"] == PER_CELL).all()
    np.testing.assert_allclose(measured["completeness"], passed["sum"] / PER_CELL)
    empty = table.drop(index=passed.index)
    assert (empty["state"] == "no_hosts").all() and empty["completeness"].isna().all() and len(empty) >= 4
    assert set(table["verdict"]) == {"INSUFFICIENT"} and not table["validated"].any()


def test_gates_without_real_lenses_are_insufficient_and_those_of_pixels_are_judged(results):
    report = json.loads((results / "realism_report.json").read_text())
    status = {gate["name"]: gate["status"] for gate in report["gates"]}
    assert report["verdict"] == "INSUFFICIENT"
    assert status["1 arc S/N"] == status["3 arc colour"] == "insufficient"
    assert status["2 background"] == status["7 parity"] == "pass"
    assert "INSUFFICIENT" in (results / "selection_function.html").read_text()
    assert (results / "heatmaps.png").read_bytes().startswith(b"\x89PNG")


def test_the_manifest_names_the_real_files_and_the_mock_sky_was_not_made(project, real_data):
    (path,) = (project / "data/08_reporting").rglob("manifests/*.json")
    manifest = json.loads(path.read_text())
    assert (manifest["status"], manifest["environment"]) == ("done", "decam_fields")
    assert manifest["parameters"]["injection_recovery"]["grid"]["injections_per_cell"] == PER_CELL
    survey = manifest["datasets"]["survey"]
    assert Path(survey["path"]) == real_data / "imaging/decam_grz_fields"
    assert survey["files"] >= 3 and len(survey["sha256"]) == 64
    assert not manifest["datasets"]["lens_finder.detector"]["path"].startswith(("/", ".."))
    assert not (project / "data/01_raw").exists()
