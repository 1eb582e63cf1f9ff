"""One source or several: the score is uniform for achromatic images, and chromatic ones are flagged."""

import numpy as np
import pytest
from scipy.stats import kstest

from skytrace.clusters import ColourOptions, colour_consistency, matched_colours
from skytrace.clusters.colours import shrunk_covariance
from skytrace.errors import OptionError, PixelError
from skytrace.imaging.profiles import GaussianComponents, SersicComponents, render_profiles
from skytrace.imaging.psf import MoffatPsf

SCALE = 0.2
PLACES = np.array([[-5.0, 3.0], [4.2, 4.1], [1.3, -6.2], [6.0, -2.0]])  # x, y [arcsec]


def drawn(rng, n, m, shift=0.0, error=0.05):
    """Colours of n groups of m images with correlated errors; the first image of each is ``shift`` mag redder."""
    covariance = error**2 * np.array([[2.0, -1.0], [-1.0, 2.0]])
    colours = 0.7 + rng.multivariate_normal([0, 0], covariance, (n, m))
    colours[:, 0] += shift
    return colours, np.broadcast_to(covariance, (n, m, 2, 2)).copy()


@pytest.mark.parametrize("m", [2, 3, 5])
def test_scores_of_one_colour_are_uniform(m):
    colours, covariance = drawn(np.random.default_rng(1), 3000, m)
    found = colour_consistency(colours, covariance, options=ColourOptions(intrinsic_mag=0.0, huber=10.0))
    assert kstest(found.score, "uniform").pvalue > 1e-3
    assert kstest(found.image_score[:, 0], "uniform").pvalue > 1e-3
    assert not found.flagged.any()


def test_huber_weights_change_little_where_nothing_is_odd():
    colours, covariance = drawn(np.random.default_rng(2), 3000, 5)
    found = colour_consistency(colours, covariance, options=ColourOptions(intrinsic_mag=0.0))
    assert (found.distance**2).mean() == pytest.approx(2.0, rel=0.06)


def huber_centroid(values, covariance, huber=1.345, iterations=200):
    """By the definition: weights min(1, huber / d), the others' mean under them, until it moves no more."""
    precision, centre = np.linalg.inv(covariance), np.median(values, axis=0)
    for _ in range(iterations):
        residual = values - centre
        distance = np.sqrt(np.einsum("ki,kij,kj->k", residual, precision, residual))
        weighted = precision * np.minimum(1.0, huber / np.maximum(distance, 1e-12))[:, None, None]
        centre = np.linalg.solve(weighted.sum(axis=0), np.einsum("kij,kj->i", weighted, values))
    return centre, np.linalg.inv(precision.sum(axis=0))


def test_distances_are_those_from_the_huber_centroid_of_the_other_images():
    rng = np.random.default_rng(10)
    for m in (2, 3, 4, 9):
        colours = rng.normal(0.7, 0.3, (1, m, 2))
        root = rng.normal(0.0, 0.1, (1, m, 2, 2))
        covariance = root @ np.swapaxes(root, -1, -2) + 1e-3 * np.eye(2)
        found = colour_consistency(colours, covariance, options=ColourOptions(intrinsic_mag=0.05, iterations=200))
        total = covariance[0] + 0.05**2 * np.eye(2)
        for k in range(m):
            others = np.arange(m) != k
            centre, spread = huber_centroid(colours[0, others], total[others])
            residual = colours[0, k] - centre
            expected = np.sqrt(residual @ np.linalg.inv(total[k] + spread) @ residual)
            np.testing.assert_allclose(found.distance[0, k], expected, rtol=1e-6)
        np.testing.assert_allclose(found.centroid[0], huber_centroid(colours[0], total)[0], rtol=1e-6)


def test_an_odd_image_is_flagged_and_the_others_agree():
    colours, covariance = drawn(np.random.default_rng(3), 300, 5, shift=0.9)
    found = colour_consistency(colours, covariance)
    assert found.flagged.mean() > 0.99
    assert (found.distance.argmax(axis=1) == 0).mean() > 0.99
    np.testing.assert_allclose(np.median(found.centroid, axis=0), [0.7, 0.7], atol=0.05)
    mean = colours.mean(axis=1)
    assert (np.abs(found.centroid - 0.7) < np.abs(mean - 0.7)).all(axis=1).mean() > 0.9


def test_errors_decide_what_counts_as_odd():
    rng = np.random.default_rng(4)
    sharp = colour_consistency(*drawn(rng, 200, 4, shift=0.5, error=0.03)).flagged.mean()
    blurred = colour_consistency(*drawn(rng, 200, 4, shift=0.5, error=0.3)).flagged.mean()
    assert sharp > 0.95 and blurred == 0.0


def test_missing_images_are_left_out_and_one_alone_is_not_judged():
    colours, covariance = drawn(np.random.default_rng(5), 2, 4)
    alone = colours.copy()
    alone[0, 1:] = np.nan
    alone[1, 3] = np.nan
    found = colour_consistency(alone, covariance)
    three = colour_consistency(colours[1:, :3], covariance[1:, :3])
    assert found.n_images.tolist() == [1, 3]
    assert np.isnan(found.score[0]) and not found.flagged[0]
    np.testing.assert_allclose(found.distance[1, :3], three.distance[0], rtol=1e-6)
    np.testing.assert_allclose(found.score[1], three.score[0], rtol=1e-6)


def test_intrinsic_scatter_is_learned_from_a_reference_and_never_below_its_floor():
    rng = np.random.default_rng(6)
    truth = np.array([[0.01, 0.004], [0.004, 0.006]])
    residuals = rng.multivariate_normal([0, 0], truth, 4000)
    np.testing.assert_allclose(shrunk_covariance(residuals, options=ColourOptions()), truth, atol=8e-4)
    tiny = shrunk_covariance(1e-4 * residuals, options=ColourOptions(intrinsic_mag=0.05))
    assert np.linalg.eigvalsh(tiny).min() == pytest.approx(0.05**2)
    with pytest.raises(OptionError, match="at least 3 finite rows"):
        shrunk_covariance(residuals[:2], options=ColourOptions())


def injected(rng, n, colours, radius, sigma=0.004):
    """(images, psf, positions) of four images of sources with the fluxes ``colours`` (4, 3), PSF 1.1/0.9/0.75"."""
    psf = MoffatPsf(np.tile([1.1, 0.9, 0.75], (n, 1)))
    stamp, place = np.repeat(np.arange(n), 4), np.tile(PLACES, (n, 1))
    ones = np.ones(4 * n)
    light = SersicComponents(stamp, np.tile(colours, (n, 1)), *place.T.copy(), radius * ones, ones, ones, 0.0 * ones)
    none = GaussianComponents(np.zeros(0, int), np.zeros((0, 3)), *np.zeros((3, 0)))
    images = render_profiles(light, none, psf, pixels=128, pixel_scale_arcsec=SCALE)
    positions = np.tile(PLACES[:, ::-1] / SCALE + 64, (n, 1, 1))
    return images + sigma * rng.standard_normal(images.shape).astype(np.float32), psf, positions


def test_matched_apertures_give_the_colours_of_sources_through_unequal_psfs():
    fluxes = np.tile([2.0, 4.0, 5.0], (4, 1))
    expected = 2.5 * np.log10([2.0, 1.25])
    for radius, tolerance in ((0.02, 0.004), (0.3, 0.02)):  # a point; a source as large as the PSF
        images, psf, positions = injected(np.random.default_rng(7), 1, fluxes, radius, sigma=0.0)
        colours, _ = matched_colours(images, [0.004] * 3, psf, positions, pixel_scale_arcsec=SCALE)
        np.testing.assert_allclose(colours, np.broadcast_to(expected, colours.shape), atol=tolerance)


def test_achromatic_injections_pass_and_chromatic_ones_are_flagged():
    rng = np.random.default_rng(8)
    one = np.tile([2.0, 4.0, 5.0], (4, 1)) * np.array([[1.0], [0.5], [2.0], [0.7]])
    two = one.copy()
    two[:2] *= [1.7, 1.0, 0.8]
    passed, flagged = (
        colour_consistency(*matched_colours(images, [0.01] * 3, psf, positions, pixel_scale_arcsec=SCALE))
        for images, psf, positions in (injected(rng, 12, fluxes, 0.1, sigma=0.01) for fluxes in (one, two))
    )
    assert not passed.flagged.any() and np.median(passed.score) > 0.2
    assert flagged.flagged.all() and flagged.score.max() < 1e-5


def test_errors_of_matched_colours_are_their_scatter():
    rng = np.random.default_rng(9)
    images, psf, positions = injected(rng, 120, np.tile([2.0, 4.0, 5.0], (4, 1)), 0.05, sigma=0.03)
    colours, covariance = matched_colours(images, [0.03] * 3, psf, positions, pixel_scale_arcsec=SCALE)
    measured = np.cov(colours.reshape(-1, 2).T)
    np.testing.assert_allclose(measured, covariance.mean(axis=(0, 1)), rtol=0.2)


def test_positions_at_the_edge_have_no_colour_and_narrow_apertures_are_refused():
    images, psf, positions = injected(np.random.default_rng(1), 1, np.ones((4, 3)), 0.1)
    positions[0, 0] = [2.0, 64.0]
    colours, _ = matched_colours(images, [0.01] * 3, psf, positions, pixel_scale_arcsec=SCALE)
    assert np.isnan(colours[0, 0]).all() and np.isfinite(colours[0, 1:]).all()
    narrow = ColourOptions(aperture_fwhm_arcsec=1.0)
    with pytest.raises(OptionError, match=r"aperture_fwhm_arcsec = 1 is outside its allowed range \(1\.1, inf\)"):
        matched_colours(
            images,
            [0.01] * 3,
            psf,
            positions,
            pixel_scale_arcsec=SCALE,
            options=narrow,
        )
    with pytest.raises(PixelError, match="positions_px"):
        matched_colours(images, [0.01] * 3, psf, positions[..., 0], pixel_scale_arcsec=SCALE)
