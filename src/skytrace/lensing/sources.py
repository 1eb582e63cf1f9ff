"""What is being lensed: an elliptical Sersic galaxy (family 1), with Gaussian clumps (family 2), or an image (3).

I = Ie exp(-b ((R/Re)^(1/n) - 1)) with R = sqrt(q u^2 + v^2/q), u along the major axis: Re is the product-average
half-light radius (the convention of lenstronomy, not the major axis). b is the exact root of gamma(2n, b) =
Gamma(2n)/2. Fluxes are those of the unlensed source, in nanomaggies.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gamma, gammaincinv

from skytrace.errors import OptionError
from skytrace.lensing.deflection import MIN_AXIS_RATIO, check_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Clumps",
    "ImageSource",
    "SourceModel",
    "sersic_b",
    "sersic_flux",
    "source_surface_brightness",
    "stack_stamps",
]


@dataclass(frozen=True)
class Clumps:
    """k round Gaussian clumps in each of n sources, all arrays (n, k).

    flux_fraction: share of the source's total flux (the Sersic body keeps the rest; a row sums to at most 1).
    dx_arcsec, dy_arcsec: offsets from the source's centre. sigma_arcsec: Gaussian width, > 0.
    """

    flux_fraction: NDArray[np.float64]
    dx_arcsec: NDArray[np.float64]
    dy_arcsec: NDArray[np.float64]
    sigma_arcsec: NDArray[np.float64]

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        arrays = [np.asarray(getattr(self, name), dtype=np.float64) for name in names]
        shapes = {array.shape for array in arrays}
        if len(shapes) != 1 or arrays[0].ndim != 2:
            raise OptionError(f"clump arrays must all be (n, k); got {[array.shape for array in arrays]}")
        for name, array in zip(names, arrays, strict=True):
            object.__setattr__(self, name, np.ascontiguousarray(array))
        check_range("clumps flux_fraction", self.flux_fraction, 0.0, 1.0)
        check_range("clumps flux_fraction summed over clumps", self.flux_fraction.sum(axis=1), 0.0, 1.0 + 1e-9)
        check_range("clumps sigma_arcsec", self.sigma_arcsec, 1e-3, 10.0)

    def take(self, index: ArrayLike) -> Clumps:
        """The clumps of the sources ``index``."""
        rows = np.asarray(index)
        return Clumps(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class SourceModel:
    """n sources, the same shape in every band.

    flux_nmgy: (n, band) *unlensed* total flux [nanomaggies]. x_arcsec, y_arcsec: position in the source plane
    relative to the coordinate origin. half_light_radius_arcsec: product-average, > 0. sersic_index: 0.3 to 6. q:
    axis ratio of the light, MIN_AXIS_RATIO to 1. phi_rad: major axis, counter-clockwise from +x. Scalars broadcast
    to (n,).
    Raises OptionError naming the field that is out of range.
    """

    flux_nmgy: NDArray[np.float64]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    half_light_radius_arcsec: NDArray[np.float64]
    sersic_index: NDArray[np.float64]
    q: NDArray[np.float64]
    phi_rad: NDArray[np.float64]
    clumps: Clumps | None = None

    def __post_init__(self) -> None:
        flux = np.ascontiguousarray(np.asarray(self.flux_nmgy, dtype=np.float64))
        if flux.ndim != 2:
            raise OptionError(f"source flux_nmgy must be (n, band); got shape {flux.shape}")
        object.__setattr__(self, "flux_nmgy", flux)
        for field in fields(self)[1:-1]:
            array = np.asarray(getattr(self, field.name), dtype=np.float64)
            if array.ndim > 1 or (array.ndim == 1 and len(array) not in (1, len(flux))):
                raise OptionError(f"source {field.name} has shape {array.shape}; flux_nmgy has n = {len(flux)} sources")
            object.__setattr__(self, field.name, np.ascontiguousarray(np.broadcast_to(array, (len(flux),))))
        check_range("source flux_nmgy", flux, -np.inf, np.inf)
        check_range("source x_arcsec", self.x_arcsec, -1e3, 1e3)
        check_range("source y_arcsec", self.y_arcsec, -1e3, 1e3)
        check_range("source half_light_radius_arcsec", self.half_light_radius_arcsec, 1e-3, 1e2)
        check_range("source sersic_index", self.sersic_index, 0.3, 6.0)
        check_range("source q", self.q, MIN_AXIS_RATIO, 1.0)
        check_range("source phi_rad", self.phi_rad, -np.inf, np.inf)
        if self.clumps is not None and len(self.clumps.flux_fraction) != len(flux):
            raise OptionError(f"{len(self.clumps.flux_fraction)} rows of clumps for {len(flux)} sources")

    def __len__(self) -> int:
        return len(self.flux_nmgy)

    def take(self, index: ArrayLike) -> SourceModel:
        """The sources ``index``."""
        rows = np.asarray(index)
        columns = {field.name: getattr(self, field.name)[rows] for field in fields(self)[:-1]}
        return SourceModel(**columns, clumps=None if self.clumps is None else self.clumps.take(rows))


@dataclass(frozen=True)
class ImageSource:
    """n sources that look like images: stamps of real galaxies as surface brightness, the same in every band.

    flux_nmgy: (n, band) *unlensed* total flux [nanomaggies]. x_arcsec, y_arcsec: where the stamp's middle
    ((columns - 1)/2, (rows - 1)/2) lies in the source plane. images: (k, rows, columns) stamps, made to sum to 1;
    image_index: (n,) which one. pixel_scale_arcsec: width of a stamp's pixel, 0.001 to 1. phi_rad: turn of the stamp,
    counter-clockwise (its own position angle subtracted is the counter-rotation). Scalars broadcast to (n,).
    The light between pixel centres is bilinear and falls to zero one pixel beyond the stamp, so the flux is exactly
    the sum of the pixels. A stamp keeps the PSF and the noise it was taken with: seen through ground seeing, an HST
    PSF widens the arcs by under 1 %, but noise is lensed like light, so mask or denoise faint stamps first.
    Raises OptionError naming the field that is out of range, or a stamp without positive flux.
    """

    flux_nmgy: NDArray[np.float64]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    images: NDArray[np.float32]
    image_index: NDArray[np.int64] | int = 0
    pixel_scale_arcsec: NDArray[np.float64] | float = 0.03
    phi_rad: NDArray[np.float64] | float = 0.0

    def __post_init__(self) -> None:
        flux = np.ascontiguousarray(np.asarray(self.flux_nmgy, dtype=np.float64))
        images = np.asarray(self.images, dtype=np.float64)
        if flux.ndim != 2 or images.ndim != 3 or images.shape[0] < 1 or min(images.shape[1:]) < 2:
            raise OptionError(
                f"source flux_nmgy must be (n, band) and images (k, rows >= 2, columns >= 2); got {flux.shape} and "
                f"{images.shape}"
            )
        total = images.sum(axis=(1, 2))
        if not (np.isfinite(total) & (total > 0)).all():
            worst = int(np.argmin(np.where(np.isfinite(total), total, -np.inf)))
            raise OptionError(f"source images[{worst}] sums to {total[worst]!r}; every stamp needs positive flux")
        object.__setattr__(self, "flux_nmgy", flux)
        object.__setattr__(self, "images", (images / total[:, None, None]).astype(np.float32))
        for name in ("x_arcsec", "y_arcsec", "image_index", "pixel_scale_arcsec", "phi_rad"):
            array = np.asarray(getattr(self, name), dtype=np.int64 if name == "image_index" else np.float64)
            if array.ndim > 1 or (array.ndim == 1 and len(array) not in (1, len(flux))):
                raise OptionError(f"source {name} has shape {array.shape}; flux_nmgy has n = {len(flux)} sources")
            object.__setattr__(self, name, np.ascontiguousarray(np.broadcast_to(array, (len(flux),))))
        check_range("source flux_nmgy", flux, -np.inf, np.inf)
        check_range("source x_arcsec", self.x_arcsec, -1e3, 1e3)
        check_range("source y_arcsec", self.y_arcsec, -1e3, 1e3)
        check_range("source image_index", self.image_index, 0, len(images) - 1)
        check_range("source pixel_scale_arcsec", self.pixel_scale_arcsec, 1e-3, 1.0)
        check_range("source phi_rad", self.phi_rad, -np.inf, np.inf)

    def __len__(self) -> int:
        return len(self.flux_nmgy)

    def take(self, index: ArrayLike) -> ImageSource:
        """The sources ``index``, with the whole library of stamps."""
        rows = np.asarray(index)
        part = {name: getattr(self, name)[rows] for name in ("x_arcsec", "y_arcsec", "image_index")}
        return replace(
            self, flux_nmgy=self.flux_nmgy[rows], pixel_scale_arcsec=np.asarray(self.pixel_scale_arcsec)[rows],
            phi_rad=np.asarray(self.phi_rad)[rows], **part,
        )  # fmt: skip

    @property
    def half_light_radius_arcsec(self) -> NDArray[np.float64]:
        """Radius (n,) of the circle as large as the brightest pixels that together hold half of the flux.

        For a Sersic profile this is the product-average half-light radius.
        """
        order = -np.sort(-self.images.reshape(len(self.images), -1).astype(np.float64), axis=1)
        pixels = (np.cumsum(order, axis=1) < 0.5).sum(axis=1) + 1
        return np.sqrt(pixels / np.pi)[self.image_index] * self.pixel_scale_arcsec

    @property
    def reach_arcsec(self) -> NDArray[np.float64]:
        """Distance (n,) from the stamp's middle to where the light has ended."""
        rows, columns = self.images.shape[1:]
        return 0.5 * np.hypot(rows + 1, columns + 1) * np.asarray(self.pixel_scale_arcsec)


def stack_stamps(stamps: Sequence[ArrayLike]) -> NDArray[np.float32]:
    """Stamps of different shapes as one library (k, size, size), size odd, each with its flux centroid in the middle.

    Whole pixels are moved, none is resampled; what is added is zero.
    Raises OptionError where a stamp is not a two-dimensional image of positive flux.
    """
    if len(stamps) == 0:
        raise OptionError("stack_stamps needs at least one stamp")
    placed = []
    for i, stamp in enumerate(stamps):
        image = np.asarray(stamp, dtype=np.float64)
        total = image.sum()
        if image.ndim != 2 or not np.isfinite(total) or total <= 0:
            raise OptionError(f"stamp {i} has shape {image.shape} and sum {total!r}; it must be an image with flux")
        light = np.clip(image, 0.0, None)  # noise about zero far out would drag a centroid
        rows, columns = np.indices(image.shape)
        middle = (round((light * rows).sum() / light.sum()), round((light * columns).sum() / light.sum()))
        placed.append((image, middle))
    half = max(max(*middle, *(side - 1 - m for side, m in zip(im.shape, middle, strict=True))) for im, middle in placed)
    library = np.zeros((len(placed), 2 * half + 1, 2 * half + 1), dtype=np.float32)
    for out, (image, (row, column)) in zip(library, placed, strict=True):
        out[half - row : half - row + image.shape[0], half - column : half - column + image.shape[1]] = image
    return library


def sersic_b(index: ArrayLike) -> NDArray[np.float64]:
    """b of a Sersic index n: the exact root of gamma(2n, b) = Gamma(2n)/2 (1.678347 at n = 1, 7.669249 at n = 4)."""
    return gammaincinv(2.0 * np.asarray(index, dtype=np.float64), 0.5)


def sersic_flux(index: ArrayLike, half_light_radius_arcsec: ArrayLike) -> NDArray[np.float64]:
    """Total flux of a Sersic profile with Ie = 1 per arcsec^2: 2 pi n Re^2 e^b b^(-2n) Gamma(2n), whatever q."""
    n = np.asarray(index, dtype=np.float64)
    b = sersic_b(n)
    return 2.0 * np.pi * n * np.asarray(half_light_radius_arcsec) ** 2 * np.exp(b) * b ** (-2.0 * n) * gamma(2.0 * n)


def source_surface_brightness(
    beta_x: ArrayLike, beta_y: ArrayLike, sources: SourceModel | ImageSource
) -> NDArray[np.float64]:
    """Surface brightness [arcsec^-2] of sources of unit total flux at (n, ...) source-plane positions [arcsec]."""
    beta_x, beta_y = np.asarray(beta_x, dtype=np.float64), np.asarray(beta_y, dtype=np.float64)

    def column(values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(values).reshape((len(sources),) + (1,) * (beta_x.ndim - 1))

    dx, dy = beta_x - column(sources.x_arcsec), beta_y - column(sources.y_arcsec)
    cos, sin = np.cos(column(sources.phi_rad)), np.sin(column(sources.phi_rad))
    u, v = cos * dx + sin * dy, -sin * dx + cos * dy
    if isinstance(sources, ImageSource):
        return _bilinear(u, v, sources)
    q = column(sources.q)
    radius, n = column(sources.half_light_radius_arcsec), column(sources.sersic_index)
    rho = np.sqrt(q * u**2 + v**2 / q) / radius
    light = np.exp(-sersic_b(n) * (rho ** (1.0 / n) - 1.0)) / sersic_flux(n, radius)
    if sources.clumps is None:
        return light
    clumps = sources.clumps
    light = light * column(1.0 - clumps.flux_fraction.sum(axis=1))
    for j in range(clumps.flux_fraction.shape[1]):
        variance = column(clumps.sigma_arcsec[:, j]) ** 2
        squared = (dx - column(clumps.dx_arcsec[:, j])) ** 2 + (dy - column(clumps.dy_arcsec[:, j])) ** 2
        light = light + column(clumps.flux_fraction[:, j]) / (2.0 * np.pi * variance) * np.exp(
            -0.5 * squared / variance
        )
    return light


def _bilinear(u: NDArray[np.float64], v: NDArray[np.float64], sources: ImageSource) -> NDArray[np.float64]:
    """Stamps at offsets (n, ...) [arcsec] from their middle along their own axes; zero from one pixel outside on."""
    from scipy.ndimage import map_coordinates

    rows, columns = sources.images.shape[1:]
    out = np.empty(u.shape)
    for i, (image, scale) in enumerate(
        zip(np.asarray(sources.image_index), np.asarray(sources.pixel_scale_arcsec), strict=True)
    ):
        where = [v[i] / scale + (rows - 1) / 2 + 1, u[i] / scale + (columns - 1) / 2 + 1]
        padded = np.pad(sources.images[image].astype(np.float64), 1)
        out[i] = map_coordinates(padded, where, order=1, mode="constant", cval=0.0) / scale**2
    return out
