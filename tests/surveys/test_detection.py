"""Detection and photometry against scenes whose every source is known."""

import numpy as np
import pytest
from scipy.special import gammaincinv

from skytrace.errors import OptionError, PixelError
from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing import LensModel, SourceModel, render_lenses
from skytrace.surveys.detection import (
    DetectionOptions,
    detect_sources,
    intrinsic_half_light_radius,
    moffat_half_light_radius,
    sersic_index_from_concentration,
    tractor_ellipticity,
)
from tests.surveys.legacy_files import moffat_pixels

FWHM = np.array([1.3, 1.1, 1.0])
SIGMA = np.array([0.004, 0.006, 0.012])
FLUX = np.array([5.0, 12.0, 25.0])
RADIUS = np.array([0.8, 1.2, 0.8, 1.2, 0.6, 0.7])
INDEX = np.array([1.0, 1.0, 4.0, 4.0, 1.0, 1.0])
AXIS_RATIO = np.array([0.9, 0.5, 0.9, 0.6, 0.7, 0.8])
ANGLE = np.array([0.3, 1.0, 0.3, 2.2, -0.4, 0.0])
STARS = ((50, 300), (150, 310), (250, 320))


@pytest.fixture(scope="module")
def scene():
    """(true x, true y, table of the matched detections, table of all): six galaxies, then three stars."""
    galaxies = len(RADIUS)
    zero = np.zeros(galaxies)
    stamps = render_lenses(
        LensModel(zero, np.ones(galaxies), zero),
        SourceModel(np.tile(FLUX, (galaxies, 1)), zero, zero, RADIUS, INDEX, AXIS_RATIO, ANGLE),
        MoffatPsf(np.tile(FWHM, (galaxies, 1)), 3.5),
        pixels=100,
    )
    image = np.random.default_rng(3).normal(size=(3, 400, 300)) * SIGMA[:, None, None]
    centres = [(50 + 100 * (k % 3), 60 + 100 * (k // 3)) for k in range(galaxies)]
    for stamp, (x, y) in zip(stamps, centres, strict=True):
        image[:, y - 50 : y + 50, x - 50 : x + 50] += stamp
    for x, y in STARS:
        for k in range(3):
            image[k] += moffat_pixels(x=x, y=y, flux=FLUX[k], fwhm_arcsec=FWHM[k], shape=image.shape[1:])
    centres = np.array([*centres, *STARS])
    table = detect_sources(image, np.broadcast_to(SIGMA[:, None, None] ** -2, image.shape), psf_fwhm_arcsec=FWHM)
    nearest = np.hypot(table["x"].to_numpy() - centres[:, :1], table["y"].to_numpy() - centres[:, 1:]).argmin(axis=1)
    return *centres.T, table.iloc[nearest].reset_index(drop=True), table


def test_finds_each_source_once_where_it_is(scene):
    x, y, matched, table = scene
    assert len(table) == 9
    # the coordinate origin of a rendered stamp is pixel 50 of 100
    assert np.hypot(matched["x"] - x, matched["y"] - y).max() < 0.4


def test_kron_fluxes_hold_the_stated_share_of_the_light(scene):
    share = scene[2]["flux_r"].to_numpy() / FLUX[1]
    is_dev = np.array([False, False, True, True, False, False, False, False, False])
    assert (share[~is_dev] > 0.93).all() and (share[~is_dev] < 1.02).all()
    assert (share[is_dev] > 0.80).all() and (share[is_dev] < 0.95).all()


def test_colours_are_those_put_in(scene):
    matched = scene[2]
    g_r = -2.5 * np.log10(matched["flux_g"] / matched["flux_r"]) + 2.5 * np.log10(FLUX[0] / FLUX[1])
    r_z = -2.5 * np.log10(matched["flux_r"] / matched["flux_z"]) + 2.5 * np.log10(FLUX[1] / FLUX[2])
    assert np.abs(g_r).max() < 0.08 and np.abs(r_z).max() < 0.08


def test_stars_are_psf_disks_are_ser_and_spheroids_are_dev(scene):
    kinds = scene[2]["type"].tolist()
    assert kinds == ["SER", "SER", "DEV", "DEV", "SER", "SER", "PSF", "PSF", "PSF"]


def test_half_light_radius_is_deconvolved_and_along_the_major_axis_scale(scene):
    # the product-average radius of an ellipse is sqrt(q) of its major axis; growth curves are circular
    np.testing.assert_allclose(scene[2]["shape_r"][:6], RADIUS, rtol=0.2)
    assert (scene[2]["shape_r"][6:] == 0).all()


def test_ellipticity_has_the_size_and_direction_put_in(scene):
    e1, e2 = tractor_ellipticity(AXIS_RATIO, ANGLE)
    # thresholded moments see the core of a de Vaucouleurs galaxy, which the PSF has made round
    np.testing.assert_allclose(scene[2]["shape_e1"][:6], e1, atol=0.12)
    np.testing.assert_allclose(scene[2]["shape_e2"][:6], e2, atol=0.12)


def test_flux_errors_describe_the_scatter_of_a_repeated_measurement():
    rng = np.random.default_rng(4)
    star = moffat_pixels(x=60, y=60, flux=3.0, fwhm_arcsec=1.1, shape=(121, 121))
    measured, quoted = [], []
    for _ in range(60):
        image = star + rng.normal(size=(3, 121, 121)) * SIGMA[:, None, None]
        table = detect_sources(image, np.broadcast_to(SIGMA[:, None, None] ** -2, image.shape), psf_fwhm_arcsec=FWHM)
        measured.append(table["flux_g"][0])
        quoted.append(table["flux_ivar_g"][0] ** -0.5)
    # 60 draws know a scatter to 9 %
    assert 0.7 < np.std(measured) / np.mean(quoted) < 1.4


def test_noise_alone_has_next_to_no_detections():
    rng = np.random.default_rng(5)
    image = rng.normal(size=(3, 400, 400)) * SIGMA[:, None, None]
    table = detect_sources(image, np.broadcast_to(SIGMA[:, None, None] ** -2, image.shape), psf_fwhm_arcsec=FWHM)
    assert len(table) <= 2


def test_pixels_without_data_are_neither_sources_nor_light():
    rng = np.random.default_rng(6)
    image = rng.normal(size=(3, 200, 200)) * SIGMA[:, None, None]
    image += moffat_pixels(x=100, y=100, flux=5.0, fwhm_arcsec=1.1, shape=(200, 200))
    invvar = np.array(np.broadcast_to(SIGMA[:, None, None] ** -2, image.shape))
    whole = detect_sources(image, invvar, psf_fwhm_arcsec=FWHM)
    image[:, :50] = 1e3
    invvar[:, :50] = 0
    image[1, 150, 150] = np.nan
    holed = detect_sources(image, invvar, psf_fwhm_arcsec=FWHM)
    assert len(whole) == len(holed) == 1
    assert holed["flux_r"][0] == pytest.approx(whole["flux_r"][0], rel=0.01)


def test_shapes_that_differ_and_fields_without_data_are_refused():
    image = np.zeros((3, 50, 50))
    with pytest.raises(PixelError, match=r"not both \(band=3, y, x\)"):
        detect_sources(image, image[:, :40], psf_fwhm_arcsec=FWHM)
    with pytest.raises(PixelError, match="no pixel with a positive inverse variance"):
        detect_sources(image, image, psf_fwhm_arcsec=FWHM)
    with pytest.raises(OptionError, match="threshold"):
        DetectionOptions(threshold=0.0)


def test_moffat_half_light_radius_encloses_half_of_the_pixels():
    star = moffat_pixels(x=200, y=200, flux=1.0, fwhm_arcsec=2.0, shape=(401, 401))
    radius = moffat_half_light_radius(2.0) / 0.262
    y, x = np.indices(star.shape) - 200
    assert star[np.hypot(x, y) <= radius].sum() == pytest.approx(0.5, abs=0.02)


def test_intrinsic_radius_subtracts_in_quadrature_and_stops_at_zero():
    np.testing.assert_allclose(intrinsic_half_light_radius([5.0, 3.0, 1.0], 3.0), [4.0, 0.0, 0.0])


@pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0, 6.0])
def test_sersic_index_inverts_the_concentration_of_a_pure_profile(n):
    concentration = (gammaincinv(2 * n, 0.9) / gammaincinv(2 * n, 0.5)) ** n
    assert sersic_index_from_concentration(concentration) == pytest.approx(n, abs=0.02)


def test_tractor_ellipticity_of_an_ellipse_along_north_is_positive_e1():
    # position angle 0 is north: +y of the image
    np.testing.assert_allclose(tractor_ellipticity(0.5, np.pi / 2), (1 / 3, 0.0), atol=1e-15)
    # east of north by 45 deg: up and to the left
    np.testing.assert_allclose(tractor_ellipticity(0.5, 0.75 * np.pi), (0.0, 1 / 3), atol=1e-15)
