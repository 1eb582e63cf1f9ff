"""Learning from known positives and unlabelled fields: what it finds, what it does not, and that it repeats itself."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skytrace.errors import OptionError, PixelError
from skytrace.learning.metrics import roc_auc
from skytrace.learning.positive_unlabeled import PositiveVersusUnlabelledClassifier
from skytrace.learning.pu_losses import PURisk, nn_pu_loss
from skytrace.learning.pu_transformer import attention_maps, dihedral_logits, loaded_network, transformer_logits
from skytrace.learning.pu_transformer_training import cross_fit, fit_network
from skytrace.learning.transformer_options import TransformerOptions, TransformerTrainingOptions

NETWORK = TransformerOptions(patch=8, width=16, depth=1, heads=2, dropout=0.1)
TRAINING = TransformerTrainingOptions(
    epochs=3, images_per_epoch=256, batch_size=32, learning_rate=3e-3, average_decay=0.9, positive_share=0.25,
    threads=1, shift_px=1, device="cpu",
)  # fmt: skip


def ring_fields(n, *, seed, label_share=0.6, lens_share=0.3):
    """(fields (n, 2, 32, 32), is_lens, labelled): a faint ring in the second channel at a radius of its own."""
    rng = np.random.default_rng(seed)
    is_lens = rng.random(n) < lens_share
    y, x = np.indices((32, 32)) - 15.5
    ring = np.exp(-0.5 * ((np.hypot(y, x) - rng.uniform(5, 9, (n, 1, 1))) / 1.2) ** 2)
    fields = rng.normal(size=(n, 2, 32, 32))
    fields[:, 1] += 2.0 * ring * is_lens[:, None, None]
    return fields.astype(np.float32), is_lens, is_lens & (rng.random(n) < label_share)


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(first[name].tobytes() == second[name].tobytes() for name in first)


def fit(fields, labelled, **kwargs):
    return fit_network(
        [fields], labelled, **{"prior": 0.15, "options": NETWORK, "training": TRAINING, "seed": 1, **kwargs}
    )


@pytest.fixture(scope="module")
def sample():
    return ring_fields(300, seed=0)


@pytest.fixture(scope="module")
def fitted(sample):
    return fit(sample[0], sample[2])


@pytest.fixture(scope="module")
def crossed(sample):
    fields, _, labelled = sample
    groups = np.arange(len(fields)) // 5
    brief = replace(TRAINING, epochs=2)
    return cross_fit([fields], labelled, groups=groups, prior=0.15, options=NETWORK, training=brief, folds=3), groups


def test_lenses_without_a_label_rank_above_other_unlabelled_fields(fitted):
    fields, is_lens, _ = ring_fields(400, seed=7)
    logits = dihedral_logits(loaded_network(NETWORK, (2, 32, 32), fitted[0]), fields)
    assert roc_auc(logits, is_lens.astype(int)) > 0.9
    assert fitted[1][-1]["training_loss"] < fitted[1][0]["training_loss"]


def auc_of_dealt_labels(*, leak, deals=3):
    """(mean AUC of unseen fields with labels dealt as in training, half-width of its 99.9 % interval)."""
    aucs, brief = [], replace(TRAINING, epochs=1, learning_rate=2e-3)
    for deal in range(deals):
        rng, parts = np.random.default_rng(deal), []
        for n, seed in ((200, 1), (500, 77)):
            fields, _, labelled = ring_fields(n, seed=seed)
            labels = rng.permutation(labelled)
            fields[:, 0] += np.float32(leak) * labels[:, None, None]
            parts.append((fields, labels.astype(int)))
        state, _ = fit(*parts[0], training=brief, seed=deal)
        aucs.append(roc_auc(dihedral_logits(loaded_network(NETWORK, (2, 32, 32), state), parts[1][0]), parts[1][1]))
    m = int(parts[1][1].sum())
    n = len(parts[1][1]) - m
    return float(np.mean(aucs)), norm.isf(0.0005) * math.sqrt((m + n + 1) / (12 * m * n) / deals)


def test_labels_dealt_anew_teach_nothing_unless_they_leak():
    auc, half_width = auc_of_dealt_labels(leak=0.0)
    assert half_width < 0.08
    assert abs(auc - 0.5) < half_width
    auc, half_width = auc_of_dealt_labels(leak=0.4)
    assert auc > 0.5 + 2 * half_width


def test_logits_are_the_same_for_every_reflection_and_quarter_turn_of_a_field(fitted, sample):
    network = loaded_network(NETWORK, (2, 32, 32), fitted[0])
    fields = sample[0][:40]
    logits = dihedral_logits(network, fields)
    for turn in range(4):
        for moved in (np.rot90(fields, turn, (2, 3)), np.rot90(fields, turn, (2, 3))[..., ::-1]):
            np.testing.assert_allclose(dihedral_logits(network, np.ascontiguousarray(moved)), logits, atol=1e-5)
    turned = np.ascontiguousarray(np.rot90(fields, 1, (2, 3)))
    one = dihedral_logits(network, fields, test_views=1)
    assert np.abs(dihedral_logits(network, turned, test_views=1) - one).max() > 1e-2
    np.testing.assert_allclose(
        dihedral_logits(network, fields, test_views=2), 0.5 * (one + dihedral_logits(network, turned, test_views=1)),
        atol=1e-6,
    )  # fmt: skip


def test_the_loss_of_a_step_is_the_risk_of_the_trees_and_its_rows_come_from_two_loaders(sample, monkeypatch):
    fields, _, labelled = sample
    seen = []

    def spy(positive, unlabelled, **options):
        loss = nn_pu_loss(positive, unlabelled, **options)
        risk = PURisk(options["prior"], gamma=options["gamma"], beta=options["beta"], balanced=options["balanced"])
        expected = risk.value(positive.detach().double().numpy(), unlabelled.detach().double().numpy())
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        seen.append((len(positive), len(unlabelled)))
        return loss

    monkeypatch.setattr("skytrace.learning.pu_transformer_training.nn_pu_loss", spy)
    fit(fields, labelled, training=replace(TRAINING, epochs=1))
    assert seen == [(8, 24)] * 8


def test_frozen_layers_keep_their_weights_while_the_others_learn(sample, fitted):
    fields, _, labelled = sample
    options = replace(NETWORK, frozen_share=0.5)
    start = {name: values for name, values in fitted[0].items() if not name.startswith("head.")}
    state, _ = fit(fields, labelled, options=options, start=start, training=replace(TRAINING, epochs=1))
    for name in state:
        if name.startswith("stem."):
            assert state[name].tobytes() == start[name].tobytes(), name
        elif name in start and not name.endswith(".bias"):
            assert np.abs(state[name] - start[name]).max() > 0, name


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(sample, fitted):
    fields, _, labelled = sample
    again, history = fit(fields, labelled)
    assert same(again, fitted[0])
    assert history == fitted[1]
    assert not same(fit(fields, labelled, seed=2, training=replace(TRAINING, epochs=1))[0], again)


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.learning.test_pu_transformer import fit, ring_fields
fields, _, labelled = ring_fields(300, seed=0)
fit(fields, labelled, checkpoint_folder=sys.argv[1])
"""


def test_a_killed_training_resumes_to_the_same_bytes(sample, fitted, tmp_path, repository):
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), str(repository)], env=environment)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*/checkpoint.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(list(tmp_path.glob("*/checkpoint.safetensors"))) == 1
    state, history = fit(sample[0], sample[2], checkpoint_folder=tmp_path)
    assert same(state, fitted[0])
    assert history == fitted[1]
    assert not list(tmp_path.glob("*")), "a finished run leaves no checkpoint"


def test_folds_that_were_done_are_not_done_again(sample, crossed, tmp_path, monkeypatch):
    from skytrace.learning import pu_transformer_training as module

    (model, logits, _), groups = crossed
    whole, calls = module.fit_network, []

    def until_the_second(*args, **kwargs):
        calls.append(kwargs["seed"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    options = {"groups": groups, "prior": 0.15, "options": NETWORK, "training": replace(TRAINING, epochs=2), "folds": 3}
    monkeypatch.setattr(module, "fit_network", until_the_second)
    with pytest.raises(KeyboardInterrupt):
        cross_fit([sample[0]], sample[2], checkpoint_folder=tmp_path, **options)
    again, same_logits, _ = cross_fit([sample[0]], sample[2], checkpoint_folder=tmp_path, **options)
    first = TRAINING.seed
    assert calls == [first, first + 1, first + 1, first + 2]
    assert all(same(a, b) for a, b in zip(again.states, model.states, strict=True))
    np.testing.assert_array_equal(same_logits, logits)


def test_folds_are_those_of_the_trees_and_no_group_is_on_both_sides(sample, crossed):
    (_, _, fold), groups = crossed
    features = np.random.default_rng(0).normal(size=(300, 3))
    trees = PositiveVersusUnlabelledClassifier(folds=3, random_state=TRAINING.seed)
    np.testing.assert_array_equal(fold, trees.fit(features, sample[2].astype(int), groups=groups).folds_)
    assert all(len(np.unique(fold[groups == group])) == 1 for group in np.unique(groups))


def test_a_fold_is_scored_by_the_network_that_did_not_see_it(sample, crossed):
    (model, logits, fold), _ = crossed
    held = fold == 1
    expected = model.final_logits(dihedral_logits(model.network(1), sample[0][held]))
    np.testing.assert_array_equal(logits[held], expected)
    other = model.final_logits(dihedral_logits(model.network(0), sample[0][held]))
    assert np.abs(other - expected).max() > 1e-3


def test_unseen_fields_get_the_mean_of_all_networks_unclipped(crossed):
    (model, _, _), _ = crossed
    fields, _, _ = ring_fields(50, seed=9)
    raw = np.mean([dihedral_logits(model.network(number), fields) for number in range(3)], axis=0)
    slope, intercept = model.card["scale"]
    shift = math.log(0.15 / 0.85)  # from odds of one to the prior's
    np.testing.assert_allclose(transformer_logits(model, fields), slope * (raw + shift) + intercept, rtol=1e-12)


def test_attention_maps_sum_to_one(crossed):
    (model, _, _), _ = crossed
    maps = attention_maps(model, ring_fields(70, seed=9)[0])
    assert maps.shape == (70, 4, 4)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1.0, atol=1e-5)


def test_rows_held_back_choose_the_epoch_and_teach_nothing(sample):
    fields, _, labelled = sample
    held = np.arange(300) % 3 == 0
    state, history = fit(fields, labelled, held=held, training=replace(TRAINING, epochs=4, patience=1))
    aucs = [record["label_auc"] for record in history]
    network = loaded_network(NETWORK, (2, 32, 32), state)
    best = roc_auc(dihedral_logits(network, fields[held], test_views=1), labelled[held].astype(int))
    assert best == pytest.approx(max(aucs), abs=1e-12)
    changed = fields.copy()
    changed[held] *= -1.0
    again, _ = fit(changed, labelled, held=held, training=replace(TRAINING, epochs=1))
    assert same(again, fit(fields, labelled, held=held, training=replace(TRAINING, epochs=1))[0])


def test_impossible_samples_are_named(sample, crossed):
    fields, _, labelled = sample
    with pytest.raises(PixelError, match="views of shapes"):
        fit_network([fields, fields[:9]], labelled, prior=0.1, options=NETWORK, training=TRAINING, seed=0)
    with pytest.raises(OptionError, match="one class"):
        cross_fit([fields], np.zeros(300), groups=np.arange(300), prior=0.1, options=NETWORK, training=TRAINING)
    with pytest.raises(OptionError, match="n_positives = 1"):
        cross_fit([fields], np.eye(300)[0], groups=np.arange(300), prior=0.1, options=NETWORK, training=TRAINING)
    with pytest.raises(PixelError, match="the transformer takes"):
        transformer_logits(crossed[0][0], fields[:, :1])


def test_torch_is_left_as_it_was(sample):
    before = (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state())
    fit(sample[0], sample[2], training=replace(TRAINING, epochs=1, images_per_epoch=32))
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
