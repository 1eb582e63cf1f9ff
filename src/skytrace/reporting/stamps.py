"""Colour pictures of g, r, z stamps, and contact sheets of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["contact_sheet_png", "png_bytes", "rgb_stamps"]

#: Relative scales of z, r, g as red, green, blue: those of the Legacy Surveys viewer (legacypipe ``get_rgb``).
_SCALE = {"z": 2.2, "r": 3.4, "g": 6.0}


def rgb_stamps(images: NDArray[np.floating], *, softening: float = 20.0, floor: float = 0.02) -> NDArray[np.uint8]:
    """Legacy-Surveys-like colours of ``images`` (n, 3 = g r z, y, x) [nanomaggies] -> (n, y, x, 3) uint8.

    Lupton et al. 2004: one arcsinh stretch of the mean of the scaled bands: colour does not depend on brightness.
    NaN pixels come out black.
    """
    g, r, z = (np.nan_to_num(np.asarray(images)[:, band], nan=-1.0) for band in range(3))
    planes = np.stack([z * _SCALE["z"], r * _SCALE["r"], g * _SCALE["g"]], axis=-1) + floor
    mean = np.maximum(planes.mean(axis=-1), 1e-9)
    stretched = np.arcsinh(softening * mean) / np.sqrt(softening)
    return (np.clip(planes * (stretched / mean)[..., None], 0.0, 1.0) * 255).astype(np.uint8)


def contact_sheet_png(
    images: NDArray[np.floating], *, columns: int = 10, zoom: int = 1, gap: int = 2, softening: float = 20.0
) -> bytes:
    """Stamps (n, 3, y, x) [nanomaggies] side by side, row after row, as one PNG. Raises ValueError for n = 0."""
    if len(images) == 0:
        raise ValueError("a contact sheet needs at least one stamp")
    pictures = rgb_stamps(images, softening=softening)
    pictures = pictures.repeat(zoom, axis=1).repeat(zoom, axis=2)
    n, height, width, _ = pictures.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for k, picture in enumerate(pictures):
        top, left = (k // columns) * (height + gap), (k % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return png_bytes(sheet)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """An 8-bit RGB picture (y, x, 3) as PNG, the same bytes for the same pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture, mode="RGB").save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()
