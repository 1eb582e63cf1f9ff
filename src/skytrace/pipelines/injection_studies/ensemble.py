"""Glue: the detectors that a study compares, and what an ensemble must know of a composite beside its pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skytrace.errors import OptionError
from skytrace.learning import Detector, ThresholdOptions
from skytrace.learning.ensemble import Ensemble
from skytrace.learning.metrics import choose_threshold
from skytrace.selection.condition_sky import ConditionSky
from skytrace.selection.hosts import TARGET_COLUMNS
from skytrace.sky.strata import nobs_z_bin

Table = pd.DataFrame

__all__ = ["DEFAULT", "add_ensemble_score", "compared_detectors", "frozen_members", "seen_conditions"]

#: The frozen detector's name in tables of several.
DEFAULT = "default"
_BANDS = ("g", "r", "z")


def compared_detectors(
    detector: Detector,
    masked_detector: Detector,
    ensemble: Ensemble,
    ensemble_validation: Table,
    threshold: ThresholdOptions,
) -> dict[str, Detector | Ensemble]:
    """The frozen detector first, then all others by name: masked, member_<name>, ensemble. Each has its threshold."""
    members = frozen_members(ensemble, ensemble_validation, threshold)
    return {DEFAULT: detector, "masked": masked_detector, **members, "ensemble": ensemble}


def frozen_members(ensemble: Ensemble, validation: Table, threshold: ThresholdOptions) -> dict[str, Detector]:
    """The ensemble's members as detectors of their own: its preprocessing and split, a threshold chosen for each.

    validation: of ``learning.ensemble.train_ensemble``, label and one column of scores a member.
    """
    shared = {name: ensemble.card[name] for name in ("preprocessing", "split")}
    return {
        f"member_{name}": member.with_card(
            **shared, threshold=choose_threshold(validation[name], validation["label"], options=threshold)
        )
        for name, member in ensemble.members.items()
    }


def add_ensemble_score(injections: Table, ensemble: Ensemble, hosts: Table, conditions: Table) -> Table:
    """The same with score_ensemble, of the columns score_member_<name>."""
    scores = pd.DataFrame({name: injections[f"score_member_{name}"] for name in ensemble.members})
    metadata = seen_conditions(injections, hosts, conditions)
    missing = [name for name in ensemble.metadata_columns if name not in metadata]
    if missing:
        raise OptionError(
            f"the ensemble's domains need {', '.join(missing)}, which a composite has not; there are {list(metadata)}"
        )
    return injections.assign(score_ensemble=ensemble.combine(scores, metadata=metadata))


def seen_conditions(injections: Table, hosts: Table, conditions: Table) -> Table:
    """Observing conditions and catalogued type (n rows) of composites *as the detector sees them*.

    A degraded host has the sky that it was degraded to (``ConditionSky.reached_by``), not its own. No galdepth: it is
    the catalogue's, and nothing says what it would be in the other sky.
    """
    own = [f"{name}_{band}" for name in ("psfsize", "psfdepth") for band in _BANDS]
    condition = conditions[["psf_index", "depth_index", "condition", *TARGET_COLUMNS]]
    rows = injections[["psf_index", "depth_index", "galaxy_id", "mode"]].merge(
        condition, on=["psf_index", "depth_index"], how="left", validate="many_to_one"
    )
    named = hosts[["condition", "galaxy_id", *own, "nobs_z", "type", "ebv"]]
    rows = rows.merge(named, on=["condition", "galaxy_id"], how="left", validate="many_to_one")
    size, depth = np.split(rows[own].to_numpy(dtype=float), 2, axis=1)
    target = ConditionSky(*np.split(rows[list(TARGET_COLUMNS)].to_numpy(dtype=float), 2, axis=1))
    reached, degraded = target.reached_by(size, depth), (rows["mode"] == "degraded").to_numpy()[:, None]
    values = np.hstack([np.where(degraded, reached.psfsize, size), np.where(degraded, reached.psfdepth, depth)])
    seen: Mapping[str, Any] = dict(zip(own, values.T, strict=True))
    extra = {"ebv": rows["ebv"], "nobs_z_bin": nobs_z_bin(rows["nobs_z"]), "type_bin": rows["type"].astype(str)}
    return pd.DataFrame({**seen, **extra}, index=injections.index)
