"""The section of the evaluation page on what the highest scores of a survey would hold, under stated assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skytrace.learning.metrics import MIN_FALSE_POSITIVES
from skytrace.reporting.evaluation_parts import Parts, Section, reason
from skytrace.reporting.evaluation_shapes import composition_table
from skytrace.reporting.evaluation_tables import (
    PageTable,
    as_record,
    as_table,
    brief_text,
    frame_table,
    interval_cells,
    number_text,
)

__all__ = ["top_k_section"]


def top_k_section(parts: Parts) -> Section:
    """Composition of the K highest scores by scenario, of ``learning.top_composition``."""
    title = "What the highest scores of a survey would hold"
    if parts.top_k is None:
        return Section("top-k", title, absence=reason(parts, "top_k"))
    note = str(parts.top_k.get("note", "expected, not measured"))
    number = number_text(parts.top_k.get("survey_galaxies"))
    sentences = [f"A survey of {number} galaxies. {note[:1].upper()}{note[1:]}."]
    sentences.append(
        f"Nothing is given where fewer than {MIN_FALSE_POSITIVES} test galaxies lie above the threshold: the test "
        "split does not resolve so rare scores."
    )
    for entry in parts.top_k["scenarios"]:
        sentences += _scenario_sentences(entry)
    return Section(
        "top-k", title, tuple(sentences), pictures=("topk_composition",), tables=tuple(_composition_tables(parts.top_k))
    )


def _scenario_sentences(entry: Mapping[str, Any]) -> list[str]:
    """Why a scenario could not be followed, from which K on it is resolved, and what was counted together."""
    said = [entry["reason"]] if "reason" in entry else []
    if entry.get("smallest_resolved_top") is not None:
        said.append(f"resolved from K = {number_text(round(entry['smallest_resolved_top']))} on")
    said += [f"{name.replace('_', ' ')} are {', '.join(names)}" for name, names in entry.get("merged", {}).items()]
    return [f"{entry['scenario'][:1].upper()}{entry['scenario'][1:]}: {'; '.join(said)}."] if said else []


def _composition_tables(composition: Mapping[str, Any]) -> list[PageTable]:
    """What each scenario assumes, the lenses among the K highest with intervals, and expected numbers by category."""
    scenarios = composition["scenarios"]
    assumed = as_table([{"scenario": entry["scenario"], **entry["numbers_assumed"]} for entry in scenarios])
    rows = [
        (
            f"{entry['scenario']}, K = {number_text(top['top'])}", number_text(top["test_galaxies_above"]),
            number_text(top.get("threshold")),
            *interval_cells(as_record(top["lens_share"]) if top["resolved"] else {}, decimals=4),
            brief_text(top.get("completeness")),
        )
        for entry in scenarios
        for top in entry["top"]
    ]  # fmt: skip
    columns = (
        "scenario", "test galaxies above", "threshold", "share of lenses", "68 %", "95 %", "completeness (68 %)"
    )  # fmt: skip
    lenses = PageTable("Lenses among the K highest scores", columns, tuple(rows), (False, *[True] * 5, False))
    tables = [frame_table("Numbers in the survey that each scenario assumes", assumed), lenses]
    table = composition_table(composition).dropna()
    if len(table):
        order = list(dict.fromkeys(table["category"]))
        wide = table.pivot_table(index=["scenario", "k"], columns="category", values="expected", sort=False)
        wide = wide[order].reset_index()
        tables.append(frame_table("Expected numbers among the K highest scores", wide, headings={"k": "K"}))
    return tables
