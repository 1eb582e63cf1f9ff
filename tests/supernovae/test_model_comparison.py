"""Which law predicts better: LOO against refits, folds by a hash, and the design's verdict on simulated LambdaCDM."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus
from skytrace.supernovae.inference_data import inference_data
from skytrace.supernovae.model_comparison import (
    compare_models,
    fold_figures,
    fold_of_snid,
    held_out,
    pointwise_elpd,
    score_fold,
)
from skytrace.supernovae.population import population_data
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions
from skytrace.supernovae.sampling import sample_fast

FAST = SamplerOptions(method="fast", n_draws=3000, ess_min=500.0)
N = 1500
ANCHORED = PopulationOptions(model="qfd_anchored")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(11)
    z, error = rng.uniform(0.03, 1.2, N), rng.uniform(0.05, 0.15, N)
    mu = flat_lcdm_distance_modulus(z, omega_m=0.315)
    alpha = -ALPHA_PER_MAG * mu + np.hypot(0.1, error) * rng.standard_t(6, N)
    return pd.DataFrame({"snid": [f"SN{i}" for i in range(N)], "z_hd": z, "alpha": alpha, "alpha_err": error})


def fitted(table, model):
    options = PopulationOptions(model=model)
    data, basis = population_data(table, options=options)
    posterior = sample_fast(data, options=options, sampler=FAST)
    return inference_data(posterior, data, snid=table["snid"], basis=basis, log_likelihood_draws_per_chain=250)


@pytest.fixture(scope="module")
def posteriors(table):
    return {model: fitted(table, model) for model in ("flat_lcdm", "qfd_anchored", "qfd_no_distance")}


def test_the_anchored_terms_are_indistinguishable_and_the_seeds_basis_loses(posteriors):
    rows = compare_models(posteriors).set_index("model")
    between = abs(rows.loc["flat_lcdm", "elpd_loo"] - rows.loc["qfd_anchored", "elpd_loo"])
    assert between < 5.0
    assert rows.loc["qfd_no_distance", "loo_difference"] > 5.0 * rows.loc["qfd_no_distance", "loo_difference_se"] > 0.0
    assert rows["n_k_flagged"].max() == 0
    assert rows["loo_difference"].min() == 0.0
    assert rows["elpd_waic"].to_numpy() == pytest.approx(rows["elpd_loo"].to_numpy(), abs=0.5)


def test_differences_are_supernova_by_supernova(posteriors):
    each = {name: pointwise_elpd(posterior)["elpd_loo"].to_numpy() for name, posterior in posteriors.items()}
    rows = compare_models(posteriors).set_index("model")
    difference = each[rows.index[0]] - each["qfd_no_distance"]
    assert rows.loc["qfd_no_distance", "loo_difference"] == pytest.approx(difference.sum())
    error = np.sqrt(N) * difference.std(ddof=1)
    assert rows.loc["qfd_no_distance", "loo_difference_se"] == pytest.approx(error)
    assert error < rows.loc["qfd_no_distance", "elpd_loo_se"] * 1.5


def test_loo_is_what_leaving_one_out_gives(table, posteriors):
    elpd = pointwise_elpd(posteriors["qfd_anchored"])
    worst = elpd["elpd_loo"].argmin()
    for left_out in (worst, 7):
        fold = (np.arange(N) == left_out).astype(int)
        refit = score_fold(table, fold, 1, options=ANCHORED, sampler=FAST)
        assert refit["elpd"].item() == pytest.approx(elpd["elpd_loo"][left_out], abs=0.05)


def test_folds_are_shards_that_never_see_their_own(table):
    fold = fold_of_snid(table["snid"], n_folds=3, salt="x")
    parts = [score_fold(table, fold, k, options=ANCHORED, sampler=FAST) for k in range(3)]
    scores = pd.concat(parts)
    assert sorted(scores["snid"]) == sorted(table["snid"])
    figures = fold_figures(scores)
    assert figures["n_folds"] == 3
    assert figures["rms_all_mag"] == pytest.approx(np.sqrt(np.mean(scores["residual_mag"] ** 2)), rel=0.02)
    spoiled = table.assign(alpha=table["alpha"] + np.where(fold == 1, 3.0, 0.0))
    again = score_fold(spoiled, fold, 1, options=ANCHORED, sampler=FAST)
    assert np.array_equal(again["mu_predicted_mag"], parts[1]["mu_predicted_mag"])
    assert again["elpd"].sum() < parts[1]["elpd"].sum() - 100.0


def test_a_fold_is_a_hash_of_the_name_alone():
    names = ["DES123", "1248677", "SN2011fe"]
    expected = [int(hashlib.sha256(f"a:{name.lower()}".encode()).hexdigest(), 16) % 5 for name in names]
    assert fold_of_snid(names, n_folds=5, salt="a").tolist() == expected
    assert fold_of_snid(["sn2011FE"], n_folds=5, salt="a")[0] == expected[2]
    many = fold_of_snid([str(i) for i in range(20000)], n_folds=5, salt="a")
    assert np.bincount(many) == pytest.approx(4000, abs=250)
    assert held_out([str(i) for i in range(20000)]).mean() == pytest.approx(0.1, abs=0.01)


def test_other_supernovae_cannot_be_compared(table, posteriors):
    with pytest.raises(CatalogueError, match="other supernovae"):
        compare_models({"all": posteriors["qfd_anchored"], "half": fitted(table.iloc[::-1], "qfd_anchored")})


def test_an_empty_fold_is_refused(table):
    with pytest.raises(CatalogueError, match="fold 9 has 0"):
        score_fold(table, np.zeros(N, dtype=int), 9, options=ANCHORED, sampler=FAST)
