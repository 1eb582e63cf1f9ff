"""The image-plane likelihood: predicted images solve the lens equation, and derivatives are those of the solution."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from skytrace.clusters.modelling_density import log_density, predicted_images, residuals
from skytrace.clusters.modelling_images import LensedImages, distance_ratio, image_arrays
from skytrace.clusters.modelling_mass import ClusterMass, cluster_mass, deflection_and_jacobian, lens_parameter_names
from skytrace.clusters.modelling_options import ClusterLensOptions

OPTIONS = ClusterLensOptions(halo="cored", member_scatter=0.0, member_truncation_scatter=0.0)
NAMES = lens_parameter_names(OPTIONS, n_members=0)
compiled_residuals = jax.jit(residuals, static_argnames=("names", "options", "likelihood"))
compiled_density = jax.jit(log_density, static_argnames=("names", "options"))
compiled_images = jax.jit(predicted_images, static_argnames=("options",))
TRUTH = np.where([name == "halo_theta_e_arcsec" for name in NAMES], 0.6, 0.3 * (-1.0) ** np.arange(len(NAMES)))


def images_of(truth=TRUTH, err=0.05, noise=0.0, log_flux=False):
    """Exact images (noise 0) of three sources at three redshifts, found by solving the lens equation."""
    from scipy.optimize import fsolve

    rng = np.random.default_rng(2)
    columns = {name: [] for name in ("family", "x_arcsec", "y_arcsec", "z_source", "log_flux")}
    with jax.enable_x64(True):
        mass = ClusterMass(*map(float, cluster_mass(truth, names=NAMES, options=OPTIONS)))
        empty = image_arrays(_single(), options=OPTIONS)
        lens = jax.jit(partial(deflection_and_jacobian, options=OPTIONS))
        reference = distance_ratio(0.4, OPTIONS.z_reference, options=OPTIONS)
        for k, z in enumerate((1.2, 2.0, 3.0)):
            ratio = distance_ratio(0.4, z, options=OPTIONS) / reference
            beta = rng.uniform(-1.5, 1.5, 2)

            def gap(place, ratio=ratio, beta=beta):
                with jax.enable_x64(True):
                    alpha = lens(np.array(place[:1]), np.array(place[1:]), mass, empty)
                return place - ratio * np.array([float(alpha[0][0]), float(alpha[1][0])]) - beta

            radius = ratio * mass.halo_theta_e_arcsec
            found = []
            for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
                root, _, good, _ = fsolve(gap, radius * np.array([np.cos(angle), np.sin(angle)]), full_output=True)
                if good == 1 and all(np.hypot(*(root - other)) > 1.0 for other in found):
                    found.append(root)
            for root in found:
                _, _, xx, xy, yy = (float(part[0]) for part in lens(root[:1], root[1:], mass, empty))
                columns["family"].append(k)
                columns["z_source"].append(z)
                columns["x_arcsec"].append(root[0] + noise * rng.normal())
                columns["y_arcsec"].append(root[1] + noise * rng.normal())
                columns["log_flux"].append(
                    k - np.log(abs((1 - ratio * xx) * (1 - ratio * yy) - (ratio * xy) ** 2)) if log_flux else np.nan
                )
    return LensedImages(**columns, log_flux_err=0.1, position_err_arcsec=err, z_lens=0.4)


def _single():
    return LensedImages(
        family=[0, 0], x_arcsec=[20.0, -20.0], y_arcsec=[0.0, 1.0], position_err_arcsec=1.0, z_source=2.0, z_lens=0.4
    )


@pytest.fixture(scope="module")
def exact():
    return images_of(log_flux=True)


def test_the_true_mass_leaves_no_residual_in_any_plane(exact):
    assert len(exact.family) >= 6
    with jax.enable_x64(True):
        arrays = image_arrays(exact, options=OPTIONS)
        for likelihood in ("source", "linear", "image"):
            rest, _ = compiled_residuals(TRUTH, arrays, names=NAMES, options=OPTIONS, likelihood=likelihood)
            n = 2 * len(arrays.x)
            np.testing.assert_allclose(rest[:n], 0.0, atol=2e-5)
            # magnifications saturate at options.magnification_max: some thousandths of a magnitude at the images here
            np.testing.assert_allclose(rest[n : -len(NAMES)], 0.0, atol=0.02)


def test_predicted_images_solve_the_lens_equation_of_a_wrong_mass(exact):
    with jax.enable_x64(True):
        arrays = image_arrays(exact, options=OPTIONS)
        wrong = cluster_mass(TRUTH + 0.03, names=NAMES, options=OPTIONS)
        images = compiled_images(wrong, arrays, options=OPTIONS)
        alpha_x, *_ = jax.jit(partial(deflection_and_jacobian, options=OPTIONS))(
            images.theta_x, images.theta_y, wrong, arrays
        )
        off = np.array(images.theta_x - arrays.ratio * alpha_x - arrays.member_of @ images.beta_x)
    real = arrays.weight > 0
    assert np.abs(off[real]).max() < 1e-6
    assert 0.02 < np.abs(images.off_x[real]).max() < 3.0  # and they are not the observed ones


def test_the_gradient_of_the_density_is_that_of_the_solved_images_fluxes_included(exact):
    place = TRUTH + 0.02
    with jax.enable_x64(True):
        arrays = image_arrays(exact, options=OPTIONS)
        density = lambda z: compiled_density(z, arrays, names=NAMES, options=OPTIONS)
        gradient = np.asarray(jax.jit(jax.grad(density))(place))
        step = 1e-5 * np.eye(len(place))
        numerical = [float(density(place + one) - density(place - one)) / 2e-5 for one in step]
    np.testing.assert_allclose(gradient, numerical, rtol=1e-3, atol=1e-3 * np.abs(gradient).max())


def test_to_first_order_the_linear_chi2_is_that_of_the_image_plane(exact):
    with jax.enable_x64(True):
        arrays = image_arrays(exact, options=OPTIONS)
        place = TRUTH + 1e-4
        linear, image = (
            np.asarray(compiled_residuals(place, arrays, names=NAMES, options=OPTIONS, likelihood=one)[0])
            for one in ("linear", "image")
        )
    n = 2 * len(arrays.x)  # fluxes are of magnifications at other places
    # of an image of negative parity the linear residual has the other sign: only its square counts
    np.testing.assert_allclose(np.abs(linear[:n]), np.abs(image[:n]), rtol=0.02, atol=0.02 * np.abs(image[:n]).max())


def test_density_falls_away_from_the_truth_and_a_flux_constant_does_not_matter(exact):
    brighter = replace(exact, log_flux=exact.log_flux + 0.7)
    with jax.enable_x64(True):
        values = [
            float(compiled_density(z, image_arrays(one, options=OPTIONS), names=NAMES, options=OPTIONS))
            for one, z in ((exact, TRUTH), (exact, TRUTH + 0.1), (brighter, TRUTH))
        ]
    assert values[0] > values[1] + 10.0
    assert values[2] == pytest.approx(values[0], abs=1e-6)
