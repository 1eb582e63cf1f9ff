"""The run manifest says which raw sky a run has read: its files' number, bytes and hash, not the folder they lie in."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.datasets import DecamFieldsDataset, LegacySurveyDataset, MockSurveyDataset
from skytrace.hooks import RunManifestHook
from skytrace.provenance import RunManifest
from tests.surveys.cutout_server import serving
from tests.surveys.legacy_files import SIGMA, answer, brick_wcs, star_stamp, sweep_rows, write_brick, write_sweep
from tests.surveys.test_decam_fields import planes, write_field

SIZE = 61


def sha256sum(files: dict[str, Path]) -> str:
    """What ``sha256sum`` would print of ``files`` (name -> path), hashed."""
    lines = [f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Load a survey dataset under the hooks, look at the survey, and return its record in the manifest."""
    root = tmp_path / "sky"
    monkeypatch.setenv("SKYTRACE_DATA", str(root))

    class Node:
        name = "select"

    def do(dataset, look) -> dict:
        hook = RunManifestHook()
        hook._project = tmp_path
        hook._catalog = {"survey": dataset}
        hook._manifest = manifest = RunManifest(tmp_path, run_id="r", environment="e", command={})
        survey = dataset.load()
        hook.after_dataset_loaded("survey", survey, Node())
        look(survey)
        path = manifest.write(tmp_path / "manifest.json", status="done")
        return json.loads(path.read_text())["datasets"]["survey"]

    return do


def assert_describes(record: dict, root: Path, names: list[str]) -> None:
    files = {name: root / name for name in names}
    assert record["files"] == len(names)
    assert record["bytes"] == sum(path.stat().st_size for path in files.values())
    assert record["sha256"] == sha256sum(files)


def test_of_decam_fields_the_fields_that_were_read(record, tmp_path):
    folder = tmp_path / "sky" / "fields"
    for name in ("alpha", "beta"):
        write_field(folder / f"{name}.fits", *planes())
    (folder / "README").write_text("not sky")
    found = record(DecamFieldsDataset(folder="fields"), lambda survey: survey.galaxies())
    assert found["path"] == "sky/fields"
    assert_describes(found, folder, ["alpha.fits", "beta.fits"])
    listing = tmp_path / "listings" / f"{found['sha256']}.sha256"
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("alpha.fits", "beta.fits")}
    assert listing.read_text() == "".join(f"{value}  {name}\n" for name, value in hashes.items())
    assert found["sky"] == {"folder": "fields", "options": {}}
    nothing = record(DecamFieldsDataset(folder="fields"), lambda survey: None)
    assert (nothing["files"], nothing["bytes"]) == (0, 0)


def test_of_the_legacy_survey_sweeps_lenses_and_the_cutouts_asked_for(record, tmp_path):
    root, rows = tmp_path / "sky", sweep_rows(4)
    write_sweep(root / "legacy_survey/sweeps/sweep.fits", rows)
    lenses = root / "imaging/catalogs/lens_catalog.parquet"
    lenses.parent.mkdir(parents=True)
    pd.DataFrame(
        {"ra": [1.0], "dec": [2.0], "grade": ["A"], "lens_type": ["galaxy"], "theta_e_arcsec": [1.0],
         "system_id": ["s"], "cluster_survey_only": [False]}
    ).to_parquet(lenses)  # fmt: skip
    ids = [f"10000-333333-{objid}" for objid in rows["objid"]]
    invvar = np.broadcast_to((SIGMA**-2)[:, None, None], (3, SIZE, SIZE)).astype(np.float32)

    def look(survey):
        survey.lenses()
        survey.cutouts(ids[:2], size=SIZE)

    with serving(lambda query: answer(star_stamp(SIZE), invvar)) as server:
        options = {"base_url": server.url, "rate_per_s": 1000.0}
        found = record(LegacySurveyDataset(options=options), look)
        # cutouts of other galaxies on disk are not what this run has read
        LegacySurveyDataset(options=options).load().download(ids, size=SIZE)
        again = record(LegacySurveyDataset(options=options), look)
    assert found["path"] == "sky"
    names = [f"legacy_survey/cutouts/{name}_ls-dr10_{SIZE}px_0.262.fits" for name in ids[:2]]
    assert_describes(found, root, ["legacy_survey/sweeps/sweep.fits", "imaging/catalogs/lens_catalog.parquet", *names])
    assert again == found


def test_of_the_legacy_survey_the_bricks_that_hold_the_galaxies(record, tmp_path):
    root, brick, size = tmp_path / "sky", "1500p020", 120
    wcs = brick_wcs(150.0, 2.0, size)
    layers = {
        (what, band): np.ones((size, size), np.float32) for what in ("image", "invvar", "psfsize") for band in "gr"
    }
    write_brick(root / "legacy_survey/coadd", brick, layers, wcs)
    write_brick(root / "legacy_survey/coadd", "1501p020", layers, wcs)
    rows = sweep_rows(1)
    rows["ra"], rows["dec"] = wcs.all_pix2world([[60.0, 60.0]], 0).T
    write_sweep(root / "legacy_survey/sweeps/sweep.fits", rows)
    dataset = LegacySurveyDataset(options={"route": "bricks"})
    assert dataset.exists()
    found = record(dataset, lambda survey: survey.cutouts([f"10000-333333-{rows['objid'][0]}"], size=41))
    folder = f"legacy_survey/coadd/{brick[:3]}/{brick}"
    names = [f"{folder}/legacysurvey-{brick}-{what}-{band}.fits.fz" for what, band in layers]
    assert_describes(found, root, ["legacy_survey/sweeps/sweep.fits", *names])


def test_of_the_mock_survey_its_whole_folder(record, tmp_path):
    folder = tmp_path / "mock"
    options = {"n_galaxies": 30, "seed": 3, "threads": 1}
    found = record(MockSurveyDataset(filepath=str(folder), options=options), lambda survey: survey.galaxies())
    assert found["path"] == "mock"
    assert_describes(found, folder, sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))


def test_a_legacy_survey_without_sweeps_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    assert not LegacySurveyDataset().exists()
