"""Do candidate images show one source? Gravity bends all light alike, so images of one source share their colours.

Fluxes are taken through Gaussian weights that are narrower where the PSF is wider, so that weight and PSF together
make the same aperture on the sky in every band (GAaP; Kuijken 2008, A&A 482, 1053): exact for Gaussian PSFs, and made
exact for point sources of the Moffat PSFs of the survey. No image is convolved, so noise stays white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.clusters.options import BANDS, ColourOptions
from skytrace.errors import OptionError, PixelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.imaging.psf import MoffatPsf

__all__ = ["ColourConsistency", "colour_consistency", "matched_colours", "shrunk_covariance"]

_GAUSSIAN_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_SOFTENING = 1.042  # of a luptitude, in flux errors
_MAG = 2.5 / np.log(10.0)


@dataclass(frozen=True)
class ColourConsistency:
    """distance (n, m): of each image from the centroid of the others [sigma]; image_score = exp(-distance^2 / 2).
    group_distance, score (n,): all images together; score is uniform in (0, 1) for one colour and honest errors.
    flagged (n,): an image or the group is beyond flag_sigma. n_images (n,): images with colours; below two nothing can
    be compared: NaN and not flagged. centroid (n, 2): Huber centroid of all images [mag].
    """

    distance: NDArray[np.float64]
    image_score: NDArray[np.float64]
    group_distance: NDArray[np.float64]
    score: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    n_images: NDArray[np.int64]
    centroid: NDArray[np.float64]


def matched_colours(
    images: NDArray[np.float32],
    noise: ArrayLike,
    psf: MoffatPsf,
    positions_px: NDArray[np.float64],
    *,
    pixel_scale_arcsec: float,
    options: ColourOptions | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(g-r, r-i) (n, m, 2) [mag] and their covariances (n, m, 2, 2) from PSF-matched apertures at m positions.

    images (n, 3, y, x) nanomaggies; noise (n, 3) or (3,) sky sigma a pixel; psf: n PSFs in 3 bands; positions_px (n, m,
    2) row and column, NaN where there is no image. NaN where the aperture leaves the cutout or meets a missing pixel.
    Raises OptionError for an aperture not wider than a PSF, PixelError for shapes that do not fit.
    """
    options = options or ColourOptions()
    n, bands = images.shape[:2]
    if images.ndim != 4 or bands != len(BANDS) or psf.fwhm_arcsec.shape != (n, bands):
        raise PixelError(
            f"images {images.shape} and PSFs {psf.fwhm_arcsec.shape} are not (n, 3, y, x) and (n, 3), bands g, r, i"
        )
    if positions_px.ndim != 3 or positions_px.shape[::2] != (n, 2):
        raise PixelError(f"positions_px {positions_px.shape} is not (n={n}, m, 2)")
    sigma = np.broadcast_to(np.asarray(noise, dtype=np.float64), (n, bands))
    flux, error = _matched_fluxes(images, sigma, psf, positions_px, pixel_scale_arcsec, options)
    b = _SOFTENING * error
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = -_MAG * (np.arcsinh(flux / (2.0 * b)) + np.log(b))
        variance = _MAG**2 * error**2 / (flux**2 + 4.0 * b**2)
    colours = mag[..., :-1] - mag[..., 1:]
    covariance = np.empty((*colours.shape, 2))
    covariance[..., 0, 0] = variance[..., 0] + variance[..., 1]
    covariance[..., 1, 1] = variance[..., 1] + variance[..., 2]
    covariance[..., 0, 1] = covariance[..., 1, 0] = -variance[..., 1]
    return colours, covariance


def _matched_fluxes(
    images: NDArray[np.float32],
    sigma: NDArray[np.float64],
    psf: MoffatPsf,
    positions: NDArray[np.float64],
    scale: float,
    options: ColourOptions,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and error (n, m, band) [nanomaggies] of a point source of the same weighted brightness."""
    n, bands, height, width = images.shape
    aperture = options.aperture_fwhm_arcsec
    if not (psf.fwhm_arcsec < aperture).all():
        raise OptionError(
            f"aperture_fwhm_arcsec = {aperture:g} is outside its allowed range ({psf.fwhm_arcsec.max():.3g}, inf): it "
            "must be wider than every PSF"
        )
    weight_sigma = np.sqrt(aperture**2 - psf.fwhm_arcsec**2) / _GAUSSIAN_FWHM  # (n, band)
    half = int(np.ceil(4.0 * aperture / _GAUSSIAN_FWHM / scale))
    known = np.asarray(np.isfinite(positions).all(axis=-1))
    centre = np.where(known[..., None], positions, 0.0)
    nearest = np.rint(centre).astype(np.int64)
    inside = known & (nearest >= half).all(axis=-1) & (nearest < np.array([height, width]) - half).all(axis=-1)
    start = np.where(inside[..., None], nearest, half)
    offset = np.arange(-half, half + 1)
    rows, columns = (start[..., k, None] + offset for k in (0, 1))  # (n, m, k)
    owner = np.arange(n)[:, None, None, None, None]
    stamps = images[owner, np.arange(bands)[:, None, None], rows[:, :, None, :, None], columns[:, :, None, None, :]]
    along = [
        np.exp(-0.5 * (((at - centre[..., k, None]) * scale)[:, :, None] / weight_sigma[:, None, :, None]) ** 2)
        for k, at in enumerate((rows, columns))
    ]  # (n, m, band, k)
    throughput = _point_throughput(psf, weight_sigma)[:, None]
    peak = 1.0 / (2.0 * np.pi * weight_sigma[:, None] ** 2)
    total = np.einsum("nmbyx,nmby,nmbx->nmb", stamps.astype(np.float64), *along) * peak
    squares = np.einsum("nmby,nmbx->nmb", along[0] ** 2, along[1] ** 2) * peak**2
    with np.errstate(invalid="ignore"):
        total = np.where(inside[..., None], total, np.nan)
    return total / throughput, sigma[:, None] * np.sqrt(squares) / throughput


def _point_throughput(psf: MoffatPsf, weight_sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, band) integral of PSF times unit Gaussian weight [arcsec^-2], in Fourier space."""
    from skytrace.imaging.profiles import moffat_transfer

    nodes, weights = np.polynomial.legendre.leggauss(64)
    highest = 8.0 / weight_sigma[..., None]
    k = 0.5 * highest * (nodes + 1.0)
    power = moffat_transfer(k, psf.fwhm_arcsec[..., None], beta=psf.beta) * np.exp(
        -0.5 * (k * weight_sigma[..., None]) ** 2
    )
    return (power * k * weights).sum(axis=-1) * 0.5 * highest[..., 0] / (2.0 * np.pi)


def shrunk_covariance(
    reference_residuals: NDArray[np.float64] | None, *, options: ColourOptions
) -> NDArray[np.float64]:
    """(2, 2) intrinsic covariance of colours: Ledoit-Wolf of reference residuals (k, 2) [mag], never below
    intrinsic_mag^2 on the diagonal; intrinsic_mag^2 I without a reference.

    The reference is images of known single sources minus their centroids. A group's own scatter is never used: with
    three or four images it would grow with the odd one out, and hide it.
    """
    floor = options.intrinsic_mag**2 * np.eye(2)
    if reference_residuals is None:
        return floor
    residuals = np.asarray(reference_residuals, dtype=np.float64)
    if residuals.ndim != 2 or residuals.shape[1] != 2 or len(residuals) < 3 or not np.isfinite(residuals).all():
        raise OptionError(f"reference residuals of shape {residuals.shape} are not at least 3 finite rows of 2 colours")
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(residuals, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, options.intrinsic_mag**2)) @ vectors.T)


def colour_consistency(
    colours: NDArray[np.float64],
    covariance: NDArray[np.float64],
    *,
    reference_residuals: NDArray[np.float64] | None = None,
    options: ColourOptions | None = None,
) -> ColourConsistency:
    """Compare the colours (n, m, 2) [mag] of m images in each of n fields, NaN where there is no image.

    covariance (n, m, 2, 2): measurement errors. Each image is compared with the Huber centroid of the *others*, under
    its own errors plus the intrinsic covariance plus that of the centroid; distances of good images follow chi with
    two degrees of freedom. The group's chi^2 about its weighted mean has 2 (m - 1); ``group_distance`` is the distance
    with the same tail probability. Raises PixelError for shapes that do not fit.
    """
    options = options or ColourOptions()
    if colours.ndim != 3 or colours.shape[2] != 2 or covariance.shape != (*colours.shape, 2):
        raise PixelError(
            f"colours {colours.shape} and covariance {covariance.shape} are not (n, m, 2) and (n, m, 2, 2)"
        )
    from scipy.stats import chi2

    known = np.asarray(np.isfinite(colours).all(axis=-1) & np.isfinite(covariance).all(axis=(-1, -2)))
    n_images = known.sum(axis=1)
    values = np.where(known[..., None], colours, 0.0)
    total = np.where(known[..., None, None], covariance, np.eye(2)) + shrunk_covariance(
        reference_residuals, options=options
    )
    precision = np.asarray(np.linalg.inv(total) * known[..., None, None], dtype=np.float64)
    m = colours.shape[1]
    others = known[:, None, :] & ~np.eye(m, dtype=bool)  # (n, j, k): k among the others of j
    centre, centre_covariance = _huber_centroid(values[:, None], precision[:, None], others, options)
    residual = values - centre
    spread = np.linalg.inv(total + centre_covariance)
    comparable = known & (n_images >= 2)[:, None]
    squared = np.where(comparable, np.einsum("nji,njik,njk->nj", residual, spread, residual), np.nan)
    plain, _ = _weighted_mean(values, precision)
    about = values - plain[:, None]
    chi_squared = np.einsum("nji,njik,njk->n", about, precision, about)
    log_score = np.where(n_images >= 2, chi2.logsf(chi_squared, np.maximum(2 * (n_images - 1), 2)), np.nan)
    distance, group = np.sqrt(squared), np.sqrt(-2.0 * log_score)
    with np.errstate(invalid="ignore"):
        flagged = (distance > options.flag_sigma).any(axis=1) | (group > options.flag_sigma)
    whole, _ = _huber_centroid(values, precision, known, options)
    whole = np.where((n_images > 0)[:, None], whole, np.nan)
    return ColourConsistency(distance, np.exp(-0.5 * squared), group, np.exp(log_score), flagged, n_images, whole)


def _weighted_mean(
    values: NDArray[np.float64], precision: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (..., 2) weighted by matrices (..., k, 2, 2) and its covariance; very wide where nothing is weighed."""
    total = precision.sum(axis=-3)
    covariance = np.linalg.inv(total + 1e-12 * np.eye(2))
    return np.einsum("...ij,...kjl,...kl->...i", covariance, precision, values), covariance


def _huber_centroid(
    values: NDArray[np.float64], precision: NDArray[np.float64], used: NDArray[np.bool_], options: ColourOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Huber M-estimate (..., 2) of the centre of values (..., k, 2) and the covariance of the unweighted mean.

    Iteratively reweighted: an image d sigma away counts min(1, huber / d) (Huber 1981, section 6). The start is the
    coordinate-wise median, so that one bright odd image does not set it.
    """
    precision = precision * used[..., None, None]
    values = np.broadcast_to(values, (*used.shape, 2))
    count = used.sum(axis=-1)
    ordered = np.sort(np.where(used[..., None], values, np.inf), axis=-2)
    ends = (np.maximum(count - 1, 0) // 2, count // 2)
    low, high = (
        np.take_along_axis(ordered, np.minimum(end, values.shape[-2] - 1)[..., None, None], -2) for end in ends
    )
    centre = np.where(count[..., None] > 0, 0.5 * (low + high)[..., 0, :], 0.0)
    for _ in range(options.iterations):
        residual = values - centre[..., None, :]
        distance = np.sqrt(np.einsum("...ki,...kij,...kj->...k", residual, precision, residual))
        weight = np.minimum(1.0, options.huber / np.maximum(distance, 1e-12))
        centre, _ = _weighted_mean(values, precision * weight[..., None, None])
    _, covariance = _weighted_mean(values, precision)
    return centre, covariance
