import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.learning.augmentation import augment, mask_cores, move_pixels
from skytrace.learning.options import TrainingOptions


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


def test_a_masked_core_is_exactly_the_pixels_nearer_than_its_radius():
    stamps = np.ones((1, 3, 16, 16), np.float32)
    masked = mask_cores(stamps, radius_px=2.0, share=1.0, rng=np.random.default_rng(0))
    zero = {(y - 8, x - 8) for y, x in np.argwhere(masked[0, 0] == 0)}
    # r < 2 strictly: (2, 0) is kept, (1, 1) is not
    assert zero == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}
    assert (masked == masked[:, :1]).all(), "all bands alike"
    assert (stamps == 1).all(), "the stamps given stay as they were"
    n_core = sum(y * y + x * x < 64 for y in range(-32, 32) for x in range(-32, 32))
    wide = mask_cores(np.ones((1, 1, 64, 64), np.float32), radius_px=8.0, share=1.0, rng=np.random.default_rng(0))
    assert (wide == 0).sum() == n_core == 193
    odd = mask_cores(np.ones((1, 1, 15, 15), np.float32), radius_px=1.0, share=1.0, rng=np.random.default_rng(0))
    assert np.argwhere(odd[0, 0] == 0).tolist() == [[7, 7]]


def test_the_share_of_masked_stamps_is_the_one_asked_for_and_a_larger_one_contains_it():
    stamps = np.ones((20_000, 1, 4, 4), np.float32)
    masked = {
        share: (mask_cores(stamps, radius_px=1.0, share=share, rng=np.random.default_rng([5, 2, 7]))[:, 0, 2, 2] == 0)
        for share in (0.0, 0.3, 0.6, 1.0)
    }
    assert not masked[0.0].any()
    assert masked[1.0].all()
    assert abs(masked[0.3].mean() - 0.3) < 5 * np.sqrt(0.21 / 20_000)
    assert masked[0.6][masked[0.3]].all()


def test_the_share_rises_in_a_straight_line_and_then_stays():
    options = TrainingOptions(epochs=20, core_mask_share=0.4, core_mask_ramp=0.5)
    np.testing.assert_allclose(
        [options.core_mask_share_at(epoch) for epoch in (0, 1, 5, 10, 19)], [0.0, 0.04, 0.2, 0.4, 0.4]
    )
    at_once = TrainingOptions(core_mask_share=0.4, core_mask_ramp=0.0)
    assert at_once.core_mask_share_at(0) == 0.4


@pytest.mark.parametrize("size", [64, 63])
def test_training_and_the_gates_mean_the_same_core(size):
    from skytrace.audit.gates import mask_core

    stamps = np.random.default_rng(6).normal(size=(3, 3, size, size)).astype(np.float32)
    masked = mask_cores(stamps, radius_px=8.0, share=1.0, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(masked, mask_core(stamps, 8.0, fill=0.0))
