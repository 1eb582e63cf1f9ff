import dataclasses

import numpy as np
import pytest

from skytrace.learning.labelled import LabelledStamps
from skytrace.learning.training import train_detector
from tests.learning.test_training import TINY, same_bytes

SMALL = dataclasses.replace(TINY, epochs=3, core_mask_radius_px=4.0, images_per_epoch=160)


def told_by_the_core(n: int, *, seed: int) -> LabelledStamps:
    """Noise (n, 3, 16, 16); a lens is brighter in the middle pixels and nowhere else."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    stamps = rng.normal(size=(n, 3, 16, 16)).astype(np.float32)
    stamps[labels == 1, :, 6:11, 6:11] += 2.0
    return LabelledStamps(stamps, labels)


@pytest.fixture(scope="module")
def samples():
    return told_by_the_core(160, seed=1), told_by_the_core(80, seed=2)


@pytest.fixture(scope="module")
def masked(samples):
    return train_detector(*samples, options=dataclasses.replace(SMALL, core_mask_share=1.0, core_mask_ramp=0.0))


def test_a_detector_that_never_sees_a_core_cannot_learn_from_it(samples, masked):
    """A mask of the whole core from the first step leaves the loss at chance, ln 2; without it the core is learnt."""
    assert train_detector(*samples, options=SMALL)[1][-1]["training_loss"] < 0.3
    assert masked[1][-1]["training_loss"] > 0.5


def test_masked_training_repeats_its_bytes(samples, masked):
    again, history = train_detector(
        *samples, options=dataclasses.replace(SMALL, core_mask_share=1.0, core_mask_ramp=0.0)
    )
    assert same_bytes(again, masked[0])
    assert history == masked[1]


def test_the_first_epoch_of_a_ramp_sees_every_core(samples):
    """The ramp starts at 0: with it the first epoch is that of an unmasked training, later ones are not."""
    _, plain = train_detector(*samples, options=SMALL)
    _, ramped = train_detector(*samples, options=dataclasses.replace(SMALL, core_mask_share=1.0, core_mask_ramp=1.0))
    assert ramped[0] == plain[0]
    assert ramped[1]["training_loss"] > plain[1]["training_loss"]
