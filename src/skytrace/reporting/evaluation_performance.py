"""Sections of the evaluation page on how good the detector is: ranking, calibration, recall, false positives, top K.

A section reads the entries that it knows from its part of the results and shows every further entry as a plain table,
so that nothing that was measured is dropped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_parts import Parts, Section, reason
from skytrace.reporting.evaluation_reports import plain_table, report_tables
from skytrace.reporting.evaluation_shapes import category_table, gap_table, strata_table, with_unit
from skytrace.reporting.evaluation_survey import top_k_section
from skytrace.reporting.evaluation_tables import (
    PageTable,
    brief_text,
    facts_table,
    number_text,
    record_table,
    share_table,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["performance_sections", "target_sentences"]

_SCOPES = {"all": "over all scores", "top": "among the highest scores"}
_STAGES = {"as trained": "as trained", "before": "before calibration", "after": "after calibration"}
QUOTED_RATES = ("0.01", "0.001", "0.0001")


def performance_sections(parts: Parts) -> list[Section]:
    """How good, where, and at what price, in the order of a referee's questions."""
    return [maker(parts) for maker in (_headline, _curves, _calibration, _recall, _gap, _confusers, top_k_section)]


def _headline(parts: Parts) -> Section:
    evaluation = parts.evaluation
    at, rates = evaluation["at_threshold"], evaluation["recall_at_false_positive_rate"]
    unquoted = {"reason": "not measured in this run: the rate is not among false_positive_rates"}
    records = [
        ("AUC", evaluation["ranking"]["auc"]),
        ("average precision, in this sample", evaluation["ranking"]["average_precision"]),
        ("recall at the threshold", at["recall"]),
        ("precision at the threshold, in this sample", at["sample_precision"]),
        ("false-positive rate at the threshold", at["false_positive_rate"]),
        *(
            (f"recall (TPR) at FPR {rate}", rates.get(rate, unquoted))
            for rate in dict.fromkeys((*QUOTED_RATES, *rates))
        ),
    ]
    sample, choice = evaluation["sample"], evaluation.get("threshold_choice", {})
    facts = {
        "split": evaluation.get("split", "test"), "lenses": sample["lenses"], "galaxies": sample["galaxies"],
        "share of lenses in the sample": sample["lens_share"], "threshold": evaluation["threshold"],
        "how the threshold was chosen": choice.get("rule", "not said"),
        "chosen on": choice.get("chosen_on", "not said"),
    }  # fmt: skip
    return Section(
        "headline", "Headline numbers",
        (_interval_sentence(evaluation), f"{str(sample.get('note', '')).capitalize()}."),
        tables=(record_table("Quantities of the evaluated split with 68 % and 95 % intervals", records),
                facts_table("The sample and the threshold", facts)),
    )  # fmt: skip


def _interval_sentence(evaluation: Mapping[str, Any]) -> str:
    drawn = evaluation.get("resampled", "lenses and galaxies, apart")
    note = f" ({evaluation['resampled_note']})" if evaluation.get("resampled_note") else ""
    return f"Intervals are percentile bootstraps that resample {drawn}{note}; those of counts are Jeffreys intervals."


def _curves(parts: Parts) -> Section:
    return Section("curves", "ROC and precision-recall", pictures=("roc", "precision_recall"))


def _calibration(parts: Parts) -> Section:
    evaluated, part = parts.evaluation["calibration"], parts.calibration
    note = str(evaluated.get("note", ""))
    sentences = [f"{note[:1].upper()}{note[1:]}." if note else ""]
    tables: list[PageTable] = []
    if part is None:
        rows = _error_records({scope: {"as trained": evaluated.get(scope, {})} for scope in _SCOPES}, evaluated)
        sentences.append(f"After calibration: not measured. {reason(parts, 'calibration')}")
    else:
        rows = _error_records(part, part)
        sentences += target_sentences(parts)
        tables = report_tables("How it was calibrated", _told_once(part))
        sentences.append(
            "The first figure is of the scores as trained, which are those before calibration; the second has both."
        )
    if any(_outside(record) for _, record in rows):
        sentences.append(
            "Calibration errors are distances, so resampling noise only adds to them: where an interval does not hold "
            "its value, a large part of that value is noise."
        )
    return Section(
        "calibration", "Calibration", tuple(filter(None, sentences)), pictures=("reliability", "calibration"),
        tables=(record_table("Expected (ECE) and maximum (MCE) calibration error", rows), *tables),
    )  # fmt: skip


def _told_once(part: Mapping[str, Any]) -> dict[str, Any]:
    """How it was calibrated: of the choice only what the calibrator, told above it, does not repeat."""
    rest = {key: part[key] for key in part if key not in _SCOPES}
    chosen, calibrator = rest.get("choice"), rest.get("calibrator")
    if isinstance(chosen, Mapping) and isinstance(calibrator, Mapping):
        rest["choice"] = {key: value for key, value in chosen.items() if calibrator.get(key, ...) != value}
    return rest


def _error_records(stages: Mapping[str, Any], sizes: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Errors of every scope and stage; ``sizes`` has the share of the highest scores."""
    share = sizes.get("top", {}).get("share", 0.01)
    words = {"all": "all scores", "top": f"highest {100 * share:g} % of scores"}
    return [
        (f"{kind.upper()}, {words[scope]}, {_STAGES[stage]}", stages[scope][stage][kind])
        for scope in _SCOPES
        for kind in ("ece", "mce")
        for stage in _STAGES
        if kind in stages.get(scope, {}).get(stage, {})
    ]


def _outside(record: Mapping[str, Any]) -> bool:
    value, low, high = (record.get(name) for name in ("value", "low_68", "high_68"))
    return value is not None and low is not None and high is not None and not low <= value <= high


def target_sentences(parts: Parts) -> list[str]:
    """Whether the calibrated scores keep to their limits, by value and by interval; nothing without a calibration."""
    part = parts.calibration or {}
    return [_target_sentence(part[scope], words) for scope, words in _SCOPES.items() if scope in part]


def _target_sentence(scope: Mapping[str, Any], words: str) -> str:
    ece, limit = scope["after"]["ece"], scope["limit"]
    value, high = ece.get("value"), ece.get("high_95")
    if value is None:
        return f"ECE {words} after calibration: not measured; its limit is {limit:g}."
    if value > limit:
        verdict = "missed"
    elif high is None:
        verdict = "met by the value; there is no interval"
    else:
        verdict = "met, at 95 % too" if high <= limit else "met by the value, but the 95 % interval reaches beyond it"
    noise = scope.get("noise_95")
    luck = f" A perfect calibration shows up to {number_text(noise)} here (95 %)." if noise is not None else ""
    before = ((scope.get("before") or {}).get("ece") or {}).get("value")
    was = f" ({number_text(before)} before)" if before is not None else ""
    return f"ECE {words} after calibration {number_text(value)}{was}, limit {limit:g}: {verdict}.{luck}"


def _recall(parts: Parts) -> Section:
    by_tier = parts.evaluation.get("by_tier", {})
    records = [(f"recall, tier {tier}", entry["recall"]) for tier, entry in by_tier.items()]
    records += [(f"AUC, tier {tier} against all galaxies", entry["auc"]) for tier, entry in by_tier.items()]
    anchors = parts.evaluation.get("held_out_anchors")
    sentences = ["A stratum of lenses alone has no calibration error: that needs both classes."]
    if anchors:
        records.append(("recall of the anchors outside training", anchors["recall"]))
        sentences.append(f"Anchors outside training: {anchors.get('note', 'known lenses kept out of training')}.")
    tables = [record_table("Recall at the threshold and AUC, by tier", records)]
    strata = (parts.strata or {}).get("by_stratum")
    if strata is None:
        sentences.append(
            f"Recall by seeing, depth, exposures, type and arc S/N: not measured. {reason(parts, 'strata')}"
        )
    else:
        table = strata_table(strata)
        tables += _strata_tables(table[table["stratum"] != "tier"] if by_tier else table)  # tiers are told above
        absent = {name: part["reason"] for name, part in strata.items() if "reason" in part}
        sentences += [f"By {name}: not measured; {why}." for name, why in absent.items()]
    return Section(
        "recall", "Recall by tier and stratum", tuple(sentences), pictures=("recall_by_stratum",), tables=tuple(tables)
    )


def _strata_tables(table: pd.DataFrame) -> list[PageTable]:
    """Recall in every bin that has lenses; ranking, false positives and calibration in every bin of both classes."""
    stratum = table["stratum"].astype(str).map(with_unit)
    where = stratum + ", " + table["bin"].astype(str)
    found = table["n_found"].map(number_text) + " of " + table["n"].map(number_text)
    names = {"where": "stratum, bin", "found": "found"}
    recall = table.assign(where=where, found=found)[table["n"] > 0]
    rows = [
        (
            row["where"], number_text(row["galaxies"]),
            *(brief_text(row[name]) for name in ("auc", "false_positive_rate", "ece")),
        )
        for row in table.assign(where=where)[(table["lenses"] > 0) & (table["galaxies"] > 0)].to_dict("records")
    ]  # fmt: skip
    columns = ("stratum, bin", "galaxies", "AUC (68 %)", "false-positive rate (68 %)", "ECE before calibration (68 %)")
    caption = "Ranking, false positives and calibration in bins that hold both lenses and galaxies"
    return [
        share_table("Recall at the threshold, by stratum", recall, names=names, value="recall"),
        PageTable(caption, columns, tuple(rows), (False, True, False, False, False)),
    ]


def _gap(parts: Parts) -> Section:
    evaluation, gap = parts.evaluation, (parts.strata or {}).get("gap")
    records = [
        ("AUC, validation", evaluation.get("validation", {}).get("auc")),
        ("AUC, test", evaluation["ranking"]["auc"]),
    ]
    sentences = ["The threshold and the stopping epoch were chosen on validation, so a gap above zero is expected."]
    tables: list[PageTable] = []
    if gap is None:
        records.append(("global gap, validation - test", {"value": evaluation.get("validation_minus_test_auc")}))
        sentences.append(f"Gap within matched strata: not measured. {reason(parts, 'strata')}")
    else:
        largest = gap["max_stratified_gap"]
        records += [
            ("global gap, validation - test", gap["global_gap"]),
            (f"max stratified gap{' (' + largest['stratum'] + ')' if 'stratum' in largest else ''}", largest),
        ]
        sentences += _gap_sentences(gap)
        if gap["strata"]:
            table = gap_table(gap)
            names = {name: name.replace("_", " ") for name in table.columns if name[:3] in ("str", "val", "tes")}
            caption = "AUC gap, validation - test, within matched strata"
            tables.append(share_table(caption, table, names=names, value="gap"))
        if gap.get("skipped"):
            tables.append(plain_table("Strata too small to compare", gap["skipped"]))
    whole = record_table("Validation against test", records)
    return Section("gap", "Validation against test", tuple(sentences), tables=(whole, *tables))


def _gap_sentences(gap: Mapping[str, Any]) -> list[str]:
    matched, largest = ", ".join(gap.get("matched_by", ())), gap["max_stratified_gap"]
    said = [
        f"Matched by {matched}. A gap over all that vanishes within strata is a difference of the samples; one that "
        "stays is overfitting or a leak."
    ]
    if largest.get("chance_95") is not None:
        chance, p_value = number_text(largest["chance_95"]), number_text(largest["p_value"])
        said.append(
            f"The largest of several gaps is large by chance: without any difference it reaches {chance} (95 %), and "
            f"chance gives as much as here with p = {p_value}."
        )
    return said


def _confusers(parts: Parts) -> Section:
    names = {"category": "category", "k": "false positives", "n": "galaxies"}
    table = category_table(parts.evaluation)
    return Section(
        "confusers", "False positives by confuser category",
        ("A galaxy counts in its primary category; “none” are the galaxies that fit no category.",),
        pictures=("confuser_fpr",),
        tables=(share_table("At the threshold", table, names=names, value="value", heading="false-positive rate"),),
    )  # fmt: skip
