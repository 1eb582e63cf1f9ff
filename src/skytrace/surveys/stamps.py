"""Fixed-size stamps out of larger images, whatever lies beyond the edge left as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["paste_window", "window_overlap"]


def window_overlap(centre: int, size: int, length: int) -> tuple[slice, slice]:
    """(slice of the stamp, slice of the image) along one axis; pixel ``centre`` of the image is pixel size // 2 of the
    stamp.
    """
    start = centre - size // 2
    low = max(start, 0)
    high = max(min(start + size, length), low)
    return slice(low - start, high - start), slice(low, high)


def paste_window(stamp: NDArray, image: NDArray, *, centre: tuple[int, int]) -> None:
    """Copy the pixels of ``image`` (..., y, x) around ``centre`` (x, y) into ``stamp`` (..., size, size), in place.

    Pixels of the stamp that lie off the image keep their value.
    """
    size = stamp.shape[-1]
    to_x, from_x = window_overlap(centre[0], size, image.shape[-1])
    to_y, from_y = window_overlap(centre[1], size, image.shape[-2])
    stamp[..., to_y, to_x] = image[..., from_y, from_x]
