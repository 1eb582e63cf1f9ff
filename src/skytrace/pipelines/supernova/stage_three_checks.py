"""Glue of stage 3's checks of the measurement: the noise model against the data, the fits against a known truth."""

from dataclasses import replace
from typing import Any

import pandas as pd

from skytrace.compute.json_values import json_ready
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.population_options import PopulationOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["check_noise", "check_truth"]


def check_noise(
    inference_table: Table, posterior_flat_lcdm: Any, posterior_flat_lcdm_mixture: Any, population: PopulationOptions
) -> Report:
    """Whether either noise model, with flat LambdaCDM, could have made the residuals that were seen."""
    from skytrace.supernovae.predictive_check import predictive_report

    posteriors = {"student_t": posterior_flat_lcdm, "mixture": posterior_flat_lcdm_mixture}
    return json_ready(predictive_report(inference_table, posteriors, h0_km_s_mpc=population.h0_km_s_mpc))


def check_truth(
    light_curves: Table,
    light_curve_fits: Table,
    hubble: Table,
    inference_table: Table,
    truth: Table,
    posterior_flat_lcdm: Any,
    posterior_flat_lcdm_mixture: Any,
    fit: FitOptions,
    population: PopulationOptions,
) -> tuple[Table, Report]:
    """alpha of the fits, of maximum likelihood on the same light curves and of the Hubble table, and the population,
    against the simulated sky's truth: one row a SN and estimator; figures. Of a real sky no row, and known false.
    """
    from skytrace.supernovae import truth_check
    from skytrace.supernovae.light_curve_fit import fit_light_curves

    if not len(truth):
        return truth_check.truth_residuals({}, truth), {"known": False}
    mle = fit_light_curves(light_curves, options=replace(fit, estimator="mle"))
    estimates = {
        "mean": (light_curve_fits, "alpha_mean", "alpha_mean_err"),
        "mode": (light_curve_fits, "alpha", "alpha_err"),
        "mle": (mle, "alpha", "alpha_err"),
        "hubble": (hubble, "alpha", "alpha_err"),
    }
    residuals = truth_check.truth_residuals(estimates, truth)
    made_with = truth_check.population_truth(inference_table, truth, h0_km_s_mpc=population.h0_km_s_mpc)
    posteriors = {"flat_lcdm": posterior_flat_lcdm, "flat_lcdm_mixture": posterior_flat_lcdm_mixture}
    report = {
        "known": True,
        "alpha": truth_check.alpha_report(residuals),
        "truth": made_with,
        "population": truth_check.population_report(posteriors, made_with),
    }
    return residuals, json_ready(report)
