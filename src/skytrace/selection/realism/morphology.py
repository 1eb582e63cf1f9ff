"""Gate 4: are the arcs as bright per area, as far out and as lopsided as real ones?

Real lenses and composites go through ``arc_morphology`` alike: the host model of ``measure_arcs`` is subtracted, then
the r band is measured in sectors of the arc annulus and by the brightness-weighted moments of its positive pixels.
Squares of the brightness are the weights, so that noise pixels count little; what bias remains is the same on both
sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, PixelError
from skytrace.imaging.apertures import subtract_azimuthal_profile
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC
from skytrace.selection.arcs import ArcOptions, arc_annulus
from skytrace.selection.realism.gates import GateResult
from skytrace.selection.realism.matching import MatchedSets, match_injections, match_points, matching_steps
from skytrace.selection.realism.options import MorphologyOptions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.options import GateOptions

__all__ = ["GATE_4_COLUMNS", "arc_morphology", "gate_morphology"]

GATE_4_COLUMNS = ("arc_surface_brightness", "arc_radius_ratio", "arc_asymmetry")
_NAME = "4 arc morphology"
_R = 1  # of bands g, r, z
_CHUNK = 256
_ZERO_POINT = 22.5  # AB magnitude of one nanomaggy


def arc_morphology(
    image: NDArray[np.floating],
    invvar: NDArray[np.floating],
    *,
    theta_e_arcsec: ArrayLike,
    fwhm_arcsec: ArrayLike,
    q: ArrayLike = 1.0,
    phi_rad: ArrayLike = 0.0,
    arcs: ArcOptions | None = None,
    options: MorphologyOptions | None = None,
) -> pd.DataFrame:
    """Shape of the arc light in r, one row a stamp; arguments as of ``measure_arcs``.

    arc_surface_brightness [AB mag arcsec^-2]: mean over the sectors of the annulus |r - theta_E| <= FWHM, weighted by
    their absolute flux. arc_asymmetry: |sum S_k exp(i phi_k)| / sum |S_k| of the sector fluxes, 0 for a ring or an even
    pair, 1 for light on one side. arc_two_fold: the same with 2 phi_k. arc_extent: (sum |S_k|)^2 / (K sum S_k^2), the
    share of the circle that is lit. In the wider annulus of half_width_fwhm, weighted by the square of the brightness:
    arc_radius_ratio, the mean radius over theta_E; arc_width, the scatter of radii over the FWHM; arc_spread, the lit
    area (sum I^2)^2 / sum I^4 over FWHM^2. arc_ring_0 ...: share of the absolute flux in equal rings from inside to
    outside, with sign. NaN below ``min_coverage`` in r, and where nothing is lit.
    """
    arcs, options = arcs or ArcOptions(), options or MorphologyOptions()
    image, invvar = np.asarray(image), np.asarray(invvar)
    if image.ndim != 4 or image.shape != invvar.shape or image.shape[1] <= _R:
        raise PixelError(f"image {image.shape} and invvar {invvar.shape} must be one (n, 3, y, x) with bands g, r, z")
    n = len(image)
    theta, fwhm, q, phi = (
        np.broadcast_to(np.asarray(value, dtype=np.float64), (n,))
        for value in (theta_e_arcsec, fwhm_arcsec, q, phi_rad)
    )
    parts = []
    for start in range(0, max(n, 1), _CHUNK):
        rows = slice(start, start + _CHUNK)
        band, weight = image[rows, _R : _R + 1], invvar[rows, _R : _R + 1]
        leave_out = arc_annulus(image.shape[-1], theta[rows], fwhm[rows]) if arcs.leave_out_arc else None
        light = subtract_azimuthal_profile(
            band, weight, q=q[rows], phi_rad=phi[rows], bin_px=arcs.bin_px, leave_out=leave_out
        )[:, 0]
        good = (weight[:, 0] > 0) & np.isfinite(light)
        columns, coverage = _sector_shape(light, good, theta[rows], fwhm[rows], options)
        columns |= _radial_shape(light, good, theta[rows], fwhm[rows], options)
        table = pd.DataFrame(columns)
        parts.append(table.where(pd.Series(coverage >= arcs.min_coverage), np.nan))
    return pd.concat(parts, ignore_index=True)


def _sector_shape(
    light: NDArray[np.floating], good: NDArray[np.bool_], theta: NDArray, fwhm: NDArray, options: MorphologyOptions
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Columns that follow from the fluxes of equal sectors of the annulus, and its share of pixels with data."""
    size, k = light.shape[-1], options.sectors
    inside = arc_annulus(size, theta, fwhm)
    used = inside & good
    y, x = np.indices((size, size)) - size // 2
    sector = np.minimum(((np.arctan2(y, x) / (2.0 * np.pi)) % 1.0 * k).astype(np.int64), k - 1)
    member = (sector.ravel()[:, None] == np.arange(k)).astype(np.float64)
    flux = np.where(used, light, 0.0).reshape(-1, size * size) @ member
    area = used.reshape(-1, size * size).astype(np.float64) @ member
    angle = 2.0 * np.pi * (np.arange(k) + 0.5) / k
    total, square = np.abs(flux).sum(axis=1), (flux**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(area > 0, np.abs(flux) / area, 0.0) / PIXEL_SCALE_ARCSEC**2
        brightness = (np.abs(flux) * mean).sum(axis=1) / total
        columns = {
            "arc_surface_brightness": _ZERO_POINT - 2.5 * np.log10(brightness),
            "arc_asymmetry": np.abs(flux @ np.exp(1j * angle)) / total,
            "arc_two_fold": np.abs(flux @ np.exp(2j * angle)) / total,
            "arc_extent": total**2 / (k * square),
        }
    whole = inside.sum(axis=(1, 2))
    return columns, np.where(whole > 0, used.sum(axis=(1, 2)) / np.maximum(whole, 1), 0.0)


def _radial_shape(
    light: NDArray[np.floating], good: NDArray[np.bool_], theta: NDArray, fwhm: NDArray, options: MorphologyOptions
) -> dict[str, NDArray[np.float64]]:
    """Columns that follow from radii: moments of the positive pixels, and the profile across the arc."""
    size = light.shape[-1]
    y, x = np.indices((size, size)) - size // 2
    radius = np.hypot(x, y) * PIXEL_SCALE_ARCSEC
    half = options.half_width_fwhm * fwhm
    inside = arc_annulus(size, theta, half) & good
    square = np.where(inside & (light > 0), light, 0.0).astype(np.float64) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = square.sum(axis=(1, 2))
        mean = np.einsum("nyx,yx->n", square, radius) / weight
        scatter = np.einsum("nyx,yx->n", square, radius**2) / weight - mean**2
        lit = weight**2 / (square**2).sum(axis=(1, 2)) * PIXEL_SCALE_ARCSEC**2
        columns = {
            "arc_radius_ratio": mean / theta,
            "arc_width": np.sqrt(np.maximum(scatter, 0.0)) / fwhm,
            "arc_spread": lit / fwhm**2,
        }
        place = (radius - theta[:, None, None]) / half[:, None, None]  # -1 to 1 across the annulus
        ring = np.floor(0.5 * (place + 1.0) * options.rings)
        values = np.where(inside, light, 0.0)
        flux = [np.where(ring == k, values, 0.0).sum(axis=(1, 2), dtype=np.float64) for k in range(options.rings)]
        total = np.abs(flux).sum(axis=0)
        columns |= {f"arc_ring_{k}": flux[k] / total for k in range(options.rings)}
    return columns


def gate_morphology(
    sample: ComparisonSample, *, gates: GateOptions, options: MorphologyOptions | None = None
) -> GateResult:
    """Gate 4: permutation p of the energy distance of GATE_4_COLUMNS together, anchors against matched injections.

    Reported, not judged. sample: ``comparison_sample`` of tables that carry the columns of ``arc_morphology``. Each
    column is divided by half its 68 % range over the injections, so that the distance weighs them alike. Matching makes
    the two samples more alike than independent ones, and p larger: ``small_p_if_equal`` is how often mock anchors drawn
    from the injections have p <= p_stated.
    Raises CatalogueError where columns are missing.
    """
    from skytrace.statistics import energy_distance_permutation

    options = options or MorphologyOptions()
    bound = {"p_stated": options.p_stated, "n_permutations": options.n_permutations, "columns": list(GATE_4_COLUMNS)}
    real, fake = (_points(table) for table in (sample.anchors, sample.injections))
    matched = match_injections(sample, per_anchor=options.per_anchor, options=gates)
    a, b, unit = _standardised(real, fake, matched)
    sizes = (len(a), len(b))
    statistics: dict[str, Any] = {"anchors_without_match": matched.n_unmatched}
    if sizes[0] < gates.min_anchors or sizes[1] < gates.min_injections:
        sentence = f"{sizes[0]} anchors and {sizes[1]} matched injections have a measured shape; {gates.min_anchors} "
        sentence += f"and {gates.min_injections} are needed."
        return GateResult(_NAME, "insufficient", statistics, bound, *sizes, sentence)
    rule = {"n_permutations": options.n_permutations, "seed": options.seed}
    joint = energy_distance_permutation(a, b, **rule)
    statistics |= {"energy_distance": joint.distance, "p": joint.p_value, "columns": {}}
    for k, name in enumerate(GATE_4_COLUMNS):
        one = energy_distance_permutation(a[:, k], b[:, k], **rule)
        medians = [float(np.median(values[:, k]) * unit[k]) for values in (a, b)]
        statistics["columns"][name] = {
            "energy_distance": one.distance, "p": one.p_value, "median_anchors": medians[0],
            "median_injections": medians[1], "difference_in_scatters": (medians[1] - medians[0]) / float(unit[k]),
        }  # fmt: skip
    statistics["small_p_if_equal"] = _small_p_rate(sample, fake, len(a), gates, options)
    farthest = max(statistics["columns"], key=lambda name: statistics["columns"][name]["energy_distance"])
    statistics["farthest"] = farthest
    sentence = (
        f"Arc surface brightness, radius and asymmetry together: energy distance {joint.distance:.3f} with permutation "
        f"p = {joint.p_value:.3f} of {options.n_permutations} (reported, not judged); farthest apart is {farthest} by "
        f"{statistics['columns'][farthest]['difference_in_scatters']:+.2f} scatters of the injections."
    )
    return GateResult(_NAME, "reported", statistics, bound, *sizes, sentence)


def _points(table: pd.DataFrame) -> NDArray[np.float64]:
    missing = [name for name in GATE_4_COLUMNS if name not in table.columns]
    if missing:
        raise CatalogueError(f"the compared tables lack the columns {', '.join(missing)} of arc_morphology")
    return table[list(GATE_4_COLUMNS)].to_numpy(dtype=np.float64)


def _standardised(
    real: NDArray[np.float64], fake: NDArray[np.float64], matched: MatchedSets
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Matched anchors and injections with finite values, in units of the injections' scatter; and these units."""
    a, b = real[matched.anchors], fake[matched.injections(len(real))]
    a, b = a[np.isfinite(a).all(axis=1)], b[np.isfinite(b).all(axis=1)]
    if len(b) < 2:
        return a, b, np.ones(real.shape[1])
    low, high = np.percentile(b, [15.865, 84.135], axis=0)
    unit = np.where(high > low, 0.5 * (high - low), 1.0)
    return a / unit, b / unit, unit


def _small_p_rate(
    sample: ComparisonSample, fake: NDArray[np.float64], n: int, gates: GateOptions, options: MorphologyOptions
) -> float | None:
    """Share of mock sets of ``n`` anchors, drawn from the weighted injections, with p <= p_stated against the rest."""
    from skytrace.statistics import energy_distance_permutation

    steps = matching_steps(sample.injections, sample.axes, options=gates)
    weight = sample.injections["weight"].to_numpy(dtype=np.float64)
    rng = np.random.default_rng(options.seed + 1)
    small = []
    for _ in range(options.n_simulations if 2 * n <= len(fake) else 0):
        mock = rng.choice(len(fake), size=n, replace=False, p=weight / weight.sum())
        rest = np.setdiff1d(np.arange(len(fake)), mock)
        matched = match_points(
            steps[mock], steps[rest], per_anchor=options.per_anchor, max_distance=gates.max_distance_steps
        )
        a, b, _ = _standardised(fake[mock], fake[rest], matched)
        if len(a) > 1 and len(b) > 1:
            test = energy_distance_permutation(a, b, n_permutations=199, seed=options.seed)
            small.append(test.p_value <= options.p_stated)
    return float(np.mean(small)) if small else None
