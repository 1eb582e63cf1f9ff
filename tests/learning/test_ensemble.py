import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from scipy.special import expit

from skytrace.datasets.detector import DetectorDataset, EnsembleDataset
from skytrace.errors import CatalogueError, OptionError
from skytrace.learning import TrainingOptions, score_stamps
from skytrace.learning.ensemble import Ensemble, domain_mask, train_ensemble
from skytrace.learning.metrics import roc_auc
from skytrace.learning.options import EnsembleOptions, MemberOptions
from skytrace.learning.stacking import cross_fitted_scores, fit_stacking, fold_numbers, stacked_scores
from tests.learning.test_training import TINY, same_bytes

SHARP = MemberOptions("sharp", column="psfsize_r", high=1.3)
BLURRED = MemberOptions("blurred", column="psfsize_r", low=1.3)
TWO = EnsembleOptions((SHARP, BLURRED), folds=3)
SHORT = dataclasses.replace(TINY, epochs=1, images_per_epoch=128)


def with_seeing(sample, seed):
    n = len(sample.labels)
    metadata = pd.DataFrame({"psfsize_r": np.random.default_rng(seed).normal(1.3, 0.2, n), "type_bin": "DEV"})
    return dataclasses.replace(sample, metadata=metadata)


@pytest.fixture(scope="module")
def samples(training, validation):
    return with_seeing(training, 1), with_seeing(validation, 2)


@pytest.fixture(scope="module")
def trained(samples):
    return train_ensemble(*samples, options=SHORT, ensemble=TWO)


def test_domains_are_half_open_ranges_or_lists_and_miss_what_is_missing():
    table = pd.DataFrame({"psfsize_r": [1.0, 1.3, 1.6, np.nan], "type_bin": ["DEV", "SER", "REX", "SER"]})
    assert domain_mask(table, SHARP).tolist() == [True, False, False, False]
    assert domain_mask(table, BLURRED).tolist() == [False, True, True, False]
    listed = MemberOptions("kinds", column="type_bin", values=("SER", "REX"))
    assert domain_mask(table, listed).tolist() == [False, True, True, True]
    assert domain_mask(table, MemberOptions("all")).all()
    with pytest.raises(CatalogueError, match="psfdepth_r"):
        domain_mask(table, MemberOptions("deep", column="psfdepth_r", low=1.0))


def test_members_share_the_image_budget_of_one_network(trained):
    ensemble, history, _ = trained
    budget = ensemble.card["image_budget"]
    assert budget["images_per_epoch_single_network"] == 128
    assert budget["images_per_epoch_of_member"] == {"sharp": 64, "blurred": 64}
    assert history.groupby("member").size().to_dict() == {"sharp": 1, "blurred": 1}
    seeds = {name: member.card["options"]["seed"] for name, member in ensemble.members.items()}
    assert len(set(seeds.values())) == 2
    assert {m.card["options"]["domain_share"] for m in ensemble.members.values()} == {0.7}


def test_the_mean_of_the_members_is_the_mean(trained, samples):
    ensemble, _, table = trained
    _, validation = samples
    members = ensemble.member_scores(validation.stamps, metadata=validation.metadata)
    np.testing.assert_array_equal(members["sharp"], score_stamps(ensemble.members["sharp"], validation.stamps))
    averaged = Ensemble(ensemble.members, {"options": dataclasses.asdict(dataclasses.replace(TWO, combination="mean"))})
    np.testing.assert_array_equal(averaged.score(validation.stamps), table["mean"])
    np.testing.assert_allclose(table["mean"], members.mean(axis=1))
    assert averaged.metadata_columns == ()


def test_stacked_scores_are_those_of_the_formula(trained, samples):
    """logistic of intercept + sum of coefficient x (feature - mean) / sd over logits, and logits within domains."""
    ensemble, _, _ = trained
    _, validation = samples
    members = ensemble.member_scores(validation.stamps, metadata=validation.metadata)
    logits = np.log(members / (1 - members)).to_numpy()
    inside = np.column_stack([validation.metadata["psfsize_r"] < 1.3, validation.metadata["psfsize_r"] >= 1.3])
    features = np.hstack([logits, logits * inside])
    stacking = ensemble.card["stacking"]
    z = (features - stacking["mean"]) / stacking["sd"] @ stacking["coefficients"] + stacking["intercept"]
    np.testing.assert_allclose(ensemble.score(validation.stamps, metadata=validation.metadata), expit(z), rtol=1e-9)
    assert ensemble.metadata_columns == ("psfsize_r",)
    with pytest.raises(CatalogueError, match="needs metadata"):
        ensemble.score(validation.stamps)


def members_good_at_home(n: int, seed: int):
    """Scores of two members, each informative in its own domain alone."""
    rng = np.random.default_rng(seed)
    labels, first = rng.integers(0, 2, n), rng.random(n) < 0.5
    domains = pd.DataFrame({"a": first, "b": ~first})
    scores = pd.DataFrame(
        {name: expit(3.0 * (2 * labels - 1) * domains[name] + rng.normal(0, 1.5, n)) for name in domains}
    )
    return scores, domains, labels


def test_stacking_trusts_each_member_at_home():
    options = dataclasses.replace(TWO, penalty=1.0)
    scores, domains, labels = members_good_at_home(3000, 0)
    unseen, unseen_domains, truth = members_good_at_home(3000, 1)
    stacked = stacked_scores(fit_stacking(scores, domains, labels, options=options), unseen, unseen_domains)
    best = roc_auc(np.where(unseen_domains["a"], unseen["a"], unseen["b"]), truth)
    assert roc_auc(stacked, truth) > best - 0.005
    assert roc_auc(stacked, truth) > roc_auc(unseen.mean(axis=1), truth) + 0.01


def test_cross_fitted_scores_of_noise_show_no_skill_where_the_fitted_ones_do():
    rng = np.random.default_rng(2)
    n, m = 120, 20
    labels = rng.permutation(np.arange(n) % 2)
    scores = pd.DataFrame({f"m{i}": rng.random(n) for i in range(m)})
    domains = pd.DataFrame({name: rng.random(n) < 0.5 for name in scores})
    members = tuple(MemberOptions(name, column="ebv", low=0.0) for name in scores)
    options = EnsembleOptions(members, penalty=10.0, folds=4)
    fitted = stacked_scores(fit_stacking(scores, domains, labels, options=options), scores, domains)
    crossed = cross_fitted_scores(scores, domains, labels, options=options)
    assert roc_auc(fitted, labels) > 0.75
    assert abs(roc_auc(crossed, labels) - 0.5) < 4 * np.sqrt((n + 1) / (12 * (n / 2) ** 2))


@pytest.mark.parametrize("column", ["label", "tier", "pool", "theta_e_arcsec", "healpix_128"])
def test_a_domain_cannot_be_made_of_what_says_that_a_galaxy_is_a_lens(column):
    with pytest.raises(OptionError, match=f"column of member 'leak' = '{column}'"):
        MemberOptions("leak", column=column, values=("1",))


def test_a_domain_that_holds_most_lenses_gives_nothing_away_by_itself():
    """Members of pure noise; 85 % of the lenses and half of the galaxies lie in the domain."""
    rng = np.random.default_rng(4)
    n = 4000
    labels = rng.integers(0, 2, n)
    inside = rng.random(n) < np.where(labels == 1, 0.85, 0.5)
    scores = pd.DataFrame({"a": rng.random(n), "b": rng.random(n)})
    domains = pd.DataFrame({"a": inside, "b": ~inside})
    members = tuple(MemberOptions(name, column="type_bin", values=(name,)) for name in scores)
    options = EnsembleOptions(members, folds=4)
    crossed = cross_fitted_scores(scores, domains, labels, options=options)
    assert abs(roc_auc(crossed, labels) - 0.5) < 4 * np.sqrt((n + 1) / (12 * (n / 2) ** 2))


def test_folds_hold_equal_numbers_of_both_classes():
    labels = (np.arange(103) % 4 == 0).astype(int)
    fold = fold_numbers(labels, folds=5, seed=3)
    for value in (0, 1):
        counts = np.bincount(fold[labels == value], minlength=5)
        assert np.ptp(counts) <= 1
    with pytest.raises(CatalogueError, match="26 lenses"):
        fold_numbers(labels, folds=30, seed=3)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import skytrace.learning.ensemble as module
from tests.learning.conftest import ring_stamps
from tests.learning.test_ensemble import SHORT, TWO, with_seeing
train = module.train_detector
def second_member_is_killed(*args, options, **kwargs):
    if options.seed != SHORT.seed:
        os.kill(os.getpid(), signal.SIGKILL)
    return train(*args, options=options, **kwargs)
module.train_detector = second_member_is_killed
samples = with_seeing(ring_stamps(240, seed=1), 1), with_seeing(ring_stamps(90, seed=2), 2)
module.train_ensemble(*samples, options=SHORT, ensemble=TWO, checkpoint_folder=sys.argv[1])
"""


def test_finished_members_survive_a_kill_and_the_rest_gives_the_same_bytes(
    samples, trained, tmp_path, monkeypatch, repository
):  # fmt: skip
    import skytrace.learning.ensemble as module

    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(repository)], env=environment, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    original = module.train_detector
    assert len(list(tmp_path.glob("member-*/checkpoint.safetensors"))) == 1
    trained_again = []
    with monkeypatch.context() as patch:
        patch.setattr(
            module, "train_detector", lambda *a, **k: trained_again.append(k["options"].seed) or original(*a, **k)
        )
        resumed, history, table = train_ensemble(*samples, options=SHORT, ensemble=TWO, checkpoint_folder=tmp_path)
    assert trained_again == [SHORT.seed + 1], "the finished member is not trained again"
    ensemble, expected_history, expected_table = trained
    for name in ensemble.members:
        assert same_bytes(resumed.members[name], ensemble.members[name])
        assert resumed.members[name].card == ensemble.members[name].card
    assert resumed.card == ensemble.card
    pd.testing.assert_frame_equal(history, expected_history)
    pd.testing.assert_frame_equal(table, expected_table)
    assert not list(tmp_path.glob("*")), "a finished ensemble leaves no checkpoint"


def test_an_ensemble_comes_back_from_disk_and_a_detector_is_not_taken_for_one(trained, samples, tmp_path):
    ensemble, _, _ = trained
    _, validation = samples
    ensemble = ensemble.with_card(threshold={"value": 0.4})
    dataset = EnsembleDataset(filepath=str(tmp_path / "e.safetensors"))
    dataset.save(ensemble)
    loaded = dataset.load()
    assert list(loaded.members) == ["sharp", "blurred"]
    assert (loaded.card, loaded.threshold) == (ensemble.card, 0.4)
    np.testing.assert_array_equal(
        loaded.score(validation.stamps, metadata=validation.metadata),
        ensemble.score(validation.stamps, metadata=validation.metadata),
    )
    first = (tmp_path / "e.safetensors").read_bytes(), (tmp_path / "e.card.json").read_bytes()
    EnsembleDataset(filepath=str(tmp_path / "f" / "e.safetensors")).save(loaded)
    assert first == ((tmp_path / "f/e.safetensors").read_bytes(), (tmp_path / "f/e.card.json").read_bytes())
    DetectorDataset(filepath=str(tmp_path / "d.safetensors")).save(ensemble.members["sharp"])
    with pytest.raises(DatasetError, match=r"format 'skytrace\.detector/1'"):
        EnsembleDataset(filepath=str(tmp_path / "d.safetensors")).load()


def test_an_empty_domain_is_refused(samples):
    nobody = EnsembleOptions((SHARP, MemberOptions("nobody", column="psfsize_r", low=99.0)))
    with pytest.raises(CatalogueError, match="none of the training stamps"):
        train_ensemble(*samples, options=dataclasses.replace(SHORT, images_per_epoch=64), ensemble=nobody)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MemberOptions("x", column="psfsize_r"), "needs a column together with"),
        (lambda: MemberOptions("x", low=1.0), "needs a column together with"),
        (lambda: MemberOptions("x", column="type_bin", low=1.0, values=("a",)), "one or the other"),
        (lambda: MemberOptions("x", column="ebv", low=2.0, high=1.0), "high of member 'x'"),
        (lambda: MemberOptions("a/b"), "letters"),
        (lambda: EnsembleOptions((SHARP,)), "number of members"),
        (lambda: EnsembleOptions((SHARP, SHARP)), "names of their own"),
        (lambda: EnsembleOptions((SHARP, BLURRED), combination="vote"), "combination = 'vote'"),
    ],
)
def test_impossible_ensembles_are_named(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_options_build_from_yaml_as_they_stand():
    from skytrace.parameters import build_options

    raw = {"members": [{"name": "sharp", "column": "psfsize_r", "high": 1.3},
                       {"name": "kinds", "column": "type_bin", "values": ["SER"], "architecture": "efficientnet_b0"}],
           "combination": "mean"}  # fmt: skip
    built = build_options("ensemble", raw, EnsembleOptions)
    assert built.members[0] == SHARP
    assert built.members[1].values == ("SER",)
    assert build_options("training", {"metadata": ["ebv"]}, TrainingOptions).metadata == ("ebv",)
