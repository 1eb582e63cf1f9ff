"""A vision transformer whose tokens are pooled by attention: where in a field its evidence lies can be looked at.

Encoder with normalisation first (Dosovitskiy et al. 2021), positions as fixed sines and cosines, and gated attention
pooling of the tokens as instances of one bag (Ilse, Tomczak & Welling 2018, eq. 9). Weights come from torch's global
generator or from a local safetensors file; nothing is ever downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from skytrace.errors import OptionError, PixelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.learning.transformer_options import TransformerOptions

__all__ = ["AttentionPooling", "VisionTransformer", "build_transformer", "freeze_layers", "load_weights_file"]


class _Block(nn.Module):
    """Self-attention and a perceptron, each on normalised tokens and added to them."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        width, hidden = options.width, round(options.mlp_ratio * options.width)
        self.heads = options.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width), nn.Dropout(options.dropout)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, width = tokens.shape
        qkv = self.qkv(self.norm_1(tokens)).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).reshape(n, t, width)
        tokens = tokens + self.project(seen)
        return tokens + self.mlp(self.norm_2(tokens))


class AttentionPooling(nn.Module):
    """sum_k a_k h_k with a = softmax_k(w . (tanh(V h_k) * sigmoid(U h_k))): no order of the tokens matters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.value = nn.Linear(width, width // 2), nn.Linear(width, width // 2)
        self.weigh = nn.Linear(width // 2, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(pooled (n, width), attention (n, token), which sums to one) of tokens (n, token, width)."""
        scores = self.weigh(torch.tanh(self.value(tokens)) * torch.sigmoid(self.gate(tokens)))[..., 0]
        attention = torch.softmax(scores, dim=1)
        return (attention[..., None] * tokens).sum(dim=1), attention


class VisionTransformer(nn.Module):
    """(n, channel, y, x) -> (n, 1) logits; ``pooled`` gives features and attention."""

    position: Tensor

    def __init__(self, options: TransformerOptions, *, in_channels: int, pixels: int) -> None:
        super().__init__()
        if pixels % options.patch:
            raise PixelError(f"patch = {options.patch} does not divide the side of the input, {pixels} pixels")
        self.grid, self.in_channels = pixels // options.patch, in_channels
        self.stem = _stem(options, in_channels)
        self.register_buffer("position", _position_code(self.grid, options.width), persistent=False)
        self.blocks = nn.ModuleList(_Block(options) for _ in range(options.depth))
        self.norm = nn.LayerNorm(options.width)
        self.pool = AttentionPooling(options.width)
        self.head = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(options.width, 1))

    def tokens(self, pixels: Tensor) -> Tensor:
        """(n, token, width), row by row of the grid."""
        tokens = self.stem(pixels).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def pooled(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(features (n, width), attention (n, grid, grid)); the attention of a field sums to one."""
        features, attention = self.pool(self.tokens(pixels))
        return features, attention.reshape(-1, self.grid, self.grid)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, 1)."""
        return self.head(self.pooled(pixels)[0])


def build_transformer(
    options: TransformerOptions, *, in_channels: int, pixels: int, weights_file: str | Path | None = None
) -> VisionTransformer:
    """A network with weights from torch's global generator, or from a file; its frozen layers need no gradient.

    Raises PixelError where the patches do not fill the input, OptionError for a file that does not fit.
    """
    network = VisionTransformer(options, in_channels=in_channels, pixels=pixels)
    if weights_file is not None:
        load_weights_file(network, weights_file)
    freeze_layers(network, options.frozen_layers)
    return network


def freeze_layers(network: VisionTransformer, layers: int) -> None:
    """Keep the weights of the first ``layers`` layers (stem, then blocks) as they are."""
    for layer in [network.stem, *network.blocks][:layers]:
        layer.requires_grad_(False)


def load_weights_file(network: VisionTransformer, path: str | Path) -> None:
    """Put the weights of a local safetensors file into ``network``; a head may be missing, it then stays new.

    Raises OptionError naming the file and every key that is missing, unknown or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        raise OptionError(f"weights_file = {str(path)!r} is not a safetensors file on this machine; none is downloaded")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise OptionError(f"weights_file = {str(path)!r} cannot be read ({error})") from error
    own = network.state_dict()
    problems = [f"lacks {name}" for name in own if name not in found and not name.startswith(("head.", "pool."))]
    problems += [f"has {name}, which the network has not" for name in found if name not in own]
    problems += [
        f"{name} is {tuple(found[name].shape)}, not {tuple(own[name].shape)}"
        for name in found if name in own and found[name].shape != own[name].shape
    ]  # fmt: skip
    if problems:
        raise OptionError(f"weights_file = {str(path)!r} does not fit the transformer: " + "; ".join(problems))
    network.load_state_dict(found, strict=False)


def _stem(options: TransformerOptions, in_channels: int) -> nn.Module:
    if options.stem == "patch":
        return nn.Conv2d(in_channels, options.width, options.patch, stride=options.patch)
    layers: list[nn.Module] = []
    strides, before = options.patch.bit_length() - 1, in_channels
    for level in range(strides):
        width = max(16, options.width >> (strides - 1 - level))
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.GroupNorm(1, width), nn.GELU()]
        before = width
    return nn.Sequential(*layers, nn.Conv2d(before, options.width, 1))


def _position_code(grid: int, width: int) -> Tensor:
    """(1, grid * grid, width): sines and cosines of y, then of x (Vaswani et al. 2017, in two dimensions)."""
    quarter = width // 4
    rate = 100.0 ** (-np.arange(quarter) / quarter)
    phase = np.arange(grid)[:, None] * rate
    axis: NDArray[np.float64] = np.concatenate([np.sin(phase), np.cos(phase)], axis=1)
    code = np.concatenate([np.repeat(axis, grid, axis=0), np.tile(axis, (grid, 1))], axis=1)
    return torch.from_numpy(code.astype(np.float32))[None]
