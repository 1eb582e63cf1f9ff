"""Images against a converged float64 reference, conservation laws and symmetries."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.injection import draw_lenses, parameters, source_parameters
from benchmarks.reference import converged_images
from skytrace.errors import OptionError, PixelError
from skytrace.imaging.psf import ImagePsf, MoffatPsf
from skytrace.lensing import (
    Clumps,
    LensModel,
    SourceModel,
    ray_shoot,
    render_lenses,
    source_surface_brightness,
)
from skytrace.lensing._tracing import lens_columns, trace

FWHM = np.array([1.1, 0.97, 0.89])


def seeing(n, fwhm=FWHM, beta=3.5):
    return MoffatPsf(np.tile(fwhm, (n, 1)), beta)


def errors(lenses, sources, psf, fwhm=FWHM, **options):
    ours = render_lenses(lenses, sources, psf, **options)
    found = []
    for i in range(len(lenses)):
        truth = converged_images(
            parameters(lenses, i), source_parameters(sources, i), fwhm, beta=getattr(psf, "beta", 3.5), **options
        )
        found.append((np.abs(ours[i] - truth).max(axis=(1, 2)) / truth.max(axis=(1, 2))).max())
    return np.array(found)


def test_hold_out_lenses_half_of_them_on_a_caustic_are_within_the_error_budget():
    lenses, sources = draw_lenses(20, seed=4242)
    found = errors(lenses, sources, seeing(20))
    assert np.percentile(found, 90) < 1.5e-3
    assert found.max() < 6e-3


def test_cusp_on_a_caustic_is_not_smeared():
    lens = LensModel(0.9047385965, 0.79181736, 1.2258626, 0.0, 0.0, 1.9187e-4, 6.2033e-5)
    source = SourceModel(np.ones((1, 3)), -0.11613593, 0.04229663, 0.13832628, 2.29627468, 0.5759198, 0.4313277)
    assert errors(lens, source, seeing(1)).max() < 2.5e-3  # a flux-matched core of 0.02 arcsec fails here by 1.5e-2


@pytest.mark.parametrize("index", [0.5, 1.0, 2.5, 4.0])
def test_sources_of_every_index_are_accurate_lensed_and_unlensed(index):
    lens = LensModel([1.4, 0.0], 0.7, 0.5, 0.0, 0.0, [0.03, 0.0], 0.0)
    source = SourceModel(np.ones((2, 3)), 0.21, -0.13, 0.3, index, 0.7, 1.0)
    assert errors(lens, source, seeing(2)).max() < 2.5e-3


@pytest.mark.parametrize("beta", [2.5, 3.5, 4.5])
def test_every_closed_moffat_and_the_pixel_integral_are_accurate(beta):
    lens = LensModel(1.1, 0.8, 2.0)
    source = SourceModel(np.ones((1, 3)), 0.1, 0.2, 0.25, 1.0, 0.7, 1.0)
    for psf_includes_pixel in (True, False):
        found = errors(lens, source, seeing(1, beta=beta), psf_includes_pixel=psf_includes_pixel)
        assert found.max() < 2e-3


@pytest.mark.parametrize("slope", [1.5, 1.9, 2.15, 2.5])
def test_power_laws_are_accurate_and_the_kernels_deflection_is_the_closed_form(slope):
    lens = LensModel([1.4, 0.8, 2.2], [0.25, 0.7, 1.0], 0.5, 0.05, 0.0, 0.03, -0.02, slope)
    source = SourceModel(np.ones((3, 3)), [0.21, 0.05, 0.6], -0.13, 0.3, [1.0, 2.5, 0.6], 0.7, 1.0)
    assert errors(lens, source, seeing(3)).max() < 3e-3
    x, y = np.random.default_rng(1).uniform(-5, 5, (2, 500)).astype(np.float32)
    beta = np.array(ray_shoot(x, y, lens))
    work = np.empty((3, 500), dtype=np.float32)
    for i, columns in enumerate(lens_columns(lens)):
        trace(x, y, np.float32(0), np.float32(0), 500, columns, *work)
        assert np.abs(work[:2] - beta[:, i]).max() < 1e-5  # float32 and the polynomials


def test_slope_two_renders_the_bits_of_the_isothermal_ellipsoid():
    lenses, sources = draw_lenses(6, seed=3)
    by_default = render_lenses(lenses, sources, seeing(6))
    assert np.array_equal(render_lenses(replace(lenses, gamma_epl=2.0), sources, seeing(6)), by_default)
    nearly = render_lenses(replace(lenses, gamma_epl=2.0 + 1e-6), sources, seeing(6))
    assert np.abs(nearly - by_default).max() < 1e-3 * by_default.max()


def test_clumps_are_accurate():
    rng = np.random.default_rng(6)
    clumps = Clumps(*(rng.uniform(*limits, (3, 5)) for limits in ((0.02, 0.1), (-0.3, 0.3), (-0.3, 0.3), (0.03, 0.08))))
    lens = LensModel([0.8, 1.5, 2.4], 0.75, 0.4, 0.0, 0.0, 0.02, -0.01)
    source = SourceModel(np.ones((3, 3)), 0.15, 0.1, 0.35, 1.0, 0.6, 0.2, clumps=clumps)
    assert errors(lens, source, seeing(3)).max() < 4e-3


@pytest.mark.parametrize("pixels", [48, 101])
def test_other_stamp_sizes_put_the_origin_on_the_middle_pixel(pixels):
    lens = LensModel(1.3, 0.7, 0.6, 0.05, -0.03, 0.03, -0.02)
    source = SourceModel(np.ones((1, 3)), 0.1, 0.15, 0.25, 1.0, 0.6, 1.1)
    assert errors(lens, source, seeing(1), pixels=pixels).max() < 2e-3


def test_unlensed_source_keeps_its_flux_and_its_place():
    lens = LensModel(0.0, 1.0, 0.0)
    source = SourceModel(np.array([[1.0, 2.0, 5.0]]), 3 * 0.262, -2 * 0.262, 0.3, 1.0, 0.8, 0.4)
    image = render_lenses(lens, source, seeing(1), pixels=101)[0]
    assert np.allclose(image.sum(axis=(1, 2)), [1.0, 2.0, 5.0], rtol=1.2e-3)
    assert np.unravel_index(image[0].argmax(), image[0].shape) == (50 - 2, 50 + 3)


def test_a_lens_gives_the_same_bits_alone_in_a_batch_and_in_threads():
    lenses, sources = draw_lenses(40, seed=5)
    psf = MoffatPsf(FWHM * np.random.default_rng(1).uniform(0.7, 1.4, (40, 1)))
    together = render_lenses(lenses, sources, psf)
    for i in (0, 7, 39):
        alone = render_lenses(lenses.take([i]), sources.take([i]), psf.take([i]))
        assert np.array_equal(alone[0], together[i])
    turned = np.arange(40)[::-1]
    parts = [turned[:13], turned[13:]]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda rows: render_lenses(lenses.take(rows), sources.take(rows), psf.take(rows)), parts))
    assert np.array_equal(np.concatenate(done), together[turned])


def test_flux_scales_the_image_and_bands_of_equal_seeing_are_equal():
    lens = LensModel(1.2, 0.8, 0.3)
    one = SourceModel(np.array([[1.0, 3.0]]), 0.1, 0.0, 0.3, 1.0, 0.7, 0.2)
    image = render_lenses(lens, one, MoffatPsf(np.array([[1.0, 1.0]])))[0]
    assert np.allclose(image[1], 3.0 * image[0], rtol=1e-5, atol=1e-7)


def test_half_a_turn_of_everything_turns_the_image():
    source = SourceModel(np.ones((1, 1)), 0.2, 0.1, 0.3, 1.0, 0.7, 0.2)
    psf = MoffatPsf(np.array([[1.0]]))
    image = render_lenses(LensModel(1.2, 0.7, 0.3, 0.1, 0.0, 0.03, 0.01), source, psf, pixels=65)[0, 0]
    opposite = replace(source, x_arcsec=-source.x_arcsec, y_arcsec=-source.y_arcsec)
    turned = render_lenses(LensModel(1.2, 0.7, 0.3, -0.1, 0.0, 0.03, 0.01), opposite, psf, pixels=65)[0, 0]
    assert np.allclose(turned[::-1, ::-1], image, atol=2e-4 * image.max())


def test_moving_lens_and_source_by_whole_pixels_moves_the_image():
    step = 2 * 0.262
    source = SourceModel(np.ones((1, 1)), 0.2, 0.1, 0.3, 1.0, 0.7, 0.2)
    psf = MoffatPsf(np.array([[1.0]]))
    image = render_lenses(LensModel(1.2, 0.7, 0.3), source, psf)[0, 0]
    there = replace(source, x_arcsec=source.x_arcsec + step)
    moved = render_lenses(LensModel(1.2, 0.7, 0.3, step, 0.0), there, psf)[0, 0]
    assert np.allclose(moved[:, 4:-2], image[:, 2:-4], atol=2e-4 * image.max())


def test_centred_source_behind_a_round_lens_is_a_ring_of_the_einstein_radius():
    lens = LensModel(2.0, 1.0, 0.0)
    source = SourceModel(np.ones((1, 1)), 0.0, 0.0, 0.1, 1.0, 1.0, 0.0)
    image = render_lenses(lens, source, MoffatPsf(np.array([[0.6]])), pixels=65)[0, 0].astype(float)
    y, x = (np.indices(image.shape) - 32) * 0.262
    radius = np.hypot(x, y)
    ring = np.abs(radius - 2.0) < 1.5
    # Light of a thin ring of radius R seen through a round PSF: the mean radius lies sigma^2 / (2 R) outside it.
    assert np.average(radius[ring], weights=image[ring]) == pytest.approx(2.0, abs=0.06)
    assert image[32, 32] < 0.05 * image.max()


def test_lensing_conserves_surface_brightness():
    # A source much larger than the PSF: the brightest pixel of the arcs is as bright as that of the source itself.
    source = SourceModel(np.ones((2, 1)), 0.9, 0.0, 3.0, 0.5, 1.0, 0.0)
    psf = MoffatPsf(np.array([[0.6], [0.6]]), 4.5)
    images = render_lenses(LensModel([2.0, 0.0], 1.0, 0.0), source, psf, pixels=101)[:, 0]
    center = float(source_surface_brightness([[0.9]], [[0.0]], source.take([0]))[0, 0])
    assert np.allclose(images.max(axis=(1, 2)), center * 0.262**2, rtol=0.025)


def test_psf_image_of_a_moffat_renders_what_the_moffat_does():
    lens = LensModel([1.3, 0.0], 0.7, 0.6, 0.0, 0.0, 0.02, 0.0)
    source = SourceModel(np.ones((2, 1)), 0.1, 0.15, 0.25, 1.0, 0.6, 1.1)
    width, beta = 1.2, 3.5
    alpha = width / (2 * np.sqrt(2 ** (1 / beta) - 1))
    axis = np.arange(-31, 32) * 0.262
    image = (1 + (axis[:, None] ** 2 + axis**2) / alpha**2) ** -beta
    stamps = np.broadcast_to((image / image.sum()).astype(np.float32), (2, 1, 63, 63))
    by_image = render_lenses(lens, source, ImagePsf(stamps))
    by_moffat = render_lenses(lens, source, MoffatPsf(np.full((2, 1), width), beta))
    assert np.abs(by_image - by_moffat).max() < 2e-3 * by_moffat.max()


def test_lopsided_psf_image_shifts_light_to_its_own_side():
    stamp = np.zeros((1, 1, 11, 11), dtype=np.float32)
    stamp[0, 0, 5 + 2, 5 + 3] = 1.0
    lens, source = LensModel(0.0, 1.0, 0.0), SourceModel(np.ones((1, 1)), 0.0, 0.0, 0.6, 0.5, 1.0, 0.0)
    image = render_lenses(lens, source, ImagePsf(stamp), pixels=65)[0, 0]
    assert np.unravel_index(image.argmax(), image.shape) == (32 + 2, 32 + 3)
    assert image.sum() == pytest.approx(1.0, abs=2e-3)


def test_unknown_moffat_index_and_mismatched_batches_are_refused():
    lens, source = LensModel(1.0, 0.8, 0.0), SourceModel(np.ones((1, 3)), 0.0, 0.0, 0.3, 1.0, 0.8, 0.0)
    with pytest.raises(PixelError, match=r"beta = 3\.0"):
        render_lenses(lens, source, seeing(1, beta=3.0))
    with pytest.raises(PixelError, match="2 lenses"):
        render_lenses(LensModel([1.0, 1.0], 0.8, 0.0), source, seeing(1))
    with pytest.raises(OptionError, match="pixels"):
        render_lenses(lens, source, seeing(1), pixels=4)
