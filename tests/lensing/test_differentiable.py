"""The JAX engine behind the vectors of the compiled one, against the converged image, and its derivatives."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import gamma, kv

from benchmarks.injection import draw_lenses, parameters, source_parameters
from benchmarks.reference import converged_images
from skytrace.errors import OptionError, PixelError
from skytrace.imaging.psf import ImagePsf, MoffatPsf
from skytrace.lensing import Clumps, ImageSource, LensModel, SourceModel, render_lenses
from skytrace.lensing import deflection as in_numpy
from skytrace.lensing import differentiable as in_jax
from skytrace.lensing import power_law as power_law_in_numpy
from skytrace.lensing import sources as sources_in_numpy

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
FWHM = np.array([1.1, 0.97, 0.89])


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


def seeing(n, fwhm=FWHM, beta=3.5):
    return MoffatPsf(np.tile(fwhm, (n, 1)), beta)


def rendered(lenses, sources, psf, *, dtype="float32", **options):
    return np.asarray(in_jax.render_lenses(*in_jax.parameters_of(lenses, sources, psf, dtype=dtype), **options))


def largest_errors(images, truth):
    return (np.abs(images - truth).max(axis=(2, 3)) / truth.max(axis=(2, 3))).max(axis=1)


def vector_lens(given):
    names = ("theta_E", "q", "phi", "center_x", "center_y", "gamma1", "gamma2")
    return LensModel(*(given[name] for name in names))


@pytest.mark.parametrize("case", VECTORS["deflection"]["cases"])
def test_deflection_shear_convergence_source_position_and_magnification_match_the_vectors(case, double_precision):
    given = case["inp"]
    x, y = given["x"] - given["center_x"], given["y"] - given["center_y"]
    shape = given["theta_E"], given["q"], given["phi"]
    assert np.allclose(in_jax.sie_deflection(x, y, *shape), (case["sie_alpha_x"], case["sie_alpha_y"]), atol=1e-9)
    assert in_jax.sie_convergence(x, y, *shape) == pytest.approx(case["kappa"], rel=1e-9)
    shear = in_jax.shear_deflection(given["x"], given["y"], given["gamma1"], given["gamma2"])
    assert np.allclose(shear, (case["shear_alpha_x"], case["shear_alpha_y"]), atol=1e-15)
    lens = in_jax.lens_parameters(vector_lens(given), dtype="float64")
    where = jnp.array([given["x"]]), jnp.array([given["y"]])
    assert np.allclose(np.ravel(in_jax.ray_shoot(*where, lens)), (case["beta_x"], case["beta_y"]), atol=1e-9)
    assert in_jax.convergence(*where, lens)[0, 0] == pytest.approx(case["kappa"], rel=1e-9)
    magnification = 1.0 / float(in_jax.magnification_determinant(*where, lens)[0, 0])
    # the peer differentiates numerically, and steps aside from q = 1
    assert magnification == pytest.approx(case["lenstronomy_point_magnification"], rel=1e-5 if shape[1] < 1 else 3e-5)


@pytest.mark.parametrize("case", VECTORS["sersic"]["cases"])
def test_b_and_total_flux_match_the_vectors(case, double_precision):
    assert in_jax.sersic_b(case["n"]) == pytest.approx(case["b_n_exact"], rel=1e-10)
    assert in_jax.sersic_flux(case["n"], 0.3) == pytest.approx(case["total_flux_unit_Ie_Re_0p3"], rel=1e-10)


@pytest.mark.parametrize("case", VECTORS["flux_magnification"]["cases"])
def test_light_of_the_image_over_that_of_the_source_is_the_vectors_magnification(case):
    lens = LensModel(
        [case["theta_E"], 0.0], case["q"], case["phi"], 0.0, 0.0, [case["gamma1"], 0.0], [case["gamma2"], 0]
    )
    # the vectors used b = 1.9992 n - 0.3271; the same profile under the exact b has another radius
    scale = (sources_in_numpy.sersic_b(case["n"]) / (1.9992 * case["n"] - 0.3271)) ** case["n"]
    source = SourceModel(
        np.ones((2, 1)), case["src_x"], case["src_y"], case["Re"] * scale, case["n"], case["q_src"], case["phi_src"]
    )
    lensed, unlensed = rendered(lens, source, MoffatPsf(np.full((2, 1), 0.6), 4.5), pixels=101).sum(axis=(1, 2, 3))
    assert lensed / unlensed == pytest.approx(case["mu_flux"], rel=3e-3)


def test_deflections_are_those_of_numpy_at_every_slope_and_flattening(double_precision):
    x, y = np.random.default_rng(1).uniform(-5, 5, (2, 300))
    q = np.array([0.2, 0.25, 0.6, 0.999, 1.0])[:, None]
    slope = np.array([1.4, 1.6, 1.9, 2.0, 2.2, 2.4, 2.6])[:, None, None]
    shape = (1.3, q, 0.4)
    assert np.allclose(jax.jit(in_jax.sie_deflection)(x, y, *shape), in_numpy.sie_deflection(x, y, *shape), atol=1e-11)
    theirs = power_law_in_numpy.epl_deflection(x, y, *shape, slope)
    assert np.allclose(jax.jit(in_jax.epl_deflection)(x, y, *shape, slope), theirs, atol=1e-9)
    theirs = power_law_in_numpy.epl_convergence(x, y, *shape, slope)
    assert np.allclose(jax.jit(in_jax.epl_convergence)(x, y, *shape, slope), theirs, rtol=1e-12)
    lens = LensModel([1.3, 0.0], 0.6, 0.4, 0.1, -0.2, 0.03, 0.02, [2.3, 2.0])
    traced = jax.jit(in_jax.ray_shoot)(x, y, in_jax.lens_parameters(lens, dtype="float64"))
    assert np.allclose(traced, in_numpy.ray_shoot(x, y, lens), atol=1e-9)


def test_deflections_in_single_precision_keep_their_dtype_and_six_digits():
    x, y = np.random.default_rng(2).uniform(-5, 5, (2, 300)).astype(np.float32)
    lens = LensModel([1.3, 2.0], [0.3, 1.0], 0.4, gamma_epl=[2.0, 2.3])
    for chosen in (lens.take([0]), lens):
        traced = jax.jit(in_jax.ray_shoot)(x, y, in_jax.lens_parameters(chosen))
        assert {part.dtype for part in traced} == {jnp.float32.dtype}
        assert np.abs(np.array(traced) - in_numpy.ray_shoot(x, y, chosen)).max() < 5e-6


def test_determinant_of_the_rays_is_one_minus_kappa_squared_minus_shear_squared(double_precision):
    x, y = np.random.default_rng(3).uniform(-3, 3, (2, 50))
    round_lens = in_jax.lens_parameters(LensModel(1.2, 1.0, 0.0), dtype="float64")  # det = 1 - theta_E / r
    found = jax.jit(in_jax.magnification_determinant)(x, y, round_lens)[0]
    assert np.allclose(found, 1.0 - 1.2 / np.hypot(x, y), atol=1e-10)
    shear = in_jax.lens_parameters(LensModel(0.0, 1.0, 0.0, 0.0, 0.0, 0.1, -0.2), dtype="float64")
    assert np.allclose(jax.jit(in_jax.magnification_determinant)(x, y, shear), 1.0 - 0.05, atol=1e-12)


def test_surface_brightness_is_that_of_numpy_with_and_without_clumps(double_precision):
    rng = np.random.default_rng(4)
    index = np.array([0.35, 1.0, 2.5, 6.0])
    clumps = Clumps(*(rng.uniform(*limits, (4, 3)) for limits in ((0.05, 0.2), (-0.3, 0.3), (-0.3, 0.3), (0.03, 0.2))))
    x, y = rng.uniform(-1, 1, (2, 4, 200))
    for knots in (None, clumps):
        source = SourceModel(np.ones((4, 1)), 0.1, -0.2, 0.4, index, [0.2, 0.5, 0.9, 1.0], 0.7, clumps=knots)
        ours = in_jax.source_surface_brightness(x, y, in_jax.source_parameters(source, dtype="float64"))
        assert np.allclose(ours, sources_in_numpy.source_surface_brightness(x, y, source), rtol=1e-9)


@pytest.mark.parametrize("beta", [1.4, 2.5, 3.0, 3.5, 4.5, 4.77])
def test_transfer_function_of_any_moffat_is_its_bessel_form(beta, double_precision):
    k = np.r_[0.0, np.geomspace(1e-2, 30.0, 60)]
    z = np.maximum(k, 1e-9) * 0.9 / (2 * np.sqrt(2 ** (1 / beta) - 1))
    exact = 2 * (z / 2) ** (beta - 1) * kv(beta - 1, z) / gamma(beta - 1)
    assert np.allclose(in_jax.moffat_transfer(k, 0.9, beta=beta), exact, atol=1e-6 if beta < 2 else 1e-9)


def test_hold_out_lenses_half_of_them_on_a_caustic_are_within_the_error_budget_and_agree_with_the_compiled_engine():
    lenses, sources = draw_lenses(6, seed=4242, largest_index=4.0)
    ours = rendered(lenses, sources, seeing(6))
    truth = np.stack([converged_images(parameters(lenses, i), source_parameters(sources, i), FWHM) for i in range(6)])
    found = largest_errors(ours, truth)
    assert np.percentile(found, 90) < 1.5e-3
    assert found.max() < 4e-3
    assert largest_errors(ours, render_lenses(lenses, sources, seeing(6))).max() < 6e-3


@pytest.mark.parametrize(("slope", "q", "beta", "psf_includes_pixel"), [(2.0, 0.4, 3.0, False), (2.3, 0.9, 4.5, True)])
def test_power_laws_clumps_pixel_integral_and_any_beta_are_accurate(slope, q, beta, psf_includes_pixel):
    lens = LensModel(0.9, q, 0.5, 0.05, 0.0, 0.03, -0.02, slope)
    clumps = Clumps([[0.1, 0.05]], [[0.2, -0.1]], [[0.0, 0.2]], [[0.05, 0.05]])
    source = SourceModel(np.ones((1, 1)), 0.11, -0.13, 0.3, 1.5, 0.7, 1.0, clumps=clumps)
    options = {"pixels": 20, "psf_includes_pixel": psf_includes_pixel}
    truth = converged_images(parameters(lens, 0), source_parameters(source, 0), FWHM[:1], beta=beta, **options)
    ours = rendered(lens, source, seeing(1, FWHM[:1], beta), **options)
    assert largest_errors(ours, truth[None]).max() < 1.5e-3


@pytest.mark.parametrize("pixels", [33, 50])
def test_image_psf_geometry_and_flux_are_those_of_the_compiled_engine(pixels):
    lens = LensModel([1.3, 0.0], 0.7, 0.6, 0.0, 0.0, 0.02, 0.0)
    source = SourceModel(np.array([[1.0, 3.0], [2.0, 0.5]]), [0.1, 0.9], [0.15, -0.6], 0.25, 1.0, 0.6, 1.1)
    stamp = np.zeros((2, 2, 11, 11), dtype=np.float32)
    stamp[..., 3:6, 4:8] = np.random.default_rng(5).uniform(0.5, 1.0, (2, 2, 3, 4))
    psf = ImagePsf(stamp / stamp.sum(axis=(2, 3), keepdims=True)) if pixels % 2 else MoffatPsf(np.ones((2, 2)))
    ours, theirs = rendered(lens, source, psf, pixels=pixels), render_lenses(lens, source, psf, pixels=pixels)
    assert ours.shape == theirs.shape == (2, 2, pixels, pixels)
    assert largest_errors(ours, theirs).max() < 5e-3


def test_batches_of_any_size_give_the_image_of_the_lens_alone():
    lenses, sources = draw_lenses(5, seed=6)
    options = {"pixels": 32, "sampling": in_jax.Sampling(divided=(64,))}
    in_twos = rendered(lenses, sources, seeing(5), batch_size=2, **options)
    for i in range(5):
        alone = rendered(lenses.take([i]), sources.take([i]), seeing(1), **options)[0]
        assert np.allclose(in_twos[i], alone, atol=1e-5 * alone.max())


def small_scene(**changes):
    lens = {"theta_e_arcsec": 0.9, "q": 0.7, "phi_rad": 0.5, "gamma1": 0.03, "gamma2": -0.02, "gamma_epl": 2.1} | {
        name: value for name, value in changes.items() if name in in_jax.LensParameters._fields
    }
    source = SourceModel(np.ones((1, 1)), 0.11, 0.07, 0.3, 1.3, 0.6, 0.8)
    return in_jax.parameters_of(LensModel(**lens), source, MoffatPsf(np.array([[0.9]])), dtype="float64")


#: The same nodes everywhere, so that no choice of cells moves with the parameters.
FIXED = {"pixels": 16, "sampling": in_jax.Sampling(nodes=3, divided=())}


def test_derivatives_of_the_image_are_its_differences_in_every_parameter(double_precision):
    lens, source, psf = small_scene()
    flat, restore = ravel_pytree((lens, source, psf))
    names = [*in_jax.LensParameters._fields, *in_jax.SourceParameters._fields[:-1], "fwhm_arcsec"]

    def image(values):
        return in_jax.render_lenses(*restore(values), **FIXED)

    analytic = jax.jacfwd(image)(flat)
    assert analytic.shape[-1] == len(names)
    weights = jnp.asarray(np.random.default_rng(7).normal(size=(1, 1, 16, 16)))
    backward = jax.grad(lambda values: (weights * image(values)).sum())(flat)
    step = 1e-5
    for j, name in enumerate(names):
        there, back = (image(flat.at[j].add(sign * step)) for sign in (1, -1))
        numeric = np.asarray(there - back) / (2 * step)
        assert np.abs(numeric).max() > 0, name
        assert np.abs(analytic[..., j] - numeric).max() < 2e-6 * np.abs(numeric).max(), name
        assert float(backward[j]) == pytest.approx(float((weights * analytic[..., j]).sum()), rel=1e-8), name


def test_derivatives_with_divided_cells_are_the_differences_too(double_precision):
    lens, source, psf = small_scene()
    options = {"pixels": 24, "sampling": in_jax.Sampling(divided=(200, 64))}

    def image(theta_e):
        return in_jax.render_lenses(lens._replace(theta_e_arcsec=theta_e), source, psf, **options)

    theta_e, step = lens.theta_e_arcsec, 1e-4
    _, analytic = jax.jvp(image, (theta_e,), (jnp.ones(1),))
    numeric = np.asarray(image(theta_e + step) - image(theta_e - step)) / (2 * step)
    assert np.abs(analytic - numeric).max() < 2e-2 * np.abs(numeric).max()


def test_gradients_are_finite_for_a_round_lens_whose_centre_and_cusp_lie_on_a_ray():
    rays = jnp.array([[0.0, 0.5, 0.0]])

    @jax.jit
    def derivatives(lens, source):
        def traced(lens):
            return sum(part.sum() for part in in_jax.ray_shoot(rays, rays, lens))

        def light(source):
            return in_jax.source_surface_brightness(rays, rays, source).sum()

        determinant = in_jax.magnification_determinant(rays, rays, lens)
        return jax.grad(traced)(lens), jax.grad(light)(source), determinant

    slopes, ratios = [1.6, 1.6, 2.4, 2.4, 2.0, 2.0], [1.0, 0.6] * 3
    power_law = in_jax.lens_parameters(LensModel(1.2, ratios, 0.3, gamma_epl=slopes))
    source = in_jax.source_parameters(SourceModel(np.ones((1, 1)), 0.0, 0.0, 0.3, 4.0, 1.0, 0.0))
    for lens in (power_law, power_law._replace(gamma_epl=None)):
        found = jax.tree.leaves(derivatives(lens, source))
        assert all(np.isfinite(part).all() for part in found)
        assert len(found) == len(jax.tree.leaves((lens, source))) + 1


def test_derivative_in_the_axis_ratio_is_continuous_through_a_round_lens(double_precision):
    @jax.jit
    def alpha(q):
        return in_jax.sie_deflection(0.7, 0.4, 1.2, q, 0.3)[0]

    at_one, below = float(jax.grad(alpha)(1.0)), float(alpha(1.0) - alpha(1.0 - 1e-5)) / 1e-5
    assert at_one == pytest.approx(below, rel=1e-4)
    assert float(jax.grad(alpha)(1.0 - 1e-9)) == pytest.approx(at_one, rel=1e-7)


def test_one_compilation_serves_batches_of_one_shape():
    in_jax.render_lenses.clear_cache()
    for seed in (8, 9):
        lenses, sources = draw_lenses(3, seed=seed)
        rendered(lenses, sources, seeing(3), pixels=16, sampling=in_jax.Sampling(divided=()))
    assert in_jax.render_lenses._cache_size() == 1


def test_gauss_newton_finds_the_lens_that_made_an_image(double_precision):
    lens, source, psf = small_scene()
    lens = lens._replace(gamma_epl=None)
    truth = jnp.array([0.9, 0.7, 0.03, -0.02, 0.11, 0.07, 0.3])

    def image(values):
        theta_e, q, gamma1, gamma2, x, y, radius = values[:, None]
        return in_jax.render_lenses(
            lens._replace(theta_e_arcsec=theta_e, q=q, gamma1=gamma1, gamma2=gamma2),
            source._replace(x_arcsec=x, y_arcsec=y, half_light_radius_arcsec=radius), psf, **FIXED,
        ).ravel()  # fmt: skip

    observed, slopes = image(truth), jax.jit(jax.jacfwd(image))
    found = jnp.array([0.96, 0.78, 0.0, 0.0, 0.08, 0.05, 0.34])
    for _ in range(10):
        step = jnp.linalg.lstsq(slopes(found), observed - image(found))[0]
        found = found + jnp.clip(step, -0.1, 0.1)
    assert np.abs(found - truth).max() < 1e-6  # theta_E, and all that was free with it


def test_what_has_no_derivative_or_does_not_fit_is_refused_by_name():
    lens, psf = LensModel(1.0, 0.8, 0.0), seeing(1)
    stamp = ImageSource(np.ones((1, 3)), 0.0, 0.0, np.ones((1, 4, 4)))
    with pytest.raises(OptionError, match="ImageSource"):
        in_jax.parameters_of(lens, stamp, psf)
    source = SourceModel(np.ones((1, 3)), 0.0, 0.0, 0.3, 1.0, 0.8, 0.0)
    with pytest.raises(PixelError, match="2 lenses"):
        in_jax.parameters_of(LensModel([1.0, 1.0], 0.8, 0.0), source, psf)
    with pytest.raises(OptionError, match="pixels"):
        rendered(lens, source, psf, pixels=4)
    with pytest.raises(OptionError, match="nodes"):
        in_jax.Sampling(nodes=1)
    with pytest.raises(OptionError, match="batch_size"):
        rendered(lens, source, psf, batch_size=0)
    with pytest.raises(OptionError, match="enable_x64"):
        in_jax.parameters_of(lens, source, psf, dtype="float64")
