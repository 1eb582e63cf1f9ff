"""The network itself: what its pooling cannot see, what its attention adds up to, what stays frozen, what it loads."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skytrace.errors import OptionError, PixelError
from skytrace.learning.transformer_options import TransformerOptions
from skytrace.learning.vision_transformer import AttentionPooling, build_transformer

TINY = TransformerOptions(patch=8, width=16, depth=2, heads=2, dropout=0.0)


def network(options=TINY, seed=0, **kwargs):
    torch.manual_seed(seed)
    return build_transformer(options, in_channels=5, pixels=32, **kwargs).eval()


@pytest.fixture
def pixels():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5, 32, 32)).astype(np.float32))


def test_vit_small_has_the_size_that_it_has_in_the_literature():
    """22 million weights (Touvron et al. 2021, table 1), here without class token, positions and classes."""
    small = TransformerOptions(stem="patch", patch=16, width=384, depth=12, heads=6, mlp_ratio=4.0)
    built = build_transformer(small, in_channels=3, pixels=224)
    weights = sum(part.numel() for part in built.parameters())
    block = 4 * 384**2 + 2 * 4 * 384**2 + (3 + 1 + 4 + 1) * 384 + 4 * 384
    pooling, ends = 2 * (384 * 192 + 192) + 193, (3 * 256 + 1) * 384 + 2 * 384 + 385
    assert weights == 12 * block + pooling + ends
    assert 21e6 < weights < 22.5e6


def test_the_attention_of_a_field_sums_to_one_and_is_not_even(pixels):
    _, attention = network().pooled(pixels)
    assert attention.shape == (6, 4, 4)
    torch.testing.assert_close(attention.sum(dim=(1, 2)), torch.ones(6))
    assert attention.std() > 1e-4


def test_pooling_does_not_know_the_order_of_its_tokens():
    torch.manual_seed(1)
    pool, tokens = AttentionPooling(16), torch.randn(3, 20, 16)
    order = torch.randperm(20)
    pooled, attention = pool(tokens)
    again, moved = pool(tokens[:, order])
    torch.testing.assert_close(again, pooled)
    torch.testing.assert_close(moved, attention[:, order])


def test_the_encoder_does_know_where_a_token_is(pixels):
    built = network()
    swapped = torch.cat([pixels[..., 16:], pixels[..., :16]], dim=-1)
    assert not torch.allclose(built(pixels), built(swapped), atol=1e-4)


def test_attention_is_that_of_the_formula(pixels):
    """Blocks against softmax(q k / sqrt d) v written out."""
    block = network().blocks[0]
    tokens = torch.randn(2, 7, 16)
    q, k, v = block.qkv(block.norm_1(tokens)).reshape(2, 7, 3, 2, 8).unbind(2)
    weights = torch.softmax(torch.einsum("nthd,nshd->nhts", q, k) / 8**0.5, dim=-1)
    seen = torch.einsum("nhts,nshd->nthd", weights, v).reshape(2, 7, 16)
    expected = tokens + block.project(seen)
    torch.testing.assert_close(block(tokens), expected + block.mlp(block.norm_2(expected)))


@pytest.mark.parametrize("stem", ["patch", "convolutional"])
def test_both_stems_end_in_the_same_grid_of_tokens(stem, pixels):
    assert network(TransformerOptions(stem=stem, patch=8, width=16, depth=1, heads=2)).tokens(pixels).shape == (
        6,
        16,
        16,
    )


@pytest.mark.parametrize(("share", "frozen"), [(0.0, 0), (0.34, 1), (0.67, 2), (1.0, 3)])
def test_the_frozen_share_counts_layers_from_the_stem_on(share, frozen):
    options = TransformerOptions(patch=8, width=16, depth=2, heads=2, frozen_share=share)
    built = network(options)
    layers = [built.stem, *built.blocks]
    assert [not any(p.requires_grad for p in layer.parameters()) for layer in layers] == [k < frozen for k in range(3)]
    assert all(p.requires_grad for p in [*built.pool.parameters(), *built.head.parameters()])


def test_weights_from_a_file_give_the_same_logits_to_the_last_bit(tmp_path, pixels):
    first = network()
    save_file(first.state_dict(), tmp_path / "w.safetensors")
    second = network(seed=5, weights_file=tmp_path / "w.safetensors")
    assert torch.equal(first(pixels), second(pixels))
    assert not torch.equal(network(seed=5)(pixels), first(pixels))


def test_a_file_without_a_head_leaves_the_head_new(tmp_path, pixels):
    first = network()
    save_file({n: t for n, t in first.state_dict().items() if not n.startswith("head.")}, tmp_path / "w.safetensors")
    second = network(seed=5, weights_file=tmp_path / "w.safetensors")
    assert torch.equal(first.pooled(pixels)[0], second.pooled(pixels)[0])
    assert torch.equal(second.head[1].weight, network(seed=5).head[1].weight)


def test_a_file_that_does_not_fit_is_refused_with_its_path_and_its_keys(tmp_path):
    path = tmp_path / "w.safetensors"
    state = dict(network().state_dict())
    state["norm.weight"], state["extra"] = torch.zeros(3), torch.zeros(1)
    del state["blocks.0.qkv.bias"]
    save_file(state, path)
    with pytest.raises(OptionError) as error:
        network(weights_file=path)
    for word in (str(path), "lacks blocks.0.qkv.bias", "has extra", "norm.weight is (3,), not (16,)"):
        assert word in str(error.value)
    path.write_bytes(b"no safetensors")
    with pytest.raises(OptionError, match="cannot be read"):
        network(weights_file=path)
    for missing in (tmp_path / "none.safetensors", tmp_path / "model.pt"):
        with pytest.raises(OptionError, match=r"none is downloaded"):
            network(weights_file=missing)


def test_patches_that_do_not_fill_the_input_are_refused():
    with pytest.raises(PixelError, match="patch = 8 does not divide"):
        build_transformer(TINY, in_channels=3, pixels=60)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stem": "fourier"}, "stem"), ({"width": 30}, "width = 30"), ({"patch": 12}, "power of two"),
        ({"frozen_share": 1.5}, "frozen_share"), ({"depth": 0}, "depth"),
    ],
)  # fmt: skip
def test_impossible_networks_are_named(values, message):
    with pytest.raises(OptionError, match=message):
        TransformerOptions(**values)
