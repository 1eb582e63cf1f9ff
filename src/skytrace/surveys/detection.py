"""Sources of a real field, measured in the Tractor's words: detection and aperture photometry with SEP (Barbary 2016),
the library form of Source Extractor (Bertin & Arnouts 1996).

Detection is on the sum of the bands' signal-to-noise images: the optimal stack for a source as bright, in units of the
noise, in every band, hence redder than flat for DECam grz, which is what lens galaxies are. Fluxes are Kron fluxes
(2.5 Kron radii, one ellipse for all bands): they hold 95-101 % of the light of an isolated star or exponential disk and
80-87 % of a de Vaucouleurs galaxy's (tested), and colours are good to 0.08 mag. No aperture correction is applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.ndimage import binary_dilation
from scipy.signal import fftconvolve
from scipy.special import gammaincinv

from skytrace.errors import PixelError, check_between, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DetectionOptions",
    "detect_sources",
    "intrinsic_half_light_radius",
    "moffat_half_light_radius",
    "sersic_index_from_concentration",
    "tractor_ellipticity",
]

_KRON = 2.5
_KRON_FLOOR = 3.5
_BACKGROUND_BOX_PX = 64
_SOURCE_MARGIN_PX = 6


@dataclass(frozen=True)
class DetectionOptions:
    """threshold: signal-to-noise of a pixel of the detection image, smoothed by the PSF. minimum_pixels: connected
    pixels above it. star_size: a source with r50 below ``star_size`` times the PSF's is a point source.
    rex_signal_to_noise: galaxies fainter than this in r carry no measurable shape: REX. dev_concentration: r90/r50
    within the Kron aperture at and above which light is called de Vaucouleurs; 2.25 tells n = 4 from n = 1 at 1.1"
    seeing and half-light radii of 0.6" to 1.2" (the seeing-free values of unbounded profiles are 5.5 and 2.3).
    """

    threshold: float = 4.0
    minimum_pixels: int = 8
    deblend_levels: int = 32
    deblend_contrast: float = 0.005
    star_size: float = 1.15
    rex_signal_to_noise: float = 20.0
    dev_concentration: float = 2.25

    def __post_init__(self) -> None:
        check_between("threshold", self.threshold, 0.5, 100.0)
        check_whole("minimum_pixels", self.minimum_pixels, 1, 10_000)
        check_whole("deblend_levels", self.deblend_levels, 1, 256)
        check_between("deblend_contrast", self.deblend_contrast, 0.0, 1.0)
        check_between("star_size", self.star_size, 1.0, 3.0)
        check_between("rex_signal_to_noise", self.rex_signal_to_noise, 0.0, 1e4)
        check_between("dev_concentration", self.dev_concentration, 1.5, 6.0)


def detect_sources(
    image: NDArray[np.floating],
    invvar: NDArray[np.floating],
    *,
    psf_fwhm_arcsec: ArrayLike,
    pixel_scale_arcsec: float = 0.262,
    bands: tuple[str, ...] = ("g", "r", "z"),
    options: DetectionOptions | None = None,
) -> pd.DataFrame:
    """Sources of one field, brightest in r first.

    image (band, y, x) [nanomaggies], invvar the same shape (0: no data), psf_fwhm_arcsec (band,) half-maximum widths of
    a Moffat of beta 3.5. Columns: x, y (0-based pixels), flux_*, flux_ivar_*, shape_r (PSF-deconvolved half-light
    radius [arcsec]), shape_e1, shape_e2, sersic, type, signal_to_noise_r. Raises PixelError on unequal shapes or no
    data at all.
    """
    options = options or DetectionOptions()
    if image.shape != invvar.shape or image.ndim != 3 or len(image) != len(bands):
        raise PixelError(f"image {image.shape} and invvar {invvar.shape} are not both (band={len(bands)}, y, x)")
    fwhm = np.asarray(psf_fwhm_arcsec, dtype=np.float64)
    valid = (invvar > 0) & np.isfinite(image)
    if not valid.any(axis=(1, 2)).all():
        raise PixelError("a band of the field has no pixel with a positive inverse variance")
    owner = np.zeros(image.shape[1:], dtype=np.int32)
    # twice: the wings of the sources found first would otherwise count as sky, more in the bands of worse seeing
    for _ in range(2):
        sky = _sky_subtracted(image, valid, blank=owner == 0)
        found, owner = _extract(sky, invvar, valid, fwhm_px=float(fwhm.mean()) / pixel_scale_arcsec, options=options)
    if not len(found):
        return pd.DataFrame()
    reference = bands.index("r")
    table = _kron_photometry(sky, invvar, valid, found, owner, bands=bands)
    return _with_shapes(
        table, sky[reference], ~valid[reference], found, owner,
        psf_r50_arcsec=float(moffat_half_light_radius(fwhm[reference])), pixel_scale_arcsec=pixel_scale_arcsec,
        options=options,
    ).sort_values("flux_r", ascending=False, kind="stable", ignore_index=True)  # fmt: skip


def _sky_subtracted(image: NDArray, valid: NDArray, *, blank: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The image less a smooth background, measured where it is valid and (but for a margin) ``blank``."""
    import sep

    near = binary_dilation(~blank, iterations=_SOURCE_MARGIN_PX)
    sky = np.where(valid, image, 0.0).astype(np.float64)
    for plane, good in zip(sky, valid, strict=True):
        usable = good & ~near if (good & ~near).any() else good
        box = min(_BACKGROUND_BOX_PX, *plane.shape)
        plane -= sep.Background(plane, mask=~usable, bw=box, bh=box, fw=3, fh=3).back()
    return np.where(valid, sky, 0.0)


def _extract(
    sky: NDArray, invvar: NDArray, valid: NDArray, *, fwhm_px: float, options: DetectionOptions
) -> tuple[NDArray, NDArray[np.int32]]:
    """The detections, and which of them (1-based; 0 none) owns each pixel."""
    import sep

    ratio = np.where(valid, sky * np.sqrt(np.where(valid, invvar, 0.0)), 0.0)
    stacked = ratio.sum(axis=0) / np.sqrt(np.maximum(valid.sum(axis=0), 1))
    sep.set_extract_pixstack(max(300_000, stacked.size))
    kernel = _gaussian_kernel(fwhm_px)
    # sep compares the image smoothed by a kernel of unit sum with the noise before smoothing; resampling has correlated
    # the real noise, so the noise of the smoothed image is measured, not computed
    smoothed = fftconvolve(stacked, kernel, mode="same")[valid.all(axis=0)]
    noise = 1.4826 * np.median(np.abs(smoothed - np.median(smoothed))) if smoothed.size else np.sqrt((kernel**2).sum())
    return sep.extract(
        stacked,
        options.threshold * float(noise),
        mask=~valid.any(axis=0),
        minarea=options.minimum_pixels,
        filter_kernel=kernel,
        filter_type="conv",
        deblend_nthresh=options.deblend_levels,
        deblend_cont=options.deblend_contrast,
        segmentation_map=True,
    )


def _gaussian_kernel(fwhm_px: float) -> NDArray[np.float64]:
    half = int(np.ceil(1.5 * fwhm_px))
    axis = np.arange(-half, half + 1)
    one = np.exp(-4.0 * np.log(2.0) * (axis / fwhm_px) ** 2)
    kernel = np.outer(one, one)
    return kernel / kernel.sum()


def _kron_photometry(
    sky: NDArray, invvar: NDArray, valid: NDArray, found: NDArray, owner: NDArray, *, bands: tuple[str, ...]
) -> pd.DataFrame:
    """Positions, Kron fluxes and their inverse variances; a flux over no valid pixel is 0 with inverse variance 0."""
    import sep

    ellipse = (found["x"], found["y"], found["a"], found["b"], found["theta"])
    # a positive seg_id masks the pixels of all other sources
    own = {"segmap": owner, "seg_id": np.arange(1, len(found) + 1, dtype=np.int32)}
    kron, _ = sep.kron_radius(sky[bands.index("r")], *ellipse, 6.0, mask=~valid.any(axis=0), **own)
    # the floor of Source Extractor's PHOT_AUTOPARAMS 2.5, 3.5: noise can make a faint source's Kron radius vanish
    scale = np.maximum(_KRON * np.nan_to_num(kron), _KRON_FLOOR)
    columns = {"x": found["x"], "y": found["y"], "kron_scale": scale}
    for band, plane, weight, good in zip(bands, sky, invvar, valid, strict=True):
        variance = np.where(good, 1.0 / np.where(good, weight, 1.0), 0.0)
        flux, error, _ = sep.sum_ellipse(plane, *ellipse, scale, var=variance, mask=~good, subpix=5, **own)
        measured = np.isfinite(flux) & np.isfinite(error) & (error > 0)
        columns[f"flux_{band}"] = np.where(measured, flux, 0.0)
        columns[f"flux_ivar_{band}"] = np.where(measured, 1.0 / np.where(measured, error, 1.0) ** 2, 0.0)
    return pd.DataFrame(columns)


def _with_shapes(
    table: pd.DataFrame, plane: NDArray, mask: NDArray, found: NDArray, owner: NDArray,
    *, psf_r50_arcsec: float, pixel_scale_arcsec: float, options: DetectionOptions,
) -> pd.DataFrame:  # fmt: skip
    """Half-light radius, ellipticity, type and Sersic index, from r-band growth curves and the detection's moments."""
    import sep

    reach = table["kron_scale"].to_numpy() * found["a"]
    radii, _ = sep.flux_radius(
        plane, found["x"], found["y"], reach, [0.5, 0.9], mask=mask, subpix=5,
        segmap=owner, seg_id=np.arange(1, len(found) + 1, dtype=np.int32),
        normflux=np.where(table["flux_r"] > 0, table["flux_r"], np.nan),
    )  # fmt: skip
    observed = np.where(np.isfinite(radii[:, 0]) & (radii[:, 0] > 0), radii[:, 0], 0.0) * pixel_scale_arcsec
    concentration = np.where(observed > 0, radii[:, 1] / np.maximum(radii[:, 0], 1e-6), 0.0)
    noise = np.sqrt(np.where(table["flux_ivar_r"] > 0, table["flux_ivar_r"], 0.0))
    significance = table["flux_r"].to_numpy() * noise
    point = observed <= options.star_size * psf_r50_arcsec
    kind = np.select(
        [point, significance < options.rex_signal_to_noise, concentration >= options.dev_concentration],
        ["PSF", "REX", "DEV"],
        "SER",
    )
    # second moments add in quadrature under convolution, so the PSF's share is taken from both axes
    e1, e2 = tractor_ellipticity(_deconvolved_axis_ratio(found, psf_r50_arcsec / pixel_scale_arcsec), found["theta"])
    shaped = np.isin(kind, ["DEV", "SER"])
    index = np.select([kind == "PSF", kind == "REX", kind == "DEV"], [0.0, 1.0, 4.0], 1.0)
    is_sersic = kind == "SER"
    index[is_sersic] = sersic_index_from_concentration(concentration[is_sersic])
    return table.drop(columns="kron_scale").assign(
        shape_r=np.where(kind == "PSF", 0.0, intrinsic_half_light_radius(observed, psf_r50_arcsec)),
        shape_e1=np.where(shaped, e1, 0.0),
        shape_e2=np.where(shaped, e2, 0.0),
        sersic=index,
        type=kind,
        signal_to_noise_r=significance,
    )


def _deconvolved_axis_ratio(found: NDArray, psf_r50_px: float) -> NDArray[np.float64]:
    # r50 = 1.177 sigma for the Gaussian core that the thresholded moments of a faint source see
    sigma2 = (psf_r50_px / 1.1774) ** 2
    major = np.maximum(found["a"] ** 2 - sigma2, 0.04)
    return np.sqrt(np.clip(np.maximum(found["b"] ** 2 - sigma2, 0.04) / major, 0.01, 1.0))


def tractor_ellipticity(axis_ratio: ArrayLike, theta_rad: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tractor e1, e2 of an ellipse at ``theta_rad`` counter-clockwise from +x of an image with north up and east left.

    |e| = (1 - q) / (1 + q) and e1 + i e2 = |e| exp(2 i PA), PA east of north (tractor ``ellipses.py``): PA = theta -
    90 deg.
    """
    q = np.asarray(axis_ratio, dtype=np.float64)
    size = (1.0 - q) / (1.0 + q)
    twice = 2.0 * (np.asarray(theta_rad, dtype=np.float64) - 0.5 * np.pi)
    return size * np.cos(twice), size * np.sin(twice)


def moffat_half_light_radius(fwhm: ArrayLike, *, beta: float = 3.5) -> NDArray[np.float64]:
    """Radius of half the light of a Moffat, in the unit of ``fwhm``: alpha sqrt(2^(1/(beta-1)) - 1)."""
    alpha = np.asarray(fwhm, dtype=np.float64) / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    return alpha * np.sqrt(2.0 ** (1.0 / (beta - 1.0)) - 1.0)


def intrinsic_half_light_radius(observed: ArrayLike, psf: ArrayLike) -> NDArray[np.float64]:
    """sqrt(observed^2 - psf^2), 0 where the PSF explains the size: exact for Gaussians, 10-20 % for Sersic profiles."""
    return np.sqrt(
        np.maximum(np.asarray(observed, dtype=np.float64) ** 2 - np.asarray(psf, dtype=np.float64) ** 2, 0.0)
    )


def sersic_index_from_concentration(concentration: ArrayLike) -> NDArray[np.float64]:
    """Sersic index whose pure profile has this r90 / r50, within the Tractor's range 0.5-6.

    r_f = (gammaincinv(2n, f) / b_n)^n (Graham & Driver 2005, eq. 2); seeing lowers concentrations, so this is a lower
    bound.
    """
    n = np.linspace(0.5, 6.0, 221)
    known = (gammaincinv(2 * n, 0.9) / gammaincinv(2 * n, 0.5)) ** n
    return np.interp(np.asarray(concentration, dtype=np.float64), known, n)
