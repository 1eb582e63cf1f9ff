"""Every sampler on spectra whose posterior is known, and what is said of the parameters."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import ndtr

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.inference_agreement import agreement_table
from skytrace.spectra.inference_density import log_likelihood, misfits
from skytrace.spectra.inference_mode import find_mode
from skytrace.spectra.inference_nested import sample_nested
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.inference_posterior import (
    PriorWidth,
    SpectrumPosterior,
    predictive_check,
    prior_widths,
    spectrum_inference_data,
    spectrum_summary,
    wall_check,
)
from skytrace.spectra.inference_sampling import sample_emcee, sample_nuts
from skytrace.spectra.inference_stages import infer_stage
from skytrace.spectra.inference_target import spectrum_target, target_covariance
from tests.spectra.linear_spectra import NAMES, exact_posterior, linear_model, observation

OPTIONS = LikelihoodOptions(excluded={}, inadequacy=False)
SAMPLER = SpectrumSamplerOptions(
    n_prior_draws=256, n_starts=4, emcee_warmup=200, emcee_steps=600, nuts_warmup=200, nuts_draws=500, live=400,
    dlogz=0.05, r_hat_max=1.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return linear_model()


@pytest.fixture(scope="module")
def target(model):
    return spectrum_target(*observation(model), model, options=OPTIONS)


@pytest.fixture(scope="module")
def exact(target):
    return exact_posterior(target, target_covariance(target))


@pytest.fixture(scope="module")
def posteriors(model, target):
    mode = find_mode(target, model=model, options=OPTIONS, sampler=SAMPLER)
    keywords = {"model": model, "options": OPTIONS, "sampler": SAMPLER}
    return {
        "nuts": sample_nuts(target, mode=mode, **keywords),
        "emcee": sample_emcee(target, mode=mode, **keywords),
        "nested": sample_nested(target, **keywords),
    }


def _made_up(unit, names=NAMES, *, low=-3.0, high=3.0, method="made up"):
    unit = np.clip(unit, 1e-9, 1 - 1e-9).reshape(1, -1, unit.shape[-1])
    values = {name: low + (high - low) * unit[..., i] for i, name in enumerate(names)}
    return SpectrumPosterior(method, tuple(names), unit, values, False)


@pytest.mark.parametrize("method", ["nuts", "emcee", "nested"])
def test_sampler_recovers_the_exact_posterior(method, posteriors, exact):
    mean, spread, _ = exact
    drawn = posteriors[method].table()
    sd = np.sqrt(np.diag(spread))
    assert np.abs(drawn.mean(axis=0) - mean).max() < 0.15 * sd.min()
    assert np.cov(drawn.T) / np.outer(sd, sd) == pytest.approx(spread / np.outer(sd, sd), abs=0.12)


def test_nested_sampling_finds_the_closed_evidence(posteriors, exact):
    """The flat prior of the box has the density 1 / 6^3."""
    found = posteriors["nested"].diagnostics
    assert found["log_evidence"] == pytest.approx(exact[2] - 3 * np.log(6.0), abs=3 * found["log_evidence_err"])
    assert found["log_evidence_err"] < 0.5


def test_mode_and_curvature_are_those_of_the_gaussian(model, target, exact):
    mode = find_mode(target, model=model, options=OPTIONS, sampler=SAMPLER)
    mean, spread, _ = exact
    at = -3.0 + 6.0 * ndtr(mode.z)
    slope = 6.0 * np.exp(-0.5 * mode.z**2) / np.sqrt(2 * np.pi)
    root = slope[:, None] * mode.root
    assert at == pytest.approx(mean, abs=0.05 * np.sqrt(spread.max()))
    assert root @ root.T == pytest.approx(spread, abs=0.02 * spread.max())
    assert mode.starts_at_mode == 1.0


def test_posterior_predictive_p_tells_a_fit_from_a_misfit(model, posteriors, target):
    good = predictive_check(posteriors["nuts"], target, model=model, options=OPTIONS)
    assert 0.01 < good["predictive_p"] < 0.99
    assert good["misfit_per_bin"] == pytest.approx(1.0, abs=0.6)
    wrong = target._replace(observed=target.observed + 0.5 * np.sign(np.sin(np.arange(len(target.observed)))))
    bad = predictive_check(posteriors["nuts"], wrong, model=model, options=OPTIONS)
    assert bad["predictive_p"] < 1e-6


def test_a_length_counts_in_the_misfit_as_it_does_in_the_likelihood(model):
    """Of two lengths of the inadequacy, the misfit is that of each alone, weighted by its likelihood."""
    draws = np.random.default_rng(0).uniform(0.4, 0.6, size=(4, 25, 4))
    lengths, alone = (3000.0, 40_000.0), []
    for chosen in ((lengths[0],), (lengths[1],), lengths):
        options = replace(OPTIONS, inadequacy=True, amplitude_low=0.05, amplitude_high=0.5, lengths_km_s=chosen)
        target = spectrum_target(*observation(model), model, options=options)
        posterior = SpectrumPosterior("nuts", (*NAMES, "inadequacy"), draws, {}, chains=True)
        with jax.enable_x64(True):
            likelihood = np.asarray(log_likelihood(draws.reshape(-1, 4), target, model=model, options=options))
            misfit = np.asarray(misfits(draws.reshape(-1, 4), target, model=model, options=options)[0])
        alone.append((likelihood, misfit, predictive_check(posterior, target, model=model, options=options)))
    (first, short, _), (second, long, _), (_, _, both) = alone
    share = 1.0 / (1.0 + np.exp(second - first))
    expected = share * short[:, 0] + (1.0 - share) * long[:, 0]
    assert np.abs(short - long).mean() > 1.0
    assert both["misfit_per_bin"] * len(target.observed) == pytest.approx(expected.mean(), rel=1e-6)


def test_inference_data_holds_draws_and_says_what_failed(posteriors, target):
    data = spectrum_inference_data(posteriors["nuts"], target, name="mock", stage=2)
    assert set(data.posterior.data_vars) == set(NAMES)
    assert data.posterior.attrs["spectrum"] == "mock"
    assert data.posterior.attrs["diagnostic_divergences"] == 0.0
    assert data.observed_data["stretched"].to_numpy() == pytest.approx(target.observed)


def test_truth_beyond_the_box_is_flagged_at_that_wall(model):
    """A planted wall: the truth 3.05 of ``third`` lies beyond the box, which ends at 3."""
    truth = np.array([0.5, -0.4, 3.05])
    target = spectrum_target(*observation(model, truth=truth), model, options=OPTIONS)
    priors = prior_widths(target, model=model, options=OPTIONS)
    at_wall = sample_nuts(target, model=model, options=OPTIONS, sampler=SAMPLER)
    words = wall_check(at_wall, priors)
    assert set(words) == {"third"}
    assert "upper bound 3:" in words["third"]
    assert "lower limit" in words["third"]
    summary = spectrum_summary(at_wall, priors).set_index("parameter")
    assert summary.loc["third", "flag"] == words["third"]
    assert summary.loc["first", "flag"] == ""
    assert summary.loc["third", "high95"] < 3.0


def test_a_parameter_that_follows_its_prior_is_called_open():
    rng = np.random.default_rng(0)
    unit = np.column_stack([rng.uniform(size=4000), 0.5 + 0.02 * rng.normal(size=4000)])
    posterior = _made_up(unit, ("open", "known"))
    priors = dict.fromkeys(("open", "known"), PriorWidth(-3.0, 3.0, False, 6.0 / np.sqrt(12.0), 1.0 / np.sqrt(12.0)))
    words = wall_check(posterior, priors)
    assert list(words) == ["open"]
    assert "both bounds" in words["open"]
    summary = spectrum_summary(posterior, priors).set_index("parameter")
    assert list(summary["constrained"]) == [False, True]
    assert summary.loc["known", "width_of_prior"] == pytest.approx(0.02 * np.sqrt(12.0), rel=0.05)
    assert summary.loc["open", "width_of_prior"] == pytest.approx(1.0, abs=0.03)


def test_a_posterior_about_as_wide_as_its_prior_is_no_limit():
    """Both lean on the lower bound; only the one that is much narrower than the prior is limited by the spectrum."""
    share = np.random.default_rng(3).beta(1.0, 1.6, size=4000)
    unit = np.column_stack([share, 0.2 * share])
    posterior = _made_up(unit, ("tilted", "limited"))
    priors = dict.fromkeys(posterior.names, PriorWidth(-3.0, 3.0, False, 6.0 / np.sqrt(12.0), 1.0 / np.sqrt(12.0)))
    words = wall_check(posterior, priors)
    assert "leans on its lower bound -3, but is 8" in words["tilted"] and "sets no limit" in words["tilted"]
    assert "an upper limit" in words["limited"]


def test_a_parameter_with_a_logarithmic_prior_is_judged_in_its_logarithm():
    """Draws of the prior itself, most of them near zero in natural units, are open and no upper limit; half of the
    logarithmic range is half of the prior's width.
    """
    share = (np.arange(4000) + 0.5) / 4000
    low, high = 1e-3, 0.85

    def at(shares):
        return np.exp(np.log(low) + shares * np.log(high / low)).reshape(4, -1)

    values = {"open": at(share), "half": at(0.5 + 0.5 * share), "known": at(0.5 + 0.02 * (share - 0.5))}
    posterior = SpectrumPosterior("nuts", tuple(values), np.zeros((4, 1000, 3)), values, chains=True)
    prior = PriorWidth(low, high, True, float(values["open"].std()), 1.0 / np.sqrt(12.0))
    words = wall_check(posterior, dict.fromkeys(values, prior))
    assert "both bounds" in words["open"]
    assert "sigma (in its logarithm) from its upper bound 0.85" in words["half"]
    assert "known" not in words
    summary = spectrum_summary(posterior, dict.fromkeys(values, prior)).set_index("parameter")
    assert summary["width_of_prior"].to_numpy() == pytest.approx([1.0, 0.5, 0.02], rel=0.01)


def test_a_box_cut_from_the_posterior_is_not_what_a_width_is_held_against(model):
    """A second round in a narrower box asks the same data: its widths are shares of the first round's prior."""
    target = spectrum_target(*observation(model), model, options=OPTIONS)
    wide = replace(model, low=model.low * 4.0, high=model.high * 4.0)
    given = {"model": model, "options": OPTIONS, "sampler": replace(SAMPLER, methods=("nuts",))}
    own, held = (infer_stage(target, **given, prior=prior).summary for prior in (None, wide))
    assert held["width_of_prior"].to_numpy() == pytest.approx(own["width_of_prior"].to_numpy() / 4.0, rel=0.05)
    assert list(held["prior_high"]) == [12.0, 12.0, 12.0]


def test_agreement_flags_what_was_moved_or_widened(posteriors):
    table = agreement_table(list(posteriors.values()))
    assert table["agrees"].all()
    assert list(table["method"].unique()) == ["emcee", "nested"]
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(20_000, 3))
    first = _made_up(0.5 + 0.01 * normal, method="first")
    other = _made_up(0.5 + 0.01 * normal * [1.0, 1.0, 1.3] + [0.0, 0.003, 0.0], method="other")
    table = agreement_table([first, other]).set_index("parameter")
    assert list(table["agrees"]) == [True, False, False]
    assert table.loc["second", "mean_offset_sigma"] == pytest.approx(0.3, abs=0.01)
    assert table.loc["third", "width_ratio"] == pytest.approx(1.3, abs=0.01)
    assert "means differ by +0.30 sigma" in table.loc["second", "words"]
    with pytest.raises(CatalogueError, match="two are needed"):
        agreement_table([first])


def test_unknown_sampler_is_refused():
    with pytest.raises(OptionError, match="methods = 'gibbs'"):
        SpectrumSamplerOptions(methods=("gibbs",))
