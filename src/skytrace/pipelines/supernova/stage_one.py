"""Glue of stage 1: one fit per supernova, in shards, and the Hubble table that the fits make."""

from typing import Any

import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.compute.json_values import json_ready
from skytrace.pipelines.supernova.shards import FitShardOptions, fit_in_shards
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.hubble import HubbleOptions, hubble_from_fits

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["fit", "make_hubble_table"]


def fit(light_curves: Table, options: FitOptions, shards: FitShardOptions, cluster: ClusterOptions) -> Table:
    """One row a SN, by snid: parameters, errors, covariance, chi2, flags. Resumable; see ``shards``."""
    return fit_in_shards(light_curves, options=options, shards=shards, cluster=cluster)


def make_hubble_table(
    light_curve_fits: Table, objects: Table, published_hubble: Table, options: HubbleOptions
) -> tuple[Table, Table, Report]:
    """Distances of the SNe whose fit can be used, the others with the reason, and what the fits are like."""
    hubble, left_out = hubble_from_fits(light_curve_fits, objects, published_hubble, options=options)
    return hubble, left_out, _report(light_curve_fits, hubble, left_out)


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
    }
    return json_ready(report)
