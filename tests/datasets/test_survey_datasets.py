"""Surveys are catalog entries: loaded lazily, never saved, options checked."""

import subprocess
import sys

import pytest
from kedro.io import DatasetError

from skytrace.datasets import DecamFieldsDataset, LegacySurveyDataset, MockSurveyDataset
from skytrace.errors import SurveyError
from skytrace.surveys.interface import ImagingSurvey, check_galaxies


def test_the_mock_survey_is_made_on_first_load_and_kept(tmp_path):
    dataset = MockSurveyDataset(filepath=str(tmp_path / "survey"), options={"n_galaxies": 60, "seed": 3})
    assert not dataset.exists()
    survey = dataset.load()
    assert isinstance(survey, ImagingSurvey)
    assert len(check_galaxies(survey.galaxies(), source="mock")) == 60
    assert dataset.exists()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "survey").rglob("*") if path.is_file()}
    dataset.load().galaxies()
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_raw_sky_is_never_saved(tmp_path):
    with pytest.raises(DatasetError, match="raw sky"):
        MockSurveyDataset(filepath=str(tmp_path)).save(object())


def test_a_misspelt_survey_option_is_named(tmp_path):
    with pytest.raises(DatasetError, match="n_galaxys"):
        MockSurveyDataset(filepath=str(tmp_path / "survey"), options={"n_galaxys": 60}).load()


def test_real_fields_are_looked_for_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    dataset = DecamFieldsDataset(folder="imaging/decam_grz_fields")
    assert not dataset.exists()
    assert dataset.source_path() == tmp_path / "imaging" / "decam_grz_fields"
    with pytest.raises(SurveyError, match=r"no folder .*decam_grz_fields; \$SKYTRACE_DATA is "):
        dataset.load().galaxies()


def test_real_fields_are_a_survey(real_data, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(real_data))
    survey = DecamFieldsDataset(folder="imaging/decam_grz_fields").load()
    assert isinstance(survey, ImagingSurvey)


def test_the_legacy_survey_takes_its_options(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    survey = LegacySurveyDataset(options={"route": "bricks", "workers": 2}).load()
    assert isinstance(survey, ImagingSurvey)
    assert (survey.options.route, survey.options.workers) == ("bricks", 2)


def test_importing_datasets_imports_nothing_heavy():
    program = (
        "import sys, skytrace.datasets, skytrace.hooks\n"
        "print([m for m in ('torch', 'matplotlib', 'sklearn', 'numba', 'jax', 'astropy', 'dask') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
