"""Do the brightest peaks off the cluster's own red sequence share one colour? Images of one background cluster do.

Galaxies of many redshifts along the line of sight are as red and as many, but of many colours. Colours are those of
PSF-matched apertures (``colours``), peaks those of the g + r + i stack (``patches``); distances count the measurement
errors and the intrinsic scatter, so a faint field does not look coherent because nothing is measured in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.clusters.colours import colour_consistency, matched_colours
from skytrace.clusters.options import ColourOptions, PatchOptions
from skytrace.clusters.patches import bright_peaks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.imaging.psf import MoffatPsf

__all__ = ["PEAK_COLOUR_SCHEMA", "agreeing_peaks", "peak_colour_features"]

#: Column -> (unit, what it is).
PEAK_COLOUR_SCHEMA = {
    "peaks_measured": ("1", "of the brightest peaks, those with colours in matched apertures"),
    "off_sequence_peaks": ("1", "of these, beyond off_sequence_sigma from the Huber centroid of the others"),
    "redder_peaks": ("1", "of these, redder in r-i than the centroid of all"),
    "redder_g_minus_r": ("mag", "Huber centroid of the redder peaks minus that of all peaks"),
    "redder_r_minus_i": ("mag", "Huber centroid of the redder peaks minus that of all peaks"),
    "redder_distance": ("sigma", "median distance of a redder peak from the centroid of the other redder ones"),
    "redder_group_distance": ("sigma", "distance with the tail probability of the redder peaks being of one colour"),
    "redder_flagged": ("bool", "a redder peak, or all together, beyond flag_sigma of one colour"),
    "agreeing_peaks": ("1", "most redder peaks within two sigma of one of them, itself left out"),
    "agreeing_share": ("1", "these over the other redder peaks"),
    "agreeing_r_minus_i": ("mag", "colour of the peak that most agree with, minus the centroid of all peaks"),
}
_AGREE_SIGMA = 2.0


def peak_colour_features(
    images: NDArray[np.float32],
    noise: ArrayLike,
    psf: MoffatPsf,
    *,
    pixel_scale_arcsec: float,
    patches: PatchOptions | None = None,
    colours: ColourOptions | None = None,
    peaks: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """The columns of PEAK_COLOUR_SCHEMA, a row a cluster; colours NaN where nothing is redder, or nothing is measured.

    images (n, 3, y, x) nanomaggies; noise (n, 3) or (3,) sky sigma a pixel; psf: n PSFs in 3 bands; peaks: of
    ``bright_peaks``, where they are known already. Fields in which a PSF is as wide as the aperture are not measured.
    Raises PixelError as ``patch_features`` does.
    """
    patches, colours = patches or PatchOptions(), colours or ColourOptions()
    sigma = np.broadcast_to(np.asarray(noise, dtype=np.float64), images.shape[:2])
    places = (bright_peaks(images, sigma, options=patches) if peaks is None else peaks)[..., :2]
    n, m = places.shape[:2]
    colour, covariance = np.full((n, m, 2), np.nan), np.full((n, m, 2, 2), np.nan)
    usable = np.flatnonzero((psf.fwhm_arcsec < colours.aperture_fwhm_arcsec).all(axis=1))
    if len(usable):
        colour[usable], covariance[usable] = matched_colours(
            images[usable], sigma[usable], psf.take(usable), places[usable], pixel_scale_arcsec=pixel_scale_arcsec,
            options=colours,
        )  # fmt: skip
    everything = colour_consistency(colour, covariance, options=colours)
    with np.errstate(invalid="ignore"):
        off = everything.distance > patches.off_sequence_sigma
        redder = off & (colour[..., 1] > everything.centroid[:, None, 1])
    group = colour_consistency(np.where(redder[..., None], colour, np.nan), covariance, options=colours)
    agreeing, most = agreeing_peaks(colour, covariance, redder, intrinsic_mag=colours.intrinsic_mag)
    number = redder.sum(axis=1)
    offset = group.centroid - everything.centroid
    chosen = np.take_along_axis(colour[..., 1], most[:, None], axis=1)[:, 0] - everything.centroid[:, 1]
    columns = (
        everything.n_images, off.sum(axis=1), number, offset[:, 0], offset[:, 1], _median(group.distance),
        np.minimum(group.group_distance, 1e3), group.flagged, agreeing,
        np.where(number > 1, agreeing / np.maximum(number - 1, 1), np.nan), np.where(number > 0, chosen, np.nan),
    )  # fmt: skip
    return pd.DataFrame(
        {name: np.asarray(values, np.float64) for name, values in zip(PEAK_COLOUR_SCHEMA, columns, strict=True)}
    )


def agreeing_peaks(
    colour: NDArray[np.float64], covariance: NDArray[np.float64], chosen: NDArray[np.bool_], *, intrinsic_mag: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(most chosen peaks within two sigma of one chosen peak, that peak's number), both (n,).

    colour (n, m, 2) [mag], covariance (n, m, 2, 2), chosen (n, m). Two peaks differ by their distance in sigma of both
    errors and of twice the intrinsic variance.
    """
    from skytrace.clusters.colour_kernels import count_agreeing

    known = chosen & np.isfinite(colour).all(axis=-1)
    count = np.empty(known.shape, dtype=np.int64)
    count_agreeing(
        np.ascontiguousarray(colour), np.ascontiguousarray(covariance), known, 2.0 * (intrinsic_mag**2 + 1e-12),
        _AGREE_SIGMA, count,
    )  # fmt: skip
    return np.maximum(count.max(axis=1), 0), count.argmax(axis=1)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median (n,) of the finite values of each row, NaN where there are none."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    middle = [np.take_along_axis(ordered, at[:, None], 1)[:, 0] for at in (np.maximum(count - 1, 0) // 2, count // 2)]
    return np.where(count > 0, 0.5 * (middle[0] + middle[1]), np.nan)
