"""Runs by hand and releases of DVC live side by side in one catalog."""

import pandas as pd
import pytest
from kedro.io import DatasetError

from skytrace.catalog import ReleaseCatalog
from skytrace.errors import SkytraceError


@pytest.fixture
def open_catalog(tmp_path, monkeypatch):
    configuration = {
        "table": {
            "type": "pandas.ParquetDataset",
            "filepath": f"{tmp_path}/table.parquet",
            "save_args": {"compression": "zstd"},
            "versioned": True,
        },
        "{name}.arrays": {
            "type": "skytrace.datasets.NPZDataset",
            "filepath": f"{tmp_path}/{{name}}.npz",
            "versioned": True,
        },
        "ledger": {"type": "pandas.CSVDataset", "filepath": f"{tmp_path}/ledger.csv", "save_args": {"index": False}},
    }

    def opened(*, release=None, save_version=None, load_versions=None) -> ReleaseCatalog:
        if release is None:
            monkeypatch.delenv("KEDRO_RELEASE", raising=False)
        else:
            monkeypatch.setenv("KEDRO_RELEASE", release)
        return ReleaseCatalog.from_config(configuration, save_version=save_version, load_versions=load_versions)

    return opened


def _table(value: int) -> pd.DataFrame:
    return pd.DataFrame({"value": [value]})


def test_a_run_by_hand_saves_a_timestamp_and_a_release_its_label(open_catalog, tmp_path):
    open_catalog(release="0001", save_version="2026-01-01T00.00.00.000Z").save("table", _table(1))
    open_catalog(save_version="2026-01-02T00.00.00.000Z").save("table", _table(2))
    assert sorted(path.name for path in (tmp_path / "table.parquet").iterdir()) == ["0001", "2026-01-02T00.00.00.000Z"]


def test_a_release_reads_itself_although_a_newer_run_by_hand_exists(open_catalog):
    open_catalog(release="0001").save("table", _table(1))
    open_catalog(save_version="2026-01-02T00.00.00.000Z").save("table", _table(2))
    assert open_catalog(release="0001").load("table")["value"].item() == 1
    assert open_catalog().load("table")["value"].item() == 2, "by hand, the newest version counts"


def test_a_release_pins_datasets_that_come_from_a_pattern(open_catalog, tmp_path):
    import numpy as np

    open_catalog(release="0001").save("hosts.arrays", {"a": np.ones(1)})
    open_catalog(save_version="2026-01-02T00.00.00.000Z").save("hosts.arrays", {"a": np.zeros(1)})
    assert (tmp_path / "hosts.npz" / "0001" / "hosts.npz").is_file()
    assert open_catalog(release="0001").load("hosts.arrays")["a"] == 1.0


def test_a_release_is_not_overwritten(open_catalog):
    open_catalog(release="0001").save("table", _table(1))
    with pytest.raises(DatasetError, match="must not exist"):
        open_catalog(release="0001").save("table", _table(2))


def test_a_version_asked_for_by_name_wins_over_the_release(open_catalog):
    open_catalog(release="0001").save("table", _table(1))
    open_catalog(release="0002").save("table", _table(2))
    catalog = open_catalog(release="0002", load_versions={"table": "0001"})
    assert catalog.load("table")["value"].item() == 1


def test_unversioned_datasets_keep_their_plain_path(open_catalog, tmp_path):
    open_catalog(release="0001").save("ledger", _table(1))
    assert (tmp_path / "ledger.csv").read_text() == "value\n1\n"


def test_parquet_bytes_repeat(open_catalog, tmp_path):
    table = pd.DataFrame({"galaxy_id": ["mock-0000001", "mock-0000002"], "flux_r": [1.5, None], "n": [1, 2]})
    for release in ("0001", "0002"):
        open_catalog(release=release).save("table", table)
    first, second = (tmp_path / "table.parquet" / release / "table.parquet" for release in ("0001", "0002"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("sky", "command"),
    [
        ("mock", "kedro run --pipelines lens_finder"),
        ("mock_paper_iv", "kedro run --env paper_iv --pipelines lens_finder"),
        ("legacy_survey", "kedro run --env legacy_survey --pipelines lens_finder"),
    ],
)
def test_what_was_not_made_yet_is_told_with_the_run_that_makes_it(tmp_path, monkeypatch, sky, command):
    monkeypatch.delenv("KEDRO_RELEASE", raising=False)
    entry = {
        "type": "skytrace.datasets.AtomicParquetDataset", "versioned": True,
        "filepath": f"{tmp_path}/data/03_primary/{sky}/lens_finder/split_galaxies.parquet",
    }  # fmt: skip
    catalog = ReleaseCatalog.from_config({"lens_finder.split_galaxies": entry})
    with pytest.raises(SkytraceError) as told:
        catalog.load("lens_finder.split_galaxies")
    assert str(told.value).startswith("there is no version of lens_finder.split_galaxies yet under ")
    assert str(told.value).endswith(f"pipeline lens_finder makes it, on the sky {sky}. Run this first: {command}")
