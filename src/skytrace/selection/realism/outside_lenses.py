"""Do injected arcs look like those of real lenses that space resolves, once these are seen as the survey would?

An outside check, no gate: its lenses come from another telescope. An image from space is convolved to a cell's PSF
(never deconvolved: its own PSF is taken off in quadrature, width from width, as if both were of one shape), read off at
the survey's pixels, given the cell's noise, and measured by the calls that measure injections. One near-infrared band
stands for r: all of its light gets the sources' assumed colour r - F140W, so radius and asymmetry can be compared,
S/N only as far as that colour is right, and colours not at all. The deflector comes out too bright in r (it is redder
than its arcs), and its photon noise is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import fft, ndimage

from skytrace.errors import CatalogueError, PixelError, check_between, check_whole
from skytrace.imaging.photometry import flux_nmgy, psfdepth_from_mag
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, half_maximum_fwhm_arcsec, moffat_fwhm_from_psfsize, sky_sigma_nmgy
from skytrace.imaging.sky_noise import draw_correlated_noise
from skytrace.selection.arcs import ArcOptions, measure_arcs
from skytrace.selection.degrade import transfer_ratio
from skytrace.selection.realism.morphology import arc_morphology
from skytrace.selection.realism.options import MorphologyOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "OutsideLensOptions",
    "SpaceImage",
    "as_seen_by_survey",
    "light_centre_and_shape",
    "measure_outside",
]

_NEARLY_NO_WIDTH = 1e-6


@dataclass(frozen=True)
class OutsideLensOptions:
    """folder: of the images, under the data root; None: the check is left out, and its report says so.
    zero_point_ab: AB magnitude of 1 electron/s (WFC3/IR F140W: 26.450, STScI 2020 calibration).
    source_r_minus_f140w: assumed AB colour of the lensed sources (r - z 0.4, as injected, and z - F140W 0.4 of
    star-forming galaxies at z = 1 to 2.5); colour_bracket_mag: how far off it may be, tried both ways. pixels: of a
    stamp. psf_beta: Moffat index of the survey's PSF. observable_snr: least measured arc S/N on both sides.
    theta_e_step_arcsec, arc_snr_step_dex: steps in which injections of a cell are matched to a lens; at most
    max_distance_steps in any. neighbours: of them for each lens and cell, min_neighbours at least. min_lenses: fewer
    give no verdict. per_cell: injections measured in each cell that a lens falls near. seed: of the noise.
    """

    folder: str | None = None
    zero_point_ab: float = 26.450
    source_r_minus_f140w: float = 0.8
    colour_bracket_mag: float = 0.5
    pixels: int = 64
    psf_beta: float = 3.5
    observable_snr: float = 5.0
    theta_e_step_arcsec: float = 0.25
    arc_snr_step_dex: float = 0.15
    max_distance_steps: float = 2.0
    neighbours: int = 24
    min_neighbours: int = 6
    min_lenses: int = 8
    per_cell: int = 16
    n_bootstrap: int = 4000
    seed: int = 20260509

    def __post_init__(self) -> None:
        check_between("zero_point_ab", self.zero_point_ab, 15.0, 35.0)
        check_between("source_r_minus_f140w", self.source_r_minus_f140w, -2.0, 5.0)
        check_between("colour_bracket_mag", self.colour_bracket_mag, 0.0, 5.0)
        check_whole("pixels", self.pixels, 16, 512)
        check_between("psf_beta", self.psf_beta, 1.0, 10.0, include_low=False)
        check_between("observable_snr", self.observable_snr, 0.0, 1000.0)
        for key in ("theta_e_step_arcsec", "arc_snr_step_dex", "max_distance_steps"):
            check_between(key, getattr(self, key), 0.0, 100.0, include_low=False)
        lowest = {"neighbours": 1, "min_neighbours": 1, "min_lenses": 2, "per_cell": 1, "n_bootstrap": 100, "seed": 0}
        for key, low in lowest.items():
            check_whole(key, getattr(self, key), low, 2**31)


@dataclass(frozen=True)
class SpaceImage:
    """A lens seen from space. image: (y, x) [electrons/s], background subtracted. psf: (k, k), the same pixels.
    theta_e_arcsec: of a published model, intermediate-axis convention. Raises PixelError for what is no image.
    """

    name: str
    image: NDArray[np.floating]
    psf: NDArray[np.floating]
    pixel_scale_arcsec: float
    theta_e_arcsec: float

    def __post_init__(self) -> None:
        if np.ndim(self.image) != 2 or not np.isfinite(self.image).all():
            raise PixelError(f"{self.name}: an image must be (y, x) and finite; its shape is {np.shape(self.image)}")
        if np.ndim(self.psf) != 2 or self.psf.shape[0] != self.psf.shape[1]:
            raise PixelError(f"{self.name}: a PSF must be (k, k); its shape is {np.shape(self.psf)}")
        check_between(f"{self.name} pixel_scale_arcsec", self.pixel_scale_arcsec, 1e-3, PIXEL_SCALE_ARCSEC)


def light_centre_and_shape(
    image: NDArray[np.floating], *, pixel_scale_arcsec: float, within_arcsec: float, rounds: int = 60
) -> tuple[float, float, float, float]:
    """Row, column, axis ratio and angle [rad, counter-clockwise from +x] of the deflector's light.

    Starts at the brightest pixel, smoothed by 0.2", within 1.5" of the middle. Adaptive moments (Bernstein & Jarvis
    2002): the Gaussian that weighs the light has the shape that the weighted light has; its size is held at
    ``within_arcsec`` / 2 (geometric mean of its axes) at most, which keeps arcs out.
    """
    image = np.asarray(image, dtype=np.float64)
    smooth = ndimage.gaussian_filter(image, 0.2 / pixel_scale_arcsec)
    y, x = np.indices(image.shape, dtype=np.float64)
    middle = (np.array(image.shape) - 1) / 2.0
    near = np.hypot(y - middle[0], x - middle[1]) * pixel_scale_arcsec < 1.5
    row, column = (float(v) for v in np.unravel_index(np.argmax(np.where(near, smooth, -np.inf)), image.shape))
    largest = within_arcsec / 2.0 / pixel_scale_arcsec
    covariance = np.eye(2) * largest**2
    for _ in range(rounds):
        inverse = np.linalg.inv(covariance)
        dx, dy = x - column, y - row
        weight = np.exp(-0.5 * (inverse[0, 0] * dx**2 + 2.0 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2)) * image
        total = weight.sum()
        if not total > 0:
            break
        column, row = column + (weight * dx).sum() / total, row + (weight * dy).sum() / total
        cross = (weight * dx * dy).sum()
        moments = 2.0 * np.array([[(weight * dx**2).sum(), cross], [cross, (weight * dy**2).sum()]]) / total
        area = np.linalg.det(moments)
        if not area > 0:
            break
        covariance = moments * min(1.0, largest**2 / np.sqrt(area))
    values, vectors = np.linalg.eigh(covariance)
    q = float(np.sqrt(max(values[0], 0.0) / values[1]))
    return row, column, max(q, 0.1), float(np.mod(np.arctan2(vectors[1, 1], vectors[0, 1]), np.pi))


def as_seen_by_survey(
    image: NDArray[np.floating],
    *,
    pixel_scale_arcsec: float,
    own_fwhm_arcsec: float,
    target_fwhm_arcsec: ArrayLike,
    centre: tuple[float, float],
    pixels: int = 64,
    beta: float = 3.5,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Stamps (n, pixels, pixels) of 0.262" through n PSFs, flux conserved, and which pixels (y, x) the image covers.

    target_fwhm_arcsec: (n,) half-maximum widths of the survey's PSF, its pixel included, which is why stamps are read
    off the convolved image (cubic splines) and not averaged over pixels once more. centre: (row, column) that comes to
    the stamp's pixel (pixels // 2, pixels // 2). The kernel is the Moffat of width sqrt(target^2 - own^2).
    Raises PixelError where a target is not wider than the image's own PSF.
    """
    target = np.asarray(target_fwhm_arcsec, dtype=np.float64)
    if not (target > own_fwhm_arcsec).all():
        raise PixelError(
            f"PSFs of {target.min():.2f} arcsec cannot be made from {own_fwhm_arcsec:.2f}: never sharpened"
        )
    rows, columns = image.shape
    margin = int(np.ceil(4.0 * target.max() / pixel_scale_arcsec))
    side = fft.next_fast_len(max(rows, columns) + 2 * margin, real=True)
    pads = [(margin, side - margin - length) for length in (rows, columns)]
    spectrum = fft.rfft2(np.pad(np.asarray(image, dtype=np.float64), pads, mode="symmetric"))
    step = PIXEL_SCALE_ARCSEC / pixel_scale_arcsec
    offset = (np.arange(pixels) - pixels // 2) * step
    at_row, at_column = centre[0] + offset, centre[1] + offset
    where = np.meshgrid(at_row + margin, at_column + margin, indexing="ij")
    stamps = np.empty((len(target), pixels, pixels))
    for stamp, width in zip(stamps, np.sqrt(target**2 - own_fwhm_arcsec**2), strict=True):
        kernel = transfer_ratio(_NEARLY_NO_WIDTH, width, size=side, beta=beta, pixel_scale_arcsec=pixel_scale_arcsec)
        seen = fft.irfft2(spectrum * kernel, s=(side, side))
        stamp[:] = ndimage.map_coordinates(seen, where, order=3, mode="grid-wrap") * step**2
    half = step / 2.0
    inside = [
        (at - half >= -0.5) & (at + half <= length - 0.5) for at, length in ((at_row, rows), (at_column, columns))
    ]
    covered = inside[0][:, None] & inside[1][None]
    return np.where(covered, stamps, 0.0), covered


def measure_outside(
    lenses: Sequence[SpaceImage],
    conditions: pd.DataFrame,
    *,
    options: OutsideLensOptions | None = None,
    arcs: ArcOptions | None = None,
    morphology: MorphologyOptions | None = None,
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """One row a lens and condition, with the columns of ``measure_arcs`` (r) and ``arc_morphology``, and the stamps.

    conditions: columns psf_fwhm (psfsize_r) [arcsec] and depth [AB mag]. Lenses without a finite theta_E are left out.
    Columns beside: name, theta_e, psf_fwhm, depth, host_q, own_fwhm_arcsec. stamps: (row, pixels, pixels) in
    nanomaggies.
    """
    options = options or OutsideLensOptions()
    psfsize, depth = (conditions[name].to_numpy(dtype=np.float64) for name in ("psf_fwhm", "depth"))
    target = moffat_fwhm_from_psfsize(psfsize, beta=options.psf_beta)
    sigma = sky_sigma_nmgy(psfdepth_from_mag(depth), psfsize)
    to_nmgy = float(flux_nmgy(options.zero_point_ab + options.source_r_minus_f140w))
    tables, pictures = [], []
    for number, lens in enumerate(lenses):
        if not np.isfinite(lens.theta_e_arcsec):
            continue
        rng = np.random.default_rng([options.seed, number])
        row, column, q, phi = light_centre_and_shape(
            lens.image, pixel_scale_arcsec=lens.pixel_scale_arcsec, within_arcsec=0.6 * lens.theta_e_arcsec
        )
        own = float(half_maximum_fwhm_arcsec(lens.psf, pixel_scale_arcsec=lens.pixel_scale_arcsec))
        light, covered = as_seen_by_survey(
            lens.image * to_nmgy, pixel_scale_arcsec=lens.pixel_scale_arcsec, own_fwhm_arcsec=own,
            target_fwhm_arcsec=target, centre=(row, column), pixels=options.pixels, beta=options.psf_beta,
        )  # fmt: skip
        noise = draw_correlated_noise(sigma[:, None, None], shape=light.shape, rng=rng)
        image = np.where(covered, light + noise, 0.0).astype(np.float32)
        invvar = np.where(covered, 1.0 / sigma[:, None, None] ** 2, 0.0).astype(np.float32)
        bands, weights = (np.repeat(values[:, None], 3, axis=1) for values in (image, invvar))
        known: dict[str, Any] = {
            "theta_e_arcsec": np.full(len(target), lens.theta_e_arcsec), "fwhm_arcsec": target, "q": q, "phi_rad": phi,
        }  # fmt: skip
        light_columns = measure_arcs(
            bands, weights, sigma_pix_nmgy=np.repeat(sigma[:, None], 3, axis=1), options=arcs, **known
        )[["arc_snr", "arc_peak", "arc_matched", "arc_flux_r", "arc_coverage"]]
        shape = arc_morphology(bands, weights, arcs=arcs, options=morphology, **known)
        head = pd.DataFrame(
            {"name": lens.name, "theta_e": lens.theta_e_arcsec, "psf_fwhm": psfsize, "depth": depth, "host_q": q,
             "own_fwhm_arcsec": own}
        )  # fmt: skip
        tables.append(pd.concat([head, light_columns, shape], axis=1))
        pictures.append(image)
    if not tables:
        raise CatalogueError("no lens with a finite Einstein radius: nothing to compare")
    return pd.concat(tables, ignore_index=True), np.concatenate(pictures)
