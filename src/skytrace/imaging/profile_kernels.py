"""The compiled inner loop of ``imaging.profiles``; imported only by functions that render."""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["add_sersic"]


@numba.njit(nogil=True, cache=True, fastmath=True)
def add_sersic(spectrum, kx, ky, phase_x, phase_y, shape, flux, row, log_k_low, log_k_high):  # pragma: no cover
    """Add flux[b] T(|A k|) phase_y phase_x to spectrum (band, ky, kx); shape = A row by row, row = T on a log grid."""
    last = row.size - 1
    step = (log_k_high - log_k_low) / last
    for i in range(ky.size):
        for j in range(kx.size):
            u = shape[0] * kx[j] + shape[1] * ky[i]
            v = shape[2] * kx[j] + shape[3] * ky[i]
            squared = u * u + v * v
            transfer = 1.0
            if squared > 0.0:
                place = (0.5 * np.log(squared) - log_k_low) / step
                if place >= last:
                    transfer = row[last]
                elif place > 0.0:
                    low = int(place)
                    part = place - low
                    transfer = row[low] + part * (row[low + 1] - row[low])
            value = transfer * phase_y[i] * phase_x[j]
            for b in range(flux.size):
                spectrum[b, i, j] += flux[b] * value
