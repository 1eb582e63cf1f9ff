"""The sections of the supernova page about outliers: the gate by what is known, and its test by injection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_parts import Section
from skytrace.reporting.evaluation_tables import PageTable
from skytrace.reporting.supernova_words import found_words, side_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skytrace.reporting.cited_numbers import CitedNumbers

__all__ = ["outlier_sections"]

_SCORES = {"neg_elpd": "−elpd", "log_odds": "the gate", "pareto_k": "Pareto k"}
_REFERENCES = {
    "truth": "simulated outliers of any kind", "truth_non_ia": "simulated: other types",
    "truth_brightened": "simulated: brightened",
}  # fmt: skip


def outlier_sections(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[Section, ...]:
    """The gate, and its test by injection."""
    report, file = reports["outliers.json"], "outliers.json"
    gate = (
        f"{numbers.text(file, 'n_outliers')} of {numbers.text(file, 'n')} SNe have a probability above "
        f"{numbers.text(file, 'gate.p_outlier_min', 'g')} of belonging to the outlying component of a two-component "
        f"Gaussian mixture of {', '.join(report['gate']['features'])} (“the gate”), fitted to all of them, the "
        "held-out ones too; "
        f"{numbers.text(file, 'n_flagged')} of them also have a chi2/ndof above "
        f"{numbers.text(file, 'gate.chi2_per_dof_min', 'g')} and are flagged "
        f"({numbers.text(file, 'n_without_light_curve')} SNe have no light curve here and cannot be)."
    )
    apart = (
        "The gate is not the noise of two populations in the posteriors (“…_mixture”), and their shares of outliers "
        "differ: the gate labels each SN by where it lies among all the others, whatever its error; the posterior "
        "weighs each residual by its own error, fits the outliers together with the law, and labels none."
    )
    gate_section = Section(
        "outliers", "Outliers", (gate, apart, side_words(numbers)), pictures=("outlier_roc", "outlier_gallery"),
        tables=(_auc_table(report), _rule_table(report), *numbers.sources()),
    )  # fmt: skip
    levels = reports["outlier_injection.json"]["levels"]
    injection = Section(
        "injection", "Would the gate find supernovae that are too bright?", found_words(reports, numbers),
        tables=(_injection_table(levels), _factor_table(levels), *numbers.sources()),
    )  # fmt: skip
    return gate_section, injection


def _reference(name: str, report: Mapping[str, Any]) -> str:
    if name == "prob_ia":
        return f"published P(Ia) at most {report['gate']['prob_ia_min']:g}"
    return _REFERENCES.get(name, name)


def _auc_table(report: Mapping[str, Any]) -> PageTable:
    rows = [
        (_reference(name, report), words, f"{record['n_outliers']:,}", f"{record['n_clean']:,}", *_interval(record))
        for name, one in report["known_by"].items()
        for score, words in _SCORES.items()
        for record in (one["auc"][score],)
    ]
    columns = ("outliers known by", "score", "outliers", "others", "AUC", "68 %", "95 %")
    return PageTable("Area under the ROC (outliers.json, known_by)", columns, tuple(rows), (False, False, *[True] * 5))


def _rule_table(report: Mapping[str, Any]) -> PageTable:
    labels = {
        "mixture": f"the gate: p > {report['gate']['p_outlier_min']:g}",
        "light_curve": f"light curve: chi2/ndof > {report['gate']['chi2_per_dof_min']:g}", "both": "both (flagged)",
    }  # fmt: skip
    rows = []
    for name, one in report["known_by"].items():
        for rule, figures in one["rules"].items():
            purity, completeness = (_interval(figures[key]) for key in ("purity", "completeness"))
            rows.append(
                (_reference(name, report), labels[rule], f"{figures['n_chosen']:,}", f"{figures['n_found']:,}",
                 purity[0], purity[2], completeness[0], completeness[2])
            )  # fmt: skip
    columns = ("outliers known by", "rule", "chosen", "of them outliers", "purity", "95 %", "completeness", "95 %")
    return PageTable(
        "What the rules choose (outliers.json, known_by)", columns, tuple(rows), (False, False, *[True] * 6)
    )


def _injection_table(levels: Mapping[str, Any]) -> PageTable:
    rows = [
        (level.replace("_", " "), words, f"{one['n_injected']:,}", *_interval(one["auc"][score]),
         _interval(one["auc_clean"][score])[0])
        for level, one in levels.items()
        for score, words in _SCORES.items()
    ]  # fmt: skip
    columns = ("injected into", "score", "n", "AUC against all others", "68 %", "95 %", "against clean alone")
    caption = (
        "AUC for the injected (outlier_injection.json). All others include the sky's own outliers; the clean are those "
        "that the gate under test had not taken, which is kind to it"
    )
    return PageTable(caption, columns, tuple(rows), (False, False, *[True] * 5))


def _factor_table(levels: Mapping[str, Any]) -> PageTable:
    """Completeness of the gate by how much brighter the injected became."""
    rows = []
    for level, one in levels.items():
        for part in one["by_factor"]:
            high = part["factor_high"]
            ends = f"{part['factor_low']:g} to {high:g}" if high is not None else f"above {part['factor_low']:g}"
            share = part["completeness"]
            value = "–" if share["value"] is None else f"{share['value']:.2f}"
            span = "–" if share["value"] is None else f"{share['low_95']:.2f} to {share['high_95']:.2f}"
            rows.append((level.replace("_", " "), ends, f"{part['n']:,}", f"{part['n_found']:,}", value, span))
    columns = ("injected into", "factor of the flux", "n", "found", "completeness", "95 %")
    caption = (
        "Share of the injected that the gate takes, by factor (outlier_injection.json, by_factor). The AUC is over all "
        "factors, of which most are far larger than lensing makes"
    )
    return PageTable(caption, columns, tuple(rows), (False, False, *[True] * 4))


def _interval(record: Mapping[str, Any]) -> tuple[str, str, str]:
    if record.get("value") is None:
        return "–", "–", "–"
    if record.get("low_95") is None:
        return f"{record['value']:.3f}", "–", "–"
    spans = (f"{record[f'low_{level}']:.3f} to {record[f'high_{level}']:.3f}" for level in ("68", "95"))
    return (f"{record['value']:.3f}", *spans)  # type: ignore[return-value]
