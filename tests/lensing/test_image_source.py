"""Stamps as sources: conserved light, the same image as the profile they sample, and real HST galaxies."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import OptionError
from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing import (
    ImageSource,
    LensModel,
    SourceModel,
    flux_magnification,
    ray_shoot,
    render_lenses,
    source_surface_brightness,
    stack_stamps,
)

SEEING = MoffatPsf(np.array([[1.2, 1.0]]), 3.5)


def sampled(source, *, size=121, scale=0.03):
    """A stamp of a Sersic source about its own centre, each pixel the mean of 5 x 5 points."""
    axis = (np.arange(size * 5) - (size * 5 - 1) / 2) * scale / 5
    x, y = np.meshgrid(axis + source.x_arcsec[0], axis + source.y_arcsec[0])
    light = source_surface_brightness(x[None], y[None], source)[0]
    return light.reshape(size, 5, size, 5).mean(axis=(1, 3)).astype(np.float32)


def unlensed_and_lensed(stamps, *, n_pixels=101, x=0.25, y=-0.1, phi=0.4):
    lens = LensModel([0.0, 1.3], 0.7, 0.6, 0.0, 0.0, [0.0, 0.03], 0.0)
    source = ImageSource(np.ones((2, 2)), x, y, stamps, 0, 0.03, phi)
    psf = MoffatPsf(np.array([[1.2, 1.0], [1.2, 1.0]]), 4.5)
    return lens, source, render_lenses(lens, source, psf, pixels=n_pixels)


def brute_flux(lens, source, *, half=4.0, step=0.004):
    """Lensed flux by a midpoint sum over a fine grid, in float64, row blocks at a time."""
    axis = np.arange(-half, half, step) + step / 2
    total = 0.0
    for y in np.array_split(axis, 40):
        grid = np.meshgrid(axis, y)
        beta = ray_shoot(grid[0][None], grid[1][None], lens)
        total += source_surface_brightness(*beta, source).sum() * step**2
    return total


def test_stamp_of_a_sersic_renders_what_the_sersic_does():
    lens = LensModel(1.3, 0.7, 0.6, 0.0, 0.0, 0.03, 0.0)
    body = SourceModel(np.array([[1.0, 2.0]]), 0.25, -0.1, 0.25, 1.0, 0.7, 0.9)
    stamp = ImageSource(np.array([[1.0, 2.0]]), 0.25, -0.1, sampled(body)[None])
    assert stamp.half_light_radius_arcsec[0] == pytest.approx(0.25, rel=0.03)
    by_body, by_stamp = render_lenses(lens, body, SEEING)[0], render_lenses(lens, stamp, SEEING)[0]
    assert np.abs(by_stamp - by_body).max() < 8e-3 * by_body.max()  # bilinear light of 0.03" pixels is a little wider
    assert flux_magnification(lens, stamp)[0] == pytest.approx(flux_magnification(lens, body)[0], rel=4e-3)
    # The same stamp turned by a right angle is the stamp with its axes exchanged.
    turned = ImageSource(np.ones((1, 2)), 0.25, -0.1, np.rot90(sampled(body), 1)[None], phi_rad=np.pi / 2)
    same = ImageSource(np.ones((1, 2)), 0.25, -0.1, sampled(body)[None])
    images = [render_lenses(lens, source, SEEING) for source in (turned, same)]
    counter = ImageSource(np.ones((1, 2)), 0.25, -0.1, np.rot90(sampled(body), -1)[None], phi_rad=-np.pi / 2)
    images.append(render_lenses(lens, counter, SEEING))
    assert min(np.abs(images[k] - images[1]).max() for k in (0, 2)) < 1e-3 * images[1].max()


def test_rough_stamp_keeps_its_flux_and_its_magnification_is_the_integral():
    rng = np.random.default_rng(3)
    y, x = np.indices((61, 61)) - 30
    stamp = np.exp(-np.hypot(x, 1.5 * y) / 9.0) * rng.uniform(0.0, 2.0, (61, 61))
    lens, source, images = unlensed_and_lensed(stamp[None])
    assert np.allclose(images[0].sum(axis=(1, 2)), 1.0, atol=1e-3)
    assert flux_magnification(lens, source)[0] == pytest.approx(1.0, abs=1e-3)
    one = source.take([1])
    integral = brute_flux(lens.take([1]), one)
    assert flux_magnification(lens, source)[1] == pytest.approx(integral, rel=1.5e-3)
    assert np.allclose(images[1].sum(axis=(1, 2)), integral, rtol=3e-3)


def test_a_stamp_gives_the_same_bits_alone_and_in_a_batch():
    stamps = stack_stamps([np.ones((5, 8)), np.eye(30)])
    lens = LensModel(np.linspace(0.8, 1.4, 20), 0.7, 0.3, gamma_epl=np.linspace(1.8, 2.3, 20))
    source = ImageSource(np.ones((20, 1)), 0.1, 0.05, stamps, np.arange(20) % 2, np.linspace(0.02, 0.05, 20))
    psf = MoffatPsf(np.full((20, 1), 1.1), 3.5)
    together = render_lenses(lens, source, psf)
    for i in (0, 7, 19):
        assert np.array_equal(render_lenses(lens.take([i]), source.take([i]), psf.take([i]))[0], together[i])


def test_stamps_are_stacked_about_their_centroids_without_resampling():
    one = np.zeros((6, 9))
    one[1, 7] = 3.0
    library = stack_stamps([one, np.ones((3, 3))])
    assert library.shape[1] == library.shape[2] and library.shape[1] % 2 == 1
    middle = library.shape[1] // 2
    assert library[0, middle, middle] == 3.0 and library[0].sum() == 3.0 and library[1].sum() == 9.0


def test_stamps_without_flux_and_rows_outside_the_library_are_refused_by_name():
    with pytest.raises(OptionError, match="positive flux"):
        ImageSource(np.ones((1, 1)), 0.0, 0.0, np.zeros((1, 4, 4)))
    with pytest.raises(OptionError, match="image_index"):
        ImageSource(np.ones((1, 1)), 0.0, 0.0, np.ones((1, 4, 4)), 1)


def test_real_hst_galaxies_keep_their_flux_and_their_magnification_is_the_integral(real_data):
    folder = real_data / "imaging" / "hst_source_galaxies"
    if not (folder / "hst_stamps.npz").is_file():
        pytest.skip(f"no HST source stamps at {folder}")
    table = pd.read_parquet(folder / "hst_stamps.parquet")
    names = [name for name in table["source_id"] if name.startswith("aegis")]
    with np.load(folder / "hst_stamps.npz", allow_pickle=False) as file:
        stamps = stack_stamps([file[name] for name in names])
    assert len(stamps) == 10
    n = len(stamps)
    source = ImageSource(np.ones((n, 1)), 0.2, 0.1, stamps, np.arange(n), 0.03)
    psf = MoffatPsf(np.full((n, 1), 1.1), 4.5)
    unlensed = render_lenses(LensModel(np.zeros(n), 1.0, 0.0), source, psf, pixels=101)
    assert np.allclose(unlensed.sum(axis=(1, 2, 3)), 1.0, atol=1e-3)
    lens = LensModel(np.full(n, 1.2), 0.75, 0.3)
    found = flux_magnification(lens, source)
    for i in (0, 2):
        assert found[i] == pytest.approx(brute_flux(lens.take([i]), source.take([i])), rel=2e-3)
