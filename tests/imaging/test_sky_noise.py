"""Correlated sky noise: large scales keep the variance asked for; neighbours correlate as after Lanczos-3."""

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, sky_sigma_nmgy
from skytrace.imaging.sky_noise import (
    NOISE_PAD,
    correlated_noise,
    draw_correlated_noise,
    noise_autocorrelation,
    pixel_variance_share,
    resampling_kernel,
)


def test_pixels_scatter_less_and_neighbours_correlate_as_the_kernel_says():
    noise = draw_correlated_noise(0.02, shape=(40, 200, 200), rng=np.random.default_rng(1)).astype(float)
    assert pixel_variance_share() == pytest.approx(0.893**2, abs=3e-3)
    assert noise.std() == pytest.approx(0.02 * np.sqrt(pixel_variance_share()), rel=5e-3)
    for lag in (1, 2, 3):
        measured = (noise[:, :, lag:] * noise[:, :, :-lag]).mean() / noise.var()
        assert measured == pytest.approx(noise_autocorrelation(lag), abs=4e-3)
        assert (noise[:, lag:] * noise[:, :-lag]).mean() / noise.var() == pytest.approx(measured, abs=6e-3)
    assert noise_autocorrelation(0) == pytest.approx(1.0)
    assert noise_autocorrelation(1) > 0.05


def test_a_matched_filter_reaches_the_depth_that_the_catalogue_states():
    """psfdepth is the inverse variance of a point source's optimal flux, 1 / (sigma^2 Neff)."""
    psfsize, psfdepth = 1.2, 900.0
    sigma = sky_sigma_nmgy(psfdepth, psfsize)
    y, x = np.indices((31, 31)) - 15
    profile = np.exp(-0.5 * (x**2 + y**2) / (psfsize / 2.3548 / PIXEL_SCALE_ARCSEC) ** 2)
    profile /= profile.sum()
    noise = draw_correlated_noise(sigma, shape=(40_000, 31, 31), rng=np.random.default_rng(3)).astype(float)
    flux = (noise * profile).sum(axis=(1, 2)) / (profile**2).sum()
    assert flux.std() * np.sqrt(psfdepth) == pytest.approx(1.0, abs=0.02)


def test_kernel_has_the_mean_power_spectrum_of_shifted_lanczos3_exposures():
    rng = np.random.default_rng(5)
    shifts = rng.uniform(-0.5, 0.5, 4000)
    taps = np.arange(-3, 4) - shifts[:, None]
    weights = np.where(np.abs(taps) < 3, np.sinc(taps) * np.sinc(taps / 3), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    brute = np.mean([np.correlate(w, w, "full") for w in weights], axis=0)
    brute = brute[len(brute) // 2 :] / brute[len(brute) // 2]
    assert [noise_autocorrelation(lag) for lag in range(4)] == pytest.approx(brute[:4], abs=8e-3)
    assert resampling_kernel().sum() == pytest.approx(1.0)


def test_noise_follows_a_sigma_map():
    sigma = np.full((60, 60), 1.0)
    sigma[:, 30:] = 3.0
    noise = draw_correlated_noise(sigma, shape=(300, 60, 60), rng=np.random.default_rng(2))
    pixel = np.sqrt(pixel_variance_share())
    assert noise[:, :, :20].std() == pytest.approx(pixel, rel=0.01)
    assert noise[:, :, 40:].std() == pytest.approx(3.0 * pixel, rel=0.01)


def test_bad_shapes_and_sigmas_are_refused():
    with pytest.raises(PixelError, match="margin"):
        correlated_noise(1.0, np.zeros((2 * NOISE_PAD, 50), dtype=np.float32))
    with pytest.raises(PixelError, match="sigma"):
        correlated_noise(np.nan, np.zeros((50, 50), dtype=np.float32))
