import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from skytrace.errors import CatalogueError, OptionError, PixelError, ShardError
from skytrace.learning import TrainingOptions, score_stamps
from skytrace.learning.metrics import roc_auc
from skytrace.learning.training import LabelledStamps, learning_rate_at, train_detector

from .conftest import ring_stamps

TINY = TrainingOptions(epochs=3, images_per_epoch=192, batch_size=32, learning_rate=1e-3, average_decay=0.9, threads=1)


def same_bytes(first, second) -> bool:
    return first.state.keys() == second.state.keys() and all(
        first.state[name].tobytes() == second.state[name].tobytes() for name in first.state
    )


@pytest.fixture(scope="module")
def uninterrupted(training, validation):
    return train_detector(training, validation, options=TINY)


def test_a_detector_learns_rings_it_has_not_seen(uninterrupted, validation):
    detector, history = uninterrupted
    assert roc_auc(score_stamps(detector, validation.stamps), validation.labels) > 0.9
    assert history[-1]["training_loss"] < history[0]["training_loss"]


def auc_of_shuffled_labels(*, leak: float, shuffles: int = 3) -> tuple[float, float]:
    """(mean AUC of held-out stamps with labels shuffled as in training, half-width of its 99.9 % interval).

    Without a leak, labels say nothing of stamps, the detector knows only stamps, so that each AUC is Mann-Whitney's
    with variance (m + n + 1) / (12 m n), and shuffles are independent. leak: added to all of z where the label is 1.
    """
    brief = TrainingOptions(
        epochs=1, images_per_epoch=160, batch_size=32, learning_rate=1e-3, average_decay=0.5, threads=1
    )
    aucs = []
    for shuffle in range(shuffles):
        rng, parts = np.random.default_rng(shuffle), []
        for rows, seed in ((240, 1), (90, 2), (400, 77)):
            rings = ring_stamps(rows, seed=seed)
            labels = rng.permutation(rings.labels)
            rings.stamps[:, 2] += np.float32(leak) * labels[:, None, None]
            parts.append(LabelledStamps(rings.stamps, labels))
        detector, _ = train_detector(parts[0], parts[1], options=replace(brief, seed=shuffle))
        aucs.append(roc_auc(score_stamps(detector, parts[2].stamps), parts[2].labels))
    m = int(parts[2].labels.sum())
    n = len(parts[2].labels) - m
    return float(np.mean(aucs)), norm.isf(0.0005) * math.sqrt((m + n + 1) / (12 * m * n) / shuffles)


def test_shuffled_labels_teach_nothing_unless_they_leak():
    auc, half_width = auc_of_shuffled_labels(leak=0.0)
    assert half_width < 0.06
    assert abs(auc - 0.5) < half_width
    auc, half_width = auc_of_shuffled_labels(leak=0.5)
    assert auc > 0.5 + 2 * half_width


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(uninterrupted, training, validation):
    again, history = train_detector(training, validation, options=TINY)
    assert same_bytes(again, uninterrupted[0])
    assert history == uninterrupted[1]
    other = TrainingOptions(epochs=1, images_per_epoch=32, batch_size=32, seed=7, threads=1)
    assert not same_bytes(train_detector(training, validation, options=other)[0], again)


def test_published_weights_are_those_of_the_best_validation(uninterrupted, validation):
    detector, history = uninterrupted
    best = max(record["validation_auc"] for record in history)
    assert roc_auc(score_stamps(detector, validation.stamps), validation.labels) == pytest.approx(best, abs=1e-12)
    assert detector.card["best_validation_auc"] == best


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from skytrace.learning.training import train_detector
from tests.learning.conftest import ring_stamps
from tests.learning.test_training import TINY
train_detector(ring_stamps(240, seed=1), ring_stamps(90, seed=2), options=TINY, checkpoint_folder=sys.argv[1])
"""


def test_a_killed_training_resumes_to_the_same_bytes(uninterrupted, training, validation, tmp_path, repository):
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), str(repository)], env=environment)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/checkpoint.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(list(tmp_path.glob("*/checkpoint.safetensors"))) == 1
    resumed, history = train_detector(training, validation, options=TINY, checkpoint_folder=tmp_path)
    assert same_bytes(resumed, uninterrupted[0])
    assert history == uninterrupted[1]
    assert not list(tmp_path.glob("*")), "a finished run leaves no checkpoint"


class Interrupted(Exception):
    pass


def interrupt_after_first_save(monkeypatch):
    from skytrace.learning.checkpoint import Checkpoint

    save = Checkpoint.save

    def save_and_stop(self, *args):
        save(self, *args)
        raise Interrupted

    monkeypatch.setattr(Checkpoint, "save", save_and_stop)


def test_a_changed_option_starts_from_the_beginning(training, validation, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after_first_save(patch)
        with pytest.raises(Interrupted):
            train_detector(training, validation, options=TINY, checkpoint_folder=tmp_path)
    stale = next(tmp_path.glob("*/checkpoint.safetensors"))
    other = TrainingOptions(epochs=1, images_per_epoch=32, batch_size=32, threads=1)
    _, history = train_detector(training, validation, options=other, checkpoint_folder=tmp_path)
    assert [record["epoch"] for record in history] == [1]
    assert stale.exists(), "another run's checkpoint is left alone"


def test_a_damaged_checkpoint_is_named_and_not_used(training, validation, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after_first_save(patch)
        with pytest.raises(Interrupted):
            train_detector(training, validation, options=TINY, checkpoint_folder=tmp_path)
    path = next(tmp_path.glob("*/checkpoint.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ShardError, match="damaged"):
        train_detector(training, validation, options=TINY, checkpoint_folder=tmp_path)


def test_training_stops_after_patience_epochs_without_a_better_auc(training, validation):
    options = TrainingOptions(epochs=9, patience=2, images_per_epoch=32, batch_size=32, threads=1)
    constant = LabelledStamps(np.zeros_like(validation.stamps), validation.labels)
    _, history = train_detector(training, constant, options=options)
    assert len(history) == 3


def test_learning_rate_rises_then_follows_half_a_cosine():
    options = TrainingOptions(epochs=10, images_per_epoch=640, batch_size=64, learning_rate=1e-3, warmup_share=0.1)
    rates = [learning_rate_at(step, options=options) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == 1e-3
    assert rates[55] == pytest.approx(0.5e-3)
    assert rates[-1] < 1e-6


def test_stamps_of_weight_zero_teach_nothing(training, validation):
    """With wrong labels on half of the stamps the loss can only vanish if their weight is 0."""
    wrong = np.arange(len(training.labels)) % 2 == 0
    labels, weights = np.where(wrong, 1 - training.labels, training.labels), np.where(wrong, 0.0, 1.0)
    _, history = train_detector(LabelledStamps(training.stamps, labels, weights), validation, options=TINY)
    assert history[-1]["training_loss"] < 0.1
    assert history[-1]["validation_auc"] > 0.9


def test_bad_samples_are_refused(training, validation):
    with pytest.raises(CatalogueError, match="label"):
        LabelledStamps(training.stamps, training.labels + 1)
    with pytest.raises(PixelError, match="weights"):
        LabelledStamps(training.stamps, training.labels, np.ones(3))
    broken = training.stamps.copy()
    broken[5, 1, 16, 16] = np.nan
    with pytest.raises(PixelError, match="stamp 5"):
        LabelledStamps(broken, training.labels)
    one_class = LabelledStamps(validation.stamps, np.zeros_like(validation.labels))
    with pytest.raises(CatalogueError, match="both lenses and galaxies"):
        train_detector(training, one_class, options=TINY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet81"}, "architecture = 'resnet81' is not one of resnet18"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"positive_share": 1.0}, "positive_share"),
        ({"batch_size": 32.5}, "whole number"),
        ({"threads": 0}, "threads"),
    ],
)
def test_impossible_options_are_named(changes, message):
    with pytest.raises(OptionError, match=message):
        TrainingOptions(**changes)


def test_a_misspelt_option_is_named():
    with pytest.raises(TypeError, match="learning_rat"):
        TrainingOptions(learning_rat=1e-3)
