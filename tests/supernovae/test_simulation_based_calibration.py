"""Ranks of truths among their posterior's draws: uniform for both samplers, and not so for a sampler that is wrong."""

import jax
import numpy as np
import pandas as pd
import pytest

from skytrace.supernovae.population import parameter_names, parameters, population_data, sample_prior
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions
from skytrace.supernovae.simulation_based_calibration import calibrate_fast, calibrate_nuts, rank_test

OPTIONS = PopulationOptions()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(8)
    z, error = rng.uniform(0.03, 1.2, 60), rng.uniform(0.05, 0.2, 60)
    table = pd.DataFrame({"z_hd": z, "alpha": np.full(60, -38.0), "alpha_err": error})
    return population_data(table, options=OPTIONS)[0]


@pytest.fixture(scope="module")
def fast(data):
    return calibrate_fast(data, options=OPTIONS, sampler=SamplerOptions(n_draws=500), n_simulations=200)


def test_the_fast_modes_ranks_are_uniform(fast):
    assert set(fast.ranks) == set(parameter_names(OPTIONS))
    assert fast.n_refused + len(fast.ranks["nu"]) == fast.n_simulations == len(fast.health) == 200
    assert fast.n_refused < 60
    for name, p in fast.p_values(n_bins=10).items():
        assert p > 1e-3, name


def test_parameters_are_resolved_and_not_only_the_prior(fast):
    """Ranks of the prior's own draws would be uniform, too, but they rise with the truth; a posterior's do not."""
    with jax.enable_x64(True):
        prior = parameters(np.asarray(sample_prior(jax.random.key(3), 99, options=OPTIONS)), options=OPTIONS, xp=np)
    for name, draws in (("c_1", prior["c"][:, 0]), ("sigma_int", prior["sigma_int"])):
        truth = fast.truth[name]
        of_the_prior = (draws < truth[:, None]).sum(axis=1)
        assert np.corrcoef(of_the_prior, truth)[0, 1] > 0.8, name  # what no resolution at all looks like
        assert abs(np.corrcoef(fast.ranks[name], truth)[0, 1]) < 0.5, name


@pytest.mark.slow
def test_nuts_ranks_are_uniform(data):
    sampler = SamplerOptions(n_warmup=150, n_samples=300)
    calibration = calibrate_nuts(data, options=OPTIONS, sampler=sampler, n_simulations=200)
    assert calibration.n_refused == 0
    assert np.quantile(calibration.health, 0.9) < 1.05
    for name, p in calibration.p_values(n_bins=10).items():
        assert p > 1e-3, name


def test_overconfident_biased_and_right_ranks_are_told_apart():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=2000)
    data = truth + rng.normal(size=2000)  # the posterior is N(data / 2, 1/2)
    for shift, scale, right in ((0.0, 1.0, True), (0.0, 0.8, False), (0.15, 1.0, False)):
        draws = data[:, None] / 2 + shift + scale * np.sqrt(0.5) * rng.normal(size=(2000, 99))
        p = rank_test((draws < truth[:, None]).sum(axis=1), n_ranks=100)
        assert (p > 1e-3) == right
