"""A logistic meta-learner over classifiers of positives and unlabelled rows (Wolpert 1992), on out-of-fold logits.

What it learns is the *label*: known positive or not. Its output is a ranking; probabilities of being positive come from
``pu_calibration.fit_pu_scale`` on rows that neither members nor meta-learner saw. Unlike ``stacking``, which combines
scores of labelled stamps, it takes logits as they are, clipped nowhere. No weight is negative (Breiman 1996): members
that learnt from the same rows agree closely, and a free fit sets large weights of either sign on their differences,
which are noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["cross_fitted_stack", "fit_pu_stack", "stacked_logits"]


def fit_pu_stack(logits: pd.DataFrame, labelled: ArrayLike, *, penalty: float = 1.0) -> dict[str, Any]:
    """JSON-ready coefficients >= 0 on standardised logits; see ``stacked_logits``.

    logits: a column a member, out of fold. labelled (n,): 1 known positive, 0 unlabelled. penalty: inverse
    regularisation C. Raises CatalogueError without both labels or on a logit that is not finite.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    labelled = np.asarray(labelled)
    values = logits.to_numpy(dtype=np.float64)
    if len(np.unique(labelled)) < 2:
        raise CatalogueError("a meta-learner needs known positives and unlabelled rows")
    if not np.isfinite(values).all():
        raise CatalogueError(f"{int((~np.isfinite(values)).sum())} logit(s) are NaN or inf: a meta-learner needs all")
    mean, sd = values.mean(axis=0), values.std(axis=0)
    sd = np.where(sd > 1e-12, sd, 1.0)
    scaled, s = (values - mean) / sd, labelled.astype(np.float64)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, intercept = parameters[:-1], parameters[-1]
        z = scaled @ weights + intercept
        slack = penalty * (expit(z) - s)
        value = -penalty * np.sum(s * log_expit(z) + (1.0 - s) * log_expit(-z)) + 0.5 * weights @ weights
        return value, np.append(scaled.T @ slack + weights, slack.sum())

    bounds = [(0.0, None)] * values.shape[1] + [(None, None)]
    start = np.append(np.full(values.shape[1], 1.0 / values.shape[1]), 0.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-8})
    return {
        "members": [str(name) for name in logits.columns],
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "coefficients": found.x[:-1].tolist(),
        "intercept": float(found.x[-1]),
        "fitted_on": {"positives": int(labelled.sum()), "unlabelled": int((labelled == 0).sum())},
    }


def stacked_logits(stack: dict[str, Any], logits: pd.DataFrame) -> NDArray[np.float64]:
    """Log-odds (n,) of the label, clipped nowhere."""
    scaled = (logits[stack["members"]].to_numpy(dtype=np.float64) - np.array(stack["mean"])) / np.array(stack["sd"])
    return scaled @ np.array(stack["coefficients"]) + stack["intercept"]


def cross_fitted_stack(
    logits: pd.DataFrame, labelled: ArrayLike, fold: ArrayLike, *, penalty: float = 1.0
) -> NDArray[np.float64]:
    """Log-odds (n,) in which the rows of every fold (n,) are scored by a meta-learner fitted on the other folds."""
    labelled, fold = np.asarray(labelled), np.asarray(fold)
    crossed = np.empty(len(labelled))
    for number in np.unique(fold):
        held = fold == number
        crossed[held] = stacked_logits(fit_pu_stack(logits[~held], labelled[~held], penalty=penalty), logits[held])
    return crossed
