"""The report of injected pixels gives back a known noise, and a known share of light."""

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.sky_noise import draw_correlated_noise, pixel_variance_share
from skytrace.selection.injected_pixels import injected_pixels
from skytrace.selection.realism import GateOptions

N, SIZE = 12, 64


@pytest.fixture(scope="module")
def stamps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blank resampled sky of uneven inverse variance; light in the middle; what was put in."""
    rng = np.random.default_rng(5)
    sigma = np.broadcast_to(np.linspace(0.01, 0.03, SIZE), (N, 3, SIZE, SIZE)).astype(np.float32)
    sky = draw_correlated_noise(sigma, shape=sigma.shape, rng=rng)
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    light = np.where(np.hypot(x, y) < 4, 1.0, 0.0)
    flux = rng.uniform(1.0, 5.0, (N, 3))
    return sky, 1.0 / sigma**2, flux[..., None, None] * light / light.sum()


def measured(stamps, light, extra=0.0):
    sky, invvar, injected = stamps
    return injected_pixels(
        sky, sky + light + extra, invvar, injected.sum(axis=(2, 3)), theta_e_arcsec=1.0, fwhm_arcsec=1.0,
        options=GateOptions(),
    )  # fmt: skip


def test_noise_of_the_inverse_variance_and_all_of_the_light_are_found(stamps):
    found = measured(stamps, stamps[2])
    assert found["expected"] == pytest.approx(np.sqrt(pixel_variance_share()))
    assert found["expected"] < 0.95  # white noise would have 1
    for band in "grz":
        assert found["bands"][band]["rms_before"] == pytest.approx(found["expected"], abs=0.015)
        assert found["bands"][band]["rms_after"] == pytest.approx(found["bands"][band]["rms_before"], rel=1e-5)
        assert found["bands"][band]["flux_ratio"] == pytest.approx(1.0, abs=1e-5)
    assert found["n_px"] > 10_000 and found["n_stamps"] == N


def test_lost_light_and_noise_that_is_counted_twice_show(stamps):
    lost = stamps[2] * np.array([0.9, 1.0, 1.1])[:, None, None]
    sigma = 1.0 / np.sqrt(stamps[1])
    again = draw_correlated_noise(sigma.astype(np.float32), shape=sigma.shape, rng=np.random.default_rng(6))
    found = measured(stamps, lost)
    assert [found["bands"][band]["flux_ratio"] for band in "grz"] == pytest.approx([0.9, 1.0, 1.1], abs=1e-5)
    assert "g 0.9000, r 1.0000, z 1.1000" in found["sentence"]
    noisy = measured(stamps, stamps[2], again)["bands"]["r"]
    assert noisy["rms_after"] / noisy["rms_before"] == pytest.approx(np.sqrt(2.0), abs=0.02)


def test_without_background_or_light_nothing_is_invented(stamps):
    sky, invvar, injected = stamps
    flux = injected.sum(axis=(2, 3))
    found = injected_pixels(
        sky, sky, invvar, 0.0 * flux, theta_e_arcsec=20.0, fwhm_arcsec=1.0, options=GateOptions()
    )  # fmt: skip
    assert found["n_px"] == 0
    assert set(found["bands"]["g"].values()) == {None}
    assert "g none to none" in found["sentence"]
    with pytest.raises(PixelError, match="flux_nmgy"):
        injected_pixels(sky, sky, invvar, flux[:2], theta_e_arcsec=1.0, fwhm_arcsec=1.0, options=GateOptions())
