"""An environment changes the source of raw sky by its conf folder alone; YAML options are those of the classes."""

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from skytrace.surveys.decam_fields import DecamFieldsSurvey
from skytrace.surveys.legacy_survey import LegacySurvey


def surveys_of(repository, environment):
    loader = OmegaConfigLoader(str(repository / "conf"), base_env="base", default_run_env=environment, env=environment)
    entries = {name: loader["catalog"][name] for name in ("survey", "detector_survey")}
    return DataCatalog.from_config(entries), loader["globals"]


def test_decam_fields_replaces_the_hosts_and_keeps_the_detectors_survey(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    catalog, names = surveys_of(repository, "decam_fields")
    survey = catalog.load("survey")
    assert isinstance(survey, DecamFieldsSurvey) and survey.folder == tmp_path / "imaging/decam_grz_fields"
    assert survey.options.minimum_valid_fraction == 0.5
    assert type(catalog["detector_survey"]).__name__ == "MockSurveyDataset"
    assert (names["env"], names["sky"], names["detector_sky"]) == ("decam_fields", "decam_fields", "mock")


@pytest.mark.parametrize("entry", ["survey", "detector_survey"])
def test_legacy_survey_replaces_both(repository, tmp_path, monkeypatch, entry):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    catalog, names = surveys_of(repository, "legacy_survey")
    survey = catalog.load(entry)
    assert isinstance(survey, LegacySurvey)
    assert survey.options.route == "service" and survey.options.mag_z_limit == 21.0
    assert survey.cutout_folder == tmp_path / "legacy_survey/cutouts"
    assert names["detector_sky"] == names["sky"] == names["env"] == "legacy_survey"


def test_importing_the_surveys_imports_nothing_heavy():
    import subprocess
    import sys

    script = (
        "import sys, skytrace.surveys.decam_fields, skytrace.surveys.legacy_survey\n"
        "print([m for m in ('torch','jax','matplotlib','sklearn','numba','astropy.io.fits','sep','httpx','kedro') "
        "if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
