"""Filling up to a size changes no density, and one program serves every data set of a size and every thread."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from skytrace.supernovae.compiled_density import (
    compiled_by_one,
    log_densities,
    padded,
    padded_size,
    values_and_gradients,
)
from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus
from skytrace.supernovae.laplace import laplace_approximation
from skytrace.supernovae.nuts_chain import nuts_chain
from skytrace.supernovae.population import PopulationData, log_density, log_likelihood, mean_alpha, population_data
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions


def _problem(options: PopulationOptions, n: int) -> PopulationData:
    rng = np.random.default_rng(5)
    z, error = rng.uniform(0.03, 1.2, n), rng.uniform(0.05, 0.2, n)
    alpha = -ALPHA_PER_MAG * flat_lcdm_distance_modulus(z, omega_m=0.3) + np.hypot(0.12, error) * rng.standard_t(5.0, n)
    return population_data(pd.DataFrame({"z_hd": z, "alpha": alpha, "alpha_err": error}), options=options)[0]


def _on_device(data: PopulationData) -> PopulationData:
    return PopulationData(*(jnp.asarray(column) for column in data[:4]))


def _some_theta(data: PopulationData, options: PopulationOptions) -> np.ndarray:
    fit = laplace_approximation(padded(data), options=options)
    return fit.mode + np.random.default_rng(1).normal(size=(7, len(fit.mode))) @ fit.root.T


@pytest.mark.parametrize("likelihood", ["student_t", "mixture"])
@pytest.mark.parametrize("model", ["flat_lcdm", "qfd_anchored", "log_distance", "qfd_seed"])
def test_rows_of_weight_zero_change_neither_density_nor_gradient(model, likelihood):
    options = PopulationOptions(model=model, likelihood=likelihood)
    data = _problem(options, 300)
    with jax.enable_x64(True):
        full, bare = padded(data), _on_device(data)
        theta = _some_theta(data, options)
        assert len(full.alpha) == 320
        assert full.weight.sum() == 300.0
        values, gradients = values_and_gradients(theta, full, options=options)
        expected, slopes = values_and_gradients(theta, bare, options=options)
        np.testing.assert_allclose(values, expected, rtol=1e-12)
        np.testing.assert_allclose(gradients, slopes, rtol=1e-10, atol=1e-10 * np.abs(slopes).max())
        np.testing.assert_allclose(log_densities(theta, full, options=options), expected, rtol=1e-12)


@pytest.mark.parametrize("model", ["flat_lcdm", "qfd_anchored"])
def test_the_mode_and_its_curvature_are_those_of_the_data_without_filling(model):
    options = PopulationOptions(model=model)
    data = _problem(options, 300)
    with jax.enable_x64(True):
        ours = laplace_approximation(padded(data), options=options)
        bare = _on_device(data)
        slope = jax.grad(lambda theta: log_density(theta, bare, options=options))
        gradient, hessian = jax.jit(lambda theta: (slope(theta), jax.jacfwd(slope)(theta)))(ours.mode)
    assert ours.root.T @ np.asarray(gradient) == pytest.approx(0.0, abs=1e-5)
    assert -ours.root.T @ np.asarray(hessian) @ ours.root == pytest.approx(np.eye(len(ours.mode)), abs=1e-6)
    assert ours.gain < 1e-9


@pytest.mark.parametrize("likelihood", ["student_t", "mixture"])
@pytest.mark.parametrize("model", ["flat_lcdm", "qfd_anchored"])
@pytest.mark.parametrize("coordinate", ["log", "inverse"])
def test_numpy_and_jax_compute_the_same_formulas(model, likelihood, coordinate):
    options = PopulationOptions(model=model, likelihood=likelihood, tail_coordinate=coordinate)
    data = _problem(options, 40)
    with jax.enable_x64(True):
        for theta in _some_theta(data, options):
            for function in (mean_alpha, log_likelihood):
                compiled = np.asarray(function(jnp.asarray(theta), _on_device(data), options=options))
                np.testing.assert_allclose(function(theta, data, options=options, xp=np), compiled, atol=1e-11)


def test_sizes_are_few_and_waste_little():
    n = np.arange(1, 20000)
    sizes = np.array([padded_size(int(one)) for one in n])
    assert (sizes >= n).all()
    assert (sizes[255:] <= 1.25 * n[255:]).all()
    assert len(np.unique(sizes)) == 26
    assert [padded_size(one) for one in (1, 256, 257, 500, 1024, 1025)] == [256, 256, 320, 512, 1024, 1280]


def test_one_program_serves_all_folds_of_a_size():
    options = PopulationOptions(model="linear_two_term", sigma_int_scale=0.31)  # of nobody else's
    program = values_and_gradients.__wrapped__
    with jax.enable_x64(True):
        before = program._cache_size()
        for n in (257, 290, 320):
            laplace_approximation(padded(_problem(options, n)), options=options)
        assert program._cache_size() == before + 1


def test_a_chain_of_another_seed_or_size_is_the_same_program_and_other_draws():
    from skytrace.supernovae import nuts_chain as module

    options = PopulationOptions(model="log_distance", sigma_int_scale=0.32)
    sampler = SamplerOptions(n_warmup=50, n_samples=50)
    program, first = module._chain.__wrapped__, []
    with jax.enable_x64(True):
        before = program._cache_size()
        for n, seed in ((260, 1), (310, 1), (310, 2), (310, 2)):
            data = padded(_problem(options, n))
            fit = laplace_approximation(data, options=options)
            first.append(nuts_chain(jax.random.key(seed), data, fit, options=options, sampler=sampler)[0])
        assert program._cache_size() == before + 1
    assert first[0].shape == (50, 3)
    assert np.array_equal(first[2], first[3])
    assert not np.array_equal(first[1], first[2])


def test_threads_that_need_one_program_wait_for_the_first_and_others_do_not():
    at_once, seen = [], []

    @compiled_by_one
    def slow(x, *, kind):
        at_once.append(kind)
        seen.append(sorted(at_once))
        time.sleep(0.2)
        at_once.remove(kind)
        return x

    threads = [
        threading.Thread(target=slow, args=(np.zeros(3),), kwargs={"kind": kind}) for kind in ("a", "a", "b", "a")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert ["a", "b"] in seen  # another program at the same time
    # of three that need "a", two wait for the first; when it is there, they need not wait for one another
    assert sum(len(now) == 1 or now == ["a", "b"] for now in seen) >= 2
    assert max(now.count("a") for now in seen[:2]) == 1
