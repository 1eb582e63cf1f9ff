"""Saddle images and what is left without them: critical curves, magnifications and rendered doubles."""

import numpy as np
import pytest

from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing import LensModel, SourceModel, render_lenses
from skytrace.lensing.saddles import jacobian_determinant, minimum_share


def isothermal(theta_e=1.5, q=0.9999, gamma1=0.0):
    return LensModel(
        theta_e_arcsec=np.array([theta_e]), q=np.array([q]), phi_rad=np.zeros(1), center_x_arcsec=np.zeros(1),
        center_y_arcsec=np.zeros(1), gamma1=np.array([gamma1]), gamma2=np.zeros(1),
    )  # fmt: skip


def test_determinant_of_an_isothermal_sphere_is_one_less_theta_e_over_radius():
    x = np.array([[0.4, 1.2, 1.5, 2.5, -3.0]])
    expected = 1.0 - 1.5 / np.abs(x)
    assert jacobian_determinant(x, np.full_like(x, 1e-6), isothermal()) == pytest.approx(expected, abs=2e-4)


def test_minima_cover_all_but_the_disk_inside_the_einstein_ring():
    share = minimum_share(isothermal(1.5), cells=201, origin_arcsec=-5.0, cell_arcsec=0.05)[0]
    assert (1.0 - share).sum() * 0.05**2 == pytest.approx(np.pi * 1.5**2, rel=0.005)
    assert share[100, 103] == 0.0
    assert share[0, 0] == 1.0


def test_without_saddles_a_double_keeps_the_flux_of_its_outer_image_only():
    """Isothermal sphere: image at beta + theta_E magnified 1 + theta_E / beta, counter-image theta_E / beta - 1."""
    beta, theta_e = 0.7, 1.5
    source = SourceModel(
        x_arcsec=np.array([beta]), y_arcsec=np.zeros(1), half_light_radius_arcsec=np.array([0.05]),
        sersic_index=np.array([1.0]), q=np.ones(1), phi_rad=np.zeros(1), flux_nmgy=np.ones((1, 1)),
    )  # fmt: skip
    psf = MoffatPsf(np.array([[0.9]]), 3.5)
    whole, outer = (
        render_lenses(isothermal(theta_e), source, psf, pixels=64, saddle_images=kept)[0, 0].astype(float)
        for kept in (True, False)
    )
    assert outer.sum() == pytest.approx(1.0 + theta_e / beta, rel=0.02)
    assert (whole - outer).sum() == pytest.approx(theta_e / beta - 1.0, rel=0.03)
    # the counter-image lies at beta - theta_E = -0.8", where the outer one's wing is left
    middle = slice(30, 35), slice(27, 31)
    assert outer[middle].sum() < 0.1 * whole[middle].sum()
