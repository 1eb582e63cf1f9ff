"""Apertures: areas, errors, per-lens radii, masks; host models leave arcs and remove ellipses."""

import numpy as np
import pytest

from skytrace.errors import OptionError, PixelError
from skytrace.imaging.apertures import (
    annulus_photometry,
    aperture_photometry,
    elliptical_radius,
    radial_profile,
    subtract_azimuthal_profile,
)


@pytest.mark.parametrize("radius", [3.0, 8.0, 12.5, 30.0])
def test_a_flat_image_sums_to_the_area_of_the_disc(radius):
    result = aperture_photometry(np.full((2, 3, 101, 101), 2.0, dtype=np.float32), radius_px=radius)
    np.testing.assert_allclose(result.flux_nmgy, 2.0 * np.pi * radius**2, rtol=0.012)
    np.testing.assert_allclose(result.mean_nmgy, 2.0, rtol=1e-6)
    assert np.isnan(result.error_nmgy).all()


def test_a_gaussian_star_gives_its_enclosed_flux():
    radius = elliptical_radius(101)
    star = (np.exp(-0.5 * (radius / 3.0) ** 2) / (2 * np.pi * 9.0)).astype(np.float32)[None, None]
    for aperture in (4.0, 8.0):
        expected = 1 - np.exp(-0.5 * (aperture / 3.0) ** 2)
        assert aperture_photometry(star, radius_px=aperture).flux_nmgy[0, 0] == pytest.approx(expected, rel=0.01)


def test_annuli_and_discs_add_up():
    images = np.random.default_rng(0).normal(1, 1, (3, 3, 64, 64)).astype(np.float32)
    disc = aperture_photometry(images, radius_px=5.0).flux_nmgy
    ring = annulus_photometry(images, inner_px=5.0, outer_px=11.0).flux_nmgy
    whole = aperture_photometry(images, radius_px=11.0).flux_nmgy
    # softened edges: a shared edge pixel counts w + (1 - w) = 1
    np.testing.assert_allclose(disc + ring, whole, rtol=1e-5)


def test_every_lens_and_band_can_have_its_own_radius():
    images = np.ones((2, 3, 64, 64), dtype=np.float32)
    by_lens = aperture_photometry(images, radius_px=[4.0, 9.0]).flux_nmgy
    by_band = aperture_photometry(images, radius_px=[[4.0, 9.0, 4.0], [9.0, 4.0, 9.0]]).flux_nmgy
    assert by_lens[1, 0] / by_lens[0, 0] == pytest.approx(81 / 16, rel=0.01)
    assert by_band[0, 1] == by_lens[1, 0] and by_band[1, 1] == by_lens[0, 0]


def test_errors_are_the_scatter_of_the_sums():
    rng = np.random.default_rng(1)
    invvar = np.broadcast_to(np.float32(4.0), (1500, 1, 41, 41))
    images = rng.normal(0, 0.5, (1500, 1, 41, 41)).astype(np.float32)
    result = annulus_photometry(images, invvar, inner_px=4.0, outer_px=9.0)
    assert result.flux_nmgy.std() == pytest.approx(result.error_nmgy[0, 0], rel=0.06)


def test_pixels_without_data_are_left_out_and_lower_the_coverage():
    images = np.ones((1, 2, 64, 64), dtype=np.float32)
    invvar = np.ones_like(images)
    images[0, 0, :, :32] = np.nan
    invvar[0, 1] = 0.0
    result = aperture_photometry(images, invvar, radius_px=8.0)
    assert result.mean_nmgy[0, 0] == pytest.approx(1.0)
    assert result.coverage[0] == pytest.approx([0.54, 0.0], abs=0.01)
    assert result.flux_nmgy[0, 1] == 0.0 and np.isnan(result.mean_nmgy[0, 1])


def test_a_radial_profile_is_the_mean_of_each_ring():
    radius = elliptical_radius(64)
    image = np.where(radius < 5, 7.0, np.where(radius < 9, 3.0, np.nan)).astype(np.float32)
    profile = radial_profile(image[None, None], edges_px=[0, 5, 9, 12])
    np.testing.assert_allclose(profile[0, 0, :2], [7.0, 3.0])
    assert np.isnan(profile[0, 0, 2])


def _exponential(q, phi, scale=6.0):
    return 10.0 * np.exp(-elliptical_radius(64, q=q, phi_rad=phi) / scale)


def test_an_elliptical_host_vanishes_under_its_own_ellipse():
    q, phi = np.array([1.0, 0.7, 0.5]), np.array([0.0, 0.6, 2.2])
    host = _exponential(q, phi)
    residual = subtract_azimuthal_profile(host[:, None].astype(np.float32), q=q, phi_rad=phi)[:, 0]
    radius = elliptical_radius(64, q=q, phi_rad=phi)
    outside_the_cusp = (radius > 3) & (radius < 30)
    assert np.abs(residual / host)[outside_the_cusp].max() < 0.03
    # and does not under a circle
    circular = subtract_azimuthal_profile(host[1:, None].astype(np.float32))[:, 0]
    assert np.abs(circular / host[1:])[outside_the_cusp[1:]].max() > 0.15


def test_an_arc_survives_the_subtraction_of_its_host_with_its_flux():
    y, x = np.indices((64, 64)) - 32
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    arc = np.exp(-0.5 * ((radius - 9.0) / 1.2) ** 2) * (np.abs(angle) < 0.8)
    host = _exponential(1.0, 0.0)
    residual = subtract_azimuthal_profile((host + arc).astype(np.float32)[None, None])[0, 0]
    assert residual[arc > 0.05].sum() == pytest.approx(arc[arc > 0.05].sum(), rel=0.05)


def test_a_whole_ring_survives_where_it_is_left_out_of_the_model():
    radius = elliptical_radius(64)
    ring = np.exp(-0.5 * ((radius - 10.0) / 1.0) ** 2)
    images = (_exponential(1.0, 0.0) + ring).astype(np.float32)[None, None]
    kept = subtract_azimuthal_profile(images, leave_out=(np.abs(radius - 10.0) < 4.0)[None])[0, 0]
    lost = subtract_azimuthal_profile(images)[0, 0]
    assert np.median(kept[np.abs(radius - 10.0) < 0.5]) > 0.7
    assert abs(np.median(lost[np.abs(radius - 10.0) < 0.5])) < 0.1


def test_a_stamp_is_modelled_alike_alone_and_in_a_batch_and_without_data_stays_itself():
    rng = np.random.default_rng(3)
    images = rng.normal(1, 1, (70, 3, 32, 32)).astype(np.float32)
    invvar = np.ones_like(images)
    invvar[5, 1] = 0.0
    together = subtract_azimuthal_profile(images, invvar)
    np.testing.assert_allclose(subtract_azimuthal_profile(images[69:], invvar[69:])[0], together[69], atol=1e-6)
    np.testing.assert_array_equal(together[5, 1], images[5, 1])


def test_wrong_shapes_and_radii_are_refused():
    images = np.ones((2, 3, 32, 32), dtype=np.float32)
    with pytest.raises(PixelError, match="square"):
        aperture_photometry(images[..., :30], radius_px=3.0)
    with pytest.raises(PixelError, match="invvar"):
        aperture_photometry(images, images[:1], radius_px=3.0)
    with pytest.raises(OptionError, match="outer_px"):
        annulus_photometry(images, inner_px=5.0, outer_px=5.0)
    with pytest.raises(OptionError, match=r"outer_px of shape \(5,\)"):
        aperture_photometry(images, radius_px=np.ones(5))
    with pytest.raises(OptionError, match="q is outside"):
        subtract_azimuthal_profile(images, q=1.2)
