"""Galaxy profiles rendered in Fourier space agree with closed forms and with direct-space convolution."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from skytrace.errors import PixelError
from skytrace.imaging.profiles import (
    GaussianComponents,
    SersicComponents,
    effective_area_pixels,
    moffat_transfer,
    point_sources,
    render_profiles,
    sersic_transfer,
)
from skytrace.imaging.psf import MoffatPsf, neff_pixels

NO_SERSIC = SersicComponents(
    *(np.zeros((0, 1)) if i == 1 else np.zeros(0, dtype=int if i == 0 else float) for i in range(8))
)
NO_GAUSSIANS = GaussianComponents(np.zeros(0, dtype=int), np.zeros((0, 1)), *[np.zeros(0)] * 3)
SCALE = 0.262


def one_sersic(flux, x, y, radius, index, q, phi):
    columns = (np.array([value], dtype=float) for value in (x, y, radius, index, q, phi))
    return SersicComponents(np.array([0]), np.array([[flux]], dtype=float), *columns)


def direct_image(profile, fwhm, pixels, oversample):
    """Sersic2D sampled finely, convolved with a finely sampled Moffat, read at pixel centres."""
    fine = SCALE / oversample
    half = (pixels // 2) * oversample
    axis = np.arange(-half, half + 1) * fine
    surface = profile(*np.meshgrid(axis, axis)) * fine**2
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    kernel = (1 + (axis[:, None] ** 2 + axis[None, :] ** 2) / alpha**2) ** -3.5 * 2.5 / np.pi / alpha**2 * SCALE**2
    return fftconvolve(surface, kernel, mode="same")[::oversample, ::oversample], surface.sum()


@pytest.mark.parametrize("index, tolerance", [(0.7, 1e-3), (1.0, 1e-3), (2.5, 5e-3)])
def test_render_matches_direct_space_convolution_of_astropy_sersic(index, tolerance):
    from astropy.modeling.models import Sersic2D

    q, phi, radius, fwhm = 0.6, 0.7, 0.7, 1.0
    model = Sersic2D(amplitude=1.0, r_eff=radius / np.sqrt(q), n=index, x_0=0.3, y_0=-0.2, ellip=1 - q, theta=phi)
    expected, flux = direct_image(model, fwhm, 81, 9)
    rendered = render_profiles(
        one_sersic(flux, 0.3, -0.2, radius, index, q, phi), NO_GAUSSIANS, MoffatPsf(np.array([[fwhm]])), pixels=81
    )[0, 0]
    assert np.abs(rendered - expected).max() < tolerance * expected.max()


@pytest.mark.parametrize("index", [1.0, 4.0])
def test_total_flux_is_conserved(index):
    image = render_profiles(
        one_sersic(5.0, 0.1, 0.2, 0.5, index, 0.7, 1.0), NO_GAUSSIANS, MoffatPsf(np.array([[1.1]])), pixels=401
    )
    assert image.sum() == pytest.approx(5.0, rel=5e-3)


def test_transfer_functions_match_closed_forms():
    k = np.geomspace(0.01, 50.0, 60)
    assert sersic_transfer(k, 1.0) == pytest.approx((1 + (k / 1.6783470) ** 2) ** -1.5, abs=1e-4)
    assert sersic_transfer(k, 0.5) == pytest.approx(np.exp(-(k**2) / 4 / np.log(2)), abs=1e-4)
    assert moffat_transfer(0.0, 1.0) == 1.0


def test_gaussians_and_points_match_each_other_and_carry_their_flux():
    psf = MoffatPsf(np.array([[1.2]]))
    tiny = GaussianComponents(np.array([0]), np.array([[2.0]]), np.array([0.4]), np.array([-1.3]), np.array([1e-4]))
    image = render_profiles(NO_SERSIC, tiny, psf)[0, 0]
    star = point_sources([0.4], [-1.3], np.array([[2.0]]), psf.fwhm_arcsec[0])[0]
    assert np.abs(image - star).max() < 2e-3 * star.max()
    assert image.sum() == pytest.approx(2.0, rel=2e-3)
    peak = np.unravel_index(star.argmax(), star.shape)
    assert peak == (50 + round(-1.3 / SCALE), 50 + round(0.4 / SCALE))


def test_effective_area_of_a_point_is_neff_and_of_the_galdepth_profile_a_third_of_a_magnitude_more():
    size = np.array([0.9, 1.2, 1.6])
    assert effective_area_pixels(size, 0.0) == pytest.approx(neff_pixels(size), rel=1e-3)
    # depth maps of a DECaLS brick (r, one exposure): psfdepth - galdepth = 0.34 mag
    assert 1.25 * np.log10(effective_area_pixels(1.2, 0.45) / neff_pixels(1.2)) == pytest.approx(0.33, abs=0.03)


def test_component_of_an_unknown_stamp_is_refused():
    stray = one_sersic(1, 0, 0, 1, 1, 1, 0)
    object.__setattr__(stray, "stamp", np.array([1]))
    with pytest.raises(PixelError, match="stamps outside"):
        render_profiles(stray, NO_GAUSSIANS, MoffatPsf(np.array([[1.0]])))
