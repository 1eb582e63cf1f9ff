"""Gate 6: stamps of real lenses and of injections, shuffled, for people to tell apart; the key is kept elsewhere.

Half of the panel are anchors drawn by lot, half their nearest injections in conditions, host and arc brightness. A host
stands in it once: anchors are distinct, so one that is seen twice would give its injections away. The order follows
from the seed alone. No machine judges it: the gate reports that there is a panel with its key, and where people's
answers are given, how many were right.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.selection.realism.gates import GateResult
from skytrace.selection.realism.matching import match_injections
from skytrace.selection.realism.options import BlindPanelOptions
from skytrace.statistics import beta_interval

if TYPE_CHECKING:
    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.options import GateOptions

__all__ = ["blind_panel_key", "gate_blind_panel"]

_NAME = "6 blind panel"


def blind_panel_key(
    sample: ComparisonSample,
    *,
    gates: GateOptions,
    options: BlindPanelOptions | None = None,
    group_column: str = "galaxy_id",
) -> pd.DataFrame:
    """The key of a panel, one row a stamp in the panel's order: stamp (from 1), is_anchor, row, pair.

    row: place in sample.anchors or sample.injections, for whoever fetches the stamps. pair: the anchor and its matched
    injection have the same. group_column: the host, in both tables; none is shown twice, of either kind. Empty where
    fewer than half the panel's anchors have a match. The same for the same sample and seed.
    """
    options = options or BlindPanelOptions()
    half = options.stamps // 2
    matched = match_injections(
        _of_new_hosts(sample, group_column), per_anchor=1, options=gates, arc_snr_step_dex=options.arc_snr_step_dex,
        distinct=group_column,
    )  # fmt: skip
    rng = np.random.default_rng(options.seed)
    real, fake = matched.anchors, matched.injections(len(sample.anchors))
    order = np.argsort(matched.sets[~matched.is_anchor], kind="stable")
    chosen = np.sort(rng.choice(len(real), half, replace=False)) if len(real) >= half else np.zeros(0, dtype=np.int64)
    key = pd.DataFrame(
        {
            "is_anchor": np.repeat([True, False], len(chosen)),
            "row": np.concatenate([real[chosen], fake[order][chosen]]).astype(np.int64),
            "pair": np.tile(np.arange(len(chosen)), 2),
        }
    )
    key = key.iloc[rng.permutation(len(key))].reset_index(drop=True)
    key.insert(0, "stamp", np.arange(1, len(key) + 1))
    return key


def _of_new_hosts(sample: ComparisonSample, column: str) -> ComparisonSample:
    """``sample`` where an injection into an anchor's own galaxy, and an anchor of a galaxy seen before, have no match:
    their rows stay, so that those of the others keep their place.
    """
    missing = [name for name in ("anchors", "injections") if column not in getattr(sample, name)]
    if missing:
        raise CatalogueError(
            f"{' and '.join(missing)} lack the column {column}, of which the panel shows no value twice"
        )
    theirs = sample.anchors[column].astype(str)
    axis = sample.axes[0]
    anchors = sample.anchors.assign(**{axis: sample.anchors[axis].mask(theirs.duplicated())})
    shared = sample.injections[column].astype(str).isin(set(theirs))
    injections = sample.injections.assign(**{axis: sample.injections[axis].mask(shared)})
    return dataclasses.replace(sample, anchors=anchors, injections=injections)


def gate_blind_panel(
    key: pd.DataFrame, *, answers: pd.DataFrame | None = None, options: BlindPanelOptions | None = None
) -> GateResult:
    """Gate 6: there is a panel with its key; with answers, how well people tell anchors from injections.

    key: ``blind_panel_key``. answers: columns stamp, called_anchor (bool) and optionally person, one row a judgement.
    Reported, never judged.
    Raises CatalogueError where answers lack a column or name a stamp that is not in the panel.
    """
    options = options or BlindPanelOptions()
    bound = {"stamps": options.stamps}
    sizes = (int(key["is_anchor"].sum()), int((~key["is_anchor"]).sum()))
    if len(key) < options.stamps:
        sentence = f"Too few anchors have a matched injection for a panel of {options.stamps} stamps."
        return GateResult(_NAME, "insufficient", {}, bound, *sizes, sentence)
    statistics: dict[str, Any] = {"seed": options.seed, "answers": 0 if answers is None else len(answers)}
    if answers is None or not len(answers):
        sentence = (
            f"A panel of {sizes[0]} anchors and {sizes[1]} matched injections, shuffled, stands beside its key. Nobody "
            "was asked yet: this says that the panel is there, not that it deceives anyone."
        )
        return GateResult(_NAME, "reported", statistics, bound, *sizes, sentence)
    missing = [name for name in ("stamp", "called_anchor") if name not in answers.columns]
    unknown = set() if missing else set(answers["stamp"]) - set(key["stamp"])
    if missing or unknown:
        raise CatalogueError(f"answers lack columns {missing} or name stamps {sorted(unknown)} that are not shown")
    truth = key.set_index("stamp")["is_anchor"].loc[answers["stamp"]].to_numpy(dtype=bool)
    right = int((truth == answers["called_anchor"].to_numpy(dtype=bool)).sum())
    low, high = beta_interval(right, len(answers), 0.9545)
    people = int(answers["person"].nunique()) if "person" in answers else 1
    statistics |= {"right": right, "share_right": right / len(answers), "low95": float(low), "high95": float(high)}
    statistics["people"] = people
    sentence = (
        f"{right} of {len(answers)} answers of {people} person(s) were right (95 %: {low:.2f}-{high:.2f}, chance 0.5)."
    )
    return GateResult(_NAME, "reported", statistics, bound, *sizes, sentence)
