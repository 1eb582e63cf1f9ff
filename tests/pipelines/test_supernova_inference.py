"""Glue of stage 2: who is fitted and who is not, which table, and what happens where the fast mode is refused."""

import os
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import OptionError
from skytrace.parameters import build_options
from skytrace.pipelines.supernova import stage_two
from skytrace.pipelines.supernova.options import (
    POSTERIORS,
    FoldOptions,
    InferenceOptions,
    PosteriorMethods,
    check_choices,
)
from skytrace.pipelines.supernova.pipeline import create_pipeline
from skytrace.pipelines.supernova.shards import FitShardOptions
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.population_options import ComparisonOptions, PopulationOptions, SamplerOptions
from skytrace.surveys.supernovae.mock import MockSupernovae
from skytrace.surveys.supernovae.options import MockSupernovaOptions
from tests.pipelines import fold_shard_work

SAMPLER = SamplerOptions(n_draws=500, ess_min=1.0, log_likelihood_draws=20)


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    survey = MockSupernovae(MockSupernovaOptions(n_supernovae=200))
    return survey.hubble_tables()["simulated"].assign(release="simulated")


@pytest.fixture(scope="module")
def hubble(published) -> pd.DataFrame:
    return published.drop(columns="release").assign(mu_mag=published["mu_mag"] + 0.5, flags="").iloc[:150]


@pytest.fixture
def table(hubble, published) -> pd.DataFrame:
    return stage_two.split_inference_table(hubble, published, InferenceOptions(), ComparisonOptions(n_folds=3))


def test_the_split_is_that_of_the_names_alone(hubble, published, table):
    assert 0.03 < table["held_out"].mean() < 0.2
    assert set(table["fold"]) == {0, 1, 2}
    turned = stage_two.split_inference_table(
        hubble.iloc[::-1].assign(mu_mag=0.0), published, InferenceOptions(), ComparisonOptions(n_folds=3)
    )
    columns = ["fold", "held_out"]
    pd.testing.assert_frame_equal(
        turned.set_index("snid")[columns].sort_index(), table.set_index("snid")[columns].sort_index()
    )


def test_the_table_that_is_inferred_from_is_the_one_asked_for(hubble, published):
    options = InferenceOptions(table="simulated", z_min=0.2, z_max=0.6)
    chosen = stage_two.split_inference_table(hubble, published, options, ComparisonOptions())
    assert chosen["z_hd"].between(0.2, 0.6).all()
    assert len(chosen) == published["z_hd"].between(0.2, 0.6).sum()
    with pytest.raises(OptionError, match=r"inference\.table = 'other' is not one of fits, simulated"):
        stage_two.split_inference_table(hubble, published, InferenceOptions(table="other"), ComparisonOptions())


def test_every_law_is_fitted_to_every_table(hubble, published):
    from skytrace.supernovae.cosmology import fit_cosmology

    report, residuals = stage_two.fit_laws(hubble, published, InferenceOptions(), PopulationOptions())
    assert set(report) == {"fits", "simulated"}
    assert set(report["fits"]) == set(InferenceOptions().models)
    alone = fit_cosmology(published, "flat_lcdm")
    assert report["simulated"]["flat_lcdm"]["omega_m"] == alone.parameters["omega_m"]
    mine = residuals[residuals["table"] == "simulated"]
    np.testing.assert_array_equal(mine["residual_flat_lcdm_mag"], alone.residuals_mag)
    assert len(residuals) == len(hubble) + len(published)


@pytest.fixture
def scored(monkeypatch):
    """What each scoring fit was given, instead of the fit."""
    from skytrace.supernovae import model_comparison

    calls = []

    def score_fold(table, fold, which, *, options, sampler):
        fold = np.asarray(fold)
        calls.append((options.model, which, set(table["snid"][fold != which]), set(table["snid"][fold == which])))
        out = table[fold == which]
        columns = {"elpd": -1.0, "mu_predicted_mag": out["mu_mag"], "residual_mag": 0.01 * np.arange(len(out))}
        return out[["snid", "mu_mag", "mu_err_mag", "prob_ia"]].assign(fold=which, **columns).reset_index(drop=True)

    monkeypatch.setattr(model_comparison, "score_fold", score_fold)
    return calls


def test_nobody_is_predicted_by_a_fit_that_has_seen_it(table, scored, tmp_path):
    arguments = (
        table, PopulationOptions(), SAMPLER, FoldOptions(models=("flat_lcdm", "log_distance")),
        FitShardOptions(str(tmp_path)), ClusterOptions(workers=1),
    )  # fmt: skip
    scores, report = stage_two.predict_unseen(*arguments)
    held = set(table.loc[table["held_out"], "snid"])
    assert len(scored) == 2 * 4
    for _, which, fitted, predicted in scored:
        assert not fitted & predicted
        assert not fitted & held
        assert (predicted == held) == (which == -1)
    assert scores.groupby("model")["snid"].apply(set).map(lambda names: names == set(table["snid"])).all()
    assert scores.groupby("model")["snid"].nunique().tolist() == [len(table)] * 2
    assert report["log_distance"]["folds"]["n_folds"] == 3
    assert report["flat_lcdm"]["held_out"]["elpd"] == -len(held)
    again, _ = stage_two.predict_unseen(*arguments)
    pd.testing.assert_frame_equal(again, scores)
    assert len(scored) == 2 * 4  # kept shards


def _files(folder):
    return {path.name: path for path in folder.glob("folds-*/*")}


def test_a_kill_inside_a_fold_loses_that_fold_alone_and_the_rest_comes_out_to_the_same_bytes(
    table, tmp_path, monkeypatch, repository
):
    from skytrace.supernovae import model_comparison

    table = table[table["fold"] < 2].reset_index(drop=True)
    whole = fold_shard_work.cross_validate(table, tmp_path / "whole")
    reference = {name: path.read_bytes() for name, path in _files(tmp_path / "whole").items()}
    law = fold_shard_work.LAW
    assert set(reference) == {"hubble.parquet", f"{law}--1.parquet", f"{law}-0.parquet", f"{law}-1.parquet"}
    table.to_parquet(tmp_path / "table.parquet")
    environment = {**os.environ, "PYTHONPATH": f"{repository / 'src'}:{repository}"}
    killed = subprocess.run(
        [sys.executable, fold_shard_work.__file__, tmp_path / "table.parquet", tmp_path / "killed"],
        env=environment, check=False,
    )  # fmt: skip
    assert killed.returncode == -9
    before = {name: path.stat().st_mtime_ns for name, path in _files(tmp_path / "killed").items() if name[0] != "."}
    assert set(before) == {"hubble.parquet", f"{law}--1.parquet"}  # what was done, and not the half of the next
    scored, score_fold = [], model_comparison.score_fold

    def counted(table, fold, which, **options):
        scored.append(which)
        return score_fold(table, fold, which, **options)

    monkeypatch.setattr(model_comparison, "score_fold", counted)
    again = fold_shard_work.cross_validate(table, tmp_path / "killed")
    pd.testing.assert_frame_equal(again, whole, check_exact=True)
    assert scored == [0, 1]
    found = _files(tmp_path / "killed")
    assert {name: path.read_bytes() for name, path in found.items()} == reference
    assert {name: found[name].stat().st_mtime_ns for name in before} == before


def test_a_refused_fast_mode_is_said_and_nuts_draws_instead(table, monkeypatch):
    from skytrace.supernovae import sampling

    asked = []

    def sample_population(data, *, options, sampler):
        asked.append((sampler.method, len(data.alpha)))
        if sampler.method == "fast":
            raise sampling.ImportanceSamplingRefused("k-hat is 0.9")
        return sampling.sample_fast(data, options=options, sampler=sampler)

    monkeypatch.setattr(sampling, "sample_population", sample_population)
    methods = PosteriorMethods(flat_lcdm="fast")
    drawn = stage_two.sample_posterior("flat_lcdm", table, methods, PopulationOptions(), SAMPLER)
    n = int((~table["held_out"]).sum())
    assert asked == [("fast", n), ("nuts", n)]
    assert drawn.posterior.attrs["fast_refused"] == "k-hat is 0.9"
    fitted = table.loc[~table["held_out"], "snid"].tolist()
    assert drawn.log_likelihood["snid"].to_numpy().tolist() == fitted
    summary, report = stage_two.summarise_posteriors(table, one=drawn)
    assert report["posteriors"]["one"]["fast_refused"] == "k-hat is 0.9"
    assert report["supernovae"] == n and report["held_out"] == len(table) - n
    omega_m = summary.set_index("parameter").loc["omega_m"]
    assert omega_m["low68"] < omega_m["median"] < omega_m["high68"]


def test_the_posteriors_of_the_graph_are_those_of_the_parameters(repository):
    import yaml

    named = yaml.safe_load((repository / "conf/base/parameters_supernova.yml").read_text())["supernova"]["posteriors"]
    assert tuple(named) == POSTERIORS
    assert PosteriorMethods(**named) == PosteriorMethods()
    made = {node.name: node.outputs for node in create_pipeline().nodes if ".sample_" in node.name}
    assert made == {f"supernova.sample_{name}": [f"supernova.posterior_{name}"] for name in POSTERIORS}


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_posterior_is_of_the_law_and_the_noise_that_its_name_says_and_drawn_by_its_own_method(
    table, monkeypatch, name
):
    from skytrace.supernovae import inference_data, sampling

    asked = []

    def sample_population(data, *, options, sampler):
        asked.append((options.model, options.likelihood, sampler.method))
        return options

    def kept(posterior, data, **_):
        return SimpleNamespace(posterior=SimpleNamespace(attrs={"model": posterior.model}))

    monkeypatch.setattr(sampling, "sample_population", sample_population)
    monkeypatch.setattr(inference_data, "inference_data", kept)
    (node,) = (node for node in create_pipeline().nodes if node.name == f"supernova.sample_{name}")
    others = dict.fromkeys(POSTERIORS, "nuts")
    population = PopulationOptions(model="qfd_no_distance", likelihood="mixture")  # neither is what is drawn
    assert get_type_hints(node.func)["methods"] is PosteriorMethods  # from which Kedro builds it
    draw = pickle.loads(pickle.dumps(node.func))  # as a runner with several processes does
    draw(table, PosteriorMethods(**{**others, name: "fast"}), population, SAMPLER)
    law, noise = {
        "flat_lcdm_mixture": ("flat_lcdm", "mixture"),
        "qfd_anchored_mixture": ("qfd_anchored", "mixture"),
    }.get(name, (name, "student_t"))
    assert asked == [(law, noise, "fast")]


@pytest.mark.parametrize(
    ("posteriors", "message"),
    [
        ({"flat_lcdmm": "fast"}, "supernova.posteriors.flat_lcdmm is not a parameter; did you mean flat_lcdm"),
        ({"flat_lcdm": "emcee"}, "flat_lcdm = 'emcee' is not one of nuts, fast"),
        ({"flat_lcdm": {"model": "log_distance"}}, "flat_lcdm = {'model': 'log_distance'} is not one of nuts, fast"),
    ],
)
def test_a_posterior_that_nobody_draws_or_another_law_for_one_is_refused(posteriors, message):
    with pytest.raises(OptionError) as caught:
        build_options("supernova.posteriors", posteriors, PosteriorMethods)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("folds", "law"),
    [(("flat_lcdm", "qfd_anchored"), "log_distance"), (("flat_lcdm", "qfd_no_distance"), "qfd_no_distance")],
)
def test_a_gate_of_a_law_that_is_not_predicted_or_has_no_posterior_is_refused_with_those_that_are(folds, law):
    options = FoldOptions(models=folds)
    check_choices(True, options, OutlierOptions(law="flat_lcdm"), PopulationOptions())
    with pytest.raises(OptionError, match=rf"gate\.law = '{law}' is not one of flat_lcdm.*folds\.models"):
        check_choices(True, options, OutlierOptions(law=law), PopulationOptions())


@pytest.mark.parametrize("dust", ["no", 1, None])
def test_dust_is_taken_off_or_not_and_nothing_else(dust):
    with pytest.raises(OptionError, match=rf"milky_way_dust = {dust!r} is neither true nor false"):
        check_choices(dust, FoldOptions(), OutlierOptions(), PopulationOptions())


@pytest.mark.parametrize("chosen", [{"model": "flat_lcdm"}, {"likelihood": "mixture"}])
def test_a_law_of_the_population_that_no_posterior_follows_is_refused_and_not_ignored(chosen):
    [(key, value)] = chosen.items()
    with pytest.raises(OptionError, match=rf"population\.{key} = '{value}' has no effect: supernova\.posteriors"):
        check_choices(True, FoldOptions(), OutlierOptions(), PopulationOptions(**chosen))


def test_choices_are_checked_before_anything_is_fitted():
    order = [node.name.removeprefix("supernova.") for node in create_pipeline().nodes]
    assert order[:2] == ["check_choices", "read_published"]


def test_laws_are_compared_under_one_noise_model(monkeypatch):
    from skytrace.supernovae import model_comparison

    def drawn(likelihood: str, elpd: float) -> SimpleNamespace:
        return SimpleNamespace(posterior=SimpleNamespace(attrs={"likelihood": likelihood}), elpd=elpd)

    def compare_models(posteriors, *, options, loo):
        assert set(posteriors) <= set(loo)
        rows = sorted(((-data.elpd, name) for name, data in posteriors.items()))
        columns = {
            "loo_difference": [low - rows[0][0] for low, _ in rows],
            "loo_difference_se": [0.0, 2.0],
        }
        return pd.DataFrame({"model": [name for _, name in rows], **columns})

    monkeypatch.setattr(model_comparison, "compare_models", compare_models)
    monkeypatch.setattr(model_comparison, "pointwise_elpd", lambda data, **_: pd.DataFrame({"snid": ["a"]}))
    monkeypatch.setattr(model_comparison, "leave_one_out", lambda data: None)
    posteriors = {
        "one": drawn("student_t", -10.0), "two": drawn("student_t", -7.0), "three": drawn("mixture", 90.0),
        "four": drawn("mixture", 80.0),
    }  # fmt: skip
    table, pointwise, report = stage_two.compare_posteriors(ComparisonOptions(), **posteriors)
    assert report["best"] == {"student_t": "two", "mixture": "three"}
    assert table.set_index("posterior")["loo_difference"].to_dict() == {"two": 0, "one": 3, "three": 0, "four": 10}
    assert table.set_index("posterior")["not_told_apart_at_two_standard_errors"].to_dict() == {
        "two": True, "one": True, "three": True, "four": False,
    }  # fmt: skip
    assert pointwise["posterior"].tolist() == list(posteriors)


@pytest.mark.parametrize(
    "wrong", [{"seeds": (0, 0)}, {"seeds": 3}, {"seeds": ()}, {"models": ("flat_lcdm", "flat_lcdm")}]
)
def test_folds_that_say_nothing_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        FoldOptions(**wrong)
