"""Preprocessing: definition, invariances, reuse of host statistics, refusals, and the lock on its bytes."""

import numpy as np
import pytest

from skytrace.errors import OptionError, PixelError
from skytrace.imaging import PreprocessOptions, annulus_statistics, preprocess, preprocessing_checksum


@pytest.fixture
def cutouts():
    rng = np.random.default_rng(7)
    return rng.normal(0.3, 0.02, size=(5, 3, 101, 101)).astype(np.float32)


def _brute_force(image, good, inner, outer):
    y, x = np.indices(image.shape)
    radius = np.hypot(y - image.shape[0] // 2, x - image.shape[1] // 2)
    values = image[(radius >= inner) & (radius <= outer) & good].astype(np.float64)
    median = np.median(values)
    return median, 1.4826 * np.median(np.abs(values - median))


@pytest.mark.parametrize("annulus_px", [(36, 50), (20, 32)])
def test_statistics_are_the_median_and_mad_of_unmasked_annulus_pixels(cutouts, annulus_px):
    invvar = np.ones_like(cutouts)
    invvar[1, 2, :70] = 0.0
    cutouts[1, 2, :70] = 1e6
    cutouts[3, 0, 5:20, 40:80] = np.nan
    median, scale = annulus_statistics(cutouts, invvar, options=PreprocessOptions(annulus_px=annulus_px))
    for i, band in np.ndindex(5, 3):
        good = (invvar[i, band] > 0) & np.isfinite(cutouts[i, band])
        expected = _brute_force(cutouts[i, band], good, *annulus_px)
        assert median[i, band] == pytest.approx(expected[0], rel=1e-6)
        assert scale[i, band] == pytest.approx(expected[1], rel=1e-5)  # float32 deviations


def test_linear_stamps_are_the_clipped_centre_in_units_of_the_background(cutouts):
    cutouts[0, 1, 50, 50] = 50.0
    stamps = preprocess(cutouts, options=PreprocessOptions(stretch="linear"))
    median, scale = annulus_statistics(cutouts, None)
    expected = (cutouts[:, :, 18:82, 18:82] - median[..., None, None]) / scale[..., None, None]
    np.testing.assert_allclose(stamps, np.clip(expected, -10, 10), atol=2e-5)
    assert stamps.shape == (5, 3, 64, 64) and stamps.dtype == np.float32
    assert stamps[0, 1, 32, 32] == 10.0


def test_the_stretch_is_the_arcsinh_of_the_linear_stamps_before_clipping(cutouts):
    linear = preprocess(cutouts, options=PreprocessOptions(stretch="linear", clip=1e6))
    np.testing.assert_allclose(preprocess(cutouts), np.clip(np.arcsinh(linear), -10, 10), rtol=1e-6, atol=1e-7)


def test_stamps_do_not_depend_on_the_unit_or_the_sky_level(cutouts):
    np.testing.assert_allclose(preprocess(4.0 * cutouts + 2.0), preprocess(cutouts), atol=2e-4)


def test_host_statistics_on_the_crop_alone_give_the_same_bytes(cutouts):
    statistics = annulus_statistics(cutouts, None)
    reused = preprocess(cutouts[:, :, 18:82, 18:82], statistics=statistics)
    assert reused.tobytes() == preprocess(cutouts).tobytes()


def test_a_cutout_is_prepared_alike_alone_and_in_any_batch(cutouts):
    many = np.concatenate([cutouts] * 30)
    assert preprocess(many)[-1].tobytes() == preprocess(cutouts[4:5])[0].tobytes()


def test_input_pixels_are_left_as_they_were(cutouts):
    cutouts[0, 0, 30, 30] = np.nan
    before = cutouts.tobytes()
    preprocess(cutouts)
    preprocess(cutouts[:, :, 18:82, 18:82], statistics=(np.zeros((5, 3)), np.ones((5, 3))))
    assert cutouts.tobytes() == before


def test_bands_without_background_are_flagged_by_scale_zero_and_become_zeros(cutouts):
    invvar = np.ones_like(cutouts)
    invvar[0, 0] = 0.0  # missing
    y, x = np.indices((101, 101)) - 50
    invvar[1, 1][np.hypot(y, x) > 30] = 0.0  # annulus fully masked
    cutouts[2, 2] = np.nan  # missing, told by NaN
    stamps = preprocess(cutouts, invvar)
    _, scale = annulus_statistics(cutouts, invvar)
    assert {tuple(place) for place in np.argwhere(scale == 0)} == {(0, 0), (1, 1), (2, 2)}
    assert not stamps[scale == 0].any()
    assert np.isfinite(stamps).all()
    assert (stamps[scale > 0].std(axis=(1, 2)) > 0.5).all()


def test_a_nan_in_the_core_is_refused_and_named_but_elsewhere_becomes_background(cutouts):
    cutouts[1, 0, 20, 20] = np.nan
    assert preprocess(cutouts)[1, 0, 2, 2] == 0.0
    cutouts[3, 2, 50, 58] = np.nan
    with pytest.raises(PixelError, match=r"cutout 3 .*band 2"):
        preprocess(cutouts)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 101, 101), r"\(n, band, y, x\)"),
        ((2, 3, 101, 99), "square"),
        ((2, 3, 64, 64), "does not fit an image of 64 px"),
        ((2, 3, 41, 41), "smaller than crop"),
    ],
)
def test_wrong_shapes_are_refused(shape, message):
    with pytest.raises(PixelError, match=message):
        preprocess(np.zeros(shape, dtype=np.float32))


def test_negative_inverse_variance_and_integer_pixels_are_refused(cutouts):
    with pytest.raises(PixelError, match="negative"):
        preprocess(cutouts, np.full_like(cutouts, -1.0))
    with pytest.raises(PixelError, match="floating-point"):
        preprocess(np.zeros((1, 3, 101, 101), dtype=np.int16))
    with pytest.raises(PixelError, match="statistics"):
        preprocess(cutouts, statistics=(np.zeros(3), np.ones(3)))


BAD_OPTIONS = [{"annulus_px": (50, 36)}, {"annulus_px": (4, 50)}, {"clip": 0}, {"crop": 64.5}, {"stretch": "log"}]


@pytest.mark.parametrize("bad", BAD_OPTIONS)
def test_options_outside_their_range_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        PreprocessOptions(**bad)


def test_the_checksum_is_locked_and_tells_options_apart():
    assert preprocessing_checksum() == "ddd4467b199b97729a06b5b86686bd25fe3eb7591269a9d5c33323f32ce73b99"
    assert preprocessing_checksum(PreprocessOptions(annulus_px=(20, 32))) != preprocessing_checksum()
