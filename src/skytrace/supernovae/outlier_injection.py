"""Clean supernovae made too bright on purpose: which score finds them, and does their light survive the fit?

The hypothesis behind the gate's history is that some supernovae shine q times too bright, q a mass ratio of 1 to 1,000
(or a magnification). That is injected at two levels: into alpha (alpha + ln q), and into the light curve, as (q - 1)
times the fitted model with scatter of its own, which then goes through the fit like any other. The errors stay those of
the sky, and the source's own photon noise is left out: what is injected is a little too clean. The population is
inferred again with the outliers in it, because they also widen what they are judged by.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.supernovae.cosmology import ALPHA_PER_MAG
from skytrace.supernovae.model_comparison import snid_digest
from skytrace.supernovae.outlier_options import InjectionOptions, OutlierOptions
from skytrace.supernovae.outliers import SCORES, fit_mixture, light_curve_features, ln_k_j_star, rule_figures, score_auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytrace.supernovae.fit_options import FitOptions
    from skytrace.supernovae.hubble import HubbleOptions
    from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions

__all__ = [
    "chosen_for_injection",
    "flux_factors",
    "inject_alpha",
    "inject_light_curves",
    "injected_into_alpha",
    "injected_into_light_curves",
    "injection_figures",
    "score_population",
]

#: Factors at whose ends the found are counted: where brightening drowns in the scatter, and where it cannot.
_FACTOR_EDGES = (1.0, 1.1, 1.3, 1.6, 2.0, 10.0, np.inf)


def flux_factors(snid: Sequence[str] | pd.Series, *, options: InjectionOptions | None = None) -> NDArray[np.float64]:
    """Factor q >= 1 (n,) of each supernova's flux, from a hash of its name: no table or order changes it."""
    options = options or InjectionOptions()
    u = _uniforms(snid, f"{options.salt}:factor")
    if options.scaling == "magnification":
        return options.magnification_min / np.sqrt(1.0 - u)
    low, high = np.log(options.mass_ratio_min), np.log(options.mass_ratio_max)
    return np.exp(low + (high - low) * u)


def chosen_for_injection(
    snid: Sequence[str] | pd.Series, *, options: InjectionOptions | None = None
) -> NDArray[np.bool_]:
    """Whether each supernova (n,) is among the ``fraction`` that is injected into, by hash of its name."""
    options = options or InjectionOptions()
    return _uniforms(snid, f"{options.salt}:choice") < options.fraction


def inject_alpha(table: pd.DataFrame, factor: NDArray[np.float64]) -> pd.DataFrame:
    """A Hubble table whose supernovae shine ``factor`` (n,) times as bright: alpha + ln q, mu - 2.5 lg q."""
    out = table.copy()
    if "alpha" in out:
        out["alpha"] = table["alpha"] + np.log(factor)
    if "mu_mag" in out:
        out["mu_mag"] = table["mu_mag"] - np.log(factor) / ALPHA_PER_MAG
    return out


def inject_light_curves(
    light_curves: pd.DataFrame,
    fits: pd.DataFrame,
    factor: pd.Series,
    *,
    fit: FitOptions,
    options: InjectionOptions | None = None,
) -> pd.DataFrame:
    """Observations of the supernovae of ``factor`` (snid -> q), with (q - 1) times the fitted model added.

    Each added flux has relative scatter options.relative_scatter, from a stream of the supernova's name. Fluxes before
    the fitted explosion do not change.
    """
    from skytrace.supernovae.light_curve_model import model_flux_jy
    from skytrace.supernovae.spectral_energy import spectral_series

    options = options or InjectionOptions()
    mine = light_curves[light_curves["snid"].isin(factor.index)].reset_index(drop=True)
    known = fits.set_index("snid").loc[mine["snid"], ["t0", "a_plasma", "beta", "alpha"]]
    series = spectral_series(fit.model) if fit.model.sed == "template" else None
    model = model_flux_jy(
        mine["mjd"], mine["wavelength_nm"], mine["z_hel"], *(known[name].to_numpy() for name in known),
        options=fit.model, series=series,
    )  # fmt: skip
    scatter = np.ones(len(mine))
    for name, rows in mine.groupby("snid", sort=False).indices.items():
        rng = np.random.default_rng(snid_digest(str(name), salt=f"{options.salt}:scatter") % 2**63)
        scatter[rows] += options.relative_scatter * rng.normal(size=len(rows))
    q = mine["snid"].map(factor).to_numpy(dtype=float)
    return mine.assign(flux_jy=mine["flux_jy"] + (q - 1.0) * model * scatter)


def score_population(
    table: pd.DataFrame, fits: pd.DataFrame, *, population: PopulationOptions, sampler: SamplerOptions,
    options: OutlierOptions,
) -> pd.DataFrame:  # fmt: skip
    """A Hubble table (n rows) inferred anew: snid, residual_mag, neg_elpd, pareto_k, log_odds, p_outlier of each.

    The law is options.law with Student-t noise; residuals are about the posterior's mean prediction, the mixture is the
    gate's own, of its features; fits: of the light curves, for those of them that are not ln k_J*. The fast mode is
    refused where it does not hold: then NUTS draws. Raises CatalogueError where too few know the gate's features.
    """
    from skytrace.supernovae.inference_data import inference_data
    from skytrace.supernovae.model_comparison import pointwise_elpd
    from skytrace.supernovae.population import population_data
    from skytrace.supernovae.sampling import ImportanceSamplingRefused, mean_alpha_draws, sample_population

    population = replace(population, model=options.law, likelihood="student_t")
    data, basis = population_data(table, options=population)
    try:
        posterior = sample_population(data, options=population, sampler=replace(sampler, method="fast"))
    except ImportanceSamplingRefused:
        posterior = sample_population(data, options=population, sampler=replace(sampler, method="nuts"))
    draws = sampler.log_likelihood_draws
    names = table["snid"].astype(str).tolist()
    drawn = inference_data(posterior, data, snid=names, basis=basis, log_likelihood_draws_per_chain=draws)
    elpd = pointwise_elpd(drawn)
    mean = mean_alpha_draws(posterior, data, draws_per_chain=draws).mean(axis=(0, 1))
    residual = -(np.asarray(data.alpha) - mean) / ALPHA_PER_MAG
    features = light_curve_features(fits).reindex(table["snid"]).reset_index(drop=True)
    features["ln_k_j_star"] = ln_k_j_star(residual, h0_km_s_mpc=population.h0_km_s_mpc)
    mixture = fit_mixture(features[list(options.mixtures[options.gate])], seed=options.seed)
    return pd.DataFrame(
        {
            "snid": names, "residual_mag": residual, "neg_elpd": -elpd["elpd_loo"], "pareto_k": elpd["pareto_k"],
            "log_odds": mixture.log_odds, "p_outlier": mixture.p_outlier,
        }
    )  # fmt: skip


def injected_into_alpha(
    table: pd.DataFrame, clean: NDArray[np.bool_], fits: pd.DataFrame, *,
    injection: InjectionOptions, options: OutlierOptions, population: PopulationOptions, sampler: SamplerOptions,
) -> tuple[pd.DataFrame, dict[str, Any]]:  # fmt: skip
    """Chosen ones of the ``clean`` (n,) of a Hubble table brightened in alpha and all scored anew: the columns of
    ``score_population`` with clean, injected, factor, recovered (what came out of it, here the same) and chi2_per_dof
    (unknown here), and the figures. fits: of the light curves, which do not change.
    """
    chosen = clean & chosen_for_injection(table["snid"], options=injection)
    factor = np.where(chosen, flux_factors(table["snid"], options=injection), 1.0)
    brighter = inject_alpha(table, factor)
    scored = score_population(brighter, fits, population=population, sampler=sampler, options=options)
    scored = scored.assign(clean=clean, injected=chosen, factor=factor, recovered=factor, chi2_per_dof=np.nan)
    return scored, injection_figures(scored, options=options)


def injected_into_light_curves(
    hubble: pd.DataFrame, light_curves: pd.DataFrame, fits: pd.DataFrame, objects: pd.DataFrame, *,
    fit: FitOptions, hubble_options: HubbleOptions, injection: InjectionOptions, options: OutlierOptions,
    population: PopulationOptions, sampler: SamplerOptions,
) -> tuple[pd.DataFrame, dict[str, Any]]:  # fmt: skip
    """The same at the level of the light: chosen SNe of our own Hubble table get brighter light curves, which are
    fitted again. recovered: factor that the new fit sees. lost: the new fit cannot be used, and the SN has no scores.
    """
    from skytrace.supernovae.hubble import hubble_from_fits
    from skytrace.supernovae.light_curve_fit import fit_light_curves

    before = score_population(hubble, fits, population=population, sampler=sampler, options=options)
    clean = before.loc[before["p_outlier"] <= options.p_outlier_min, "snid"]
    names = clean.loc[chosen_for_injection(clean, options=injection)]
    factor = pd.Series(flux_factors(names, options=injection), index=names.to_numpy())
    again = fit_light_curves(inject_light_curves(light_curves, fits, factor, fit=fit, options=injection), options=fit)
    kept, lost = hubble_from_fits(again, objects, options=hubble_options)
    new = kept.set_index("snid")[["alpha", "alpha_err", "mu_mag", "mu_err_mag"]]
    table = hubble[~hubble["snid"].isin(lost["snid"])].set_index("snid")
    if "bias_mag" in table:  # what was taken off the distance before it was brightened is taken off again
        new["mu_mag"] -= table.loc[new.index, "bias_mag"]
        new["alpha"] += ALPHA_PER_MAG * table.loc[new.index, "bias_mag"]
    recovered = np.exp(new["alpha"] - table.loc[new.index, "alpha"])
    table.loc[new.index, new.columns] = new
    now = pd.concat([fits[~fits["snid"].isin(again["snid"])], again], ignore_index=True)
    scored = score_population(table.reset_index(), now, population=population, sampler=sampler, options=options)
    per_dof = pd.Series((again["chi2"] / again["ndof"]).to_numpy(), index=again["snid"])
    gone = pd.DataFrame({"snid": lost["snid"]}).reindex(columns=scored.columns)
    scored = pd.concat([scored.assign(lost=False), gone.assign(lost=True)], ignore_index=True)
    snid = scored["snid"]
    scored = scored.assign(
        clean=snid.isin(clean), injected=snid.isin(again["snid"]), factor=snid.map(factor).fillna(1.0),
        recovered=snid.map(recovered).where(snid.isin(again["snid"]), 1.0), chi2_per_dof=snid.map(per_dof),
    )  # fmt: skip
    return scored, injection_figures(scored, options=options)


def injection_figures(scored: pd.DataFrame, *, options: OutlierOptions) -> dict[str, Any]:
    """Of a table of ``injected_into_alpha`` or ``injected_into_light_curves``: AUC of every score for finding the
    injected, how many p_outlier finds by size of the factor, and how well the factor came out.

    auc: against all others, which counts the sky's own outliers as if they were clean. auc_clean: against the SNe that
    the gate called clean before the injection; kind to the gate, which chose them. n_others_found: SNe without
    injection that p_outlier takes. by_factor: completeness with Beta intervals, by factor.
    """
    lost = scored["lost"].to_numpy(dtype=bool) if "lost" in scored else np.zeros(len(scored), dtype=bool)
    there = scored[~lost]
    injected, clean = (there[name].to_numpy(dtype=bool) for name in ("injected", "clean"))
    among, found = clean | injected, (there["p_outlier"] > options.p_outlier_min).to_numpy()
    by_factor = []
    for low, high in itertools.pairwise(_FACTOR_EDGES):
        here = injected & there["factor"].between(low, high, inclusive="left").to_numpy()
        ends = {"factor_low": low, "factor_high": None if np.isinf(high) else high}
        figures = rule_figures(found[here], np.ones(int(here.sum()), dtype=bool))
        by_factor.append(
            {**ends, "n": int(here.sum()), "n_found": figures["n_found"], "completeness": figures["completeness"]}
        )
    error = np.log(there.loc[injected, "recovered"] / there.loc[injected, "factor"]).to_numpy()
    return {
        "n": len(there),
        "n_injected": int(injected.sum()),
        "n_lost": int(lost.sum()),
        "auc": {name: score_auc(there[name], injected) for name in SCORES},
        "auc_clean": {name: score_auc(there.loc[among, name], injected[among]) for name in SCORES},
        "n_found": int((injected & found).sum()),
        "n_others_found": int((~injected & found).sum()),
        "by_factor": by_factor,
        "ln_factor_error_median": float(np.median(error)) if len(error) else None,
        "ln_factor_error_mad": float(1.4826 * np.median(np.abs(error - np.median(error)))) if len(error) else None,
        "n_chi2_per_dof_above": int((scored["chi2_per_dof"] > options.chi2_per_dof_min).sum()),
    }


def _uniforms(snid: Sequence[str] | pd.Series, salt: str) -> NDArray[np.float64]:
    return np.array([(snid_digest(name, salt=salt) % 2**53) / 2**53 for name in snid], dtype=np.float64)
