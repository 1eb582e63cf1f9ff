"""The one log density against scipy's distributions, its priors and its simulations against both."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skytrace.errors import OptionError
from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus, low_redshift_distance_modulus
from skytrace.supernovae.distance_basis import qfd_basis
from skytrace.supernovae.population import (
    log_density,
    log_likelihood,
    log_prior,
    mean_alpha,
    outlier_probability,
    parameter_names,
    parameters,
    population_data,
    sample_prior,
    simulate_alpha,
    start,
)
from skytrace.supernovae.population_options import POPULATION_MODELS, ComparisonOptions, PopulationOptions


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    z = rng.uniform(0.03, 1.2, 60)
    alpha = -ALPHA_PER_MAG * flat_lcdm_distance_modulus(z, omega_m=0.3) + rng.normal(0.0, 0.3, 60)
    return pd.DataFrame({"z_hd": z, "alpha": alpha, "alpha_err": rng.uniform(0.1, 0.3, 60)})


def _theta(options, **values):
    return jnp.array([values[name] for name in parameter_names(options)])


def test_student_t_is_scipys(table):
    options = PopulationOptions(tail_coordinate="log")
    data, basis = population_data(table, options=options)
    c = np.array([0.25, -0.02, 0.01])
    theta = _theta(options, offset=-0.6, c_1=c[0], c_2=c[1], c_3=c[2], sigma_int=-0.12, nu=np.log(5.0))
    phi = qfd_basis(table["z_hd"]) - basis.mean
    mean = -ALPHA_PER_MAG * low_redshift_distance_modulus(table["z_hd"]) - 0.6 - phi @ basis.physical(c)
    assert np.asarray(mean_alpha(theta, data, options=options)) == pytest.approx(mean, abs=1e-9)
    scale = np.hypot(0.12, table["alpha_err"])
    expected = stats.t.logpdf(table["alpha"], 5.0, loc=mean, scale=scale)
    assert np.asarray(log_likelihood(theta, data, options=options)) == pytest.approx(expected, abs=1e-9)
    prior = (
        stats.norm.logpdf(-0.6, 0, 5) + stats.norm.logpdf(c, 0, 5).sum() + stats.halfnorm.logpdf(0.12, scale=0.3)
        - np.log(2.0) + stats.gamma.logpdf(5.0, 2.0, scale=10.0) + np.log(5.0)
    )  # fmt: skip
    assert float(log_density(theta, data, options=options)) == pytest.approx(expected.sum() + prior, abs=1e-8)


def test_the_mixture_is_scipys(table):
    options = PopulationOptions(model="log_distance", likelihood="mixture")
    data, _ = population_data(table, options=options)
    theta = _theta(options, offset=-1.0, sigma_int=0.1, outlier_fraction=-2.0, outlier_shift=0.4, outlier_sigma=-0.1)
    f = 1.0 / (1.0 + np.exp(2.0))
    mean, error = np.asarray(mean_alpha(theta, data, options=options)), table["alpha_err"].to_numpy()
    clean = (1.0 - f) * stats.norm.pdf(table["alpha"], mean, np.hypot(0.1, error))
    outlier = f * stats.norm.pdf(table["alpha"], mean + 0.4, np.hypot(np.exp(-0.1), error))
    assert np.asarray(log_likelihood(theta, data, options=options)) == pytest.approx(np.log(clean + outlier), abs=1e-9)
    probability = np.asarray(outlier_probability(theta, data, options=options))
    assert probability == pytest.approx(outlier / (clean + outlier), abs=1e-9)
    prior = (
        stats.norm.logpdf(-1.0, 0, 5) + stats.halfnorm.logpdf(0.1, scale=0.3) - np.log(2.0)
        + stats.beta.logpdf(f, 1, 9) + np.log(f * (1 - f)) + stats.norm.logpdf(0.4, 0, 2)
        + stats.norm.logpdf(-0.1, 0.0, 0.5)
    )  # fmt: skip
    assert float(log_prior(theta, options=options)) == pytest.approx(prior, abs=1e-9)


def test_lambda_cdm_is_interpolated_to_rounding(table):
    options = PopulationOptions(model="flat_lcdm")
    far = pd.concat([table, table.assign(z_hd=np.linspace(0.001, 2.5, 60))])
    data, basis = population_data(far, options=options)
    assert basis is None
    for omega_m in (0.02, 0.1, 0.315, 0.7, 0.98):
        theta = _theta(options, offset=0.3, omega_m=np.log(omega_m / (1 - omega_m)), sigma_int=0.1, nu=0.0)
        expected = 0.3 - ALPHA_PER_MAG * flat_lcdm_distance_modulus(far["z_hd"].to_numpy(), omega_m=omega_m)
        assert np.asarray(mean_alpha(theta, data, options=options)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("prior", ["gamma", "uniform"])
@pytest.mark.parametrize("coordinate", ["log", "inverse"])
def test_the_tails_prior_is_the_same_in_either_coordinate(prior, coordinate):
    options = PopulationOptions(model="log_distance", tail_prior=prior, tail_coordinate=coordinate)
    law = stats.gamma(2.0, scale=10.0) if prior == "gamma" else stats.uniform(2.0, 28.0)
    grid = np.linspace(-30.0, 12.0, 60001)
    theta = np.column_stack([np.zeros_like(grid), np.full_like(grid, 0.1), grid])
    weight = np.exp(np.asarray(jax.jit(jax.vmap(lambda one: log_prior(one, options=options)))(theta)))
    nu = parameters(theta, options=options, xp=np)["nu"]
    for level in (0.1, 0.5, 0.9):
        below = weight[nu < law.ppf(level)].sum() / weight.sum()
        assert below == pytest.approx(level, abs=2e-3)


def test_priors_integrate_to_one():
    """Each factor of the prior of (offset, logit omega_m, sigma_int, tail), by a fine sum along its own axis."""
    options = PopulationOptions(model="flat_lcdm", tail_prior="uniform")
    density = jax.jit(jax.vmap(lambda theta: jnp.exp(log_prior(theta, options=options))))
    zero = np.zeros((1, 4))
    at_zero = float(density(zero)[0])
    expected = {
        0: stats.norm.pdf(0, scale=5.0), 1: 0.25, 2: stats.norm.pdf(0, scale=0.3), 3: _uniform_tail_at_zero(options),
    }  # fmt: skip
    grid = np.linspace(-40.0, 40.0, 40001)
    for i, share in expected.items():
        along = np.repeat(zero, len(grid), axis=0)
        along[:, i] = grid * (0.1 if i == 2 else 1.0)
        total = float(np.asarray(density(along)).sum()) * (along[1, i] - along[0, i])
        assert total == pytest.approx(at_zero / share, rel=1e-5)
    assert at_zero == pytest.approx(np.prod(list(expected.values())))


def _uniform_tail_at_zero(options):
    """Density of the coordinate at 0, where 1/nu is half-way between its ends, for nu ~ Uniform(2, 30)."""
    low, high = options.tail_low, options.tail_high
    nu = 2.0 / (1.0 / low + 1.0 / high)
    return nu**2 * 0.25 * (1.0 / low - 1.0 / high) / (high - low)


def test_the_density_is_smooth_and_even_in_sigma(table):
    options = PopulationOptions(model="log_distance")
    data, _ = population_data(table, options=options)
    gradient = jax.grad(lambda theta: log_density(theta, data, options=options))
    at_zero = _theta(options, offset=-1.0, sigma_int=0.0, nu=0.0)
    assert float(gradient(at_zero)[1]) == 0.0
    plus, minus = at_zero.at[1].set(0.2), at_zero.at[1].set(-0.2)
    assert float(log_density(plus, data, options=options)) == float(log_density(minus, data, options=options))


@pytest.mark.parametrize("model", POPULATION_MODELS)
def test_the_start_is_near_the_data_for_every_law(table, model):
    options = PopulationOptions(model=model)
    data, _ = population_data(table, options=options)
    data = type(data)(*map(jnp.asarray, data[:4]))
    residual = data.alpha - mean_alpha(start(data, options=options), data, options=options)
    assert float(jnp.std(residual)) < {"qfd_seed": 15.0, "log_distance": 0.8}.get(model, 0.5)
    if model != "qfd_seed":
        assert abs(float(residual.mean())) < 0.2


def test_prior_draws_follow_their_laws():
    options = PopulationOptions(likelihood="student_t", model="flat_lcdm")
    drawn = parameters(np.asarray(sample_prior(jax.random.key(1), 4000, options=options)), options=options, xp=np)
    assert stats.kstest(drawn["nu"], stats.gamma(2.0, scale=10.0).cdf).pvalue > 1e-3
    assert stats.kstest(drawn["omega_m"], "uniform").pvalue > 1e-3
    assert stats.kstest(drawn["sigma_int"], stats.halfnorm(scale=0.3).cdf).pvalue > 1e-3
    mixture = PopulationOptions(likelihood="mixture")
    drawn = parameters(np.asarray(sample_prior(jax.random.key(2), 4000, options=mixture)), options=mixture, xp=np)
    assert stats.kstest(drawn["outlier_fraction"], stats.beta(1, 9).cdf).pvalue > 1e-3
    assert drawn["c"].shape == (4000, 3)


def test_simulated_alpha_follow_the_likelihood(table):
    for options, theta in [
        (PopulationOptions(model="log_distance", tail_coordinate="log"), jnp.array([-1.0, 0.2, np.log(4.0)])),
        (PopulationOptions(model="log_distance", likelihood="mixture"), jnp.array([-1.0, 0.1, -1.0, 1.0, 0.0])),
    ]:
        data, _ = population_data(table.iloc[[0]], options=options)
        keys = jax.random.split(jax.random.key(5), 5000)
        one = jax.jit(lambda key, t=theta, d=data, o=options: simulate_alpha(key, t, d, options=o)[0])
        drawn = np.sort(np.asarray(jax.vmap(one)(keys)))
        grid = np.linspace(drawn[0] - 30, drawn[-1] + 30, 40001)
        many = data._replace(alpha=jnp.array(grid))
        weight = np.exp(np.asarray(log_likelihood(theta, many, options=options)))
        cdf = np.cumsum(weight) * (grid[1] - grid[0])
        assert stats.kstest(drawn, lambda x, g=grid, c=cdf: np.interp(x, g, c)).pvalue > 1e-3


def test_options_name_their_range():
    with pytest.raises(OptionError, match="not one of qfd_anchored"):
        PopulationOptions(model="best")
    with pytest.raises(OptionError, match="tail_high"):
        PopulationOptions(tail_low=5.0, tail_high=4.0)


def test_light_loses_the_heliocentric_redshift_in_every_likelihood():
    """z_hel far from z_hd: the law of flat LambdaCDM has (1 + z_hel) int_0^z_hd, the others z_hd alone."""
    z_hd = np.array([0.03, 0.3, 0.9])
    z_hel = z_hd + np.array([0.01, -0.02, 0.05])
    far = pd.DataFrame({"z_hd": z_hd, "z_hel": z_hel, "alpha": -38.0, "alpha_err": 0.1})
    for model in POPULATION_MODELS:
        options = PopulationOptions(model=model)
        six = far.iloc[[0, 1, 2, 0, 1, 2]].assign(z_hd=np.r_[z_hd, z_hd + 0.2])
        (data, _), (same, _) = (population_data(rows, options=options) for rows in (six, six.drop(columns="z_hel")))
        theta = _theta(
            options, **dict.fromkeys(("c_1", "c_2", "c_3"), 0.1), offset=0.3, omega_m=np.log(0.3 / 0.7), sigma_int=0.1,
            nu=0.0,
        )  # fmt: skip
        shift = np.asarray(mean_alpha(theta, data, options=options) - mean_alpha(theta, same, options=options))[:3]
        lost = -2.0 * np.log((1.0 + z_hel) / (1.0 + z_hd)) if model == "flat_lcdm" else np.zeros(3)
        assert shift == pytest.approx(lost, abs=1e-9), model
    lcdm = PopulationOptions(model="flat_lcdm")
    data, _ = population_data(far, options=lcdm)
    found = np.asarray(mean_alpha(_theta(lcdm, offset=0.0, omega_m=0.0, sigma_int=0.1, nu=0.0), data, options=lcdm))
    expected = -ALPHA_PER_MAG * flat_lcdm_distance_modulus(z_hd, z_hel, omega_m=0.5)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("power", [1.0, -0.5])
def test_the_log_distance_law_has_its_redshift_power(table, power):
    """D = (c/K) ln(1+z) (1+z)^q: alpha = -2 ln(D / 10 pc), by hand."""
    options = PopulationOptions(model="log_distance", log_distance_redshift_power=power, h0_km_s_mpc=67.0)
    data, _ = population_data(table, options=options)
    z = table["z_hd"].to_numpy()
    distance_mpc = 299792.458 / 67.0 * np.log(1.0 + z) * (1.0 + z) ** power
    expected = -2.0 * np.log(distance_mpc * 1e5) - 0.4
    found = mean_alpha(_theta(options, offset=-0.4, sigma_int=0.1, nu=0.0), data, options=options)
    assert np.asarray(found) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("salt", ["", 5, None])
def test_a_hash_needs_a_text_for_its_salt(salt):
    with pytest.raises(OptionError, match="holdout_salt"):
        ComparisonOptions(holdout_salt=salt)
