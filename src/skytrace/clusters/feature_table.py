"""The columns that a model of cluster fields may read, by group, and what stands in for a value that is not known.

Errors of colours stay in the table but are in no group: they follow the brightness of a patch over the depth of its
field, so trees that read them learn how deep a survey looked where lenses were found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.clusters.catalogue import CATALOGUE_SCHEMA
from skytrace.clusters.patches import feature_schema
from skytrace.clusters.peak_colours import PEAK_COLOUR_SCHEMA
from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from skytrace.clusters.options import PatchOptions

__all__ = ["GROUPS", "colour_columns", "feature_groups", "filled_features", "fit_filling", "group_of"]

#: Groups of features, as they are left out one by one: brightness, texture and colour of patches; the cutout as a
#: whole; colours of the brightest peaks in matched apertures; the catalogue.
GROUPS = ("patches", "cutout", "peak_colours", "catalogue")
_COLOUR_COUNTS = (
    "off_colour_peaks", "off_sequence_peaks", "redder_peaks", "redder_flagged", "agreeing_peaks", "agreeing_share",
)  # fmt: skip
_COLOUR_COHERENCE = ("peak_colour_coherence", "off_colour_coherence", "redder_distance", "redder_group_distance")
_KNOWN = "_known"
#: In the name of an error, before the place or the pool that it is of.
_ERROR = r"_err(?:_|$)"


def feature_groups(options: PatchOptions | None = None) -> dict[str, list[str]]:
    """Group -> its columns. Positions, flags, errors and identifiers are in none."""
    schema = feature_schema(options)
    schema = schema[~schema["name"].str.contains(_ERROR)]
    of = {source: schema["name"][schema["source"] == source].to_list() for source in ("patch", "pooled", "cutout")}
    return {
        "patches": [*of["patch"], *of["pooled"]],
        "cutout": of["cutout"],
        "peak_colours": list(PEAK_COLOUR_SCHEMA),
        "catalogue": list(CATALOGUE_SCHEMA),
    }


def colour_columns(options: PatchOptions | None = None) -> dict[str, list[str]]:
    """What is measured of colours -> columns of ``feature_groups``: "colour", a colour of the field or of objects in it
    or how much it scatters [mag]; "count", of objects chosen by their colour, or a share or flag of them; "coherence",
    how alike the colours of objects are. Every other column is of one band, or of no pixel.
    """
    columns = [name for group in feature_groups(options).values() for name in group]
    colours = [name for name in columns if "_minus_" in name]
    return {"colour": colours, "count": list(_COLOUR_COUNTS), "coherence": list(_COLOUR_COHERENCE)}


def group_of(column: str, groups: dict[str, list[str]]) -> str:
    """The group of a column, or of the column that a ``_known`` column belongs to."""
    name = column.removesuffix(_KNOWN)
    return next(group for group, columns in groups.items() if name in columns)


def fit_filling(table: pd.DataFrame, columns: Sequence[str]) -> dict[str, Any]:
    """JSON-ready {"columns", "median", "flagged"}: medians of the rows given, and the columns with values missing.

    A column without any value is left out. Raises CatalogueError for a column that the table lacks.
    """
    missing = [name for name in columns if name not in table]
    if missing:
        raise CatalogueError(f"the feature table lacks {', '.join(missing)}")
    values = table[list(columns)].to_numpy(dtype=np.float64)
    known = np.isfinite(values)
    kept = known.any(axis=0)
    median = [float(np.median(column[there])) for column, there in zip(values.T, known.T, strict=True) if there.any()]
    names = [name for name, keep in zip(columns, kept, strict=True) if keep]
    flagged = [name for name, some in zip(columns, kept & ~known.all(axis=0), strict=True) if some]
    return {"columns": names, "median": median, "flagged": flagged}


def filled_features(table: pd.DataFrame, filling: dict[str, Any]) -> pd.DataFrame:
    """The columns of ``filling``, medians where a value is not known, and <column>_known (0 or 1) of the flagged."""
    import pandas as pd

    values = table[filling["columns"]].to_numpy(dtype=np.float64)
    known = np.isfinite(values)
    filled = np.where(known, values, np.array(filling["median"]))
    at = [filling["columns"].index(name) for name in filling["flagged"]]
    names = [*filling["columns"], *(name + _KNOWN for name in filling["flagged"])]
    return pd.DataFrame(np.hstack([filled, known[:, at].astype(np.float64)]), columns=names, index=table.index)
