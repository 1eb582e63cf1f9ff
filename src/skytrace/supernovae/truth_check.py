"""What a simulated sky's truth says of the measurement: alpha of the fits, Omega_M, scatter and outliers.

Only here, and in the gate's validation, is the truth read. A sky without one has an empty table and says so.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.supernovae.cosmology import ALPHA_PER_MAG, CosmologyOptions, fit_cosmology

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TRUTH_RESIDUAL_COLUMNS", "alpha_report", "population_report", "population_truth", "truth_residuals"]

TRUTH_RESIDUAL_COLUMNS = ("snid", "estimator", "z_hel", "kind", "unflagged", "alpha", "alpha_err", "alpha_true")
_REDSHIFTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 10.0)
_LOW_68, _HIGH_68, _LOW_95, _HIGH_95 = 15.8655, 84.1345, 2.275, 97.725


def truth_residuals(estimates: Mapping[str, tuple[pd.DataFrame, str, str]], truth: pd.DataFrame) -> pd.DataFrame:
    """One row a supernova and estimator, TRUTH_RESIDUAL_COLUMNS: name -> (fits, column of alpha, of its error)."""
    if not len(truth) or not estimates:
        return pd.DataFrame(columns=list(TRUTH_RESIDUAL_COLUMNS))
    known, parts = truth.set_index("snid"), []
    for name, (fits, value, error) in estimates.items():
        mine = fits[fits["snid"].isin(known.index)]
        parts.append(
            pd.DataFrame(
                {
                    "snid": mine["snid"], "estimator": name, "z_hel": mine["z_hel"],
                    "kind": known.loc[mine["snid"], "kind"].to_numpy(),
                    "unflagged": (mine["flags"].fillna("") == "").to_numpy(), "alpha": mine[value],
                    "alpha_err": mine[error], "alpha_true": known.loc[mine["snid"], "alpha"].to_numpy(),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def alpha_report(residuals: pd.DataFrame) -> dict[str, Any]:
    """By estimator, of unflagged and of all fits with a finite error: bias (mean and its error, median) and scatter of
    alpha minus truth; mean and sd of the pulls, with the sd's error were they normal; the bias in bins of redshift.
    """
    report: dict[str, Any] = {}
    for name, rows in residuals.groupby("estimator", sort=False):
        groups = {"unflagged": rows[rows["unflagged"].astype(bool)], "all": rows}
        report[str(name)] = {group: _alpha_figures(part) for group, part in groups.items()}
    return report


def _alpha_figures(rows: pd.DataFrame) -> dict[str, Any]:
    used = rows[(rows["alpha_err"] > 0.0) & np.isfinite(rows["alpha"]) & np.isfinite(rows["alpha_err"])]
    difference = (used["alpha"] - used["alpha_true"]).to_numpy(dtype=np.float64)
    pull = difference / used["alpha_err"].to_numpy(dtype=np.float64)
    z = used["z_hel"].to_numpy()
    bins = [(low, high, (z >= low) & (z < high)) for low, high in itertools.pairwise(_REDSHIFTS)]
    some = len(used) > 1
    return {
        "n": len(used),
        **_location(difference),
        "mad": float(1.4826 * np.median(np.abs(difference - np.median(difference)))) if some else None,
        "pull_mean": float(pull.mean()) if some else None,
        "pull_sd": float(pull.std(ddof=1)) if some else None,
        "pull_sd_err": float(pull.std(ddof=1) / np.sqrt(2.0 * (len(pull) - 1))) if some else None,
        "by_redshift": [
            {"z_low": low, "z_high": high, "n": int(here.sum()), **_location(difference[here])}
            for low, high, here in bins if here.any()
        ],
    }  # fmt: skip


def population_truth(table: pd.DataFrame, truth: pd.DataFrame, *, h0_km_s_mpc: float = 70.0) -> dict[str, Any]:
    """What the sky was made with, of the supernovae of a Hubble table (snid, z_hel): omega_m and offset (of alpha) of
    flat LambdaCDM through the true moduli without scatter; sigma_int_mag, sd of the type Ia's true scatter, and its
    excess kurtosis, which is 0 where nu is infinite; outlier_fraction, the share that is no ordinary type Ia.
    """
    mine = truth.merge(table[["snid", "z_hel"]].drop_duplicates("snid"), on="snid")
    law = mine[["snid", "z_hel"]].assign(z_hd=mine["z_cosmo"], mu_mag=mine["mu_cosmo_mag"], mu_err_mag=0.1)
    exact = fit_cosmology(law, "flat_lcdm", options=CosmologyOptions(h0_km_s_mpc=h0_km_s_mpc))
    scatter = mine.loc[mine["kind"] == "ia", "scatter_mag"].to_numpy()
    about = scatter - scatter.mean()
    return {
        "n": len(mine),
        "omega_m": exact.parameters["omega_m"],
        "offset": -ALPHA_PER_MAG * exact.offset_mag,
        "sigma_int_mag": float(scatter.std(ddof=1)),
        "scatter_excess_kurtosis": float((about**4).mean() / (about**2).mean() ** 2 - 3.0),
        "scatter_excess_kurtosis_err": float(np.sqrt(24.0 / len(scatter))),
        "outlier_fraction": float((mine["kind"] != "ia").mean()),
    }


def population_report(posteriors: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[str, Any]:
    """By posterior and parameter that has a truth: mean, sd, truth, bias in sd, whether it is in the 68 and 95 %. nu
    has none of its own (the tail stands for outliers, too) and comes with mean and sd alone.
    """
    report: dict[str, Any] = {}
    for name, posterior in posteriors.items():
        report[name] = {}
        for parameter in ("omega_m", "offset", "sigma_int_mag", "outlier_fraction", "nu"):
            if parameter not in posterior.posterior:
                continue
            draws = posterior.posterior[parameter].to_numpy().ravel()
            figures = {"mean": float(draws.mean()), "sd": float(draws.std(ddof=1))}
            if parameter in truth:
                value = float(truth[parameter])
                low95, low68, high68, high95 = np.percentile(draws, [_LOW_95, _LOW_68, _HIGH_68, _HIGH_95])
                figures |= {
                    "truth": value, "bias_sd": (figures["mean"] - value) / figures["sd"],
                    "in_68": bool(low68 <= value <= high68), "in_95": bool(low95 <= value <= high95),
                }  # fmt: skip
            report[name][parameter] = figures
    return report


def _location(values: np.ndarray) -> dict[str, float | None]:
    n = len(values)
    return {
        "mean": float(values.mean()) if n else None,
        "mean_err": float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
        "median": float(np.median(values)) if n else None,
    }
