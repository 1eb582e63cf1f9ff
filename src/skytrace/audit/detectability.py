"""Could anybody see the arc at all? A gate without learning, and what it makes of a detector's recall (stage 12).

The host is modelled as constant on ellipses and subtracted; what is left in the annulus where arcs lie is measured in
units of the background noise: how much of it there is (energy), and whether g, r and z agree on where (coherence).
The score is their covariance, which noise and one-band artefacts do not raise. A threshold is set on random galaxies at
a stated false-alarm rate; nothing here knows theta_E. Spiral arms and neighbours are coherent light, too: the gate says
that *something* is there to be seen, not that it is a lens.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, PixelError, check_between, check_whole
from skytrace.imaging.apertures import elliptical_radius, subtract_azimuthal_profile
from skytrace.imaging.photometry import mag_depth
from skytrace.imaging.preprocessing import MAD_TO_SIGMA, PreprocessOptions, annulus_statistics, sorted_median
from skytrace.learning.metrics import roc_auc
from skytrace.learning.resampling import drawn_by
from skytrace.statistics import LEVELS, beta_interval, bootstrap_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DetectabilityOptions",
    "anchor_completeness",
    "arc_evidence",
    "calibrate_gate",
    "measurable",
    "observable",
    "recall_factors",
]

_BANDS = ("g", "r", "z")
_PAIRS = tuple(combinations(range(len(_BANDS)), 2))
_CHUNK = 64
_MARGIN_PX = 8
_AXES = {"psfsize_r": "psf_edges_arcsec", "depth_r_mag": "depth_edges_mag", "theta_e_arcsec": "theta_e_edges_arcsec"}


@dataclass(frozen=True)
class DetectabilityOptions:
    """inner_px, outer_px: annulus in which arcs lie (4-16 px: 1.0-4.2"). bin_px: width of the host model's rings.
    clip: residuals in it are clipped to +- this many sigma, so that a bright neighbour does not outweigh an arc.
    host_error: error of the host model as a share of its light, added to the noise in quadrature: real galaxies are
    not constant on ellipses, bright ones visibly so.
    min_coverage: share of the annulus with data in every band. median_range_max: largest difference of the background
    medians of the four quadrants [sigma per pixel]; sigma_ratio_max: of their noises; beyond either the background is
    not stable and nothing is called observable. false_alarm_rate: share of random galaxies that may pass.
    n_resamples, seed: of the bootstrap of the AUC. *_edges: bins of the completeness table.
    """

    inner_px: float = 4.0
    outer_px: float = 16.0
    bin_px: float = 1.0
    clip: float = 3.0
    host_error: float = 0.1
    min_coverage: float = 0.9
    median_range_max: float = 0.5
    sigma_ratio_max: float = 1.5
    false_alarm_rate: float = 0.10
    n_resamples: int = 1000
    seed: int = 20260101
    psf_edges_arcsec: tuple[float, ...] = (0.0, 1.1, 1.3, 1.5, 5.0)
    depth_edges_mag: tuple[float, ...] = (0.0, 23.5, 24.0, 24.5, 30.0)
    theta_e_edges_arcsec: tuple[float, ...] = (0.0, 1.0, 1.5, 2.0, 60.0)

    def __post_init__(self) -> None:
        check_between("inner_px", self.inner_px, 0.0, 100.0)
        check_between("outer_px", self.outer_px, self.inner_px + 1.0, 500.0)
        check_between("bin_px", self.bin_px, 0.5, 10.0)
        check_between("clip", self.clip, 1.0, np.inf)
        check_between("host_error", self.host_error, 0.0, 10.0)
        check_between("min_coverage", self.min_coverage, 0.0, 1.0, include_low=False)
        check_between("median_range_max", self.median_range_max, 0.0, np.inf, include_low=False)
        check_between("sigma_ratio_max", self.sigma_ratio_max, 1.0, np.inf, include_low=False)
        check_between("false_alarm_rate", self.false_alarm_rate, 0.0, 1.0, include_low=False, include_high=False)
        check_whole("n_resamples", self.n_resamples, 100, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        for key in _AXES.values():
            edges = tuple(float(edge) for edge in getattr(self, key))
            if len(edges) < 2 or not (np.diff(edges) > 0).all():
                raise OptionError(f"{key} = {edges} must be increasing bin edges")
            object.__setattr__(self, key, edges)


def arc_evidence(
    images: NDArray[np.floating],
    invvar: NDArray[np.floating] | None = None,
    *,
    q: ArrayLike = 1.0,
    phi_rad: ArrayLike = 0.0,
    options: DetectabilityOptions | None = None,
    preprocess_options: PreprocessOptions | None = None,
) -> pd.DataFrame:
    """What is left in the arc annulus after the host model, one row a stamp; no learning, no theta_E.

    images: (n, 3, y, x) nanomaggies, bands g, r, z; invvar as images. q, phi_rad: shape of the host's light in the
    catalogue, numbers or (n,) (``lensing.host_light_shape``). With z the clipped residual over the noise of sky and
    host model, and <> the annulus' mean: arc_energy: mean over bands of <z^2> - 1. coherence: mean over the three pairs
    of bands of the correlation of z. score: sqrt(3 n_pix) times the mean over pairs of <z_a z_b>: the energy that the
    bands share, of unit variance for white noise and, within 5 %, for that of a coadd. median_range, sigma_ratio:
    background stability over the quadrants of the background annulus, the worst band. coverage: share of the annulus
    with data in every band. NaN below min_coverage or without a background.
    """
    options, preprocess_options = options or DetectabilityOptions(), preprocess_options or PreprocessOptions()
    images = np.asarray(images, dtype=np.float32)
    if images.ndim != 4 or images.shape[1] != len(_BANDS) or images.shape[-1] != images.shape[-2]:
        raise PixelError(f"images must be (n, {len(_BANDS)}, y, x) with bands g, r, z; got shape {images.shape}")
    weight = None if invvar is None else np.asarray(invvar, dtype=np.float32)
    median, scale = annulus_statistics(images, weight, options=preprocess_options)
    # the host model needs the annulus and some sky about it; of the rest only the background annulus is used
    half = min(int(np.ceil(options.outer_px)) + _MARGIN_PX, images.shape[-1] // 2)
    box = slice(images.shape[-1] // 2 - half, images.shape[-1] // 2 + half + 1)
    core = np.ascontiguousarray(images[:, :, box, box])
    core_weight = None if weight is None else np.ascontiguousarray(weight[:, :, box, box])
    residual = subtract_azimuthal_profile(core, core_weight, q=q, phi_rad=phi_rad, bin_px=options.bin_px)
    radius = elliptical_radius(core.shape[-1])
    inside = (radius >= options.inner_px) & (radius <= options.outer_px)
    parts = []
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        good = np.isfinite(images[rows]) if weight is None else np.isfinite(images[rows]) & (weight[rows] > 0)
        sigma = np.where(scale[rows] > 0, scale[rows], np.nan)
        central = np.asarray(good)[:, :, box, box][:, :, inside]
        left = residual[rows][:, :, inside]
        host = np.maximum(core[rows][:, :, inside] - left - median[rows][..., None], 0.0)
        noise = np.hypot(sigma[..., None], options.host_error * host)
        evidence = _shared_energy(left / noise, central, options)
        stability = _stability(images[rows], np.asarray(good), median[rows], sigma, preprocess_options)
        parts.append(pd.DataFrame({**evidence, **stability}))
    columns = ["arc_energy", "coherence", "score", "coverage", "median_range", "sigma_ratio"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns, dtype=float)


def observable(
    evidence: pd.DataFrame, threshold: float, *, options: DetectabilityOptions | None = None
) -> NDArray[np.bool_]:
    """Whether each stamp (n,) passes the gate: measured, on a stable background, score at or above the threshold."""
    return _usable_score(evidence, options or DetectabilityOptions()) >= threshold


def measurable(evidence: pd.DataFrame, *, options: DetectabilityOptions | None = None) -> NDArray[np.bool_]:
    """Whether each stamp (n,) can be judged at all: enough of its annulus has data, and its background is stable."""
    return _usable_score(evidence, options or DetectabilityOptions()) > _NEVER


def calibrate_gate(
    anchors: pd.DataFrame,
    random: pd.DataFrame,
    *,
    confusers: pd.DataFrame | None = None,
    cells: tuple[ArrayLike, ArrayLike] | None = None,
    options: DetectabilityOptions | None = None,
) -> dict[str, Any]:
    """The lowest threshold that at most false_alarm_rate of the random galaxies pass, and what anchors make of it.

    anchors, random, confusers: ``arc_evidence``. random: galaxies of no confuser category (pool N1): rings and spiral
    arms are there to be seen as arcs are, and a threshold set on them asks another question; what share of them
    (confusers, pool N2) passes is reported, not judged. cells: sky cell of every anchor and of every random galaxy; the
    bootstrap of the AUC draws them whole where there are enough (``learning.resampling``). Keys: threshold;
    false_alarm_rate (asked for); false_alarms, of all random galaxies; false_alarms_of_measured, anchors_observable and
    confusers_passing, of those that are ``measurable`` (each k, n, share, interval_68, interval_95); auc (of the score,
    what is not measured last, with intervals) and auc_resampled (sky cells | stamps); unstable_or_unmeasured (anchors,
    random). Random galaxies hold some unknown lenses, so that the rate is an upper bound.
    Raises CatalogueError where too few random galaxies resolve the rate.
    """
    options = options or DetectabilityOptions()
    needed = int(np.ceil(1.0 / options.false_alarm_rate))
    if len(random) < needed or not len(anchors):
        raise CatalogueError(
            f"{len(anchors)} anchors and {len(random)} random galaxies set no false-alarm rate of "
            f"{options.false_alarm_rate:g}: give at least {needed} random galaxies"
        )
    scores = [_usable_score(table, options) for table in (anchors, random)]
    threshold = float(
        np.nextafter(np.quantile(scores[1], 1.0 - options.false_alarm_rate, method="inverted_cdf"), np.inf)
    )
    passed = [score >= threshold for score in scores]
    together, label = np.concatenate(scores), np.repeat([1, 0], [len(score) for score in scores])
    drawn = drawn_by(label, None if cells is None else np.concatenate(cells), rows=len(label))
    auc = bootstrap_interval(roc_auc, together, label, n_resamples=options.n_resamples, seed=options.seed, **drawn)
    return {
        "threshold": threshold,
        "false_alarm_rate": options.false_alarm_rate,
        "false_alarms": _share(passed[1]),
        "false_alarms_of_measured": _share(passed[1][scores[1] > _NEVER]),
        "anchors_observable": _share(passed[0][scores[0] > _NEVER]),
        "confusers_passing": None
        if confusers is None
        else _share(observable(confusers, threshold, options=options)[measurable(confusers, options=options)]),
        "auc": auc.as_dict(),
        "auc_resampled": "sky cells" if "clusters" in drawn else "stamps",
        "unstable_or_unmeasured": {
            name: int((score == _NEVER).sum()) for name, score in zip(("anchors", "random"), scores, strict=True)
        },
    }


def recall_factors(
    is_observable: ArrayLike, recovered: ArrayLike, *, measured: ArrayLike | None = None
) -> dict[str, Any]:
    """Recall = observable fraction x conditional model recall, each with Beta intervals, from the same counts.

    is_observable, recovered, measured: (n,) bool of the same anchors; measured (all by default): could the gate judge
    (``measurable``)? Of the rest nothing is said about their arcs, so the factors are of the M measured ones:
    observable_fraction = O / M, conditional_recall = B / O with B recovered *and* observable, product = B / M.
    recall_of_measured = R / M is the product plus recovered_unobservable / M: exactly the product where the model finds
    nothing that the gate calls unobservable. That count is reported, because it measures what the gate misses.
    classes: observable, not_observable, not_measured, shares of all n; recall_of_unobservable, recall_of_unmeasured: of
    the last two. recall: of all n. Raises CatalogueError on unequal or empty lists, and where an anchor is observable
    but not measured.
    """
    gate, found = np.asarray(is_observable, dtype=bool), np.asarray(recovered, dtype=bool)
    known = np.ones(gate.shape, dtype=bool) if measured is None else np.asarray(measured, dtype=bool)
    if gate.shape != found.shape or gate.shape != known.shape or gate.ndim != 1 or not len(gate):
        raise CatalogueError(
            f"observable {gate.shape}, recovered {found.shape} and measured {known.shape} must be the same anchors, "
            "at least one"
        )
    if (gate & ~known).any():
        raise CatalogueError(f"{int((gate & ~known).sum())} anchors are called observable although not measured")
    return {
        "classes": {
            "observable": _share(gate), "not_observable": _share(known & ~gate), "not_measured": _share(~known),
        },
        "observable_fraction": _share(gate[known]),
        "conditional_recall": _share(found[gate]),
        "product": _share((gate & found)[known]),
        "recall_of_measured": _share(found[known]),
        "recovered_unobservable": _share((found & ~gate)[known]),
        "recall_of_unobservable": _share(found[known & ~gate]),
        "recall_of_unmeasured": _share(found[~known]),
        "recall": _share(found),
    }  # fmt: skip


def anchor_completeness(
    anchors: pd.DataFrame, detected: ArrayLike, *, options: DetectabilityOptions | None = None
) -> pd.DataFrame:
    """Detected share of the anchors along seeing, depth and theta_E: axis, low, high, n, k, completeness, low68, ...

    anchors: psfsize_r [arcsec], psfdepth_r [nmgy^-2] (binned as the 5-sigma magnitude depth_r_mag), theta_e_arcsec;
    detected: (n,) bool, by the gate or by the model. One row a bin [low, high), an "unmeasured" row (low, high NaN) for
    anchors without the value, and one row "all". A bin without anchors has completeness NaN and the prior's interval.
    Axes are marginal: each pools the other two as the anchors happen to have them. Anchors outside the edges raise
    CatalogueError.
    """
    options = options or DetectabilityOptions()
    detected = np.asarray(detected, dtype=bool)
    missing = [name for name in ("psfsize_r", "psfdepth_r", "theta_e_arcsec") if name not in anchors.columns]
    if missing or len(detected) != len(anchors):
        raise CatalogueError(
            f"{len(detected)} answers for {len(anchors)} anchors, which lack {', '.join(missing) or 'nothing'}"
        )
    values = anchors.assign(depth_r_mag=mag_depth(anchors["psfdepth_r"].to_numpy(dtype=float)))
    rows: list[dict[str, Any]] = [{"axis": "all", "low": np.nan, "high": np.nan, **_counted(detected)}]
    for axis, key in _AXES.items():
        edges = np.asarray(getattr(options, key))
        value = values[axis].to_numpy(dtype=float)
        place = np.where(np.isfinite(value), np.searchsorted(edges, value, side="right") - 1, len(edges) - 1)
        beyond = np.isfinite(value) & ((place < 0) | (place >= len(edges) - 1))
        if beyond.any():
            raise CatalogueError(f"{int(beyond.sum())} anchors have {axis} outside {key} = {edges.tolist()}")
        ends = [*pairwise(edges), (np.nan, np.nan)]
        for bin_number, (low, high) in enumerate(ends):
            name = axis if np.isfinite(low) else f"{axis} unmeasured"
            rows.append({"axis": name, "low": low, "high": high, **_counted(detected[place == bin_number])})
    return pd.DataFrame(rows)


#: The score of what cannot be judged: below every threshold.
_NEVER = np.finfo(np.float64).min


def _usable_score(evidence: pd.DataFrame, options: DetectabilityOptions) -> NDArray[np.float64]:
    stable = (evidence["median_range"] <= options.median_range_max) & (
        evidence["sigma_ratio"] <= options.sigma_ratio_max
    )
    return np.where(stable & np.isfinite(evidence["score"]), evidence["score"], _NEVER)


def _shared_energy(
    significance: NDArray[np.floating], good: NDArray[np.bool_], options: DetectabilityOptions
) -> dict[str, NDArray[np.float64]]:
    """Columns from the residuals over their noise (n, band, pixel); a pixel counts where every band has data."""
    everywhere = np.asarray(good.all(axis=1)) & np.isfinite(significance).all(axis=1)
    count = everywhere.sum(axis=1)
    coverage = count / everywhere.shape[1]
    z = np.clip(np.where(everywhere[:, None], significance, 0.0), -options.clip, options.clip)
    with np.errstate(invalid="ignore", divide="ignore"):
        product = np.einsum("nap,nbp->nab", z, z) / count[:, None, None]
        mean = z.sum(axis=2) / count[:, None]
        covariance = product - mean[:, :, None] * mean[:, None, :]
        spread = np.sqrt(np.einsum("naa->na", covariance))
        correlation = covariance / (spread[:, :, None] * spread[:, None, :])
    first, second = np.array(_PAIRS).T
    columns = {
        "arc_energy": np.einsum("naa->na", product).mean(axis=1) - 1.0,
        "coherence": correlation[:, first, second].mean(axis=1),
        "score": np.sqrt(len(_PAIRS) * count) * product[:, first, second].mean(axis=1),
    }
    measured = coverage >= options.min_coverage
    return {**{name: np.where(measured, values, np.nan) for name, values in columns.items()}, "coverage": coverage}


def _stability(
    images: NDArray[np.float32],
    good: NDArray[np.bool_],
    median: NDArray[np.float64],
    sigma: NDArray[np.float64],
    options: PreprocessOptions,
) -> dict[str, NDArray[np.float64]]:
    """Range of the quadrants' background medians [sigma] and ratio of their noises, the worst band; (n,) each."""
    size = images.shape[-1]
    y, x = np.indices((size, size)) - size // 2
    radius = np.hypot(x, y)
    ring = (radius >= options.annulus_px[0]) & (radius <= options.annulus_px[1])
    quadrant = 2 * (y >= 0) + (x >= 0)
    centres, spreads = [], []
    for number in range(4):
        part = ring & (quadrant == number)
        values = np.where(good[:, :, part], (images[:, :, part] - median[..., None]) / sigma[..., None], np.nan)
        with np.errstate(invalid="ignore"):
            centre = _median(values)
            spread = MAD_TO_SIGMA * _median(np.abs(values - centre[..., None]))
        centres.append(centre)
        spreads.append(spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        span = np.max(centres, axis=0) - np.min(centres, axis=0)
        ratio = np.max(spreads, axis=0) / np.min(spreads, axis=0)
    return {"median_range": span.max(axis=1), "sigma_ratio": ratio.max(axis=1)}


def _median(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Median of the last axis without NaN; NaN where nothing is left."""
    rows = values.reshape(-1, values.shape[-1])
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    median = sorted_median(np.where(known, rows, np.inf), np.maximum(count, 1))
    return np.where(count > 0, median, np.nan).reshape(values.shape[:-1])


def _counted(passed: NDArray[np.bool_]) -> dict[str, float]:
    k, n = int(passed.sum()), len(passed)
    row = {"n": n, "k": k, "completeness": k / n if n else np.nan}
    for name, level in LEVELS.items():
        low, high = beta_interval(k, n, level)
        row |= {f"low{name}": float(low), f"high{name}": float(high)}
    return row


def _share(passed: NDArray[np.bool_]) -> dict[str, Any]:
    """k, n, share (None of nobody), interval_68 and interval_95, JSON-ready."""
    row = _counted(passed)
    return {
        "k": row["k"],
        "n": row["n"],
        "share": row["completeness"] if row["n"] else None,
        **{f"interval_{name}": [row[f"low{name}"], row[f"high{name}"]] for name in LEVELS},
    }
