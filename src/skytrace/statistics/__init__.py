"""Intervals, resampling and two-sample tests."""

from skytrace.statistics.bootstrap import (
    BootstrapInterval,
    bootstrap_indices,
    bootstrap_interval,
    cluster_bootstrap_proportion,
    design_effect,
)
from skytrace.statistics.intervals import LEVELS, beta_interval, beta_mean
from skytrace.statistics.multiple_tests import holm_adjusted
from skytrace.statistics.two_sample import (
    EnergyTest,
    KsTest,
    energy_distance,
    energy_distance_permutation,
    ks_fixed_sample,
    ks_statistic,
    standardised_mean_difference,
)

__all__ = [
    "LEVELS",
    "BootstrapInterval",
    "EnergyTest",
    "KsTest",
    "beta_interval",
    "beta_mean",
    "bootstrap_indices",
    "bootstrap_interval",
    "cluster_bootstrap_proportion",
    "design_effect",
    "energy_distance",
    "energy_distance_permutation",
    "holm_adjusted",
    "ks_fixed_sample",
    "ks_statistic",
    "standardised_mean_difference",
]
