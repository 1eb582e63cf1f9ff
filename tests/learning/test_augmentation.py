import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.learning.augmentation import augment, move_pixels


@pytest.fixture
def stamps():
    return np.random.default_rng(0).normal(size=(12, 3, 16, 16)).astype(np.float32)


def unmoved(n):
    return {"flip": np.zeros(n, bool), "quarter_turns": np.zeros(n, int), "shift": np.zeros((n, 2), int)}


def test_turns_flips_and_shifts_are_those_of_numpy(stamps):
    n = len(stamps)
    rng = np.random.default_rng(1)
    flip, turns, shift = rng.integers(0, 2, n).astype(bool), np.arange(n) % 4, rng.integers(-2, 3, (n, 2))
    moved = move_pixels(stamps, flip=flip, quarter_turns=turns, shift=shift)
    for i in range(n):
        padded = np.pad(stamps[i], ((0, 0), (2, 2), (2, 2)))
        y, x = 2 - shift[i]
        expected = np.rot90(padded[:, y : y + 16, x : x + 16], turns[i], axes=(1, 2))
        expected = expected[:, :, ::-1] if flip[i] else expected
        np.testing.assert_array_equal(moved[i], expected)


def test_augmentation_changes_no_colour_and_no_contrast(stamps):
    """Without a shift the (g, r, z) triples of a stamp's pixels are the same set, to the last bit."""
    moved = augment(stamps, shift_px=0, rng=np.random.default_rng(3))
    assert not np.array_equal(moved, stamps)
    for before, after in zip(stamps, moved, strict=True):
        triples = [np.sort(np.ascontiguousarray(s.reshape(3, -1).T).view("f4,f4,f4"), axis=0) for s in (before, after)]
        np.testing.assert_array_equal(*triples)


def test_shifts_stay_within_their_limit_and_bring_in_background():
    stamps = np.zeros((400, 3, 16, 16), np.float32)
    stamps[:, :, 8, 8] = 5.0
    moved = augment(stamps, shift_px=2, rng=np.random.default_rng(4))
    assert set(np.unique(moved)) == {0.0, 5.0}
    y, x = np.argwhere(moved[:, 0] == 5.0)[:, 1:].T
    # a quarter turn of an even stamp maps pixel 8 to pixel 7, before the shift
    assert (y.min(), y.max()) == (5, 10)
    assert (x.min(), x.max()) == (5, 10)


def test_same_stream_gives_same_pixels(stamps):
    first, second = (augment(stamps, rng=np.random.default_rng([7, 1, 3])) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_stamps_that_are_not_square_are_refused():
    with pytest.raises(PixelError, match="16 x 12"):
        move_pixels(np.zeros((2, 3, 16, 12), np.float32), **unmoved(2))
