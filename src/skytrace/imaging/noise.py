"""Photon noise of light that is added to an image which already carries its sky's noise.

The host's pixels keep their own noise; only the added light brings its own, of variance F / g with g the electrons per
nanomaggy summed over the exposures. Nothing is added twice. The exposures' noise was resampled with their light, so
that of added light is correlated between neighbouring pixels too (``sky_noise``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import PixelError
from skytrace.imaging.sky_noise import NOISE_PAD, correlated_noise

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["photon_noise", "photon_sigma_nmgy"]


def photon_sigma_nmgy(added_flux_nmgy: ArrayLike, electrons_per_nmgy: ArrayLike) -> NDArray[np.float64]:
    """Standard deviation [nanomaggies] of added light: sqrt(max(F, 0) / g); broadcasts.

    added_flux_nmgy: (n, band, y, x) light per pixel. electrons_per_nmgy: g > 0, a scalar, (n,) or (n, band), or pixels.
    Raises PixelError where g is not positive and finite.
    """
    flux = np.asarray(added_flux_nmgy, dtype=np.float64)
    gain = np.asarray(electrons_per_nmgy, dtype=np.float64)
    if not (np.isfinite(gain).all() and (gain > 0).all()):
        raise PixelError("electrons_per_nmgy must be positive and finite; it is gain x exposure time per nanomaggy")
    if 0 < gain.ndim < flux.ndim:
        gain = gain.reshape(gain.shape + (1,) * (flux.ndim - gain.ndim))
    return np.sqrt(np.maximum(flux, 0.0) / gain)


def photon_noise(
    added_flux_nmgy: ArrayLike, electrons_per_nmgy: ArrayLike, *, normals: ArrayLike
) -> NDArray[np.float32]:
    """Noise image [nanomaggies], the shape of the light, from standard ``normals`` with a margin of NOISE_PAD pixels.

    Gaussian limit of the photon count: the sky's own photons dominate every pixel of a ground-based coadd. The white
    noise of the exposures has variance F / g; it is resampled as theirs (``sky_noise.correlated_noise``).
    Raises PixelError where ``normals`` have another shape or the gain is not positive.
    """
    sigma = photon_sigma_nmgy(added_flux_nmgy, electrons_per_nmgy)
    draws = np.asarray(normals)
    expected = (*sigma.shape[:-2], sigma.shape[-2] + 2 * NOISE_PAD, sigma.shape[-1] + 2 * NOISE_PAD)
    if draws.shape != expected:
        raise PixelError(f"normals of shape {draws.shape} for light of shape {sigma.shape}: they must be {expected}")
    return correlated_noise(sigma, draws)
