"""The survey that docs/how_to/survey.md writes is an imaging survey."""

import textwrap

import numpy as np
import pytest

from skytrace.errors import OptionError, SurveyError
from skytrace.surveys.interface import ImagingSurvey
from tests.selection.fake_sky import FakeSky


@pytest.fixture
def recipe(repository):
    page = (repository / "docs/how_to/survey.md").read_text(encoding="utf-8")
    code = textwrap.dedent(page.split("```python\n")[1].split("   ```")[0])
    names: dict = {"__name__": "patch"}
    exec(compile(code, "docs/how_to/survey.md", "exec"), names)
    return names


def test_the_survey_of_the_page_gives_its_own_pixels(recipe, tmp_path, monkeypatch):
    sky = FakeSky(4)
    batch = sky.cutouts(sky.table["galaxy_id"], size=101)
    folder = tmp_path / "imaging" / "patch"
    folder.mkdir(parents=True)
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    sky.galaxies().to_parquet(folder / "galaxies.parquet")
    np.savez(folder / "pixels.npz", image=batch.image, invvar=batch.invvar)
    survey = recipe["PatchSurvey"]("imaging/patch", {"psf_fwhm_arcsec": 1.1})
    assert isinstance(survey, ImagingSurvey) and len(survey.galaxies()) == 4 and survey.lenses().empty
    found = survey.cutouts(["fake-00002", "fake-00000"], size=61)
    np.testing.assert_array_equal(found.image, batch.image[[2, 0], :, 20:81, 20:81])
    np.testing.assert_array_equal(found.invvar, batch.invvar[[2, 0], :, 20:81, 20:81])
    np.testing.assert_allclose(found.psf.fwhm_arcsec, 1.1)
    wider = survey.cutouts(["fake-00001"], size=121)
    assert (wider.invvar[:, :, :10] == 0).all() and (wider.image[0, :, 60, 60] == batch.image[1, :, 50, 50]).all()
    assert {path.name for path in survey.files_read} == {"galaxies.parquet", "pixels.npz"}
    with pytest.raises(SurveyError, match="no galaxy 'x'"):
        survey.cutouts(["x"])


def test_the_survey_of_the_page_refuses_what_it_does_not_know(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    with pytest.raises(SurveyError, match=r"pixels\.npz"):
        recipe["PatchSurvey"]("nowhere")
    with pytest.raises(OptionError, match="did you mean psf_fwhm_arcsec"):
        recipe["PatchSurvey"](tmp_path, {"psf_fwm_arcsec": 1.0})
    with pytest.raises(OptionError, match=r"psf_fwhm_arcsec = 9.0 is outside its allowed range \[0.3, 4\]"):
        recipe["PatchSurvey"](tmp_path, {"psf_fwhm_arcsec": 9.0})
