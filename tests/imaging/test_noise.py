"""Photon noise of added light against vectors and its own statistics."""

import json
from pathlib import Path

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.noise import photon_noise, photon_sigma_nmgy
from skytrace.imaging.sky_noise import NOISE_PAD, pixel_variance_share

VECTORS = json.loads((Path(__file__).parents[1] / "lensing" / "vectors.json").read_text())["poisson"]


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_width_matches_the_vectors(case):
    sigma = photon_sigma_nmgy(case["F_pix_nmgy"], case["electrons_per_nmgy"])
    assert sigma == pytest.approx(case["sigma_add"], rel=1e-12)


def test_variance_is_that_of_counted_electrons():
    rng = np.random.default_rng(5)
    light = np.full((1, 1, 300, 300), 0.4)
    side = 300 + 2 * NOISE_PAD
    noise = photon_noise(light, 900.0, normals=rng.standard_normal((1, 1, side, side)))
    counted = rng.poisson(light * 900.0) / 900.0
    assert noise.var() == pytest.approx(counted.var() * pixel_variance_share(), rel=0.03)
    blocks = [image.reshape(15, 20, 15, 20).sum(axis=(1, 3)).var() for image in (noise[0, 0], counted[0, 0])]
    assert blocks[0] == pytest.approx(blocks[1], rel=0.35)  # sums over many pixels scatter as the counts do
    assert abs(noise.mean()) < 5 * counted.std() / 300


def test_gain_belongs_to_its_band_and_darkness_is_silent():
    light = np.ones((2, 3, 4, 4))
    light[0] = 0.0
    light[1, 2] = -1.0
    padded = np.ones((2, 3, 4 + 2 * NOISE_PAD, 4 + 2 * NOISE_PAD))
    noise = photon_noise(light, np.array([[1.0, 4.0, 9.0]] * 2), normals=padded)
    assert noise.dtype == np.float32
    assert noise[:, :, 0, 0] == pytest.approx(np.array([[0, 0, 0], [1.0, 0.5, 0]]), abs=1e-6)  # the kernel's sum is 1


def test_gain_that_is_not_positive_and_normals_of_another_shape_are_refused():
    with pytest.raises(PixelError, match="electrons_per_nmgy"):
        photon_noise(np.ones((1, 1, 2, 2)), 0.0, normals=np.ones((1, 1, 2, 2)))
    with pytest.raises(PixelError, match="normals"):
        photon_noise(np.ones((1, 1, 2, 2)), 1.0, normals=np.ones((2, 2)))
