"""What a detector makes of a stamp before its last, linear layer, and the mean activation of every stage before.

The same passes as ``scoring.network_logits`` (equal size, padded), heard by hooks: features belong to a stamp, not to
its batch. The network is built for the call, so that hooks never hear what another thread scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import check_choice
from skytrace.learning.networks import frozen_network
from skytrace.learning.scoring import network_logits, scoring_inputs
from skytrace.learning.threads import resolve_device, torch_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.learning.detector import Detector
    from skytrace.learning.store import StampStore

__all__ = ["PENULTIMATE", "detector_features", "detector_layers"]

#: The input of the last linear layer: pooled pixels, and with fusion the perceptron of the metadata beside them.
PENULTIMATE = "penultimate"


def detector_layers(detector: Detector) -> tuple[str, ...]:
    """Names that ``detector_features`` takes: the network's stages from first to last, then "penultimate"."""
    return (*_stages(frozen_network(detector)), PENULTIMATE)


def detector_features(
    detector: Detector,
    stamps: NDArray[np.float32] | StampStore,
    *,
    layers: Sequence[str] = (PENULTIMATE,),
    metadata: pd.DataFrame | None = None,
    batch_size: int = 64,
    threads: int = 1,
    device: str = "cpu",
) -> dict[str, NDArray[np.float32]]:
    """Layer -> features (n, d) float32 of stamps (n, band, y, x): a stage's activations averaged over its pixels, the
    penultimate ones as they enter the last layer.

    Arguments and errors as in ``score_stamps``, and OptionError for a layer that ``detector_layers`` does not name. A
    StampStore is read pass by pass; only the features are kept.
    """
    stamps, extra = scoring_inputs(detector, stamps, metadata, batch_size=batch_size, threads=threads)
    device = resolve_device(device)
    with torch_threads(threads):
        import torch

        network = frozen_network(detector).to(device, memory_format=torch.channels_last)
        stages, heard = _stages(network), {str(name): list[Any]() for name in layers}
        for name, parts in heard.items():
            check_choice("layers", name, (*stages, PENULTIMATE))
            _listen(network, stages.get(name), parts)
        network_logits(network, stamps, batch_size=batch_size, metadata=extra, device=device)
    widths = _widths(network, detector, heard) if not len(stamps) else {}
    return {
        # only the last pass is padded, and its padding comes last
        name: np.concatenate(parts)[: len(stamps)] if parts else np.empty((0, widths[name]), dtype=np.float32)
        for name, parts in heard.items()
    }


def _listen(network: Any, stage: Any | None, parts: list[NDArray[np.float32]]) -> None:
    """Append to ``parts`` what leaves a stage, averaged over pixels, or what enters the last linear layer."""
    if stage is None:
        _last_linear(network).register_forward_pre_hook(
            lambda _, inputs: parts.append(inputs[0].flatten(1).cpu().numpy().copy())
        )
        return
    stage.register_forward_hook(
        lambda _, inputs, output: parts.append(output.float().mean(dim=(2, 3)).cpu().numpy().copy())
    )


def _stages(network: Any) -> dict[str, Any]:
    """layer1 ... layer4 of a residual network, the blocks of ``features`` of the others."""
    backbone = getattr(network, "backbone", network)
    if hasattr(backbone, "features"):
        return {f"features.{name}": stage for name, stage in backbone.features.named_children()}
    return {name: stage for name, stage in backbone.named_children() if name.startswith("layer")}


def _last_linear(network: Any) -> Any:
    from torch import nn

    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def _widths(network: Any, detector: Detector, heard: dict[str, list[Any]]) -> dict[str, int]:
    """Numbers of features without a stamp to see: one pass of zeros through the same hooks."""
    nothing = np.zeros((1, *detector.stamp_shape), dtype=np.float32)
    metadata = np.zeros((1, len(detector.metadata_columns)), np.float32) if detector.metadata_columns else None
    device = str(next(network.parameters()).device)
    network_logits(network, nothing, batch_size=1, metadata=metadata, device=device)
    widths = {name: parts[0].shape[1] for name, parts in heard.items()}
    for parts in heard.values():
        parts.clear()
    return widths
