"""Glue: what every compared detector's threshold rests on, and what it detects of the test split."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.learning import ThresholdOptions
from skytrace.learning.ensemble import Ensemble
from skytrace.learning.evaluation import count_share
from skytrace.learning.metrics import choose_threshold
from skytrace.learning.resampling import CELL
from skytrace.learning.threshold_noise import resampled_thresholds
from skytrace.pipelines.injection_studies.ensemble import DEFAULT
from skytrace.statistics import beta_interval, design_effect
from skytrace.statistics.intervals import LEVELS

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["bare_host_rate", "operating_points", "split_scores", "threshold_draws"]

#: A threshold chosen again on the scores that it was chosen on is the same but for the last bits.
_SAME = 1e-6


def split_scores(
    scores: Table, masked_scores: Table, ensemble: Ensemble, ensemble_validation: Table, ensemble_scores: Table
) -> tuple[Table, Table]:
    """(validation, test): galaxy_id, label, sky cell, and a column of scores for every compared detector.

    Raises CatalogueError where a detector's scores are of other galaxies than the frozen one's.
    """
    named = {f"member_{name}": name for name in ensemble.members}
    ensembles = {
        "val": ensemble_validation.rename(columns={ensemble.options.combination: "ensemble"}),
        "test": ensemble_scores,
    }
    parts = []
    for split, of_ensemble in ensembles.items():
        rows = scores.loc[scores["split"] == split, ["galaxy_id", "label", CELL, "score"]].reset_index(drop=True)
        rows = rows.rename(columns={"score": DEFAULT})
        masked = masked_scores[masked_scores["split"] == split]
        rows["masked"] = _aligned(masked, rows["galaxy_id"], f"masked, {split}")["score"].to_numpy()
        others = _aligned(of_ensemble, rows["galaxy_id"], f"ensemble, {split}")
        for column, own in {**named, "ensemble": "ensemble"}.items():
            rows[column] = others[own].to_numpy()
        parts.append(rows)
    return parts[0], parts[1]


def _aligned(table: Table, galaxy_id: pd.Series, what: str) -> Table:
    if set(table["galaxy_id"]) != set(galaxy_id) or len(table) != len(galaxy_id):
        raise CatalogueError(
            f"scores of {what}: {len(table)} rows, not the {len(galaxy_id)} galaxies of the frozen one"
        )
    return table.set_index("galaxy_id").loc[galaxy_id]


def threshold_draws(
    detectors: Mapping[str, Any], validation: Table, options: ThresholdOptions, *, n_resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """name -> (n_resamples,) thresholds, chosen again in every resample of the validation galaxies: one for all.

    A fixed threshold stays. Raises CatalogueError where the scores are not those that a threshold was chosen on.
    """
    if options.rule == "fixed":
        return {name: np.full(n_resamples, one.threshold) for name, one in detectors.items()}
    for name, one in detectors.items():
        again = choose_threshold(validation[name], validation["label"], options=options)["value"]
        if abs(again - one.threshold) > _SAME:
            raise CatalogueError(
                f"the threshold of {name} is {one.threshold:g}, and {again:g} on the validation scores given: these "
                "are not the scores that it was chosen on"
            )
    galaxies = validation[validation["label"] == 0]
    return resampled_thresholds(
        {name: galaxies[name].to_numpy() for name in detectors}, rate=options.false_positive_rate,
        cells=galaxies[CELL].to_numpy(), n_resamples=n_resamples, seed=seed,
    )  # fmt: skip


def operating_points(detectors: Mapping[str, Any], validation: Table, test: Table) -> dict[str, Report]:
    """Of every detector at its threshold: share of the galaxies (false positives) and of the lenses that it detects, on
    validation, where the threshold was chosen, and on test; each with Jeffreys 68 and 95 % intervals.
    """
    points: dict[str, Report] = {}
    for name, one in detectors.items():
        points[name] = {}
        for split, table in (("validation", validation), ("test", test)):
            for what, label in (("false_positive_rate", 0), ("lenses_found", 1)):
                chosen = table.loc[table["label"] == label, name].to_numpy() >= one.threshold
                points[name][f"{split}_{what}"] = count_share(chosen)
    return points


def bare_host_rate(injections: Table, threshold: float) -> Report | None:
    """The frozen detector's false positives on the hosts as they were injected into, degraded ones included.

    One trial a host and condition; a galaxy that is host in several counts by the design effect. None without the
    column host_score.
    """
    if "host_score" not in injections:
        return None
    hosts = injections.drop_duplicates(["galaxy_id", "psf_index", "depth_index"])
    detected = hosts["host_score"].to_numpy() >= threshold
    effect = design_effect(detected, hosts["galaxy_id"])
    effective = len(hosts) / (max(effect, 1.0) if np.isfinite(effect) else 1.0)
    record: Report = {
        "k": int(detected.sum()), "n": len(hosts), "galaxies": int(hosts["galaxy_id"].nunique()),
        "value": float(detected.mean()), "n_effective": effective,
    }  # fmt: skip
    for name, level in LEVELS.items():
        low, high = beta_interval(detected.mean() * effective, effective, level)
        record |= {f"low_{name}": float(low), f"high_{name}": float(high)}
    return record
