"""Intervals, resampling and two-sample tests."""

from skytrace.statistics.intervals import beta_interval, beta_mean

__all__ = ["beta_interval", "beta_mean"]
