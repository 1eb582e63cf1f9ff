"""Glue of stage 3's reports: laws in pairs, and every reported number made again from the outputs on disk."""

from typing import Any

import pandas as pd

from skytrace.compute.json_values import json_ready
from skytrace.pipelines.supernova.options import FoldOptions, InferenceOptions
from skytrace.pipelines.supernova.stage_two import hubble_tables
from skytrace.supernovae.light_curves import LightCurveOptions
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.population_options import ComparisonOptions, PopulationOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["by_file", "compare_pairs", "recompute"]


def compare_pairs(
    pointwise_elpd: Table,
    fold_scores: Table,
    inference_table: Table,
    posterior_summary: Table,
    inference: InferenceOptions,
    population: PopulationOptions,
    gate: OutlierOptions,
) -> Report:
    """Every law against the gate's, with the same noise: LOO, folds and held-out SNe; each noise model against the
    other; how well the three terms could stand for flat LambdaCDM at these redshifts.
    """
    from skytrace.supernovae.paired_laws import imitation, paired_laws

    report = paired_laws(pointwise_elpd, fold_scores, reference=gate.law)
    mean = posterior_summary[posterior_summary["posterior"] == "flat_lcdm"].set_index("parameter")["mean"]
    like = imitation(
        inference_table, omega_m=float(mean["omega_m"]), sigma_int_mag=float(mean["sigma_int_mag"]),
        h0_km_s_mpc=population.h0_km_s_mpc,
    )  # fmt: skip
    return json_ready({"table": inference.table, **report, "imitation": like})


def recompute(
    validated_light_curves: Table,
    objects: Table,
    rejections: Table,
    light_curve_fits: Table,
    hubble: Table,
    hubble_left_out: Table,
    published_hubble: Table,
    inference_table: Table,
    cosmology_residuals: Table,
    posterior_summary: Table,
    pointwise_elpd: Table,
    fold_scores: Table,
    seed_scores: Table,
    outliers: Table,
    injections: Table,
    truth_residuals: Table,
    truth: Table,
    validation: LightCurveOptions,
    inference: InferenceOptions,
    population: PopulationOptions,
    comparison: ComparisonOptions,
    folds: FoldOptions,
    gate: OutlierOptions,
    **drawn_and_reported: Any,
) -> Report:
    """Every number of the reports and of the posteriors' summary, and what the outputs on disk give.

    drawn_and_reported: posteriors by the name of their law and noise, reports as report_<name of the file>.
    """
    from skytrace.supernovae import recomputed_checks as checks_again
    from skytrace.supernovae import recomputed_gate as gate_again
    from skytrace.supernovae import recomputed_reports as again
    from skytrace.supernovae.cosmology import CosmologyOptions
    from skytrace.supernovae.light_curves import zero_point_offsets
    from skytrace.supernovae.recomputation import compare_reports

    reported = {name: value for name, value in drawn_and_reported.items() if name.startswith("report_")}
    posteriors = {name: value for name, value in drawn_and_reported.items() if name not in reported}
    tables = hubble_tables(hubble, published_hubble, inference)
    cosmology = CosmologyOptions(
        h0_km_s_mpc=population.h0_km_s_mpc, log_distance_redshift_power=population.log_distance_redshift_power
    )
    zero_points = zero_point_offsets(validated_light_curves, objects=objects, options=validation)
    made = {
        "validation_report.json": again.validation_again(validated_light_curves, rejections, zero_points, objects),
        "fit_report.json": again.fit_report_again(light_curve_fits, hubble, hubble_left_out),
        "cosmology.json": again.cosmology_again(cosmology_residuals, tables, inference.models, cosmology),
        "sampler.json": again.sampler_report_again(inference_table, posteriors),
        "comparison.json": again.comparison_again(pointwise_elpd, posteriors, comparison.k_hat_good),
        "folds.json": again.fold_report_again(fold_scores),
        "seeds.json": again.seed_report_again(seed_scores, folds.seed_tolerance_mag),
        "scatter.json": gate_again.scatter_again(fold_scores, outliers, gate),
        "pairs.json": {
            **gate_again.pairs_again(pointwise_elpd, fold_scores, gate.law),
            "imitation": checks_again.imitation_again(
                inference_table, posteriors["flat_lcdm"], h0_km_s_mpc=population.h0_km_s_mpc
            ),
        },
        "predictive.json": checks_again.predictive_again(
            inference_table,
            {"student_t": posteriors["flat_lcdm"], "mixture": posteriors["flat_lcdm_mixture"]},
            h0_km_s_mpc=population.h0_km_s_mpc,
        ),
        "truth_report.json": checks_again.truth_again(
            truth_residuals,
            truth,
            inference_table,
            {name: posteriors[name] for name in ("flat_lcdm", "flat_lcdm_mixture")},
            h0_km_s_mpc=population.h0_km_s_mpc,
        ),
        "outliers.json": gate_again.outliers_again(outliers, truth, gate),
        "outlier_injection.json": gate_again.injection_again(injections, gate),
        "posterior_summary.csv": again.posterior_summary_again(posteriors),
    }
    found = {**by_file(reported), "posterior_summary.csv": _nested(posterior_summary)}
    return json_ready(compare_reports(found, json_ready(made)))


def by_file(reports: Report) -> Report:
    """``report_<name>`` -> content, as nodes take them, under the names of the files, as pages quote them."""
    return {f"{name.removeprefix('report_')}.json": content for name, content in reports.items()}


def _nested(summary: Table) -> Report:
    nested: Report = {}
    for row in summary.to_dict(orient="records"):
        figures = {name: value for name, value in row.items() if name not in ("posterior", "parameter")}
        nested.setdefault(row["posterior"], {})[row["parameter"]] = figures
    return nested
