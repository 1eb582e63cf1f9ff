"""Sentences about supernovae and distance laws that follow from the numbers: who wins, by how much, over whom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from skytrace.reporting.hubble_figures import LAW_LABELS
from skytrace.supernovae.elpd_verdict import pair_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skytrace.reporting.cited_numbers import CitedNumbers

__all__ = [
    "found_words", "noise_words", "note_words", "pair_words", "predictive_words", "reach_words",
    "seed_words", "side_words", "truth_words", "unseen_words",
]  # fmt: skip


def note_words(report: Mapping[str, Any]) -> str:
    """The survey's own note, its counts of rows with commas."""
    note = str(report.get("note") or "")
    return re.sub(r"\b\d{4,}(?= rows\b)", lambda found: f"{int(found[0]):,}", note)


def pair_words(numbers: CitedNumbers, law: str, reference: str) -> str:
    """A law against the reference: by leave-one-out, and by the held-out SNe where it was scored on them."""
    file, key = "pairs.json", f"loo.student_t.{law}"
    verdict = pair_verdict(numbers.value(file, f"{key}.difference"), numbers.value(file, f"{key}.se"))
    said = {
        "equal": f"cannot be told apart from {reference} by these supernovae",
        "better": f"predicts these supernovae better than {reference}",
        "worse": f"predicts these supernovae worse than {reference}",
    }[verdict]
    name = LAW_LABELS.get(law, law)
    words = (
        f"{name[0].upper()}{name[1:]} {said}: elpd {numbers.text(file, f'{key}.difference', '+.1f')} ± "
        f"{numbers.text(file, f'{key}.se', '.1f')}"
    )
    if law in numbers.value(file, "held_out"):
        words += (
            f"; on the {numbers.text(file, f'held_out.{law}.n')} held out SNe "
            f"{numbers.text(file, f'held_out.{law}.difference', '+.1f')} ± "
            f"{numbers.text(file, f'held_out.{law}.se', '.1f')}"
        )
    if law in numbers.value(file, "loo.mixture"):
        words += (
            f"; with two populations as the noise {numbers.text(file, f'loo.mixture.{law}.difference', '+.1f')} "
            f"± {numbers.text(file, f'loo.mixture.{law}.se', '.1f')}"
        )
    return words + "."


def seed_words(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[str, ...]:
    """Why two numbers that started this project are no target."""
    table = reports["pairs.json"]["table"]
    laws = reports["cosmology.json"][table]
    if "qfd_seed" not in laws or "flat_lcdm" not in laws:
        return ("The law as its authors write it was not fitted in this run.",)
    seed, lcdm = f"{table}.qfd_seed", f"{table}.flat_lcdm"
    file = "cosmology.json"
    return (
        f"The law as its authors write it, a sum of the three terms with neither a distance nor an offset, leaves an "
        f"rms of {numbers.text(file, f'{seed}.rms_all_mag', '.2f')} mag on these SNe, where flat ΛCDM leaves "
        f"{numbers.text(file, f'{lcdm}.rms_all_mag', '.3f')} mag (weighted: "
        f"{numbers.text(file, f'{seed}.wrms_all_mag', '.2f')} and "
        f"{numbers.text(file, f'{lcdm}.wrms_all_mag', '.3f')} mag). All three terms go to zero where the redshift "
        "does, while a distance modulus goes to minus infinity: no coefficients mend that.",
        "The texts that this pipeline was rebuilt from quote scatters of 1.89 and 8.16 mag. Neither is a target here, "
        "nor a baseline to improve on. Published type Ia distances scatter by a fraction of either whatever law with a "
        "distance in it is used; scatters of magnitudes tell of a missing distance term, of units that do not match "
        "and of a back-transform that was wrong, and to fall below them says nothing about a cosmology.",
    )


def side_words(numbers: CitedNumbers) -> str:
    """Are outliers too bright, as lensing and heavier sources make them, or too faint?"""
    file = "outliers.json"
    if not numbers.value(file, "sides.n_outliers"):
        return "No SN is an outlier by the gate, so there is none to explain."
    words = (
        f"{numbers.text(file, 'sides.n_brighter')} of the outliers are brighter than the law says and "
        f"{numbers.text(file, 'sides.n_fainter')} fainter. "
    )
    few, many = numbers.value(file, "sides.p_bright_or_fewer"), numbers.value(file, "sides.p_bright_or_more")
    if few < 0.01:
        p = numbers.text(file, "sides.p_bright_or_fewer", ".1e")
        return words + (
            f"So few bright ones (p = {p} were both sides as likely) exclude that brightening, by lensing or by a "
            "heavier source, is what makes most of them: fainter ones need another cause."
        )
    if many < 0.01:
        p = numbers.text(file, "sides.p_bright_or_more", ".1e")
        return words + (
            f"An excess on the bright side (p = {p}) is what brightening would make; so would selection by brightness. "
            "The sides alone do not tell them apart."
        )
    return (
        words + "That is compatible with both sides being as likely: a broad tail, and no preference for brightening."
    )


def found_words(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[str, ...]:
    """What was injected, and what each score makes of it."""
    file = "outlier_injection.json"
    scaling = {"mass_ratio": "a mass ratio, log-uniform", "magnification": "a magnification, P(> μ) ∝ μ⁻²"}
    words = [
        f"{numbers.text(file, 'levels.alpha.n_injected')} clean SNe were brightened in alpha by "
        f"{scaling[reports[file]['scaling']]}, and the population was inferred again with them in it. −elpd ranks them "
        f"above all others, the sky's own outliers included, with an AUC of "
        f"{numbers.text(file, 'levels.alpha.auc.neg_elpd.value')}, the gate with "
        f"{numbers.text(file, 'levels.alpha.auc.log_odds.value')}, Pareto k with "
        f"{numbers.text(file, 'levels.alpha.auc.pareto_k.value')} (above those alone that the gate had called clean: "
        f"{numbers.text(file, 'levels.alpha.auc_clean.neg_elpd.value')} and "
        f"{numbers.text(file, 'levels.alpha.auc_clean.log_odds.value')}). Most factors are large; what the gate does "
        "for small ones is in the table by factor."
    ]
    pareto, elpd = (numbers.value(file, f"levels.alpha.auc.{name}.value") for name in ("pareto_k", "neg_elpd"))
    if pareto is not None and elpd is not None:
        words.append(
            "Pareto k says on whom the fit leans, and a heavy-tailed fit does not lean on an outlier: it is no gate."
            if pareto < 0.7 < elpd
            else "Here Pareto k ranks the injected, too."
        )
    light = "levels.light_curve"
    words.append(
        f"{numbers.text(file, f'{light}.n_injected')} light curves were brightened instead and fitted again: the fit "
        f"gives ln q back with a median error of {numbers.text(file, f'{light}.ln_factor_error_median', '+.4f')} and a "
        f"scatter of {numbers.text(file, f'{light}.ln_factor_error_mad', '.4f')}; "
        f"{numbers.text(file, f'{light}.n_lost')} were lost. AUC of −elpd "
        f"{numbers.text(file, f'{light}.auc.neg_elpd.value')}, of the gate "
        f"{numbers.text(file, f'{light}.auc.log_odds.value')}. chi2/ndof exceeds the flag's limit for "
        f"{numbers.text(file, f'{light}.n_chi2_per_dof_above')} of them: "
        + (
            "a supernova that is only too bright has a good light curve, and a flag that also asks for a bad one "
            "misses it."
            if 2 * numbers.value(file, f"{light}.n_chi2_per_dof_above") < numbers.value(file, f"{light}.n_injected")
            else "that limit is exceeded by most light curves, and says little about brightness."
        )
    )
    return tuple(words)


_NOISE_TITLE = "Could the noise models have made these residuals?"
_NOISES = {"student_t": "Student-t noise", "mixture": "two populations (clean and outlying SNe) as the noise"}


def noise_words(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[str, ...]:
    """The noise models against each other, and which of them the residuals contradict."""
    words = []
    if "flat_lcdm" in reports["pairs.json"]["noise"]:
        verdict = pair_verdict(*(numbers.value("pairs.json", f"noise.flat_lcdm.{key}") for key in ("difference", "se")))
        said = {"equal": "predicts as well as", "better": "predicts better than", "worse": "predicts worse than"}
        words.append(
            f"Under flat ΛCDM noise of two populations, clean and outlying SNe, {said[verdict]} Student-t noise: elpd "
            f"{numbers.text('pairs.json', 'noise.flat_lcdm.difference', '+.1f')} ± "
            f"{numbers.text('pairs.json', 'noise.flat_lcdm.se', '.1f')}."
        )
    checks = reports["predictive.json"]["noise"]
    failing = [name for name, one in checks.items() if one["fails"]]
    if not failing:
        words.append(f"The residuals contradict neither noise model (see “{_NOISE_TITLE}”).")
    else:
        names = " and ".join(_NOISES[name] for name in failing)
        passed = [name for name in checks if name not in failing]
        words.append(
            f"The residuals contradict {names} (see “{_NOISE_TITLE}”): every difference and SE under "
            f"{'it' if len(failing) == 1 else 'them'} is that of a noise model that these data do not have"
            + (f"; {_NOISES[passed[0]]} passes the same check." if passed else ", and is to be read with that in mind.")
        )
    return tuple(words)


def predictive_words(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[str, ...]:
    """The posterior predictive check of each noise model."""
    file, words = "predictive.json", []
    for name, one in reports[file]["noise"].items():
        key = f"noise.{name}"
        tails = []
        for place, tail in enumerate(one["all"]["tails"]):
            side = "brighter by more than" if tail["beyond_mag"] < 0 else "fainter by more than"
            tails.append(
                f"{numbers.text(file, f'{key}.all.tails.{place}.seen')} seen and "
                f"{numbers.text(file, f'{key}.all.tails.{place}.expected', '.1f')} expected {side} "
                f"{abs(tail['beyond_mag']):g} mag"
            )
        said = (
            "The noise model fails: it could hardly have made these residuals"
            if one["fails"]
            else "Nothing here speaks against the noise model"
        )
        words.append(
            f"{_NOISES[name][0].upper()}{_NOISES[name][1:]} under flat ΛCDM, "
            f"{numbers.text(file, f'{key}.all.n')} SNe: probability integral transform, "
            f"Kolmogorov-Smirnov p = {numbers.text(file, f'{key}.all.ks_p', '.2g')} (too large, if "
            f"anything: the parameters were fitted to most of them); {', '.join(tails)} (chance of the strangest of "
            f"these counts, for their number: {numbers.text(file, f'{key}.tail_p', '.2g')}). {said} (below "
            f"{numbers.text(file, 'small_p', 'g')} in either counts)."
        )
    return tuple(words)


def unseen_words(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[str, ...]:
    """What held out means here, and what another seed of the draws does."""
    file = "seeds.json"
    stable = reports[file]["stable"]
    return (
        f"Every SN is predicted by a fit that has not seen it: {numbers.text('sampler.json', 'supernovae')} in folds, "
        f"and {numbers.text('sampler.json', 'held_out')} that are in no posterior at all, chosen by a hash of their "
        "names before anything was fitted. Two things have seen them: the least-squares fits, which judge nothing, and "
        "the gate, so that “held out clean” is cut by a gate that knew them.",
        f"Noise of the draws: with other random seeds of the sampler, and the same folds and gate, the rms of the "
        f"held-out SNe moves by at most {numbers.text(file, 'largest_spread_mag', '.1e')} mag, "
        + ("" if stable else "not ")
        + f"within {numbers.text(file, 'tolerance_mag', 'g')} mag. That tests the sampler alone: an rms about a mean "
        "of thousands of draws hardly can move by more.",
    )


def reach_words(numbers: CitedNumbers) -> str:
    """Whether SNe of these redshifts and errors could tell the three terms from flat LambdaCDM at all."""
    file, key = "pairs.json", "imitation"
    words = (
        f"Over z = {numbers.text(file, f'{key}.z_min', '.2f')} to {numbers.text(file, f'{key}.z_max', '.2f')} the "
        f"three anchored terms can imitate flat ΛCDM of Ω_M = {numbers.text(file, f'{key}.omega_m')} to "
        f"{numbers.text(file, f'{key}.rms_mag', '.1e')} mag rms ({numbers.text(file, f'{key}.max_mag', '.1e')} at "
        f"most), which these SNe would see as {numbers.text(file, f'{key}.distinction_sigma', '.2f')} σ: "
    )
    if numbers.value(file, f"{key}.distinction_sigma") < 1.0:
        return words + "a Hubble diagram of these redshifts and errors could not reject them in its favour."
    return words + "that much of a difference in fit is what the law itself, and not the data, would leave."


def truth_words(reports: Mapping[str, Any], numbers: CitedNumbers) -> tuple[str, ...]:
    """What the truth of a simulated sky says of the fits and of the population's parameters."""
    file = "truth_report.json"
    estimators = {
        "hubble": "the Hubble table's, with what is taken off it", "mean": "posterior mean", "mode": "posterior mode",
        "mle": "maximum likelihood, without priors",
    }  # fmt: skip
    parts = [
        f"{words} {numbers.text(file, f'alpha.{name}.unflagged.mean', '+.4f')} ± "
        f"{numbers.text(file, f'alpha.{name}.unflagged.mean_err', '.4f')} (median "
        f"{numbers.text(file, f'alpha.{name}.unflagged.median', '+.4f')}; pulls' sd "
        f"{numbers.text(file, f'alpha.{name}.unflagged.pull_sd', '.3f')} ± "
        f"{numbers.text(file, f'alpha.{name}.unflagged.pull_sd_err', '.3f')}; n = "
        f"{numbers.text(file, f'alpha.{name}.unflagged.n')})"
        for name, words in estimators.items() if name in reports[file]["alpha"]
    ]  # fmt: skip
    said = ["alpha minus truth, of unflagged fits: " + "; ".join(parts) + "."]
    for name, noise in (("flat_lcdm", "Student-t"), ("flat_lcdm_mixture", "two populations")):
        key = f"population.{name}.omega_m"
        far = abs(numbers.value(file, f"{key}.bias_sd"))
        verdict = "within its error of" if far <= 1.0 else "near" if far <= 2.0 else "not"
        said.append(
            f"With {noise} as the noise Ω_M = {numbers.text(file, f'{key}.mean')} ± {numbers.text(file, f'{key}.sd')}, "
            f"{verdict} the {numbers.text(file, f'{key}.truth')} that the sky was made with "
            f"({numbers.text(file, f'{key}.bias_sd', '+.1f')} σ)"
            + (
                "."
                if far <= 2.0
                else ": our own distances, this noise model, or both, leave a bias larger than this error."
            )
        )
    mixed = "population.flat_lcdm_mixture"
    said.append(
        f"The noise of two populations finds σ_int = {numbers.text(file, f'{mixed}.sigma_int_mag.mean', '.4f')} ± "
        f"{numbers.text(file, f'{mixed}.sigma_int_mag.sd', '.4f')} mag where the type Ia were scattered by "
        f"{numbers.text(file, 'truth.sigma_int_mag', '.4f')}, and a share of outliers of "
        f"{numbers.text(file, f'{mixed}.outlier_fraction.mean')} ± "
        f"{numbers.text(file, f'{mixed}.outlier_fraction.sd')} where "
        f"{numbers.text(file, 'truth.outlier_fraction')} are none of the ordinary. Student-t noise has neither: "
        f"its tail, ν = {numbers.text(file, 'population.flat_lcdm.nu.mean', '.2f')} ± "
        f"{numbers.text(file, 'population.flat_lcdm.nu.sd', '.2f')}, stands for the outliers (the scatter itself has "
        f"an excess kurtosis of {numbers.text(file, 'truth.scatter_excess_kurtosis', '+.2f')} ± "
        f"{numbers.text(file, 'truth.scatter_excess_kurtosis_err', '.2f')}), and its σ_int = "
        f"{numbers.text(file, 'population.flat_lcdm.sigma_int_mag.mean', '.4f')} mag is the width of a core."
    )
    return tuple(said)
