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
    "other",
    [
        TABLE.assign(text=["a", None, "bc"]),  # the same letters, parted elsewhere
        TABLE.assign(text=[None, "ab", "c"]),
        TABLE.rename(columns={"n": "m"}),
        TABLE[["text", "n", "flux", "seen", "kind", "maybe"]],
        TABLE.assign(n=TABLE["n"].astype(np.int32)),
        TABLE.iloc[[1, 0, 2]].reset_index(drop=True),
    ],
)
def test_names_order_types_and_where_a_text_ends_count(other):
    assert _content(_arrow(other)) != _content(_arrow(TABLE))


def test_how_arrow_lays_the_same_rows_out_does_not_count():
    whole = _arrow(TABLE)
    parts = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2)])
    assert _content(parts) == _content(whole)
    rest = _arrow(TABLE.iloc[1:].reset_index(drop=True)).replace_schema_metadata(whole.schema.metadata)
    assert _content(whole.slice(1, 2)) == _content(rest)
