"""The noise of a spectrum from the spectrum itself, where its authors give no errors.

DER_SNR (Stoehr et al. 2008, ASP Conf. 394, 505) in a running window: the combination 2 f_i - f_(i-2) - f_(i+2) removes
whatever is linear over five pixels and has six times the variance of a pixel. It assumes noise that is independent two
pixels apart and lines that are wider than that: correlated noise is underestimated, unresolved lines count as noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.preprocessing import MAD_TO_SIGMA

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["local_scatter"]


def local_scatter(flux: ArrayLike, *, window_px: int = 101) -> NDArray[np.float64]:
    """Standard deviation of the noise at each pixel of spectra (..., m) without gaps: running median over ``window_px``
    pixels of |2 f_i - f_(i-2) - f_(i+2)|, times 1.4826 / sqrt(6). Raises ValueError for fewer than 5 pixels.
    """
    from scipy.ndimage import median_filter

    values = np.asarray(flux, dtype=np.float64)
    if values.shape[-1] < 5:
        raise ValueError(f"the local scatter needs at least 5 pixels; the spectrum has {values.shape[-1]}")
    second = np.abs(2.0 * values[..., 2:-2] - values[..., :-4] - values[..., 4:])
    window = min(window_px, second.shape[-1])
    size = (*([1] * (values.ndim - 1)), window)
    scatter = MAD_TO_SIGMA / np.sqrt(6.0) * median_filter(second, size=size, mode="reflect")
    ends = [(0, 0)] * (values.ndim - 1) + [(2, 2)]
    return np.pad(scatter, ends, mode="edge")
