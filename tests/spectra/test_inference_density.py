"""The likelihood of a spectrum against dense linear algebra, its gradient, and what its terms stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.abundance_profiles import mode_columns
from skytrace.spectra.inference_covariance import inadequacy_kernel, scale_nodes, whiten
from skytrace.spectra.inference_density import (
    log_densities,
    log_density,
    log_posteriors,
    log_prior,
    log_prior_mass,
    prior_draws,
)
from skytrace.spectra.inference_model import physical_limits, profile_room
from skytrace.spectra.inference_options import ExplosionPrior, LikelihoodOptions
from skytrace.spectra.inference_target import spectrum_target, target_covariance, used_bins
from skytrace.spectra.parameter_space import stage_one_space, stage_space
from tests.spectra.linear_spectra import BINS, LEVEL, SLOPES, WAVELENGTH, linear_model, observation

UNIT = np.array([[0.58, 0.43, 0.66, 0.7]])


def _dense(model, luminosity, error, options, unit, *, scale, with_scale=True):
    """Log likelihood by brute force: dense covariance of the used bins, merged, and scipy's log density."""
    used = np.flatnonzero(used_bins(WAVELENGTH, ~np.isfinite(luminosity), options))
    runs = np.split(used, np.flatnonzero(np.diff(used) > 1) + 1)
    n = options.merged_bins
    groups = [run[i : i + n] for run in runs for i in range(0, len(run), n)]
    mean = np.zeros((len(groups), BINS))
    for row, group in zip(mean, groups, strict=True):
        row[group] = 1.0 / len(group)
    luminosity = np.where(np.isfinite(luminosity), luminosity, 1.0)
    y = model.stretch(luminosity)
    noise = np.diag((np.where(np.isfinite(error), error, 1.0) / np.hypot(luminosity, model.unit_erg_s_a)) ** 2)
    emulator = model.error_components.T @ model.error_components + np.diag(model.error_variance)
    predicted = LEVEL + (model.low + unit[:3] * (model.high - model.low)) @ SLOPES
    direction = np.tanh(predicted)
    amplitude = np.exp(
        np.log(options.amplitude_low) + unit[3] * np.log(options.amplitude_high / options.amplitude_low)
    )  # fmt: skip
    total = noise + scale**2 * emulator
    if with_scale:
        total = total + options.log_scale_sigma**2 * np.outer(direction, direction)
    values = []
    for length in options.lengths_km_s:
        x = np.log(WAVELENGTH) * 299792.458 / length
        distance = np.abs(x[:, None] - x)
        kernel = (1 + np.sqrt(3) * distance) * np.exp(-np.sqrt(3) * distance)
        covariance = mean @ (total + amplitude**2 * kernel) @ mean.T
        values.append(multivariate_normal(mean @ predicted, covariance).logpdf(mean @ y))
    return np.logaddexp.reduce(values) - np.log(len(values))


@pytest.mark.parametrize("lengths", [(6000.0,), (3000.0, 9000.0)])
def test_likelihood_is_that_of_the_dense_covariance(lengths):
    options = LikelihoodOptions(lengths_km_s=lengths, excluded={"band": (5000.0, 5400.0)}, merged_bins=3)
    model = linear_model()
    luminosity, error = observation(model)
    luminosity[40:43] = np.nan
    target = spectrum_target(luminosity, error, model, options=options)
    with jax.enable_x64(True):
        value = float(log_posteriors(UNIT, target, model=model, options=options)[0])
    assert value == pytest.approx(_dense(model, luminosity, error, options, UNIT[0], scale=1.0), abs=1e-8)


def test_scale_of_the_emulators_error_is_exact_at_nodes_and_close_between_them():
    options = LikelihoodOptions(excluded={}, scale_nodes=5)
    model = linear_model(scaled=True)
    luminosity, error = observation(model)
    ends = np.exp(np.array([-1.0, 1.0]))
    target = spectrum_target(luminosity, error, model, options=options, scales=ends)
    first = np.concatenate([3.0 * target.log_scales[1:4], np.linspace(-2.4, 2.4, 7)])
    unit = np.repeat(UNIT, len(first), axis=0)
    unit[:, 0] = (first + 3.0) / 6.0
    with jax.enable_x64(True):
        values = np.asarray(log_posteriors(unit, target, model=model, options=options))
    exact = [_dense(model, luminosity, error, options, u, scale=np.exp(x / 3.0)) for u, x in zip(unit, first)]  # noqa: B905
    assert values[:3] == pytest.approx(exact[:3], abs=1e-8)
    assert np.abs(values - exact).max() < 0.1
    assert np.ptp(exact) > 100.0


def test_common_factor_is_marginalised_exactly():
    """The likelihood is the integral over the factor's normal prior of the likelihood at fixed factor."""
    options = LikelihoodOptions(excluded={}, distance_modulus_err_mag=0.1, calibration_fraction=0.05)
    fixed = LikelihoodOptions(excluded={}, distance_modulus_err_mag=0.0, calibration_fraction=0.0)
    model = linear_model()
    luminosity, error = observation(model)
    target = spectrum_target(luminosity, error, model, options=options)
    bare = spectrum_target(luminosity, error, model, options=fixed)
    predicted = LEVEL + (model.low + UNIT[0, :3] * (model.high - model.low)) @ SLOPES
    direction = (np.tanh(predicted)[target.rows] * target.weights).sum(axis=1)
    sigma = options.log_scale_sigma
    assert sigma == pytest.approx(np.hypot(0.1 * 0.4 * np.log(10.0), 0.05))
    with jax.enable_x64(True):
        whole = float(log_posteriors(UNIT, target, model=model, options=options)[0])

        def at(factor):
            moved = bare._replace(observed=bare.observed - factor * direction)
            value = float(log_posteriors(UNIT, moved, model=model, options=fixed)[0])
            return np.exp(value - whole - 0.5 * (factor / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))

        total, _ = quad(at, -5 * sigma, 5 * sigma, epsabs=0, epsrel=1e-8, limit=60)
    assert total == pytest.approx(1.0, abs=1e-5)


def test_direction_of_the_common_factor_is_the_derivative_of_y():
    options = LikelihoodOptions(excluded={}, merged_bins=1)
    model = linear_model()
    luminosity, error = observation(model)
    target = spectrum_target(luminosity, error, model, options=options)
    step = 1e-6
    slope = (model.stretch(luminosity * (1 + step)) - model.stretch(luminosity * (1 - step))) / (2 * step)
    assert target.direction == pytest.approx(slope, abs=1e-8)


def test_gradient_is_that_of_finite_differences():
    options = LikelihoodOptions(excluded={}, scale_nodes=4, lengths_km_s=(4000.0, 8000.0))
    model = linear_model(scaled=True)
    target = spectrum_target(*observation(model), model, options=options, scales=(0.4, 2.5))
    z = np.array([0.21, -0.3, 0.5, 0.4])
    with jax.enable_x64(True):

        def value(z):
            return log_density(z[None], target, model=model, options=options)[0]

        gradient = np.asarray(jax.jit(jax.grad(value))(z))
        step = 1e-5
        around = z + step * np.concatenate([np.eye(4), -np.eye(4)])
        values = np.asarray(log_densities(around, target, model=model, options=options))
    differences = (values[:4] - values[4:]) / (2 * step)
    assert gradient == pytest.approx(differences, rel=1e-6, abs=1e-5)


def test_density_in_z_is_that_of_the_flat_box():
    """exp(density) dz = likelihood du: the ratio of the two is the normal density of z."""
    options = LikelihoodOptions(excluded={})
    model = linear_model()
    target = spectrum_target(*observation(model), model, options=options)
    z = np.random.default_rng(1).normal(size=(5, 4))
    with jax.enable_x64(True):
        left = np.asarray(log_densities(z, target, model=model, options=options))
        right = np.asarray(log_posteriors(ndtr(z), target, model=model, options=options))
    assert left - right == pytest.approx(multivariate_normal(np.zeros(4)).logpdf(z), abs=1e-9)


def test_correlated_noise_enters_with_its_correlation():
    options = LikelihoodOptions(excluded={}, merged_bins=2, inadequacy=False)
    model = linear_model()
    luminosity, error = observation(model)
    neighbours = np.eye(BINS) + 0.4 * (np.eye(BINS, k=1) + np.eye(BINS, k=-1))
    target = spectrum_target(luminosity, error, model, options=options, correlation=neighbours)
    sigma = error / np.hypot(luminosity, model.unit_erg_s_a)
    assert target.noise[0, 0] == pytest.approx((sigma[0] ** 2 + sigma[1] ** 2 + 0.8 * sigma[0] * sigma[1]) / 4)
    assert target.noise[0, 1] == pytest.approx(0.4 * sigma[1] * sigma[2] / 4)
    assert target.noise[0, 2] == 0.0


def test_feature_weight_counts_a_misfit_as_often():
    model = linear_model()
    luminosity, error = observation(model)
    plain = LikelihoodOptions(excluded={}, inadequacy=False, distance_modulus_err_mag=0.0, calibration_fraction=0.0)
    heavy = LikelihoodOptions(
        excluded={}, inadequacy=False, distance_modulus_err_mag=0.0, calibration_fraction=0.0,
        feature_weights={"all": (3000.0, 10_000.0, 4.0)},
    )  # fmt: skip
    with jax.enable_x64(True):
        values = [
            np.asarray(log_posteriors(
                np.array([[0.5, 0.5, 0.5], [0.6, 0.4, 0.7]]),
                spectrum_target(luminosity, error, model, options=options), model=model, options=options))
            for options in (plain, heavy)
        ]  # fmt: skip
    assert np.diff(values[1]) == pytest.approx(4.0 * np.diff(values[0]))


def test_whitening_diagonalises_both_matrices():
    rng = np.random.default_rng(2)
    half = rng.normal(size=(12, 12))
    base, kernel = half @ half.T + np.eye(12), inadequacy_kernel(np.linspace(4000, 5000, 12), 3000.0, "squared")
    white = whiten(base, kernel)
    assert white.matrix @ base @ white.matrix.T == pytest.approx(np.eye(12), abs=1e-10)
    assert white.matrix @ kernel @ white.matrix.T == pytest.approx(np.diag(white.eigenvalues), abs=1e-10)
    assert white.log_determinant == pytest.approx(np.linalg.slogdet(base)[1])


def test_target_covariance_undoes_the_whitening():
    options = LikelihoodOptions(excluded={}, merged_bins=2)
    model = linear_model()
    target = spectrum_target(*observation(model), model, options=options)
    kernel = inadequacy_kernel(WAVELENGTH, 6000.0, "matern32").reshape(BINS // 2, 2, BINS // 2, 2).mean(axis=(1, 3))
    grown = target_covariance(target, amplitude=0.3) - target_covariance(target)
    assert grown == pytest.approx(0.09 * kernel, abs=1e-9)


def test_scale_nodes_span_the_range_and_one_scale_has_one():
    assert np.exp(scale_nodes(0.5, 2.0, 4))[[0, -1]] == pytest.approx([0.5, 2.0])
    assert np.exp(scale_nodes(1.3, 1.3, 4)) == pytest.approx([1.3])


@pytest.mark.parametrize("space", [stage_one_space(), stage_space(2, dict(zip(
    stage_one_space().names, (np.array(stage_one_space().low) + stage_one_space().high) / 2, strict=True)))],
    ids=["stage 1", "stage 2"])  # fmt: skip
def test_physical_limits_are_those_of_the_ejecta(space):
    import pandas as pd

    from skytrace.spectra.ejecta import unphysical_masks

    drawn = space.from_unit(np.random.default_rng(4).uniform(size=(3000, space.size)))
    rows, limits, softness = physical_limits(space.names)
    masks = unphysical_masks(pd.DataFrame(drawn, columns=list(space.names)))
    unphysical = np.any(list(masks.values()), axis=0)
    assert 0.05 < unphysical.mean() < 0.999
    assert ((drawn @ rows.T > limits).any(axis=1) == unphysical).all()
    assert (softness > 0).all()


def test_smooth_profiles_are_limited_as_the_ejecta_are():
    """Stage 3's limits on sums of mass fractions are those by which models are drawn anew, in numpy and in JAX."""
    import pandas as pd
    from scipy import special

    from skytrace.spectra.ejecta import unphysical_masks

    one = stage_one_space()
    space = stage_space(3, dict(zip(one.names, (np.array(one.low) + one.high) / 2, strict=True)))
    drawn = space.from_unit(np.random.default_rng(4).uniform(size=(2000, space.size)))
    masks = unphysical_masks(pd.DataFrame(drawn, columns=list(space.names)))
    full = np.any([mask for reason, mask in masks.items() if "mass fractions" in reason], axis=0)
    places = [space.names.index(name) for name in mode_columns()]
    room = profile_room(drawn[:, places], np, special)
    assert 0.02 < full.mean() < 0.98
    assert ((room < 0.0).any(axis=1) == full).all()
    with jax.enable_x64(True):
        again = profile_room(jnp.asarray(drawn[:, places]), jnp, jax.scipy.special)
    np.testing.assert_allclose(again, room, rtol=1e-9, atol=1e-9)


def test_prior_mass_is_the_physical_share_of_the_box():
    """v_inner < v_core < v_wall of three flat velocities: a sixth; a date of 1 d in a box of 6 wide: its own share."""
    model = linear_model(names=("v_inner", "v_core", "v_wall"), low=0.0, high=1e5)
    options = LikelihoodOptions(excluded={}, inadequacy=False)
    target = spectrum_target(*observation(linear_model()), model, options=options)
    assert np.exp(log_prior_mass(target, model=model, options=options)) == pytest.approx(1 / 6, rel=0.01)
    drawn = prior_draws(500, target, model=model, options=options, rng=np.random.default_rng(0))
    assert drawn.shape == (500, 3)
    assert (np.diff(drawn) > -0.01).all()
    dated = LikelihoodOptions(excluded={}, inadequacy=False, explosion=ExplosionPrior(low_day=0.5, high_day=1.5))
    model = linear_model(names=("t_exp", "second", "third"))
    target = spectrum_target(*observation(model), model, options=dated, phase_day=0.0)
    expected = (1.0 + 0.25 * np.sqrt(2 * np.pi)) / 6.0
    assert np.exp(log_prior_mass(target, model=model, options=dated)) == pytest.approx(expected, rel=0.01)


def test_explosion_prior_moves_with_the_phase():
    options = LikelihoodOptions(excluded={}, inadequacy=False, explosion=ExplosionPrior(low_day=0.5, high_day=1.5))
    model = linear_model(names=("t_exp", "second", "third"))
    target = spectrum_target(*observation(model), model, options=options, phase_day=-1.0)
    time = np.array([-0.75, -0.2, 0.4, 0.75])
    unit = np.column_stack([(time + 3.0) / 6.0, np.full((4, 2), 0.5)])
    with jax.enable_x64(True):
        value = np.asarray(log_prior(unit, target, model=model, options=options))
    assert value == pytest.approx([-0.5, 0.0, 0.0, -0.5])
    with pytest.raises(CatalogueError, match="phase_day is None"):
        spectrum_target(*observation(model), model, options=options)


def test_too_few_bins_and_wrong_options_are_refused():
    model = linear_model()
    with pytest.raises(CatalogueError, match="at least 10"):
        spectrum_target(*observation(model), model, options=LikelihoodOptions(excluded={"all": (1000.0, 8900.0)}))
    with pytest.raises(OptionError, match=r"amplitude_high = 0\.001"):
        LikelihoodOptions(amplitude_high=0.001)
    with pytest.raises(OptionError, match="lengths_km_s"):
        LikelihoodOptions(lengths_km_s=())
    assert LikelihoodOptions(explosion={"low_day": 17.0}).explosion == ExplosionPrior(low_day=17.0)
