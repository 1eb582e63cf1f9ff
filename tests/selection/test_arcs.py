"""Arc-annulus S/N and colours: known vectors, and like compared with like on composites."""

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.selection.arcs import arc_annulus, arc_annulus_snr, colour_from_fluxes, measure_arcs

SIZE, SCALE = 64, 0.262


def radius():
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    return np.hypot(x, y) * SCALE


def arc(theta=1.5, angle=0.6, half_width=0.5):
    """A tangential arc of unit peak."""
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    turn = np.angle(np.exp(1j * (np.arctan2(y, x) - angle)))
    return np.exp(-0.5 * ((radius() - theta) / 0.35) ** 2 - 0.5 * (turn / half_width) ** 2)


def host(q=0.7, phi=0.4):
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    along, across = x * np.cos(phi) + y * np.sin(phi), y * np.cos(phi) - x * np.sin(phi)
    r = np.sqrt(q * along**2 + across**2 / q) * SCALE
    return np.exp(-r / 0.8)


def test_ring_of_the_reference_vector_has_its_three_snr():
    ring = 0.02 * np.exp(-0.5 * ((radius() - 1.5) / 0.35) ** 2)
    snr = arc_annulus_snr(np.stack([ring, 2 * ring])[None], 1.5, 1.2, 0.013)
    assert snr.n_pix.tolist() == [[336, 336]]
    np.testing.assert_allclose(snr.flux_nmgy[0, 0], 2.4079634023757324, rtol=1e-6)
    np.testing.assert_allclose(snr.integrated[0], [10.105013335229122, 2 * 10.105013335229122], rtol=1e-6)
    np.testing.assert_allclose(snr.peak[0, 0], 1.5364499197557693, rtol=1e-6)
    np.testing.assert_allclose(snr.matched[0, 0], 14.198492239369639, rtol=1e-6)


def test_annulus_reaches_the_centre_when_the_psf_is_wider_than_the_einstein_radius():
    assert arc_annulus(SIZE, 0.5, 1.0)[32, 32]
    assert not arc_annulus(SIZE, 1.5, 1.0)[32, 32]


def test_pixels_without_weight_count_neither_as_light_nor_as_area():
    image = np.full((1, 1, SIZE, SIZE), 0.1)
    invvar = np.ones_like(image)
    invvar[..., :32] = 0.0
    image[..., :32] = 1e6
    whole = arc_annulus(SIZE, 1.5, 1.2)
    snr = arc_annulus_snr(image, 1.5, 1.2, 0.05, invvar=invvar)
    assert snr.n_pix[0, 0] == whole[:, 32:].sum()
    np.testing.assert_allclose(snr.flux_nmgy[0, 0], 0.1 * whole[:, 32:].sum())
    np.testing.assert_allclose(snr.coverage[0, 0], whole[:, 32:].sum() / whole.sum())


def test_each_stamp_and_band_has_its_own_annulus_and_noise():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(300, 2, SIZE, SIZE)).astype(np.float32)
    theta, fwhm = rng.uniform(0.5, 3, 300), rng.uniform(0.7, 1.5, (300, 2))
    sigma = rng.uniform(0.5, 2, (300, 2))
    together = arc_annulus_snr(image, theta, fwhm, sigma)
    alone = arc_annulus_snr(image[299:, 1:], theta[299], fwhm[299, 1], sigma[299, 1])
    assert together.integrated[299, 1] == alone.integrated[0, 0]
    # noise alone has an integrated S/N of unit variance when sigma is right
    right = arc_annulus_snr(image, theta, fwhm, 1.0).integrated
    assert abs(right.std() - 1.0) < 0.1 and abs(right.mean()) < 0.15


def test_host_subtraction_returns_the_arcs_flux_and_colour_not_the_hosts():
    colours, fluxes = {"g": 0.8, "r": 1.0, "z": 1.3}, {"g": 0.3, "r": 1.0, "z": 2.5}
    image = np.stack([fluxes[b] * host() + 0.05 * colours[b] * arc() for b in "grz"])[None]
    table = measure_arcs(
        image, np.ones_like(image), theta_e_arcsec=[1.5], fwhm_arcsec=[1.2], sigma_pix_nmgy=0.01, q=0.7, phi_rad=0.4
    )
    injected = (0.05 * arc() * arc_annulus(SIZE, 1.5, 1.2)).sum()
    assert abs(table["arc_flux_r"][0] / injected - 1.0) < 0.25  # the median of a ring takes part of a wide arc
    host_g_r, arc_g_r = -2.5 * np.log10(0.3), -2.5 * np.log10(0.8)
    assert abs(table["arc_g_r"][0] - arc_g_r) < 0.15 < abs(table["arc_g_r"][0] - host_g_r)
    assert abs(table["arc_r_z"][0] - 2.5 * np.log10(1.3)) < 0.15


def test_a_lens_of_unknown_radius_or_without_data_is_nan_not_zero():
    image = np.ones((3, 3, SIZE, SIZE))
    invvar = np.ones_like(image)
    invvar[1, 2] = 0.0  # one band missing
    table = measure_arcs(image, invvar, theta_e_arcsec=[np.nan, 1.5, 1.5], fwhm_arcsec=1.2, sigma_pix_nmgy=0.1)
    assert table["arc_snr"].isna().tolist() == [True, True, False]
    assert table["arc_coverage"].tolist() == [0.0, 0.0, 1.0]


def test_colour_of_equal_fluxes_is_zero_and_of_no_flux_unknown():
    np.testing.assert_allclose(colour_from_fluxes([1.0, 10.0], [1.0, 1.0]), [0.0, -2.5])
    assert np.isnan(colour_from_fluxes(-1.0, 1.0))


def test_wrong_shapes_are_refused_by_name():
    with pytest.raises(PixelError, match="n, band, y, x"):
        arc_annulus_snr(np.ones((3, 64, 64)), 1.0, 1.0, 1.0)
    with pytest.raises(PixelError, match="bands g, r, z"):
        measure_arcs(np.ones((1, 2, 8, 8)), np.ones((1, 2, 8, 8)), theta_e_arcsec=1, fwhm_arcsec=1, sigma_pix_nmgy=1)
