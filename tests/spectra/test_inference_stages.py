"""Stages, coverage and neural estimation on spectra whose posterior is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.inference_coverage import coverage_of_mocks, coverage_report
from skytrace.spectra.inference_mocks import mock_of_draws, mock_of_spectra
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.inference_stages import (
    best_parameters,
    infer_stage,
    narrowed_space,
    next_stage_space,
    shrinkage_table,
)
from skytrace.spectra.inference_target import spectrum_target, target_covariance
from skytrace.spectra.parameter_space import ParameterSpace, stage_one_space
from tests.spectra.linear_spectra import (
    BINS,
    ERROR_FRACTION,
    LEVEL,
    NAMES,
    SLOPES,
    exact_posterior,
    linear_model,
    observation,
)

OPTIONS = LikelihoodOptions(excluded={}, inadequacy=False)
SAMPLER = SpectrumSamplerOptions(
    methods=("nuts",), n_prior_draws=256, n_starts=2, nuts_chains=2, nuts_warmup=150, nuts_draws=400, r_hat_max=1.1,
    max_tree_depth=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return linear_model()


@pytest.fixture(scope="module")
def result(model):
    target = spectrum_target(*observation(model), model, options=OPTIONS)
    return infer_stage(target, model=model, options=OPTIONS, sampler=SAMPLER)


@pytest.fixture(scope="module")
def mocks(model):
    """Coverage of 100 draws of the model itself, in two calls of 50."""
    rng = np.random.default_rng(5)
    unit = rng.uniform(0.2, 0.8, size=(100, 3))
    luminosity, error = mock_of_draws(unit, ERROR_FRACTION, model=model, options=OPTIONS, rng=rng)
    truth = -3.0 + 6.0 * unit
    sampler = replace(SAMPLER, n_starts=1)
    return pd.concat([
        coverage_of_mocks(
            luminosity[rows], error[rows], truth[rows], np.arange(100)[rows], model=model, options=OPTIONS,
            sampler=sampler,
        ) for rows in (slice(0, 50), slice(50, 100))
    ], ignore_index=True)  # fmt: skip


def test_intervals_of_mocks_hold_what_they_say(mocks):
    assert len(mocks) == 300
    report = coverage_report(mocks).set_index("parameter")
    assert (report["n"] == 100).all()
    assert report["constrained"].all()
    # 3 sigma of a binomial with p = 0.683 and n = 100, each parameter: 0.54 to 0.82
    assert report["covered_68"].between(0.54, 0.82).all()
    assert 0.60 <= report["covered_68"].mean() <= 0.76
    assert report["covered_95"].between(0.88, 1.0).all()
    assert report["spread_sigma"].between(0.8, 1.2).all()
    assert report["importance_offset_sigma"].max() < 0.1
    assert (report["importance_share"] > 0.95).all()


def test_ranks_of_the_truth_are_uniform(mocks):
    from scipy.stats import kstest

    assert all(kstest(rows["rank"], "uniform").pvalue > 0.001 for _, rows in mocks.groupby("parameter"))


def test_report_counts_intervals_and_leaves_out_what_did_not_converge():
    n = 40
    table = pd.DataFrame({
        "mock": np.arange(n), "parameter": "known", "truth": 0.0, "mean": 0.0, "sd": 1.0, "low68": -1.0, "high68": 1.0,
        "low95": -2.0, "high95": 2.0, "prior_sd": 10.0, "r_hat": 1.0, "importance_k": 0.1, "importance_mean": 0.5,
        "importance_sd": 1.0,
    })  # fmt: skip
    table.loc[:9, "truth"] = 1.5
    table.loc[10:14, "r_hat"] = 2.0
    row = coverage_report(table).iloc[0]
    assert (row["n"], row["n_not_converged"]) == (35, 5)
    assert row["covered_68"] == pytest.approx(25 / 35)
    assert row["covered_95"] == 1.0
    assert row["width_of_prior"] == pytest.approx(0.1)
    assert row["holds"]
    assert row["importance_offset_sigma"] == pytest.approx(0.5)
    wide = coverage_report(table.assign(prior_sd=1.2)).iloc[0]
    assert not wide["constrained"]
    assert wide["holds"] is None


def test_mocks_scatter_as_the_likelihoods_covariance_says(model):
    """Of one parameter, many mocks: the covariance of merged y is the target's, to the sample's own error."""
    rng = np.random.default_rng(8)
    options = LikelihoodOptions(excluded={}, amplitude_low=0.02, amplitude_high=0.020001)
    unit = np.repeat([[0.55, 0.45, 0.6, 0.5]], 6000, axis=0)
    luminosity, error = mock_of_draws(unit, ERROR_FRACTION, model=model, options=options, rng=rng)
    true = model.unstretch(LEVEL + (-3.0 + 6.0 * unit[0, :3]) @ SLOPES)
    target = spectrum_target(true, ERROR_FRACTION * true, model, options=options)
    expected = target_covariance(target, amplitude=0.02)
    y = (model.stretch(luminosity)[:, target.rows] * target.weights).sum(axis=-1)
    found = np.cov(y.T)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs(found - expected).max() / size.max() < 0.08
    assert np.trace(found) == pytest.approx(np.trace(expected), rel=0.05)
    assert (error > 0).all()


def test_masked_bins_of_a_mock_stay_masked():
    fraction = np.where(np.arange(BINS) < 10, np.nan, 0.1)
    luminosity, error = mock_of_spectra(
        np.ones((3, BINS)), fraction, options=OPTIONS, rng=np.random.default_rng(0)
    )  # fmt: skip
    assert np.isnan(luminosity[:, :10]).all()
    assert np.isfinite(luminosity[:, 10:]).all()
    with pytest.raises(CatalogueError, match="above 0"):
        mock_of_spectra(np.ones((1, 2)), [0.1, 0.0], options=OPTIONS, rng=np.random.default_rng(0))
    assert np.isnan(error[:, :10]).all()


def test_stage_gives_a_summary_checks_and_the_best_fit(model, result):
    target = spectrum_target(*observation(model), model, options=OPTIONS)
    mean, spread, _ = exact_posterior(target, target_covariance(target))
    summary = result.summary.set_index("parameter")
    sd = np.sqrt(np.diag(spread))
    assert np.abs(summary["mean"] - mean).max() < 0.2 * sd.max()
    assert (summary["high68"] - summary["low68"]).to_numpy() == pytest.approx(2 * sd, rel=0.15)
    assert list(best_parameters(result, model, OPTIONS).values()) == pytest.approx(mean, abs=0.1 * sd.max())
    assert result.checks["predictive_p"] > 0.01
    assert result.agreement is None
    assert result.flags == ()


def test_narrowed_prior_is_the_posterior_plus_thirty_per_cent(result):
    space = ParameterSpace(NAMES, (-3.0,) * 3, (3.0,) * 3, ("",) * 3, (False,) * 3)
    box, compression = narrowed_space(result.posterior.values, space)
    first, last = np.percentile(result.posterior.values["first"], [1.0, 99.0])
    assert box.low[0] == pytest.approx(first - 0.3 * (last - first))
    widths = np.array(box.high) - np.array(box.low)
    assert compression == pytest.approx(-np.log10(widths / 6.0).sum())


def test_next_stage_relaxes_the_means(result):
    one = stage_one_space()
    centre = {name: 0.5 * (low + high) for name, low, high in zip(one.names, one.low, one.high, strict=True)}
    centre["T_e_ratio"] = 0.8
    summary = pd.DataFrame({"parameter": [*centre, "inadequacy"], "mean": [*centre.values(), 0.1], "sd": 0.0})
    summary.loc[summary["parameter"] == "density_exp", "sd"] = 0.9  # three of which are more than 10 % of the width
    space = next_stage_space(summary, 2)
    ends = dict(zip(space.names, zip(space.low, space.high, strict=True), strict=True))
    assert ends["T_e_ratio"] == pytest.approx((0.72, 0.88))
    assert ends["density_exp"] == pytest.approx((-9.7, -4.3))
    assert space.size == 58


def test_shrinkage_is_the_ratio_of_widths_from_stage_to_stage(result):
    later = result.summary.assign(sd=0.5 * result.summary["sd"])
    table = shrinkage_table({"stage 1": result.summary, "stage 2": later})
    assert table.loc[table["stage"] == "stage 1", "shrinkage"].isna().all()
    assert table.loc[table["stage"] == "stage 2", "shrinkage"].to_numpy() == pytest.approx(0.5)


def test_neural_estimator_recovers_the_posterior_and_ranks_evenly():
    """Of an inexact emulator, so that the posterior is some tenth of the box: few simulations teach no narrow one. Its
    error is Gaussian in y; noise of 40 % of the flux is not, and there simulations and likelihood differ by a third.
    """
    from skytrace.spectra.inference_neural import neural_ranks, sample_neural, train_neural
    from skytrace.supernovae.simulation_based_calibration import rank_test

    model, truth = linear_model(low=-1.5, high=1.5, variance=0.16), np.array([0.3, -0.4, 0.2])
    true = model.unstretch(LEVEL + truth @ SLOPES)
    target = spectrum_target(true, ERROR_FRACTION * true, model, options=OPTIONS)
    sampler = SpectrumSamplerOptions(neural_simulations=4000, neural_components=8, neural_epochs=300)
    estimator = train_neural(target, ERROR_FRACTION, model=model, options=OPTIONS, sampler=sampler)
    given = {"model": model, "options": OPTIONS}
    kept = sample_neural(target, estimator, **given, sampler=sampler)
    drawn = kept.table()
    assert kept.failures == ()
    short = sample_neural(target, estimator, **given, sampler=replace(sampler, neural_epochs=estimator.epochs))
    assert "still learning" in short.failures[0]
    mean, spread, _ = exact_posterior(target, target_covariance(target))
    sd = np.sqrt(np.diag(spread))
    assert (sd > 0.05).all()
    assert np.abs((drawn.mean(axis=0) - mean) / sd).max() < 0.5
    assert drawn.std(axis=0) / sd == pytest.approx(1.0, abs=0.3)
    ranks = neural_ranks(
        estimator, target, ERROR_FRACTION, model=model, options=OPTIONS, n_simulations=200, n_ranks=100
    )  # fmt: skip
    assert all(rank_test(rank, n_ranks=100, n_bins=10) > 1e-4 for rank in ranks.values())


def test_neural_estimator_near_a_mode_learns_along_its_axes():
    """What the pipeline runs: of the same spectrum, from the part of the prior about its mode and from the score."""
    from scipy.special import ndtri
    from scipy.stats import kstest, truncnorm

    from skytrace.spectra.inference_density import coordinate_names, prior_draws
    from skytrace.spectra.inference_mode import find_mode
    from skytrace.spectra.inference_neural import sample_neural, train_neural

    model, truth = linear_model(low=-1.5, high=1.5, variance=0.16), np.array([0.3, -0.4, 0.2])
    true = model.unstretch(LEVEL + truth @ SLOPES)
    target = spectrum_target(true, ERROR_FRACTION * true, model, options=OPTIONS)
    sampler = SpectrumSamplerOptions(neural_simulations=5000, neural_components=1, neural_epochs=60)
    given = {"model": model, "options": OPTIONS, "sampler": sampler}
    mode = find_mode(target, **given)
    estimator = train_neural(target, ERROR_FRACTION, **given, mode=mode)
    part = estimator.within
    assert part.axes @ part.axes.T == pytest.approx(np.eye(3), abs=1e-12)
    drawn = ndtri(prior_draws(4000, target, model=model, options=OPTIONS, rng=np.random.default_rng(1), within=part))
    along = drawn @ part.axes
    assert (along >= part.low - 1e-9).all()
    assert (along <= part.high + 1e-9).all()
    # the prior's own normal distribution within these limits, whatever its tail
    expected = [truncnorm(low, high) for low, high in zip(part.low, part.high, strict=True)]
    assert all(kstest(column, one.cdf).pvalue > 1e-3 for column, one in zip(along.T, expected, strict=True))
    mean, spread, _ = exact_posterior(target, target_covariance(target))
    sd = np.sqrt(np.diag(spread))
    draws = sample_neural(target, estimator, **given).table()
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 0.4
    assert draws.std(axis=0) / sd == pytest.approx(1.0, abs=0.25)
    assert len(coordinate_names(model, OPTIONS)) == estimator.summary.linear.shape[1] - 1


def test_neural_method_asks_for_the_noise(model):
    target = spectrum_target(*observation(model), model, options=OPTIONS)
    with pytest.raises(OptionError, match="error_fraction"):
        infer_stage(target, model=model, options=OPTIONS, sampler=replace(SAMPLER, methods=("neural",)))
