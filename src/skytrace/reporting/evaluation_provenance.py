"""Sections of the evaluation page on where the numbers come from: worst errors, split, preprocessing, ledgers, card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytrace.reporting.evaluation_parts import Parts, Section, reason
from skytrace.reporting.evaluation_reports import report_tables
from skytrace.reporting.evaluation_tables import as_table, frame_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_ROWS", "cut_remark", "provenance_sections", "split_sentence"]

#: Rows of a long table that the page shows.
MOST_ROWS = 80


def provenance_sections(parts: Parts) -> list[Section]:
    """Where the detector errs, and what it and its sample were made of."""
    return [maker(parts) for maker in (_errors, _split, _preprocessing, _ledgers, _card)]


def split_sentence(parts: Parts) -> str:
    """Whether the run proved that its splits do not overlap."""
    if (parts.split_report or parts.card.get("split", {})).get("verified"):
        return "✓ verified: no HEALPix cell, galaxy or position (within 1″) in two splits, no anchor in training"
    return "✗ the run holds no proof that the splits do not overlap"


def cut_remark(table: pd.DataFrame) -> str:
    """What a caption adds where not every row is shown."""
    return f" (the first {MOST_ROWS} of {len(table)} rows)" if len(table) > MOST_ROWS else ""


def _errors(parts: Parts) -> Section:
    if not parts.galleries:
        return Section("errors", "The worst errors", absence=reason(parts, "galleries"))
    note = "Pictures are the pixels that the network saw, with the stretch undone; faint arcs may not survive a print."
    return Section("errors", "The worst errors", (note,), galleries=tuple(parts.galleries))


def _split(parts: Parts) -> Section:
    report = parts.split_report
    stamps = parts.evaluation.get("stamps_by_split") or parts.card.get("split", {}).get("splits")
    tables = []
    if stamps:
        tables.append(
            frame_table("Certificate", as_table([{"split": name, **entry} for name, entry in stamps.items()]))
        )
    if report is not None:
        columns = report.get("columns", {})
        rows = [
            {"column": name, "compared": pair.replace("_", " "), **numbers}
            for name, pairs in columns.items()
            for pair, numbers in pairs.items()
        ]
        if rows:
            headings = {"ks": "KS distance", "p_value": "p-value"}
            tables.append(frame_table("Balance of the splits", as_table(rows), headings=headings))
        tables += report_tables("Verification", {name: value for name, value in report.items() if name != "columns"})
    return Section("split", "Split certificate", (split_sentence(parts) + ".",), tables=tuple(tables))


def _preprocessing(parts: Parts) -> Section:
    entry = parts.card.get("preprocessing")
    if not entry:
        return Section("preprocessing", "Preprocessing", absence=reason(parts, "preprocessing"))
    sentence = (
        "One function prepares stamps for training, evaluation and injections; its checksum on reference cutouts:"
    )
    return Section(
        "preprocessing", "Preprocessing", (sentence,), tables=tuple(report_tables("Preprocessing", entry))
    )  # fmt: skip


def _ledgers(parts: Parts) -> Section:
    if not parts.ledgers:
        return Section("ledgers", "Ledgers: what was left out, and why", absence=reason(parts, "ledgers"))
    tables = []
    for name, ledger in parts.ledgers.items():
        tables.append(frame_table(f"{name}{cut_remark(ledger)}", ledger.head(MOST_ROWS)))
    return Section("ledgers", "Ledgers: what was left out, and why", tables=tuple(tables))


def _card(parts: Parts) -> Section:
    card = {name: value for name, value in parts.card.items() if name not in ("split", "preprocessing")}
    claims = tuple(str(claim) for claim in card.pop("must_not_be_claimed", ()))
    tables = tuple(report_tables("The detector", card))
    opening = ("Must not be claimed:",) if claims else ()
    return Section(
        "card",
        "Model card",
        opening,
        items=claims,
        tables=tables,
        absence="" if tables else "There is no card.",
    )
