"""Stamps as pictures keep the order of the stamps and the colour of the sky."""

import io

import numpy as np
import pytest
from PIL import Image

from skytrace.reporting.stamps import contact_sheet_png, rgb_stamps


def flat(g: float, r: float, z: float) -> np.ndarray:
    return np.broadcast_to(np.array([g, r, z], dtype=np.float32)[None, :, None, None], (1, 3, 8, 8))


def test_a_red_galaxy_is_red_and_a_blue_one_blue():
    red, green, blue = rgb_stamps(flat(0.02, 0.1, 0.3), floor=0.0)[0, 0, 0].astype(int)
    assert red > green > blue
    red, green, blue = rgb_stamps(flat(0.2, 0.1, 0.05), floor=0.0)[0, 0, 0].astype(int)
    assert blue > green > red


def test_colour_does_not_depend_on_brightness():
    faint, bright = (
        rgb_stamps(flat(0.02 * k, 0.03 * k, 0.04 * k), floor=0.0)[0, 0, 0].astype(float) for k in (0.5, 2.0)
    )
    assert faint / faint.sum() == pytest.approx(bright / bright.sum(), abs=0.02)


def test_a_contact_sheet_puts_stamp_k_at_row_k_over_columns():
    images = np.zeros((5, 3, 8, 8), dtype=np.float32)
    images[3] = 5.0
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet_png(images, columns=3, gap=2))))
    assert sheet.shape == (18, 28, 3)
    assert sheet[10:18, 0:8].min() > 200
    assert sheet[0:8, 0:8].max() < 60


def test_nan_pixels_are_black():
    assert rgb_stamps(np.full((1, 3, 4, 4), np.nan)).max() == 0


def test_an_empty_contact_sheet_is_refused():
    with pytest.raises(ValueError, match="at least one stamp"):
        contact_sheet_png(np.zeros((0, 3, 8, 8)))
