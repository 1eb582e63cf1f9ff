"""Is every reported number what the outputs on disk give? Reports against their recomputation, number by number.

``recomputed_reports`` makes each report again from the tables and posteriors alone, mostly by other code than the one
that made it; here the two are laid side by side. A number agrees within 1e-9 (relative above 1). What no output can
give (the weights behind an importance sampler's k-hat, say) is counted as such, never as agreement.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from skytrace.errors import SkytraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TOLERANCE", "RecomputationError", "compare_reports", "numbers_of", "require_agreement"]

TOLERANCE = 1e-9


class RecomputationError(SkytraceError):
    """A reported number is not what the outputs on disk give."""


def numbers_of(report: Any, prefix: str = "") -> dict[str, float | bool | None]:
    """Every number, truth value and null of a nested report by its dotted key; items of a list by their place."""
    if isinstance(report, dict):
        items = [(str(key), value) for key, value in report.items()]
    elif isinstance(report, list | tuple):
        items = [(str(place), value) for place, value in enumerate(report)]
    elif report is None or isinstance(report, bool | int | float):
        return {prefix: report}
    else:
        return {}
    found: dict[str, float | bool | None] = {}
    for key, value in items:
        found |= numbers_of(value, f"{prefix}.{key}" if prefix else key)
    return found


def compare_reports(reported: Mapping[str, Any], recomputed: Mapping[str, Any]) -> dict[str, Any]:
    """Both by file name -> nested report. Returns agrees, counts, largest_difference and one row a number:
    file, key, reported, recomputed, difference, state (``agrees``, ``differs``, ``not_recomputed``).

    A number that is recomputed but not reported differs, too: the report lacks it.
    """
    rows = []
    for file, report in reported.items():
        ours, theirs = numbers_of(report), numbers_of(recomputed.get(file, {}))
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            rows.append({"file": file, "key": key, **_row(ours.get(key), theirs, key, known=key in ours)})
    states = [row["state"] for row in rows]
    differences = [row["difference"] for row in rows if row["difference"] is not None]
    return {
        "agrees": "differs" not in states,
        "tolerance": TOLERANCE,
        "n_numbers": len(rows),
        "n_agree": states.count("agrees"),
        "n_differ": states.count("differs"),
        "n_not_recomputed": states.count("not_recomputed"),
        "largest_difference": max(differences, default=0.0),
        "not_recomputed": [f"{row['file']}:{row['key']}" for row in rows if row["state"] == "not_recomputed"],
        "numbers": rows,
    }


def require_agreement(comparison: Mapping[str, Any]) -> None:
    """Raise RecomputationError with the first numbers that differ; nothing where all agree."""
    wrong = [row for row in comparison["numbers"] if row["state"] == "differs"]
    if wrong:
        told = "; ".join(
            f"{row['file']}:{row['key']} is reported as {row['reported']!r} and comes out as {row['recomputed']!r}"
            for row in wrong[:5]
        )
        raise RecomputationError(
            f"{len(wrong)} of {comparison['n_numbers']} reported numbers are not what the outputs on disk give: {told}"
            ". Outputs of different runs may be mixed: run the pipeline again, whole"
        )


def _row(ours: Any, theirs: Mapping[str, Any], key: str, *, known: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"reported": ours, "recomputed": theirs.get(key), "difference": None}
    if key not in theirs:
        return {**row, "state": "not_recomputed"}
    if not known:
        return {**row, "recomputed": _finite(theirs[key]), "state": "differs"}
    theirs_value = row["recomputed"] = _finite(theirs[key])
    ours = _finite(ours)
    if ours is None or theirs_value is None or isinstance(ours, bool) or isinstance(theirs_value, bool):
        return {**row, "state": "agrees" if ours == theirs_value else "differs"}
    difference = abs(ours - theirs_value) / max(1.0, abs(ours))
    return {**row, "difference": difference, "state": "agrees" if difference <= TOLERANCE else "differs"}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
