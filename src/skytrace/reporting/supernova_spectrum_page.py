"""What a supernova is made of, as a page: every number from the pipeline's reports, with what it does not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_tables import DASH, PageTable, number_text
from skytrace.reporting.section_page import Picture, Section, section_page
from skytrace.reporting.supernova_spectrum_words import (
    LIMITS,
    PARAMETERS,
    agreement_words,
    coverage_words,
    emulator_words,
    spectrum_words,
    stage_words,
    verdict_words,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIGURE_CAPTIONS", "supernova_spectrum_page"]

#: Figure name -> what it shows.
FIGURE_CAPTIONS = {
    "spectrum": "Observed spectrum with the last stage's posterior, 68 and 95 %; below, residuals in y = asinh of the "
    "luminosity, with the whole error and that without the fitted inadequacy. Grey: windows that were left out.",
    "lines": "The simulator's spectrum at the mode of the last stage, and which element's lines make what of it: brown "
    "where they take light away, violet where they send it. The plasma is that of the full model throughout.",
    "corner": "Posterior of the fifteen parameters, last round: contours hold 68 and 95 % of the draws. Orange: the "
    "truth of a simulated spectrum, where there is one.",
    "shrinkage": "What passes from stage to stage: each stage's prior (thin) and 68 % interval (thick) on the range of "
    "the first prior.",
    "abundances": "Mass fractions by velocity, last stage: median and 68 % of the posterior, 68 % of the models that "
    "the emulator learnt from, which is the prior, and the truth of a simulated spectrum. Where the posterior fills "
    "the prior the spectrum says nothing; oxygen is no parameter, it fills up what the others leave.",
    "emulator_error": "Error of the first stage's emulator on models that it never saw, and how many of them its own "
    "intervals hold. The axis of the error ends where it is beyond use: the far ultraviolet has next to no flux. Grey: "
    "windows that were left out.",
    "training_size": "The same error by the number of models that the emulator learnt from, its power law, and the "
    "published error.",
    "coverage": "Share of simulated observations whose 68 % interval holds the truth, with 68 % Jeffreys intervals; "
    "filled: constrained parameters; grey: the range asked for.",
    "agreement": "Every other sampler against the first: offset of the mean, in its standard deviations, and ratio of "
    "widths; grey: within what is asked.",
}


def supernova_spectrum_page(
    reports: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], figures: Mapping[str, bytes], *,
    labels: Mapping[str, str], layered: str,
) -> str:  # fmt: skip
    """The page. reports: observation, atomic, closure, training_sizes, and inference, emulator and draws by step.
    tables: coverage, truth, agreement of the samplers at ``layered``, features (errors of the first emulator's), and
    summary by step. figures: PNG by name.
    labels: of the steps, in order; layered: the last of them that has the fifteen parameters.
    """
    observed, stages = reports["observation"], list(labels)
    pictures = {name: Picture(figures[name], caption) for name, caption in FIGURE_CAPTIONS.items() if name in figures}
    return section_page(
        f"What {observed['name']} is made of", observed["note"], verdict_words(reports, tables, labels, layered),
        [
            Section(
                "spectrum", "The spectrum", (*spectrum_words(reports), PARAMETERS),
                (pictures["spectrum"], pictures["lines"]),
            ),
            *(
                Section(
                    stage, label[0].upper() + label[1:], stage_words(reports, tables, stage),
                    tuple(pictures[name] for name in _of_stage(stage, layered, stages[-1]) if name in pictures),
                    (_parameter_table(tables["summary"][stage], tables["truth"], label),),
                )
                for stage, label in labels.items()
            ),
            Section(
                "samplers", "Do the samplers agree?", agreement_words(tables["agreement"]),
                (pictures["agreement"],), (_sampler_table(reports["inference"][layered], labels[layered]),),
            ),
            Section(
                "emulator", "How good the emulator is", emulator_words(reports),
                (pictures["emulator_error"], pictures["training_size"]),
                (_emulator_table(reports["emulator"], labels), _feature_table(tables["features"])),
            ),
            Section(
                "coverage", "Do the intervals hold what they say?", coverage_words(tables["coverage"]),
                (pictures["coverage"],), (_coverage_table(tables["coverage"]),),
            ),
            Section("limits", "What this does not show", LIMITS),
        ],
    )  # fmt: skip


def _of_stage(stage: str, layered: str, last: str) -> tuple[str, ...]:
    return (*(("corner",) if stage == layered else ()), *(("shrinkage", "abundances") if stage == last else ()))


def _parameter_table(summary: pd.DataFrame, truth: pd.DataFrame, label: str) -> PageTable:
    known = len(truth) > 0 and any(name in truth for name in summary["parameter"])
    rows = []
    for row in summary.itertuples():
        remark = "not constrained" if not row.constrained else "at a bound" if str(row.flag) else ""
        cells = [
            str(row.parameter), f"{row.median:.5g}", f"{row.low68:.5g} to\u00a0{row.high68:.5g}",
            f"{row.low95:.5g} to\u00a0{row.high95:.5g}", f"{row.prior_low:.5g} to\u00a0{row.prior_high:.5g}",
            f"{row.width_of_prior:.2f}", remark,
        ]  # fmt: skip
        if known:
            cells.insert(1, f"{truth[row.parameter].iloc[0]:.5g}" if row.parameter in truth else DASH)
        rows.append(tuple(cells))
    columns = ["parameter", *(["truth"] if known else []), "median", "68 %", "95 %", "prior", "width / prior", "remark"]
    numeric = tuple(name not in ("parameter", "remark") for name in columns)
    return PageTable(f"Parameters of {label}", tuple(columns), tuple(rows), numeric)


def _sampler_table(report: Mapping[str, Any], label: str) -> PageTable:
    names = list(dict.fromkeys(name for one in report["samplers"].values() for name in one))
    rows = tuple(
        (method, *(number_text(one.get(name)) for name in names), "; ".join(report["failures"][method]) or "none")
        for method, one in report["samplers"].items()
    )
    columns = ("sampler", *(name.replace("_", " ") for name in names), "failures")
    return PageTable(f"Samplers of {label}", columns, rows, (False, *[True] * len(names), False))


def _emulator_table(reports: Mapping[str, Any], labels: Mapping[str, str]) -> PageTable:
    entries = {
        "models": "models", "held_out": "held out", "parameters": "parameters",
        "rms_of_peak_median": "median rms / peak", "rms_of_peak_p95": "95th percentile",
        "covered_68": "in 68 % interval", "covered_95": "in 95 % interval",
    }  # fmt: skip
    rows = tuple(
        (labels[stage], *(number_text(report.get(name)) for name in entries)) for stage, report in reports.items()
    )
    return PageTable("Emulators on models they never saw", ("step", *entries.values()), rows,
                     (False, *[True] * len(entries)))  # fmt: skip


def _feature_table(features: pd.DataFrame) -> PageTable:
    rows = tuple(
        (
            str(row.feature), number_text(int(row.models)), number_text(int(row.only_simulated)),
            number_text(int(row.only_predicted)), number_text(row.velocity_median_km_s, decimals=0),
            number_text(row.velocity_abs_km_s, decimals=0), number_text(row.velocity_abs_p95_km_s, decimals=0),
            number_text(row.depth_abs, decimals=3),
        )
        for row in features.itertuples()
    )  # fmt: skip
    columns = (
        "feature", "in both", "only simulated", "only predicted", "median error [km/s]", "median |error| [km/s]",
        "95 % [km/s]", "|depth error|",
    )  # fmt: skip
    return PageTable("Features of the first stage's emulator", columns, rows, (False, *[True] * 7))


def _coverage_table(coverage: pd.DataFrame) -> PageTable:
    rows = tuple(
        (
            str(row.kind), str(row.parameter), number_text(int(row.n)), f"{row.covered_68:.2f}",
            f"{row.covered_68_low:.2f} to\u00a0{row.covered_68_high:.2f}", f"{row.covered_95:.2f}",
            f"{row.bias_sigma:+.2f}".replace("-", "\u2212"), f"{row.spread_sigma:.2f}",
            "yes" if row.constrained else "no",
        )
        for row in coverage.itertuples()
    )  # fmt: skip
    columns = (
        "mocks", "parameter", "n", "in 68 %", "its 68 % interval", "in 95 %", "bias / σ", "spread / σ", "constrained",
    )  # fmt: skip
    return PageTable("Coverage", columns, rows, (False, False, *[True] * 6, False))
