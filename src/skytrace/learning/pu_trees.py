"""Boosted trees for positives and unlabelled rows: the label's logistic loss, or a risk of ``pu_losses`` as objective.

Small trees, slow steps and strong shrinkage: with hundreds of positives regularisation decides the ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import check_between, check_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.learning.pu_losses import PURisk

__all__ = ["TreeOptions", "Trees", "fit_label_trees", "fit_risk_trees"]


@dataclass(frozen=True)
class TreeOptions:
    """n_trees, learning_rate: steps and their size. n_leaves: of a tree; 2 would be additive. min_rows_in_leaf.
    shrinkage: L2 penalty of a leaf, in positives. row_share, feature_share: drawn anew for every tree.
    """

    n_trees: int = 200
    learning_rate: float = 0.05
    n_leaves: int = 4
    min_rows_in_leaf: int = 20
    shrinkage: float = 10.0
    row_share: float = 0.7
    feature_share: float = 0.7

    def __post_init__(self) -> None:
        check_whole("n_trees", self.n_trees, 1, 100_000)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, include_low=False)
        check_whole("n_leaves", self.n_leaves, 2, 4096)
        check_whole("min_rows_in_leaf", self.min_rows_in_leaf, 1, 10_000_000)
        check_between("shrinkage", self.shrinkage, 0.0, np.inf)
        check_between("row_share", self.row_share, 0.0, 1.0, include_low=False)
        check_between("feature_share", self.feature_share, 0.0, 1.0, include_low=False)


@dataclass(frozen=True)
class Trees:
    """A LightGBM booster and the logit that it starts from; no booster where no feature varies. threads: that score: of
    a few hundred rows the threads of a whole machine wait for each other longer than they compute.
    """

    booster: Any
    start: float = 0.0
    threads: int = 1

    def logits(self, features: NDArray) -> NDArray[np.float64]:
        """(n,)."""
        if self.booster is None:
            return np.full(len(features), self.start)
        return np.asarray(self.booster.predict(features, raw_score=True, num_threads=self.threads)) + self.start


def fit_label_trees(
    features: NDArray,
    target: NDArray,
    *,
    options: TreeOptions,
    seed: int,
    threads: int | None = None,
    weights: NDArray | None = None,
) -> Trees:
    """Trees whose logits are the log-odds of target (n,) 0 or 1, each row counted with its weight."""
    import lightgbm

    parameters = {**_parameters(options, seed, threads), "objective": "binary"}
    rows = lightgbm.Dataset(features, target, weight=weights, params=_binning(threads), free_raw_data=True)
    return Trees(lightgbm.train(parameters, rows, num_boost_round=options.n_trees), threads=threads or 1)


def fit_risk_trees(
    features: NDArray, labelled: NDArray, *, risk: PURisk, options: TreeOptions, seed: int, threads: int | None = None
) -> Trees:
    """Trees that descend on ``risk``; their logits are at its target prior.

    The whole sample is the batch: whether the negatives' risk is below -beta is asked once a tree. The risk is counted
    in positives (its positive part sums to their number), so that ``shrinkage`` means the same at every prior.
    """
    import lightgbm

    positive = np.asarray(labelled) == 1
    start = float(np.log(risk.target_prior / (1.0 - risk.target_prior)))
    unit = positive.sum() / risk.target_prior
    if not np.ptp(features, axis=0).any():
        return Trees(None, start)
    gradient, curvature = np.empty(len(positive)), np.empty(len(positive))

    def objective(raw: NDArray, _rows: Any) -> tuple[NDArray, NDArray]:
        z = raw + start
        of_positives, of_unlabelled = risk.derivatives(z[positive], z[~positive])
        gradient[positive], curvature[positive] = of_positives
        gradient[~positive], curvature[~positive] = of_unlabelled
        return gradient * unit, curvature * unit

    rows = lightgbm.Dataset(features, positive.astype(np.float64), params=_binning(threads))
    parameters = {**_parameters(options, seed, threads), "objective": objective}
    return Trees(lightgbm.train(parameters, rows, num_boost_round=options.n_trees), start, threads or 1)


_QUIET = {"verbosity": -1, "min_data_in_bin": 1, "feature_pre_filter": False}


def _binning(threads: int | None) -> dict[str, Any]:
    return {**_QUIET, "num_threads": threads or 1}


def _parameters(options: TreeOptions, seed: int, threads: int | None) -> dict[str, Any]:
    return {
        **_QUIET,
        "learning_rate": options.learning_rate,
        "num_leaves": options.n_leaves,
        "min_data_in_leaf": options.min_rows_in_leaf,
        "lambda_l2": options.shrinkage,
        "bagging_fraction": options.row_share,
        "bagging_freq": 1,
        "feature_fraction": options.feature_share,
        "min_sum_hessian_in_leaf": 1e-6,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1 if threads is None else threads,
    }
