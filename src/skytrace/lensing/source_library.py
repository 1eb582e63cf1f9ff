"""Stamps of real galaxies made fit to be lensed (source family 3): one object each, without sky, neighbours or an edge.

Lensing magnifies noise like light, so a stamp's light is tapered to zero outside its object's Kron ellipse (Kron 1980).
A stamp keeps the PSF that it was taken with. Its half-light radius is ImageSource's: of the circle as large as the
brightest pixels that hold half of the flux.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skytrace.compute import fingerprint, load_npz, save_npz
from skytrace.errors import PixelError, ShardError
from skytrace.lensing.sources import ImageSource, stack_stamps

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["SourceLibrary", "build_library", "load_library", "prepare_stamp"]

_KRON_FACTOR = 2.5  # the ellipse of Source Extractor's MAG_AUTO: 94 % of the light of a galaxy or more
_TAPER = 1.4  # light ends at so many times that ellipse
_MIN_PIXELS = 12


@dataclass(frozen=True)
class SourceLibrary:
    """images: (k, size, size), size odd, each of sum 1. half_light_radius_px: (k,). names: (k,)."""

    images: NDArray[np.float32]
    half_light_radius_px: NDArray[np.float64]
    names: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def checksum(self) -> str:
        """64 hexadecimal digits of the SHA-256 of all stamps, radii and names."""
        return fingerprint(self.images, self.half_light_radius_px, self.names, length=64)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the library with its checksum as an npz without pickles."""
        return save_npz(
            path, images=self.images, half_light_radius_px=self.half_light_radius_px, names=self.names,
            checksum=np.array(self.checksum),
        )  # fmt: skip


def load_library(path: str | os.PathLike, *, checksum: str | None = None) -> SourceLibrary:
    """The library at ``path``, read once a process. Raises ShardError where the file is missing, not what was saved, or
    not the one of ``checksum``.
    """
    return _load(str(path), checksum)


@lru_cache(maxsize=4)
def _load(path: str, checksum: str | None) -> SourceLibrary:
    if not Path(path).is_file():
        raise ShardError(f"no source library {path}; build one with skytrace.lensing.source_library.build_library")
    arrays = load_npz(path)
    missing = {"images", "half_light_radius_px", "names", "checksum"} - set(arrays)
    if missing:
        raise ShardError(f"{path} is no source library: it lacks {', '.join(sorted(missing))}")
    library = SourceLibrary(arrays["images"], arrays["half_light_radius_px"], arrays["names"])
    if library.checksum != str(arrays["checksum"]):
        raise ShardError(f"{path} is not what was saved: its checksum differs; build it again")
    if checksum is not None and library.checksum != checksum:
        raise ShardError(f"{path} has the checksum {library.checksum}, not the configured {checksum}")
    return library


def build_library(stamps: Mapping[str, NDArray[np.floating]]) -> SourceLibrary:
    """Stamps (rows, columns) by name, prepared and stacked. Raises PixelError naming a stamp without an object."""
    if not stamps:
        raise PixelError("a source library needs at least one stamp")
    images = stack_stamps([_trimmed(prepare_stamp(stamp, name=name)) for name, stamp in stamps.items()])
    source = ImageSource(np.ones((len(images), 1)), 0.0, 0.0, images, np.arange(len(images)), pixel_scale_arcsec=1.0)  # type: ignore[arg-type]
    return SourceLibrary(source.images, source.half_light_radius_arcsec, np.array(list(stamps), dtype=str))


def prepare_stamp(stamp: NDArray[np.floating], *, name: str = "stamp", threshold_sigma: float = 1.5) -> NDArray:
    """The stamp's main object (rows, columns) of sum 1: background and neighbours off, light tapered to zero.

    Background and noise: median and scatter (from the median absolute deviation) of what is no object. Main object:
    the brightest that begins within a quarter of the stamp from its middle. Pixels of neighbours take the value of
    their mirror image through the object's centre, or zero where that is a neighbour's too.
    """
    import sep

    image = np.ascontiguousarray(stamp, dtype=np.float64)
    if image.ndim != 2 or not np.isfinite(image).all():
        raise PixelError(f"{name} is no finite image: shape {image.shape}")
    labels = np.zeros(image.shape, dtype=int)
    for _ in range(3):
        level, noise = _sky(image, labels == 0)
        if not noise > 0:
            raise PixelError(f"{name} has no noise outside its objects to measure a background from")
        objects, labels = sep.extract(
            image - level, threshold_sigma * noise, minarea=_MIN_PIXELS, segmentation_map=True
        )
    rows, columns = image.shape
    centred = np.hypot(objects["y"] - (rows - 1) / 2, objects["x"] - (columns - 1) / 2) <= 0.25 * max(rows, columns)
    if not len(objects) or not centred.any():
        raise PixelError(f"{name} has no object in its middle above {threshold_sigma} sigma of its noise")
    main = int(np.argmax(np.where(centred, objects["flux"], -np.inf)))
    x, y, a, b, theta = (float(objects[key][main]) for key in ("x", "y", "a", "b", "theta"))
    others = (labels > 0) & (labels != main + 1)
    light = _mirrored(image - level, others, x, y)
    kron = float(sep.kron_radius(light, [x], [y], [a], [b], [theta], 6.0)[0][0])
    dy, dx = np.indices(image.shape) - np.array([y, x])[:, None, None]
    u, v = np.cos(theta) * dx + np.sin(theta) * dy, np.cos(theta) * dy - np.sin(theta) * dx
    reach = np.hypot(u / a, v / b) / (_KRON_FACTOR * max(kron, 1.4))  # 3.5 rms widths at least, as Source Extractor's
    taper = np.clip((_TAPER - reach) / (_TAPER - 1.0), 0.0, 1.0)
    light = light * taper**2 * (3.0 - 2.0 * taper)
    total = light.sum()
    if not total > 0:
        raise PixelError(f"{name} has no positive flux left in its main object")
    return light / total


def _trimmed(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the rows and columns around the light that hold none."""
    rows, columns = (np.flatnonzero((light != 0).any(axis=axis)) for axis in (1, 0))
    return light[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _sky(image: NDArray[np.float64], free: NDArray[np.bool_]) -> tuple[float, float]:
    """Median and scatter of the free pixels, those within four scatters."""
    values = image[free] if free.sum() >= _MIN_PIXELS else image.ravel()
    for _ in range(5):
        level = float(np.median(values))
        scatter = 1.4826 * float(np.median(np.abs(values - level)))
        values = values[np.abs(values - level) <= 4.0 * scatter]
    return level, scatter


def _mirrored(light: NDArray[np.float64], others: NDArray[np.bool_], x: float, y: float) -> NDArray[np.float64]:
    row, column = np.nonzero(others)
    at_row, at_column = np.rint(2 * y - row).astype(int), np.rint(2 * x - column).astype(int)
    inside = (at_row >= 0) & (at_row < light.shape[0]) & (at_column >= 0) & (at_column < light.shape[1])
    filled = np.where(others, 0.0, light)
    out = filled.copy()
    out[row[inside], column[inside]] = filled[at_row[inside], at_column[inside]]
    return out
