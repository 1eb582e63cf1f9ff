"""Reports of ``learning`` and ``audit`` as the flat tables that the figures and the page of an evaluation take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_tables import LEVELS, as_record, as_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "audit_entries",
    "category_table",
    "class_table",
    "composition_table",
    "factor_table",
    "gap_table",
    "pair_matrix",
    "strata_table",
    "with_unit",
]

#: Unit of the columns whose names do not tell it.
_UNITS = {
    "psfsize_r": "arcsec", "psfdepth_r": "nmgy⁻²", "galdepth_r": "nmgy⁻²", "theta_e": "arcsec", "arc_evidence": "sigma",
}  # fmt: skip

#: Categories of the top K that come first and last, whatever the order of the report.
_FIRST, _LAST = "lens", "ordinary"


def audit_entries(audit: Mapping[str, Any]) -> dict[str, Any]:
    """columns (names), shortcuts and gates (tables), shortcut_summary, verdicts, does_not_show: what there is of them.

    audit: ``audit.audit_report``, or these entries themselves.
    """
    entries = {name: value for name, value in audit.items() if value is not None}
    if isinstance(entries.get("columns"), Mapping):
        entries["columns"] = entries["columns"]["inputs"]
    if isinstance(entries.get("shortcuts"), Mapping) and "table" in entries["shortcuts"]:
        summary = dict(entries.pop("shortcuts"))
        entries |= {"shortcuts": summary.pop("table"), "shortcut_summary": summary}
    if isinstance(entries.get("gates"), Mapping) and "table" in entries["gates"]:
        gates = entries.pop("gates")
        entries |= {"gates": gates["table"], "verdicts": gates["verdicts"]}
    return entries


def with_unit(name: str) -> str:
    """The name of a column with its unit, as psfsize_r (arcsec), where it has one that the name does not tell."""
    return f"{name} ({_UNITS[name]})" if name in _UNITS else name


def strata_table(strata: Mapping[str, Any]) -> pd.DataFrame:
    """stratum (the column), bin, lenses, galaxies, and n, n_found, recall with intervals, of ``evaluate_strata``.

    auc, ece and false_positive_rate are the records of the bin. A bin without lenses has recall NaN.
    """
    rows = []
    for column, report in strata.items():
        for entry in report["strata"]:
            recall = as_record(entry["recall"])
            rows.append(
                {
                    "stratum": column, "bin": entry["stratum"], "n": recall["n"], "n_found": recall["k"],
                    "recall": recall["value"], **{end: recall[end] for end in recall if end[:3] in ("low", "hig")},
                    **{name: entry.get(name) for name in ("lenses", "galaxies", "false_positive_rate", "auc", "ece")},
                }
            )  # fmt: skip
    ends = [f"{end}{level}" for level in LEVELS for end in ("low", "high")]
    records = ("lenses", "galaxies", "false_positive_rate", "auc", "ece")
    table = _with_columns(rows, "stratum", "bin", "n", "n_found", "recall", *ends, *records)
    return table.assign(recall=table["recall"].astype(float))


def gap_table(gap: Mapping[str, Any]) -> pd.DataFrame:
    """stratum, numbers of each class in each split, gap and intervals, of ``validation_test_gap``."""
    rows = []
    for entry in gap["strata"]:
        record = as_record(entry["gap"])
        ends = {end: record[end] for end in record if end[:3] in ("low", "hig")}
        rows.append({**{key: entry[key] for key in entry if key != "gap"}, "gap": record["value"], **ends})
    return as_table(rows)


def composition_table(composition: Mapping[str, Any]) -> pd.DataFrame:
    """scenario, k, category, expected (number among the K) and share of them, of ``learning.top_composition``.

    A number K that the test split does not resolve has one row, of lenses, with NaN. Lenses come first, ordinary
    galaxies last.
    """
    rows = []
    for scenario in composition["scenarios"]:
        for entry in scenario["top"]:
            expected = entry.get("expected", {_FIRST: {"value": None}})
            for name in sorted(expected, key=lambda name: (name != _FIRST, name == _LAST, name)):
                value = expected[name]["value"]
                number = float("nan") if value is None else float(value)
                row = {"scenario": scenario["scenario"], "k": int(entry["top"]), "category": name}
                rows.append({**row, "expected": number, "share": number / entry["top"]})
    return _with_columns(rows, "scenario", "k", "category", "expected", "share")


def _with_columns(rows: list[dict[str, Any]], *columns: str) -> pd.DataFrame:
    """The rows as a table that has its columns where there is no row, too."""
    import pandas as pd

    return as_table(rows) if rows else as_table(pd.DataFrame(columns=list(columns)))


def factor_table(factors: Mapping[str, Any]) -> pd.DataFrame:
    """group, quantity, k, n, value and intervals of ``audit.recall_factors``, of all anchors or group by group.

    The factors and their product are of the anchors that could be measured; ``class_table`` has the others.
    """
    groups = {"all": factors} if "observable_fraction" in factors else factors
    names = {
        "observable_fraction": "observable", "conditional_recall": "recall of observable", "product": "product",
        "recall_of_measured": "recall",
    }  # fmt: skip
    rows = [
        {"group": str(group), "quantity": words, **as_record(record[name])}
        for group, record in groups.items()
        for name, words in names.items()
        if name in record
    ]
    return as_table(rows or {"group": [], "quantity": [], "value": []})


def class_table(factors: Mapping[str, Any]) -> pd.DataFrame:
    """group, quantity, k, n, value and intervals: how many anchors are observable, not observable and not measured, and
    the recall of each class and of all, from ``audit.recall_factors`` as for ``factor_table``.
    """
    groups = {"all": factors} if "observable_fraction" in factors else factors
    recalls = {
        "observable": "conditional_recall", "not_observable": "recall_of_unobservable",
        "not_measured": "recall_of_unmeasured",
    }  # fmt: skip
    rows = []
    for group, record in groups.items():
        for name, recall in recalls.items() if "classes" in record else ():
            words = name.replace("_", " ")
            rows.append({"group": str(group), "quantity": f"{words}, of all", **as_record(record["classes"][name])})
            rows.append({"group": str(group), "quantity": f"recall of the {words}", **as_record(record[recall])})
        rows.append({"group": str(group), "quantity": "recall of all", **as_record(record["recall"])})
    return as_table(rows or {"group": [], "quantity": [], "value": []})


def category_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """category, k, n, value and intervals: false positives of each confuser category of ``learning.evaluate_scores``.

    "none", the galaxies that fit no category, comes last.
    """
    rows = [{"category": name, **record} for name, record in evaluation["false_positives_by_category"].items()]
    rows.sort(key=lambda row: row["category"] == "none")
    return as_table(rows)


def pair_matrix(pairs: Any, value: str) -> pd.DataFrame:
    """A square table of ``value`` from one row a pair (``members``, two names), or the square table itself."""
    import numpy as np
    import pandas as pd

    table = pd.DataFrame(pairs)
    if "member" in table.columns:
        return table.set_index("member")
    if "members" not in table.columns:
        return table
    names = list(dict.fromkeys(name for pair in table["members"] for name in pair))
    matrix = pd.DataFrame(np.eye(len(names)), index=names, columns=names)
    for (one, other), number in zip(table["members"], table[value].astype(float), strict=True):
        matrix.loc[one, other] = matrix.loc[other, one] = number
    return matrix
