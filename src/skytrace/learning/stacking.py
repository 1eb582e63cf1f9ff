"""A logistic meta-learner over the members of an ensemble (Wolpert 1992), fitted on scores that no member trained on.

Features of a stamp: every member's logit, whether it lies in the member's domain, and the product of the two, by which
a member may count for more where it is at home.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from skytrace.errors import CatalogueError
from skytrace.statistics.streams import stream_uniforms

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.learning.options import EnsembleOptions

__all__ = ["clipped_logit", "cross_fitted_scores", "fit_stacking", "fold_numbers", "stacked_scores"]

#: Scores nearer to 0 or 1 than this are taken as this near: a logit stays within +-27.6.
_SCORE_FLOOR = 1e-12


def clipped_logit(scores: ArrayLike) -> NDArray[np.float64]:
    """log(s / (1 - s)), finite for every score in [0, 1]."""
    return logit(np.clip(np.asarray(scores, dtype=np.float64), _SCORE_FLOOR, 1.0 - _SCORE_FLOOR))


def fold_numbers(labels: ArrayLike, *, folds: int, seed: int) -> NDArray[np.int64]:
    """Fold (n,) of every row, 0 ... folds - 1, each with the same number of lenses and of galaxies to within one.

    Raises CatalogueError where a class has fewer members than folds.
    """
    labels = np.asarray(labels)
    numbers = np.empty(len(labels), dtype=np.int64)
    draw = stream_uniforms(np.arange(len(labels)), 1, seed=seed)[:, 0]
    for value, name in ((1, "lenses"), (0, "galaxies")):
        rows = np.flatnonzero(labels == value)
        if len(rows) < folds:
            raise CatalogueError(f"{len(rows)} {name} cannot be divided into {folds} folds; use fewer folds")
        numbers[rows[np.argsort(draw[rows], kind="stable")]] = np.arange(len(rows)) % folds
    return numbers


def fit_stacking(
    scores: pd.DataFrame, domains: pd.DataFrame, labels: ArrayLike, *, options: EnsembleOptions
) -> dict[str, Any]:
    """JSON-ready coefficients on standardised features; see ``stacked_scores``.

    scores, domains: one column a member. Raises CatalogueError without both classes.
    """
    from sklearn.linear_model import LogisticRegression

    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        raise CatalogueError("a meta-learner needs both lenses and galaxies among the validation stamps")
    features, names = _features(scores, domains)
    mean, sd = features.mean(axis=0), features.std(axis=0)
    sd = np.where(sd > 1e-12, sd, 1.0)
    model = LogisticRegression(C=options.penalty, max_iter=10_000, tol=1e-10).fit((features - mean) / sd, labels)
    return {
        "members": list(scores.columns),
        "features": names,
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "coefficients": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
        "fitted_on": {"lenses": int(labels.sum()), "galaxies": int((labels == 0).sum())},
    }


def stacked_scores(stacking: dict[str, Any], scores: pd.DataFrame, domains: pd.DataFrame) -> NDArray[np.float64]:
    """Scores (n,) of the meta-learner: probabilities at the share of lenses that it was fitted on."""
    members = stacking["members"]
    features, _ = _features(scores[members], domains[members])
    scaled = (features - np.array(stacking["mean"])) / np.array(stacking["sd"])
    return expit(scaled @ np.array(stacking["coefficients"]) + stacking["intercept"])


def cross_fitted_scores(
    scores: pd.DataFrame, domains: pd.DataFrame, labels: ArrayLike, *, options: EnsembleOptions
) -> NDArray[np.float64]:
    """Scores (n,) in which every row is scored by a meta-learner fitted on the other folds."""
    labels = np.asarray(labels)
    fold = fold_numbers(labels, folds=options.folds, seed=options.seed)
    crossed = np.empty(len(labels))
    for number in range(options.folds):
        held = fold == number
        stacking = fit_stacking(scores[~held], domains[~held], labels[~held], options=options)
        crossed[held] = stacked_scores(stacking, scores[held], domains[held])
    return crossed


def _features(scores: pd.DataFrame, domains: pd.DataFrame) -> tuple[NDArray[np.float64], list[str]]:
    """The domain itself is no feature: it would let the meta-learner score a galaxy by its type or its seeing alone."""
    logits = clipped_logit(scores.to_numpy())
    within = domains.to_numpy(dtype=np.float64)
    names = [f"{kind}:{name}" for kind in ("logit", "logit x domain") for name in scores.columns]
    return np.hstack([logits, logits * within]), names
