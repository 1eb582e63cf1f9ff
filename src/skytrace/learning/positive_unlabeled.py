"""Classifiers from few known positives and many unlabelled rows, sampled apart (case-control), at a given prior.

The prior pi is the share of positives among the unlabelled; the data alone do not tell it (``class_prior``). Given it,
every classifier here returns probabilities *of being positive at that prior*. What the correct forms buy is that scale:
in ranking, plain positives against unlabelled does as well, and regularisation decides. So candidates are ranked by
``decision_function``, whose logits are clipped nowhere.

The larger of the two labels marks the known positives. ``out_of_fold_logits_`` are those of the rows that were fitted,
each from classifiers that did not see it; new rows get the mean logit of all folds' classifiers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skytrace.errors import check_between, check_choice, check_whole
from skytrace.learning.pu_calibration import fit_label_scale, fit_pu_scale, logits_of_log_probability
from skytrace.learning.pu_losses import PURisk, shifted_logits
from skytrace.learning.pu_samples import check_finite_rows, checked_labels, fold_of_rows
from skytrace.learning.pu_trees import TreeOptions, fit_label_trees, fit_risk_trees
from skytrace.learning.stacking import clipped_logit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ElkanNotoClassifier",
    "NonNegativePUClassifier",
    "PositiveVersusUnlabelledClassifier",
    "UnbiasedPUClassifier",
    "label_frequency",
]

_FORMS = ("case_control", "weighted")


def label_frequency(n_positives: int, n_unlabelled: int, *, prior: float) -> float:
    """c = P(labelled | positive) where n_positives were drawn apart from n_unlabelled: n_P / (n_P + pi n_U).

    Raises OptionError without positives or for a prior outside (0, 1].
    """
    check_whole("n_positives", n_positives, 1, np.inf)
    check_between("prior", prior, 0.0, 1.0, include_low=False)
    return n_positives / (n_positives + prior * n_unlabelled)


class _CrossFitted(ClassifierMixin, BaseEstimator):
    """Folds, checks and predictions that all classifiers share; a subclass fits one fold and says what its logits mean.

    folds: at most so many, fewer where there are fewer positives. calibrate: slope and intercept of the logits from the
    out-of-fold ones. min_unlabelled_ratio: unlabelled rows there must be for each positive.
    """

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> _CrossFitted:
        """Fit on features X (n, d) and labels y (n,): the larger value marks known positives, the other no knowledge.

        groups (n,): rows of one group (a sky cell) share a fold. Raises OptionError (a ValueError) where the prior is
        not inside (0, 1), there are fewer than two positives, or too few unlabelled rows; CatalogueError on NaN.
        """
        self._check_options()
        X, y = validate_data(self, X, y, ensure_all_finite=False, dtype=np.float64)
        check_finite_rows(X)
        self.classes_, labelled = checked_labels(y, min_unlabelled_ratio=self.min_unlabelled_ratio)
        random = check_random_state(self.random_state)
        fold, seed = fold_of_rows(labelled, self.folds, groups=groups, random=random), int(random.randint(2**31 - 1))
        self.n_positives_, self.n_unlabelled_ = int(labelled.sum()), int((1 - labelled).sum())
        self.label_frequency_ = label_frequency(
            self.n_positives_, self.n_unlabelled_, prior=getattr(self, "prior", 1.0)
        )
        raw = self._cross_fit(X, labelled, fold, seed)
        self.scale_ = (1.0, 0.0)
        if self.calibrate:
            self.scale_ = self._fit_scale(self._to_prior(raw), labelled)
        self.out_of_fold_logits_ = self._final_logits(raw)
        self.folds_ = fold
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits (n,) at the prior, clipped nowhere: what candidates are ranked by."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, ensure_all_finite=False, dtype=np.float64)
        check_finite_rows(X)
        return self._final_logits(np.mean([self._raw_logits(model, X) for model in self.models_], axis=0))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """(n, 2): probability of not being positive and of being positive, at the prior."""
        probability = self._probability(self.decision_function(X))
        return np.column_stack([1.0 - probability, probability])

    def predict(self, X: ArrayLike) -> NDArray:
        """The more probable class (n,): at a small prior hardly ever the positives'."""
        more_probable = self.decision_function(X) > 0.0
        return self.classes_[more_probable.astype(np.int64)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _check_options(self) -> None:
        if hasattr(self, "prior"):
            check_between("prior", self.prior, 0.0, 1.0, include_low=False, include_high=False)
        check_between("min_unlabelled_ratio", self.min_unlabelled_ratio, 0.0, np.inf)

    def _cross_fit(self, X: NDArray, labelled: NDArray, fold: NDArray, seed: int) -> NDArray:
        """Out-of-fold raw logits (n,); leaves one model a fold in ``models_``."""
        raw = np.empty(len(X))
        self.models_ = []
        for number in range(fold.max() + 1):
            held = fold == number
            self.models_.append(self._fit_model(X[~held], labelled[~held], seed + number))
            raw[held] = self._raw_logits(self.models_[-1], X[held])
        return raw

    def _raw_logits(self, model: Any, X: NDArray) -> NDArray:
        return model.logits(X)

    def _to_prior(self, raw: NDArray) -> NDArray:
        return raw

    def _fit_scale(self, logits: NDArray, labelled: NDArray) -> tuple[float, float]:
        return fit_pu_scale(logits, labelled, prior=self.prior)

    def _final_logits(self, raw: NDArray) -> NDArray:
        slope, intercept = self.scale_
        return slope * self._to_prior(raw) + intercept

    def _probability(self, logits: NDArray) -> NDArray:
        return expit(logits)


class ElkanNotoClassifier(_CrossFitted):
    """Probabilities from a classifier of *labelled* against unlabelled (Elkan & Noto 2008, KDD), for case-control data.

    With g = P(labelled | x) and c = n_P / (n_P + pi n_U) (not the prior, and not the mean of g over the positives,
    which estimates c only where the classes do not overlap):
    form "case_control": P(y = 1 | x) = (1 - c) / c x g / (1 - g). It may exceed 1 where g is noisy; probabilities are
    cut there, logits are not. form "weighted": every unlabelled row is entered twice, as positive with that probability
    as its weight and as negative with the rest (their section 3); the logits of what is then fitted are at the share
    (n_P + pi n_U) / (n_P + n_U) of positives and are shifted back to pi by ln(1 - c). The weights come from
    classifiers cross-fitted on the rows of the other folds alone, or a row's own label would reach its logit.

    estimator: scikit-learn classifier with predict_proba, and for "weighted" with sample_weight; None: regularised
    boosted trees by ``trees``. Other parameters as ``NonNegativePUClassifier``.
    """

    def __init__(
        self,
        prior: float = 1e-4,
        *,
        form: str = "case_control",
        estimator: Any = None,
        trees: TreeOptions | None = None,
        folds: int = 5,
        calibrate: bool = True,
        min_unlabelled_ratio: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.prior, self.form, self.estimator, self.trees = prior, form, estimator, trees
        self.folds, self.calibrate, self.min_unlabelled_ratio = folds, calibrate, min_unlabelled_ratio
        self.n_jobs, self.random_state = n_jobs, random_state

    def _check_options(self) -> None:
        super()._check_options()
        check_choice("form", self.form, _FORMS)

    def _cross_fit(self, X: NDArray, labelled: NDArray, fold: NDArray, seed: int) -> NDArray:
        if self.form == "case_control":
            return super()._cross_fit(X, labelled, fold, seed)
        raw, models = np.empty(len(X)), []
        for number in range(fold.max() + 1):
            held = fold == number
            rows, positive = X[~held], self._weights(X[~held], labelled[~held], fold[~held], seed + number)
            copies, target = np.concatenate([rows, rows]), np.repeat([1, 0], len(rows))
            weights = np.concatenate([positive, 1.0 - positive])
            kept = weights > 0.0
            models.append(self._fit_model(copies[kept], target[kept], seed + number, weights[kept]))
            raw[held] = self._raw_logits(models[-1], X[held])
        self.models_ = models
        return raw

    def _weights(self, X: NDArray, labelled: NDArray, fold: NDArray, seed: int) -> NDArray:
        """Of rows as positives, (n,): 1 of known ones, else the probability told by classifiers of other folds of these
        rows alone. Rows that the second stage is to be told for are not among them: their labels would come back.
        """
        codes = np.unique(fold, return_inverse=True)[1]
        if labelled.sum() < 2:  # nothing can be cross-fitted: of the unlabelled rows the prior alone is known
            return np.where(labelled == 1, 1.0, self.prior)
        if codes.max() < 1:  # a single fold is left: halves of it
            codes = fold_of_rows(labelled, 2, groups=None, random=check_random_state(seed))
        raw = super()._cross_fit(X, labelled, codes, seed)
        slope, intercept = fit_label_scale(raw, labelled) if self.calibrate else (1.0, 0.0)
        probability = np.exp(np.minimum(slope * raw + intercept + self._log_unlabelled_odds(), 0.0))
        return np.where(labelled == 1, 1.0, probability)

    def _fit_model(self, X: NDArray, target: NDArray, seed: int, weights: NDArray | None = None) -> Any:
        if self.estimator is None:
            options = self.trees or TreeOptions()
            return fit_label_trees(X, target, options=options, seed=seed, threads=self.n_jobs, weights=weights)
        model = clone(self.estimator)
        return model.fit(X, target) if weights is None else model.fit(X, target, sample_weight=weights)

    def _raw_logits(self, model: Any, X: NDArray) -> NDArray:
        return model.logits(X) if self.estimator is None else clipped_logit(model.predict_proba(X)[:, 1])

    def _to_prior(self, raw: NDArray) -> NDArray:
        return raw if self.form == "case_control" else raw + np.log1p(-self.label_frequency_)

    def _fit_scale(self, logits: NDArray, labelled: NDArray) -> tuple[float, float]:
        return (
            fit_label_scale(logits, labelled) if self.form == "case_control" else super()._fit_scale(logits, labelled)
        )

    def _final_logits(self, raw: NDArray) -> NDArray:
        logits = super()._final_logits(raw)
        return logits if self.form == "weighted" else logits_of_log_probability(logits + self._log_unlabelled_odds())

    def _probability(self, logits: NDArray) -> NDArray:
        if self.form == "weighted":
            return super()._probability(logits)
        return np.where(logits <= 0.0, expit(logits), np.minimum(0.5 * np.exp(0.5 * np.maximum(logits, 0.0)), 1.0))

    def _log_unlabelled_odds(self) -> float:
        """ln (1 - c) / c."""
        return float(np.log1p(-self.label_frequency_) - np.log(self.label_frequency_))


class NonNegativePUClassifier(_CrossFitted):
    """Boosted trees on the non-negative risk of Kiryo et al. (2017), by default in its class-balanced form.

    prior: share of positives among the unlabelled. gamma, beta: of ``pu_losses.PURisk``, as in the paper. balanced:
    learn at odds of one and shift the logits back to the prior: at small priors the positives' part of the plain risk
    is pi times an average of hundreds, and the trees hardly see it. trees: ``TreeOptions``, None for its defaults.
    folds: cross-fitting; fewer where there are fewer positives. calibrate: slope and intercept by ``fit_pu_scale``.
    min_unlabelled_ratio: unlabelled rows there must be for each positive. n_jobs: threads of LightGBM, None for one.
    """

    _kind = "non_negative"

    def __init__(
        self,
        prior: float = 1e-4,
        *,
        gamma: float = 1.0,
        beta: float = 0.0,
        balanced: bool = True,
        trees: TreeOptions | None = None,
        folds: int = 5,
        calibrate: bool = True,
        min_unlabelled_ratio: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.prior, self.gamma, self.beta, self.balanced, self.trees = prior, gamma, beta, balanced, trees
        self.folds, self.calibrate, self.min_unlabelled_ratio = folds, calibrate, min_unlabelled_ratio
        self.n_jobs, self.random_state = n_jobs, random_state

    def _risk(self) -> PURisk:
        return PURisk(self.prior, kind=self._kind, gamma=self.gamma, beta=self.beta, balanced=self.balanced)

    def _check_options(self) -> None:
        super()._check_options()
        self._risk()

    def _fit_model(self, X: NDArray, labelled: NDArray, seed: int) -> Any:
        options = self.trees or TreeOptions()
        return fit_risk_trees(X, labelled, risk=self._risk(), options=options, seed=seed, threads=self.n_jobs)

    def _to_prior(self, raw: NDArray) -> NDArray:
        return shifted_logits(raw, from_prior=self._risk().target_prior, to_prior=self.prior)


class UnbiasedPUClassifier(NonNegativePUClassifier):
    """The same trees on the unbiased risk (du Plessis et al. 2015), which may become negative: a baseline."""

    _kind = "unbiased"

    def __init__(
        self,
        prior: float = 1e-4,
        *,
        balanced: bool = True,
        trees: TreeOptions | None = None,
        folds: int = 5,
        calibrate: bool = True,
        min_unlabelled_ratio: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.prior, self.balanced, self.trees = prior, balanced, trees
        self.folds, self.calibrate, self.min_unlabelled_ratio = folds, calibrate, min_unlabelled_ratio
        self.n_jobs, self.random_state = n_jobs, random_state

    def _risk(self) -> PURisk:
        return PURisk(self.prior, kind=self._kind, balanced=self.balanced)


class PositiveVersusUnlabelledClassifier(_CrossFitted):
    """Labelled against unlabelled, as if the unlabelled were negative: a baseline, which knows no prior.

    Its probabilities are of the *label*, at the sample's share of known positives. Parameters as the others'.
    """

    def __init__(
        self,
        *,
        trees: TreeOptions | None = None,
        folds: int = 5,
        calibrate: bool = True,
        min_unlabelled_ratio: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.trees, self.folds, self.calibrate, self.min_unlabelled_ratio = (
            trees,
            folds,
            calibrate,
            min_unlabelled_ratio,
        )
        self.n_jobs, self.random_state = n_jobs, random_state

    def _fit_model(self, X: NDArray, labelled: NDArray, seed: int) -> Any:
        options = self.trees or TreeOptions()
        return fit_label_trees(X, labelled, options=options, seed=seed, threads=self.n_jobs)

    def _fit_scale(self, logits: NDArray, labelled: NDArray) -> tuple[float, float]:
        return fit_label_scale(logits, labelled)
