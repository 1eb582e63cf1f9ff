"""How well can a classifier tell real lenses from injections that it was not fitted on?

The AUC of out-of-fold scores, pairs compared within a fold only (classifiers of different folds have different zeros,
which bends a pooled AUC below 1/2 where nothing differs). Its error is the bootstrap of the scores by groups, and what
that cannot see: classifiers of different folds share rows, and where labels say nothing, what one fold's classifier
learns by chance helps in the other folds too. This excess of variance is measured where the truth is known, on labels
permuted within matched sets. Where labels do tell, the data fix the classifier and the excess goes (see
``_standard_error``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit, ndtr, stdtrit

from skytrace.audit.resampling import resample_counts, resampled_auc
from skytrace.errors import CatalogueError
from skytrace.selection.realism.matching import fold_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.realism.options import CrossValidationOptions

__all__ = [
    "CrossValidatedAuc",
    "chance_above",
    "cross_validated_auc",
    "fold_numbers",
    "out_of_fold",
    "within_fold_auc",
]

#: Permutations whose bootstrap error is computed too: enough for a mean to some per cent.
_BOOTSTRAPPED = 20
#: Upper ends of the intervals of one and two normal standard deviations: 68.3 and 95.4 %.
_ENDS = (0.84135, 0.97725)


@dataclass(frozen=True)
class CrossValidatedAuc:
    """auc with its intervals at 68 and 95 %; p: share of permutations with an AUC as large, (1 + hits) / (1 + tries).
    null_mean, null_sd: of the permuted AUCs. widening: standard error over the bootstrap's, at least 1. sets_whole:
    were matched sets kept in one fold. fold, score: (m,) of each row. Intervals are of the AUC expected of such
    samples.
    """

    auc: float
    low_68: float
    high_68: float
    low_95: float
    high_95: float
    p: float
    null_mean: float
    null_sd: float
    widening: float
    sets_whole: bool
    fold: NDArray[np.int64]
    score: NDArray[np.float64]

    def as_dict(self) -> dict[str, Any]:
        """The numbers of a report."""
        names = ("auc", "low_68", "high_68", "low_95", "high_95", "p", "null_mean", "null_sd", "widening", "sets_whole")
        return {name: getattr(self, name) for name in names}


def cross_validated_auc(
    features: NDArray[np.floating],
    is_anchor: NDArray[np.bool_],
    *,
    sets: NDArray[np.int64],
    groups: NDArray,
    relabel: Callable[[np.random.Generator], NDArray[np.bool_]],
    classifier: Callable[[], Any],
    options: CrossValidationOptions,
) -> CrossValidatedAuc:
    """AUC of a classifier (fit, predict_proba) of features (m, d), tried on groups that it was not fitted on.

    sets: (m,) matched set of each row; groups: (m,) host or sky cell. relabel: draws labels under the null.
    Raises CatalogueError where the groups are too few for the folds.
    """
    fold, sets_whole = fold_numbers(is_anchor, sets, groups, options=options)
    clusters = np.unique(fold_groups(sets, groups, folds=options.folds)[0], return_inverse=True)[1]
    score, _ = out_of_fold(features, is_anchor, fold, classifier)
    counts = resample_counts(is_anchor, clusters, n_resamples=options.n_resamples, seed=options.seed)
    auc = float(within_fold_auc(score, is_anchor, fold)[0])
    draws = within_fold_auc(score, is_anchor, fold, counts)
    rng = np.random.default_rng(options.seed + 1)
    permuted, errors = np.empty(options.n_permutations), []
    for k in range(options.n_permutations):
        labels = relabel(rng)
        scored, _ = out_of_fold(features, labels, fold, classifier)
        permuted[k] = within_fold_auc(scored, labels, fold)[0]
        if k < _BOOTSTRAPPED:
            errors.append(np.nanstd(within_fold_auc(scored, labels, fold, counts)))
    null_sd, boot = float(permuted.std(ddof=1)), float(np.nanstd(draws))
    n_fewer = int(min(is_anchor.sum(), (~is_anchor).sum()))
    error, degrees = _standard_error(
        auc, boot, null_sd, float(np.mean(errors)), n_permutations=options.n_permutations, n_fewer=n_fewer
    )
    low_68, high_68, low_95, high_95 = _logit_interval(auc, error, degrees=degrees, n_fewer=n_fewer)
    p = (1.0 + (permuted >= auc - 1e-12).sum()) / (1.0 + options.n_permutations)
    return CrossValidatedAuc(
        auc, low_68, high_68, low_95, high_95, float(p), float(permuted.mean()), null_sd,
        error / boot if boot > 0 else 1.0, sets_whole, fold, score,
    )  # fmt: skip


def chance_above(
    measured: CrossValidatedAuc, true_auc: ArrayLike, *, bound: float, n_anchors: int, n_injections: int
) -> NDArray[np.float64]:
    """Chance that the 95 % interval of another such sample lies wholly above ``bound``, by its true AUC (k,).

    The estimate is taken as normal in logit AUC. Its error at another AUC is the measured one in the proportion of
    Hanley & McNeil (1982), whose formula knows neither shared hosts nor refitted classifiers; and so is the interval's
    half-width, at the estimate that barely lies above. For normal scores the chance is up to 0.1 too small.
    """
    n_fewer = min(n_anchors, n_injections)
    known = float(np.clip(measured.auc, 0.5 / n_fewer, 1.0 - 0.5 / n_fewer))

    def relative(auc: NDArray[np.float64]) -> NDArray[np.float64]:
        return _hanley_mcneil_logit_error(auc, n_anchors, n_injections) / _hanley_mcneil_logit_error(
            np.array(known), n_anchors, n_injections
        )

    # ends on the side of 1/2 are never clipped at the estimate
    sign = 1.0 if known >= 0.5 else -1.0
    ends = (measured.low_68, measured.low_95) if known >= 0.5 else (measured.high_68, measured.high_95)
    error, half_width = (sign * (logit(known) - logit(end)) for end in ends)
    estimates = np.linspace(bound, 1.0 - 0.25 / n_fewer, 2000)
    above = logit(estimates) - half_width * relative(estimates) > logit(bound)
    if not above.any():
        return np.zeros(np.shape(np.atleast_1d(true_auc)))
    barely = logit(estimates[np.argmax(above)])
    truth = np.clip(np.atleast_1d(np.asarray(true_auc, dtype=np.float64)), 1e-6, 1.0 - 1e-6)
    return np.asarray(ndtr((logit(truth) - barely) / (error * relative(truth))))


def _hanley_mcneil_logit_error(auc: NDArray[np.float64], n: int, m: int) -> NDArray[np.float64]:
    """Standard error of logit AUC of n and m independent rows with exponential scores (Hanley & McNeil 1982, eq. 2)."""
    first, second = auc / (2.0 - auc) - auc**2, 2.0 * auc**2 / (1.0 + auc) - auc**2
    variance = (auc * (1.0 - auc) + (n - 1) * first + (m - 1) * second) / (n * m)
    return np.asarray(np.sqrt(variance) / (auc * (1.0 - auc)))


def _standard_error(
    auc: float, boot: float, null_sd: float, null_boot: float, *, n_permutations: int, n_fewer: int
) -> tuple[float, float]:
    """Root of the bootstrap variance and the permutations' excess over their own bootstrap; its degrees of freedom.

    The excess counts in full while the AUC lies within the 95 % range of the permuted ones (so that the 95 % interval
    holds 1/2 about where a t-test on the permutations keeps it), and falls as the fourth power of the distance beyond:
    at AUC 0.8 of 60 anchors the bootstrap alone has the right scatter (0.039; 200 samples: 0.036). Degrees of freedom
    after Satterthwaite (1946), of the permutations and of the smaller class. Scores that never overlap have no
    bootstrap variance, and 0 is returned.
    """
    few = n_permutations - 1
    if null_sd <= 0 or boot <= 0:
        return boot, float(n_fewer - 1)
    distance = abs(auc - 0.5) / (null_sd * stdtrit(few, _ENDS[1]))
    share = 1.0 / max(distance, 1.0) ** 4
    variance = boot**2 + share * max(null_sd**2 - null_boot**2, 0.0)
    doubt = (share * null_sd**2) ** 2 / few + boot**4 / max(n_fewer - 1, 1)
    return float(np.sqrt(variance)), float(variance**2 / doubt)


def _logit_interval(auc: float, error: float, *, degrees: float, n_fewer: int) -> tuple[float, float, float, float]:
    """Ends at 68 and 95 %, symmetric in logit AUC (Pepe 2003, section 5.3), by Student's t. An AUC of 0 or 1 is taken
    half a row of the smaller class inside; without an error, it is that of so many independent rows.
    """
    inside = float(np.clip(auc, 0.5 / n_fewer, 1.0 - 0.5 / n_fewer))
    slope = inside * (1.0 - inside)
    if error <= 0:
        error = float(np.sqrt(slope / n_fewer))
    t_68, t_95 = stdtrit(max(degrees, 1.0), np.array(_ENDS)) * error / slope
    ends = expit(logit(inside) + np.array([-t_68, t_68, -t_95, t_95]))
    ends = np.where([True, False, True, False], np.minimum(ends, auc), np.maximum(ends, auc))
    return float(ends[0]), float(ends[1]), float(ends[2]), float(ends[3])


def fold_numbers(
    is_anchor: NDArray[np.bool_], sets: NDArray[np.int64], groups: NDArray, *, options: CrossValidationOptions
) -> tuple[NDArray[np.int64], bool]:
    """Fold (m,) of each row, groups whole and, where ``fold_groups`` allows it, matched sets too."""
    from sklearn.model_selection import StratifiedGroupKFold

    whole, sets_whole = fold_groups(sets, groups, folds=options.folds)
    fewest = min(len(np.unique(whole[is_anchor])), len(np.unique(whole[~is_anchor])))
    if fewest < options.folds:
        raise CatalogueError(
            f"anchors or injections lie in {fewest} group(s) only; {options.folds} folds need as many at least"
        )
    fold = np.zeros(len(whole), dtype=np.int64)
    parts = StratifiedGroupKFold(options.folds, shuffle=True, random_state=options.seed % 2**32)
    for number, (_, tried) in enumerate(parts.split(np.zeros(len(whole)), is_anchor, whole)):
        fold[tried] = number
    return fold, sets_whole


def out_of_fold(
    features: NDArray[np.floating], is_anchor: NDArray[np.bool_], fold: NDArray[np.int64], classifier: Callable[[], Any]
) -> tuple[NDArray[np.float64], list[Any]]:
    """Score (m,) of every row by the classifier of the other folds, and these classifiers in the order of the folds.

    A fold whose complement holds one class only is scored 1/2 throughout.
    """
    score, models = np.full(len(fold), 0.5), []
    for number in range(int(fold.max()) + 1):
        fitted = fold != number
        model = None
        if 0 < is_anchor[fitted].sum() < fitted.sum():
            model = classifier().fit(features[fitted], is_anchor[fitted])
            score[~fitted] = model.predict_proba(features[~fitted])[:, 1]
        models.append(model)
    return score, models


def within_fold_auc(
    score: NDArray[np.float64],
    is_anchor: NDArray[np.bool_],
    fold: NDArray[np.int64],
    counts: NDArray[np.uint16] | None = None,
) -> NDArray[np.float64]:
    """AUC (resample,) over the pairs that share a fold; counts (resample, m) of ``resample_counts``, 1 by default."""
    counts = np.ones((1, len(fold)), dtype=np.uint16) if counts is None else counts
    won, pairs = np.zeros(len(counts)), np.zeros(len(counts))
    for number in np.unique(fold):
        rows = fold == number
        of_fold, labels = counts[:, rows], is_anchor[rows]
        n_pairs = of_fold[:, labels].sum(axis=1, dtype=float) * of_fold[:, ~labels].sum(axis=1, dtype=float)
        auc = resampled_auc(score[rows], labels, of_fold)
        won += np.where(n_pairs > 0, np.nan_to_num(auc) * n_pairs, 0.0)
        pairs += n_pairs
    with np.errstate(invalid="ignore"):
        return won / np.where(pairs > 0, pairs, np.nan)
