"""Sentences about supernovae and distance laws that follow from the numbers: who wins, by how much, over whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytrace.reporting.elpd_verdict import pair_verdict
from skytrace.reporting.hubble_figures import LAW_LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skytrace.reporting.cited_numbers import CitedNumbers

__all__ = ["found_words", "pair_words", "seed_words", "side_words"]


def pair_words(numbers: CitedNumbers, law: str, reference: str) -> str:
    """A law against the reference: by leave-one-out, and by the held-out SNe where it was scored on them."""
    file, key = "pairs.json", f"loo.student_t.{law}"
    verdict = pair_verdict(numbers.value(file, f"{key}.difference"), numbers.value(file, f"{key}.se"))
    said = {
        "equal": f"cannot be told apart from {reference} by these supernovae",
        "better": f"predicts these supernovae better than {reference}",
        "worse": f"predicts these supernovae worse than {reference}",
    }[verdict]
    words = (
        f"{LAW_LABELS.get(law, law)} {said}: elpd {numbers.text(file, f'{key}.difference', '+.1f')} ± "
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
            f"; with clean and outlying SNe as the noise {numbers.text(file, f'loo.mixture.{law}.difference', '+.1f')} "
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
        f"above clean SNe with an AUC of {numbers.text(file, 'levels.alpha.auc.neg_elpd.value')}, the mixture with "
        f"{numbers.text(file, 'levels.alpha.auc.log_odds.value')}, Pareto k with "
        f"{numbers.text(file, 'levels.alpha.auc.pareto_k.value')}."
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
        f"{numbers.text(file, f'{light}.auc.neg_elpd.value')}, of the mixture "
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
