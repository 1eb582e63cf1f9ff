"""Scores of stamps by a frozen detector, the same to the last bit however the stamps are grouped.

The numerical library chooses its kernels by the batch size, and treats the last rows of an odd one apart. So every pass
has the same number of stamps, a multiple of 16, and the last is filled up with zeros: shards of 200 waste least with
batch_size 208 (one pass) or 112 (two).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from skytrace.errors import PixelError, check_between
from skytrace.learning.networks import build_network, load_state
from skytrace.learning.threads import torch_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.learning.detector import Detector

__all__ = ["check_stamps", "network_logits", "score_stamps"]

#: Passes are multiples of this many stamps: with others a stamp's score was seen to depend on its place in the pass.
_ROWS = 16


def score_stamps(
    detector: Detector, stamps: NDArray[np.float32], *, batch_size: int = 64, threads: int = 1
) -> NDArray[np.float64]:
    """Probability (n,) that each of the stamps (n, band, y, x) float32 shows a lens, on the training stream's prior.

    A stamp's score depends on its own pixels, the detector, batch_size and threads alone.
    Raises PixelError on a wrong shape or pixels that are not finite, OptionError on an impossible batch_size.
    """
    check_between("batch_size", batch_size, 1, 65_536)
    check_between("threads", threads, 1, 1024)
    stamps = check_stamps(stamps, shape=detector.stamp_shape)
    with torch_threads(threads):
        return expit(network_logits(_frozen_network(detector), stamps, batch_size=batch_size))


def network_logits(network: Any, stamps: NDArray[np.float32], *, batch_size: int) -> NDArray[np.float64]:
    """Logits (n,) of a network in evaluation mode, in passes of ``batch_size`` rounded up to a multiple of _ROWS."""
    import torch

    logits = np.empty(len(stamps), dtype=np.float64)
    padded = np.zeros((-(-batch_size // _ROWS) * _ROWS, *stamps.shape[1:]), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(stamps), len(padded)):
            batch = stamps[start : start + len(padded)]
            padded[: len(batch)], padded[len(batch) :] = batch, 0.0
            pixels = torch.from_numpy(padded).to(memory_format=torch.channels_last)
            logits[start : start + len(batch)] = network(pixels).numpy()[: len(batch), 0]
    return logits


def check_stamps(stamps: NDArray[np.float32], *, shape: tuple[int, int, int] = (3, 64, 64)) -> NDArray[np.float32]:
    """Return ``stamps`` if it is (n, *shape), float32 and finite; PixelError names what is wrong and where."""
    stamps = np.asarray(stamps)
    if stamps.ndim != 4 or stamps.shape[1:] != tuple(shape):
        raise PixelError(f"stamps have shape {stamps.shape}; the detector takes (n, {', '.join(map(str, shape))})")
    if stamps.dtype != np.float32:
        raise PixelError(f"stamps are {stamps.dtype}; imaging.preprocess gives float32")
    bad = ~np.isfinite(stamps).all(axis=(1, 2, 3))
    if bad.any():
        raise PixelError(
            f"stamp {int(np.flatnonzero(bad)[0])} has pixels that are not finite ({int(bad.sum())} such stamp(s)); "
            "reject such cutouts with imaging.quality, then use imaging.preprocess"
        )
    return stamps


@functools.lru_cache(maxsize=4)  # a detector is compared by identity: each is built once, not once a shard
def _frozen_network(detector: Detector) -> Any:
    import torch

    network = load_state(build_network(detector.architecture, in_channels=detector.stamp_shape[0]), detector.state)
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
