"""The checks of stage 3 made again from the outputs, as ``recomputed_reports`` does for the stages before.

Distributions by scipy.stats instead of special functions, the imitation by numpy's least squares, truths from the
table's own columns; only the law of flat LambdaCDM and its estimator are called again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.supernovae.cosmology import ALPHA_PER_MAG, CosmologyOptions, fit_cosmology, flat_lcdm_distance_modulus
from skytrace.supernovae.predictive_check import TAILS_MAG, thinned

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["imitation_again", "predictive_again", "truth_again"]

_SMALL_P = 0.01
_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 10.0)


def imitation_again(table: pd.DataFrame, posterior: Any, *, h0_km_s_mpc: float) -> dict[str, Any]:
    """pairs.json, imitation."""
    omega_m, sigma = (float(posterior.posterior[name].to_numpy().mean()) for name in ("omega_m", "sigma_int_mag"))
    z, z_hel = table["z_hd"].to_numpy(), table["z_hel"].to_numpy()
    mu = flat_lcdm_distance_modulus(z, z_hel, omega_m=omega_m, h0_km_s_mpc=h0_km_s_mpc)
    root = 1.0 / np.sqrt(table["mu_err_mag"].to_numpy() ** 2 + sigma**2)
    columns = np.column_stack([np.ones(len(z)), np.log1p(z), z, z / (1.0 + z)])
    target = mu - 5.0 * np.log10(z)
    solved = np.linalg.lstsq(columns * root[:, None], target * root, rcond=None)[0]
    left = target - columns @ solved
    return {
        "omega_m": omega_m, "sigma_int_mag": sigma, "z_min": float(z.min()), "z_max": float(z.max()),
        "rms_mag": float(np.sqrt(np.mean(left**2))), "max_mag": float(np.abs(left).max()),
        "distinction_sigma": float(np.linalg.norm(left * root)),
    }  # fmt: skip


def predictive_again(table: pd.DataFrame, posteriors: Mapping[str, Any], *, h0_km_s_mpc: float) -> dict[str, Any]:
    """predictive.json."""
    noises: dict[str, Any] = {}
    for name, posterior in posteriors.items():
        draws = thinned(posterior)
        groups = {"all": table, "held_out": table[table["held_out"]]}
        checks: dict[str, Any] = {
            group: _check(part, draws, h0_km_s_mpc) for group, part in groups.items() if len(part)
        }
        rarest = min(tail[key] for tail in checks["all"]["tails"] for key in ("p_few", "p_many"))
        checks["tail_p"] = min(1.0, 8.0 * rarest)
        checks["fails"] = bool(checks["all"]["ks_p"] < _SMALL_P or checks["tail_p"] < _SMALL_P)
        noises[name] = checks
    return {"small_p": _SMALL_P, "noise": noises}


def truth_again(
    residuals: pd.DataFrame,
    truth: pd.DataFrame,
    table: pd.DataFrame,
    posteriors: Mapping[str, Any],
    *,
    h0_km_s_mpc: float,
) -> dict[str, Any]:
    """truth_report.json."""
    if not len(truth):
        return {"known": False}
    alpha = {}
    for name, rows in residuals.groupby("estimator", sort=False):
        alpha[str(name)] = {"unflagged": _alpha(rows[rows["unflagged"]]), "all": _alpha(rows)}
    mine = truth[truth["snid"].isin(table["snid"])].set_index("snid")
    z_hel = table.drop_duplicates("snid").set_index("snid")["z_hel"].loc[mine.index]
    law = pd.DataFrame({"z_hd": mine["z_cosmo"], "z_hel": z_hel, "mu_mag": mine["mu_cosmo_mag"], "mu_err_mag": 1.0})
    exact = fit_cosmology(law, options=CosmologyOptions(h0_km_s_mpc=h0_km_s_mpc))
    scatter = mine["scatter_mag"][mine["kind"] == "ia"]
    about = scatter - scatter.mean()
    made_with = {
        "n": len(mine), "omega_m": exact.parameters["omega_m"], "offset": -ALPHA_PER_MAG * exact.offset_mag,
        "sigma_int_mag": float(scatter.std()),
        "scatter_excess_kurtosis": float(np.mean(about.to_numpy() ** 4) / np.mean(about.to_numpy() ** 2) ** 2 - 3.0),
        "scatter_excess_kurtosis_err": float(np.sqrt(24.0 / len(scatter))),
        "outlier_fraction": 1.0 - len(scatter) / len(mine),
    }  # fmt: skip
    population: dict[str, Any] = {}
    for name, posterior in posteriors.items():
        population[name] = {}
        for parameter in ("omega_m", "offset", "sigma_int_mag", "outlier_fraction", "nu"):
            if parameter in posterior.posterior:
                population[name][parameter] = _recovered(
                    posterior.posterior[parameter].to_numpy().ravel(), made_with.get(parameter)
                )
    return {"known": True, "alpha": alpha, "truth": made_with, "population": population}


def _check(table: pd.DataFrame, draws: dict[str, np.ndarray], h0: float) -> dict[str, Any]:
    from scipy.stats import kstwo, poisson

    n = len(table)
    z_hd, z_hel, mu, error = (table[name].to_numpy() for name in ("z_hd", "z_hel", "mu_mag", "mu_err_mag"))
    places, below = [], np.zeros((len(TAILS_MAG), len(draws["omega_m"])))
    middle = np.zeros(n)
    for d in range(len(draws["omega_m"])):
        one = {name: values[d] for name, values in draws.items()}
        law = flat_lcdm_distance_modulus(z_hd, z_hel, omega_m=one["omega_m"], h0_km_s_mpc=h0)
        residual = mu - law + one["offset"] / ALPHA_PER_MAG
        places.append(_cdf(residual, error, one))
        middle += residual / len(draws["omega_m"])
        below[:, d] = [_cdf(np.full(n, end), error, one).sum() for end in TAILS_MAG]
    pit = np.sort(np.mean(places, axis=0))
    step = np.arange(n) / n
    ks = float(max((pit - step).max(), (step + 1.0 / n - pit).max()))
    tails = []
    for end, under in zip(TAILS_MAG, below, strict=True):
        rate = under if end < 0.0 else n - under
        seen = int(np.sum(middle < end) if end < 0.0 else np.sum(middle > end))
        tails.append(
            {"beyond_mag": end, "seen": seen, "expected": float(np.mean(rate)),
             "p_few": float(np.mean(poisson(rate).cdf(seen))), "p_many": float(np.mean(poisson(rate).sf(seen - 1)))}
        )  # fmt: skip
    return {"n": n, "ks": ks, "ks_p": float(np.clip(kstwo.sf(ks, n), 0.0, 1.0)), "tails": tails}


def _cdf(x: np.ndarray, error: np.ndarray, draw: dict[str, Any]) -> np.ndarray:
    from scipy.stats import norm, t

    scale = np.sqrt(error**2 + draw["sigma_int_mag"] ** 2)
    if "nu" in draw:
        return np.asarray(t(draw["nu"], scale=scale).cdf(x))
    wide = np.sqrt(error**2 + (draw["outlier_sigma"] / ALPHA_PER_MAG) ** 2)
    share = draw["outlier_fraction"]
    far = norm(-draw["outlier_shift"] / ALPHA_PER_MAG, wide).cdf(x)
    return np.asarray((1.0 - share) * norm(0.0, scale).cdf(x) + share * far)


def _alpha(rows: pd.DataFrame) -> dict[str, Any]:
    good = rows[np.isfinite(rows["alpha"]) & np.isfinite(rows["alpha_err"]) & (rows["alpha_err"] > 0.0)]
    off = good["alpha"] - good["alpha_true"]
    pull = off / good["alpha_err"]
    place = pd.cut(good["z_hel"], list(_EDGES), right=False)
    bins = [
        {"z_low": group.left, "z_high": group.right, "n": len(part), **_middle(part)}
        for group, part in off.groupby(place, observed=True)
    ]
    return {
        "n": len(good), **_middle(off), "mad": float(1.4826 * (off - off.median()).abs().median()),
        "pull_mean": float(pull.mean()), "pull_sd": float(pull.std()),
        "pull_sd_err": float(pull.std() / np.sqrt(2.0 * len(pull) - 2.0)), "by_redshift": bins,
    }  # fmt: skip


def _middle(values: pd.Series) -> dict[str, float | None]:
    x = values.to_numpy(dtype=np.float64)
    error = float(np.sqrt(np.sum((x - x.mean()) ** 2) / (len(x) - 1) / len(x))) if len(x) > 1 else None
    return {"mean": float(x.mean()), "mean_err": error, "median": float(np.median(x))}


def _recovered(draws: np.ndarray, truth: float | None) -> dict[str, Any]:
    mean, sd = float(draws.mean()), float(draws.std(ddof=1))
    if truth is None:
        return {"mean": mean, "sd": sd}
    ends = np.quantile(draws, [0.02275, 0.158655, 0.841345, 0.97725])
    return {
        "mean": mean, "sd": sd, "truth": truth, "bias_sd": (mean - truth) / sd,
        "in_68": bool(ends[1] <= truth <= ends[2]), "in_95": bool(ends[0] <= truth <= ends[3]),
    }  # fmt: skip
