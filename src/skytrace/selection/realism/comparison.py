"""Which injections may be compared with which real lenses.

Real lenses were *discovered*: bright arcs, in the sky that was searched. Injections fill a grid evenly, most of them
too faint to see. So both sides pass the same cut on the measured arc S/N - never below the anchors' own faint end, for
what was not looked for cannot be missing - and injections are weighted to the anchors' joint distribution of theta_E,
PSF, depth and, where known, host magnitude and colour: each anchor gives weight 1, shared by its nearest observable
injections. Hosts matter: a spiral's arms survive the host model and outshine any arc, and real lenses are no spirals.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.selection.grid import AXES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.realism.options import GateOptions

#: Optional columns: AB magnitude r and colour g-r of the host in the catalogue: in the mock the deflector's
#: alone, in a real catalogue possibly with some light of the arcs.
HOST_AXES = ("host_r_mag", "host_g_r")

__all__ = ["HOST_AXES", "ComparisonSample", "comparison_sample", "nearest_injections", "weighted_quantile"]

_NEEDED = (*AXES, "arc_snr", "arc_flux_g", "arc_flux_r", "arc_flux_z")


@dataclass(frozen=True)
class ComparisonSample:
    """anchors: those compared. injections: those with weight > 0, column ``weight`` (summing to the anchors' number).
    counts: what was left out, and why. axes: those that the injections were matched in.
    """

    anchors: pd.DataFrame
    injections: pd.DataFrame
    counts: dict[str, Any]
    axes: tuple[str, ...] = AXES


def comparison_sample(anchors: pd.DataFrame, injections: pd.DataFrame, *, options: GateOptions) -> ComparisonSample:
    """The two samples of gates 1 and 3.

    anchors, injections: columns theta_e [arcsec], psf_fwhm (psfsize_r) [arcsec], depth [AB mag] and those of
    ``arcs.measure_arcs``, on both sides from the same call. HOST_AXES are used where both tables have them. Injections
    may carry injected_snr, the S/N of their own light, which must then be observable too: an annulus lit by a neighbour
    holds no lens that anyone would find. Anchors may carry ``rejected``, reasons joined by ";" ("" for none), for not
    being what hosts must be: left out and counted by reason (an anchor with two reasons in both). So are anchors
    without theta_E or a measurable annulus, below the observability cut, or with no observable injection near.
    Raises CatalogueError on missing columns.
    """
    for name, table in (("anchors", anchors), ("injections", injections)):
        missing = [column for column in _NEEDED if column not in table.columns]
        if missing:
            raise CatalogueError(f"{name} lack the columns {', '.join(missing)}")
    total, rejected = len(anchors), _rejections(anchors)
    anchors = anchors[rejected == ""]
    axes = _shared_axes(anchors, injections)
    known = np.isfinite(anchors["theta_e"].to_numpy(dtype=np.float64))
    measured = known & _finite(anchors, (*_NEEDED, *axes))
    snr = {"real": anchors["arc_snr"].to_numpy(dtype=float), "fake": injections["arc_snr"].to_numpy(dtype=float)}
    cut = _snr_cut(snr["real"][measured], options)
    seen = measured & (snr["real"] >= cut)
    fair = _finite(injections, (*_NEEDED, *axes))
    bright = fair & (snr["fake"] >= cut)
    own = injections["injected_snr"].to_numpy(dtype=float) if "injected_snr" in injections else snr["fake"]
    visible = bright & (own >= options.observable_snr)
    real, fake = anchors[seen], injections[visible]
    weight, reached = _weights(_steps(real, axes, options), _steps(fake, axes, options), options)
    counts = {
        "arc_snr_cut": cut,
        "host_matched": "host_r_mag" in axes,
        "anchors": total,
        "anchors_rejected": total - len(anchors),
        "anchors_rejected_by_reason": _by_reason(rejected),
        "anchors_without_theta_e": int((~known).sum()),
        "anchors_not_measurable": int((known & ~measured).sum()),
        "anchors_below_snr_cut": int((measured & ~seen).sum()),
        "anchors_without_near_injections": int((~reached).sum()),
        "anchors_compared": int(reached.sum()),
        "injections": len(injections),
        "injections_not_measurable": int((~fair).sum()),
        "injections_below_snr_cut": int((fair & ~bright).sum()),
        "injections_lit_by_others": int((bright & ~visible).sum()),
        "injections_compared": int((weight > 0).sum()),
        "injections_effective": float(weight.sum() ** 2 / np.sum(weight**2)) if weight.any() else 0.0,
    }
    used = fake.assign(weight=weight)[weight > 0]
    return ComparisonSample(real[reached].reset_index(drop=True), used.reset_index(drop=True), counts, axes)


def nearest_injections(
    anchors: pd.DataFrame, injections: pd.DataFrame, *, n_per_anchor: int, options: GateOptions
) -> NDArray[np.int64]:
    """Positions (rising, unique) of injections near the anchors in theta_E, PSF, depth and host: those worth measuring.

    Knows nothing of brightness or score: which composites are measured cannot prefer realistic ones. Of the injections
    within max_distance_steps, n_per_anchor by a fixed lottery. Rejected anchors (see ``comparison_sample``) have none.
    """
    anchors = anchors[_rejections(anchors) == ""]
    axes = _shared_axes(anchors, injections)
    real, fake = (_steps(table[_finite(table, axes)], axes, options) for table in (anchors, injections))
    nothing = np.zeros(0, dtype=np.int64)
    if not len(real) or not len(fake):
        return nothing
    from scipy.spatial import cKDTree

    lottery = np.random.default_rng(options.seed).permutation(len(fake))
    near = cKDTree(fake).query_ball_point(real, options.max_distance_steps * (1.0 + 1e-9), p=np.inf)
    chosen = [np.asarray(rows, dtype=np.int64) for rows in near]
    parts = [rows[np.argsort(lottery[rows])[:n_per_anchor]] for rows in chosen if len(rows)]
    return np.flatnonzero(_finite(injections, axes))[np.unique(np.concatenate(parts))] if parts else nothing


def weighted_quantile(values: ArrayLike, quantiles: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Quantiles of weighted values along the last axis, linear between the mid-points of the cumulated weight.

    values: (..., n) with weights (n,) or of the same shape; equal weights by default. Returns (..., quantile).
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones(values.shape) if weights is None else np.broadcast_to(np.asarray(weights, float), values.shape)
    order = np.argsort(values, axis=-1, kind="stable")
    values, weights = np.take_along_axis(values, order, -1), np.take_along_axis(weights, order, -1)
    place = (np.cumsum(weights, axis=-1) - 0.5 * weights) / weights.sum(axis=-1, keepdims=True)
    quantiles = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
    flat = zip(place.reshape(-1, place.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
    return np.array([np.interp(quantiles, x, y) for x, y in flat]).reshape(*values.shape[:-1], len(quantiles))


def _snr_cut(measured: NDArray[np.float64], options: GateOptions) -> float:
    """observable_snr, or the anchors' own faint end where discovery went less deep."""
    observable = measured[measured >= options.observable_snr]
    if not len(observable):
        return float(options.observable_snr)
    return float(max(options.observable_snr, weighted_quantile(observable, options.faint_end_quantile)[0]))


def _weights(
    real: NDArray[np.float64], fake: NDArray[np.float64], options: GateOptions
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Weight of each injection, and which anchors have one near enough."""
    if not len(real) or not len(fake):
        return np.zeros(len(fake)), np.zeros(len(real), dtype=bool)
    from scipy.spatial import cKDTree

    k = min(options.neighbours, len(fake))
    # p = inf: a step in any axis is a step
    distance, index = cKDTree(fake).query(real, k=np.arange(1, k + 1), p=np.inf)
    near = distance <= options.max_distance_steps * (1.0 + 1e-9)
    share = near / np.maximum(near.sum(axis=1, keepdims=True), 1)
    weight = np.bincount(index.ravel(), weights=share.ravel(), minlength=len(fake))
    return weight.astype(np.float64), near.any(axis=1)


def _rejections(anchors: pd.DataFrame) -> NDArray[np.str_]:
    return anchors["rejected"].to_numpy(dtype=str) if "rejected" in anchors else np.full(len(anchors), "")


def _by_reason(rejected: NDArray[np.str_]) -> dict[str, int]:
    reasons = Counter(reason for joined in rejected[rejected != ""] for reason in str(joined).split(";"))
    return dict(sorted(reasons.items()))


def _shared_axes(anchors: pd.DataFrame, injections: pd.DataFrame) -> tuple[str, ...]:
    known = all(axis in table.columns for axis in HOST_AXES for table in (anchors, injections))
    return (*AXES, *HOST_AXES) if known else AXES


def _steps(table: pd.DataFrame, axes: tuple[str, ...], options: GateOptions) -> NDArray[np.float64]:
    steps = (
        options.theta_e_step_arcsec, options.psf_fwhm_step_arcsec, options.depth_step_mag, options.host_r_step_mag,
        options.host_g_r_step_mag,
    )  # fmt: skip
    return table[list(axes)].to_numpy(dtype=np.float64) / np.array(steps[: len(axes)])


def _finite(table: pd.DataFrame, columns: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.isfinite(table[list(columns)].to_numpy(dtype=np.float64)).all(axis=1)
