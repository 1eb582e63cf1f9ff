"""A version that is asked for is there and is read, or the run does not begin."""

import pandas as pd
import pytest
from kedro.io import DataCatalog, Version
from kedro.pipeline import Node, Pipeline

from skytrace.datasets import AtomicCSVDataset, AtomicParquetDataset
from skytrace.errors import OptionError
from skytrace.load_versions import LoadVersionsHook, check_load_versions
from skytrace.run_request import UnknownNameError


def same(x):
    return x


@pytest.fixture
def catalog(tmp_path):
    path = str(tmp_path / "stamps.parquet")
    for version in ("2026-11-22T10.00.00.000Z", "2026-11-23T10.00.00.000Z"):
        AtomicParquetDataset(filepath=path, version=Version(None, version)).save(pd.DataFrame({"x": [1]}))
    stamps = AtomicParquetDataset(filepath=path, version=Version("2026-11-22T10.00.00.000Z", None))
    scores = AtomicParquetDataset(filepath=str(tmp_path / "scores.parquet"), version=Version(None, None))
    return DataCatalog({"stamps": stamps, "scores": scores, "plain": AtomicCSVDataset(filepath=path + ".csv")})


PIPELINE = Pipeline([Node(same, "stamps", "scores", name="score"), Node(same, "plain", "drawn", name="draw")])


def test_a_version_that_is_there_and_is_read_is_taken(catalog):
    check_load_versions({"stamps": "2026-11-22T10.00.00.000Z"}, PIPELINE, catalog)
    LoadVersionsHook().before_pipeline_run(run_params={}, pipeline=PIPELINE, catalog=catalog)


@pytest.mark.parametrize(
    ("name", "version", "error", "words"),
    [
        ("stamps", "2026-11-21T10.00.00.000Z", UnknownNameError,
         "there are 2026-11-22T10.00.00.000Z, 2026-11-23T10.00.00.000Z"),
        ("scores", "2026-11-22T10.00.00.000Z", OptionError, "node score makes it anew in this run; begin after it"),
        ("plain", "0001", OptionError, "it has no versions"),
        ("stmps", "0001", UnknownNameError, "read no such dataset; did you mean stamps?"),
    ],
)  # fmt: skip
def test_another_one_is_refused_by_name_before_anything_runs(catalog, name, version, error, words):
    with pytest.raises(error) as caught:
        LoadVersionsHook().before_pipeline_run(
            run_params={"load_versions": {name: version}}, pipeline=PIPELINE, catalog=catalog
        )
    assert str(caught.value).startswith(f"--load-versions {name}:{version}: ") and words in str(caught.value)
