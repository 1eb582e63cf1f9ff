"""Sections of the evaluation page on how good the detector is: ranking, calibration, recall, false positives, top K.

A section reads the entries that it knows from its part of the results and shows every further entry as a plain table,
so that nothing that was measured is dropped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_parts import Parts, Section, reason
from skytrace.reporting.evaluation_reports import plain_table, report_tables
from skytrace.reporting.evaluation_tables import (
    PageTable,
    as_table,
    category_table,
    facts_table,
    frame_table,
    number_text,
    record_table,
    share_table,
)

if TYPE_CHECKING:
    pass

__all__ = ["performance_sections", "target_sentences"]

_SCOPES = {"all": "over all scores", "top": "among the highest scores"}
QUOTED_RATES = ("0.01", "0.001", "0.0001")


def performance_sections(parts: Parts) -> list[Section]:
    """How good, where, and at what price, in the order of a referee's questions."""
    return [maker(parts) for maker in (_headline, _curves, _calibration, _recall, _gap, _confusers, _top_k)]


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
        tables = report_tables("How it was calibrated", {key: part[key] for key in part if key not in _SCOPES})
    if any(_outside(record) for _, record in rows):
        sentences.append(
            "Calibration errors are distances, so resampling noise only adds to them: where an interval does not hold "
            "its value, a large part of that value is noise."
        )
    return Section(
        "calibration", "Calibration", tuple(filter(None, sentences)), pictures=("reliability", "calibration"),
        tables=(record_table("Expected (ECE) and maximum (MCE) calibration error", rows), *tables),
    )  # fmt: skip


def _error_records(stages: Mapping[str, Any], sizes: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Errors of every scope and stage; ``sizes`` has the share of the highest scores."""
    share = sizes.get("top", {}).get("share", 0.01)
    words = {"all": "all scores", "top": f"highest {100 * share:g} % of scores"}
    return [
        (f"{kind.upper()}, {words[scope]}, {stage}", stages[scope][stage][kind])
        for scope in _SCOPES
        for kind in ("ece", "mce")
        for stage in ("as trained", "before", "after")
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
        return f"ECE {words}: not measured; its limit is {limit:g}."
    if value > limit:
        verdict = "missed"
    elif high is None:
        verdict = "met by the value; there is no interval"
    else:
        verdict = "met, at 95 % too" if high <= limit else "met by the value, but the 95 % interval reaches beyond it"
    noise = scope.get("noise_95")
    luck = f" A perfect calibration shows up to {number_text(noise)} here (95 %)." if noise is not None else ""
    return f"ECE {words} {number_text(value)}, limit {limit:g}: {verdict}.{luck}"


def _recall(parts: Parts) -> Section:
    by_tier = parts.evaluation.get("by_tier", {})
    records = [(f"recall, tier {tier}", entry["recall"]) for tier, entry in by_tier.items()]
    records += [(f"AUC, tier {tier} against all galaxies", entry["auc"]) for tier, entry in by_tier.items()]
    anchors = parts.evaluation.get("held_out_anchors")
    sentences = ["A stratum of lenses alone has no calibration error: that needs both classes."]
    if anchors:
        records.append(("recall of the held-out anchors", anchors["recall"]))
        sentences.append(f"Held-out anchors: {anchors.get('note', 'known lenses kept out of training')}.")
    tables = [record_table("Recall at the threshold and AUC, by tier", records)]
    strata = (parts.strata or {}).get("recall")
    if strata is None:
        sentences.append(
            f"Recall by seeing, depth, exposures, type and arc S/N: not measured. {reason(parts, 'strata')}"
        )
    else:
        table = as_table(strata, needs=("stratum", "bin", "n", "recall"), name="recall by stratum")
        if by_tier:
            table = table[table["stratum"] != "tier"]  # told above
        names = {"stratum": "stratum", "bin": "bin", "n_found": "found", "n": "lenses"}
        tables.append(share_table("Recall at the threshold, by stratum", table, names=names, value="recall"))
    return Section(
        "recall", "Recall by tier and stratum", tuple(sentences), pictures=("recall_by_stratum",), tables=tuple(tables)
    )


def _gap(parts: Parts) -> Section:
    evaluation = parts.evaluation
    strata = dict(parts.strata or {})
    strata.pop("recall", None)
    overall = strata.pop("global_gap", None) or {"value": evaluation.get("validation_minus_test_auc")}
    records = [
        ("AUC, validation", evaluation.get("validation", {}).get("auc")),
        ("AUC, test", evaluation["ranking"]["auc"]),
        ("global gap, validation - test", overall),
    ]
    largest = strata.pop("max_stratified_gap", None)
    if largest is not None:
        where = ", ".join(str(largest[key]) for key in ("stratum", "bin") if key in largest)
        records.append((f"max stratified gap{f' ({where})' if where else ''}", largest))
    tables = [record_table("Validation against test", records)]
    sentences = ["The threshold and the stopping epoch were chosen on validation, so a gap above zero is expected."]
    gaps = strata.pop("gaps", None)
    if gaps is None:
        sentences.append(f"Gap within matched strata: not measured. {reason(parts, 'strata')}")
    else:
        tables.append(plain_table("AUC gap, validation - test, within matched strata", gaps))
    return Section(
        "gap", "Validation against test", tuple(sentences), tables=(*tables, *report_tables("Strata", strata))
    )


def _confusers(parts: Parts) -> Section:
    names = {"category": "category", "k": "false positives", "n": "galaxies"}
    table = category_table(parts.evaluation)
    return Section(
        "confusers", "False positives by confuser category",
        ("A galaxy counts in its primary category; “none” are the galaxies that fit no category.",),
        pictures=("confuser_fpr",),
        tables=(share_table("At the threshold", table, names=names, value="value", heading="false-positive rate"),),
    )  # fmt: skip


def _top_k(parts: Parts) -> Section:
    title = "What the highest scores of a survey would hold"
    if parts.top_k is None:
        return Section("top-k", title, absence=reason(parts, "top_k"))
    sentences = (
        "Expected numbers under each stated prevalence of lenses and confusers. They are assumptions multiplied by the "
        "rates measured above, not a measured purity of a survey.",
    )
    tables = _composition_tables("Expected composition of the top K", parts.top_k)
    return Section("top-k", title, sentences, pictures=("topk_composition",), tables=tuple(tables))


def _composition_tables(caption: str, value: Any) -> list[PageTable]:
    """Expected numbers with a column a category, where the table has them; whatever else there is as it is."""
    if isinstance(value, Mapping):
        return [table for name, part in value.items() for table in _composition_tables(f"{caption}: {name}", part)]
    if not hasattr(value, "columns") and not isinstance(value, list | tuple):
        return [facts_table(caption, {"content": value})]
    table = as_table(value)
    number = next((name for name in ("expected", "share") if name in table.columns), None)
    if number is None or not {"scenario", "k", "category"} <= set(table.columns):
        return [plain_table(caption, table)]
    order = list(dict.fromkeys(table["category"]))
    rows = [name for name in ("scenario", "prevalence", "k") if name in table.columns]
    wide = table.pivot_table(index=rows, columns="category", values=number, sort=False)[order].reset_index()
    title = f"{caption}: {'numbers' if number == 'expected' else 'shares'} by category"
    return [frame_table(title, wide, headings={"k": "K"})]
