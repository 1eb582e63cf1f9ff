"""Boosted trees as plain arrays: grown by scikit-learn, followed by our own lookup, checked against it at every fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from skytrace.selection.monotone_model import MonotoneOptions

__all__ = ["NODE_ARRAYS", "follow_forest", "grow_forest", "join_forests"]

#: What a forest is stored as, see ``MonotoneModel``.
NODE_ARRAYS = ("feature", "threshold", "left", "right", "value", "tree_start", "forest_start", "baseline")
_ROWS = 4096  # followed through the trees at a time: some MB


def grow_forest(
    x: NDArray[np.float64], y: NDArray[np.int64], iterations: int, options: MonotoneOptions, *,
    weight: NDArray[np.int64] | None = None,
) -> dict[str, NDArray]:  # fmt: skip
    """A forest's trees as arrays, checked against the library that grew them."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if weight is not None:
        drawn = weight > 0
        x, y, weight = x[drawn], y[drawn], weight[drawn]
    if len(np.unique(y)) < 2:
        raise CatalogueError("a resample holds no detection: too few hosts are detected for a model with an error")
    signs = [*options.signs.values(), *[0] * (x.shape[1] - len(options.signs))]
    grower = HistGradientBoostingClassifier(
        learning_rate=options.learning_rate, max_iter=iterations, max_leaf_nodes=options.max_leaf_nodes,
        min_samples_leaf=options.min_samples_leaf, l2_regularization=options.l2, monotonic_cst=signs,
        early_stopping=False, random_state=options.seed,
    ).fit(x, y, sample_weight=weight)  # fmt: skip
    # the node table and the baseline have no public name; the comparison below says at once if they change their sense
    trees = [stage[0].nodes for stage in grower._predictors]
    size = np.array([len(nodes) for nodes in trees])
    start = np.concatenate([[0], np.cumsum(size)])
    nodes = np.concatenate(trees)
    offset, leaf = np.repeat(start[:-1], size), nodes["is_leaf"].astype(bool)
    own = np.arange(len(nodes))
    forest = {
        "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(np.int16),
        "threshold": np.where(leaf, np.inf, nodes["num_threshold"]),
        "left": np.where(leaf, own, nodes["left"] + offset).astype(np.int32),
        "right": np.where(leaf, own, nodes["right"] + offset).astype(np.int32),
        "value": np.where(leaf, nodes["value"], 0.0),
        "tree_start": start[:-1].astype(np.int32),
        "baseline": np.ravel(grower._baseline_prediction).astype(np.float64),
    }
    some = x[:: max(1, len(x) // 500)]
    ours = follow_forest(forest, some, 0, len(trees)) + forest["baseline"]
    if not np.allclose(ours, grower.decision_function(some), rtol=0.0, atol=1e-8):
        raise CatalogueError(
            "trees read from scikit-learn give other values than its own: this version is not supported"
        )
    return forest


def follow_forest(
    nodes: Mapping[str, NDArray], x: NDArray[np.float64], first: int, last: int, *, staged: bool = False
) -> NDArray[np.float64]:
    """Sum over trees first..last - 1 of the value of the leaf that every row falls in; staged: the running sums."""
    out = np.zeros((len(x), last - first) if staged else len(x))
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        place = np.broadcast_to(nodes["tree_start"][first:last], (len(rows), last - first)).astype(np.int32)
        line = np.arange(len(rows))[:, None]
        while True:
            below = rows[line, nodes["feature"][place]] <= nodes["threshold"][place]
            following = np.where(below, nodes["left"][place], nodes["right"][place])
            if (following == place).all():
                break
            place = following
        values = nodes["value"][place]
        out[start : start + _ROWS] = np.cumsum(values, axis=1) if staged else values.sum(axis=1)
    return out


def join_forests(forests: list[dict[str, NDArray]]) -> dict[str, NDArray]:
    """The trees of several forests as one set of arrays, in order."""
    size = [len(forest["value"]) for forest in forests]
    offset = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int32)
    joined = {
        name: np.concatenate([forest[name] for forest in forests])
        for name in ("feature", "threshold", "value", "baseline")
    }
    for name in ("left", "right", "tree_start"):
        joined[name] = np.concatenate([forest[name] + at for forest, at in zip(forests, offset, strict=True)])
    n_trees = [len(forest["tree_start"]) for forest in forests]
    joined["forest_start"] = np.concatenate([[0], np.cumsum(n_trees)]).astype(np.int32)
    return joined
