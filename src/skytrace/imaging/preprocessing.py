"""The one road from survey pixels to what a detector sees; training, evaluation and injection scoring all take it.

Per band: median and 1.4826 MAD of the unmasked pixels of an outer annulus, subtract, divide, stretch, clip, crop the
centre (design page ``lens_finder``, stage 7). The stretch is arcsinh (Lupton, Gunn & Szalay 1999): linear clipping at
10 sigma saturates half of the pixels in which arcs of theta_E < 1" lie, and a detector trained so is measurably worse.
A pixel carries no data where it is not finite or its inverse variance is 0. The galaxy is centred on pixel
(size // 2, size // 2) before and after the crop. ``preprocessing_checksum`` locks the result; arcsinh is taken in
float64 and rounded to float32, so that mathematical libraries do not differ in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import OptionError, PixelError, check_between, check_choice, check_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CORE_RADIUS_PX",
    "MAD_TO_SIGMA",
    "PreprocessOptions",
    "annulus_statistics",
    "preprocess",
    "preprocessing_checksum",
    "sorted_median",
]

#: Pixels within this radius of the centre must all carry data [px].
CORE_RADIUS_PX = 8.0
#: 1 / Phi^-1(3/4): the standard deviation of a Gaussian in units of its median absolute deviation.
MAD_TO_SIGMA = 1.4826
#: Below this many unmasked annulus pixels a band has no measurable background.
_MIN_ANNULUS_PIXELS = 50
#: Cutouts at a time: keeps the gathered annuli (about 45 kB a cutout) inside the cache of one core.
_CHUNK = 64


@dataclass(frozen=True)
class PreprocessOptions:
    """annulus_px: inner and outer radius of the background annulus [px], both included; (36, 50) keeps 2.5" arcs out,
    (20, 32) is the narrower choice of earlier searches. clip: largest absolute value of the result, which is in units
    of the scale, stretched. crop: side of the result [px]. stretch: "arcsinh" or "linear".
    """

    annulus_px: tuple[float, float] = (36.0, 50.0)
    clip: float = 10.0
    crop: int = 64
    stretch: str = "arcsinh"

    def __post_init__(self) -> None:
        if len(self.annulus_px) != 2:
            raise OptionError(f"annulus_px = {self.annulus_px!r} is not a pair (inner, outer) of radii in pixels")
        inner, outer = (float(radius) for radius in self.annulus_px)
        check_between("annulus_px[0]", inner, CORE_RADIUS_PX, 1000.0)
        check_between("annulus_px[1]", outer, inner, 1000.0, include_low=False)
        check_choice("stretch", self.stretch, ("arcsinh", "linear"))
        check_between("clip", self.clip, 0.0, np.inf, include_low=False)
        check_whole("crop", self.crop, 2 * CORE_RADIUS_PX, 4096)
        object.__setattr__(self, "annulus_px", (inner, outer))
        object.__setattr__(self, "clip", float(self.clip))
        object.__setattr__(self, "crop", int(self.crop))


def annulus_statistics(
    images: NDArray[np.float32], invvar: NDArray[np.float32] | None, *, options: PreprocessOptions | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Background median and scale (1.4826 MAD) of every band, each (n, band), in the unit of the images.

    images, invvar: (n, band, y, x), square, large enough to hold the annulus; invvar None counts every finite pixel.
    Scale 0 flags a band without a background (missing, fully masked annulus, or constant): ``preprocess`` gives zeros.
    Raises PixelError on a wrong shape, a negative inverse variance, or an annulus outside the image.
    """
    options = options or PreprocessOptions()
    images = _checked_images(images)
    if invvar is not None:
        invvar = np.asarray(invvar)
        if invvar.shape != images.shape:
            raise PixelError(f"invvar shape {invvar.shape} differs from image shape {images.shape}")
    index = _annulus_index(images.shape[-1], options)
    n, n_band = images.shape[:2]
    flat = images.reshape(n, n_band, -1)
    weight = None if invvar is None else invvar.reshape(n, n_band, -1)
    median, scale = np.zeros((n, n_band)), np.zeros((n, n_band))
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        values = np.take(flat[rows], index, axis=-1).reshape(-1, len(index))
        good = np.isfinite(values)
        if weight is not None:
            weights = np.take(weight[rows], index, axis=-1).reshape(-1, len(index))
            if (weights < 0).any():
                raise PixelError("invvar has negative values; an inverse variance is 0 (no data) or positive")
            good &= weights > 0
        centre, spread = _median_and_scale(values, good)
        median[rows], scale[rows] = centre.reshape(-1, n_band), spread.reshape(-1, n_band)
    return median, scale


def preprocess(
    images: NDArray[np.float32],
    invvar: NDArray[np.float32] | None = None,
    *,
    options: PreprocessOptions | None = None,
    statistics: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> NDArray[np.float32]:
    """What the detector sees: (n, band, crop, crop) float32: background 0, unit scale, stretched, clipped, never NaN.

    images: (n, band, y, x) nanomaggies, square. invvar: the same shape; only chooses the pixels of the annulus.
    statistics: (median, scale) of ``annulus_statistics``, reused where the annulus is provably unchanged (light
    injected inside it); the images may then be the central crop alone. A band of scale 0, or without one finite pixel,
    gives zeros; a stray NaN outside the core gives 0. Raises PixelError on a wrong shape, and on a NaN within
    CORE_RADIUS_PX of the centre of a band that has data (reject such cutouts first: ``imaging.quality``).
    """
    options = options or PreprocessOptions()
    images = _checked_images(images)
    size = images.shape[-1]
    if size < options.crop:
        raise PixelError(f"images of {size} px are smaller than crop = {options.crop} px")
    median, scale = annulus_statistics(images, invvar, options=options) if statistics is None else statistics
    median, scale = np.asarray(median, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    if median.shape != images.shape[:2] or scale.shape != images.shape[:2]:
        raise PixelError(f"statistics {median.shape}, {scale.shape} do not fit images {images.shape}")
    low = size // 2 - options.crop // 2
    stamps = np.array(images[:, :, low : low + options.crop, low : low + options.crop], dtype=np.float32, order="C")
    alive = np.isfinite(median) & np.isfinite(scale) & (scale > 0)
    finite = np.isfinite(stamps)
    if not finite.all():
        alive &= finite.any(axis=(2, 3))
        _refuse_core_gaps(finite, alive)
        np.copyto(stamps, np.broadcast_to(median[..., None, None], stamps.shape), where=~finite, casting="same_kind")
    stamps -= np.where(alive, median, 0.0).astype(np.float32)[..., None, None]
    stamps /= np.where(alive, scale, 1.0).astype(np.float32)[..., None, None]
    if options.stretch == "arcsinh":
        for start in range(0, len(stamps), _CHUNK):
            stamps[start : start + _CHUNK] = np.arcsinh(stamps[start : start + _CHUNK], dtype=np.float64)
    np.clip(stamps, -options.clip, options.clip, out=stamps)
    stamps[~alive] = 0.0
    return stamps


def preprocessing_checksum(options: PreprocessOptions | None = None) -> str:
    """sha256 (hex) of ``preprocess`` on fixed reference cutouts: masks, a NaN and a missing band included.

    It goes into the model card; a detector is only scored on pixels prepared with the checksum it was trained with.
    """
    options = options or PreprocessOptions()
    images, invvar = _reference_cutouts(max(101, options.crop, 2 * int(np.ceil(options.annulus_px[1])) + 1))
    stamps = preprocess(images, invvar, options=options)
    digest = hashlib.sha256(repr(astuple(options)).encode())
    digest.update(np.ascontiguousarray(stamps, dtype="<f4").tobytes())
    return digest.hexdigest()


def _checked_images(images: NDArray[np.float32]) -> NDArray[np.float32]:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise PixelError(f"images must be (n, band, y, x) with square stamps; got shape {images.shape}")
    if images.dtype.kind != "f":
        raise PixelError(f"images must be floating-point nanomaggies; got {images.dtype}")
    return images if images.dtype == np.float32 else images.astype(np.float32)


def _annulus_index(size: int, options: PreprocessOptions) -> NDArray[np.intp]:
    """Flat indices of the annulus pixels of a square image."""
    inner, outer = options.annulus_px
    if (size - 1) // 2 < outer:
        raise PixelError(
            f"annulus_px = {options.annulus_px} does not fit an image of {size} px; "
            "give larger cutouts, or the statistics measured on them"
        )
    y, x = np.indices((size, size)) - size // 2
    squared = x * x + y * y
    return np.flatnonzero((squared >= inner * inner) & (squared <= outer * outer))


def _median_and_scale(
    values: NDArray[np.float32], good: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and 1.4826 MAD of the good values of each row (row, pixel); scale 0 where too few are good."""
    count = good.sum(axis=1)
    values = np.where(good, values, np.float32(np.inf))  # the end of the sorted row, beyond the last good value
    usable = count >= _MIN_ANNULUS_PIXELS
    count = np.where(usable, count, values.shape[1])
    median = np.where(usable, sorted_median(values, count), 0.0)
    deviation = np.abs(values - median.astype(np.float32)[:, None])
    scale = np.where(usable, MAD_TO_SIGMA * np.where(usable, sorted_median(deviation, count), 0.0), 0.0)
    return median, scale


def sorted_median(values: NDArray[np.floating], count: NDArray[np.intp]) -> NDArray[np.float64]:
    """Median of the ``count`` >= 1 smallest values of each row of (row, pixel)."""
    ordered = np.sort(values, axis=1)
    rows = np.arange(len(values))
    lower, upper = ordered[rows, (count - 1) // 2], ordered[rows, count // 2]
    return 0.5 * (lower.astype(np.float64) + upper.astype(np.float64))


def _refuse_core_gaps(finite: NDArray[np.bool_], alive: NDArray[np.bool_]) -> None:
    crop = finite.shape[-1]
    y, x = np.indices((crop, crop)) - crop // 2
    core = x * x + y * y <= CORE_RADIUS_PX**2
    bad = alive & ~finite[:, :, core].all(axis=-1)
    if bad.any():
        cutout, band = np.argwhere(bad)[0]
        raise PixelError(
            f"cutout {cutout} has NaN pixels in its core (r <= {CORE_RADIUS_PX:g} px, band {band}); "
            f"{int(bad.any(axis=1).sum())} cutout(s) in all: reject them with imaging.quality first"
        )


def _reference_cutouts(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Four cutouts of integer-hash noise and a peaked galaxy: plain, masked, one stray NaN, one missing band."""
    shape = (4, 3, size, size)
    state = np.arange(1, 1 + int(np.prod(shape)), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    noise = ((state >> np.uint64(40)).astype(np.float32) / np.float32(2**24) - np.float32(0.5)).reshape(shape)
    y, x = np.indices((size, size)) - size // 2
    galaxy = np.float32(40.0) / (x * x + y * y + 16).astype(np.float32)
    images = noise / np.float32(8.0) + galaxy + np.float32(0.03125)
    invvar = np.ones(shape, dtype=np.float32)
    invvar[1, :, :, : size // 3] = 0.0
    images[2, 1, 2, 3] = np.nan
    invvar[3, 0] = 0.0
    return images, invvar
