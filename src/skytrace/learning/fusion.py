"""Observing conditions as a network takes them: standardised by the training sample's own mean and spread.

The constants are part of a detector's card, so that a stamp's metadata means the same wherever it is scored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["CLIP_SD", "fit_standardisation", "standardise"]

#: A stamp far outside the training sample is told as that, not as something further out than any weight has met.
CLIP_SD = 5.0


def fit_standardisation(metadata: pd.DataFrame | None, columns: Sequence[str]) -> dict[str, Any]:
    """JSON-ready {"columns", "mean", "sd"} of the columns, missing values left out; sd 1 for a constant column.

    Raises CatalogueError where a column is missing or has no finite value.
    """
    values = _columns(metadata, columns)
    empty = [name for name, column in zip(columns, values.T, strict=True) if not np.isfinite(column).any()]
    if empty:
        raise CatalogueError(f"metadata {', '.join(empty)} has no finite value in the training sample")
    finite = np.where(np.isfinite(values), values, np.nan)
    sd = np.nanstd(finite, axis=0)
    mean = np.nanmean(finite, axis=0)
    # a column that only rounding makes vary is constant
    sd = np.where(sd > 1e-12 * np.maximum(1.0, np.abs(mean)), sd, 1.0)
    return {"columns": list(columns), "mean": mean.tolist(), "sd": sd.tolist()}


def standardise(metadata: pd.DataFrame | None, constants: dict[str, Any], *, rows: int) -> NDArray[np.float32]:
    """(rows, columns) float32: (value - mean) / sd, at most CLIP_SD in size; 0, the mean, where a value is missing.

    Raises CatalogueError without a table, for a missing column, or for another number of rows.
    """
    values = _columns(metadata, constants["columns"])
    if len(values) != rows:
        raise CatalogueError(f"metadata has {len(values)} rows for {rows} stamps; give one row a stamp, in their order")
    scaled = (values - np.array(constants["mean"])) / np.array(constants["sd"])
    return np.where(np.isfinite(values), np.clip(scaled, -CLIP_SD, CLIP_SD), 0.0).astype(np.float32)


def _columns(metadata: pd.DataFrame | None, columns: Sequence[str]) -> NDArray[np.float64]:
    if metadata is None:
        raise CatalogueError(
            f"this detector was given {', '.join(columns)} beside the pixels: hand over metadata=, a table with these "
            "columns and one row a stamp"
        )
    missing = [name for name in columns if name not in metadata.columns]
    if missing:
        raise CatalogueError(f"the metadata table lacks {', '.join(missing)}")
    return metadata[list(columns)].to_numpy(dtype=np.float64)
