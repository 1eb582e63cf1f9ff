"""The sections of the supernova page about what went in: rows, cuts, the fits of the light curves and their flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_parts import Section
from skytrace.reporting.evaluation_tables import PageTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from skytrace.reporting.cited_numbers import CitedNumbers

__all__ = ["data_sections", "flag_words"]

#: Flag of a fit -> what it means for mu. Those that leave a SN out of the Hubble table are in hubble_left_out.csv.
_FLAGS = {
    "at_bound_a_plasma": "the plasma's A is held at its bound of 0: the mode of alpha is no good distance there, and "
    "the Hubble table takes the mean of alpha over the posterior cut off at 0, with its larger error",
    "near_bound_a_plasma": "A is so near 0 that the cut-off moves the mean of alpha off its mode; the mean is taken",
    "rank_deficient": "the light curve alone does not determine all four parameters (where A is 0, beta has no "
    "effect); the priors do, and mu rests on them that much more",
    "at_bound_beta": "beta is held at the end of its range, and mu's error does not know it",
}  # fmt: skip


def data_sections(
    reports: Mapping[str, Any], numbers: CitedNumbers, ledger: pd.DataFrame | None = None
) -> tuple[Section, ...]:
    """What went in, cut by cut (ledger: quality_ledger.csv), and the fits of the light curves."""
    file = "validation_report.json"
    kept = (
        f"{numbers.text(file, 'rows_in')} observations were read and {numbers.text(file, 'rows_kept')} kept, of "
        f"{numbers.text(file, 'supernovae')} SNe; {numbers.text(file, 'rows_rejected')} were rejected, each with its "
        f"reason. {numbers.text(file, 'negative_fluxes')} negative fluxes are kept, as the noise that they are."
    )
    cuts = () if ledger is None else (_ledger_table(ledger),)
    data = Section("data", "What went in", (kept,), tables=(*cuts, *numbers.sources()))
    file = "fit_report.json"
    fits = (
        f"{numbers.text(file, 'supernovae')} SNe passed the cuts and were fitted; {numbers.text(file, 'converged')} "
        f"fits converged, {numbers.text(file, 'unflagged')} have no flag, {numbers.text(file, 'in_hubble_table')} "
        f"entered our own Hubble table. Median chi2/ndof {numbers.text(file, 'chi2_per_dof.percentile_50', '.2f')} "
        f"(16–84 %: {numbers.text(file, 'chi2_per_dof.percentile_16', '.2f')}–"
        f"{numbers.text(file, 'chi2_per_dof.percentile_84', '.2f')}); median error of alpha "
        f"{numbers.text(file, 'alpha_err.percentile_50', '.3f')}."
    )
    bad = reports[file]["chi2_per_dof"]["percentile_50"] > 2.0
    judged = (
        "A median chi2/ndof above 2 says that an expanding blackbody is no good description of these light curves: its "
        "alpha is a crude distance, and its errors are too small."
        if bad
        else "Were the model and the errors right, the median of chi2/ndof would lie just below 1."
    )
    return (
        data,
        Section(
            "fits", "One fit per supernova", (fits, *flag_words(numbers), judged), pictures=("light_curves",),
            tables=(_scatter_table(reports[file]["scatter_by_survey"]), *numbers.sources()),
        ),
    )  # fmt: skip


def _ledger_table(ledger: pd.DataFrame) -> PageTable:
    """What each cut left of the SNe and of their observations."""
    rows = [
        (str(row.cut).replace("_", " "), str(row.reason), *(f"{int(value):,}" for value in counts))
        for row in ledger.itertuples()
        for counts in (
            (row.supernovae_in, row.supernovae_removed, row.supernovae_out, row.observations_removed,
             row.observations_out),
        )
    ]  # fmt: skip
    columns = ("cut", "removed where", "SNe before", "removed", "SNe left", "observations removed", "observations left")
    caption = "Cuts, one after another (quality_ledger.csv; of each SN: quality.parquet, removed_by)"
    return PageTable(caption, columns, tuple(rows), (False, False, *[True] * 5))


def _scatter_table(surveys: Mapping[str, Mapping[str, Any]]) -> PageTable:
    rows = []
    for name, found in surveys.items():
        spreads = (found[f"{key}_mag{ending}"] for ending in ("", "_ia") for key in ("rms", "mad"))
        rms, mad, rms_ia, mad_ia = ("–" if value is None else f"{value:.3f}" for value in spreads)
        rows.append((name, f"{found['n']:,}", rms, mad, f"{found['n_ia']:,}", rms_ia, mad_ia))
    caption = (
        "Scatter [mag] of each survey's distances about flat ΛCDM (Ω_M = 0.3, nothing fitted), each about its median, "
        "without a correction for width or colour (fit_report.json, scatter_by_survey); Ia: published P(Ia) above 0.5"
    )
    return PageTable(
        caption, ("survey", "n", "rms", "1.4826 MAD", "n Ia", "rms Ia", "1.4826 MAD Ia"), tuple(rows),
        (False, *[True] * 6),
    )  # fmt: skip


def flag_words(numbers: CitedNumbers) -> tuple[str, ...]:
    """How many fits have which flag, and what it means for mu; nothing where no fit has one."""
    file = "fit_report.json"
    counts = numbers.value(file, "flags")
    if not counts:
        return ()
    said = "; ".join(
        f"{name}, {numbers.text(file, f'flags.{name}')}" + (f": {_FLAGS[name]}" if name in _FLAGS else "")
        for name in counts
    )
    return (f"The flags, of which a fit may have several: {said}.",)
