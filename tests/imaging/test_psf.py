"""What a tabulated PSF size means, and the transfer functions, against vectors."""

import json
from pathlib import Path

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.psf import (
    ImagePsf,
    MoffatPsf,
    half_maximum_fwhm_arcsec,
    moffat_fwhm_from_psfsize,
    neff_pixels,
    psfsize_of_images,
    sky_sigma_nmgy,
)
from skytrace.lensing._fourier import moffat_otf

VECTORS = json.loads((Path(__file__).parents[1] / "lensing" / "vectors.json").read_text())


@pytest.mark.parametrize("case", VECTORS["psfsize"]["cases"])
def test_moffat_of_a_psfsize_has_the_tabulated_effective_area(case):
    width = moffat_fwhm_from_psfsize(case["psfsize"], beta=case["beta"])
    assert width == pytest.approx(case["moffat_fwhm"], rel=2e-5)  # the vectors round 2.3548200 to 2.3548
    alpha = width / (2 * np.sqrt(2 ** (1 / case["beta"]) - 1))
    neff = np.pi * alpha**2 * (2 * case["beta"] - 1) / (case["beta"] - 1) ** 2
    assert neff == pytest.approx(neff_pixels(case["psfsize"]) * 0.262**2, rel=1e-12)
    assert neff == pytest.approx(case["neff_arcsec2"], rel=1e-4)


@pytest.mark.parametrize("case", VECTORS["moffat"]["cases"])
def test_closed_transfer_functions_match_the_vectors(case):
    for wavenumber, value in case["otf_at_k_rad_per_arcsec"].items():
        ours = moffat_otf(np.array(float(wavenumber)), np.array(case["fwhm"]), beta=case["beta"])
        assert ours == pytest.approx(value, rel=1e-9)


def test_transfer_function_is_the_transform_of_the_profile():
    axis = np.arange(-60, 60, 0.05)
    alpha = 1.2 / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    profile = (1 + (axis[:, None] ** 2 + axis**2) / alpha**2) ** -3.5
    for k in (0.5, 2.0):
        transform = (profile.sum(axis=0) * np.cos(k * axis)).sum() / profile.sum()
        assert moffat_otf(np.array(k), np.array(1.2), beta=3.5) == pytest.approx(transform, abs=1e-6)


@pytest.mark.parametrize("case", VECTORS["noise"]["cases"])
def test_sky_noise_and_effective_area_match_the_vectors(case):
    assert neff_pixels(case["fwhm"]) == pytest.approx(case["neff_gauss_pix"], rel=1e-9)
    assert sky_sigma_nmgy(case["psfdepth"], case["fwhm"]) == pytest.approx(case["sigma_pix_gauss"], rel=1e-9)


def test_taking_stamps_takes_their_psfs():
    psf = MoffatPsf(np.array([[1.0, 1.1], [1.2, 1.3], [1.4, 1.5]]), 2.5).take([2, 0])
    assert psf.beta == 2.5 and psf.fwhm_arcsec.tolist() == [[1.4, 1.5], [1.0, 1.1]]
    images = np.arange(27, dtype=np.float32).reshape(3, 1, 3, 3)
    assert np.array_equal(ImagePsf(images).take([1]).images, images[1:2])


def test_psfs_without_a_width_or_with_an_even_image_are_refused():
    with pytest.raises(PixelError, match="finite and positive"):
        MoffatPsf(np.array([[1.0, np.nan]]))
    with pytest.raises(PixelError, match="odd k"):
        ImagePsf(np.ones((1, 3, 4, 4), dtype=np.float32))


@pytest.mark.parametrize("beta", [2.5, 3.5])
def test_measured_width_and_psfsize_of_a_moffat_image_are_those_it_was_made_with(beta):
    y, x = np.indices((63, 63)) - 31
    widths = np.array([[0.85, 1.1], [1.35, 1.8]])
    alpha = widths[..., None, None] / (2 * np.sqrt(2 ** (1 / beta) - 1))
    images = (1 + 0.262**2 * (x**2 + y**2) / alpha**2) ** -beta
    psf = ImagePsf((images / images.sum(axis=(-2, -1), keepdims=True)).astype(np.float32))
    assert psf.fwhm_arcsec == pytest.approx(widths, rel=2e-3)
    # the wings beyond 8 arcsec, which the image lacks, hold some per mille of the light
    assert moffat_fwhm_from_psfsize(psfsize_of_images(images), beta=beta) == pytest.approx(widths, rel=8e-3)


@pytest.mark.parametrize("side", [12, 13, 16, 32, 33])
@pytest.mark.parametrize("centre_px", [0.0, 0.5, 0.27])
@pytest.mark.parametrize("width_px", [4.2, 6.0])
def test_width_of_a_moffat_is_the_same_on_an_even_grid_and_between_pixels(side, centre_px, width_px):
    """Also where the image ends a FWHM from the centre: there a sine for the even grid's tangent errs by 2 %."""
    y, x = np.indices((side, side)) - side // 2 + centre_px
    alpha = width_px / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    image = (1 + (x**2 + y**2) / alpha**2) ** -3.5
    assert half_maximum_fwhm_arcsec(image, pixel_scale_arcsec=1.0) == pytest.approx(width_px, rel=4e-3)


def test_width_of_an_elliptical_or_displaced_psf_is_that_of_the_circle_of_equal_area():
    y, x = np.indices((41, 41)) - 20.0
    image = np.exp(-0.5 * (((x - 0.3) / 3.0) ** 2 + ((y + 0.4) / 2.0) ** 2))
    assert half_maximum_fwhm_arcsec(image, pixel_scale_arcsec=1.0) == pytest.approx(2.35482 * np.sqrt(6.0), rel=1e-3)
    with pytest.raises(PixelError, match="no positive maximum"):
        half_maximum_fwhm_arcsec(np.zeros((5, 5)))
