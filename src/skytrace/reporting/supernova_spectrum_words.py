"""The sentences of the page on what a supernova is made of: what was found, how it fits, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_tables import number_text
from skytrace.spectra.inference_agreement import MEAN_SIGMA, WIDTH_RATIO
from skytrace.spectra.inference_options import COVERAGE_68

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LIMITS", "PARAMETERS", "agreement_words", "coverage_words", "emulator_words", "moved_words", "spectrum_words",
    "stage_words", "verdict_words",
]  # fmt: skip

PARAMETERS = (
    "v_inner is the velocity of the photosphere; v_core and v_wall are the borders between an iron core, a wall of "
    "silicon and the outer layers [km/s], and X_Fe, X_Si mass fractions in them; X_Ni is that of Ni56 at the "
    "explosion. log_rho_0 is log10 of the density at the photosphere [g/cm3], density_exp and density_exp_outer the "
    "powers of velocity with which it falls within and beyond v_break [km/s]; log_L is log10 of the luminosity "
    "[erg/s], T_e_ratio the temperature of electrons over that of radiation, t_exp the time since the explosion [d]. "
    "The inadequacy is the scatter in y = asinh(luminosity / unit) that no parameter explains: about a share of the "
    "flux."
)

#: p below which a model does not fit, or its distance from 1 at which errors are too large; shift that is told.
_BAD_FIT, _MOVED_SIGMA = 1e-3, 1.0
#: Share within 68 % intervals beyond which errors are said to be too large.
_WIDE = 0.8

LIMITS = (
    "The simulator is one-dimensional, with resonance scattering in place of fluorescence and a sharp photosphere. "
    "Against Monte Carlo transfer with the same physics its spectra are 5 to 10 % off; against the same with "
    "fluorescence more than twenty, most of it below 3500 Å, which is why that range is left out.",
    "The fitted inadequacy widens the intervals by what the model cannot fit at the scale of its Gaussian process. It "
    "does not know errors that look like a change of parameters.",
    "A parameter that leans on a bound of its prior is a limit, not a measurement; one that is not constrained has the "
    "prior's interval. The tables say which.",
    "Coverage is measured on simulated spectra of the same simulator: it says that the inference works, not that the "
    "ejecta of a real supernova are a member of this family.",
)


def verdict_words(
    reports: Mapping[str, Any], tables: Mapping[str, Any], labels: Mapping[str, str], layered: str
) -> tuple[str, ...]:
    """The headline: whether it converged and fits, what is constrained, what moved, closure, and the truth if known."""
    first = tables["summary"][layered]
    first = first[first["parameter"] != "inadequacy"]
    constrained = list(first.loc[first["constrained"], "parameter"])
    walls = list(first.loc[first["flag"].astype(str) != "", "parameter"])
    checks, closure = reports["inference"][layered]["checks"], reports["closure"]
    closes = "closes" if closure["closes"] else "does not close"
    truth = tables["truth"]
    words = [
        *_unconverged(reports["inference"], labels),
        _fit_words(checks, labels[layered]),
        f"Of the fifteen parameters ({labels[layered]}) {len(constrained)} are constrained by the spectrum to less "
        f"than half of their prior's width: {_listed(constrained)}. {len(walls)} lie within 2 sigma of a bound of "
        f"their prior: {_listed(walls)}.",
        *moved_words(tables["summary"], labels, layered),
        f"Run again at the mode of the last stage, the simulator {closes} with the emulator: rms "
        f"{closure['rms_pull']:.2f} of the emulator's own error, {100 * closure['rms_of_peak_emulator']:.2f} % of the "
        f"peak; from the observed spectrum it is {100 * closure['rms_of_peak_observed']:.1f} % of the peak away.",
    ]
    if len(truth):
        inside = [
            row.low68 <= float(truth[row.parameter].iloc[0]) <= row.high68
            for row in first.itertuples() if row.parameter in truth
        ]  # fmt: skip
        words.append(
            f"The truth is known here: {sum(inside)} of {len(inside)} intervals of 68 % hold it. "
            "One spectrum says little; the coverage below is measured on many."
        )
    return tuple(words)


def _fit_words(checks: Mapping[str, Any], label: str) -> str:
    """Whether the step that is quoted fits: its posterior predictive p, and what to make of it."""
    p, alone = checks["predictive_p"], checks["predictive_p_without_inadequacy"]
    words = (
        f"Posterior predictive p of {label}: {number_text(p)} with the fitted inadequacy, {number_text(alone)} without."
    )
    if p < _BAD_FIT:
        return f"{words} The model does not fit this spectrum: none of its intervals is to be quoted."
    if p > 1.0 - _BAD_FIT:
        return f"{words} So near 1 it says that the emulator's errors are too large, and intervals wider than need be."
    if alone < _BAD_FIT:
        return f"{words} The simulator fits only with the inadequacy, which is what it gets wrong."
    return words


def moved_words(summaries: Mapping[str, Any], labels: Mapping[str, str], layered: str) -> list[str]:
    """A sentence on parameters whose mean moved from the first step to the one that is quoted; none where none did."""
    first = next(iter(summaries))
    if first == layered:
        return []
    before, now = (summaries[stage].set_index("parameter") for stage in (first, layered))
    moved = {name: (now["mean"][name] - before["mean"][name]) / before["sd"][name] for name in now.index}
    far = [
        f"{name} ({shift:+.1f})".replace("-", "\u2212") for name, shift in moved.items() if abs(shift) > _MOVED_SIGMA
    ]
    if not far:
        return []
    return [
        f"From {labels[first]}, of the same spectrum, means moved by more than {_MOVED_SIGMA:g} of its standard "
        f"deviations in {', '.join(far)}: intervals do not hold what another emulator says."
    ]


def _unconverged(inference: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """A sentence for the stages whose kept posterior failed its own checks; none where all passed."""
    kept = {stage: next(iter(one["samplers"])) for stage, one in inference.items()}
    failed = [
        f"{labels[stage]} ({'; '.join(one['failures'][kept[stage]])})"
        for stage, one in inference.items() if one["failures"][kept[stage]]
    ]  # fmt: skip
    if not failed:
        return []
    return [
        f"The sampler did not converge in {', '.join(failed)}: no interval of these stages, nor of those after them, "
        "is to be quoted."
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


def spectrum_words(reports: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the observed spectrum, what the likelihood compares, and how the last stage fits."""
    observed, last = reports["observation"], list(reports["inference"].values())[-1]
    checks = last["checks"]
    handled = "; ".join(observed["handling"]) or "nothing had to be mended"
    return (
        f"{observed['pixels'] - observed['masked']:,} usable pixels from {observed['shortest_angstrom']:.0f} to "
        f"{observed['longest_angstrom']:.0f} Å, signal-to-noise ratio {observed['signal_to_noise']:.0f} a pixel; "
        f"{handled}.",
        f"The likelihood compares {last['bins']} bins, each the mean of {last['likelihood']['merged_bins']} of the "
        "emulator's, outside the windows that were left out.",
        f"The last stage, whose spectra are shown: p is {number_text(checks['predictive_p'])} with the fitted "
        f"inadequacy, {number_text(checks['predictive_p_without_inadequacy'])} without it: by the latter "
        "simulator and emulator alone would have to explain the spectrum.",
    )


def stage_words(reports: Mapping[str, Any], tables: Mapping[str, Any], stage: str) -> tuple[str, ...]:
    """Of one step: its models and emulator, how its sampler did, and its walls."""
    inference, emulator, draws = (reports[kind][stage] for kind in ("inference", "emulator", "draws"))
    drawn = draws["training"]
    rejected = drawn["rejected"] / max(drawn["drawn"], 1)
    kept = next(iter(inference["samplers"]))
    failed = inference["failures"][kept]
    mine = tables["summary"][stage]
    held = int((mine["constrained"].astype(bool) & (mine["parameter"] != "inadequacy")).sum())
    words = [
        f"{emulator['parameters']} parameters, of which {held} are constrained; {emulator['models']:,} models to "
        f"learn from, {emulator['held_out']:,} held out ({100 * rejected:.0f} % of the draws were unphysical and drawn "
        f"anew). Median rms of the emulator {100 * emulator['rms_of_peak_median']:.2f} % of the peak, 95th percentile "
        f"{100 * emulator['rms_of_peak_p95']:.2f} %.",
        f"Sampled by {kept}" + (f"; it did not converge by its own rule: {'; '.join(failed)}." if failed else "."),
    ]
    dated = inference["likelihood"]["explosion"]
    if dated is not None and "t_exp" in set(mine["parameter"]):
        words.append(
            f"The explosion is dated: t_exp has a prior of {dated['low_day']:g} to {dated['high_day']:g} d "
            f"({dated['source']})."
        )
    if draws.get("log10_compression") is not None:
        words.insert(0, _narrowed_words(draws["log10_compression"]))
    flags = tables["summary"][stage]
    said = [str(flag) for flag in flags["flag"] if str(flag)]
    if said and len(said) <= 15:
        words.append(f"Walls: {'; '.join(said)}.")
    elif said:
        words.append(
            f"{len(said)} of {len(flags)} posteriors reach a bound within 2 sigma, most because they are the prior."
        )
    return tuple(words)


def _narrowed_words(log10_compression: float) -> str:
    return (
        f"Models fill the part of the prior in which the posterior before lies (1st to 99th percentile and 30 % more "
        f"on either side), {10.0**log10_compression:,.0f} times smaller in volume, so that the emulator is better "
        "where it counts. Prior, width and bounds below are those of the first round: this part was cut from the same "
        "spectrum."
    )


def agreement_words(agreement: pd.DataFrame) -> tuple[str, ...]:
    """Of the table of ``agreement_table``, no row where one sampler ran."""
    if not len(agreement):
        return ("One sampler ran: nothing to compare.",)
    wrong = agreement[~agreement["agrees"].astype(bool)]
    limits = f"means within {MEAN_SIGMA:g} of a standard deviation, widths within {100 * WIDTH_RATIO:g} %"
    if not len(wrong):
        return (f"All agree: {limits}.",)
    return (
        f"{len(agreement) - len(wrong)} of {len(agreement)} comparisons agree ({limits}). Where not:",
        "; ".join(str(words) for words in wrong["words"]) + ".",
    )


def emulator_words(reports: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the atoms, the emulators' own errors, and the law of the training size."""
    sizes = reports["training_sizes"]
    published = sizes["published"]
    atoms = reports["atomic"]
    words = [f"The simulator knows {atoms['lines']:,} lines between {atoms['levels']:,} levels."]
    words += [
        f"The emulator of {name.replace('_', ' ')} states larger errors than it makes: {100 * one['covered_68']:.0f} % "
        "of the bins of held-out models lie within its 68 % interval."
        for name, one in reports["emulator"].items() if one["covered_68"] > _WIDE
    ]  # fmt: skip
    if not sizes["law"]:
        words.append("How the error falls with the number of models was not measured in this run.")
    if sizes["law"]:
        law = sizes["law"]
        low, high = law["slope_interval"]
        first, last = law["goal_size_interval"]
        words.append(
            f"The median error falls as the {law['slope']:.2f} power of the number of models (95 %: {low:.2f} to "
            f"{high:.2f}); by that law it meets the published {published['median_percent']:g} % (of "
            f"{published['models']:,} models) at {number_text(law['goal_size'], decimals=0)} models "
            f"({number_text(first, decimals=0)} to {number_text(last, decimals=0)}): an extrapolation, and the "
            "published error is of another normalisation."
        )
    return tuple(words)


def coverage_words(coverage: pd.DataFrame) -> tuple[str, ...]:
    """Of the table of ``coverage_report`` by kind of mock, with the parameters that fail."""
    words = []
    for kind, mine in coverage.groupby("kind", sort=False):
        asked = mine[mine["constrained"].astype(bool)]
        loose = list(mine.loc[~mine["constrained"].astype(bool), "parameter"])
        holds = int((asked["holds"] == True).sum())  # noqa: E712 (an object column, empty where not asked)
        failing = asked[~(asked["holds"] == True)]  # noqa: E712
        fails = [f"{row.parameter} ({row.covered_68:.2f})" for row in failing.itertuples()]
        words.append(
            f"{str(kind).capitalize()}: {holds} of {len(asked)} constrained parameters have a coverage of "
            f"{COVERAGE_68[0]:.2f} to {COVERAGE_68[1]:.2f} at 68 %{', not ' + ', '.join(fails) if fails else ''}; "
            f"not constrained, and not asked: {_listed(loose)}. "
            "Importance sampling, the check of the sampler, has weights to be trusted in "
            f"{100 * mine['importance_share'].mean():.0f} % of these mocks."
        )
    return tuple(words)
