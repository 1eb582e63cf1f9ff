"""Transformers on disk score to the last bit as they did, and files that do not belong together are refused."""

import numpy as np
import pytest
import torch
from kedro.io import DatasetError

from skytrace.datasets import TransformerDataset
from skytrace.learning.networks import network_state
from skytrace.learning.pu_transformer import PUTransformer, transformer_logits
from skytrace.learning.transformer_options import TransformerOptions
from skytrace.learning.vision_transformer import build_transformer

OPTIONS = TransformerOptions(patch=8, width=16, depth=1, heads=2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    states = tuple(network_state(build_transformer(OPTIONS, in_channels=2, pixels=32)) for _ in range(2))
    card = {"scale": [1.5, -0.2], "prior": 0.1, "target_prior": 0.5, "test_views": 3}
    return PUTransformer(OPTIONS, (2, 32, 32), states, card)


def test_a_transformer_read_back_gives_the_same_logits_to_the_last_bit(model, tmp_path):
    dataset = TransformerDataset(filepath=str(tmp_path / "t.safetensors"))
    dataset.save(model)
    fields = np.random.default_rng(0).normal(size=(20, 2, 32, 32)).astype(np.float32)
    back = dataset.load()
    assert (back.options, back.input_shape, back.card) == (model.options, model.input_shape, model.card)
    np.testing.assert_array_equal(transformer_logits(back, fields), transformer_logits(model, fields))


def test_the_same_transformer_has_the_same_bytes(model, tmp_path):
    for name in ("a", "b"):
        TransformerDataset(filepath=str(tmp_path / f"{name}.safetensors")).save(model)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.card.json").read_bytes() == (tmp_path / "b.card.json").read_bytes()


def test_weights_that_are_not_those_of_the_card_are_refused(model, tmp_path):
    path = tmp_path / "t.safetensors"
    dataset = TransformerDataset(filepath=str(path))
    dataset.save(model)
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")
    with pytest.raises(DatasetError, match="SHA-256"):
        dataset.load()
