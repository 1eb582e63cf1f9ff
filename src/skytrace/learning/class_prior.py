"""The share pi of positives among unlabelled rows: what scores of known positives and of the unlabelled say about it.

Without an assumption on the negatives only an upper bound can be known (Blanchard, Lee & Scott 2010, JMLR 11, 2973):
pi <= P_U(score >= t) / P_P(score >= t) at every t, with equality where some t keeps no negatives. The estimators assume
that there is such a t, or more; ``prior_study`` shows what that is worth at small priors. Scores must come from
classifiers that saw neither sample (out of fold), and the known positives must be like those of the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.statistics import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ESTIMATORS",
    "TAIL_SHARES",
    "apply_estimator",
    "density_ratio_prior",
    "elkan_noto_prior",
    "estimate_priors",
    "exact_density_prior",
    "gaussian_mixture_prior",
    "tail_ratio_prior",
    "tail_ratio_upper_bound",
]

#: Shares of the positives above the thresholds that the tail ratio is read at; each costs the bound some confidence.
TAIL_SHARES = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
#: Estimators from scores, in the order of the tables.
ESTIMATORS = ("elkan_noto", "tail_ratio", "density_ratio", "gaussian_mixture")


def elkan_noto_prior(positive_logits: ArrayLike, unlabelled_logits: ArrayLike) -> float:
    """pi from c = mean of g = P(labelled | x) over held-out positives (Elkan & Noto 2008, e1), at most 1.

    Logits of g, learnt from as many positives and unlabelled rows as are given: pi = n_P (1 - c) / (c n_U). It is c
    only where the classes do not overlap; where they do, c is too low and pi too high.
    """
    p, u = _scores(positive_logits, unlabelled_logits)
    c = special.expit(p).mean()
    return float(min(1.0, len(p) * (1.0 - c) / (c * len(u))))


def tail_ratio_prior(positive_scores: ArrayLike, unlabelled_scores: ArrayLike) -> float:
    """Unlabelled's share above a threshold over the positives', at the threshold where its upper limit is lowest.

    As best-bin estimation (Garg et al. 2021, NeurIPS, algorithm 1), with exact binomial limits for its Hoeffding ones,
    which at small priors would allow no threshold but the lowest.
    """
    above_p, above_u, n_p, n_u = _tail_counts(positive_scores, unlabelled_scores)
    best = np.argmin(_ratio_limits(above_p, above_u, n_p, n_u, error=0.05))
    return float(min(1.0, (above_u[best] / n_u) / (above_p[best] / n_p)))


def tail_ratio_upper_bound(positive_scores: ArrayLike, unlabelled_scores: ArrayLike, *, level: float = 0.95) -> float:
    """Upper limit of pi that holds with probability ``level`` or more, whatever the negatives are like; at most 1.

    Clopper & Pearson's (1934) exact limits of both shares, Bonferroni over both and over the thresholds. A threshold is
    the k-th highest positive score: the positives' share above it is Beta(k, n - k + 1), whose quantile is the same
    lower limit as for k successes in n trials at a threshold fixed beforehand (ties only raise it).
    """
    check_between("level", level, 0.0, 1.0, include_low=False, include_high=False)
    counts = _tail_counts(positive_scores, unlabelled_scores)
    return float(min(1.0, _ratio_limits(*counts, error=(1.0 - level) / len(counts[0])).min()))


def density_ratio_prior(positive_scores: ArrayLike, unlabelled_scores: ArrayLike) -> float:
    """Largest pi at which pi f_P / f_U exceeds 1 no more than noise does, after DEDPUL (Ivanov 2020, ICMLA, sect. 4).

    f_P / f_U by isotonic regression of the label on the score. pi r, r = f_P / f_U, is a probability, so that its mean
    over the unlabelled, cut at 1, is pi: the largest pi is taken at which that holds within one standard error.
    """
    from sklearn.isotonic import IsotonicRegression

    p, u = _scores(positive_scores, unlabelled_scores)
    label = np.r_[np.ones(len(p)), np.zeros(len(u))]
    g = IsotonicRegression(y_min=0.0, y_max=1.0 - 1e-12).fit_transform(np.r_[p, u], label)[len(p) :]
    ratio = g / (1.0 - g) * len(u) / len(p)

    def excess(log_prior: float) -> float:
        prior = np.exp(log_prior)
        cut = np.minimum(prior * ratio, 1.0)
        return prior - cut.mean() - cut.std() / np.sqrt(len(u))

    lowest = np.log(1e-3 / len(u))
    if excess(0.0) <= 0.0:
        return 1.0
    return float(np.exp(optimize.brentq(excess, lowest, 0.0))) if excess(lowest) < 0.0 else float(np.exp(lowest))


def gaussian_mixture_prior(unlabelled_scores: ArrayLike, *, seed: int = 0) -> float:
    """Weight of the higher of two Gaussians fitted to the unlabelled scores: kept for the record.

    It finds a rare class only where its scores form a hump of their own that holds enough rows; else it finds the two
    halves of whatever shape the negatives have.
    """
    from sklearn.mixture import GaussianMixture

    u = _scores([0.0], unlabelled_scores)[1][:, None]
    mixture = GaussianMixture(2, random_state=seed).fit(u)
    return float(mixture.weights_[np.argmax(mixture.means_[:, 0])])


def exact_density_prior(log_ratios: ArrayLike) -> float:
    """Maximum-likelihood pi where both densities are known: log_ratios (n,), ln p(x | positive) / p(x | negative).

    What no estimator that has to learn the densities can beat by much; used on simulations only.
    """
    gain = np.expm1(np.minimum(np.asarray(log_ratios, dtype=np.float64), 700.0))

    def slope(prior: float) -> float:
        return float(np.mean(gain / (1.0 + prior * gain)))

    if slope(0.0) <= 0.0:
        return 0.0
    highest = 1.0 - 1e-9
    return highest if slope(highest) >= 0.0 else float(optimize.brentq(slope, 0.0, highest, xtol=1e-12))


def estimate_priors(
    positive_scores: ArrayLike,
    unlabelled_scores: ArrayLike,
    *,
    estimators: Sequence[str] = ESTIMATORS,
    n_resamples: int = 200,
    seed: int,
    level: float = 0.95,
) -> pd.DataFrame:
    """A row an estimator: estimator, prior, standard_error, low_68, high_68, low_95, high_95; and the upper bound.

    Scores: out-of-fold logits of the label (``PositiveVersusUnlabelledClassifier.out_of_fold_logits_``). Intervals are
    percentile bootstraps of positives and unlabelled rows apart: they show noise, not the bias that these estimators
    have (``prior_study``). Row "upper_bound" has no interval: it is one, of probability ``level``.
    """
    import pandas as pd

    p, u = _scores(positive_scores, unlabelled_scores)
    scores, labelled = np.r_[p, u], np.r_[np.ones(len(p), np.int64), np.zeros(len(u), np.int64)]
    rows = []
    for name in estimators:
        check_choice("estimators", name, ESTIMATORS)
        found = bootstrap_interval(
            lambda s, y, name=name: apply_estimator(name, s[y == 1], s[y == 0]),
            scores, labelled, strata=labelled, n_resamples=n_resamples, seed=seed,
        )  # fmt: skip
        flat = found.as_dict()
        rows.append({"estimator": name, "prior": flat.pop("value"), **flat})
    rows.append({"estimator": "upper_bound", "prior": tail_ratio_upper_bound(p, u, level=level)})
    return pd.DataFrame(rows)


def apply_estimator(name: str, positive_scores: ArrayLike, unlabelled_scores: ArrayLike) -> float:
    """pi by one of ESTIMATORS."""
    check_choice("name", name, ESTIMATORS)
    if name == "gaussian_mixture":
        return gaussian_mixture_prior(unlabelled_scores)
    by_name = {"elkan_noto": elkan_noto_prior, "tail_ratio": tail_ratio_prior, "density_ratio": density_ratio_prior}
    return by_name[name](positive_scores, unlabelled_scores)


def _tail_counts(
    positive_scores: ArrayLike, unlabelled_scores: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Positives' ranks k that are thresholds, unlabelled rows at or above the k-th highest, and both numbers."""
    p, u = _scores(positive_scores, unlabelled_scores)
    ranks = np.unique(np.ceil(np.array(TAIL_SHARES) * len(p)).astype(np.int64))
    thresholds = np.sort(p)[::-1][ranks - 1]
    return ranks, len(u) - np.searchsorted(np.sort(u), thresholds, side="left"), len(p), len(u)


def _ratio_limits(
    above_p: NDArray[np.int64], above_u: NDArray[np.int64], n_p: int, n_u: int, *, error: float
) -> NDArray[np.float64]:
    """Upper limit of the ratio at each threshold, wrong with probability ``error``, shared by both its shares."""
    lower_p = special.betaincinv(above_p, n_p - above_p + 1.0, 0.5 * error)
    all_above = above_u == n_u
    upper_u = special.betaincinv(above_u + 1.0, np.where(all_above, 1.0, n_u - above_u), 1.0 - 0.5 * error)
    return np.where(all_above, 1.0, upper_u) / lower_p


def _scores(positive: ArrayLike, unlabelled: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = []
    for key, values in (("positive_scores", positive), ("unlabelled_scores", unlabelled)):
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 1:
            raise OptionError(f"{key} has shape {values.shape}; it must be (n,)")
        check_whole(f"len({key})", len(values), 1, 2**53)
        if not np.isfinite(values).all():
            raise OptionError(f"{key} has {int((~np.isfinite(values)).sum())} value(s) that are NaN or inf")
        found.append(values)
    return found[0], found[1]
