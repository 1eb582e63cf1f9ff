"""Random numbers that belong to an item, not to an order: counter-based, vectorised, the same alone or in any batch.

Each number is a hash of (seed, id of the item, channel): SplitMix64's finaliser (Steele, Lea & Flood 2014) applied
three times in sequence. Uniforms have 53 bits and lie strictly inside (0, 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from skytrace.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["normal_quantile", "splitmix64", "standard_normals", "stream_uniforms"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def stream_uniforms(ids: ArrayLike, channels: int, *, seed: int, first_channel: int = 0) -> NDArray[np.float64]:
    """Uniforms in (0, 1), shape (n, channels): row i depends on ids[i], the seed and the channel's number alone.

    ids: (n,) whole numbers >= 0. Raises OptionError for a negative id or seed.
    """
    keys = _keys(ids, seed)
    counters = np.arange(first_channel, first_channel + channels, dtype=np.uint64)
    with np.errstate(over="ignore"):
        words = splitmix64(keys[:, None] + (counters[None, :] + np.uint64(1)) * _GOLDEN)
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def standard_normals(ids: ArrayLike, shape: tuple[int, ...], *, seed: int) -> NDArray[np.float32]:
    """Standard normal deviates (n, *shape) float32: item i's depend on ids[i] and the seed alone.

    Each 64-bit word gives a pair by Box and Muller's transform, at 32 bits a uniform: |z| < 6.7.
    """
    keys = _keys(ids, seed)
    size = int(np.prod(shape))
    pairs = (size + 1) // 2
    out = np.empty((len(keys), 2 * pairs), dtype=np.float32)
    counters = (np.arange(pairs, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    for row, key in enumerate(keys):  # one pass a stamp keeps the words in cache; the work inside is vectorised
        with np.errstate(over="ignore"):
            words = splitmix64(key + counters)
        radius = ((words >> np.uint64(32)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
        angle = (words & np.uint64(0xFFFFFFFF)).astype(np.float32) * np.float32(2.0 * np.pi * 2.0**-32)
        radius = np.sqrt(np.float32(-2.0) * np.log(radius))
        out[row, :pairs] = radius * np.cos(angle)
        out[row, pairs:] = radius * np.sin(angle)
    return out[:, :size].reshape(len(keys), *shape)


def normal_quantile(uniforms: ArrayLike) -> NDArray[np.float64]:
    """Standard normal deviates of uniforms in (0, 1), by the inverse distribution function."""
    return ndtri(np.asarray(uniforms, dtype=np.float64))


def _keys(ids: ArrayLike, seed: int) -> NDArray[np.uint64]:
    ids = np.atleast_1d(np.asarray(ids))
    if ids.dtype.kind not in "iu" or ids.ndim != 1 or (ids < 0).any():
        raise OptionError("ids of random streams must be a list of whole numbers >= 0")
    if seed < 0:
        raise OptionError(f"seed = {seed} must not be negative")
    with np.errstate(over="ignore"):
        root = splitmix64(np.array([seed], dtype=np.uint64) + _GOLDEN)
        return splitmix64(root ^ splitmix64((ids.astype(np.uint64) + np.uint64(1)) * _GOLDEN))


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014) of every word; arithmetic is modulo 2^64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
