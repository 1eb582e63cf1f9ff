"""Are the anchors fainter because of the sky, or because of us? Two tests, and one verdict from both (stage 11).

*Processing*: the same positions through two extraction routes (cutout service, brick coadd) must give the same pixels.
*Population*: anchors and training galaxies through one route, compared by their light within r < 8 px. The verdict
comes from bootstrap intervals against bounds stated beforehand (``ParityOptions``): a measure is *inside* its bounds
when its whole interval is, *outside* when none of it is, and *undecided* otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, PixelError, check_between, check_whole
from skytrace.imaging.apertures import aperture_photometry, elliptical_radius
from skytrace.imaging.photometry import mag_ab
from skytrace.imaging.preprocessing import CORE_RADIUS_PX, PreprocessOptions, annulus_statistics
from skytrace.statistics import bootstrap_interval, ks_statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ROUTE_MEASURES",
    "ParityOptions",
    "central_fluxes",
    "central_magnitudes",
    "compare_routes",
    "parity_verdict",
    "population_test",
    "route_test",
]

_BANDS = ("g", "r", "z")
ROUTE_MEASURES = ("mean_ratio", "correlation", "central_ratio", "shift_x_px", "shift_y_px")
_CHUNK = 64


@dataclass(frozen=True)
class ParityOptions:
    """The bounds, stated before anything is measured. ratio_tolerance: of mean and central ratios about 1.
    correlation_min: of the pixels. shift_max_px: along either axis. population_tolerance_mag: difference of the median
    central magnitudes. core_px: radius of the central aperture. background_px: annulus of the background (smaller for
    small stamps). min_signal: S/N of the central aperture below which an object is not compared. level: of the
    intervals that decide. n_resamples, seed: of the bootstrap.
    """

    ratio_tolerance: float = 0.05
    correlation_min: float = 0.98
    shift_max_px: float = 0.1
    population_tolerance_mag: float = 0.2
    core_px: float = CORE_RADIUS_PX
    background_px: tuple[float, float] = (36.0, 50.0)
    min_signal: float = 10.0
    level: float = 0.9545
    n_resamples: int = 1000
    seed: int = 20260101

    def __post_init__(self) -> None:
        check_between("ratio_tolerance", self.ratio_tolerance, 0.0, 1.0, include_low=False, include_high=False)
        check_between("correlation_min", self.correlation_min, 0.0, 1.0, include_high=False)
        check_between("shift_max_px", self.shift_max_px, 0.0, 10.0, include_low=False)
        check_between("population_tolerance_mag", self.population_tolerance_mag, 0.0, 5.0, include_low=False)
        check_between("core_px", self.core_px, 2.0, 100.0)
        object.__setattr__(self, "background_px", tuple(float(radius) for radius in self.background_px))
        PreprocessOptions(annulus_px=self.background_px)
        check_between("min_signal", self.min_signal, 0.0, 1e6)
        check_between("level", self.level, 0.5, 1.0, include_high=False)
        check_whole("n_resamples", self.n_resamples, 100, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)

    def bounds(self, measure: str) -> tuple[float, float]:
        """Lowest and highest value of a measure that two equal routes, or two equal populations, may have."""
        if measure.endswith("ratio"):
            return 1.0 - self.ratio_tolerance, 1.0 + self.ratio_tolerance
        if measure == "correlation":
            return self.correlation_min, 1.0
        half = self.shift_max_px if measure.startswith("shift") else self.population_tolerance_mag
        return -half, half


def compare_routes(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    *,
    first_invvar: NDArray[np.floating] | None = None,
    second_invvar: NDArray[np.floating] | None = None,
    options: ParityOptions | None = None,
) -> pd.DataFrame:
    """One row an (object, band): object (row of the batch), band, ROUTE_MEASURES (second against first), compared.

    first, second: (n, 3, y, x) nanomaggies of the same positions, bands g, r, z; only pixels with data in both count.
    mean_ratio: of the mean pixel, background and all. correlation: Pearson's, of all pixels. central_ratio: of the
    background-subtracted sums within core_px. shift_x_px, shift_y_px: how far the second lies from the first, by least
    squares on its core with gain and offset free (Lucas & Kanade 1981; half a pixel is good to 4 % at FWHM 1.3", to
    12 % at 0.8"). compared: central S/N of both above min_signal. NaN where not measurable.
    """
    options = options or ParityOptions()
    first, second = _checked(first, "first"), _checked(second, "second")
    if first.shape != second.shape:
        raise PixelError(
            f"the two routes have shapes {first.shape} and {second.shape}; give the same positions to both"
        )
    good = np.isfinite(first) & np.isfinite(second)
    for invvar in (first_invvar, second_invvar):
        if invvar is not None:
            good &= np.asarray(invvar) > 0
    weight = good.astype(np.float32)
    sums, signal = [], []
    for image in (first, second):
        flux, error = central_fluxes(image, weight, options=options)
        sums.append(flux)
        signal.append(flux / error)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "mean_ratio": _positive_ratio(np.where(good, second, 0.0), np.where(good, first, 0.0)),
            "correlation": _correlation(first, second, good),
            "central_ratio": np.where((sums[0] > 0) & (sums[1] > 0), sums[1] / sums[0], np.nan),
        }
        compared = (signal[0] >= options.min_signal) & (signal[1] >= options.min_signal)
    columns["shift_x_px"], columns["shift_y_px"] = _shift(first, second, good, options.core_px)
    n = len(first)
    table = pd.DataFrame({"object": np.repeat(np.arange(n), len(_BANDS)), "band": np.tile(_BANDS, n)})
    return table.assign(**{name: values.ravel() for name, values in columns.items()}, compared=compared.ravel())


def route_test(measures: pd.DataFrame, *, options: ParityOptions | None = None) -> dict[str, Any]:
    """Do the routes agree? {"state", "n_objects", "measures": {band: {measure: value, interval, bounds, state}}}.

    measures: of ``compare_routes``. A value is the median over the objects compared. The state is "outside" where any
    measure of any band is, "inside" where all are, else "undecided". Raises CatalogueError where nothing is comparable.
    """
    options = options or ParityOptions()
    used = measures[measures["compared"].to_numpy(dtype=bool)]
    if used.empty:
        raise CatalogueError(
            f"no object has a central S/N of {options.min_signal:g} in both routes; lower min_signal, or check that "
            "both read the same positions"
        )
    bands: dict[str, dict[str, Any]] = {}
    for band, rows in used.groupby("band", sort=True):
        bands[str(band)] = {
            name: _judged(rows[name].to_numpy(dtype=float), None, options, name) for name in ROUTE_MEASURES
        }
    states = [entry["state"] for band in bands.values() for entry in band.values()]
    return {"state": _joint(states), "n_objects": int(used["object"].nunique()), "measures": bands}


def central_magnitudes(
    images: NDArray[np.floating],
    invvar: NDArray[np.floating] | None = None,
    *,
    options: ParityOptions | None = None,
) -> NDArray[np.float64]:
    """AB magnitude (n, band) of the background-subtracted light within core_px; NaN where it is not positive."""
    return mag_ab(central_fluxes(images, invvar, options=options)[0])


def central_fluxes(
    images: NDArray[np.floating],
    invvar: NDArray[np.floating] | None = None,
    *,
    options: ParityOptions | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Background-subtracted sum within core_px and its sky noise [nanomaggies], (n, band); NaN with gaps in the core or
    without a background. Background: median and 1.4826 MAD of the outer annulus, as in preprocessing.
    """
    options = options or ParityOptions()
    images = _checked(images, "images")
    weight = None if invvar is None else np.asarray(invvar, dtype=np.float32)
    preprocess_options = PreprocessOptions(annulus_px=options.background_px)
    median, scale = annulus_statistics(images, weight, options=preprocess_options)
    disc = aperture_photometry(images, weight, radius_px=options.core_px)
    measurable = (disc.coverage > 1.0 - 1e-6) & (scale > 0)
    with np.errstate(invalid="ignore"):
        flux = np.where(measurable, disc.flux_nmgy - median * disc.area_px, np.nan)
    return flux, np.where(measurable, scale * np.sqrt(np.maximum(disc.area_px, 1.0)), np.nan)


def population_test(
    anchors: NDArray[np.floating], training: NDArray[np.floating], *, options: ParityOptions | None = None
) -> dict[str, Any]:
    """Are anchors as bright in their core as what was trained on? {"state", "n_anchors", "n_training", "measures"}.

    anchors, training: ``central_magnitudes`` (n, 3) of both *through one route*, or the test would see the routes too.
    Per band: the difference of the medians (anchors - training; negative: anchors brighter) with its interval, bounds
    and state, and the KS distance and p-value of the whole distributions (reported, not judged: with many galaxies any
    difference is significant). Raises CatalogueError where a side has fewer than two usable objects in a band.
    """
    options = options or ParityOptions()
    result: dict[str, Any] = {"n_anchors": len(anchors), "n_training": len(training), "measures": {}}
    for place, band in enumerate(_BANDS):
        sides = [np.asarray(side, dtype=float)[:, place] for side in (anchors, training)]
        sides = [side[np.isfinite(side)] for side in sides]
        if min(map(len, sides)) < 2:
            raise CatalogueError(f"band {band} has {len(sides[0])} anchors and {len(sides[1])} training galaxies")
        label = np.repeat([0, 1], [len(side) for side in sides])
        judged = _judged(np.concatenate(sides), label, options, "median_difference_mag")
        distance, p_value = ks_statistic(*sides)
        result["measures"][band] = {**judged, "ks": distance, "ks_p_value": p_value}
    result["state"] = _joint([entry["state"] for entry in result["measures"].values()])
    return result


def parity_verdict(processing: dict[str, Any], population: dict[str, Any]) -> dict[str, Any]:
    """The verdict of both tests: "population shift", "processing artifact", "both", "neither" or "undecided".

    Only what is established counts: a test whose measures are undecided adds to no verdict and is named in
    ``undecided``; "neither" needs both tests inside their bounds.
    """
    states = {"processing": processing["state"], "population": population["state"]}
    undecided = [name for name, state in states.items() if state == "undecided"]
    established = (states["processing"] == "outside", states["population"] == "outside")
    verdict = {
        (True, True): "both",
        (True, False): "processing artifact",
        (False, True): "population shift",
        (False, False): "undecided" if undecided else "neither",
    }[established]
    outside = {name: sorted(_outside(test)) for name, test in (("processing", processing), ("population", population))}
    return {"verdict": verdict, **states, "undecided": undecided, "outside": outside}


def _outside(test: dict[str, Any]) -> list[str]:
    """Names (band or band.measure) of what lies outside its bounds."""
    names = []
    for band, entry in test["measures"].items():
        inner = {band: entry} if "state" in entry else {f"{band}.{name}": one for name, one in entry.items()}
        names += [name for name, one in inner.items() if one["state"] == "outside"]
    return names


def _judged(
    values: NDArray[np.float64], label: NDArray[np.int64] | None, options: ParityOptions, measure: str
) -> dict[str, Any]:
    """Median of the finite values, or of label 0 minus that of label 1, with its interval and state."""
    finite = np.isfinite(values)
    bounds = options.bounds(measure)
    if not finite.any():
        return {"value": None, "interval": None, "bounds": list(bounds), "state": "undecided", "n": 0}

    def median(rows: NDArray) -> NDArray:
        return np.median(rows, axis=1)

    def difference(rows: NDArray) -> NDArray:
        second = np.asarray(label) == 1
        return np.median(rows[:, ~second], axis=1) - np.median(rows[:, second], axis=1)

    found = bootstrap_interval(
        median if label is None else difference,
        values[finite],
        levels=(options.level,),
        n_resamples=options.n_resamples,
        seed=options.seed,
        strata=None if label is None else label,
        vectorised=True,
    )
    low, high = found.intervals[options.level]
    # a value at the top of its range, a correlation of 1, may round beyond it
    inside = bounds[0] <= low and high <= bounds[1] + 1e-9
    outside = high < bounds[0] or low > bounds[1] + 1e-9
    state = "inside" if inside else "outside" if outside else "undecided"
    return {
        "value": found.value,
        "interval": [low, high],
        "bounds": list(bounds),
        "state": state,
        "n": int(finite.sum()),
    }


def _joint(states: list[str]) -> str:
    if "outside" in states:
        return "outside"
    return "undecided" if "undecided" in states else "inside"


def _checked(images: NDArray[np.floating], key: str) -> NDArray[np.float32]:
    images = np.asarray(images, dtype=np.float32)
    if images.ndim != 4 or images.shape[1] != len(_BANDS) or images.shape[-1] != images.shape[-2]:
        raise PixelError(f"{key} must be (n, {len(_BANDS)}, y, x) with bands g, r, z; got shape {images.shape}")
    return images


def _positive_ratio(second: NDArray[np.floating], first: NDArray[np.floating]) -> NDArray[np.float64]:
    top, bottom = second.sum(axis=(2, 3), dtype=np.float64), first.sum(axis=(2, 3), dtype=np.float64)
    return np.where((top > 0) & (bottom > 0), top / bottom, np.nan)


def _correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], good: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Pearson's correlation of the pixels with data, (n, band)."""
    result = np.empty(first.shape[:2])
    for start in range(0, len(first), _CHUNK):
        rows = slice(start, start + _CHUNK)
        count = good[rows].sum(axis=(2, 3))
        centred = []
        for image in (first[rows], second[rows]):
            kept = np.where(good[rows], image, 0.0).astype(np.float64)
            mean = kept.sum(axis=(2, 3)) / count
            centred.append(np.where(good[rows], kept - mean[..., None, None], 0.0))
        a, b = centred
        result[rows] = (a * b).sum(axis=(2, 3)) / np.sqrt((a * a).sum(axis=(2, 3)) * (b * b).sum(axis=(2, 3)))
    return np.clip(result, -1.0, 1.0)


def _shift(
    first: NDArray[np.float32], second: NDArray[np.float32], good: NDArray[np.bool_], core_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offset (x, y) [px] of the second image from the first in the core, (n, band) each; NaN with gaps in the core."""
    size = first.shape[-1]
    inside = elliptical_radius(size) < core_px
    box = slice(size // 2 - int(core_px) - 1, size // 2 + int(core_px) + 2)
    inside = inside[box, box]
    a, b = (image[:, :, box, box].astype(np.float64) for image in (first, second))
    whole = np.asarray(good[:, :, box, box].all(axis=(2, 3)))
    a, b = np.where(whole[..., None, None], a, 0.0), np.where(whole[..., None, None], b, 0.0)
    # the mean of both lies halfway: errors of second order in the shift cancel
    slope_y, slope_x = np.gradient(0.5 * (a + b), axis=(2, 3))
    columns = [np.asarray(image)[:, :, inside] for image in (a, slope_x, slope_y, np.ones_like(a))]
    design = np.stack(columns, axis=-1)
    normal = np.einsum("nbpi,nbpj->nbij", design, design)
    target = np.einsum("nbpi,nbp->nbi", design, b[:, :, inside])
    solvable = whole & np.asarray(np.linalg.cond(normal) < 1e12, dtype=bool)
    normal = np.where(solvable[..., None, None], normal, np.eye(4))
    solution = np.asarray(np.linalg.solve(normal, target[..., None]))
    gain, along_x, along_y, _ = np.moveaxis(solution[..., 0], -1, 0)
    # second = gain first(x - shift), and the slopes are those of (first + second) / 2, (1 + gain) / 2 times the first's
    usable = solvable & (gain > 0)
    scale = np.asarray(np.where(usable, 0.5 * (1.0 + gain) / np.where(usable, gain, 1.0), np.nan))
    return -along_x * scale, -along_y * scale
