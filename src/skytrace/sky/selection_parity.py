"""The same sky through several selections: what is left after each filter, stratum by stratum, beside the base run.

A selection is named in the parameters by what it changes (``paper_iv``, ``mag_z_21``, ...), so that every deviation
from the reference search [P4] is on record and can be counted (``lens_finder``, stage 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError
from skytrace.sky.confusers import ConfuserOptions
from skytrace.sky.selection import SelectionOptions, check_sky_tables, selection_filters, with_labels
from skytrace.sky.strata import NOBS_Z_BINS, nobs_z_bin

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PARITY_KEYS", "ParityOptions", "named_selections", "parity_report", "selection_counts"]

#: What a row of the counts is of.
PARITY_KEYS = ("step", "filter", "nobs_z_bin", "type_bin", "label")
_ALL = "all"


@dataclass(frozen=True)
class ParityOptions:
    """selections: name -> what it changes in the base selection (keys of SelectionOptions; confusers by key)."""

    selections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "base" in self.selections:
            raise OptionError("selections.base is the run's own selection; give the deviation another name")
        named_selections(SelectionOptions(), self)


def named_selections(base: SelectionOptions, options: ParityOptions) -> dict[str, SelectionOptions]:
    """ "base" and every named selection, each the base with its changes. Raises OptionError naming an unknown key."""
    result = {"base": base}
    for name, changes in options.selections.items():
        changes = dict(changes)
        confusers = dict(changes.pop("confusers", {}))
        for kind, keys in ((SelectionOptions, changes), (ConfuserOptions, confusers)):
            unknown = sorted(set(keys) - {one.name for one in fields(kind)})
            if unknown:
                raise OptionError(f"selections.{name}.{unknown[0]} is not an option of {kind.__name__}")
        try:
            result[name] = replace(base, confusers=replace(base.confusers, **confusers), **changes)
        except OptionError as error:
            raise OptionError(f"selections.{name}: {error}") from error
    return result


def selection_counts(
    galaxies: pd.DataFrame, lenses: pd.DataFrame, *, options: SelectionOptions | None = None
) -> pd.DataFrame:
    """Rows left after each filter of ``select_galaxies``, for every stratum and for all: PARITY_KEYS and rows.

    Step 0, filter "all", is the sky before any filter. nobs_z_bin and type_bin are "all" in the rows that pool the
    strata; label is 1 for lenses, 0 for the rest. A selection that leaves nothing is counted, not refused.
    """
    options = options or SelectionOptions()
    check_sky_tables(galaxies, lenses)
    table = with_labels(galaxies, lenses)
    parts = [_counted(table, step=0, name=_ALL)]
    for step, (name, keep, _) in enumerate(selection_filters(options, lenses), start=1):
        table = table[keep(table)]
        parts.append(_counted(table, step=step, name=name))
    return pd.concat(parts, ignore_index=True)


def parity_report(counts: Mapping[str, pd.DataFrame], *, base: str = "base") -> pd.DataFrame:
    """``selection_counts`` of several selections of one sky side by side: PARITY_KEYS, rows_<name>, and
    difference_<name> (rows minus the base's) for each but the base. Sorted by step, then stratum, pooled rows first.

    Raises CatalogueError without the base, or when the selections did not start from the same galaxies.
    """
    if base not in counts:
        raise CatalogueError(f"the counts of {base!r} are missing; there are {', '.join(counts)}")
    keys = list(PARITY_KEYS)
    wide = pd.concat({name: table.set_index(keys)["rows"] for name, table in counts.items()}, axis=1)
    wide = wide.fillna(0).astype(np.int64)
    start = wide[wide.index.get_level_values("step") == 0]
    for name in counts:
        if not (start[name] == start[base]).all():
            raise CatalogueError(f"selection {name!r} did not start from the same galaxies as {base!r}")
    report = wide.add_prefix("rows_")
    for name in counts:
        if name != base:
            report[f"difference_{name}"] = wide[name] - wide[base]
    order = {_ALL: -1, **{name: place for place, name in enumerate(NOBS_Z_BINS)}}
    report = report.reset_index()
    rank = report["nobs_z_bin"].map(order)
    first = report["type_bin"].where(report["type_bin"] != _ALL, "")
    order_rows = report.assign(_bin=rank, _type=first).sort_values(["step", "_bin", "_type", "label"])
    return order_rows.drop(columns=["_bin", "_type"]).reset_index(drop=True)


def _counted(table: pd.DataFrame, *, step: int, name: str) -> pd.DataFrame:
    label = table["label"].to_numpy()
    strata = pd.DataFrame({"nobs_z_bin": nobs_z_bin(table["nobs_z"]), "type_bin": table["type"].to_numpy(dtype=str)})
    fine = strata.assign(label=label).groupby(["nobs_z_bin", "type_bin", "label"]).size().rename("rows").reset_index()
    pooled = pd.DataFrame(
        {"nobs_z_bin": _ALL, "type_bin": _ALL, "label": [0, 1], "rows": [(label == 0).sum(), (label == 1).sum()]}
    )
    counts = pd.concat([pooled, fine], ignore_index=True)
    counts.insert(0, "step", step)
    counts.insert(1, "filter", name)
    return counts
