"""A cluster field as a reviewer wants it: its colours, what is left without the BCG, and a map of g - i.

The composite is the Legacy Surveys viewer's stretch with i in place of z. The residual is the S/N of g + r + i minus
the median of each circle about the BCG, grey from -3 to +12 sigma. The map shows g - i from 0 to 4 mag in cividis, told
apart with any colour vision, where g + r + i is above 3 sigma a smoothed pixel; elsewhere grey. Without data: black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.reporting.stamps import png_bytes, rgb_stamps

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["COLOUR_RANGE_MAG", "colour_map", "field_strip_png", "residual_picture"]

COLOUR_RANGE_MAG = (0.0, 4.0)
_GREY_SIGMA = (-3.0, 12.0)
_SEEN_SIGMA, _SMOOTH_PX, _BLANK, _GAP = 3.0, 1.0, 60, 3


def field_strip_png(image: NDArray[np.floating], noise: ArrayLike, *, zoom: int = 1) -> bytes:
    """PNG of the three panels side by side of image (3 = g r i, y, x) [nanomaggies] with sky sigma (3,) a pixel."""
    panels = (rgb_stamps(image[None])[0], residual_picture(image, noise), colour_map(image, noise))
    white = np.full((image.shape[1], _GAP, 3), 255, dtype=np.uint8)
    # row 0 of an image is the south: the sky has its north up
    strip = np.concatenate([panels[0][::-1], white, panels[1][::-1], white, panels[2][::-1]], axis=1)
    return png_bytes(np.ascontiguousarray(strip.repeat(zoom, axis=0).repeat(zoom, axis=1)))


def residual_picture(image: NDArray[np.floating], noise: ArrayLike) -> NDArray[np.uint8]:
    """(y, x, 3) grey S/N of the stack without the median of each circle about the BCG (size // 2, size // 2)."""
    from skytrace.imaging.apertures import subtract_azimuthal_profile

    sigma = np.asarray(noise, dtype=np.float64)[:, None, None]
    left = np.asarray(subtract_azimuthal_profile(np.asarray(image, dtype=np.float32)[None])[0], dtype=np.float64)
    stack = (left / sigma).sum(axis=0) / np.sqrt(len(image))
    known = np.isfinite(stack)
    low, high = _GREY_SIGMA
    share = np.clip((stack - low) / (high - low), 0.0, 1.0)
    grey = np.where(known, 20 + 235 * np.nan_to_num(share), 0).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def colour_map(image: NDArray[np.floating], noise: ArrayLike) -> NDArray[np.uint8]:
    """(y, x, 3) g - i in cividis where the field is seen, grey where it is not, black without data."""
    from matplotlib import colormaps
    from scipy.ndimage import gaussian_filter

    known = np.isfinite(image).all(axis=0)
    smooth = np.stack([gaussian_filter(np.nan_to_num(band), _SMOOTH_PX) for band in image])
    sigma = np.asarray(noise, dtype=np.float64) / (2.0 * np.sqrt(np.pi) * _SMOOTH_PX)
    seen = known & (np.nansum(smooth / sigma[:, None, None], axis=0) / np.sqrt(3.0) > _SEEN_SIGMA)
    # a band not seen is told its limit: a red galaxy without g is red, not blank
    g, i = (np.maximum(smooth[b], 2.0 * sigma[b]) for b in (0, 2))
    low, high = COLOUR_RANGE_MAG
    share = np.clip((-2.5 * np.log10(g / i) - low) / (high - low), 0.0, 1.0)
    picture = (255 * colormaps["cividis"](share)[..., :3]).astype(np.uint8)
    picture[~seen] = _BLANK
    picture[~known] = 0
    return picture
