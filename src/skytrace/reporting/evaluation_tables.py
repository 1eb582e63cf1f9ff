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
    "LEVELS",
    "PageTable",
    "as_record",
    "as_table",
    "brief_text",
    "fact_text",
    "facts_table",
    "frame_table",
    "heading_text",
    "interval_cells",
    "interval_decimals",
    "is_record",
    "number_text",
    "record_table",
    "share_table",
    "span_text",
]

DASH = "–"
#: Levels of the intervals, per cent.
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


def is_record(value: Any) -> bool:
    """Whether this is one measured number: {value, ...}, or a counted {share, interval_68, ...} of ``audit``."""
    if not isinstance(value, Mapping):
        return False
    measured = "reason" in value or any(str(key).startswith(("low_", "interval")) for key in value)
    return {"share", "interval_68"} <= set(value) or ("value" in value and measured)


def as_record(value: Mapping[str, Any]) -> dict[str, Any]:
    """value, low_68 ... high_95, and k, n, reason, state, bounds where there are, from either form of a record.

    A judged record of ``audit.parity`` has one interval, a pair at 95 %.
    """
    record = dict(value)
    if "value" not in record:
        record["value"] = record.pop("share", None)
        record.setdefault("k", record.pop("n_agree", None))
    pairs = {level: record.pop(f"interval_{level}", None) for level in LEVELS}
    if record.get("interval") is not None:
        pairs["95"] = record.pop("interval")
    for level, pair in pairs.items():
        if pair is not None:
            record[f"low_{level}"], record[f"high_{level}"] = pair
    return record


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
        return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0 turns -0 to 0
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
    """(value, 68 % interval, 95 % interval), dashes where there is none; "none" for the intervals of a share of nothing
    (n = 0), which are those of the prior and no result.

    Without ``decimals`` those that the narrower interval warrants: two digits of its width.
    """
    number = record.get(value)
    if record.get("n") == 0 and (number is None or number != number):
        return DASH, "none", "none"
    ends = [(_end(record, "low", level), _end(record, "high", level)) for level in LEVELS]
    decimals = interval_decimals(record) if decimals is None else decimals
    spans = [DASH if low is None else span_text(low, high, decimals=decimals) for low, high in ends]
    return number_text(number, decimals=decimals), spans[0], spans[1]


def span_text(low: float | None, high: float | None, *, decimals: int | None = None) -> str:
    """low to high, broken between the two only before the "to"."""
    return f"{number_text(low, decimals=decimals)} to\u00a0{number_text(high, decimals=decimals)}"


def interval_decimals(record: Mapping[Any, Any]) -> int | None:
    """Decimals that show two digits of the width of the narrowest interval; None without an interval."""
    ends = [(_end(record, "low", level), _end(record, "high", level)) for level in LEVELS]
    widths = [high - low for low, high in ends if low is not None and high is not None and high > low]
    return int(np.clip(2 - np.ceil(np.log10(min(widths))), 2, 6)) if widths else None


def brief_text(record: Mapping[str, Any] | None) -> str:
    """A number with its 68 % interval in one cell, or why there is none."""
    if not record or record.get("value") is None:
        return f"{DASH} {(record or {}).get('reason', '')}".strip()
    value, narrow, _ = interval_cells(as_record(record))
    return value if narrow == DASH else f"{value} ({narrow})"


def record_table(caption: str, records: Iterable[tuple[str, Mapping[str, Any] | None]]) -> PageTable:
    """One row a quantity, (name, record with value, low_68, ... or a reason): name, value, 68 %, 95 %, remark."""
    rows: list[tuple[str, ...]] = []
    for name, record in records:
        record = as_record(record) if record else {"reason": "not measured in this run"}
        rows.append((name, *interval_cells(record), _remark(record)))
    columns: tuple[str, ...] = ("quantity", "value", "68 %", "95 %", "remark")
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return PageTable(caption, columns, tuple(rows), tuple(column not in ("quantity", "remark") for column in columns))


def _remark(record: Mapping[str, Any]) -> str:
    said = []
    if record.get("k") is not None and "n" in record:
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
    columns = (*present.values(), heading or heading_text(value), *(f"{LEVELS[k]} %" for k in levels))
    text = [_is_text(table[column]) for column in present]
    return PageTable(caption, columns, tuple(rows), (*(not t for t in text), *[True] * (1 + len(levels))))


def frame_table(caption: str, table: pd.DataFrame, *, headings: Mapping[str, str] | None = None) -> PageTable:
    """A table as it is, one column a column."""
    headings = headings or {}
    rows = tuple(tuple(number_text(cell) for cell in row.values()) for row in _records(table))
    columns = tuple(headings.get(str(column), heading_text(str(column))) for column in table.columns)
    numeric = tuple(not _is_text(table[column]) for column in table.columns)
    return PageTable(caption, columns, rows, numeric)


def facts_table(caption: str, facts: Mapping[str, Any]) -> PageTable:
    """Names and what they are."""
    rows = tuple((name, fact_text(name, value)) for name, value in facts.items())
    return PageTable(caption, ("entry", "content"), rows, (False, False))


def heading_text(column: str) -> str:
    """A column's name as a heading."""
    return {"auc": "AUC", "fpr": "FPR", "ece": "ECE"}.get(column, column.replace("_", " "))


def _is_text(column: pd.Series) -> bool:
    return bool(column.map(lambda cell: isinstance(cell, str | list | tuple)).any())


def _records(table: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """Rows as dicts whose whole numbers stay whole."""
    columns = {str(name): table[name].tolist() for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _end(record: Mapping[Any, Any], side: str, level: str) -> float | None:
    value = record.get(f"{side}_{level}", record.get(f"{side}{level}"))
    return None if value is None or not np.isfinite(value) else float(value)
