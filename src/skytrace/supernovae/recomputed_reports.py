"""Every report of supernova made again from the outputs on disk: tables and posteriors in, nested numbers out.

Written from the definitions and not from the code that reported (numpy and arviz on the columns); only estimators (a
law's parameters, the light curves' zero points) are called again. Keys are those of the reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "comparison_again", "cosmology_again", "fit_report_again", "fold_report_again", "posterior_summary_again",
    "sampler_report_again", "seed_report_again", "spread_again", "validation_again",
]  # fmt: skip

_PROB_IA_MIN = 0.5  # above: a likely type Ia, as CosmologyOptions and fold_figures have it
_SUMMARISED_ONLY = ("p", "sigma_int_mag")  # made from what was sampled: no part of the sampler's health


def validation_again(
    clean: pd.DataFrame, rejections: pd.DataFrame, zero_points: pd.DataFrame, objects: pd.DataFrame
) -> dict[str, Any]:
    """validation_report.json."""
    reddening = dict(zip(objects["snid"], objects["mwebv"], strict=True))
    counts = clean["snid"].value_counts()
    surveys = {
        name: {"supernovae": int(part["snid"].nunique()), "observations": len(part)}
        for name, part in clean.groupby("survey")
    }
    return {
        "rows_in": len(clean) + len(rejections),
        "rows_kept": len(clean),
        "rows_rejected": len(rejections),
        "rejected_by_reason": {reason: int(n) for reason, n in rejections["reason"].value_counts().items()},
        "supernovae": len(counts),
        "supernovae_of_one_observation": int((counts == 1).sum()),
        "supernovae_of_unknown_reddening": sum(not np.isfinite(reddening.get(name, np.nan)) for name in counts.index),
        "negative_fluxes": int((clean["flux_jy"] < 0).sum()),
        "surveys": surveys,
        "zero_points": zero_points.to_dict(orient="records"),
    }


def fit_report_again(fits: pd.DataFrame, hubble: pd.DataFrame, left_out: pd.DataFrame) -> dict[str, Any]:
    """fit_report.json."""
    flags = [name for text in fits["flags"].fillna("").astype(str) for name in text.split(";") if name]
    per_dof = (fits["chi2"] / fits["ndof"])[fits["ndof"] > 0].dropna().to_numpy()
    percentiles = (16, 50, 84)
    return {
        "scatter_by_survey": _scatter_again(hubble),
        "supernovae": len(fits),
        "observations": int(fits["n_obs"].sum()),
        "converged": int(fits["converged"].sum()),
        "unflagged": int((fits["flags"].fillna("") == "").sum()),
        "flags": {name: flags.count(name) for name in set(flags)},
        "left_out": {name: int((left_out["reason"] == name).sum()) for name in left_out["reason"].unique()},
        "in_hubble_table": len(hubble),
        "chi2_per_dof": {f"percentile_{q}": float(np.percentile(per_dof, q)) for q in percentiles},
        "alpha_err": {f"percentile_{q}": float(np.percentile(hubble["alpha_err"], q)) for q in percentiles},
        "iterations_median": float(np.median(fits["n_iterations"])),
    }


def _scatter_again(hubble: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Scatter of every survey's distances about flat LambdaCDM, with astropy's distances."""
    from astropy.cosmology import FlatLambdaCDM
    from scipy.stats import median_abs_deviation

    z_hd, z_hel = hubble["z_hd"].to_numpy(), hubble["z_hel"].to_numpy()
    mu = FlatLambdaCDM(H0=70.0, Om0=0.3, Tcmb0=0.0).distmod(z_hd).value + 5.0 * np.log10((1.0 + z_hel) / (1.0 + z_hd))
    away, survey = hubble["mu_mag"].to_numpy() - mu, hubble["survey"].astype(str).to_numpy()
    found: dict[str, dict[str, float]] = {str(name): {} for name in np.unique(survey)}
    for name, numbers in found.items():
        for ending, chosen in (("", survey == name), ("_ia", (survey == name) & (hubble["prob_ia"] > 0.5).to_numpy())):
            some = away[chosen]
            numbers[f"n{ending}"] = len(some)
            numbers[f"rms_mag{ending}"] = (
                float(np.sqrt(np.mean((some - np.median(some)) ** 2))) if len(some) else np.nan
            )
            numbers[f"mad_mag{ending}"] = float(1.4826 * median_abs_deviation(some)) if len(some) else np.nan
    return found


def cosmology_again(
    residuals: pd.DataFrame, tables: Mapping[str, pd.DataFrame], models: tuple[str, ...], options: Any
) -> dict[str, Any]:
    """cosmology.json: parameters from the Hubble tables, spreads from the residuals."""
    from skytrace.supernovae.cosmology import fit_cosmology

    report: dict[str, Any] = {}
    for name, rows in residuals.groupby("table", sort=False):
        weight = 1.0 / rows["mu_err_mag"].to_numpy() ** 2
        report[str(name)] = {}
        for model in models:
            residual = rows[f"residual_{model}_mag"].to_numpy()
            again = fit_cosmology(tables[str(name)], model, options=options)
            named: dict[str, Any] = dict(again.parameters)
            names = list(named)
            if len(names) == 1:
                named[f"{names[0]}_err"] = again.errors[names[0]]
            if len(names) > 1:
                named["covariance"] = {
                    one: {other: float(again.covariance[i, j]) for j, other in enumerate(names)}
                    for i, one in enumerate(names)
                }
            free = len(again.parameters) + (model != "qfd_seed")
            report[str(name)][model] = {
                **named,
                "offset_mag": again.offset_mag,
                "offset_err_mag": 1.0 / np.sqrt(weight.sum()) if model != "qfd_seed" else np.nan,
                "chi2": float(np.sum(weight * residual**2)),
                "ndof": len(rows) - free,
                "n": len(rows),
                "at_bound": again.at_bound,
                **spread_again(residual, weight, rows["prob_ia"].to_numpy()),
            }
    return report


def sampler_report_again(inference_table: pd.DataFrame, posteriors: Mapping[str, Any]) -> dict[str, Any]:
    """sampler.json; of the fast mode only what the draws on disk can say."""
    fitted = inference_table[~inference_table["held_out"]]
    z = fitted["z_hd"].to_numpy()
    health = {name: _health(posterior) for name, posterior in posteriors.items()}
    failed = [name for name, posterior in posteriors.items() if posterior.posterior.attrs["failures"]]
    return {
        "supernovae": len(fitted),
        "held_out": int(inference_table["held_out"].sum()),
        "all_converged": not failed,
        "posteriors": health,
        "basis": _basis(z),
    }


def posterior_summary_again(posteriors: Mapping[str, Any]) -> dict[str, Any]:
    """posterior_summary.csv as posterior -> parameter -> figure."""
    import arviz

    report: dict[str, Any] = {}
    with_p = [drawn.posterior["coefficient"].to_numpy() for drawn in posteriors.values() if "p" in drawn.posterior]
    coefficients = sorted({str(name) for names in with_p for name in names})
    for name, posterior in posteriors.items():
        samples = posterior.posterior
        chains = samples.attrs["method"] != "fast"
        report[name] = {}
        for variable in samples.data_vars:
            draws = samples[variable]
            columns = [(None, draws)]
            if draws.ndim == 3:
                label = draws.dims[2]
                columns = [(value, draws.sel({label: value})) for value in draws[label].to_numpy()]
            for value, one in columns:
                x = one.to_numpy()
                ends = np.quantile(x, [0.02275, 0.158655, 0.5, 0.841345, 0.97725])
                health = [float(f(x)) for f in (arviz.rhat, arviz.ess)] + [float(arviz.ess(x, method="tail"))]
                figures = [x.mean(), x.std(ddof=1), ends[2], ends[1], ends[3], ends[0], ends[4]]
                figures += health if chains else [np.nan] * 3
                key = str(variable) if value is None else f"{variable}[{value}]"
                names = ("mean", "sd", "median", "low68", "high68", "low95", "high95", "r_hat", "ess_bulk", "ess_tail")
                report[name][key] = dict(zip(names, map(float, figures), strict=True))
                report[name][key] |= {f"covariance_{to}": _covariance(one, draws, to) for to in coefficients}
    return report


def _covariance(one: Any, draws: Any, name: str) -> float:
    """Of one coefficient's draws with those of the named one; NaN where ``draws`` are of no such coefficient."""
    if "coefficient" not in draws.dims or name not in draws["coefficient"]:
        return np.nan
    other = draws.sel(coefficient=name)
    return float(((one - one.mean()) * (other - other.mean())).sum() / (one.size - 1))


def comparison_again(pointwise: pd.DataFrame, posteriors: Mapping[str, Any], k_hat_good: float) -> dict[str, Any]:
    """comparison.json from each supernova's elpd and from the log likelihoods of the draws."""
    each = {str(name): part for name, part in pointwise.groupby("posterior", sort=False)}
    loo = {name: part["elpd_loo"].to_numpy() for name, part in each.items()}
    waic, variance, lppd = {}, {}, {}
    for name in each:
        likelihood = posteriors[name].log_likelihood["alpha"].to_numpy()
        likelihood = likelihood.reshape(-1, likelihood.shape[-1])
        top = likelihood.max(axis=0)
        lppd[name] = top + np.log(np.exp(likelihood - top).mean(axis=0))
        variance[name] = likelihood.var(axis=0)
        waic[name] = lppd[name] - variance[name]
    noise = {name: posteriors[name].posterior.attrs["likelihood"] for name in each}
    models: list[dict[str, Any]] = []
    best: dict[str, str] = {}
    for kind in dict.fromkeys(noise[name] for name in posteriors):
        order = sorted((name for name in each if noise[name] == kind), key=lambda name: -loo[name].sum())
        best |= dict.fromkeys(order, order[0])
    for name, first in best.items():
        n, k = len(loo[name]), each[name]["pareto_k"].to_numpy()
        behind, behind_waic = loo[first] - loo[name], waic[first] - waic[name]
        error = float(np.sqrt(n * behind.var(ddof=1)))
        distance = float(behind.sum()) / error if error > 0 else np.nan
        models.append(
            {
                "elpd_loo": loo[name].sum(), "elpd_loo_se": np.sqrt(n * loo[name].var()),
                "p_loo": lppd[name].sum() - loo[name].sum(), "loo_difference": behind.sum(),
                "loo_difference_se": error, "elpd_waic": waic[name].sum(),
                "elpd_waic_se": np.sqrt(n * waic[name].var()), "p_waic": variance[name].sum(),
                "waic_difference": behind_waic.sum(), "waic_difference_se": np.sqrt(n * behind_waic.var(ddof=1)),
                "pareto_k_max": k.max(), "n_k_flagged": int((k > k_hat_good).sum()),
                "waic_warning": bool((variance[name] > 0.4).any()), "n": n, "standard_errors": distance,
                "not_told_apart_at_two_standard_errors": not distance > 2.0,
            }
        )  # fmt: skip
    return {"posteriors": [{key: _plain(value) for key, value in model.items()} for model in models]}


def fold_report_again(scores: pd.DataFrame) -> dict[str, Any]:
    """folds.json."""
    report: dict[str, Any] = {}
    for model, group in scores.groupby("model", sort=False):
        parts = {"folds": group[~group["held_out"]], "held_out": group[group["held_out"]]}
        report[str(model)] = {name: _fold_figures(part) for name, part in parts.items()}
    return report


def seed_report_again(scores: pd.DataFrame, tolerance: float) -> dict[str, Any]:
    """seeds.json."""
    models: dict[str, Any] = {}
    for model, rows in scores.groupby("model", sort=False):
        rms = {str(seed): _fold_figures(part)["rms_all_mag"] for seed, part in rows.groupby("seed")}
        models[str(model)] = {"rms_all_mag": rms, "spread_mag": float(np.ptp(list(rms.values())))}
    largest = max(model["spread_mag"] for model in models.values())
    return {
        "models": models, "largest_spread_mag": largest, "tolerance_mag": tolerance, "stable": largest <= tolerance
    }  # fmt: skip


def spread_again(residual: NDArray[np.float64], weight: NDArray[np.float64], prob_ia: NDArray) -> dict[str, Any]:
    """rms, wrms, mad, std [mag] and n of "all" and "ia", about the weighted mean of all (``residual_figures``)."""
    about = residual - np.average(residual, weights=weight) if len(residual) else residual
    figures: dict[str, Any] = {}
    for name, chosen in (("all", np.full(len(about), True)), ("ia", ~(prob_ia <= _PROB_IA_MIN))):
        x, w = about[chosen], weight[chosen]
        empty = len(x) == 0
        figures[f"rms_{name}_mag"] = np.nan if empty else float(np.sqrt(np.average(x**2)))
        figures[f"wrms_{name}_mag"] = np.nan if empty else float(np.sqrt(np.average(x**2, weights=w)))
        figures[f"mad_{name}_mag"] = np.nan if empty else float(1.4826 * np.median(np.abs(x - np.median(x))))
        figures[f"std_{name}_mag"] = np.nan if empty else float(np.sqrt(np.average((x - x.mean()) ** 2)))
        figures[f"n_{name}"] = len(x)
    return figures


def _fold_figures(part: pd.DataFrame) -> dict[str, Any]:
    elpd = part["elpd"].to_numpy()
    weight = 1.0 / part["mu_err_mag"].to_numpy() ** 2
    return {
        "elpd": float(elpd.sum()),
        "elpd_se": float(np.sqrt(len(elpd) * elpd.var(ddof=1))),
        "n_folds": len(set(part["fold"])),
        **spread_again(part["residual_mag"].to_numpy(), weight, part["prob_ia"].to_numpy()),
    }


def _health(posterior: Any) -> dict[str, Any]:
    import arviz

    samples = posterior.posterior
    if samples.attrs["method"] == "fast":
        return {}
    sampled = samples.drop_vars([name for name in _SUMMARISED_ONLY if name in samples])
    statistics = posterior.sample_stats
    return {
        "r_hat_max": float(arviz.rhat(sampled).to_array().max()),
        "ess_bulk_min": float(arviz.ess(sampled).to_array().min()),
        "ess_tail_min": float(arviz.ess(sampled, method="tail").to_array().min()),
        "n_draws": int(samples.sizes["chain"] * samples.sizes["draw"]),
        "n_chains": int(samples.sizes["chain"]),
        "acceptance": float(statistics["acceptance"].to_numpy().mean()),
        "divergences": int(statistics["diverging"].to_numpy().sum()),
        "leapfrog_steps_mean": float(statistics["n_steps"].to_numpy().mean()),
    }


def _basis(z: NDArray[np.float64]) -> dict[str, Any]:
    phi = np.column_stack([np.log(1.0 + z), z, z / (1.0 + z)])
    centred = phi - phi.mean(axis=0)
    names = ("ln(1+z)", "z", "z/(1+z)")
    r = np.corrcoef(phi.T)
    values = [_condition(x) for x in (phi, centred, centred / centred.std(axis=0), np.linalg.qr(centred)[0])]
    return {
        "n": len(z), "kappa_raw": values[0], "kappa_normal": values[0] ** 2, "kappa_centred": values[1],
        "kappa_scaled": values[2], "kappa_orthogonal": values[3],
        "correlation": {f"{names[i]}, {names[j]}": float(r[i, j]) for i in range(3) for j in range(i + 1, 3)},
    }  # fmt: skip


def _condition(x: NDArray[np.float64]) -> float:
    values = np.linalg.svd(x, compute_uv=False)
    return float(values[0] / values[-1])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
