"""Sums, means and profiles around the centre of a stamp, for whole batches.

The centre is pixel (size // 2, size // 2); +x is increasing column, +y increasing row; position angles run
counter-clockwise from +x, as in ``skytrace.lensing``. A pixel carries no data where it is not finite or its inverse
variance is not positive. Edges are softened over one pixel: a pixel at radius r belongs to a disc of radius R by
clip(R - r + 1/2, 0, 1), which gives the area of a disc to 0.3 % from R = 3 px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import OptionError, PixelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AperturePhotometry",
    "annulus_photometry",
    "aperture_photometry",
    "elliptical_radius",
    "radial_profile",
    "subtract_azimuthal_profile",
]

#: Cutouts at a time, so that the temporary arrays stay within some tens of MB.
_CHUNK = 64


@dataclass(frozen=True)
class AperturePhotometry:
    """Each (n, band). flux_nmgy: sum over pixels with data. error_nmgy: from the inverse variances (NaN without them).
    area_px: pixels summed. coverage: their share of the aperture; 0 means no data, and a flux of 0 that means nothing.
    """

    flux_nmgy: NDArray[np.float64]
    error_nmgy: NDArray[np.float64]
    area_px: NDArray[np.float64]
    coverage: NDArray[np.float64]

    @property
    def mean_nmgy(self) -> NDArray[np.float64]:
        """Mean surface brightness [nanomaggies per pixel]; NaN without data."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.area_px > 0, self.flux_nmgy / self.area_px, np.nan)


def aperture_photometry(
    images: NDArray[np.float32], invvar: NDArray[np.float32] | None = None, *, radius_px: ArrayLike
) -> AperturePhotometry:
    """Photometry of a disc. images, invvar: (n, band, y, x). radius_px: one, (n,) or (n, band) radii [px]."""
    return annulus_photometry(images, invvar, inner_px=-1.0, outer_px=radius_px)


def annulus_photometry(
    images: NDArray[np.float32],
    invvar: NDArray[np.float32] | None = None,
    *,
    inner_px: ArrayLike,
    outer_px: ArrayLike,
) -> AperturePhotometry:
    """Photometry of an annulus; radii [px] are one number, (n,) or (n, band), so every lens can have its own.

    images, invvar: (n, band, y, x) nanomaggies and nanomaggies^-2. Raises PixelError on a wrong shape, OptionError on
    an outer radius that is not larger than the inner one.
    """
    images, good = _with_data(images, invvar)
    inner, outer = _radii("inner_px", inner_px, images.shape[:2]), _radii("outer_px", outer_px, images.shape[:2])
    if not (outer > inner).all():
        raise OptionError("outer_px must be larger than inner_px everywhere")
    radius = elliptical_radius(images.shape[-1])
    results = [np.zeros(images.shape[:2]) for _ in range(4)]
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        weight = np.clip(outer[rows, :, None, None] - radius + 0.5, 0.0, 1.0)
        weight *= np.clip(radius - inner[rows, :, None, None] + 0.5, 0.0, 1.0)
        used = weight * good[rows]
        results[0][rows] = np.einsum("nbyx,nbyx->nb", used, np.where(good[rows], images[rows], 0.0), dtype=np.float64)
        if invvar is None:
            results[1][rows] = np.nan
        else:
            variance = 1.0 / np.where(good[rows], invvar[rows], 1.0)
            results[1][rows] = np.sqrt(np.einsum("nbyx,nbyx,nbyx->nb", used, used, variance, dtype=np.float64))
        results[2][rows] = used.sum(axis=(2, 3))
        results[3][rows] = results[2][rows] / np.maximum(weight.sum(axis=(2, 3)), 1e-12)
    return AperturePhotometry(*results)


def elliptical_radius(size: int, *, q: ArrayLike = 1.0, phi_rad: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Product-average radius sqrt(q x'^2 + y'^2 / q) [px] of the pixels of a stamp, (..., size, size); x' along the
    major axis at angle phi. q, phi_rad: numbers or (...,) arrays, 0 < q <= 1.
    """
    q, phi = np.broadcast_arrays(np.asarray(q, dtype=np.float64), np.asarray(phi_rad, dtype=np.float64))
    if not ((q > 0) & (q <= 1)).all():
        raise OptionError("q is outside its allowed range (0, 1]")
    y, x = np.indices((size, size)) - size // 2
    cos, sin, q = np.cos(phi)[..., None, None], np.sin(phi)[..., None, None], q[..., None, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    return np.sqrt(q * along**2 + across**2 / q)


def radial_profile(
    images: NDArray[np.float32],
    invvar: NDArray[np.float32] | None = None,
    *,
    edges_px: ArrayLike,
) -> NDArray[np.float64]:
    """Mean surface brightness (n, band, bins) of pixels with data in circular bins edges[i] <= r < edges[i + 1] [px];
    NaN in a bin without data.
    """
    images, good = _with_data(images, invvar)
    edges = np.asarray(edges_px, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise OptionError("edges_px must be a list of increasing radii")
    place = np.searchsorted(edges, elliptical_radius(images.shape[-1]).ravel(), side="right") - 1
    member = (place[:, None] == np.arange(len(edges) - 1)).astype(np.float64)  # (pixel, bin)
    profile = np.empty((*images.shape[:2], len(edges) - 1))
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        flat_good = good[rows].reshape(*good[rows].shape[:2], -1)
        values = np.where(flat_good, images[rows].reshape(flat_good.shape), 0.0).astype(np.float64)
        with np.errstate(invalid="ignore"):
            profile[rows] = (values @ member) / (flat_good.astype(np.float64) @ member)
    return profile


def subtract_azimuthal_profile(
    images: NDArray[np.float32],
    invvar: NDArray[np.float32] | None = None,
    *,
    q: ArrayLike = 1.0,
    phi_rad: ArrayLike = 0.0,
    bin_px: float = 1.0,
    leave_out: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The images minus a host model that is constant on ellipses: what is left are arcs, companions and noise.

    The model is the median of the pixels with data in elliptical bins of width ``bin_px``, joined in radius. A
    median stands until an arc covers half of its ellipse; a fuller ring can be kept out of the model by ``leave_out``,
    (n, y, x) bool, and is then bridged from the neighbouring radii. q, phi_rad: numbers or (n,).
    Returns (n, band, y, x) float32; NaN pixels stay NaN.
    """
    images, good = _with_data(images, invvar)
    if not bin_px >= 0.5:
        raise OptionError(f"bin_px = {bin_px!r} is outside its allowed range [0.5, inf)")
    n, n_band, size = images.shape[:3]
    if leave_out is not None:
        if leave_out.shape != (n, size, size):
            raise PixelError(f"leave_out shape {leave_out.shape} is not (n, y, x) of images {images.shape}")
        good &= ~leave_out[:, None]
    q, phi = (np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)) for value in (q, phi_rad))
    residual = np.empty(images.shape, dtype=np.float32)
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        radius = elliptical_radius(size, q=q[rows], phi_rad=phi[rows]).reshape(-1, 1, size * size)
        shape = (radius.shape[0], n_band, size * size)
        values = images[rows].reshape(shape)
        model = _ellipse_medians(values, good[rows].reshape(shape), radius, bin_px)
        residual[rows] = (values - model).reshape(images[rows].shape)
    return residual


def _ellipse_medians(
    values: NDArray[np.float32], good: NDArray[np.bool_], radius: NDArray[np.float64], bin_px: float
) -> NDArray[np.float64]:
    """Model (n, band, pixel): medians of radial bins at their median radius, joined smoothly; flat beyond the ends."""
    n, n_band, _ = values.shape
    radii = np.broadcast_to(radius, values.shape)
    place = np.floor(radii / bin_px + 0.5).astype(np.int64)
    n_bins = int(place.max()) + 1
    stamp = np.arange(n * n_band).reshape(n, n_band, 1)
    used = np.flatnonzero(good)
    key = (place + n_bins * stamp).ravel()[used]
    count = np.bincount(key, minlength=n * n_band * n_bins)
    full = np.flatnonzero(count)
    if not len(full):
        return np.zeros(values.shape)
    owner = full // n_bins
    # one interpolation for all: each stamp and band has its own stretch of a common axis
    stretch = 4.0 * n_bins * bin_px
    axis = _grouped_median(radii.ravel()[used], key, count, full) + stretch * owner
    ends = np.searchsorted(owner, [np.arange(n * n_band), np.arange(1, n * n_band + 1)])
    empty = (ends[0] == ends[1]).reshape(n, n_band, 1)
    first, last = axis[np.minimum(ends[0], len(axis) - 1)], axis[np.maximum(ends[1] - 1, 0)]
    x = np.clip(radii + stretch * stamp, first.reshape(n, n_band, 1), last.reshape(n, n_band, 1))
    median = _grouped_median(values.ravel()[used], key, count, full)
    # asinh of the brightness in units of its outskirts: a straight line there is an exponential in a bright host
    outer = full % n_bins > n_bins // 3
    soft = np.bincount(owner, np.abs(median) * outer, n * n_band) / np.maximum(
        np.bincount(owner, outer, n * n_band), 1.0
    )
    soft = np.where(soft > 0, soft, 1.0)
    model = soft.reshape(n, n_band, 1) * np.sinh(np.interp(x, axis, np.arcsinh(median / soft[owner])))
    # an arc moves the median along the slope of its own bin; on the flattened image it no longer can
    flat = (values - model).ravel()[used]
    model += np.interp(x, axis, _grouped_median(flat, key, count, full))
    return np.where(empty, 0.0, model)


def _grouped_median(
    values: NDArray[np.floating], key: NDArray[np.int64], count: NDArray[np.int64], full: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Median of the values of each key in ``full``; ``count`` is bincount(key)."""
    ordered = values[np.lexsort((values, key))].astype(np.float64)
    first = (np.cumsum(count) - count)[full]
    return 0.5 * (ordered[first + (count[full] - 1) // 2] + ordered[first + count[full] // 2])


def _with_data(
    images: NDArray[np.float32], invvar: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The images as an array, and which pixels carry data."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise PixelError(f"images must be (n, band, y, x) with square stamps; got shape {images.shape}")
    good = np.isfinite(images)
    if invvar is not None:
        if np.shape(invvar) != images.shape:
            raise PixelError(f"invvar shape {np.shape(invvar)} differs from image shape {images.shape}")
        good &= np.asarray(invvar) > 0
    return images, good


def _radii(key: str, radius_px: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    radius = np.asarray(radius_px, dtype=np.float64)
    radius = radius[:, None] if radius.ndim == 1 else radius
    if not np.isfinite(radius).all():
        raise OptionError(f"{key} has radii that are not finite")
    try:
        return np.broadcast_to(radius, shape)
    except ValueError:
        raise OptionError(f"{key} of shape {np.shape(radius_px)} fits neither (n,) nor (n, band) of {shape}") from None
