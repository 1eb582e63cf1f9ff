"""Tables of an evaluation in one shape, whoever measured them: named columns, intervals low68 to high95, and text.

A report that came back from JSON is a list of records with low_68 and high_68, a fresh one a DataFrame with low68 and
high68. Both are the same table here. A number that was not measured is a dash in a cell, never a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DASH",
    "PageTable",
    "as_table",
    "category_table",
    "fact_text",
    "facts_table",
    "frame_table",
    "interval_cells",
    "interval_decimals",
    "number_text",
    "plain_table",
    "record_table",
    "report_sentences",
    "report_tables",
    "share_table",
    "span_text",
    "thinned",
]

DASH = "–"
LEVELS = ("68", "95")


@dataclass(frozen=True)
class PageTable:
    """caption: what one row is. columns: headings; the first one names the row. numeric: right-aligned columns."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


def as_table(value: Any, *, needs: Iterable[str] = (), name: str = "table") -> pd.DataFrame:
    """``value`` (DataFrame, list of records, or columns) as a DataFrame whose intervals are called low68 ... high95.

    Raises CatalogueError naming the columns of ``needs`` that are not there.
    """
    import pandas as pd

    table = pd.DataFrame(value)
    table = table.rename(columns={f"{end}_{level}": f"{end}{level}" for end in ("low", "high") for level in LEVELS})
    missing = [column for column in needs if column not in table.columns]
    if missing:
        raise CatalogueError(f"the {name} table lacks columns {', '.join(missing)}")
    return table.reset_index(drop=True)


def category_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """category, k, n, value and intervals: false positives of each confuser category of ``learning.evaluate_scores``.

    "none", the galaxies that fit no category, comes last.
    """
    rows = [{"category": name, **record} for name, record in evaluation["false_positives_by_category"].items()]
    rows.sort(key=lambda row: row["category"] == "none")
    return as_table(rows)


def number_text(value: Any, *, decimals: int | None = None) -> str:
    """A number as a reader wants it: counts with thousands, shares with three decimals, small ones with two digits."""
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return DASH
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(number_text(item, decimals=decimals) for item in value) or DASH
    if not isinstance(value, float | np.floating):
        return DASH if str(value) in ("NaT", "<NA>") else str(value)
    value = float(value)
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:,.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"


def fact_text(name: str, value: Any) -> str:
    """An entry of a report as it is: six digits, whole numbers whole, a seed without thousands."""
    if isinstance(value, list | tuple):
        return ", ".join(fact_text(name, item) for item in value) or DASH
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return f"{value:g}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and name.endswith("seed"):
        return str(value)
    return number_text(value)


def interval_cells(
    record: Mapping[Any, Any], *, value: str = "value", decimals: int | None = None
) -> tuple[str, str, str]:
    """(value, 68 % interval, 95 % interval), dashes where there is none.

    Without ``decimals`` those that the narrower interval warrants: two digits of its width.
    """
    ends = [(_end(record, "low", level), _end(record, "high", level)) for level in LEVELS]
    decimals = interval_decimals(record) if decimals is None else decimals
    spans = [DASH if low is None else span_text(low, high, decimals=decimals) for low, high in ends]
    return number_text(record.get(value), decimals=decimals), spans[0], spans[1]


def span_text(low: float | None, high: float | None, *, decimals: int | None = None) -> str:
    """low to high, broken between the two only before the "to"."""
    return f"{number_text(low, decimals=decimals)} to\u00a0{number_text(high, decimals=decimals)}"


def interval_decimals(record: Mapping[Any, Any]) -> int | None:
    """Decimals that show two digits of the width of the narrowest interval; None without an interval."""
    ends = [(_end(record, "low", level), _end(record, "high", level)) for level in LEVELS]
    widths = [high - low for low, high in ends if low is not None and high is not None and high > low]
    return int(np.clip(2 - np.ceil(np.log10(min(widths))), 2, 6)) if widths else None


def record_table(caption: str, records: Iterable[tuple[str, Mapping[str, Any] | None]]) -> PageTable:
    """One row a quantity, (name, record with value, low_68, ... or a reason): name, value, 68 %, 95 %, remark."""
    rows: list[tuple[str, ...]] = []
    for name, record in records:
        record = record or {"reason": "not measured in this run"}
        rows.append((name, *interval_cells(_with_ends(record)), _remark(record)))
    columns: tuple[str, ...] = ("quantity", "value", "68 %", "95 %", "remark")
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return PageTable(caption, columns, tuple(rows), tuple(column not in ("quantity", "remark") for column in columns))


def _with_ends(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A judged record (``audit.parity``) has one interval, a pair at 95 %."""
    pair = record.get("interval")
    return record if pair is None else {**record, "low_95": pair[0], "high_95": pair[1]}


def _remark(record: Mapping[str, Any]) -> str:
    said = []
    if "k" in record and "n" in record:
        said.append(f"{number_text(record['k'])} of {number_text(record['n'])}")
    if "state" in record and "bounds" in record:
        said.append(f"{record['state']} {span_text(*record['bounds'])}")
    return "; ".join([*said, *filter(None, [str(record.get("reason") or "")])])


def share_table(
    caption: str, table: pd.DataFrame, *, names: Mapping[str, str], value: str, heading: str | None = None
) -> PageTable:
    """Rows of ``table`` by the columns ``names`` (column -> heading), then ``value`` with its intervals where there are
    any, all with the same decimals.
    """
    present = {column: title for column, title in names.items() if column in table.columns}
    records = _records(table)
    known = [decimals for decimals in map(interval_decimals, records) if decimals is not None]
    decimals = int(np.median(known)) if known else None
    levels = [k for k, level in enumerate(LEVELS) if f"low{level}" in table.columns]
    rows = []
    for row in records:
        cells = interval_cells(row, value=value, decimals=decimals)
        rows.append((*(number_text(row[column]) for column in present), cells[0], *(cells[1 + k] for k in levels)))
    columns = (*present.values(), heading or _heading(value), *(f"{LEVELS[k]} %" for k in levels))
    text = [_is_text(table[column]) for column in present]
    return PageTable(caption, columns, tuple(rows), (*(not t for t in text), *[True] * (1 + len(levels))))


def frame_table(caption: str, table: pd.DataFrame, *, headings: Mapping[str, str] | None = None) -> PageTable:
    """A table as it is, one column a column."""
    headings = headings or {}
    rows = tuple(tuple(number_text(cell) for cell in row.values()) for row in _records(table))
    columns = tuple(headings.get(str(column), _heading(str(column))) for column in table.columns)
    numeric = tuple(not _is_text(table[column]) for column in table.columns)
    return PageTable(caption, columns, rows, numeric)


def facts_table(caption: str, facts: Mapping[str, Any]) -> PageTable:
    """Names and what they are."""
    rows = tuple((name, fact_text(name, value)) for name, value in facts.items())
    return PageTable(caption, ("entry", "content"), rows, (False, False))


def report_tables(caption: str, report: Mapping[str, Any]) -> list[PageTable]:
    """Everything that a JSON-like report holds, as tables: its numbers with intervals, its lists of records, the rest.

    Nested names are joined by dots; a reader sees every entry of the report, whoever added it. Entries called sentence
    are left to ``report_sentences``.
    """
    measured: list[tuple[str, Mapping[str, Any]]] = []
    facts: list[tuple[str, str]] = []
    tables: list[PageTable] = []
    _collect(report, "", measured, facts, tables, caption)
    lists = [record_table(caption, measured)] if measured else []
    if facts:
        title = f"{caption}: further entries" if measured else caption
        lists.append(PageTable(title, ("entry", "content"), tuple(facts), (False, False)))
    return [*lists, *tables]


def _collect(
    report: Mapping[str, Any], prefix: str, measured: list, facts: list, tables: list[PageTable], caption: str
) -> None:
    for key, value in report.items():
        name = f"{prefix}{key}"
        words = name.replace("_", " ")
        if key == "sentence":
            continue
        if isinstance(value, Mapping) and "value" in value:
            measured.append((words, value))
        elif isinstance(value, Mapping) and _is_columns(value):
            tables.append(plain_table(f"{caption}: {words}", thinned(as_table(value))))
        elif isinstance(value, Mapping) and _is_grid(value):
            rows = [{words.split(".")[-1]: str(row), **entries} for row, entries in value.items()]
            tables.append(plain_table(f"{caption}: {words}", rows))
        elif isinstance(value, Mapping):
            _collect(value, f"{name}.", measured, facts, tables, caption)
        elif hasattr(value, "columns") or (isinstance(value, list | tuple) and value and isinstance(value[0], Mapping)):
            tables.append(plain_table(f"{caption}: {words}", value))
        else:
            facts.append((words, fact_text(words, value)))


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
        and all(isinstance(row, Mapping) and row and "value" not in row for row in rows)
        and len({tuple(row) for row in rows}) == 1
        and not any(isinstance(entry, Mapping | list | tuple) for row in rows for entry in row.values())
    )


def plain_table(caption: str, value: Any) -> PageTable:
    """Any table: intervals joined to one cell a level behind the number that they belong to, where there is one."""
    table = as_table(value)
    ends = {f"{end}{level}" for end in ("low", "high") for level in LEVELS}
    names = [str(c) for c in table.columns if c not in ends]
    number = next((n for n in ("recall", "auc", "value", "gap", "share", "risk", "expected") if n in names), None)
    if number is None or not ends & set(table.columns):
        return frame_table(caption, table)
    return share_table(caption, table, names={n: _heading(n) for n in names if n != number}, value=number)


def _heading(column: str) -> str:
    return {"auc": "AUC", "k": "K", "fpr": "FPR", "ece": "ECE"}.get(column, column.replace("_", " "))


def _is_text(column: pd.Series) -> bool:
    return bool(column.map(lambda cell: isinstance(cell, str)).any())


def _records(table: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """Rows as dicts whose whole numbers stay whole."""
    columns = {str(name): table[name].tolist() for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _end(record: Mapping[Any, Any], side: str, level: str) -> float | None:
    value = record.get(f"{side}_{level}", record.get(f"{side}{level}"))
    return None if value is None or not np.isfinite(value) else float(value)
