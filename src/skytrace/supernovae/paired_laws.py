"""Two laws on the same supernovae: the difference of what they predict, supernova by supernova, and its standard error.

A comparison with the best of many mixes laws with noise models; here each law meets one reference under the same noise,
and each noise model another under the same law.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.supernovae.elpd_verdict import pair_verdict

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["imitation", "law_and_noise", "paired_difference", "paired_laws"]

_MIXTURE = "_mixture"


def law_and_noise(posterior: str) -> tuple[str, str]:
    """Law and likelihood that a posterior's name stands for: a law's name is that law with Student-t noise, with
    "_mixture" appended the mixture's.
    """
    return posterior.removesuffix(_MIXTURE), "mixture" if posterior.endswith(_MIXTURE) else "student_t"


def paired_difference(ours: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, Any]:
    """Sum of elpd (n,) minus that of the reference (n,) with its standard error sqrt(n) sd (Vehtari et al. 2017, eq.
    24), in standard errors (None where the error is 0), and what it says (``pair_verdict``).
    """
    each = np.asarray(ours, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    error = float(np.sqrt(len(each)) * each.std(ddof=1))
    total = float(each.sum())
    distance = total / error if error > 0.0 else None
    return {
        "difference": total,
        "se": error,
        "standard_errors": distance,
        "verdict": pair_verdict(total, error),
        "indistinguishable": pair_verdict(total, error) == "equal",
        "n": len(each),
    }


def paired_laws(pointwise: pd.DataFrame, scores: pd.DataFrame, *, reference: str = "flat_lcdm") -> dict[str, Any]:
    """``paired_difference`` of every law against ``reference``: loo (by noise model: student_t, mixture), folds,
    held_out; elpd of the law minus the reference's, positive where the law predicts better. noise: by law, the
    mixture's loo minus Student-t's.

    pointwise: snid, elpd_loo, posterior (a law's name, "_mixture" appended where that is the noise). scores: of
    ``score_fold`` with model and held_out. Raises CatalogueError where two laws are of other supernovae.
    """
    loo: dict[str, Any] = {"student_t": {}, "mixture": {}}
    for noise, ending in (("student_t", ""), ("mixture", _MIXTURE)):
        names = [name for name in pointwise["posterior"].unique() if law_and_noise(name)[1] == noise]
        if reference + ending in names:
            base = pointwise[pointwise["posterior"] == reference + ending]
            for name in names:
                if name != reference + ending:
                    other = pointwise[pointwise["posterior"] == name]
                    loo[noise][law_and_noise(name)[0]] = _paired(other, base, "elpd_loo")
    report: dict[str, Any] = {"reference": reference, "loo": loo, "noise": {}, "folds": {}, "held_out": {}}
    drawn = {str(name): rows for name, rows in pointwise.groupby("posterior", sort=False)}
    for name, rows in drawn.items():
        if name + _MIXTURE in drawn:
            report["noise"][name] = _paired(drawn[name + _MIXTURE], rows, "elpd_loo")
    for name, chosen in (("folds", ~scores["held_out"]), ("held_out", scores["held_out"])):
        base = scores[chosen & (scores["model"] == reference)]
        for law in scores["model"].unique():
            if law != reference:
                report[name][law] = _paired(scores[chosen & (scores["model"] == law)], base, "elpd")
    return report


def imitation(
    table: pd.DataFrame, *, omega_m: float, sigma_int_mag: float, law: str = "qfd_anchored", h0_km_s_mpc: float = 70.0
) -> dict[str, Any]:
    """How well a law can stand for flat LambdaCDM of ``omega_m`` at the redshifts of a Hubble table, fitted to it
    without noise with the weights of the table: rms_mag, max_mag, and distinction_sigma, the root of the chi2 that is
    left (what a table like this one would see of the difference, were flat LambdaCDM true), with z_min, z_max.
    """
    from skytrace.supernovae.cosmology import CosmologyOptions, fit_cosmology, flat_lcdm_distance_modulus

    z_hd, z_hel = table["z_hd"].to_numpy(), table["z_hel"].to_numpy()
    exact = table.assign(mu_mag=flat_lcdm_distance_modulus(z_hd, z_hel, omega_m=omega_m, h0_km_s_mpc=h0_km_s_mpc))
    options = CosmologyOptions(h0_km_s_mpc=h0_km_s_mpc, sigma_int_mag=sigma_int_mag)
    fit = fit_cosmology(exact, law, options=options)
    return {
        "law": law, "omega_m": omega_m, "sigma_int_mag": sigma_int_mag, "z_min": float(z_hd.min()),
        "z_max": float(z_hd.max()), "rms_mag": fit.rms_all_mag, "max_mag": float(np.abs(fit.residuals_mag).max()),
        "distinction_sigma": float(np.sqrt(fit.chi2)),
    }  # fmt: skip


def _paired(other: pd.DataFrame, base: pd.DataFrame, column: str) -> dict[str, Any]:
    if other["snid"].tolist() != base["snid"].tolist():
        raise CatalogueError("two laws were scored on other supernovae, or in another order: they cannot be paired")
    return paired_difference(other[column].to_numpy(), base[column].to_numpy())
