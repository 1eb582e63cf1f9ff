"""Scores of stamps by a frozen detector, the same to the last bit however the stamps are grouped.

The numerical library chooses its kernels by the batch size, and treats the last rows of an odd one apart. So every pass
has the same number of stamps, a multiple of 16, and the last is filled up with zeros: shards of 200 waste least with
batch_size 208 (one pass) or 112 (two).
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from skytrace.errors import PixelError, check_between
from skytrace.learning.fusion import standardise
from skytrace.learning.networks import frozen_network
from skytrace.learning.store import StampStore, check_finite
from skytrace.learning.threads import resolve_device, torch_threads

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.learning.detector import Detector

__all__ = ["check_stamps", "network_logits", "score_stamps", "scoring_inputs"]

#: Passes are multiples of this many stamps: with others a stamp's score was seen to depend on its place in the pass.
_ROWS = 16
#: Convolutions, ReLU and pooling alone, each normalisation declared right after its convolution.
_PACKED = ("resnet18",)
#: Networks are built one at a time: two threads at once would build one twice, and torch's compiler refuses the second.
_BUILDING = threading.Lock()


def score_stamps(
    detector: Detector,
    stamps: NDArray[np.float32] | StampStore,
    *,
    metadata: pd.DataFrame | None = None,
    batch_size: int = 64,
    threads: int = 1,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Probability (n,) that each of the stamps (n, band, y, x) float32 shows a lens, on the training stream's prior.

    A stamp's score depends on its own pixels and metadata, the detector, batch_size, threads and device alone.
    stamps: a StampStore is read pass by pass. metadata: one row a stamp, needed by a detector with metadata fusion,
    not looked at by any other. Raises PixelError on a wrong shape or pixels that are not finite, CatalogueError on
    missing metadata, OptionError on an impossible batch_size or device.
    """
    stamps, extra = scoring_inputs(detector, stamps, metadata, batch_size=batch_size, threads=threads)
    device = resolve_device(device)
    with torch_threads(threads):
        with _BUILDING:
            network = _placed_network(detector, device)
        return expit(network_logits(network, stamps, batch_size=batch_size, metadata=extra, device=device))


def scoring_inputs(
    detector: Detector,
    stamps: NDArray[np.float32] | StampStore,
    metadata: pd.DataFrame | None,
    *,
    batch_size: int,
    threads: int,
) -> tuple[NDArray[np.float32] | StampStore, NDArray[np.float32] | None]:
    """The stamps (n, band, y, x), checked, and the standardised metadata (n, m) of a fused detector, None of others.

    Errors as in ``score_stamps``.
    """
    check_between("batch_size", batch_size, 1, 65_536)
    check_between("threads", threads, 1, 1024)
    stamps = check_stamps(stamps, shape=detector.stamp_shape)
    constants = detector.card.get("metadata")
    return stamps, standardise(metadata, constants, rows=len(stamps)) if constants else None


def network_logits(
    network: Any,
    stamps: NDArray[np.float32] | StampStore,
    *,
    batch_size: int,
    metadata: NDArray[np.float32] | None = None,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Logits (n,) of a network in evaluation mode, in passes of ``batch_size`` rounded up to a multiple of _ROWS.

    metadata: (n, m), standardised, for a fused network. The pixels of a StampStore are checked here.
    """
    import torch

    logits = np.empty(len(stamps), dtype=np.float64)
    rows = -(-batch_size // _ROWS) * _ROWS
    padded = np.zeros((rows, *stamps.shape[1:]), dtype=np.float32)
    extra = np.zeros((rows, 0 if metadata is None else metadata.shape[1]), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(stamps), rows):
            batch = stamps[start : start + rows]
            if isinstance(stamps, StampStore):
                check_finite(batch, first=start)
            padded[: len(batch)], padded[len(batch) :] = batch, 0.0
            inputs = [torch.from_numpy(padded).to(device, memory_format=torch.channels_last)]
            if metadata is not None:
                extra[: len(batch)], extra[len(batch) :] = metadata[start : start + rows], 0.0
                inputs.append(torch.from_numpy(extra).to(device))
            logits[start : start + len(batch)] = network(*inputs).cpu().numpy()[: len(batch), 0]
    return logits


def check_stamps(
    stamps: NDArray[np.float32] | StampStore, *, shape: tuple[int, ...] = (3, 64, 64)
) -> NDArray[np.float32] | StampStore:
    """Return ``stamps`` if it is (n, *shape), float32 and finite; PixelError names what is wrong and where.

    The pixels of a StampStore are not read here.
    """
    if not isinstance(stamps, StampStore):
        stamps = np.asarray(stamps)
    if stamps.ndim != 4 or stamps.shape[1:] != tuple(shape):
        raise PixelError(f"stamps have shape {stamps.shape}; the detector takes (n, {', '.join(map(str, shape))})")
    if stamps.dtype != np.float32:
        raise PixelError(f"stamps are {stamps.dtype}; imaging.preprocess gives float32")
    if not isinstance(stamps, StampStore):
        check_finite(stamps)
    return stamps


@functools.lru_cache(maxsize=8)  # a detector is compared by identity: each is built once, not once a shard
def _placed_network(detector: Detector, device: str) -> Any:
    import torch

    network = frozen_network(detector)
    if device == "cpu" and detector.architecture in _PACKED and not detector.metadata_columns and _has_onednn():
        return _packed(network)
    return network.to(device, memory_format=torch.channels_last)


def _has_onednn() -> bool:
    import torch

    return bool(torch.backends.mkldnn.is_available())


def _packed(network: Any) -> Any:
    """The network for this processor alone: normalisations folded into the convolutions before them, and weights laid
    out once as the convolutions read them, not once a pass. 1.3 times the images a second; logits to 1e-6.
    """
    from torch import nn

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # of torch itself, by what it imports
        from torch.utils.mkldnn import to_mkldnn

        packed = to_mkldnn(_folded(network))

    class Packed(nn.Module):
        def forward(self, pixels: Any) -> Any:
            return packed(pixels.contiguous().to_mkldnn()).to_dense()

    return Packed()


def _folded(module: Any) -> Any:
    """``module`` with every batch normalisation that follows a convolution folded into it (frozen networks only)."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    before: tuple[str, Any] = ("", None)
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        before = (name, child)
        _folded(child)
    return module
