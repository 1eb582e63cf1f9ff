"""What a field of a cluster looks like, patch by patch: a table of features, and a schema that says what each one is.

A cutout is cut into 3 x 3 patches, row by row from (x, y) = (0, 0). A pixel that is not finite carries no data; sky is
subtracted already. Grey levels are spread in asinh of the S/N: pixels below the sky keep their place, where a cast to
unsigned bytes would wrap them. The contrast of a grey-level co-occurrence matrix is the mean of (q_i - q_j)^2 over
pairs of neighbours (Haralick, Shanmugam & Dinstein 1973, f2), so no matrix is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.clusters.options import BANDS, PatchOptions
from skytrace.errors import PixelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "bright_peaks",
    "feature_columns",
    "feature_schema",
    "grey_thresholds",
    "patch_features",
    "patch_features_and_peaks",
]

_COLOURS = ("g_minus_r", "r_minus_i")
#: Feature of a patch (``{}``: the band) -> unit and what it is, in the order of the kernel's columns.
_PATCH = {
    "mean_{}": ("nmgy/pixel", "mean brightness of the patch"),
    "std_{}": ("nmgy/pixel", "standard deviation of the patch's pixels"),
    **dict.fromkeys(_COLOURS, ("mag", "colour of the mean brightness, asinh magnitudes softened at 1.042 errors")),
    **{f"{name}_err": ("mag", "error of that colour from the sky's noise") for name in _COLOURS},
    "glcm_contrast_{}": ("level^2", "mean (q_i - q_j)^2 of neighbours at distance 1, over 0, 45, 90 and 135 degrees"),
    "edge_density": ("1", "share of pixels with a Sobel gradient above the cluster's own threshold, g + r + i stack"),
    "neighbour_contrast_{}": ("sky sigma", "mean brightness minus that of the adjacent patches"),
}
_CLUSTER = {
    "edge_threshold": ("1/pixel", "the cluster's percentile of the Sobel gradient of the S/N stack"),
    "peak_count": ("1", "maxima of the smoothed S/N stack"),
    "peak_colour_coherence": ("1", "mean exp(-d^2/2) over pairs of the brightest peaks' colours; 0.5 for one colour"),
    "off_colour_peaks": ("1", "of the brightest peaks, those that differ in colour from the centre"),
    "off_colour_coherence": ("1", "mean exp(-d^2/2) over pairs of those"),
}
_POSITION = {
    "x_px": ("pixel", "middle of the patch from the middle of the cutout"),
    "y_px": ("pixel", "middle of the patch from the middle of the cutout"),
}
_FLAGS = {
    "missing_fraction": ("1", "share of the cutout's pixels without data, all bands"),
    "empty_patches": ("1", "patches in which a band has no pixel with data"),
    **{f"band_missing_{band}": ("bool", f"{band} has no pixel with data") for band in BANDS},
}
_POOLS = {"mean": "mean", "std": "standard deviation", "max": "maximum"}
_CENTRE = 4


def patch_features(
    images: NDArray[np.float32], noise: ArrayLike, *, options: PatchOptions | None = None
) -> pd.DataFrame:
    """One row a cluster, the columns of ``feature_schema``, float64.

    images: (n, band = g r i, y, x) nanomaggies, sky-subtracted, NaN where a pixel carries no data, the cluster in the
    middle. noise: (n, band) or (band,) standard deviation of the sky a pixel [nanomaggies]. What has no data is NaN,
    and counted in the flag columns, which ``feature_columns`` leaves out.
    Raises PixelError for a wrong shape, a cutout too small, a noise that is not positive, and, with
    ``on_missing = "raise"``, for the first band or patch without any data.
    """
    return patch_features_and_peaks(images, noise, options=options)[0]


def patch_features_and_peaks(
    images: NDArray[np.float32], noise: ArrayLike, *, options: PatchOptions | None = None
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """(``patch_features``, ``bright_peaks``) of one pass over the pixels. Arguments and errors are theirs."""
    options = options or PatchOptions()
    patch, cluster, share, peaks = _measure(images, noise, options)
    flags = _flags(share, options)
    columns = np.concatenate([_wide(patch, options), cluster, *flags], axis=1)
    return pd.DataFrame(columns, columns=feature_schema(options)["name"].to_list()), peaks


def feature_schema(options: PatchOptions | None = None) -> pd.DataFrame:
    """One row a column of ``patch_features``, in its order: name, unit, source and description.

    source: ``patch`` (of one patch, name ending in _p<row><column>), ``pooled`` (of the outer eight), ``cutout``,
    ``position`` or ``flag``.
    """
    options = options or PatchOptions()
    one = [(name, *text) for key, text in _PATCH.items() for name in _expand(key)]
    rows: list[tuple[str, str, str, str]] = []
    if options.pool_outer:
        rows += [(f"{name}_p11", unit, "patch", text) for name, unit, text in one]
        rows += [
            (f"{name}_outer_{pool}", unit, "pooled", f"{word} over the outer eight patches: {text}")
            for pool, word in _POOLS.items()
            for name, unit, text in one
        ]
    else:
        for p in range(9):
            where = f"_p{p // 3}{p % 3}"
            rows += [(name + where, unit, "patch", text) for name, unit, text in one]
            rows += [(name + where, unit, "position", text) for name, (unit, text) in _POSITION.items()]
    rows += [(name, unit, "cutout", text) for name, (unit, text) in _CLUSTER.items()]
    rows += [(name, unit, "flag", text) for name, (unit, text) in _FLAGS.items()]
    return pd.DataFrame(rows, columns=["name", "unit", "source", "description"])


def feature_columns(options: PatchOptions | None = None) -> list[str]:
    """The columns that a model may learn from: all but positions, which are the same for all, and flags."""
    schema = feature_schema(options)
    return schema["name"][~schema["source"].isin(["position", "flag"])].to_list()


def bright_peaks(
    images: NDArray[np.float32], noise: ArrayLike, *, options: PatchOptions | None = None
) -> NDArray[np.float64]:
    """(n, max_peaks, 3): row, column and S/N of the brightest peaks of the g + r + i stack, brightest first; NaN after
    the last. Arguments and errors as ``patch_features``.
    """
    return _measure(images, noise, options or PatchOptions())[3]


def grey_thresholds(options: PatchOptions) -> NDArray[np.float32]:
    """(levels - 1,) S/N of a pixel at which the next grey level begins."""
    soft = options.softening_sigma
    low, high = np.arcsinh(options.darkest_sigma / soft), np.arcsinh(options.brightest_sigma / soft)
    return (soft * np.sinh(np.linspace(low, high, options.glcm_levels + 1)[1:-1])).astype(np.float32)


def _measure(images: NDArray[np.float32], noise: ArrayLike, options: PatchOptions) -> tuple[NDArray[np.float64], ...]:
    from skytrace.clusters.patch_kernels import CLUSTER_COLUMNS, N_PATCH_COLUMNS, measure_clusters

    images, sigma = _checked(images, noise, options)
    n = len(images)
    out = (
        np.empty((n, 9, N_PATCH_COLUMNS)),
        np.empty((n, CLUSTER_COLUMNS)),
        np.empty((n, 9, len(BANDS))),
        np.empty((n, options.max_peaks, 3)),
    )
    thresholds = grey_thresholds(options)
    thresholds = np.pad(thresholds, (0, -len(thresholds) % 8), constant_values=np.inf)
    measure_clusters(
        images, sigma, thresholds, np.array(options.edges), options.edge_percentile / 100.0,
        options.peak_sigma, (options.colour_floor_mag, options.off_sequence_sigma), out,
    )  # fmt: skip
    if options.on_missing == "raise":
        _refuse_missing(out[2])
    return out


def _checked(
    images: NDArray[np.float32], noise: ArrayLike, options: PatchOptions
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] != len(BANDS):
        raise PixelError(
            f"images of shape {images.shape} are not (n, band, y, x) with the {len(BANDS)} bands {', '.join(BANDS)}"
        )
    side = options.pixels
    if images.shape[2:] != (side, side):
        small = "too small" if min(images.shape[2:]) < side else "too large"
        raise PixelError(
            f"cutouts of {images.shape[2]} x {images.shape[3]} px are {small}: pixels = {side} in each direction"
        )
    try:
        sigma = np.broadcast_to(np.asarray(noise, dtype=np.float64), images.shape[:2])
    except ValueError:
        raise PixelError(
            f"noise of shape {np.shape(noise)} is neither (band,) nor (n, band) of images {images.shape}"
        ) from None
    bad = ~(np.isfinite(sigma) & (sigma > 0))
    for i, b in np.argwhere(bad):
        if np.isfinite(images[i, b]).any():  # a band without data needs no noise
            raise PixelError(
                f"noise[{i}, {BANDS[b]}] = {sigma[i, b]!r} is outside its allowed range (0, inf) nanomaggies"
            )
    return np.ascontiguousarray(images, dtype=np.float32), np.where(bad, 1.0, sigma)


def _refuse_missing(share: NDArray[np.float64]) -> None:
    empty = share == 0
    if not empty.any():
        return
    i, p, b = np.argwhere(empty)[0]
    if empty[i, :, b].all():
        raise PixelError(f"images[{i}] has no pixel with data in band {BANDS[b]}: 0 of the range (0, 1] needed")
    others = int(empty.any(axis=2).sum())
    raise PixelError(
        f"images[{i}] has no pixel with data in patch p{p // 3}{p % 3} of band {BANDS[b]} ({others} such patches); "
        "on_missing = 'flag' keeps them as NaN"
    )


def _expand(key: str) -> list[str]:
    return [key.format(band) for band in BANDS] if "{}" in key else [key]


def _wide(patch: NDArray[np.float64], options: PatchOptions) -> NDArray[np.float64]:
    """(n, columns) from (n, 9, k): all patches with their positions, or the middle and the outer eight pooled."""
    n = len(patch)
    if not options.pool_outer:
        edges = np.array(options.edges)
        middle = 0.5 * (edges[1:] + edges[:-1] - 1) - options.pixels // 2
        position = np.stack([np.tile(middle, 3), np.repeat(middle, 3)], axis=1)
        return np.concatenate([patch, np.broadcast_to(position, (n, 9, 2))], axis=2).reshape(n, -1)
    outer = np.delete(patch, _CENTRE, axis=1)
    known = np.isfinite(outer)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, outer, 0.0).sum(axis=1) / count
        spread = np.sqrt(np.where(known, (outer - mean[:, None]) ** 2, 0.0).sum(axis=1) / count)
    largest = np.where(count > 0, np.where(known, outer, -np.inf).max(axis=1), np.nan)
    return np.concatenate([patch[:, _CENTRE], mean, spread, largest], axis=1)


def _flags(share: NDArray[np.float64], options: PatchOptions) -> list[NDArray[np.float64]]:
    widths = np.diff(options.edges)
    area = np.outer(widths, widths).ravel() / options.pixels**2
    missing = 1.0 - np.einsum("npb,p->n", share, area) / len(BANDS)
    empty = (share == 0).any(axis=2).sum(axis=1)
    return [missing[:, None], empty[:, None].astype(float), (share == 0).all(axis=1).astype(float)]
