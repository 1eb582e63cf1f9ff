"""Supernova surveys by environment, and posteriors whose files repeat to the byte."""

import numpy as np
import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, DatasetError, Version

from skytrace.datasets import MockSupernovaDataset, PosteriorDataset, SnanaSupernovaDataset, SupernovaTablesDataset
from skytrace.surveys.supernovae.mock import MockSupernovae
from skytrace.surveys.supernovae.tables import TabulatedSupernovae
from tests.surveys.snana_files import write_filters, write_text


def posterior(seed: int = 1):
    import arviz

    rng = np.random.default_rng(seed)
    return arviz.concat(
        arviz.from_dict(
            posterior={"omega_m": rng.normal(size=(2, 50)), "c": rng.normal(size=(2, 50, 3))},
            sample_stats={"diverging": np.zeros((2, 50), dtype=bool)}, dims={"c": ["component"]},
            coords={"component": [1, 2, 3]},
        ),
        arviz.from_dict(
            log_likelihood={"alpha": rng.normal(size=(2, 10, 4))}, dims={"alpha": ["snid"]},
            coords={"snid": ["a", "é", "c", "d"]},
        ),
    )  # fmt: skip


def test_a_posterior_comes_back_as_it_was(tmp_path):
    dataset = PosteriorDataset(filepath=f"{tmp_path}/p.nc")
    data = posterior()
    data.posterior.attrs["failures"] = "none"
    dataset.save(data)
    back = dataset.load()
    assert set(back.groups()) == {"posterior", "sample_stats", "log_likelihood"}
    for group in back.groups():
        for name, values in data[group].data_vars.items():
            np.testing.assert_array_equal(back[group][name].to_numpy(), values.to_numpy())
            assert back[group][name].dims == values.dims
    assert back.log_likelihood["snid"].to_numpy().tolist() == ["a", "é", "c", "d"]
    assert back.posterior.attrs["failures"] == "none"
    assert '"c": [2, 50, 3]' in dataset.preview()


def test_the_bytes_of_a_posterior_depend_on_its_draws_alone(tmp_path):
    files = []
    for name, created in (("one", "2020-01-01T00:00:00"), ("two", "2026-12-31T23:59:59")):
        data = posterior()
        data.posterior.attrs["created_at"] = created
        PosteriorDataset(filepath=f"{tmp_path}/{name}.nc").save(data)
        files.append((tmp_path / f"{name}.nc").read_bytes())
    assert files[0] == files[1]
    PosteriorDataset(filepath=f"{tmp_path}/three.nc").save(posterior(seed=2))
    assert (tmp_path / "three.nc").read_bytes() != files[0]


def test_a_posterior_is_versioned_and_a_missing_one_is_said(tmp_path):
    PosteriorDataset(filepath=f"{tmp_path}/p.nc", version=Version(None, "0001")).save(posterior())
    assert (tmp_path / "p.nc" / "0001" / "p.nc").is_file()
    assert not PosteriorDataset(filepath=f"{tmp_path}/q.nc").exists()
    with pytest.raises(DatasetError, match="run the pipeline that makes it"):
        PosteriorDataset(filepath=f"{tmp_path}/q.nc").load()


def test_the_environments_differ_in_where_supernovae_come_from(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    surveys = {}
    for environment in ("base", "smoke", "des_sn"):
        loader = OmegaConfigLoader(
            str(repository / "conf"), base_env="base", default_run_env=environment, env=environment,
            merge_strategy={"parameters": "soft", "globals": "soft"},
        )  # fmt: skip
        entry = {"supernova_survey": loader["catalog"]["supernova_survey"]}
        surveys[environment] = DataCatalog.from_config(entry).load("supernova_survey")
    assert isinstance(surveys["base"], MockSupernovae) and surveys["base"].options.n_supernovae == 5500
    assert surveys["smoke"].options.n_supernovae == 300
    assert isinstance(surveys["des_sn"], TabulatedSupernovae)
    assert surveys["des_sn"].folder == tmp_path / "supernova"
    assert list(surveys["des_sn"].options.hubble) == ["des_sn5yr_v12", "des_dovekie", "pantheon_plus"]


def test_raw_supernovae_are_never_saved_and_say_which_files_were_read(tmp_path):
    write_text(tmp_path)
    write_filters(tmp_path)
    dataset = SnanaSupernovaDataset(folder=str(tmp_path))
    assert dataset.exists() and not SupernovaTablesDataset(folder=str(tmp_path / "absent")).exists()
    assert dataset.source_files() is None
    dataset.load().light_curves()
    assert [path.name for path in dataset.source_files()] == ["des_001234.dat", "des_2011fe.dat", "des_77.dat",
                                                               "filters.csv"]  # fmt: skip
    mock = MockSupernovaDataset(options={"n_supernovae": 3})
    assert mock.source_path() is None
    with pytest.raises(DatasetError, match="never saved"):
        mock.save("anything")
