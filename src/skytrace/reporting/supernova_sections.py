"""The sections of the supernova page: sentences whose words follow from the numbers, tables, and what is not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_parts import Section
from skytrace.reporting.evaluation_tables import PageTable, number_text
from skytrace.reporting.hubble_figures import LAW_LABELS
from skytrace.reporting.supernova_words import (
    noise_words,
    note_words,
    pair_words,
    predictive_words,
    reach_words,
    seed_words,
    truth_words,
    unseen_words,
)
from skytrace.supernovae.cosmology import CosmologyOptions
from skytrace.supernovae.elpd_verdict import SMALL_ELPD

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from skytrace.reporting.cited_numbers import CitedNumbers

__all__ = ["inference_sections", "limits_section", "recomputation_section", "verdict_section"]

#: Parameters that a reader may quote one by one.
_PARAMETERS = {"omega_m": "Ω_M", "sigma_int_mag": "σ_int [mag]", "nu": "ν", "outlier_fraction": "share of outliers"}


def verdict_section(reports: Mapping[str, Any], numbers: CitedNumbers) -> Section:
    """What the comparison says, law by law."""
    pairs = reports["pairs.json"]
    reference = LAW_LABELS[pairs["reference"]]
    sentences = [pair_words(numbers, law, reference) for law in pairs["loo"]["student_t"]]
    first = (
        f"Each law was fitted to the same {numbers.text('sampler.json', 'supernovae')} SNe of the table "
        f"“{pairs['table']}” with the same Student-t noise, and judged by what it predicts for SNe left out one at a "
        f"time (elpd by PSIS-LOO). A difference is read against the standard error (SE) of the SN-by-SN differences; "
        f"within two of them, or below {SMALL_ELPD:g} whatever its SE, two laws predict equally well."
    )
    return Section(
        "verdict", "What the comparison says", (first, *noise_words(reports, numbers)), tuple(sentences),
        ("hubble_diagram", "loo_comparison"),
        numbers.sources(),
    )  # fmt: skip


def inference_sections(
    reports: Mapping[str, Any], numbers: CitedNumbers, summary: pd.DataFrame | None = None
) -> tuple[Section, ...]:
    """Least-squares fits, posteriors with their health, predictions of the unseen, the seeds' numbers."""
    return (
        Section(
            "laws", "Every law on every table, by weighted least squares", _law_words(reports["cosmology.json"]),
            tables=(_law_table(reports["cosmology.json"]),),
        ),
        _posterior_section(reports, numbers, summary),
        Section(
            "noise", "Could the noise models have made these residuals?", predictive_words(reports, numbers),
            pictures=("posterior_predictive", "prior_predictive"), tables=numbers.sources(),
        ),
        *_truth_section(reports, numbers),
        _unseen_section(reports, numbers),
        Section("seeds", "The scatters of 1.89 and 8.16 mag", seed_words(reports, numbers), tables=numbers.sources()),
    )  # fmt: skip


def _posterior_section(reports: Mapping[str, Any], numbers: CitedNumbers, summary: pd.DataFrame | None) -> Section:
    report, file = reports["sampler.json"], "sampler.json"
    failed = [f"{name}: {'; '.join(one['failures'])}." for name, one in report["posteriors"].items() if one["failures"]]
    health = (
        "Every sampler reached what was asked of it (R-hat, effective sample size, no divergence)."
        if not failed
        else "Not every sampler reached what was asked of it; what follows from these posteriors is provisional:"
    )
    basis = (
        f"The three terms as written have a condition number of {numbers.text(file, 'basis.kappa_raw', ',.0f')} on "
        f"these redshifts (its square, {numbers.text(file, 'basis.kappa_normal', ',.0f')}, is what normal equations "
        f"meet); the orthogonal coefficients have {numbers.text(file, 'basis.kappa_orthogonal', '.3f')}. k_J, η′ and ξ "
        "are all but one number and mean nothing one by one: their least-squares values come with their covariance "
        "(cosmology.json, covariance) and without errors, their posteriors as draws; predictions come first."
    )
    return Section(
        "posteriors", "Posteriors and the health of the samplers", (basis, health), tuple(failed),
        ("basis", "corner_flat_lcdm", "corner_qfd_anchored", "trace_rank"),
        (*_posterior_tables(report["posteriors"], summary), *numbers.sources()),
    )  # fmt: skip


def _posterior_tables(health: Mapping[str, Any], summary: pd.DataFrame | None) -> tuple[PageTable, ...]:
    """Parameters that mean something by themselves, and the samplers' health."""
    tables = []
    if summary is not None:
        rows = [
            (str(row.posterior), _PARAMETERS[str(row.parameter)], f"{row.median:.3f}",
             f"{row.low68:.3f} to {row.high68:.3f}", f"{row.low95:.3f} to {row.high95:.3f}")
            for row in summary.itertuples() if row.parameter in _PARAMETERS
        ]  # fmt: skip
        columns = ("posterior", "parameter", "median", "68 %", "95 %")
        tables.append(
            PageTable("Posteriors (posterior_summary.csv)", columns, tuple(rows), (False, False, True, True, True))
        )
    names = ("r_hat_max", "ess_bulk_min", "ess_tail_min", "divergences", "k_hat", "ess")
    cells = [(name, one["method"], *(number_text(one.get(key)) for key in names)) for name, one in health.items()]
    headings = (
        "posterior",
        "sampler",
        "largest R-hat",
        "bulk ESS",
        "tail ESS",
        "divergences",
        "k-hat",
        "ESS of weights",
    )
    numeric = (False, False, *[True] * 6)
    return (*tables, PageTable("Health of the samplers (sampler.json, posteriors)", headings, tuple(cells), numeric))


def _truth_section(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[Section, ...]:
    """The measurement against what a simulated sky was made with; nothing of a real one."""
    report = reports["truth_report.json"]
    if not report["known"]:
        return ()
    rows = [
        (name, f"{part['z_low']:g} to {part['z_high']:g}", f"{part['n']:,}", _signed(part["mean"]),
         "–" if part["mean_err"] is None else f"{part['mean_err']:.4f}", _signed(part["median"]))
        for name, groups in report["alpha"].items()
        for part in groups["all"]["by_redshift"]
    ]  # fmt: skip
    columns = ("alpha", "z", "n", "mean", "its error", "median")
    caption = "alpha minus truth of all fits, flagged ones too (truth_report.json, alpha.<name>.all.by_redshift)"
    table = PageTable(caption, columns, tuple(rows), (False, False, *[True] * 4))
    words = truth_words(reports, numbers)
    return (Section("truth", "What the truth says of the measurement", words, tables=(table, *numbers.sources())),)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}".replace("-", "−")


def _unseen_section(reports: Mapping[str, Any], numbers: CitedNumbers) -> Section:
    scatter = reports["scatter.json"]
    rows = []
    for law, groups in scatter["laws"].items():
        for group, figures in groups.items():
            cells = (f"{figures[key]:.4f}" if figures[key] is not None else "–" for key in _SPREADS)
            rows.append((LAW_LABELS.get(law, law), group.replace("_", " "), f"{figures['n']:,}", *cells))
    columns = ("law", "SNe", "n", "rms [mag]", "weighted rms [mag]", "1.4826 MAD [mag]")
    by = scatter["clean_by"]
    caption = (
        f"Spread of predictions for SNe that were not fitted (scatter.json, laws); clean, for every law: "
        f"p(outlier) at most {by['p_outlier_min']:g} by the mixture “{by['mixture']}” of {', '.join(by['features'])}, "
        f"from residuals about {LAW_LABELS.get(by['law'], by['law'])}: a cut that favours that law, if any"
    )
    table = PageTable(caption, columns, tuple(rows), (False, False, True, True, True, True))
    words = unseen_words(reports, numbers)
    return Section("unseen", "Supernovae that no posterior has seen", words, tables=(table, *numbers.sources()))


_SPREADS = ("rms_mag", "wrms_mag", "mad_mag")


def _law_words(cosmology: Mapping[str, Any]) -> tuple[str, ...]:
    words = (
        "Weights are those of the published (or fitted) errors as they stand, without an intrinsic scatter; the spread "
        "is about the weighted mean. Errors of parameters are statistical, of that diagonal alone. Every SN is in "
        "these fits, the held-out ones too: they describe, and judge nothing."
    )
    short = [name for name, laws in cosmology.items() if "flat_lcdm" in laws and _per_dof(laws["flat_lcdm"]) > 2.0]
    if not short:
        return (words,)
    return (
        words,
        f"For {' and '.join(short)} χ²/ndof is far above 1 even for flat ΛCDM: those errors leave out most of the "
        "scatter, so that a few precise or outlying SNe decide these fits, and the Ω_M of that row and its error are "
        "not to be used. The posteriors below have an intrinsic scatter and a tail.",
    )


def _per_dof(fit: Mapping[str, Any]) -> float:
    return float(fit["chi2"] / fit["ndof"])


def _law_table(cosmology: Mapping[str, Any]) -> PageTable:
    rows = []
    for name, laws in cosmology.items():
        for law, fit in laws.items():
            omega = f"{fit['omega_m']:.3f} ± {fit['omega_m_err']:.3f}" if "omega_m" in fit else "–"
            if fit["at_bound"]:
                omega = f"{fit['omega_m']:g}, the end of its range"
            spreads = (fit[f"{key}_{who}_mag"] for key in ("rms", "wrms", "mad") for who in ("all", "ia"))
            cells = ("–" if value is None else f"{value:.3f}" for value in spreads)
            rows.append((name, LAW_LABELS[law], f"{fit['n']:,}", omega, f"{_per_dof(fit):.3f}", *cells))
    columns = (
        "table", "law", "n", "Ω_M", "χ²/ndof", "rms all", "rms Ia", "wrms all", "wrms Ia", "1.4826 MAD all",
        "1.4826 MAD Ia",
    )  # fmt: skip
    limit = CosmologyOptions().prob_ia_min
    caption = f"Spreads in mag (cosmology.json); Ia: published P(Ia) above {limit:g}, or unknown"
    return PageTable(caption, columns, tuple(rows), (False, False, *[True] * 9))


def limits_section(reports: Mapping[str, Any], numbers: CitedNumbers) -> Section:
    """What the comparison does not show."""
    note = note_words(reports["validation_report.json"])
    items = [
        "That two laws predict equally well is no evidence for either, and none of it tests the physics that the terms "
        "are named after. " + reach_words(numbers),
        "Parameters and errors use the diagonal of the distances' errors. Calibration, dust, selection and "
        "peculiar velocities correlate supernovae; with the full covariance errors grow and Ω_M moves. Quote published "
        "analyses for cosmology.",
        "k_J, η′ and ξ are coefficients of a description. They are degenerate with the offset, which contains H0 and "
        "the supernovae's luminosity: nothing here measures H0.",
        "An outlier is a supernova that the population does not explain. Lensing or a binary black hole is one "
        "hypothesis, tested by injection; finding an injected one says what the gate can do, not that any exists.",
        "Injected light is that of the fitted model, without the photon noise of the added light: real anomalies have "
        "shapes of their own.",
    ]  # fmt: skip
    if note:
        items.insert(0, f"This sky: {note}.")
    if not reports["truth_report.json"]["known"]:
        items.insert(
            -3,
            "Published distances carry bias corrections that were simulated in ΛCDM, and BEAMS errors inflated by the "
            "probability of contamination: the comparison inherits both. In particular a score that uses those errors "
            "is not independent of the published P(Ia) that it is held against.",
        )
    return Section("limits", "What this does not show", items=tuple(items), tables=numbers.sources())


def recomputation_section(numbers: CitedNumbers) -> Section:
    """Whether the outputs give the reported numbers."""
    file = "recomputation.json"
    words = (
        f"From the tables and posteriors on disk alone, {numbers.text(file, 'n_agree')} of "
        f"{numbers.text(file, 'n_numbers')} reported numbers were computed again, the largest difference being "
        f"{numbers.text(file, 'largest_difference', '.1e')}; {numbers.text(file, 'n_not_recomputed')} cannot be (they "
        "are listed in the file: mostly what the importance sampler says of weights that are not kept)."
    )
    how = (
        "Each number of a sentence is listed with its file, beside this page, and its key; a table's caption names the "
        "file that it shows. The run's manifest says from which data, parameters and sources each file was made, with "
        "their hashes."
    )
    return Section("recomputation", "Are these the numbers of these outputs?", (words, how), tables=numbers.sources())
