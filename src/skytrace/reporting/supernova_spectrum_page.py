"""What a supernova is made of, as a page: every number from the pipeline's reports, with what it does not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_tables import DASH, PageTable, number_text
from skytrace.reporting.section_page import Picture, Section, section_page
from skytrace.spectra.inference_agreement import MEAN_SIGMA, WIDTH_RATIO
from skytrace.spectra.inference_options import COVERAGE_68

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIGURE_CAPTIONS", "supernova_spectrum_page"]

#: Figure name -> what it shows.
FIGURE_CAPTIONS = {
    "spectrum": "Observed spectrum with the last stage's posterior, 68 and 95 %; below, residuals in y = asinh of the "
    "luminosity, with the whole error and that without the fitted inadequacy. Grey: windows that were left out.",
    "lines": "The simulator's spectrum at the mode of the last stage, and which element's lines make what of it: brown "
    "where they take light away, violet where they send it. The plasma is that of the full model throughout.",
    "corner": "Posterior of the fifteen parameters, last round: contours hold 68 and 95 % of the draws. Red: the truth "
    "of a simulated spectrum, where there is one.",
    "shrinkage": "What passes from stage to stage: each stage's prior (thin) and 68 % interval (thick) on the range of "
    "the first prior.",
    "abundances": "Mass fractions by velocity, last stage: median and 68 %. Most of what lies outside the region where "
    "the lines form is the prior.",
    "emulator_error": "Error of the first stage's emulator on models that it never saw, and how many of them its own "
    "intervals hold.",
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
        f"What {observed['name']} is made of", observed["note"], _verdict(reports, tables, labels, layered),
        [
            Section("spectrum", "The spectrum", _spectrum_words(reports), (pictures["spectrum"], pictures["lines"])),
            *(
                Section(
                    stage, label[0].upper() + label[1:], _stage_words(reports, tables, stage),
                    tuple(pictures[name] for name in _of_stage(stage, layered, stages[-1]) if name in pictures),
                    (_parameter_table(tables["summary"][stage], tables["truth"], label),),
                )
                for stage, label in labels.items()
            ),
            Section(
                "samplers", "Do the samplers agree?", _agreement_words(tables["agreement"]),
                (pictures["agreement"],), (_sampler_table(reports["inference"][layered], labels[layered]),),
            ),
            Section(
                "emulator", "How good the emulator is", _emulator_words(reports),
                (pictures["emulator_error"], pictures["training_size"]),
                (_emulator_table(reports["emulator"], labels), _feature_table(tables["features"])),
            ),
            Section(
                "coverage", "Do the intervals hold what they say?", _coverage_words(tables["coverage"]),
                (pictures["coverage"],), (_coverage_table(tables["coverage"]),),
            ),
            Section("limits", "What this does not show", _LIMITS),
        ],
    )  # fmt: skip


#: p below which a model does not fit, or its distance from 1 at which errors are too large; shift that is told.
_BAD_FIT, _MOVED_SIGMA = 1e-3, 1.0

_LIMITS = (
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


def _of_stage(stage: str, layered: str, last: str) -> tuple[str, ...]:
    return (*(("corner",) if stage == layered else ()), *(("shrinkage", "abundances") if stage == last else ()))


def _verdict(
    reports: Mapping[str, Any], tables: Mapping[str, Any], labels: Mapping[str, str], layered: str
) -> tuple[str, ...]:
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
        *_moved_words(tables["summary"], labels, layered),
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


def _moved_words(summaries: Mapping[str, Any], labels: Mapping[str, str], layered: str) -> list[str]:
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


def _spectrum_words(reports: Mapping[str, Any]) -> tuple[str, ...]:
    observed, last = reports["observation"], list(reports["inference"].values())[-1]
    checks = last["checks"]
    handled = "; ".join(observed["handling"]) or "nothing had to be mended"
    return (
        f"{observed['pixels'] - observed['masked']:,} usable pixels from {observed['shortest_angstrom']:.0f} to "
        f"{observed['longest_angstrom']:.0f} Å, signal-to-noise ratio {observed['signal_to_noise']:.0f} a pixel; "
        f"{handled}.",
        f"The last stage, whose spectra are shown: p is {number_text(checks['predictive_p'])} with the fitted "
        f"inadequacy, {number_text(checks['predictive_p_without_inadequacy'])} without it: by the latter "
        "simulator and emulator alone would have to explain the spectrum.",
    )


def _stage_words(reports: Mapping[str, Any], tables: Mapping[str, Any], stage: str) -> tuple[str, ...]:
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


def _agreement_words(agreement: pd.DataFrame) -> tuple[str, ...]:
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


def _sampler_table(report: Mapping[str, Any], label: str) -> PageTable:
    names = list(dict.fromkeys(name for one in report["samplers"].values() for name in one))
    rows = tuple(
        (method, *(number_text(one.get(name)) for name in names), "; ".join(report["failures"][method]) or "none")
        for method, one in report["samplers"].items()
    )
    columns = ("sampler", *(name.replace("_", " ") for name in names), "failures")
    return PageTable(f"Samplers of {label}", columns, rows, (False, *[True] * len(names), False))


def _emulator_words(reports: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = reports["training_sizes"]
    published = sizes["published"]
    atoms = reports["atomic"]
    words = [f"The simulator knows {atoms['lines']:,} lines between {atoms['levels']:,} levels."]
    if sizes["law"]:
        law = sizes["law"]
        low, high = law["slope_interval"]
        first, last = law["goal_size_interval"]
        words.append(
            f"The median error falls as the {law['slope']:.2f} power of the number of models (95 %: {low:.2f} to "
            f"{high:.2f}); by that law it meets the published {published['median_percent']:g} % (of "
            f"{published['models']:,} models) at {number_text(law['goal_size'], decimals=0)} models "
            f"({number_text(first, decimals=0)} to {number_text(last, decimals=0)}): an extrapolation."
        )
    return tuple(words)


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


def _coverage_words(coverage: pd.DataFrame) -> tuple[str, ...]:
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
