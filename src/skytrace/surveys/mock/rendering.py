"""Pixels of the mock sky, a shard at a time; each stamp depends on its own row and seed only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.profiles import point_sources, render_profiles
from skytrace.imaging.psf import sky_sigma_nmgy
from skytrace.imaging.sky_noise import draw_correlated_noise
from skytrace.surveys.interface import BANDS
from skytrace.surveys.mock.artefacts import apply_artefacts
from skytrace.surveys.mock.conditions import ELECTRONS_PER_NMGY_PER_EXPOSURE
from skytrace.surveys.mock.field import Stars
from skytrace.surveys.mock.lenses import LENS_PIXELS
from skytrace.surveys.mock.sky import PIXEL_STREAM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.surveys.mock.options import MockSurveyOptions
    from skytrace.surveys.mock.sky import MockSky

__all__ = ["STAMP_PIXELS", "noiseless_stamps", "render_stamps"]

STAMP_PIXELS = 101


def _span(stamp: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    """Rows of a stamp-ordered component table that belong to stamps start..stop-1."""
    low, high = np.searchsorted(stamp, [start, stop])
    return np.arange(low, high)


def noiseless_stamps(sky: MockSky, start: int, stop: int) -> NDArray[np.float32]:
    """Light of galaxies start..stop-1 with neighbours, arcs and stars, (n, band, y, x) [nanomaggies], no noise."""
    rows = np.arange(start, stop)
    psf = sky.psf.take(rows)
    sersic = sky.sersic.take(_span(sky.sersic.stamp, start, stop))
    gaussians = sky.gaussians.take(_span(sky.gaussians.stamp, start, stop))
    object.__setattr__(sersic, "stamp", sersic.stamp - start)
    object.__setattr__(gaussians, "stamp", gaussians.stamp - start)
    image = render_profiles(sersic, gaussians, psf, pixels=STAMP_PIXELS)
    lensed = rows[sky.lens_row[rows] >= 0]
    if len(lensed) and sky.systems is not None:
        arcs = sky.systems.take(sky.lens_row[lensed]).render(sky.psf.take(lensed))
        low = STAMP_PIXELS // 2 - LENS_PIXELS // 2
        image[lensed - start, :, low : low + LENS_PIXELS, low : low + LENS_PIXELS] += arcs
    for i in range(start, stop):
        stars = _stars_of(sky.stars, i)
        if len(stars):
            image[i - start] += point_sources(
                stars.x_arcsec,
                stars.y_arcsec,
                stars.flux_nmgy,
                sky.psf.fwhm_arcsec[i],
                beta=sky.psf.beta,
                pixels=STAMP_PIXELS,
            )
    return image


def _stars_of(stars: Stars, index: int) -> Stars:
    rows = _span(stars.stamp, index, index + 1)
    return Stars(*(values[rows] for values in vars(stars).values()))


def render_stamps(sky: MockSky, start: int, stop: int, *, options: MockSurveyOptions) -> dict[str, NDArray]:
    """image, invvar (n, band, y, x) float32 and maskbits (n, y, x) int32 of galaxies start..stop-1.

    invvar is that of the sky, as DR10's for anything fainter than the sky; the photon noise of the light itself is in
    the pixels. Both are resampled together, so noise is correlated between neighbouring pixels.
    """
    image = noiseless_stamps(sky, start, stop)
    invvar = np.empty_like(image)
    maskbits = np.empty((len(image), *image.shape[2:]), dtype=np.int32)
    for i in range(start, stop):
        row = sky.sky.iloc[i]
        light, weight = image[i - start], invvar[i - start]
        variance = np.empty_like(light)
        for b, band in enumerate(BANDS):
            sigma = float(sky_sigma_nmgy(row[f"psfdepth_{band}"], row[f"psfsize_{band}"]))
            electrons = ELECTRONS_PER_NMGY_PER_EXPOSURE[band] * row[f"nobs_{band}"]
            variance[b] = sigma**2 + np.maximum(light[b], 0.0) / electrons
            weight[b] = sigma**-2
        rng = np.random.default_rng([options.seed, PIXEL_STREAM, i])
        light += draw_correlated_noise(np.sqrt(variance), shape=light.shape, rng=rng)
        maskbits[i - start] = apply_artefacts(light, weight, sky.artefacts, i, _stars_of(sky.stars, i))
    return {"image": image, "invvar": invvar, "maskbits": maskbits}
