"""A degraded host has the target's PSF, the target's noise and its own flux."""

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.imaging.psf import MoffatPsf, moffat_fwhm_from_psfsize
from skytrace.imaging.sky_noise import draw_correlated_noise, noise_autocorrelation, pixel_variance_share
from skytrace.lensing import LensModel, SourceModel, render_lenses
from skytrace.selection.degrade import degrade_cutouts, degraded_sky, transfer_ratio
from skytrace.statistics.streams import standard_normals

BANDS = 3
SIZE = 101


def sky_of(n: int, *, ratio: float = 1.5, magnitudes: float = 1.2):
    psfsize = np.full((n, BANDS), 1.0)
    depth = np.full((n, BANDS), psfdepth_from_mag(24.8))
    return degraded_sky(
        psfsize, depth, target_psfsize=psfsize * ratio, target_psfdepth=depth * 10.0 ** (-0.8 * magnitudes)
    )


def degrade(image, sky, *, silent: bool = False, electrons: float = 1e12):
    n = len(image)
    normals = standard_normals(np.arange(n), (2, BANDS, SIZE + 54, SIZE + 54), seed=5)
    invvar = np.broadcast_to(1.0 / sky.sigma[..., None, None] ** 2, image.shape).astype(np.float32)
    return degrade_cutouts(
        image, invvar, sky=sky, electrons_per_nmgy=np.full((n, BANDS), electrons), normals=normals * (not silent)
    )


def test_blank_sky_gets_the_target_noise_and_the_coadds_correlation():
    sky = sky_of(12)
    rng = np.random.default_rng(1)
    image = draw_correlated_noise(sky.sigma[..., None, None], shape=(12, BANDS, SIZE, SIZE), rng=rng)
    out, invvar = degrade(image, sky)
    inner = out[..., 5:-5, 5:-5].astype(np.float64)
    assert inner.std() == pytest.approx(sky.target_sigma[0, 0] * np.sqrt(pixel_variance_share()), rel=0.02)
    neighbours = (inner[..., 1:] * inner[..., :-1]).mean() / inner.var()
    assert neighbours == pytest.approx(noise_autocorrelation(1), abs=0.02)
    assert 1.0 / np.sqrt(np.median(invvar)) == pytest.approx(sky.target_sigma[0, 0], rel=0.005)


def star(psfsize: float) -> np.ndarray:
    point = SourceModel(np.full((1, BANDS), 100.0), 0.0, 0.0, 0.02, 1.0, 1.0, 0.0)
    psf = MoffatPsf(moffat_fwhm_from_psfsize(np.full((1, BANDS), psfsize)))
    return render_lenses(LensModel(np.zeros(1), 0.9, 0.0), point, psf, pixels=SIZE)


def test_a_star_gets_the_target_psf_and_keeps_its_flux():
    sky = sky_of(1)
    own, target = star(1.0), star(1.5)
    out, _ = degrade(own, sky, silent=True)
    assert out.sum() == pytest.approx(own.sum(), rel=1e-3)
    assert np.abs(out - target).max() < 5e-3 * target.max()


def test_the_kernel_is_a_kernel():
    ratio = transfer_ratio(np.array(0.9), np.array(1.3), size=129)
    kernel = np.fft.irfft2(ratio, s=(129, 129))
    assert ratio.max() == ratio[0, 0] == 1.0
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel.min() > -0.02 * kernel.max()


def test_pixels_without_data_stay_so_and_do_not_darken_their_neighbours():
    sky = sky_of(1)
    image = np.ones((1, BANDS, SIZE, SIZE), dtype=np.float32)
    invvar = np.full(image.shape, 100.0, dtype=np.float32)
    image[:, :, 40:45, 40:45], invvar[:, :, 40:45, 40:45] = np.nan, 0.0
    normals = np.zeros((1, 2, BANDS, SIZE + 54, SIZE + 54), dtype=np.float32)
    out, weight = degrade_cutouts(image, invvar, sky=sky, electrons_per_nmgy=np.full((1, BANDS), 1e9), normals=normals)
    assert (weight[:, :, 40:45, 40:45] == 0).all()
    assert np.isfinite(out[weight > 0]).all()
    assert out[weight > 0] == pytest.approx(1.0, abs=1e-5)


def test_the_reverse_is_refused():
    with pytest.raises(PixelError, match="never sharpened"):
        sky_of(1, ratio=0.9)
    with pytest.raises(PixelError, match="never sharpened or deepened"):
        sky_of(1, magnitudes=-0.1)
    with pytest.raises(PixelError, match="quieter per pixel"):
        sky_of(1, ratio=2.0, magnitudes=0.3)
