"""Images of point sources: the isothermal sphere's known ones, the lens equation, and lenstronomy's."""

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.lensing.deflection import sie_deflection
from skytrace.lensing.image_positions import image_positions
from skytrace.lensing.nfw import nfw_deflection


def isothermal(x, y, theta_e=5.0):
    radius = np.hypot(x, y)
    return theta_e * x / radius, theta_e * y / radius


def test_an_isothermal_sphere_has_two_images_within_its_radius_and_one_beyond():
    beta = np.array([1.3, 7.0])
    found = image_positions(isothermal, beta * np.cos(0.7), beta * np.sin(0.7), half_width_arcsec=15.01)
    along = found.x * np.cos(0.7) + found.y * np.sin(0.7)
    np.testing.assert_array_equal(found.source, [0, 0, 1])
    np.testing.assert_allclose(along, [6.3, -3.7, 12.0], atol=1e-6)
    np.testing.assert_allclose(found.magnification, [1 + 5 / 1.3, 1 - 5 / 1.3, 1 + 5 / 7.0], rtol=1e-5)


def test_a_cluster_with_a_galaxy_has_lenstronomys_images():
    lens_model = pytest.importorskip("lenstronomy.LensModel.lens_model")
    solver = pytest.importorskip("lenstronomy.LensModel.Solver.lens_equation_solver")
    model = lens_model.LensModel(["NFW", "SIE"])
    alpha_rs = 4.0 * 0.3 * 40.0 * (1.0 - np.log(2.0))
    q, phi = 0.7, 0.4
    e = (1 - q) / (1 + q)
    keywords = [
        {"Rs": 40.0, "alpha_Rs": alpha_rs, "center_x": 0.0, "center_y": 0.0},
        {"theta_E": 2.0, "e1": e * np.cos(2 * phi), "e2": e * np.sin(2 * phi), "center_x": 0.0, "center_y": 0.0},
    ]

    def deflection(x, y):
        halo, galaxy = nfw_deflection(x, y, 0.3, 40.0), sie_deflection(x, y, 2.0, q, phi)
        return halo[0] + galaxy[0], halo[1] + galaxy[1]

    beta = np.array([[0.4, -1.2, 3.0], [0.3, 0.5, -2.0]])
    found = image_positions(deflection, *beta, half_width_arcsec=25.01)
    for k in range(3):
        x, y = solver.LensEquationSolver(model).image_position_from_source(
            *beta[:, k], keywords, min_distance=0.1, search_window=50.0, precision_limit=1e-10
        )
        mu = model.magnification(x, y, keywords)
        mine = found.source == k
        seen, bright = np.abs(mu) > 1e-3, np.abs(found.magnification[mine]) > 1e-3
        assert bright.sum() == seen.sum()
        gaps = np.hypot(found.x[mine][bright][:, None] - x[seen], found.y[mine][bright][:, None] - y[seen])
        assert gaps.min(axis=1).max() < 1e-5
        np.testing.assert_allclose(
            found.magnification[mine][bright], mu[seen][gaps.argmin(axis=1)], rtol=1e-3
        )  # lenstronomy's own differences


def test_a_step_wider_than_the_field_is_refused():
    with pytest.raises(OptionError, match="step_arcsec"):
        image_positions(isothermal, 0.1, 0.0, half_width_arcsec=1.0, step_arcsec=2.0)


def test_no_source_has_no_image():
    found = image_positions(isothermal, np.zeros(0), np.zeros(0), half_width_arcsec=15.01)
    assert all(len(column) == 0 for column in found)
