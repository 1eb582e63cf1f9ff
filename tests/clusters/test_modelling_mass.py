"""The differentiable mass model against its own potential and against the numpy profiles of ``lensing.nfw``."""

from functools import partial

import jax
import numpy as np
import pytest

from skytrace.clusters.modelling_images import LensedImages, image_arrays
from skytrace.clusters.modelling_mass import ClusterMass, cluster_mass, deflection_and_jacobian, lens_parameter_names
from skytrace.clusters.modelling_mass import potential as lens_potential
from skytrace.clusters.modelling_options import ClusterLensOptions
from skytrace.lensing import nfw_deflection, nfw_mean_convergence, truncated_isothermal_deflection

LUMINOSITY = np.array([3.0, 1.0, 0.4])
PLACES = np.array([[0.0, 12.0, -20.0], [0.0, 9.0, 14.0]])


def arrays_of(options):
    images = LensedImages(
        family=[0, 0], x_arcsec=[20.0, -15.0], y_arcsec=[1.0, 2.0], position_err_arcsec=0.3, z_source=2.0, z_lens=0.4,
        member_x_arcsec=PLACES[0], member_y_arcsec=PLACES[1], member_luminosity=LUMINOSITY,
    )  # fmt: skip
    return image_arrays(images, options=options)


MASS = ClusterMass(18.0, 25.0, 0.12, -0.08, 0.7, -0.4, 1.1, 9.0, 1.3, 0.03, -0.02)


@pytest.mark.parametrize("halo", ["nfw", "cored"])
def test_deflection_and_jacobian_are_derivatives_of_the_potential(halo):
    options = ClusterLensOptions(halo=halo)
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        arrays = arrays_of(options)
        x, y = rng.uniform(-50, 50, (2, 60))
        x[0], y[0] = MASS.halo_x_arcsec + MASS.halo_scale_arcsec, MASS.halo_y_arcsec  # beside x = 1
        psi = lambda place: lens_potential(place[0], place[1], MASS, arrays, options=options)
        slope, curvature = jax.jit(lambda p: (jax.vmap(jax.grad(psi))(p), jax.vmap(jax.hessian(psi))(p)))(
            np.stack([x, y], axis=1)
        )
        alpha_x, alpha_y, xx, xy, yy = jax.jit(partial(deflection_and_jacobian, options=options))(x, y, MASS, arrays)
    np.testing.assert_allclose(np.stack([alpha_x, alpha_y], axis=1), slope, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(np.stack([xx, xy, yy], 1), curvature.reshape(-1, 4)[:, [0, 1, 3]], rtol=1e-8, atol=1e-10)


def test_the_sum_of_components_is_that_of_the_numpy_profiles():
    options = ClusterLensOptions()
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-60, 60, (2, 300))
    with jax.enable_x64(True):
        ours = jax.jit(partial(deflection_and_jacobian, options=options))(x, y, MASS, arrays_of(options))[:2]
    kappa_s = 1.0 / nfw_mean_convergence(MASS.halo_theta_e_arcsec, 1.0, MASS.halo_scale_arcsec)
    epsilon, phi = np.hypot(MASS.halo_e1, MASS.halo_e2), 0.5 * np.arctan2(MASS.halo_e2, MASS.halo_e1)
    total = np.array(
        nfw_deflection(
            x - MASS.halo_x_arcsec, y - MASS.halo_y_arcsec, kappa_s, MASS.halo_scale_arcsec, epsilon, phi
        )
    )  # fmt: skip
    # sigma ~ L^1/4, so theta_E ~ L^1/2; truncation ~ L^1/2; the brightest by its own factor
    theta_e = MASS.member_theta_e_arcsec * LUMINOSITY**0.5 * np.array([MASS.brightest_factor, 1.0, 1.0])
    for k in range(3):
        cut = MASS.member_truncation_arcsec * LUMINOSITY[k] ** 0.5
        total += truncated_isothermal_deflection(x - PLACES[0, k], y - PLACES[1, k], theta_e[k], cut)
    total += [MASS.gamma1 * x + MASS.gamma2 * y, MASS.gamma2 * x - MASS.gamma1 * y]
    np.testing.assert_allclose(ours, total, atol=1e-5)  # the galaxies' centres are softened by 1 mas


def test_parameters_at_the_priors_middle_and_fixed_ones_stay_there():
    options = ClusterLensOptions(shear_sigma=0.0, brightest_scatter=0.0)
    names = lens_parameter_names(options, n_members=3)
    assert "gamma1" not in names and "brightest_factor" not in names and len(names) == 8
    with jax.enable_x64(True):
        middle = cluster_mass(np.zeros(len(names)), names=names, options=options)
        one_up = cluster_mass(np.eye(len(names))[names.index("halo_scale_arcsec")], names=names, options=options)
    assert float(middle.halo_theta_e_arcsec) == pytest.approx(np.sqrt(2.0 * 70.0))
    assert float(one_up.halo_scale_arcsec) == pytest.approx(60.0 * np.exp(0.4))
    assert "member_theta_e_arcsec" not in lens_parameter_names(options, n_members=0)
