"""Samplers against quadrature and against one another; what isn't good enough is refused or said."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skytrace.supernovae.adaptive_importance import smoothed_weights
from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus, log_distance_modulus
from skytrace.supernovae.inference_data import inference_data, posterior_summary
from skytrace.supernovae.population import parameters, population_data
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions
from skytrace.supernovae.sampling import (
    ImportanceSamplingRefused,
    sample_emcee,
    sample_fast,
    sample_nuts,
    sample_population,
)

ANCHORED = PopulationOptions()
SHORT = SamplerOptions(n_warmup=200, n_samples=600, n_draws=4000, ess_min=500.0, r_hat_max=1.02)


def simulated(n=1500, sigma_int=0.12, nu=5.0, seed=0):
    rng = np.random.default_rng(seed)
    z, error = rng.uniform(0.03, 1.2, n), rng.uniform(0.05, 0.2, n)
    noise = np.hypot(sigma_int, error) * rng.standard_t(nu, n)
    alpha = -ALPHA_PER_MAG * flat_lcdm_distance_modulus(z, omega_m=0.315) + noise
    return pd.DataFrame({"snid": [f"s{i}" for i in range(n)], "z_hd": z, "alpha": alpha, "alpha_err": error})


@pytest.fixture(scope="module")
def problem():
    return population_data(simulated(), options=ANCHORED)


@pytest.fixture(scope="module")
def fast(problem):
    return sample_fast(problem[0], options=ANCHORED, sampler=SHORT)


@pytest.fixture(scope="module")
def nuts(problem):
    return sample_nuts(problem[0], options=ANCHORED, sampler=SHORT)


def test_the_fast_mode_agrees_with_quadrature():
    """log_distance has three parameters: its posterior can be summed up on a grid with scipy's own densities."""
    options = PopulationOptions(model="log_distance")
    rng = np.random.default_rng(2)
    z, error = rng.uniform(0.03, 1.2, 200), rng.uniform(0.05, 0.2, 200)
    alpha = -ALPHA_PER_MAG * log_distance_modulus(z) + np.hypot(0.15, error) * rng.standard_t(4.0, 200)
    data, _ = population_data(pd.DataFrame({"z_hd": z, "alpha": alpha, "alpha_err": error}), options=options)
    offset = np.linspace(-0.12, 0.12, 31)[:, None, None]
    sigma, nu = np.linspace(0.0, 0.4, 41)[:, None], np.geomspace(1.0, 80.0, 40)
    total = stats.norm.logpdf(offset, 0.0, 5.0) + stats.halfnorm.logpdf(sigma, scale=0.3)
    total = total + stats.gamma.logpdf(nu, 2.0, scale=10.0) + np.log(nu)  # the grid is even in log(nu)
    for r, own in zip(data.alpha - data.base, error, strict=True):
        total = total + stats.t.logpdf(r, nu, loc=offset, scale=np.sqrt(sigma**2 + own**2))
    weight = np.exp(total - total.max())
    expected = [float((weight * x).sum() / weight.sum()) for x in (offset, sigma, nu)]
    values = sample_fast(data, options=options, sampler=SHORT).values
    spread = [float(values[name].std()) for name in ("offset", "sigma_int", "nu")]
    got = [float(values[name].mean()) for name in ("offset", "sigma_int", "nu")]
    assert np.all(np.abs(np.subtract(got, expected)) < 0.08 * np.array(spread))


def test_truth_is_recovered(fast):
    for name, truth in (("sigma_int", 0.12), ("nu", 5.0)):
        draws = fast.values[name]
        assert abs(draws.mean() - truth) < 3.0 * draws.std()
    assert fast.values["sigma_int"].std() < 0.03
    assert fast.values["nu"].std() < 3.0
    assert fast.converged
    assert fast.diagnostics["k_hat"] < 0.5
    assert fast.diagnostics["ess_fraction"] > 0.3


def test_nuts_and_the_fast_mode_agree(fast, nuts):
    assert nuts.converged, nuts.failures
    assert nuts.diagnostics["divergences"] == 0
    assert nuts.diagnostics["leapfrog_steps_mean"] < 10.0
    for name, draws in nuts.values.items():
        spread = draws.std(axis=(0, 1))
        difference = np.abs(draws.mean(axis=(0, 1)) - fast.values[name].mean(axis=(0, 1))) / spread
        assert np.max(difference) < 0.15, name
        assert fast.values[name].std(axis=(0, 1)) == pytest.approx(spread, rel=0.15)


def test_emcee_on_the_same_density_agrees(problem, fast):
    ensemble = sample_emcee(problem[0], options=ANCHORED, sampler=SHORT, n_walkers=24, n_steps=500)
    for name, draws in fast.values.items():
        spread = draws.std(axis=(0, 1))
        assert np.abs(ensemble.values[name].mean(axis=(0, 1)) - draws.mean(axis=(0, 1))) / spread == pytest.approx(
            0.0, abs=0.35
        )
    assert not ensemble.converged
    assert "ESS" in ";".join(ensemble.failures)


def test_the_fast_mode_refuses_what_it_cannot_do(problem):
    words = r"importance ESS \d+ of 2000 draws .* 8 rounds of learning .* method: nuts"
    with pytest.raises(ImportanceSamplingRefused, match=words):
        strict = SamplerOptions(method="fast", n_draws=2000, ess_fraction_min=0.99)
        sample_population(problem[0], options=ANCHORED, sampler=strict)


def test_a_proposal_that_learns_holds_where_a_gaussian_does_not():
    """Data without outliers: shift and width of the outliers are the prior's, their fraction runs to 0."""
    options = PopulationOptions(model="log_distance", likelihood="mixture")
    rng = np.random.default_rng(7)
    z = rng.uniform(0.03, 1.2, 250)
    table = pd.DataFrame({"z_hd": z, "alpha": -ALPHA_PER_MAG * log_distance_modulus(z) + rng.normal(0.0, 0.15, 250)})
    data, _ = population_data(table.assign(alpha_err=0.15), options=options)
    learnt = sample_fast(data, options=options, sampler=replace(SHORT, n_draws=8000, ess_fraction_min=0.4))
    assert learnt.diagnostics["proposal_rounds"] >= 1
    assert learnt.diagnostics["k_hat"] < 0.5
    chains = sample_nuts(data, options=options, sampler=replace(SHORT, n_samples=1500, target_accept=0.9)).values
    for name, draws in learnt.values.items():
        assert abs(draws.mean() - chains[name].mean()) < 0.15 * chains[name].std(), name
        assert draws.std() == pytest.approx(chains[name].std(), rel=0.15), name


def test_weights_of_a_wrong_proposal_are_told_by_k_hat():
    x = np.random.default_rng(1).normal(size=20000)
    right, k_right = smoothed_weights(stats.t.logpdf(x, 30) - stats.norm.logpdf(x))
    assert k_right < 0.5
    assert right.sum() == pytest.approx(1.0)
    _, k_wrong = smoothed_weights(stats.norm.logpdf(x, scale=4.0) - stats.norm.logpdf(x))
    assert k_wrong > 0.7
    assert smoothed_weights(np.full(100, -np.inf))[1] == np.inf


def test_a_run_too_short_says_so(problem):
    short = SamplerOptions(n_chains=2, n_warmup=20, n_samples=40)
    posterior = sample_nuts(problem[0], options=ANCHORED, sampler=short)
    assert not posterior.converged
    assert any("bulk ESS" in words for words in posterior.failures)


def test_the_same_seed_gives_the_same_draws(problem, fast):
    again = sample_fast(problem[0], options=ANCHORED, sampler=SHORT)
    assert np.array_equal(again.theta, fast.theta)


def test_inference_data_holds_what_was_sampled(problem, nuts):
    data, basis = problem
    snid = [f"s{i}" for i in range(1500)]
    stored = inference_data(nuts, data, snid=snid, basis=basis, log_likelihood_draws_per_chain=50)
    assert stored.log_likelihood["alpha"].shape == (4, 50, 1500)
    assert stored.observed_data["alpha"].sel(snid="s7").item() == data.alpha[7]
    p = stored.posterior["p"].to_numpy()
    assert p @ basis.r.T == pytest.approx(nuts.values["c"], abs=1e-6)
    assert stored.posterior.attrs["diagnostic_divergences"] == 0
    assert not any("created" in name for group in stored.groups() for name in stored[group].attrs)
    scale = np.sqrt(nuts.values["sigma_int"][0, 0] ** 2 + data.alpha_err**2)
    law = data.base + nuts.values["offset"][0, 0] - data.design @ nuts.values["c"][0, 0]
    first = stats.t.logpdf(data.alpha, nuts.values["nu"][0, 0], loc=law, scale=scale)
    assert stored.log_likelihood["alpha"].to_numpy()[0, 0] == pytest.approx(first, abs=1e-8)
    summary = posterior_summary(stored).set_index("parameter")
    assert summary.loc["p[xi]", "mean"] == pytest.approx(p[..., 2].mean())
    shared = [f"covariance_{name}" for name in basis.names]
    draws = p.reshape(-1, 3)
    for i, name in enumerate(basis.names):
        about = draws - draws.mean(axis=0)
        expected = (about[:, [i]] * about).sum(axis=0) / (len(draws) - 1)
        assert summary.loc[f"p[{name}]", shared].to_numpy(dtype=float) == pytest.approx(expected)
        assert expected[i] == pytest.approx(summary.loc[f"p[{name}]", "sd"] ** 2)
    assert summary.loc[~summary.index.str.startswith("p["), shared].isna().all(axis=None)
    assert summary.loc["nu", "r_hat"] < 1.02
    assert summary.loc["sigma_int_mag", "median"] == pytest.approx(np.median(nuts.values["sigma_int"]) / ALPHA_PER_MAG)


def test_outliers_raise_the_mixtures_fraction():
    options = PopulationOptions(likelihood="mixture")
    table = simulated(nu=1e6)
    table.loc[:149, "alpha"] += 1.5
    data, _ = population_data(table, options=options)
    values = sample_fast(data, options=options, sampler=SHORT).values
    assert abs(values["outlier_fraction"].mean() - 0.1) < 3.0 * values["outlier_fraction"].std()
    assert abs(values["outlier_shift"].mean() - 1.5) < 4.0 * values["outlier_shift"].std()
    assert set(values) == set(parameters(np.zeros((1, 8)), options=options, xp=np))


def test_one_alpha_without_bound_leaves_the_posterior_where_it_was(fast):
    """Noise with a tail of nu < 0.1 is within the prior: least squares of such an alpha is no start to climb from."""
    table = simulated()
    table.loc[7, "alpha"] = 1e13
    data, _ = population_data(table, options=ANCHORED)
    found = sample_fast(data, options=ANCHORED, sampler=SHORT)
    assert found.diagnostics["newton_gain"] < 1e-6
    for term in range(3):
        before, after = fast.values["c"][:, term], found.values["c"][:, term]
        assert abs(after.mean() - before.mean()) < 0.5 * before.std()
    assert found.values["nu"].mean() < fast.values["nu"].mean()
