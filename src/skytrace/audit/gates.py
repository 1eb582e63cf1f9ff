"""What do small parts of a stamp, or the catalogue alone, give away? Classifiers that see nothing else.

A detector that has learnt arcs loses little when the core of its stamps is masked, and beats each gate (design page
``lens_finder``, stage 6). The core holds the deflector *and* every arc inside it (8 px are 2.1" of the DESI Legacy
Surveys), so a core that does as well as the detector does not say which of the two was learnt. The catalogue does: no
arc is in a galaxy's fluxes, shape, seeing and depth, but for what the arc's light adds to a measured flux. Gates see
preprocessed stamps, as the detector does, and are tried on sky cells that they were not fitted on. The centre is pixel
(size // 2, size // 2); the core is r < core_radius_px, the annulus core_radius_px <= r < outer_radius_px.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.audit.options import GateOptions
from skytrace.audit.resampling import check_labels, resample_counts, resampled_auc
from skytrace.errors import CatalogueError, PixelError, check_between
from skytrace.imaging.apertures import elliptical_radius
from skytrace.learning.metrics import roc_auc
from skytrace.statistics import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["CATALOGUE", "GATES", "compare_gates", "core_pixels", "gate_features", "gate_scores", "mask_core"]

#: Gate -> what it sees, in words.
GATES = {
    "core": "the pixels of the core, by their principal components",
    "annulus": "sectors of the annulus around the core: mean, largest and Fourier amplitudes of each ring and band",
    "profile": "the azimuthal medians of each band, core included",
}
#: The gate that sees no pixel.
CATALOGUE = "catalogue"
#: Stamps at a time: temporary arrays of some tens of MB.
_CHUNK = 512


def core_pixels(size: int, radius_px: float) -> NDArray[np.bool_]:
    """Which pixels (size, size) are the core: centres nearer than ``radius_px`` to that of the middle pixel.

    Raises OptionError where the radius is not positive or leaves no pixel outside.
    """
    check_between("radius_px", radius_px, 0.0, size // 2, include_low=False)
    return elliptical_radius(size) < radius_px


def mask_core(
    stamps: NDArray[np.float32], radius_px: float = 8.0, *, fill: float | str = "ring"
) -> NDArray[np.float32]:
    """Copies of the stamps (n, band, y, x) without their core; everything else is untouched.

    fill "ring": each band's median of the two pixels around the core (radius_px <= r < radius_px + 2), so that no dark
    hole marks the place; a number: that value, in the unit of the stamps (0 is the background of preprocessed ones).
    Raises PixelError on a wrong shape or an unknown fill.
    """
    stamps = _checked(stamps)
    core = core_pixels(stamps.shape[-1], radius_px)
    masked = np.array(stamps, copy=True)
    if fill == "ring":
        ring = core_pixels(stamps.shape[-1], min(radius_px + 2.0, stamps.shape[-1] // 2)) & ~core
        masked[:, :, core] = np.median(stamps[:, :, ring], axis=2, keepdims=True)
    elif isinstance(fill, int | float) and np.isfinite(fill):
        masked[:, :, core] = fill
    else:
        raise PixelError(f'fill = {fill!r} is neither "ring" nor a finite number')
    return masked


def gate_features(stamps: NDArray[np.float32], gate: str, *, options: GateOptions | None = None) -> NDArray[np.float32]:
    """What a gate sees of preprocessed stamps (n, band, y, x): (n, feature) float32, from its region alone.

    core: the pixels r < core_radius_px. annulus: of every ring_px wide ring and band the mean over ``sectors`` equal
    sectors, their largest, and the Fourier amplitudes over angle of orders 1 to 6 (or fewer), none of which depends on
    where an arc stands. profile: medians of profile_ring_px wide rings out to outer_radius_px. Raises PixelError where
    the stamps are too small for outer_radius_px.
    """
    options = options or GateOptions()
    stamps = _checked(stamps)
    if gate not in GATES:
        raise CatalogueError(f"gate {gate!r} is not one of {', '.join(GATES)}")
    if stamps.shape[-1] // 2 < options.outer_radius_px:
        raise PixelError(
            f"outer_radius_px = {options.outer_radius_px:g} leaves a stamp of {stamps.shape[-1]} px; choose it smaller"
        )
    see = {"core": _core, "annulus": _annulus, "profile": _profile}[gate]
    parts = [see(stamps[start : start + _CHUNK], options) for start in range(0, len(stamps), _CHUNK)]
    return np.concatenate(parts).astype(np.float32)


def gate_scores(
    stamps: NDArray[np.float32],
    labels: ArrayLike,
    *,
    cells: ArrayLike,
    catalogue: pd.DataFrame | None = None,
    options: GateOptions | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Gate -> score (n,) of every stamp by a classifier that was fitted on other sky cells.

    stamps: preprocessed, (n, band, y, x). labels: (n,) 1 lens, 0 galaxy. cells: (n,) HEALPix cells; whole cells are
    either fitted on or scored. catalogue: (n, feature), of ``shortcuts.catalogue_features``; the gate CATALOGUE sees it
    and no pixel. Raises CatalogueError where a class or the cells are too few for the folds, or rows do not fit.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    options = options or GateOptions()
    is_lens, groups = check_labels(labels, cells)
    assert groups is not None
    fewest = min(len(np.unique(groups[is_lens])), len(np.unique(groups[~is_lens])))
    if fewest < options.folds:
        raise CatalogueError(
            f"lenses or galaxies lie in {fewest} sky cell(s) only; {options.folds} folds need as many at least"
        )
    folds = StratifiedGroupKFold(options.folds, shuffle=True, random_state=options.seed % 2**32)
    parts = list(folds.split(np.zeros(len(groups)), is_lens, groups))
    scores = {}
    for gate in GATES if catalogue is None else (*GATES, CATALOGUE):
        if gate == CATALOGUE and catalogue is not None:
            seen = catalogue.to_numpy(dtype=np.float64)
        else:
            seen = gate_features(stamps, gate, options=options)
        if len(seen) != len(is_lens):
            raise CatalogueError(f"{len(seen)} rows for the gate {gate!r} and {len(is_lens)} labels")
        scores[gate] = np.full(len(seen), np.nan)
        for fitted, tried in parts:
            if is_lens[fitted].all() or not is_lens[fitted].any():
                raise CatalogueError("a fold holds one class only; use fewer folds")
            model = _classifier(gate, options, len(fitted)).fit(seen[fitted], is_lens[fitted])
            scores[gate][tried] = model.predict_proba(seen[tried])[:, 1]
    return scores


def compare_gates(
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    cells: ArrayLike | None = None,
    reference: str = "detector",
    options: GateOptions | None = None,
) -> pd.DataFrame:
    """One row for each of ``scores`` (name -> (n,) on the same stamps), side by side, on common resamples.

    Names are free; "detector", "detector, core masked", those of GATES and CATALOGUE are meant. Columns: classifier,
    n_lenses, n_galaxies, auc, low_68, high_68, low_95, high_95, standard_error and, where ``reference`` is among the
    names, below_reference (its AUC minus this one) with below_reference_low_68 ... high_95, paired. Stamps that a
    detector was trained on must not be among them. The intervals are of the scores as given: a gate fitted on another
    sample would scatter more (with 600 stamps and no signal, 1.2 to 1.5 standard errors). Raises CatalogueError on
    scores that are missing or of another length.
    """
    options = options or GateOptions()
    is_lens, groups = check_labels(labels, cells)
    counts = resample_counts(is_lens, groups, n_resamples=options.n_resamples, seed=options.seed)
    values = {str(name): np.asarray(column, dtype=np.float64) for name, column in scores.items()}
    for name, column in values.items():
        if column.shape != is_lens.shape or not np.isfinite(column).all():
            raise CatalogueError(f"scores of {name!r} are not {len(is_lens)} finite numbers, one a stamp")
    draws = {name: resampled_auc(column, is_lens, counts) for name, column in values.items()}
    auc = {name: roc_auc(column, is_lens.astype(np.int64)) for name, column in values.items()}
    rows = []
    for name in values:
        row: dict[str, Any] = {
            "classifier": name,
            "n_lenses": int(is_lens.sum()),
            "n_galaxies": int((~is_lens).sum()),
            "auc": auc[name],
            **_bounds(draws[name]),
            "standard_error": float(np.nanstd(draws[name])),
        }
        if reference in values:
            row["below_reference"] = auc[reference] - auc[name]
            row |= _bounds(draws[reference] - draws[name], "below_reference_")
        rows.append(row)
    return pd.DataFrame(rows)


def _bounds(draws: NDArray[np.float64], prefix: str = "") -> dict[str, float]:
    draws = draws[np.isfinite(draws)]
    bounds = {}
    for name, level in LEVELS.items():
        low, high = np.quantile(draws, [0.5 * (1 - level), 0.5 * (1 + level)]) if len(draws) else (np.nan, np.nan)
        bounds[f"{prefix}low_{name}"], bounds[f"{prefix}high_{name}"] = float(low), float(high)
    return bounds


def _checked(stamps: NDArray[np.float32]) -> NDArray[np.float32]:
    stamps = np.asarray(stamps)
    if stamps.ndim != 4 or stamps.shape[-1] != stamps.shape[-2]:
        raise PixelError(f"stamps must be (n, band, y, x), square; got shape {stamps.shape}")
    return stamps


def _core(stamps: NDArray[np.float32], options: GateOptions) -> NDArray[np.float32]:
    return stamps[:, :, core_pixels(stamps.shape[-1], options.core_radius_px)].reshape(len(stamps), -1)


def _annulus(stamps: NDArray[np.float32], options: GateOptions) -> NDArray[np.float32]:
    """Sector means as one matrix product, then what of them does not depend on the angle."""
    member = _sectors(stamps.shape[-1], options)
    flat = stamps.reshape(*stamps.shape[:2], -1).astype(np.float64)
    sector = (flat @ member).reshape(*stamps.shape[:2], -1, options.sectors)
    amplitude = np.abs(np.fft.rfft(sector, axis=-1))[..., 1:7] / options.sectors
    seen = np.concatenate([sector.mean(axis=-1, keepdims=True), sector.max(axis=-1, keepdims=True), amplitude], axis=-1)
    return seen.reshape(len(stamps), -1).astype(np.float32)


def _sectors(size: int, options: GateOptions) -> NDArray[np.float64]:
    """Weights (pixel, ring * sectors) whose product with a stamp is the mean of every polar bin."""
    radius = elliptical_radius(size).ravel()
    y, x = np.indices((size, size)) - size // 2
    turn = (np.arctan2(y, x).ravel() / (2.0 * np.pi)) % 1.0
    sector = np.minimum((turn * options.sectors).astype(np.int64), options.sectors - 1)
    rings = int((options.outer_radius_px - options.core_radius_px) // options.ring_px)
    ring = np.floor((radius - options.core_radius_px) / options.ring_px).astype(np.int64)
    inside = (ring >= 0) & (ring < rings)
    member = np.zeros((size * size, rings * options.sectors))
    member[np.flatnonzero(inside), (ring * options.sectors + sector)[inside]] = 1.0
    return member / np.maximum(member.sum(axis=0), 1.0)


def _profile(stamps: NDArray[np.float32], options: GateOptions) -> NDArray[np.float32]:
    radius = elliptical_radius(stamps.shape[-1])
    edges = np.arange(0.0, options.outer_radius_px + 1e-9, options.profile_ring_px)
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(edges)]
    medians = [np.median(stamps[:, :, ring], axis=2) for ring in rings]
    return np.stack(medians, axis=2).reshape(len(stamps), -1)


def _classifier(gate: str, options: GateOptions, n_fitted: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seed = options.seed % 2**32
    steps: list[Any] = []
    if gate == "core":
        steps.append(PCA(min(options.components, n_fitted), svd_solver="covariance_eigh"))
    if gate == CATALOGUE and options.classifier == "logistic":  # boosting takes missing values as they are
        steps.append(SimpleImputer(strategy="median", keep_empty_features=True))
    if options.classifier == "logistic":
        steps += [StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)]
    else:
        steps.append(
            HistGradientBoostingClassifier(
                max_iter=80, max_leaf_nodes=8, learning_rate=0.1, l2_regularization=1.0, class_weight="balanced",
                early_stopping=False, random_state=seed,
            )
        )  # fmt: skip
    return make_pipeline(*steps)
