"""Images of lensed sources: light traced through the lens, seen through the PSF, in nanomaggies per pixel.

Convention: survey PSFs already include the pixel (an effective PSF sampled at pixel centres, as Tractor's and DR10's
are), so a pixel is the surface brightness convolved with the PSF *at the pixel's centre*, times the pixel's area.
Where the PSF is the optics and atmosphere alone, say ``psf_includes_pixel=False`` and the pixel's own
integral is applied too (1-2 % of the peak).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammainc, gammaln

from skytrace.errors import OptionError, PixelError
from skytrace.imaging.psf import ImagePsf, MoffatPsf
from skytrace.lensing.sources import ImageSource, sersic_b, sersic_flux

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.lensing.deflection import LensModel
    from skytrace.lensing.sources import SourceModel

__all__ = ["render_lenses"]

#: Radius [arcsec] inside which the Sersic cusp is replaced by a cubic of equal value, slope, flux and second moment.
#: Larger cores fail where the core straddles a caustic (0.08" by 5 % of the peak, 0.02" still by 1.5 %).
CORE_ARCSEC = 0.006
#: Integration error aimed at, in units of the source's mean surface brightness inside Re, diluted by the PSF.
TOLERANCE = 1.5e-3
#: The same for stamps: their pixels' errors are unrelated, so a part's larger allowance counts.
IMAGE_TOLERANCE = 5e-4
_CHUNK = 8


def render_lenses(
    lenses: LensModel,
    sources: SourceModel | ImageSource,
    psf: MoffatPsf | ImagePsf,
    *,
    pixels: int = 64,
    pixel_scale_arcsec: float = 0.262,
    psf_includes_pixel: bool = True,
    saddle_images: bool = True,
) -> NDArray[np.float32]:
    """Lensed light of the sources (no deflector light): (n, band, y, x) float32 [nanomaggies per pixel].

    The coordinate origin is the centre of pixel (pixels // 2, pixels // 2); +x is increasing column, +y increasing row.
    psf: one per lens and band; a Moffat needs beta 2.5, 3.5 or 4.5. A lens with theta_e_arcsec = 0 renders the
    unlensed source. saddle_images False leaves out the light whose parity is turned (``saddles.minimum_share``): the
    counter-image of a double, the two inner images of a quad.
    A lens gives the same bits alone, in any batch and in any thread.
    Raises PixelError where lenses, sources and PSF differ in number or the PSF cannot be used, OptionError on the
    geometry.
    """
    from skytrace.lensing import _fourier, _kernels

    check_stamps(lenses, sources, psf, pixels, pixel_scale_arcsec)
    n, bands = sources.flux_nmgy.shape
    out = np.empty((n, bands, pixels, pixels), dtype=np.float32)
    box = pixels + 2 * _fourier.MARGIN
    origin = -(pixels // 2 + _fourier.MARGIN) * pixel_scale_arcsec
    columns = kernel_columns(lenses, sources)
    tolerance = sampling_tolerance(sources, pixel_scale_arcsec=pixel_scale_arcsec)
    rules = (_kernels.RULE_OFFSETS, _kernels.RULE_WEIGHTS, _kernels.RULE_STARTS)
    if isinstance(psf, MoffatPsf):
        orders = _fourier.moffat_order(psf.fwhm_arcsec, beta=psf.beta, pixels=pixels, scale=pixel_scale_arcsec)
    else:
        orders = np.zeros(n, dtype=np.int64)
    light = np.empty((_CHUNK, 2 * box + 2, 2 * box + 2), dtype=np.float32)
    for order in np.unique(orders):
        members = np.flatnonzero(orders == order)
        for start in range(0, len(members), _CHUNK):
            rows = members[start : start + _CHUNK]
            part = light[: len(rows)]
            _kernels.sample_light(  # type: ignore[call-arg]
                *(column[rows] for column in columns[:3]),
                *columns[3:],
                tolerance[rows],
                box,
                origin,
                pixel_scale_arcsec,
                *rules,
                part,
            )
            if not saddle_images:
                part *= _minima(lenses.take(rows), 2 * box + 2, origin, pixel_scale_arcsec)
            if isinstance(psf, MoffatPsf):
                out[rows] = _fourier.convolve_moffat(
                    part, psf.fwhm_arcsec[rows], sources.flux_nmgy[rows], beta=psf.beta, order=int(order),
                    pixels=pixels, scale=pixel_scale_arcsec, pixel_response=not psf_includes_pixel,
                )  # fmt: skip
            else:
                out[rows] = _fourier.convolve_image(
                    part,
                    psf.images[rows],
                    sources.flux_nmgy[rows],
                    pixels=pixels,
                    pixel_response=not psf_includes_pixel,
                )
    return out


def _minima(lenses: LensModel, cells: int, origin: float, scale: float) -> NDArray[np.float32]:
    """``minimum_share`` on the half-pixel grid of ``sample_light``, whose one cell of border lies before the box."""
    from skytrace.lensing.saddles import minimum_share

    half = 0.5 * scale
    return minimum_share(lenses, cells=cells, origin_arcsec=origin - 1.5 * half, cell_arcsec=half)


def kernel_columns(lenses: LensModel, sources: SourceModel | ImageSource) -> tuple[NDArray[np.float32], ...]:
    """The compiled kernel's arguments for unit flux, float32: one row a lens for the first three.

    lens (n, 32), source (n, 16), clumps (n, k, 4), stamps (s, rows, columns) and their roughness.
    """
    from skytrace.lensing._tracing import lens_columns

    light = _stamp_columns(sources) if isinstance(sources, ImageSource) else _body_columns(sources)
    return lens_columns(lenses), *(np.ascontiguousarray(part, dtype=np.float32) for part in light)


def _body_columns(sources: SourceModel) -> tuple[NDArray[np.floating], ...]:
    """Sersic bodies and their clumps, without a stamp."""
    n, radius = sources.sersic_index, sources.half_light_radius_arcsec
    b = sersic_b(n)
    clumps = sources.clumps
    body = np.ones(len(sources)) if clumps is None else 1.0 - clumps.flux_fraction.sum(axis=1)
    body = np.maximum(body, 1e-12)
    ln_center = np.log(body) + b - np.log(sersic_flux(n, radius))
    core = np.minimum(CORE_ARCSEC / radius, 1.0)
    none = np.zeros(len(sources))
    source = np.stack(
        [
            sources.x_arcsec, sources.y_arcsec, np.cos(sources.phi_rad), np.sin(sources.phi_rad), sources.q,
            1.0 / radius, ln_center, b, 1.0 / n, core**2, *_core_cubic(n, b, core, ln_center), none, none,
        ],
        axis=1,
    )  # fmt: skip
    if clumps is None:
        knots = np.zeros((len(sources), 0, 4))
    else:
        amplitude = clumps.flux_fraction / (2.0 * np.pi * clumps.sigma_arcsec**2)
        x, y = sources.x_arcsec[:, None] + clumps.dx_arcsec, sources.y_arcsec[:, None] + clumps.dy_arcsec
        knots = np.stack([amplitude, x, y, 1.0 / clumps.sigma_arcsec], axis=2)
    return source, knots, np.zeros((1, 0, 0)), np.zeros((1, 0, 0))


def _stamp_columns(sources: ImageSource) -> tuple[NDArray[np.floating], ...]:
    """Image sources: geometry, no clumps, the library with a border of zeros, and how rough its stamps are.

    Roughness: the largest second difference within a cell of _brightness.ROUGHNESS_STEP pixels and its neighbours;
    row 0 and column 0 hold the whole stamp's. Stamps are per pixel; the source carries pixels per arcsec^2.
    """
    from scipy.ndimage import maximum_filter

    from skytrace.lensing._brightness import ROUGHNESS_STEP, SOURCE_COLUMNS

    scale = np.asarray(sources.pixel_scale_arcsec)
    columns = dict.fromkeys(SOURCE_COLUMNS, np.zeros(len(sources)))
    columns |= {"x": sources.x_arcsec, "y": sources.y_arcsec, "stamp": np.asarray(sources.image_index, dtype=float)}
    columns |= {"cos": np.cos(sources.phi_rad), "sin": np.sin(sources.phi_rad)}
    columns |= {"inverse_re": 1.0 / scale, "amplitude": 1.0 / scale**2}
    source = np.stack(list(columns.values()), axis=1)
    stamps = np.pad(sources.images, ((0, 0), (1, 1), (1, 1)))
    framed = np.pad(stamps, ((0, 0), (1, 1), (1, 1)))
    middle = 2.0 * framed[:, 1:-1, 1:-1]
    bend = np.abs(framed[:, 2:, 1:-1] + framed[:, :-2, 1:-1] - middle)
    bend = np.maximum(bend, np.abs(framed[:, 1:-1, 2:] + framed[:, 1:-1, :-2] - middle))
    near = maximum_filter(bend, size=(1, 3 * ROUGHNESS_STEP, 3 * ROUGHNESS_STEP), mode="constant")
    half = ROUGHNESS_STEP // 2
    cells = np.pad(near[:, half::ROUGHNESS_STEP, half::ROUGHNESS_STEP], ((0, 0), (1, 0), (1, 0)))
    cells[:, 0, :] = cells[:, :, 0] = bend.max(axis=(1, 2))[:, None]
    return source, np.zeros((len(sources), 0, 4)), stamps, cells


def sampling_tolerance(sources: SourceModel | ImageSource, *, pixel_scale_arcsec: float) -> NDArray[np.float32]:
    """Allowed error of the surface brightness [arcsec^-2] of unit-flux sources (n,).

    Relative to the mean inside Re, reduced for sources smaller than the seeing, whose peaks the PSF dilutes.
    """
    radius = sources.half_light_radius_arcsec
    dilution = np.minimum(1.0, radius / (2.0 * pixel_scale_arcsec))
    aim = IMAGE_TOLERANCE if isinstance(sources, ImageSource) else TOLERANCE
    return (aim * dilution * 0.5 / (np.pi * radius**2)).astype(np.float32)


def _core_cubic(
    n: NDArray[np.float64], b: NDArray[np.float64], core: NDArray[np.float64], ln_center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients (4, n) of the cubic in (rho/core)^2 with the profile's value, slope, flux and second moment."""
    c = b * core ** (1.0 / n)
    moments = [
        2.0 * n * np.exp(np.log(gammainc(order, c)) + gammaln(order) - order * np.log(c))
        for order in (2.0 * n, 4.0 * n)
    ]
    value = np.exp(-c)
    slope = -c / (2.0 * n) * value
    system = np.array([[1, 1, 1, 1], [0, 1, 2, 3], [1, 1 / 2, 1 / 3, 1 / 4], [1 / 2, 1 / 3, 1 / 4, 1 / 5]])
    return np.linalg.solve(system, np.stack([value, slope, *moments])) * np.exp(ln_center)


def check_stamps(
    lenses: LensModel,
    sources: SourceModel | ImageSource,
    psf: MoffatPsf | ImagePsf,
    pixels: int,
    pixel_scale_arcsec: float,
) -> None:
    """Raise before any work if the arguments do not fit together."""
    shape = psf.fwhm_arcsec.shape if isinstance(psf, MoffatPsf) else psf.images.shape[:2]
    if not (len(lenses) == len(sources) == len(psf)) or shape != sources.flux_nmgy.shape:
        raise PixelError(
            f"{len(lenses)} lenses, sources of (n, band) = {sources.flux_nmgy.shape} and PSFs of {shape}: "
            "give one lens, one source and one PSF per band for every stamp"
        )
    if not (isinstance(pixels, int | np.integer) and 8 <= pixels <= 1024):
        raise OptionError(f"pixels = {pixels!r} must be an integer from 8 to 1024")
    if not 0.01 <= pixel_scale_arcsec <= 10.0:
        raise OptionError(f"pixel_scale_arcsec = {pixel_scale_arcsec!r} is outside [0.01, 10]")
