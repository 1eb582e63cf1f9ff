"""Could the posterior's noise have made these residuals? PIT, Kolmogorov-Smirnov and counts in the tails.

The probability integral transform of a supernova is the share of the predictive distribution below what was seen; of a
noise model that holds they are uniform (Dawid 1984). Parameters were fitted to most of these supernovae, which makes
the Kolmogorov-Smirnov p too large, if anything: a small one says that the noise model fails, a large one that nothing
was found. Tails are counted because outliers are what a noise model is chosen for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["TAILS_MAG", "noise_cdf", "predictive_check", "predictive_report", "predictive_residuals_mag", "thinned"]

#: Residuals mu minus law beyond which supernovae are counted; negative: brighter than the law.
TAILS_MAG = (-2.0, -1.0, 1.0, 2.0)
_DRAWS = 32
_SMALL_P = 0.01


def thinned(posterior: Any, *, n_draws: int = _DRAWS) -> dict[str, NDArray[np.float64]]:
    """Evenly spaced draws (d,) of each parameter of InferenceData that is one number a draw."""
    samples = {str(name): posterior.posterior[name].to_numpy() for name in posterior.posterior.data_vars}
    flat = {name: values.ravel() for name, values in samples.items() if values.ndim == 2}
    n = len(next(iter(flat.values())))
    rows = np.unique(np.linspace(0, n - 1, min(n, n_draws)).astype(int))
    return {name: values[rows] for name, values in flat.items()}


def predictive_residuals_mag(
    table: pd.DataFrame, draws: dict[str, NDArray[np.float64]], *, h0_km_s_mpc: float
) -> NDArray[np.float64]:
    """mu minus flat LambdaCDM (d, n) [mag] of a Hubble table, at draws of omega_m and offset (of alpha)."""
    z_hd, z_hel, mu = (table[name].to_numpy(dtype=np.float64) for name in ("z_hd", "z_hel", "mu_mag"))
    law = flat_lcdm_distance_modulus(
        z_hd[None], z_hel[None], omega_m=draws["omega_m"][:, None], h0_km_s_mpc=h0_km_s_mpc
    )  # fmt: skip
    return np.asarray(mu - (law - draws["offset"][:, None] / ALPHA_PER_MAG))


def noise_cdf(
    x_mag: Any, mu_err_mag: NDArray[np.float64], draws: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Probability (d, n) that the noise of each draw leaves a residual below x_mag (number or (d, n)): Student-t where
    draws hold nu, else the mixture of clean and outlying supernovae (``population``).
    """
    from scipy.special import ndtr, stdtr

    x = np.broadcast_to(np.asarray(x_mag, dtype=np.float64), (len(draws["sigma_int_mag"]), len(mu_err_mag)))
    scale = np.hypot(mu_err_mag, draws["sigma_int_mag"][:, None])
    if "nu" in draws:
        return np.asarray(stdtr(draws["nu"][:, None], x / scale))
    wide = np.hypot(mu_err_mag, draws["outlier_sigma"][:, None] / ALPHA_PER_MAG)
    shift = -draws["outlier_shift"][:, None] / ALPHA_PER_MAG  # brighter: larger alpha, smaller mu
    share = draws["outlier_fraction"][:, None]
    return np.asarray((1.0 - share) * ndtr(x / scale) + share * ndtr((x - shift) / wide))


def predictive_check(table: pd.DataFrame, posterior: Any, *, h0_km_s_mpc: float = 70.0) -> dict[str, Any]:
    """Of a Hubble table and a posterior of flat LambdaCDM: n; ks, ks_p of the PIT; tails: seen and expected counts with
    p_few and p_many, the chance of as few and of as many (Poisson, over the posterior).
    """
    from scipy.stats import kstest, poisson

    draws = thinned(posterior)
    error = table["mu_err_mag"].to_numpy(dtype=np.float64)
    residual = predictive_residuals_mag(table, draws, h0_km_s_mpc=h0_km_s_mpc)
    pit = noise_cdf(residual, error, draws).mean(axis=0)
    test = kstest(pit, "uniform")
    tails = []
    middle = residual.mean(axis=0)
    for end in TAILS_MAG:
        below = noise_cdf(end, error, draws)
        rate = (below if end < 0.0 else 1.0 - below).sum(axis=1)
        seen = int((middle < end).sum() if end < 0.0 else (middle > end).sum())
        tails.append(
            {"beyond_mag": end, "seen": seen, "expected": float(rate.mean()),
             "p_few": float(poisson.cdf(seen, rate).mean()), "p_many": float(poisson.sf(seen - 1, rate).mean())}
        )  # fmt: skip
    return {"n": len(table), "ks": float(test.statistic), "ks_p": float(test.pvalue), "tails": tails}


def predictive_report(table: pd.DataFrame, posteriors: dict[str, Any], *, h0_km_s_mpc: float = 70.0) -> dict[str, Any]:
    """``predictive_check`` of every noise model (name -> posterior), of all supernovae of the table and of those that
    were held out; fails: ks_p, or a tail's smaller p doubled and times the tails, is below small_p for all of them.
    """
    noises: dict[str, Any] = {}
    for name, posterior in posteriors.items():
        groups = {"all": table, "held_out": table[table["held_out"]]}
        checks: dict[str, Any] = {
            group: predictive_check(rows, posterior, h0_km_s_mpc=h0_km_s_mpc)
            for group, rows in groups.items() if len(rows)
        }  # fmt: skip
        whole = checks["all"]
        rarest = min(min(tail["p_few"], tail["p_many"]) for tail in whole["tails"])
        checks["tail_p"] = min(1.0, 2.0 * len(TAILS_MAG) * rarest)
        checks["fails"] = bool(min(whole["ks_p"], checks["tail_p"]) < _SMALL_P)
        noises[name] = checks
    return {"law": "flat_lcdm", "small_p": _SMALL_P, "noise": noises}
