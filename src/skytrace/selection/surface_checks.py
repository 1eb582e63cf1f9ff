"""What the table of a selection function must satisfy before a number of it is served: each refusal names the place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.selection.completeness import CELL_STATES
from skytrace.selection.grid import AXES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["MODES", "VERDICTS", "check_metadata", "check_surface", "columns_metadata"]

#: How the hosts of a cell came there; none where it is empty.
MODES = ("matched", "degraded", "none")
VERDICTS = ("GO", "NO-GO", "INSUFFICIENT")
#: Columns without which a table is no selection function.
_NEEDED = (*AXES, "threshold", "mode", "state", "n", "n_detected", "n_hosts", "completeness", "low68", "high68")
#: Must be numbers wherever they stand; the first of them in every row, the others in every cell with injections.
_EVERYWHERE = (*AXES, "threshold", "n")
_FILLED = ("n_effective", *(f"{end}{level}{of}" for level in ("68", "95") for of in ("", "_hosts")
                            for end in ("low", "high")))  # fmt: skip
_ROUNDING = 1e-6
_TRUTH = {"True": True, "False": False}


def check_surface(table: pd.DataFrame) -> None:
    """Raise CatalogueError, naming column, row, value and what is allowed, for the first thing that cannot be.

    Numbers are numbers. n >= 0, 0 <= n_detected <= n, completeness = n_detected / n. Where n > 0: 1 <= n_hosts <= n and
    0 < n_effective <= n (n_hosts may be NaN: not recorded), and for every interval 0 <= low <= completeness <= high <=
    1, the 68 % one within the 95 % one. At the ends an equal-tailed Jeffreys interval does not hold the share: of no
    detection in n trials it begins above 0, by less than 1/n; so much is allowed, of effective trials where hosts are
    shared. Words are known; an empty cell is no_hosts, and ``sufficient`` is what the state says.
    """
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing or table.empty:
        raise CatalogueError(f"not a selection function: {'lacks ' + ', '.join(missing) if missing else 'no rows'}")
    numeric = ("n_detected", "n_hosts", "completeness", *_FILLED)
    values = {name: _numbers(table, name) for name in (*_EVERYWHERE, *numeric) if name in table.columns}
    for name in _EVERYWHERE:
        _refuse(table, ~np.isfinite(values[name]), name, "a finite number")
    _refuse(table, (values["n"] < 0) | (values["n"] % 1 != 0), "n", "a count, 0 or more")
    _refuse(table, (values["threshold"] <= 0) | (values["threshold"] >= 1), "threshold", "above 0 and below 1")
    filled = values["n"] > 0
    for name in ("completeness", *_FILLED):
        if name in values:
            _refuse(table, filled & np.isnan(values[name]), name, "a number where n > 0")
    _check_counts(table, values, filled)
    for of in ("", "_hosts"):
        _check_intervals(table, values, filled, of)
    _check_words(table, filled)


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """The column as numbers; NaN where the table has none. Text is refused with its row."""
    found = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse(table, np.isnan(found) & table[name].notna().to_numpy(), name, "a number")
    return found


def _check_counts(table: pd.DataFrame, values: Mapping[str, NDArray], filled: NDArray[np.bool_]) -> None:
    n, k, hosts = values["n"], values["n_detected"], values["n_hosts"]
    _refuse(table, (k < 0) | (k > n), "n_detected", "0 to n", "n")
    share = np.divide(k, n, out=np.full(len(n), np.nan), where=filled)
    apart = np.abs(share - values["completeness"]) > _ROUNDING  # NaN: the detections were not recorded
    _refuse(table, filled & apart, "completeness", "n_detected / n", "n_detected", "n")
    completeness = values["completeness"]
    _refuse(table, filled & ~((completeness >= 0) & (completeness <= 1)), "completeness", "0 to 1")
    _refuse(table, filled & ((hosts < 1) | (hosts > n)), "n_hosts", "1 to n", "n")
    if "n_effective" in values:
        effective = values["n_effective"]
        over = effective > n * (1.0 + _ROUNDING)
        _refuse(table, filled & ((effective <= 0) | over), "n_effective", "above 0, at most n", "n")


def _check_intervals(table: pd.DataFrame, values: Mapping[str, NDArray], filled: NDArray[np.bool_], of: str) -> None:
    """Of independent trials (of = "") or of trials that share hosts ("_hosts")."""
    share, trials = values["completeness"], values["n_effective" if of and "n_effective" in values else "n"]
    one = 1.0 / np.maximum(np.where(filled, trials, 1.0), 1.0)
    inner: tuple[str, str] | None = None
    for level in ("68", "95"):
        low, high = f"low{level}{of}", f"high{level}{of}"
        if low not in values or high not in values:
            continue
        below, above = np.maximum(share, one) + _ROUNDING, np.minimum(share, 1.0 - one) - _ROUNDING
        bad = (values[low] < 0) | (values[low] > below)
        _refuse(table, filled & bad, low, "0 to completeness", "completeness")
        bad = (values[high] > 1) | (values[high] < above) | (values[high] < values[low])
        _refuse(table, filled & bad, high, "completeness to 1", "completeness")
        if inner:
            _refuse(table, filled & (values[low] > values[inner[0]] + _ROUNDING), low, f"at most {inner[0]}", inner[0])
            _refuse(
                table, filled & (values[high] < values[inner[1]] - _ROUNDING), high, f"at least {inner[1]}", inner[1]
            )
        inner = (low, high)


def _check_words(table: pd.DataFrame, filled: NDArray[np.bool_]) -> None:
    for name, known in (("state", CELL_STATES), ("mode", MODES)):
        _refuse(table, ~table[name].isin(known).to_numpy(), name, f"one of {', '.join(known)}")
    state, mode = table["state"].to_numpy(dtype=object), table["mode"].to_numpy(dtype=object)
    _refuse(table, filled & (state == "no_hosts"), "state", "not no_hosts where n > 0", "n")
    _refuse(table, ~filled & (state != "no_hosts"), "state", "no_hosts where n = 0", "n")
    _refuse(table, filled & (mode == "none"), "mode", "matched or degraded where n > 0", "n")
    if "sufficient" in table.columns:
        # in a CSV with one odd word all are text
        said = table["sufficient"].map(lambda value: _TRUTH.get(value, value))
        _refuse(table, ~said.isin((True, False)).to_numpy(), "sufficient", "True or False")
        enough = (state == "ok") | (state == "merged")
        _refuse(table, said.to_numpy(dtype=bool) != enough, "sufficient", "what the state says", "state")


def _refuse(table: pd.DataFrame, wrong: Any, column: str, allowed: str, *beside: str) -> None:
    """Raise for the first row of ``wrong``; beside: columns whose value there explains what is allowed."""
    wrong = np.asarray(wrong, dtype=bool)
    if not wrong.any():
        return
    row = table.iloc[int(np.argmax(wrong))]
    more = f" (and {int(wrong.sum()) - 1} more rows)" if wrong.sum() > 1 else ""
    there = "".join(f", {name} = {_shown(row[name])}" for name in beside)
    raise CatalogueError(
        f"not a selection function: column {column}, row {int(np.argmax(wrong))}{there}: {_shown(row[column])} "
        f"must be {allowed}{more}"
    )


def _shown(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def columns_metadata(table: pd.DataFrame, names: tuple[str, ...], known: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata among ``names`` that are repeated in columns, each one value down the whole column.

    known: metadata kept elsewhere in the file, with which the columns must agree. Raises CatalogueError naming the
    column, the first row that differs, and both values.
    """
    found: dict[str, Any] = {}
    for name in (name for name in names if name in table.columns and len(table)):
        column = table[name]
        first = column.iloc[0]
        same = (column == first) | (column.isna() & pd.isna(first))
        _refuse(table, ~same.to_numpy(dtype=bool, na_value=False), name, f"{_shown(first)} as in row 0")
        value = first.item() if isinstance(first, np.generic) else first
        if name in known and value != known[name]:
            raise CatalogueError(
                f"not a selection function: column {name} says {value!r}, the file's metadata {known[name]!r}"
            )
        if not pd.isna(value):
            found[name] = value
    if "validated" in found and "verdict" in found and found["validated"] != (found["verdict"] == "GO"):
        raise CatalogueError(
            f"not a selection function: column validated says {found['validated']!r} where verdict is "
            f"{found['verdict']!r}; only GO validates"
        )
    return found


def check_metadata(metadata: Mapping[str, Any], thresholds: NDArray[np.float64]) -> None:
    """Raise CatalogueError for an unknown verdict, or a threshold_default that is none of ``thresholds``."""
    if metadata["verdict"] not in VERDICTS:
        raise CatalogueError(
            f"not a selection function: verdict = {metadata['verdict']!r} must be one of {', '.join(VERDICTS)}"
        )
    default = metadata.get("threshold_default")
    if default is None:
        return
    listed = ", ".join(f"{value:g}" for value in thresholds)
    if not isinstance(default, int | float) or not np.isclose(thresholds, default, rtol=0.0, atol=1e-6).any():
        raise CatalogueError(
            f"not a selection function: threshold_default = {default!r} must be one of the file's thresholds, {listed}"
        )
