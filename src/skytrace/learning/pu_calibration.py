"""The scale of probabilities learnt from positives and unlabelled rows: two numbers, fitted on out-of-fold logits.

The labels say which rows were *chosen* as positives, not which are. So nothing is calibrated on them as if the
unlabelled were negative: what is maximised is the likelihood of the labels under case-control sampling (n_P positives
drawn apart from n_U unlabelled rows), where a probability q at the prior pi means odds n_P q / (pi n_U) of a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["fit_label_scale", "fit_pu_scale", "logits_of_log_probability"]

#: Widths of the weak Gaussian priors on ln slope and intercept: they decide only where a handful of positives cannot.
_SLOPE_WIDTH, _INTERCEPT_WIDTH = 1.0, 5.0


def fit_label_scale(logits: ArrayLike, labelled: ArrayLike) -> tuple[float, float]:
    """(slope > 0, intercept): slope x logit + intercept is the log-odds of the *label* (Platt 1999).

    Raises OptionError without a positive or an unlabelled row, CatalogueError on logits that are not finite.
    """
    return _fitted(logits, labelled, prior=None)


def fit_pu_scale(logits: ArrayLike, labelled: ArrayLike, *, prior: float) -> tuple[float, float]:
    """(slope > 0, intercept): slope x logit + intercept is the log-odds of being positive, at the prior.

    logits (n,): out of fold, at the prior, of the positives and of the unlabelled. labelled (n,): 1 and 0. Raises
    OptionError for a prior outside (0, 1), without a positive or an unlabelled row, CatalogueError on logits that are
    not finite.
    """
    check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
    return _fitted(logits, labelled, prior=prior)


def logits_of_log_probability(log_probability: ArrayLike) -> NDArray[np.float64]:
    """ln p / (1 - p) up to p = 1/2, and its tangent in ln p beyond: finite, rising and 0 at p = 1/2, also for p > 1.

    An estimate of a probability that is a ratio of densities can exceed 1; clipped there it would rank no more.
    """
    log_p = np.asarray(log_probability, dtype=np.float64)
    half = np.log(0.5)
    return np.where(log_p <= half, logit(np.exp(np.minimum(log_p, half))), 2.0 * (log_p - half))


def _fitted(logits: ArrayLike, labelled: ArrayLike, *, prior: float | None) -> tuple[float, float]:
    z, s = np.asarray(logits, dtype=np.float64), np.asarray(labelled, dtype=np.float64)
    _check(z, s)
    offset = 0.0 if prior is None else np.log(s.sum() / (prior * (1.0 - s).sum()))

    def minus_log_posterior(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = np.exp(parameters[0])
        u = slope * z + parameters[1]
        odds = u if prior is None else offset + log_expit(u)  # ln odds of a label
        slack = (expit(odds) - s) * (1.0 if prior is None else expit(-u))
        widths = np.array([_SLOPE_WIDTH, _INTERCEPT_WIDTH])
        loss = -np.sum(s * log_expit(odds) + (1.0 - s) * log_expit(-odds))
        gradient = np.array([slope * np.sum(slack * z), np.sum(slack)])
        return loss + 0.5 * np.sum((parameters / widths) ** 2), gradient + parameters / widths**2

    found = minimize(minus_log_posterior, np.zeros(2), jac=True, method="BFGS")
    return float(np.exp(found.x[0])), float(found.x[1])


def _check(logits: NDArray[np.float64], labelled: NDArray[np.float64]) -> None:
    if logits.ndim != 1 or logits.shape != labelled.shape:
        raise CatalogueError(f"logits {logits.shape} and labelled {labelled.shape} must be two lists of one length")
    if not np.isin(labelled, (0.0, 1.0)).all():
        raise OptionError(f"labelled holds {np.unique(labelled)[:5]}; a row is 1 (known positive) or 0 (unlabelled)")
    check_whole("n_positives", int(labelled.sum()), 1, np.inf)
    check_whole("n_unlabelled", int((1.0 - labelled).sum()), 1, np.inf)
    wrong = int((~np.isfinite(logits)).sum())
    if wrong:
        raise CatalogueError(f"{wrong} of {len(logits)} logits are NaN or inf; a scale needs numbers")
