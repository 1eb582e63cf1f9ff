"""What a tabulated PSF size means, and the transfer functions, against vectors."""

import json
from pathlib import Path

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.psf import ImagePsf, MoffatPsf, moffat_fwhm_from_psfsize, neff_pixels, sky_sigma_nmgy
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
