"""The detector's networks: torchvision architectures from scratch, three bands in, one logit out.

With metadata fusion the pooled features are joined by a small perceptron of the observing conditions before the last,
linear layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import check_choice
from skytrace.learning.options import ARCHITECTURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.learning.detector import Detector

__all__ = ["build_network", "frozen_network", "load_state", "network_state"]

#: Width of the two layers through which metadata goes before it meets the features of the pixels.
METADATA_WIDTH = 32


def build_network(architecture: str, *, in_channels: int = 3, n_metadata: int = 0) -> Any:
    """An untrained ``torch.nn.Module`` mapping (n, in_channels, y, x) to (n, 1) logits.

    n_metadata: with some, the module is called with (pixels, standardised metadata (n, n_metadata)).
    architecture: one of ARCHITECTURES, else OptionError. Weights come from torch's global generator.
    """
    check_choice("architecture", architecture, ARCHITECTURES)
    from torch import nn
    from torchvision import models

    network = getattr(models, architecture)(weights=None, num_classes=1)
    if in_channels != 3:
        name, first = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
        owner = network.get_submodule(name.rpartition(".")[0])
        shape: dict[str, Any] = {
            "kernel_size": first.kernel_size, "stride": first.stride, "padding": first.padding,
            "bias": first.bias is not None,
        }  # fmt: skip
        replacement = nn.Conv2d(in_channels, first.out_channels, **shape)
        setattr(owner, name.rpartition(".")[2], replacement)
    return _fused(network, n_metadata) if n_metadata else network


def _fused(backbone: Any, n_metadata: int) -> Any:
    """The backbone without its last layer, a perceptron for the metadata, and one linear layer over both."""
    import torch
    from torch import nn

    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            name, last = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Linear)][-1]
            setattr(backbone.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], nn.Identity())
            self.backbone = backbone
            self.metadata = nn.Sequential(
                nn.Linear(n_metadata, METADATA_WIDTH), nn.ReLU(), nn.Linear(METADATA_WIDTH, METADATA_WIDTH), nn.ReLU()
            )
            self.head = nn.Linear(last.in_features + METADATA_WIDTH, 1)

        def forward(self, pixels: Any, metadata: Any) -> Any:
            return self.head(torch.cat([self.backbone(pixels), self.metadata(metadata)], dim=1))

    return Fused()


def network_state(network: Any) -> dict[str, NDArray[Any]]:
    """Copies of all weights and buffers as contiguous arrays, in the network's own order."""
    return {name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in network.state_dict().items()}


def load_state(network: Any, state: dict[str, NDArray[Any]]) -> Any:
    """Put ``state`` into ``network`` and return it; every name and shape must fit."""
    import torch

    network.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in state.items()}, strict=True)
    return network


def frozen_network(detector: Detector) -> Any:
    """The network of a detector with its weights, in evaluation mode and without gradients; a new one every call."""
    network = build_network(
        detector.architecture, in_channels=detector.stamp_shape[0], n_metadata=len(detector.metadata_columns)
    )
    return load_state(network, detector.state).eval().requires_grad_(False)
