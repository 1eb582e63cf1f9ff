"""A shard of a table carries a hash of what is in it: every kind of column counts, Arrow's layout does not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skytrace.compute.table_shards import _content, read_shard, save_shard
from skytrace.errors import ShardError

TABLE = pd.DataFrame(
    {
        "n": [1, 2, 3],
        "text": ["ab", None, "c"],
        "flux": [1.0, np.nan, 3.0],
        "seen": [True, False, True],
        "kind": pd.Categorical(["u", "v", "u"]),
        "maybe": pd.array([1, None, 2], dtype="Int64"),
    }
)
CHANGES = {
    "n": [1, 2, 4],
    "text": ["ab", "", "c"],
    "flux": [1.0, 0.0, 3.0],
    "seen": [True, True, True],
    "kind": pd.Categorical(["u", "v", "v"]),
    "maybe": pd.array([1, 0, 2], dtype="Int64"),
}


def _arrow(table: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(table, preserve_index=False)


def test_a_table_of_every_kind_of_column_comes_back_as_it_was(tmp_path):
    save_shard(TABLE, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_shard(tmp_path / "t.parquet"), TABLE)
    none = TABLE.iloc[:0].drop(columns="kind")  # Parquet keeps no categories that do not occur
    save_shard(none, tmp_path / "none.parquet")
    pd.testing.assert_frame_equal(read_shard(tmp_path / "none.parquet"), none)


@pytest.mark.parametrize("name", CHANGES)
def test_one_other_value_in_a_file_is_noticed(tmp_path, name):
    path = tmp_path / "t.parquet"
    save_shard(TABLE, path)
    schema = pq.read_schema(path)
    changed = _arrow(TABLE.assign(**{name: CHANGES[name]})).replace_schema_metadata(schema.metadata)
    pq.write_table(changed, path, compression="zstd")
    with pytest.raises(ShardError, match="its content was changed"):
        read_shard(path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"text": ["ab", "c"]}, {"text": ["a", "bc"]}),  # the same letters, parted elsewhere
        ({"text": ["", None]}, {"text": [None, ""]}),
        ({"n": pd.array([0, None], dtype="Int64")}, {"n": pd.array([None, 0], dtype="Int64")}),
        ({"n": [1, 2]}, {"m": [1, 2]}),
        ({"n": [1, 2], "m": [3, 4]}, {"m": [3, 4], "n": [1, 2]}),
        ({"n": np.array([1, 0], dtype=np.int64)}, {"n": np.array([1, 0], dtype=np.uint64)}),
        ({"f": [0.0, 1.0]}, {"f": [-0.0, 1.0]}),
        ({"kind": pd.Categorical(["u", "v"])}, {"kind": pd.Categorical(["v", "u"])}),
        ({"kind": pd.to_datetime(["2026-01-01"])}, {"kind": pd.to_datetime(["2026-01-02"])}),
        ({"kind": pd.to_datetime(["2026-01-01"])}, {"sort": pd.to_datetime(["2026-01-01"])}),
    ],
)
def test_names_order_types_and_where_a_text_ends_count(one, other):
    """Without what pandas wrote beside, which tells most of these apart too."""
    bare = [_arrow(pd.DataFrame(columns)).replace_schema_metadata(None) for columns in (one, other)]
    assert _content(bare[0]) != _content(bare[1])


def test_what_pandas_makes_of_the_columns_counts():
    whole = _arrow(TABLE)
    assert _content(whole.replace_schema_metadata(None)) != _content(whole)


@pytest.mark.parametrize("values", [[1, 2, 1], [0.5, 1.5, 0.5], [True, False, True], ["u", None, "u"]])
def test_categories_of_any_kind_are_whole_when_read(tmp_path, values):
    save_shard(pd.DataFrame({"kind": pd.Categorical(values)}), tmp_path / "t.parquet")
    assert read_shard(tmp_path / "t.parquet")["kind"].astype(object).where(lambda x: x.notna(), None).tolist() == values


def test_how_arrow_lays_the_same_rows_out_does_not_count():
    whole = _arrow(TABLE)
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2)])
    assert _content(parts) == _content(whole)
    rest = _arrow(TABLE.iloc[1:].reset_index(drop=True)).replace_schema_metadata(whole.schema.metadata)
    assert _content(whole.slice(1, 2)) == _content(rest)
