"""Glue of stage 3: the gate and its test by injection, scatter by group, a table for experts, the recomputation."""

from typing import Any

import pandas as pd

from skytrace.compute.json_values import json_ready
from skytrace.errors import CatalogueError
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.hubble import HubbleOptions
from skytrace.supernovae.outlier_options import InjectionOptions, OutlierOptions
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["find_outliers", "inject_outliers", "join_supernovae", "measure_scatter"]

_KNOWN = ["snid", "survey", "z_hel"]
_OF_FITS = (
    "snid", "n_obs", "n_bands", "t0", "t0_err", "a_plasma", "a_plasma_err", "beta", "beta_err",
    "alpha", "alpha_err", "alpha_mean", "alpha_mean_err", "mu_mean_mag", "mu_mean_err_mag", "chi2", "ndof", "skew",
    "kurtosis", "rank", "converged", "flags",
)  # fmt: skip
_OF_OUTLIERS = (
    "snid", "held_out", "residual_mag", "prob_ia", "ln_k_j_star", "neg_elpd", "pareto_k", "p_outlier", "outlier",
    "flagged",
)  # fmt: skip


def find_outliers(
    fold_scores: Table,
    pointwise_elpd: Table,
    light_curve_fits: Table,
    truth: Table,
    population: PopulationOptions,
    options: OutlierOptions,
) -> tuple[Table, Report]:
    """Every SN of the inference with its scores, and how well they find what is known to be an outlier.

    What is known: the published P(Ia), and on a simulated sky its truth, by which nothing but this report is made.
    """
    from skytrace.supernovae.outliers import brightness_sides, gate_supernovae, outlier_summaries

    scores = fold_scores[fold_scores["model"] == options.law]
    elpd = pointwise_elpd[pointwise_elpd["posterior"] == options.law]
    summaries = outlier_summaries(scores, elpd, light_curve_fits, h0_km_s_mpc=population.h0_km_s_mpc)
    gated, mixtures = gate_supernovae(summaries, options=options)
    report = {
        "law": options.law,
        "gate": {
            "mixture": options.gate,
            "features": list(options.mixtures[options.gate]),
            "p_outlier_min": options.p_outlier_min,
            "chi2_per_dof_min": options.chi2_per_dof_min,
            "prob_ia_min": options.prob_ia_min,
        },
        "n": len(gated),
        "n_outliers": int(gated["outlier"].sum()),
        "n_flagged": int(gated["flagged"].sum()),
        "n_without_light_curve": int(gated["chi2_per_dof"].isna().sum()),
        "mixtures": mixtures,
        "sides": brightness_sides(gated),
        "known_by": _validated(gated, truth, options),
    }
    return gated, json_ready(report)


def inject_outliers(
    inference_table: Table,
    outliers: Table,
    hubble: Table,
    light_curves: Table,
    light_curve_fits: Table,
    objects: Table,
    population: PopulationOptions,
    sampler: SamplerOptions,
    fit: FitOptions,
    hubble_options: HubbleOptions,
    options: OutlierOptions,
    injection: InjectionOptions,
) -> tuple[Table, Report]:
    """Clean SNe made too bright, in the alpha of the table that is inferred from and in the light curves of our own
    fits: one row a SN and level with its scores; figures by level.
    """
    from skytrace.supernovae.outlier_injection import injected_into_alpha, injected_into_light_curves

    fitted = inference_table[~inference_table["held_out"]].reset_index(drop=True)
    clean = ~fitted["snid"].isin(outliers.loc[outliers["outlier"], "snid"]).to_numpy()
    in_alpha, alpha_figures = injected_into_alpha(
        fitted, clean, light_curve_fits, injection=injection, options=options, population=population, sampler=sampler
    )
    in_light, light_figures = injected_into_light_curves(
        hubble, light_curves, light_curve_fits, objects, fit=fit, hubble_options=hubble_options, injection=injection,
        options=options, population=population, sampler=sampler,
    )  # fmt: skip
    table = pd.concat([in_alpha.assign(level="alpha"), in_light.assign(level="light_curve")], ignore_index=True)
    levels = {"alpha": alpha_figures, "light_curve": light_figures}
    return table, json_ready({"scaling": injection.scaling, "fraction": injection.fraction, "levels": levels})


def measure_scatter(fold_scores: Table, outliers: Table, gate: OutlierOptions) -> Report:
    """rms, wrms and MAD by law and group, of SNe predicted by fits that have not seen them; clean_by: whose residuals
    and which mixture chose the clean ones, the same for every law. Raises CatalogueError where a law was scored on
    other SNe than the gate, or in another order.
    """
    from skytrace.supernovae.outliers import residual_scatter

    laws: Report = {}
    for model, rows in fold_scores.groupby("model", sort=False):
        if rows["snid"].tolist() != outliers["snid"].tolist():
            raise CatalogueError(f"{model} was scored on other SNe than the gate, or in another order")
        laws[str(model)] = residual_scatter(rows, outliers["outlier"])
    clean_by = {"law": gate.law, "mixture": gate.gate, "features": list(gate.mixtures[gate.gate])}
    return json_ready({"clean_by": {**clean_by, "p_outlier_min": gate.p_outlier_min}, "laws": laws})


def join_supernovae(
    objects: Table, rejections: Table, quality: Table, light_curve_fits: Table, hubble_left_out: Table, outliers: Table
) -> Table:
    """One row a SN that came in, with light curves or without, by snid: what kept it from the fits, its fit, why it is
    in no Hubble table of ours, and its scores.

    removed_by: "" where it was fitted; the first cut that it failed; ``validation`` where no observation could be used,
    ``no_light_curve`` where there is none.
    """
    rejected = rejections.loc[rejections["reason"] != "no_snid", ["snid"]]
    known = [quality[_KNOWN], objects[_KNOWN], rejected, outliers[["snid"]]]
    came_in = pd.concat(known, ignore_index=True).drop_duplicates("snid", ignore_index=True)
    unused = came_in["snid"].isin(rejected["snid"]).map({True: "validation", False: "no_light_curve"})
    cut = came_in["snid"].map(quality.set_index("snid")["removed_by"])
    joined = came_in.assign(removed_by=cut.fillna(unused))
    for table in (
        light_curve_fits[list(_OF_FITS)],
        hubble_left_out[["snid", "reason"]].rename(columns={"reason": "left_out_because"}),
        outliers[list(_OF_OUTLIERS)].drop_duplicates("snid"),
    ):
        joined = joined.merge(table, how="left", on="snid")
    return joined.sort_values("snid", ignore_index=True)


def _validated(gated: Table, truth: Table, options: OutlierOptions) -> Report:
    """AUC of every score, and purity and completeness of every rule, by what is known of the outliers."""
    from skytrace.supernovae.outliers import SCORES, outlier_rules, rule_figures, score_auc

    rules = outlier_rules(gated, options=options)
    scores = {**SCORES, **{f"log_odds_{name}": f"mixture {name}" for name in options.mixtures if name != options.gate}}
    report: Report = {}
    for name, (known, is_outlier) in _references(gated, truth, options).items():
        some = gated[known]
        report[name] = {
            "n": int(known.sum()),
            "auc": {score: score_auc(some[score], is_outlier[known]) for score in scores},
            "rules": {rule: rule_figures(chosen[known], is_outlier[known]) for rule, chosen in rules.items()},
        }
    return report


def _references(gated: Table, truth: Table, options: OutlierOptions) -> dict[str, tuple[Any, Any]]:
    """Name -> (who is known (n,), who of them is an outlier (n,)). Of a kind of truth the others are left out."""
    prob = gated["prob_ia"].to_numpy(dtype=float)
    references = {"prob_ia": (prob == prob, prob <= options.prob_ia_min)}
    if len(truth):
        kind = gated["snid"].map(truth.set_index("snid")["kind"])
        normal = (kind == "ia").to_numpy()
        references["truth"] = (kind.notna().to_numpy(), ~normal & kind.notna().to_numpy())
        for name in sorted(set(kind.dropna()) - {"ia"}):
            this = (kind == name).to_numpy()
            references[f"truth_{name}"] = (normal | this, this)
    return references
