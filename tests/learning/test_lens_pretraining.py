"""Pretraining on pairs of pictures: the loss is the formula's, and partners find each other afterwards."""

import numpy as np
import pytest
import torch

from skytrace.errors import OptionError, PixelError
from skytrace.learning.lens_pretraining import pair_loss, pretrain
from skytrace.learning.pu_transformer_training import load_state_partly
from skytrace.learning.transformer_options import PretrainingOptions, TransformerOptions, TransformerTrainingOptions
from skytrace.learning.vision_transformer import build_transformer

NETWORK = TransformerOptions(patch=8, width=16, depth=1, heads=2, dropout=0.0)
TRAINING = TransformerTrainingOptions(
    threads=1, shift_px=0, device="cpu", average_decay=0.9,
    pretraining=PretrainingOptions(clusters=96, epochs=12, batch_size=32, learning_rate=3e-3, projection=16),
)  # fmt: skip


def pairs(n, seed):
    """Fields whose pattern is their own (a blob at a radius and of a brightness of its own), twice with other noise."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((32, 32)) - 15.5
    radius = np.hypot(y, x)
    pattern = rng.uniform(1, 4, (n, 1, 1)) * np.exp(-0.5 * ((radius - rng.uniform(0, 12, (n, 1, 1))) / 2) ** 2)
    return tuple((pattern[:, None] + 0.3 * rng.normal(size=(n, 2, 32, 32))).astype(np.float32) for _ in range(2))


def test_the_loss_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 4))
    z = np.concatenate([first, second])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    terms = []
    for i in range(10):
        partner = (i + 5) % 10
        others = [np.exp(z[i] @ z[k] / 0.3) for k in range(10) if k != i]
        terms.append(-np.log(np.exp(z[i] @ z[partner] / 0.3) / np.sum(others)))
    found = pair_loss(torch.from_numpy(first), torch.from_numpy(second), temperature=0.3)
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-12)


def found_partners(network, seed=5):
    with torch.inference_mode():
        first, second = (network.eval().pooled(torch.from_numpy(part))[0].numpy() for part in pairs(60, seed))
    mean = np.concatenate([first, second]).mean(axis=0)
    first, second = ((part - mean) / np.linalg.norm(part - mean, axis=1, keepdims=True) for part in (first, second))
    rank = (first @ second.T >= np.sum(first * second, axis=1)[:, None]).sum(axis=1)
    return float(np.mean(rank))


def test_partners_are_nearer_after_pretraining_and_the_same_seed_gives_the_same_weights():
    torch.manual_seed(0)
    network = build_transformer(NETWORK, in_channels=2, pixels=32)
    before = found_partners(network)
    state = pretrain(*pairs(96, 1), options=NETWORK, training=TRAINING)
    assert not [name for name in state if name.startswith("head.")]
    load_state_partly(network, state)
    assert found_partners(network) < 0.7 * before
    again = pretrain(*pairs(96, 1), options=NETWORK, training=TRAINING)
    assert all(state[name].tobytes() == again[name].tobytes() for name in state)


def test_pairs_that_are_none_are_refused():
    first, second = pairs(40, 1)
    with pytest.raises(PixelError, match="differ in shape"):
        pretrain(first, second[:9], options=NETWORK, training=TRAINING)
    with pytest.raises(OptionError, match=r"batch_size = 32 .* \[2, 20\]"):
        pretrain(first[:20], second[:20], options=NETWORK, training=TRAINING)
