"""Any JSON-like report as tables for a page, so that a reader sees every entry of it, whoever added it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.evaluation_tables import (
    LEVELS,
    PageTable,
    as_table,
    fact_text,
    frame_table,
    heading_text,
    is_record,
    record_table,
    share_table,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plain_table", "report_sentences", "report_tables", "thinned"]

#: Columns to which a table's intervals may belong, the first that is there.
_NUMBERS = ("recall", "auc", "value", "gap", "completeness", "share", "risk", "expected")
#: Entries of a record that its row shows; standard_error says no more than its intervals.
_RECORD_ENTRIES = {
    "value", "share", "k", "n", "n_agree", "reason", "resolved", "state", "bounds", "interval", "interval_68",
    "interval_95", "low_68", "high_68", "low_95", "high_95", "standard_error", "sentence",
}  # fmt: skip


def report_tables(caption: str, report: Mapping[str, Any]) -> list[PageTable]:
    """Everything that a JSON-like report holds, as tables: its numbers with intervals, its lists of records, the rest.

    A part of the report has tables of its own; deeper names are joined by commas. Entries called sentence are left to
    ``report_sentences``.
    """
    branches = {key: value for key, value in report.items() if _is_branch(value)}
    tables = _flat_tables(caption, {key: value for key, value in report.items() if key not in branches})
    for key, value in branches.items():
        tables += _flat_tables(f"{caption}: {heading_text(str(key))}", value)
    return tables


def _flat_tables(caption: str, report: Mapping[str, Any]) -> list[PageTable]:
    measured: list[tuple[str, Mapping[str, Any]]] = []
    facts: list[tuple[str, str]] = []
    tables: list[PageTable] = []
    _collect(report, "", measured, facts, tables, caption)
    lists = [record_table(caption, measured)] if measured else []
    if facts:
        title = f"{caption}, further entries" if measured else caption
        lists.append(PageTable(title, ("entry", "content"), tuple(facts), (False, False)))
    return [*lists, *tables]


def _is_branch(value: Any) -> bool:
    """Whether this deserves tables of its own: a part of a report with more than a few entries."""
    if not isinstance(value, Mapping) or is_record(value) or _is_columns(value) or _is_grid(value):
        return False
    return len(value) > 2 or any(isinstance(entry, Mapping) for entry in value.values())


def _collect(
    report: Mapping[str, Any], prefix: str, measured: list, facts: list, tables: list[PageTable], caption: str
) -> None:
    for key, value in report.items():
        name = f"{prefix}{key}"
        words = name.replace("_", " ")
        if key == "sentence":
            continue
        if is_record(value):
            measured.append((words, value))
            beyond = {entry: value[entry] for entry in value if entry not in _RECORD_ENTRIES}
            _collect(beyond, f"{name}, ", measured, facts, tables, caption)
        elif isinstance(value, Mapping) and _is_columns(value):
            tables.append(plain_table(f"{caption}: {words}", thinned(as_table(value))))
        elif isinstance(value, Mapping) and _is_grid(value):
            rows = [{words.split(", ")[-1]: str(row), **entries} for row, entries in value.items()]
            tables.append(plain_table(f"{caption}: {words}", rows))
        elif isinstance(value, Mapping):
            _collect(value, f"{name}, ", measured, facts, tables, caption)
        elif hasattr(value, "columns") or (isinstance(value, list | tuple) and value and isinstance(value[0], Mapping)):
            tables.append(plain_table(f"{caption}: {words}", value))
        else:
            facts.append((words, fact_text(words, value)))


def plain_table(caption: str, value: Any) -> PageTable:
    """Any table: intervals joined to one cell a level behind the number that they belong to, where there is one."""
    table = as_table(value)
    ends = {f"{end}{level}" for end in ("low", "high") for level in LEVELS}
    names = [str(c) for c in table.columns if c not in ends]
    number = next((name for name in _NUMBERS if name in names), None)
    if number is None or not ends & set(table.columns):
        return frame_table(caption, table)
    return share_table(caption, table, names={n: heading_text(n) for n in names if n != number}, value=number)


def report_sentences(report: Mapping[str, Any]) -> list[str]:
    """What a report says of itself under the name ``sentence``, at any depth, each once."""
    said: list[str] = []
    for key, value in report.items():
        if key == "sentence" and isinstance(value, str):
            said.append(value)
        elif isinstance(value, Mapping):
            said += report_sentences(value)
    return list(dict.fromkeys(said))


def thinned(table: pd.DataFrame, *, rows: int = 12) -> pd.DataFrame:
    """At most about ``rows`` rows a curve, the first and the last among them: a figure shows them all."""
    groups = table.groupby("curve", sort=False) if "curve" in table else [("", table)]
    kept = [part.iloc[np.unique(np.linspace(0, len(part) - 1, min(rows, len(part))).astype(int))] for _, part in groups]
    return as_table([row for part in kept for row in part.to_dict("records")])


def _is_columns(value: Mapping[str, Any]) -> bool:
    """Whether these are two or more lists of one length, longer than a reader would take for a list of options."""
    lists = list(value.values())
    if len(lists) < 2 or not all(isinstance(column, list | tuple) for column in lists):
        return False
    return len(lists[0]) > 4 and len({len(column) for column in lists}) == 1


def _is_grid(value: Mapping[str, Any]) -> bool:
    """Whether these are two or more rows of the same plain entries: a table, not nested facts."""
    rows = list(value.values())
    return (
        len(rows) > 1
        and all(isinstance(row, Mapping) and row and not is_record(row) for row in rows)
        and len({tuple(row) for row in rows}) == 1
        and not any(isinstance(entry, Mapping | list | tuple) for row in rows for entry in row.values())
    )
