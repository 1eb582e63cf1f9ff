"""Glue of stage 1: one fit per supernova, in shards; the same of a simulation; and the Hubble table that they make."""

from typing import Any

import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.compute.json_values import json_ready
from skytrace.pipelines.supernova.light_curves import cut, validate
from skytrace.pipelines.supernova.shards import FitShardOptions, fit_in_shards
from skytrace.supernovae.distance_bias import (
    DISTANCE_BIAS_COLUMNS,
    SIMULATED_DISTANCE_COLUMNS,
    DistanceBiasOptions,
    correct_distance_bias,
    distance_bias,
    simulated_distances,
)
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.hubble import HubbleOptions, hubble_from_fits, scatter_by_survey
from skytrace.supernovae.light_curves import LightCurveOptions
from skytrace.supernovae.quality import QualityCutOptions
from skytrace.surveys.supernovae.interface import SupernovaSurvey

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["fit", "make_hubble_table", "simulate_distances"]


def fit(light_curves: Table, options: FitOptions, shards: FitShardOptions, cluster: ClusterOptions) -> Table:
    """One row a SN, by snid: parameters, errors, covariance, chi2, flags. Resumable; see ``shards``."""
    return fit_in_shards(light_curves, options=options, shards=shards, cluster=cluster)


def simulate_distances(
    survey: SupernovaSurvey,
    validation: LightCurveOptions,
    milky_way_dust: bool,
    quality: QualityCutOptions,
    options: FitOptions,
    hubble: HubbleOptions,
    bias: DistanceBiasOptions,
    shards: FitShardOptions,
    cluster: ClusterOptions,
) -> Table:
    """Distances of a simulation of the survey in two cosmologies, cut and fitted as the survey itself, beside what they
    were made of. No row of a survey that nobody can simulate. It never sees the survey's own light curves or truth.
    """
    parts = []
    for omega_m in bias.omega_m if bias.n_supernovae else ():
        other = survey.resimulated(n_supernovae=bias.n_supernovae, seed=bias.seed, omega_m=omega_m)
        if other is None:
            break
        clean, objects, _, _ = validate(other, validation)
        kept, _, _ = cut(clean, objects, milky_way_dust, quality)
        fits = fit_in_shards(kept, options=options, shards=shards, cluster=cluster)
        distances, _ = hubble_from_fits(fits, objects, options=hubble)
        made = other.truth()[["snid", "scatter_mag"]].merge(objects[["snid", "z_hd", "z_hel"]], on="snid")
        parts.append(simulated_distances(distances, made.assign(pair=made.index // 2), omega_m=omega_m))
    nothing = pd.DataFrame(columns=list(SIMULATED_DISTANCE_COLUMNS))
    return pd.concat(parts, ignore_index=True) if parts else nothing


def make_hubble_table(
    light_curve_fits: Table,
    objects: Table,
    published_hubble: Table,
    simulated: Table,
    options: HubbleOptions,
    bias: DistanceBiasOptions,
) -> tuple[Table, Table, Table, Report]:
    """Distances of the SNe whose fit can be used, freed of the simulated bias; the others with the reason; that bias;
    what the fits are like.
    """
    hubble, left_out = hubble_from_fits(light_curve_fits, objects, published_hubble, options=options)
    nothing = pd.DataFrame(columns=list(DISTANCE_BIAS_COLUMNS))
    curve = distance_bias(simulated, options=bias) if len(simulated) else nothing
    hubble, _ = correct_distance_bias(hubble, curve)
    return hubble, left_out, curve, _report(light_curve_fits, hubble, left_out)


def _report(fits: Table, hubble: Table, left_out: Table) -> Report:
    flags = fits["flags"].astype(str)
    each = flags[flags != ""].str.split(";").explode().value_counts()
    per_dof = (fits["chi2"] / fits["ndof"])[fits["ndof"] > 0]
    report = {
        "supernovae": len(fits),
        "observations": int(fits["n_obs"].sum()),
        "converged": int(fits["converged"].sum()),
        "unflagged": int((flags == "").sum()),
        "flags": {str(name): int(count) for name, count in each.items()},
        "left_out": {str(name): int(count) for name, count in left_out["reason"].value_counts().items()},
        "in_hubble_table": len(hubble),
        "chi2_per_dof": {f"percentile_{q}": per_dof.quantile(q / 100) for q in (16, 50, 84)},
        "alpha_err": {f"percentile_{q}": hubble["alpha_err"].quantile(q / 100) for q in (16, 50, 84)},
        "iterations_median": float(fits["n_iterations"].median()),
        "scatter_by_survey": scatter_by_survey(hubble),
    }
    return json_ready(report)
