"""A batch of cutouts that is not what it says is refused, with the shape or the value that is wrong."""

import dataclasses

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.psf import MoffatPsf
from skytrace.surveys.interface import CutoutBatch

N, SIZE = 2, 5


def batch(**changes) -> CutoutBatch:
    parts = {
        "galaxy_id": np.array(["a", "b"]),
        "image": np.zeros((N, 3, SIZE, SIZE), np.float32),
        "invvar": np.ones((N, 3, SIZE, SIZE), np.float32),
        "maskbits": np.zeros((N, SIZE, SIZE), np.int32),
        "psf": MoffatPsf(np.ones((N, 3)), 3.5),
    }
    return CutoutBatch(**(parts | changes))


def test_a_whole_batch_knows_its_length_and_cannot_be_changed():
    whole = batch()
    assert len(whole) == N
    planes = np.zeros((0, 3, SIZE, SIZE))
    none = CutoutBatch(np.array([], str), planes, planes, planes[:, 0].astype(int), MoffatPsf(np.ones((0, 3)), 3.5))
    assert len(none) == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.image = None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": ("z", "r", "g")}, r"bands are \('z', 'r', 'g'\); this project needs exactly \('g', 'r', 'z'\)"),
        ({"image": np.zeros((N, SIZE, SIZE, 3))}, r"image shape \(2, 5, 5, 3\) is not \(n=2, band=3, y, x\)"),
        ({"image": np.zeros((N, 2, SIZE, SIZE))}, r"image shape \(2, 2, 5, 5\)"),
        ({"image": np.zeros((3, SIZE, SIZE))}, r"image shape \(3, 5, 5\)"),
        ({"galaxy_id": np.array(["a"])}, r"image shape \(2, 3, 5, 5\) is not \(n=1"),
        ({"invvar": np.ones((N, SIZE, SIZE))}, r"invvar shape \(2, 5, 5\) differs from image shape \(2, 3, 5, 5\)"),
        ({"maskbits": np.zeros((N, 3, SIZE, SIZE), int)}, r"maskbits shape \(2, 3, 5, 5\) is not \(n, y, x\)"),
        ({"maskbits": np.zeros((N, SIZE, SIZE - 1), int)}, r"maskbits shape \(2, 5, 4\)"),
        ({"psf": MoffatPsf(np.ones((3, 3)), 3.5)}, "3 PSFs for 2 cutouts"),
        ({"invvar": np.full((N, 3, SIZE, SIZE), -1.0)}, "invvar has negative values"),
    ],
    ids=[
        "band order",
        "bands last",
        "a band short",
        "one cutout",
        "ids",
        "invvar",
        "mask bands",
        "mask x",
        "psf",
        "sign",
    ],
)
def test_a_batch_that_is_not_g_r_z_of_n_galaxies_is_refused_by_what_is_wrong(changes, message):
    with pytest.raises(PixelError, match=message):
        batch(**changes)


def test_one_negative_weight_among_many_is_found():
    invvar = np.ones((N, 3, SIZE, SIZE), np.float32)
    invvar[1, 2, 4, 4] = -1e-6
    with pytest.raises(PixelError, match="negative"):
        batch(invvar=invvar)
