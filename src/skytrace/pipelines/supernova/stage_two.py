"""Glue of stage 2: the laws fitted to every Hubble table, posteriors, their comparison, and predictions."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.compute.json_values import json_ready, json_records
from skytrace.errors import check_choice
from skytrace.pipelines.supernova.fold_shards import score_in_shards
from skytrace.pipelines.supernova.options import FITS, FoldOptions, InferenceOptions, PosteriorMethods
from skytrace.pipelines.supernova.shards import FitShardOptions
from skytrace.supernovae.population_options import ComparisonOptions, PopulationOptions, SamplerOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = [
    "check_seeds",
    "compare_posteriors",
    "fit_laws",
    "hubble_tables",
    "posterior_sampler",
    "predict_unseen",
    "sample_posterior",
    "split_inference_table",
    "summarise_posteriors",
]


def split_inference_table(
    hubble: Table, published_hubble: Table, options: InferenceOptions, comparison: ComparisonOptions
) -> Table:
    """The Hubble table that is inferred from, with columns fold and held_out: by hash of snid, before any fit."""
    from skytrace.supernovae.model_comparison import fold_of_snid, held_out

    tables = hubble_tables(hubble, published_hubble, options)
    check_choice("supernova.inference.table", options.table, tuple(tables))  # as read_published, in a run of its own
    chosen = tables[options.table]
    names = chosen["snid"].tolist()
    return chosen.assign(
        fold=fold_of_snid(names, n_folds=comparison.n_folds, salt=comparison.salt),
        held_out=held_out(names, options=comparison),
    )


def fit_laws(
    hubble: Table, published_hubble: Table, options: InferenceOptions, population: PopulationOptions
) -> tuple[Report, Table]:
    """Every law fitted to every table by weighted least squares: figures by table and law, and the residuals."""
    from skytrace.supernovae.cosmology import CosmologyOptions, fit_cosmology

    cosmology = CosmologyOptions(
        h0_km_s_mpc=population.h0_km_s_mpc, log_distance_redshift_power=population.log_distance_redshift_power
    )
    report: Report = {}
    residuals = []
    for name, table in hubble_tables(hubble, published_hubble, options).items():
        fits = {model: fit_cosmology(table, model, options=cosmology) for model in options.models}
        report[name] = {model: fit.metrics() for model, fit in fits.items()}
        columns = {f"residual_{model}_mag": fit.residuals_mag for model, fit in fits.items()}
        kept = table[["snid", "survey", "z_hd", "mu_mag", "mu_err_mag", "prob_ia"]]
        residuals.append(kept.assign(table=name, **columns))
    return json_ready(report), pd.concat(residuals, ignore_index=True)


def posterior_sampler(name: str) -> Callable[[Table, PosteriorMethods, PopulationOptions, SamplerOptions], Any]:
    """``sample_posterior`` of one name, as a node takes it: picklable, with the types that Kedro reads."""
    draw = partial(sample_posterior, name)
    vars(draw).update(__name__=sample_posterior.__name__, __annotations__=sample_posterior.__annotations__)
    return draw


def sample_posterior(
    name: str,
    inference_table: Table,
    methods: PosteriorMethods,
    population: PopulationOptions,
    sampler: SamplerOptions,
) -> Any:
    """InferenceData of the law and the likelihood that the name stands for, of the SNe that are not held out.

    Where the fast mode is refused, NUTS draws instead and the attribute fast_refused of the posterior says why.
    """
    from skytrace.supernovae.inference_data import inference_data
    from skytrace.supernovae.paired_laws import law_and_noise
    from skytrace.supernovae.population import population_data
    from skytrace.supernovae.sampling import ImportanceSamplingRefused, sample_population

    fitted = inference_table[~inference_table["held_out"]]
    law, noise = law_and_noise(name)
    options = replace(population, model=law, likelihood=noise)
    data, basis = population_data(fitted, options=options)
    refused = ""
    try:
        posterior = sample_population(data, options=options, sampler=replace(sampler, method=getattr(methods, name)))
    except ImportanceSamplingRefused as error:
        refused = str(error)
        posterior = sample_population(data, options=options, sampler=replace(sampler, method="nuts"))
    drawn = inference_data(
        posterior, data, snid=fitted["snid"].tolist(), basis=basis,
        log_likelihood_draws_per_chain=sampler.log_likelihood_draws,
    )  # fmt: skip
    drawn.posterior.attrs["fast_refused"] = refused
    return drawn


def summarise_posteriors(inference_table: Table, **posteriors: Any) -> tuple[Table, Report]:
    """One row a posterior and parameter; the health of every sampler, with what it did not reach in words."""
    from skytrace.supernovae.distance_basis import basis_diagnostics
    from skytrace.supernovae.inference_data import posterior_summary

    summaries = [posterior_summary(data).assign(posterior=name) for name, data in posteriors.items()]
    health = {name: _health(data.posterior.attrs) for name, data in posteriors.items()}
    failed = [name for name, one in health.items() if one["failures"]]
    fitted = inference_table[~inference_table["held_out"]]
    report = {
        "supernovae": len(fitted),
        "held_out": int(inference_table["held_out"].sum()),
        "all_converged": not failed,
        "not_converged": failed,
        "posteriors": health,
        "basis": basis_diagnostics(fitted["z_hd"].to_numpy()),
    }
    table = pd.concat(summaries, ignore_index=True)
    return table[["posterior", *table.columns.drop("posterior")]], json_ready(report)


def compare_posteriors(options: ComparisonOptions, **posteriors: Any) -> tuple[Table, Table, Report]:
    """PSIS-LOO and WAIC of the laws, best first, apart for each likelihood: laws compare under one noise model. Each
    SN's elpd and Pareto k. What the differences say.
    """
    from skytrace.supernovae.model_comparison import compare_models, leave_one_out, pointwise_elpd

    noise = {name: str(data.posterior.attrs["likelihood"]) for name, data in posteriors.items()}
    tables = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Estimated shape parameter")  # counted in n_k_flagged
        loo = {name: leave_one_out(data) for name, data in posteriors.items()}
        for likelihood in dict.fromkeys(noise.values()):
            same = {name: data for name, data in posteriors.items() if noise[name] == likelihood}
            tables.append(compare_models(same, options=options, loo=loo).assign(likelihood=likelihood))
        pointwise = [
            pointwise_elpd(data, k_hat_good=options.k_hat_good, loo=loo[name]).assign(posterior=name)
            for name, data in posteriors.items()
        ]  # fmt: skip
    table = pd.concat(tables, ignore_index=True).rename(columns={"model": "posterior"})
    distance = table["loo_difference"] / table["loo_difference_se"].where(table["loo_difference_se"] > 0)
    told = table.assign(standard_errors=distance, not_told_apart_at_two_standard_errors=~(distance > 2.0))
    report = {
        "best": {str(name): str(part["posterior"].iloc[0]) for name, part in told.groupby("likelihood", sort=False)},
        "posteriors": json_records(told),
        "meaning": "loo_difference: elpd of the best law under the same likelihood minus that of this one; "
        "not_told_apart_at_two_standard_errors: it is at most two of its standard errors, so that these SNe do not say "
        "which of the two predicts better. That is no evidence that they predict alike; pairs.json has the verdicts",
    }
    return told, pd.concat(pointwise, ignore_index=True), json_ready(report)


def predict_unseen(
    inference_table: Table,
    population: PopulationOptions,
    sampler: SamplerOptions,
    folds: FoldOptions,
    shards: FitShardOptions,
    cluster: ClusterOptions,
) -> tuple[Table, Report]:
    """Each SN predicted by fits that have not seen it, by law: K folds of the SNe that are not held out, and the held
    out ones by a fit to all others. One row a SN and law; figures by law.
    """
    from skytrace.supernovae.model_comparison import fold_figures

    scores = score_in_shards(
        inference_table, models=folds.models, population=population, sampler=sampler, shards=shards, cluster=cluster
    )
    figures: Report = {}
    for model, group in scores.groupby("model", sort=False):
        parts = {"folds": group[~group["held_out"]], "held_out": group[group["held_out"]]}
        figures[str(model)] = {name: fold_figures(part) for name, part in parts.items()}
    return scores, json_ready(figures)


def check_seeds(
    inference_table: Table, population: PopulationOptions, sampler: SamplerOptions, folds: FoldOptions
) -> tuple[Table, Report]:
    """The held-out SNe about each law's mean prediction, drawn with several seeds: figures must not move. One row a SN,
    law and seed; their rms. Where the fast mode is refused, NUTS draws.
    """
    from skytrace.supernovae.model_comparison import fold_figures, score_fold
    from skytrace.supernovae.sampling import ImportanceSamplingRefused

    held = inference_table["held_out"].to_numpy().astype(np.int64)
    report: Report = {}
    scores = []
    for model in folds.models:
        options = replace(population, model=model)
        rms = {}
        for seed in folds.seeds:
            try:
                drawn = score_fold(
                    inference_table, held, 1, options=options, sampler=replace(sampler, method="fast", seed=seed)
                )
            except ImportanceSamplingRefused:
                drawn = score_fold(
                    inference_table, held, 1, options=options, sampler=replace(sampler, method="nuts", seed=seed)
                )
            rms[str(seed)] = fold_figures(drawn)["rms_all_mag"]
            scores.append(drawn.assign(model=model, seed=seed))
        report[model] = {"rms_all_mag": rms, "spread_mag": max(rms.values()) - min(rms.values())}
    largest = max(one["spread_mag"] for one in report.values())
    return pd.concat(scores, ignore_index=True), json_ready(
        {
            "models": report,
            "largest_spread_mag": largest,
            "tolerance_mag": folds.seed_tolerance_mag,
            "stable": largest <= folds.seed_tolerance_mag,
        }
    )


def hubble_tables(hubble: Table, published: Table, options: InferenceOptions) -> dict[str, Table]:
    """Our own table and every published one by name, within the range of redshift."""
    named = {FITS: hubble, **{str(name): table for name, table in published.groupby("release", sort=False)}}
    return {
        name: table[table["z_hd"].between(options.z_min, options.z_max)].reset_index(drop=True)
        for name, table in named.items()
    }


def _health(attributes: Any) -> Report:
    diagnostics = {
        name.removeprefix("diagnostic_"): np.asarray(value).item()
        for name, value in attributes.items() if name.startswith("diagnostic_")
    }  # fmt: skip
    words = {name: str(attributes[name]) for name in ("method", "model", "likelihood", "fast_refused")}
    failures = [words for words in str(attributes["failures"]).split(";") if words]
    return {**words, **diagnostics, "failures": failures}
