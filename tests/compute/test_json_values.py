"""Reports hold only what JSON has a type for."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.compute.json_values import json_ready, json_records


@dataclass
class _Options:
    radii: tuple[float, float] = (1.0, np.inf)


def test_what_is_not_finite_becomes_null_wherever_it_lies():
    value = {1: [np.float32("nan"), (np.inf, 2)], "arrays": np.array([[1.5, -np.inf]]), "options": _Options()}
    assert json_ready(value) == {"1": [None, [None, 2]], "arrays": [[1.5, None]], "options": {"radii": [1.0, None]}}


def test_numbers_and_flags_of_numpy_keep_their_kind():
    kinds = json_ready([np.int64(3), np.bool_(True), np.str_("r"), True, None])
    assert [type(value) for value in kinds] == [int, bool, str, bool, type(None)]


def test_what_json_has_no_type_for_is_refused_in_writing_unless_told_otherwise():
    with pytest.raises(TypeError):
        json.dumps(json_ready({"folder": Path("data")}))
    assert json_ready({"folder": Path("data")}, other=str) == {"folder": "data"}


def test_rows_of_a_table_keep_whole_numbers_whole():
    table = pd.DataFrame({"n": [3, 4], "share": [0.5, np.nan], "name": ["a", "b"]})
    rows = json_records(table)
    assert rows == [{"n": 3, "share": 0.5, "name": "a"}, {"n": 4, "share": None, "name": "b"}]
    assert isinstance(rows[0]["n"], int)
