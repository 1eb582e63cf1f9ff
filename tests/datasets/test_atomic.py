"""Tables and reports are there whole or not at all, and are otherwise those of Kedro."""

import errno
import inspect
import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError, Version
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset

from skytrace.datasets import AtomicCSVDataset, AtomicJSONDataset, AtomicParquetDataset
from skytrace.errors import ShardError, SkytraceError


def _table() -> pd.DataFrame:
    table = pd.DataFrame({"galaxy_id": ["a", "b"], "theta_e_arcsec": [1.25, np.nan]})
    table.attrs["seed"] = 7
    return table


KINDS = {
    "parquet": (AtomicParquetDataset, ParquetDataset, {"compression": "zstd", "index": False}, _table()),
    "csv": (AtomicCSVDataset, CSVDataset, {"index": False}, _table()),
    "json": (AtomicJSONDataset, JSONDataset, {"indent": 2}, {"verdict": "GO", "bins": [1, 2]}),
}


@pytest.mark.parametrize("version", [None, Version(None, "0001")], ids=["plain", "versioned"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_the_bytes_are_those_of_the_stock_dataset(tmp_path, kind, version):
    atomic, stock, save_args, data = KINDS[kind]
    for folder, dataset in (("ours", atomic), ("stock", stock)):
        dataset(filepath=str(tmp_path / folder / "x"), save_args=save_args, version=version).save(data)
    name = "x/0001/x" if version else "x"
    assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "stock" / name).read_bytes()
    assert [path.name for path in (tmp_path / "ours" / name).parent.iterdir()] == ["x"]


@pytest.mark.parametrize("version", [None, Version(None, "0001")], ids=["plain", "versioned"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_write_that_breaks_off_leaves_no_file(tmp_path, monkeypatch, kind, version):
    atomic, _, save_args, data = KINDS[kind]
    dataset = atomic(filepath=str(tmp_path / "x"), save_args=save_args, version=version)
    begun = []

    def break_off(self, data, file):
        file.write(b"half" if kind == "parquet" else "half")
        file.flush()
        begun.extend(path for path in tmp_path.rglob("*") if path.is_file())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "_write", break_off)
    with pytest.raises(DatasetError, match="no space left on the disk") as caught:
        dataset.save(data)
    assert isinstance(caught.value.__cause__, ShardError)
    assert [path.stat().st_size if path.exists() else None for path in begun] == [None], "it was not written aside"
    assert not dataset.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_report_that_is_no_json_leaves_the_older_one_as_it_was(tmp_path):
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "report.json"))
    dataset.save({"verdict": "GO"})
    with pytest.raises(DatasetError, match="not JSON serializable"):
        dataset.save({"verdict": "NO-GO", "figure": object()})
    assert dataset.load() == {"verdict": "GO"}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_kedro_viz_shows_the_first_rows(tmp_path, kind):
    atomic, stock, save_args, data = KINDS[kind]
    dataset = atomic(filepath=str(tmp_path / "x"), save_args=save_args)
    dataset.save(data)
    assert dataset.preview(nrows=1)["data"] == [["a", 1.25]]
    ours, theirs = (inspect.signature(one.preview, eval_str=True) for one in (dataset, stock(filepath="y")))
    assert ours == theirs


def test_kedro_viz_shows_a_report(tmp_path):
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "report.json"))
    dataset.save({"verdict": "GO"})
    assert json.loads(dataset.preview()) == {"verdict": "GO"}


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float64("-inf")])
def test_a_number_that_json_does_not_know_is_refused_by_its_place(tmp_path, value):
    report = {"auc": {"value": 0.9}, "strata": [{"gap": 0.1}, {"gap": {"low_68": value}}]}
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "x.json"))
    with pytest.raises(DatasetError, match=r"strata\[1\]\.gap\.low_68 = -?(nan|inf) is not finite") as caught:
        dataset.save(report)
    assert isinstance(caught.value.__cause__, SkytraceError)
    assert not list(tmp_path.iterdir())
    report["strata"][1]["gap"]["low_68"] = None
    dataset.save(report)
    assert dataset.load() == report
