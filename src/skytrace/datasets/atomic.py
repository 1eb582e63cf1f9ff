"""Kedro's tables and JSON, written whole or not at all: a killed run leaves no file that looks finished."""

import json
import math
from typing import TYPE_CHECKING, Any

from kedro.io import DatasetError
from kedro_datasets._typing import TablePreview
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset

from skytrace.compute.files import atomic_path
from skytrace.compute.json_values import json_ready
from skytrace.errors import SkytraceError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AtomicCSVDataset", "AtomicJSONDataset", "AtomicParquetDataset"]


class _AtomicSave:
    """Saves on a local disk go through a temporary file and a rename; object stores do so on their own."""

    def save(self: Any, data: Any) -> None:
        """Write ``data`` whole or not at all. Raises ShardError naming the file where the disk is full."""
        if self._protocol != "file":
            super().save(data)  # type: ignore[misc]
            return
        path = self._get_save_path()
        with atomic_path(path) as partial, self._fs.open(str(partial), **self._fs_open_args_save) as file:
            self._write(data, file)
        self._invalidate_cache()


class AtomicParquetDataset(_AtomicSave, ParquetDataset):
    """pandas.ParquetDataset with an atomic save; the bytes are the same."""

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, of which alone is read: what Kedro-Viz shows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        # as kedro_datasets finds the file, but not the whole of it, and values that JSON has a type for
        with self._fs.open(str(self._get_load_path()), **self._fs_open_args_load) as file:
            table = pq.ParquetFile(file)
            batches = table.iter_batches(batch_size=nrows, columns=self._load_args.get("columns"))
            first = next(batches, None)
            rows = table.schema_arrow.empty_table() if first is None else pa.Table.from_batches([first])
        return _previewed(rows.to_pandas())

    def _write(self, data: "pd.DataFrame", file: Any) -> None:
        if "partition_cols" in self._save_args:
            raise DatasetError("partition_cols makes a folder of files; this dataset is one file")
        data.to_parquet(file, **self._save_args)


class AtomicCSVDataset(_AtomicSave, CSVDataset):
    """pandas.CSVDataset with an atomic save; the bytes are the same."""

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows: what Kedro-Viz shows."""
        import pandas as pd

        return _previewed(pd.DataFrame(**super().preview(nrows)))

    def _write(self, data: "pd.DataFrame", file: Any) -> None:
        data.to_csv(file, **self._save_args)


class AtomicJSONDataset(_AtomicSave, JSONDataset):
    """json.JSONDataset with an atomic save; the bytes are the same. What is not finite is no JSON and is refused."""

    def _write(self, data: Any, file: Any) -> None:
        place = _not_finite(data)
        if place is not None:
            raise SkytraceError(f"{place} is not finite: JSON knows no NaN and no infinity; say None, and why, instead")
        json.dump(data, file, **{**self._save_args, "allow_nan": False})


def _previewed(table: "pd.DataFrame") -> TablePreview:
    """Values that JSON has a type for; NaN and infinities, for which it has none, are null."""
    return TablePreview(json_ready(table.to_dict(orient="split"), other=str))


def _not_finite(value: Any, path: str = "") -> str | None:
    """``path.to.key = nan`` of the first number that is not finite; None where all are."""
    if isinstance(value, dict):
        found = (_not_finite(part, f"{path}.{key}" if path else str(key)) for key, part in value.items())
    elif isinstance(value, list | tuple):
        found = (_not_finite(part, f"{path}[{place}]") for place, part in enumerate(value))
    else:
        return f"{path or 'the value'} = {value}" if isinstance(value, float) and not math.isfinite(value) else None
    return next((place for place in found if place is not None), None)
