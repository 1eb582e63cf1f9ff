"""Sections of the evaluation page on what the detector learnt: audit, gates, ensemble, parity, detectability.

Entries that a section does not know are shown as plain tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_parts import Parts, Section, reason
from skytrace.reporting.evaluation_performance import target_sentences
from skytrace.reporting.evaluation_provenance import MOST_ROWS, cut_remark, split_sentence
from skytrace.reporting.evaluation_reports import plain_table, report_sentences, report_tables, thinned
from skytrace.reporting.evaluation_shapes import class_table, factor_table, with_unit
from skytrace.reporting.evaluation_tables import (
    DASH,
    LEVELS,
    PageTable,
    as_table,
    frame_table,
    interval_cells,
    number_text,
    share_table,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["audit_sections", "checks_section"]

#: Colours as a word with a shape of its own: colour is never the only sign.
COLOUR_TEXT = {"green": "●\u00a0green", "yellow": "▲\u00a0yellow", "red": "■\u00a0red"}
#: Entries of the audit that have sections of their own.
#: Anchors whose flux disagrees that the page names; a table of the run holds all.
_ANCHORS_NAMED = 12
_AUDIT_ENTRIES = ("columns", "shortcuts", "shortcut_summary", "gates", "verdicts", "does_not_show")
_SELECTIVE = (
    "Selective classification: stamps are accepted from the surest down. Coverage is the accepted share, risk the "
    "share of errors among them, AURC the mean risk over all coverages."
)


def checks_section(parts: Parts) -> Section:
    """Each question of a referee with its answer in one line; the sections below hold the numbers."""
    audit, ensemble = parts.audit or {}, parts.ensemble or {}
    rows = {
        "Do the splits overlap?": split_sentence(parts),
        "Did a label or an injection reach the model?": "✓ no: every input is on the whitelist"
        if "columns" in audit
        else f"{DASH} not measured. {reason(parts, 'audit')}",
        "Can a single feature tell lenses from galaxies?": _shortcut_answer(audit)
        if "shortcuts" in audit
        else f"{DASH} not measured. {reason(parts, 'audit')}",
        "What can be told without a pixel, from the catalogue alone?": _catalogue_sentence(audit.get("gates"))
        if "gates" in audit
        else f"{DASH} not measured. {reason(parts, 'audit')}",
        "Are the probabilities calibrated?": " ".join(target_sentences(parts))
        or f"{DASH} not measured. {reason(parts, 'calibration')}",
        "Is the ensemble better than one network?": _better(ensemble)
        or f"{DASH} not measured. {reason(parts, 'ensemble')}",
        "Why are anchors found less often: processing, or the sky?": _verdict(parts.parity or {})
        or str((parts.parity or {}).get("note") or "")
        or f"{DASH} not measured. {reason(parts, 'parity')}",
    }
    table = PageTable("Questions and answers", ("question", "answer"), tuple(rows.items()), (False, False))
    return Section("checks", "Checks at a glance", tables=(table,))


def _better(ensemble: Mapping[str, Any]) -> str:
    """The sentence about recall at the false-positive rate that the project asks about; all there are without it."""
    rates = ensemble.get("comparison", {}).get("recall_at_false_positive_rate", {})
    return rates.get("0.001", {}).get("sentence") or " ".join(report_sentences(ensemble))


def _colour_counts(shortcuts: Any) -> str:
    colours = as_table(shortcuts, needs=("colour",), name="shortcut")["colour"].value_counts()
    told = [f"{int(colours.get(colour, 0))} {words}" for colour, words in reversed(COLOUR_TEXT.items())]
    return ", ".join(told) + (f", {int(colours['not judged'])} not judged" if "not judged" in colours else "")


def _shortcut_answer(audit: Mapping[str, Any]) -> str:
    """The colours count arcs, too; the verdict says what separates although nothing of a lens should be in it."""
    verdict = audit.get("shortcut_summary", {}).get("verdict")
    return _colour_counts(audit["shortcuts"]) + (f". {_sentence(verdict)}" if verdict else "")


def _chance_text(expected: float | None) -> str:
    """The exponent of a p-value far down the normal tail is no measurement."""
    return "fewer than 0.01" if expected is not None and expected < 0.01 else number_text(expected)


def _catalogue_sentence(gates: Any) -> str:
    """Beside it the core, which holds the smaller arcs and so does not answer the question alone."""
    table = as_table(gates, needs=("classifier", "auc"), name="gates")
    said = []
    for name, words in (("catalogue", "from the catalogue"), ("core", "from the core, with the arcs inside it")):
        rows = table[table["classifier"] == name].to_dict("records")
        if rows:
            value, narrow, _ = interval_cells(rows[0], value="auc")
            said.append(f"AUC {value} ({narrow}, 68 %) {words}")
        elif name == "catalogue":
            said.append(f"{DASH} not measured: the gates hold no classifier of the catalogue alone")
    return "; ".join(said)


def audit_sections(parts: Parts) -> list[Section]:
    """What the detector saw and used, and what else it was checked for."""
    makers = (_columns, _shortcuts, _gates, _ensemble, _parity, _detectability)
    return [maker(parts) for maker in makers]


def _columns(parts: Parts) -> Section:
    columns = (parts.audit or {}).get("columns")
    title = "What the network was shown"
    if columns is None:
        return Section("columns", title, absence=reason(parts, "audit"))
    if not hasattr(columns, "columns") and all(isinstance(name, str) for name in columns):
        columns = [{"column": name, "verdict": "on the whitelist"} for name in columns]
    return Section(
        "columns", title,
        ("Only what is on the whitelist may enter the model: a label or an injection column fails the run.",),
        tables=tuple(_tables("Inputs of the model", columns)),
    )  # fmt: skip


def _shortcuts(parts: Parts) -> Section:
    shortcuts = (parts.audit or {}).get("shortcuts")
    title = "Shortcuts: how well single features tell lenses from galaxies"
    if shortcuts is None:
        return Section("shortcuts", title, absence=reason(parts, "audit"))
    table = as_table(shortcuts, needs=("feature", "auc", "colour"), name="shortcut")
    order = (table["auc"].astype(float) - 0.5).abs().sort_values(ascending=False, kind="stable").index
    table = table.loc[order].assign(colour=table["colour"].map(lambda colour: COLOUR_TEXT.get(colour, str(colour))))
    names = {
        "feature": "feature", "kind": "kind", "higher_in": "higher in", "n_lenses": "lenses", "n_galaxies": "galaxies",
        "colour": "colour",
    }  # fmt: skip
    summary = (parts.audit or {}).get("shortcut_summary", {})
    sentences = [
        "Colours by the lower 68 % bound of the AUC: yellow above 0.60, red above 0.70, where the run set no others. "
        f"Here: {_colour_counts(shortcuts)}.",
        "A coloured feature is a way to be right without seeing an arc; it is not proof that the network uses it.",
    ]
    if "verdict" in summary:
        sentences.append(f"Verdict: {summary['verdict']}.")
    if "expected_by_chance" in summary:
        chance = _chance_text(summary["expected_by_chance"])
        sentences.append(f"Features that would be coloured by chance alone: {chance}.")
    caption = "AUC of each feature alone, strongest first" + cut_remark(table)
    shown = share_table(caption, table.head(MOST_ROWS), names=names, value="auc")
    return Section("shortcuts", title, tuple(sentences), pictures=("shortcuts",), tables=(shown,))


def _gates(parts: Parts) -> Section:
    audit = parts.audit or {}
    gates = audit.get("gates")
    title = "Where the information is: gates by region"
    if gates is None:
        return Section("gates", title, absence=reason(parts, "gates" if parts.audit else "audit"))
    table = as_table(gates, needs=("classifier", "auc"), name="gates")
    extra = {name: value for name, value in audit.items() if name not in _AUDIT_ENTRIES}
    names = {"classifier": "classifier", "n_lenses": "lenses", "n_galaxies": "galaxies"}
    tables = [share_table("AUC of each, on the same stamps", table, names=names, value="auc")]
    if "below_reference" in table:
        ends = {f"below_reference_{end}_{level}": f"{end}{level}" for end in ("low", "high") for level in LEVELS}
        below = table[["classifier", "below_reference", *ends]].rename(columns=ends)
        caption = "How much lower than the detector's AUC, paired bootstrap"
        tables.append(
            share_table(
                caption, below, names={"classifier": "classifier"}, value="below_reference", heading="difference"
            )
        )
    return Section(
        "gates", title,
        ("Small classifiers see only the core (r < 8 px), the annulus around it or the azimuthal profile, and are "
         "fitted on other sky cells; the detector sees all, or all but the core. The core holds the deflector and "
         "every arc inside 8 px, so a core that does as well as the detector leaves open which of them was learnt. The "
         "catalogue (fluxes, colours, shape, seeing, depth; no pixel) tells what the galaxies alone give away.",),
        items=tuple(_sentence(words) for name in ("verdicts", "does_not_show") for words in audit.get(name, ())),
        pictures=("region_gates",), tables=(*tables, *report_tables("Audit", extra)),
    )  # fmt: skip


def _ensemble(parts: Parts) -> Section:
    title = "Ensemble: diversity and selective classification"
    if parts.ensemble is None:
        return Section("ensemble", title, absence=reason(parts, "ensemble"))
    rest = dict(parts.ensemble)
    tables, correlation = [], rest.pop("correlation", None)
    if correlation is not None:
        tables.append(frame_table("Correlation of the members' scores", _with_index(correlation)))
    comparison = rest.pop("comparison", None)
    if comparison is not None:
        tables += _comparison_tables(comparison)
    curve = rest.pop("risk_coverage", None)
    if curve is not None:
        tables.append(plain_table("Risk against coverage", thinned(as_table(curve))))
    sentences = (_SELECTIVE,) if "selective" in rest or curve is not None else ()
    return Section(
        "ensemble", title, sentences, items=tuple(report_sentences(parts.ensemble)),
        pictures=("diversity", "risk_coverage"),
        tables=(*tables, *report_tables("Ensemble", rest)),
    )  # fmt: skip


def _comparison_tables(comparison: Mapping[str, Any]) -> list[PageTable]:
    """``learning.compare_scores`` in one table, a quantity a row; another report as it is."""
    rates = comparison.get("recall_at_false_positive_rate", {})
    entries = {f"recall at FPR {rate}": entry for rate, entry in rates.items()}
    ten = comparison.get("at_ten_false_positives", {})
    rate = "" if ten.get("rate") is None else f", FPR {number_text(ten['rate'])}"
    entries |= {f"recall at ten false positives{rate}": ten, "AUC": comparison.get("auc", {})}
    rows, names = [], list(comparison.get("names", ()))
    for name, entry in entries.items():
        if "difference" in entry:
            values = [number_text(entry["values"].get(column)) for column in names]
            rows.append((name, *values, *interval_cells(entry["difference"]), ""))
        elif entry:
            rows.append((name, *[DASH] * (len(names) + 3), str(entry.get("reason", ""))))
    if not rows:
        return report_tables("Comparison", comparison)
    columns: tuple[str, ...] = ("quantity", *names, "difference", "68 %", "95 %", "remark")
    numeric: tuple[bool, ...] = (False, *[True] * (len(names) + 3), False)
    if not any(row[-1] for row in rows):
        columns, numeric, rows = columns[:-1], numeric[:-1], [row[:-1] for row in rows]
    caption = f"{' against '.join(names)}, paired bootstrap"
    return [PageTable(f"Comparison: {caption}", columns, tuple(rows), numeric)]


def _parity(parts: Parts) -> Section:
    title = "Two extraction routes: parity and population"
    if parts.parity is None:
        return Section("parity", title, absence=reason(parts, "parity"))
    rest = {key: value for key, value in parts.parity.items() if key not in ("verdict", "note")}
    tables: list[PageTable] = []
    if "disagree" in rest.get("anchor_flux", {}):
        fluxes = dict(rest["anchor_flux"])
        tables = _disagreeing(fluxes.pop("disagree"))
        rest["anchor_flux"] = fluxes
    verdict = _verdict(parts.parity)
    sentences = [f"Verdict: {verdict}." if verdict else "", str(parts.parity.get("note") or "")]
    return Section(
        "parity", title, tuple(filter(None, [*sentences, *report_sentences(parts.parity)])),
        tables=(*report_tables("Parity", rest), *tables),
    )  # fmt: skip


def _disagreeing(ratios: Mapping[str, float]) -> list[PageTable]:
    """The anchors whose pixels and catalogue differ most, and how many more there are."""
    if not ratios:
        return []
    worst = sorted(ratios, key=lambda name: -abs(math.log(ratios[name])) if ratios[name] > 0 else -math.inf)
    more = len(ratios) - _ANCHORS_NAMED
    caption = "Anchors whose central flux is not the catalogue's, the farthest first" + (
        f", and {more:,} more (all in anchor_fluxes)" if more > 0 else ""
    )
    rows = tuple((name, number_text(ratios[name])) for name in worst[:_ANCHORS_NAMED])
    return [PageTable(caption, ("galaxy", "measured / expected flux"), rows, (False, True))]


def _detectability(parts: Parts) -> Section:
    title = "Detectability: recall = observable share × recall of the observable"
    if parts.detectability is None:
        return Section("detectability", title, absence=reason(parts, "detectability"))
    rest = dict(parts.detectability)
    if "completeness" in rest:
        table = as_table(rest["completeness"])
        rest["completeness"] = table.assign(axis=table["axis"].map(with_unit)) if "axis" in table else table
    tables: list[PageTable] = []
    factors, note = rest.pop("factors", None), _sentence(str(rest.pop("note", "")))
    if factors is not None:
        table = factor_table(factors) if isinstance(factors, Mapping) else as_table(factors)
        names = {"group": "group", "quantity": "quantity", "k": "k", "n": "n"}
        tables.append(share_table("Two-factor recall of the measured", table, names=names, value="value"))
        if isinstance(factors, Mapping):
            parted = class_table(factors)
            tables.append(share_table("Observable, not observable, not measured", parted, names=names, value="value"))
    sentences = (
        "The gate uses no learning. The product counts lenses that are observable and found; recall exceeds it by "
        "those that were found although the gate calls them unobservable. Where the background is not stable, or the "
        "annulus lacks data, the gate says nothing: these lenses are in neither factor, and are counted apart.",
        *filter(None, [note]),
        *report_sentences(parts.detectability),
    )
    return Section(
        "detectability", title, sentences, pictures=("detectability",),
        tables=(*tables, *report_tables("Gate and anchors", rest)),
    )  # fmt: skip


def _sentence(words: str) -> str:
    """With a capital and a full stop."""
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}" if words else ""


def _verdict(part: Mapping[str, Any]) -> str:
    """The verdict of a part, in a word or two, with what it could not decide; "" where it has none."""
    verdict = part.get("verdict")
    whole = verdict if isinstance(verdict, Mapping) else part
    undecided = ", ".join(str(name) for name in whole.get("undecided", ()) or ())
    word = str(whole.get("verdict") or "")
    return f"{word} (undecided: {undecided})" if word and undecided else word


def _tables(caption: str, value: Any) -> list[PageTable]:
    """A table, or a report of tables and facts."""
    return report_tables(caption, value) if isinstance(value, Mapping) else [plain_table(caption, value)]


def _with_index(correlation: Any) -> pd.DataFrame:
    """A square table with its members in the first column."""
    import pandas as pd

    matrix = pd.DataFrame(correlation)
    return matrix if "member" in matrix.columns else matrix.rename_axis("member").reset_index()
