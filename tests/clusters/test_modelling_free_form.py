"""The free-form model: cells deflect as they must, and a round cluster's Einstein radius comes out of the ensemble."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import dblquad

from skytrace.clusters.modelling_free_form import cell_deflection, free_form_ensemble, free_form_systematic
from skytrace.clusters.modelling_images import LensedImages, distance_ratio
from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions

LENS = ClusterLensOptions()


@pytest.mark.parametrize("place", [(3.1, 0.4), (-1.7, 2.9), (0.2, -5.0)])
def test_a_cells_deflection_is_the_integral_over_its_mass(place):
    def along(v, u):
        return (place[0] - u) / ((place[0] - u) ** 2 + (place[1] - v) ** 2) / np.pi

    expected = dblquad(along, -1.0, 1.0, -1.0, 1.0, epsabs=1e-9)[0]
    assert cell_deflection(*place, 2.0)[0] == pytest.approx(expected, abs=1e-7)
    swapped = cell_deflection(place[1], place[0], 2.0)
    assert swapped[1] == pytest.approx(expected, abs=1e-7)


def test_derivatives_of_a_cell_are_those_of_its_deflection_and_their_trace_is_its_mass():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-3, 3, (2, 100))
    step = 1e-5
    east, west = cell_deflection(x + step, y, 2.0), cell_deflection(x - step, y, 2.0)
    north = cell_deflection(x, y + step, 2.0)
    south = cell_deflection(x, y - step, 2.0)
    _, _, xx, xy, yy = cell_deflection(x, y, 2.0)
    np.testing.assert_allclose(xx, (east[0] - west[0]) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(xy, (north[0] - south[0]) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(xy, (east[1] - west[1]) / (2 * step), atol=1e-7)
    inside = (np.abs(x) < 1) & (np.abs(y) < 1)
    np.testing.assert_allclose(xx + yy, np.where(inside, 2.0, 0.0), atol=1e-12)


def isothermal_images(theta_e=20.0):
    """Doubles about an isothermal sphere at three redshifts: theta = beta +- theta_E along the source's direction."""
    columns = {"family": [], "x_arcsec": [], "y_arcsec": [], "z_source": []}
    reference = distance_ratio(0.4, LENS.z_reference, options=LENS)
    for k, (z, beta, angle) in enumerate([(1.0, 4.0, 0.3), (1.5, 6.0, 1.9), (2.0, 3.0, 2.8), (3.0, 8.0, 4.4)]):
        scaled = theta_e * distance_ratio(0.4, z, options=LENS) / reference
        for radius in (beta + scaled, beta - scaled):
            columns["family"].append(k)
            columns["x_arcsec"].append(radius * np.cos(angle))
            columns["y_arcsec"].append(radius * np.sin(angle))
            columns["z_source"].append(z)
    return LensedImages(**columns, position_err_arcsec=0.2, z_lens=0.4)


def test_the_ensemble_holds_the_einstein_radius_of_an_isothermal_sphere():
    options = FreeFormOptions(cells=20, n_draws=12)
    ensemble = free_form_ensemble(isothermal_images(), lens=LENS, options=options, rng=np.random.default_rng(1))
    systematic = free_form_systematic(ensemble, np.array([20.0]))
    assert systematic["without_curve"] < 0.1
    assert systematic["free_form_radius_arcsec"] == pytest.approx(20.0, rel=0.05)
    assert abs(systematic["offset_arcsec"]) < 3.0 * systematic["spread_arcsec"]
    assert systematic["systematic_arcsec"] >= abs(systematic["offset_arcsec"])
    # the right slope explains the images to their errors
    assert ensemble.source_rms_arcsec[list(options.slopes).index(1.0)] < 0.3


def test_an_offset_from_the_parametric_radius_becomes_systematic():
    options = FreeFormOptions(cells=12, n_draws=4, slopes=(1.0,))
    ensemble = free_form_ensemble(isothermal_images(), lens=LENS, options=options, rng=np.random.default_rng(1))
    near, far = (free_form_systematic(ensemble, np.array([radius])) for radius in (20.0, 25.0))
    assert near["offset_arcsec"] - far["offset_arcsec"] == pytest.approx(5.0)
    assert far["between_slopes_arcsec"] == 0.0 and far["systematic_arcsec"] == pytest.approx(abs(far["offset_arcsec"]))


def test_a_slope_without_a_curve_is_left_out_and_one_of_several_is_no_scatter():
    radii = np.array([9.0, 11.0, np.nan, np.nan, 13.0, 15.0])
    ensemble = SimpleNamespace(einstein_radius_arcsec=radii, slope=np.repeat([0.6, 0.8, 1.0], 2))
    found = free_form_systematic(ensemble, np.array([12.0]))
    assert found["between_slopes_arcsec"] == pytest.approx(2.0) and found["offset_arcsec"] == 0.0
    assert found["systematic_arcsec"] == pytest.approx(2.0) and found["without_curve"] == pytest.approx(1 / 3)
    ensemble.einstein_radius_arcsec = np.where(ensemble.slope > 0.9, np.nan, radii)
    assert np.isnan(free_form_systematic(ensemble, np.array([12.0]))["systematic_arcsec"])
