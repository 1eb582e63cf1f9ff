"""P(detected) of a single lens, from everything known of it: boosted trees that are monotone where physics says so.

A second product beside the published cells, which it never replaces: it smooths. Trees are grown by scikit-learn's
histogram gradient boosting (log loss, ``monotonic_cst``); how many is chosen by cross-validation over whole hosts. The
fitted trees are kept as plain arrays and followed by our own lookup, checked against scikit-learn at every fit: a
stored model needs neither pickle nor the version that fitted it, and a refit would not be the same for another version.

Worse seeing has no stated sign: at a fixed psfdepth a broader PSF brings a quieter sky. Errors come from refits to
resampled hosts and to resampled sky cells; a host lies in one cell, so the wider of the two is reported.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from skytrace.errors import (
    CatalogueError,
    OptionError,
    SelectionEnvelopeError,
    check_between,
    check_choice,
    check_whole,
)
from skytrace.imaging.photometry import mag_ab, mag_depth
from skytrace.selection.failures import injected_psfsize
from skytrace.selection.monotone_trees import NODE_ARRAYS, follow_forest, grow_forest, join_forests
from skytrace.sky.split import healpix_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["FEATURES", "MonotoneFit", "MonotoneModel", "MonotoneOptions", "fit_monotone_model", "model_features"]

#: Numbers that the model knows of a lens, beside the type of its host.
FEATURES = (
    "theta_e_arcsec", "psfsize_r_arcsec", "depth_mag", "source_mag_r", "source_size_arcsec", "source_g_r",
    "magnification", "host_mag_r",
)  # fmt: skip
_UNITS = ("host", "sky_cell")


@dataclass(frozen=True)
class MonotoneOptions:
    """rising, falling: features in which P may only rise or fall; the others are free. max_iterations: trees tried, of
    which cross-validation over n_folds of hosts keeps as many as do best. n_members: refits for each of hosts and sky
    cells. learning_rate, max_leaf_nodes, min_samples_leaf, l2: of the trees. max_injections: fitted at most, drawn by
    lot where there are more (by whoever calls). seed: of lots, folds and resampling.
    """

    rising: tuple[str, ...] = ("depth_mag", "magnification")
    falling: tuple[str, ...] = ("source_mag_r",)
    max_iterations: int = 300
    learning_rate: float = 0.1
    max_leaf_nodes: int = 15
    min_samples_leaf: int = 50
    l2: float = 1.0
    n_folds: int = 3
    n_members: int = 16
    max_injections: int = 1_000_000
    seed: int = 20260801

    def __post_init__(self) -> None:
        for key in ("rising", "falling"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
            for name in getattr(self, key):
                check_choice(key, name, FEATURES)
        if both := set(self.rising) & set(self.falling):
            raise OptionError(f"rising and falling both name {', '.join(sorted(both))}")
        check_whole("max_iterations", self.max_iterations, 1, 10_000)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, include_low=False)
        check_whole("max_leaf_nodes", self.max_leaf_nodes, 2, 1000)
        check_whole("min_samples_leaf", self.min_samples_leaf, 1, 1_000_000)
        check_between("l2", self.l2, 0.0, 1e6)
        check_whole("n_folds", self.n_folds, 2, 20)
        check_whole("n_members", self.n_members, 2, 1000)
        check_whole("max_injections", self.max_injections, 2, 1_000_000_000)
        check_whole("seed", self.seed, 0, 2**31 - 1)

    @property
    def signs(self) -> dict[str, int]:
        """Feature -> +1, -1 or 0."""
        return {name: int(name in self.rising) - int(name in self.falling) for name in FEATURES}


@dataclass(frozen=True)
class MonotoneModel:
    """The trees of one model and of its refits, as arrays. forest_start[f] is the first tree of forest f (0: the model;
    then n_members refits to resampled hosts, and as many to sky cells), tree_start[t] the first node of tree t. A node
    sends x[feature] <= threshold to ``left``, others to ``right``; a leaf points to itself. envelope: (feature, 2)
    lowest and highest value fitted. card: JSON-ready: host_types, options, n, n_hosts, n_sky_cells, iterations.
    """

    arrays: Mapping[str, NDArray]
    envelope: NDArray[np.float64]
    card: dict[str, Any]

    def predict(self, features: pd.DataFrame, *, outside: str = "error") -> pd.DataFrame:
        """probability, low68, high68, standard_error_logit of every row (columns FEATURES and host_type).

        The interval is logit(probability) +- the larger of the standard deviations of the two kinds of refits.
        outside: rows beyond the envelope, or of an unknown host type, raise SelectionEnvelopeError, or give NaN.
        """
        check_choice("outside", outside, ("error", "nan"))
        x, known = self._matrix(features)
        if outside == "error" and not known.all():
            raise SelectionEnvelopeError(self._outside(features, known))
        raw = np.stack([self._raw(x, forest) for forest in range(len(self.arrays["baseline"]))])
        members = raw[1:].reshape(len(_UNITS), -1, len(x))
        error = members.std(axis=1, ddof=1).max(axis=0)
        table = pd.DataFrame({"probability": expit(raw[0]), "low68": expit(raw[0] - error)}, index=features.index)
        table["high68"], table["standard_error_logit"] = expit(raw[0] + error), error
        table[~known] = np.nan
        return table

    def member_probabilities(self, features: pd.DataFrame, *, unit: str = "host") -> NDArray[np.float64]:
        """P by each refit to resampled ``unit`` (host or sky_cell), (n_members, n)."""
        check_choice("unit", unit, _UNITS)
        x, _ = self._matrix(features)
        n_members = (len(self.arrays["baseline"]) - 1) // len(_UNITS)
        first = 1 + n_members * _UNITS.index(unit)
        return expit(np.stack([self._raw(x, forest) for forest in range(first, first + n_members)]))

    def to_arrays(self) -> dict[str, NDArray]:
        """Everything, for ``compute.save_npz``."""
        return {**self.arrays, "envelope": self.envelope, "card": np.array(json.dumps(self.card, sort_keys=True))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> MonotoneModel:
        """Back from ``compute.load_npz``; raises CatalogueError where an array is missing."""
        missing = [name for name in (*NODE_ARRAYS, "envelope", "card") if name not in arrays]
        if missing:
            raise CatalogueError(f"not a monotone model: lacks {', '.join(missing)}")
        nodes = {name: np.asarray(arrays[name]) for name in NODE_ARRAYS}
        return cls(nodes, np.asarray(arrays["envelope"]), json.loads(str(arrays["card"])))

    def _matrix(self, features: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        x = _design_matrix(features, tuple(self.card["host_types"]))
        numbers = x[:, : len(FEATURES)]
        inside = ((numbers >= self.envelope[:, 0]) & (numbers <= self.envelope[:, 1])).all(axis=1)
        return x, inside & features["host_type"].isin(self.card["host_types"]).to_numpy()

    def _outside(self, features: pd.DataFrame, known: NDArray[np.bool_]) -> str:
        row = features.iloc[int(np.argmin(known))]
        problems = [
            f"{name} = {row[name]:g} is outside [{low:g}, {high:g}]"
            for name, (low, high) in zip(FEATURES, self.envelope, strict=True)
            if not low <= row[name] <= high
        ]
        if row["host_type"] not in self.card["host_types"]:
            problems.append(f"host_type {row['host_type']!r} is none of {', '.join(self.card['host_types'])}")
        return f"{int((~known).sum())} row(s) lie outside what the model was fitted to (first: {'; '.join(problems)})"

    def _raw(self, x: NDArray[np.float64], forest: int) -> NDArray[np.float64]:
        start = self.arrays["forest_start"]
        return (
            follow_forest(self.arrays, x, int(start[forest]), int(start[forest + 1])) + self.arrays["baseline"][forest]
        )


@dataclass(frozen=True)
class MonotoneFit:
    """model, and out_of_fold: P of every injection by trees that never saw its host, which is what a calibration test
    must be given. log_loss: mean out-of-fold loss after 1, 2, ... trees.
    """

    model: MonotoneModel
    out_of_fold: NDArray[np.float64]
    log_loss: NDArray[np.float64]


def model_features(injections: pd.DataFrame, hosts: pd.DataFrame, *, depth_column: str = "psfdepth_r") -> pd.DataFrame:
    """FEATURES, host_type, host (galaxy_id) and sky_cell of every injection.

    hosts: galaxy_id, ra, dec, flux_r, type and ``depth_column``. PSF and depth are those in which the lens was seen:
    the host's own, or the cell's where the host was degraded to it. sky_cell: HEALPix nside 128, as in the split.
    """
    unique = hosts.drop_duplicates("galaxy_id").set_index("galaxy_id")
    missing = set(injections["galaxy_id"]) - set(unique.index)
    if missing:
        raise CatalogueError(
            f"{len(missing)} hosts of injections are not in the table of hosts (first: {min(missing)})"
        )
    own = unique.loc[injections["galaxy_id"]]
    degraded = injections["mode"].to_numpy() == "degraded"
    values = {name: injections[name].to_numpy(dtype=np.float64) for name in ("theta_e_arcsec", "magnification")}
    values["psfsize_r_arcsec"] = injected_psfsize(injections)
    values["depth_mag"] = np.where(degraded, injections["depth"], mag_depth(own[depth_column].to_numpy()))
    values["source_mag_r"] = injections["source_mag_r"].to_numpy(dtype=np.float64)
    values["source_size_arcsec"] = injections["source_half_light_radius_arcsec"].to_numpy(dtype=np.float64)
    values["source_g_r"] = (injections["source_mag_g"] - injections["source_mag_r"]).to_numpy(dtype=np.float64)
    values["host_mag_r"] = mag_ab(own["flux_r"].to_numpy())
    table = pd.DataFrame({name: values[name] for name in FEATURES}, index=injections.index)
    table["host_type"], table["host"] = own["type"].astype(str).to_numpy(), injections["galaxy_id"].astype(str)
    return table.assign(sky_cell=healpix_cell(own["ra"], own["dec"], nside=128))


def fit_monotone_model(
    features: pd.DataFrame, detected: ArrayLike, *, options: MonotoneOptions | None = None
) -> MonotoneFit:
    """Fit to single injections. features: of ``model_features``. detected: (n,) bool.

    Raises CatalogueError on values that are not finite, detections all alike, or fewer hosts than folds. The same input
    gives the same model: trees are grown in one thread.
    """
    from threadpoolctl import threadpool_limits

    options = options or MonotoneOptions()
    y = np.asarray(detected, dtype=np.int64)
    _check_fit(features, y)
    types = tuple(sorted(features["host_type"].unique()))
    x = _design_matrix(features, types)
    rng = np.random.default_rng(options.seed)
    units = {name: np.unique(features[name].to_numpy(), return_inverse=True)[1] for name in _UNITS}
    n_hosts = int(units["host"].max()) + 1
    if n_hosts < options.n_folds:
        raise CatalogueError(f"{n_hosts} hosts cannot be split in n_folds = {options.n_folds}")
    with threadpool_limits(limits=1):
        fold = (rng.permutation(n_hosts) % options.n_folds)[units["host"]]
        loss, raw = _cross_validate(x, y, fold, options)
        best = int(np.argmin(loss)) + 1
        forests = [grow_forest(x, y, best, options)]
        for name in _UNITS:
            size = int(units[name].max()) + 1
            for _ in range(options.n_members):
                weight = rng.multinomial(size, np.full(size, 1.0 / size))[units[name]]
                forests.append(grow_forest(x, y, best, options, weight=weight))
    envelope = np.stack([x[:, : len(FEATURES)].min(axis=0), x[:, : len(FEATURES)].max(axis=0)], axis=1)
    card = {
        "features": list(FEATURES), "host_types": list(types), "options": asdict(options), "iterations": best,
        "n": len(y), "n_hosts": n_hosts, "n_sky_cells": int(units["sky_cell"].max()) + 1,
        "log_loss_out_of_fold": float(loss[best - 1]),
    }  # fmt: skip
    out_of_fold = expit(raw[:, best - 1].astype(np.float64))
    card = json.loads(json.dumps(card))  # what is kept is what can be written and read back
    return MonotoneFit(MonotoneModel(join_forests(forests), envelope, card), out_of_fold, loss)


def _check_fit(features: pd.DataFrame, y: NDArray[np.int64]) -> None:
    missing = [name for name in (*FEATURES, "host_type", *_UNITS) if name not in features.columns]
    if missing:
        raise CatalogueError(f"features lack the columns {', '.join(missing)}")
    if y.shape != (len(features),) or len(np.unique(y)) != 2:
        raise CatalogueError("detected must be (n,) with both detected and missed injections in it")
    bad = ~np.isfinite(features[list(FEATURES)].to_numpy(dtype=np.float64))
    if bad.any():
        named = ", ".join(f"{name} ({count})" for name, count in zip(FEATURES, bad.sum(axis=0), strict=True) if count)
        raise CatalogueError(f"features are not finite: {named}")


def _design_matrix(features: pd.DataFrame, types: tuple[str, ...]) -> NDArray[np.float64]:
    numbers = features[list(FEATURES)].to_numpy(dtype=np.float64)
    kind = features["host_type"].to_numpy(dtype=object)
    return np.column_stack([numbers, *((kind == name).astype(np.float64) for name in types)])


def _cross_validate(
    x: NDArray[np.float64], y: NDArray[np.int64], fold: NDArray[np.int64], options: MonotoneOptions
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Mean log loss after every number of trees, and logit P (n, trees) by trees that never saw the row's host."""
    raw = np.empty((len(y), options.max_iterations), dtype=np.float32)
    for number in range(options.n_folds):
        held = fold == number
        if len(np.unique(y[~held])) < 2:
            raise CatalogueError("the detections lie in too few hosts to be split for cross-validation")
        forest = grow_forest(x[~held], y[~held], options.max_iterations, options)
        raw[held] = follow_forest(forest, x[held], 0, options.max_iterations, staged=True) + forest["baseline"]
    loss = np.logaddexp(0.0, np.where(y[:, None] == 1, -raw, raw)).mean(axis=0, dtype=np.float64)
    return loss, raw
