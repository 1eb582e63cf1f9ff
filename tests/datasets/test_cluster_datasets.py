"""Surveys of clusters by environment: the catalog's options are those of the classes, and raw sky is never saved."""

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, DatasetError

from skytrace.datasets import ClusterMosaicDataset, MockClustersDataset
from skytrace.errors import OptionError
from skytrace.surveys.clusters.mosaic import ClusterMosaic


@pytest.mark.parametrize(("environment", "n"), [("base", 4000), ("smoke", 240)])
def test_the_catalogs_options_are_those_of_the_mock(repository, environment, n):
    soft = {"parameters": "soft", "globals": "soft"}  # as in settings.py
    loader = OmegaConfigLoader(
        str(repository / "conf"), base_env="base", default_run_env=environment, env=environment, merge_strategy=soft
    )
    survey = DataCatalog.from_config({"cluster_survey": loader["catalog"]["cluster_survey"]}).load("cluster_survey")
    assert survey.options.n_clusters == n and survey.options.label_fraction == 0.6
    # what the learners are told is what the mock is made with: hidden lenses over all that is not known
    lenses, known = survey.options.lens_fraction, survey.options.label_fraction
    told = loader["parameters"]["cluster_pu"]["prior"]["unlabelled"]
    assert told == pytest.approx(lenses * (1 - known) / (1 - lenses * known), rel=0.05)


def test_a_mosaic_is_found_under_the_data_root_and_says_which_files_it_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    dataset = ClusterMosaicDataset(folder="clusters", options={"images": {"g": "g.fits", "r": "r.fits", "i": "i.fits"}})
    assert not dataset.exists()
    (tmp_path / "clusters").mkdir()
    assert dataset.exists() and dataset.source_path() == tmp_path / "clusters"
    survey = dataset.load()
    assert isinstance(survey, ClusterMosaic) and dataset.source_files() == []
    survey.files_read.add(tmp_path / "clusters/g.fits")
    assert dataset.source_files() == [tmp_path / "clusters/g.fits"]


def test_raw_sky_is_never_saved_and_a_misspelt_option_is_named():
    dataset = MockClustersDataset(options={"n_clusters": 3})
    assert dataset.exists() and dataset.source_path() is None
    with pytest.raises(DatasetError, match="never saved"):
        dataset.save("sky")
    with pytest.raises((OptionError, DatasetError), match="n_clusters"):
        MockClustersDataset(options={"n_cluster": 3}).load()
