"""Gate 5: does a classifier tell real arcs from injected ones by their measured shape, colours and profile?

A classifier two-sample test (Lopez-Paz & Oquab 2017): where the two samples are of one distribution, no classifier does
better than AUC 1/2 on stamps that it was not fitted on. What it used is named by the loss of AUC when one feature's
values are exchanged between the scored stamps (Breiman 2001), beside the AUC of each feature alone: of two features
that tell the same, each may look dispensable.

The bound is judged as a test of equivalence: injections need not be the same as lenses, the AUC must be *shown* to lie
below the bound, and a fault to lie above it. An interval that holds the bound decides neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.selection.realism.cross_validation import (
    chance_above,
    cross_validated_auc,
    out_of_fold,
    within_fold_auc,
)
from skytrace.selection.realism.gates import GateResult
from skytrace.selection.realism.matching import match_injections
from skytrace.selection.realism.options import ClassifierTestOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.cross_validation import CrossValidatedAuc
    from skytrace.selection.realism.options import GateOptions

__all__ = ["classifier_columns", "gate_classifier"]

_NAME = "5 classifier"
#: The chance to fail that ``falls_at`` names.
_MOSTLY = 0.8
#: Columns of the compared tables that are conditions, not what the arcs look like.
_NOT_SEEN = ("arc_coverage",)


def classifier_columns(sample: ComparisonSample) -> tuple[str, ...]:
    """What the classifier sees: all columns arc_* of both tables (``measure_arcs``, ``arc_morphology``), sorted."""
    shared = set(sample.anchors.columns) & set(sample.injections.columns)
    return tuple(sorted(name for name in shared if name.startswith("arc_") and name not in _NOT_SEEN))


def gate_classifier(
    sample: ComparisonSample,
    *,
    columns: Sequence[str] | None = None,
    group_column: str = "galaxy_id",
    gates: GateOptions,
    options: ClassifierTestOptions | None = None,
) -> GateResult:
    """Gate 5: cross-validated AUC of anchors against matched injections. pass: its 95 % interval lies below
    ``auc_max``; fail: above; insufficient: the interval holds the bound, or the samples are too small.

    sample: its tables carry ``columns`` (``classifier_columns`` by default) and ``group_column``, the host or sky cell
    that is never split between folds. Statistics: auc with intervals, p, widening; importance: feature -> loss of AUC
    when exchanged, and its own AUC (below 1/2: anchors have smaller values), the most telling first; named. power:
    stated AUC -> chance to fail if that were the truth; falls_at: the true AUC that fails four times in five.
    Raises CatalogueError on missing columns.
    """
    options = options or ClassifierTestOptions()
    columns = tuple(classifier_columns(sample) if columns is None else columns)
    bound = {"auc_max": options.auc_max, "classifier": options.classifier, "columns": list(columns)}
    for table in (sample.anchors, sample.injections):
        missing = [name for name in (*columns, group_column) if name not in table.columns]
        if missing or not columns:
            raise CatalogueError(f"the classifier test lacks columns {', '.join(missing) or 'arc_*'}")
    matched = match_injections(sample, per_anchor=options.per_anchor, options=gates)
    sizes = (int(matched.is_anchor.sum()), int((~matched.is_anchor).sum()))
    statistics: dict[str, Any] = {"anchors_without_match": matched.n_unmatched}
    if sizes[0] < gates.min_anchors or sizes[1] < gates.min_injections:
        sentence = f"{sizes[0]} anchors and {sizes[1]} matched injections can be compared; the gate needs "
        sentence += f"{gates.min_anchors} and {gates.min_injections}."
        return GateResult(_NAME, "insufficient", statistics, bound, *sizes, sentence)
    tables = (sample.anchors, sample.injections)
    features = np.concatenate([t[list(columns)].to_numpy(dtype=np.float64) for t in tables])[matched.rows]
    features[~np.isfinite(features)] = np.nan
    groups = np.concatenate([t[group_column].to_numpy().astype(str) for t in tables])[matched.rows]
    known = np.isfinite(features).any(axis=0)
    make = _maker(options)
    result = cross_validated_auc(
        features[:, known], matched.is_anchor, sets=matched.sets, groups=groups, relabel=matched.relabelled,
        classifier=make, options=options,
    )  # fmt: skip
    names = [name for name, one in zip(columns, known, strict=True) if one]
    importance = _importances(features[:, known], matched.is_anchor, result.fold, names, make, options)
    named = list(importance)[: options.n_named]
    statistics |= {**result.as_dict(), "importance": importance, "named": named}
    statistics |= _power(result, sizes, options)
    status = "pass" if result.high_95 < options.auc_max else "insufficient"
    status = "fail" if result.low_95 > options.auc_max else status
    return GateResult(_NAME, status, statistics, bound, *sizes, _sentence(result, statistics, sizes, options, status))


def _power(result: CrossValidatedAuc, sizes: tuple[int, int], options: ClassifierTestOptions) -> dict[str, Any]:
    """The chance to fail at the stated true AUCs, and the AUC (a multiple of 0.001) where it reaches 80 %."""
    tried = np.round(np.arange(options.auc_max, 0.9995, 0.001), 3)
    chance = chance_above(result, tried, bound=options.auc_max, n_anchors=sizes[0], n_injections=sizes[1])
    stated = chance_above(result, options.stated_aucs, bound=options.auc_max, n_anchors=sizes[0], n_injections=sizes[1])
    enough = tried[chance >= _MOSTLY]
    return {
        "power": {f"{auc:g}": float(share) for auc, share in zip(options.stated_aucs, stated, strict=True)},
        "falls_at": float(enough[0]) if len(enough) else None,
    }


def _sentence(
    result: CrossValidatedAuc,
    statistics: dict[str, Any],
    sizes: tuple[int, int],
    options: ClassifierTestOptions,
    status: str,
) -> str:
    words = ", ".join(f"{name} ({statistics['importance'][name]['loss']:.2f})" for name in statistics["named"])
    power = " and ".join(f"{share:.0%} at a true AUC of {auc}" for auc, share in statistics["power"].items())
    lies = {"pass": "lies below the bound", "fail": "lies above the bound", "insufficient": "holds the bound"}[status]
    return (
        f"A classifier of arc shape, colours and profile tells anchors from matched injections with AUC "
        f"{result.auc:.3f} (95 %: {result.low_95:.3f}-{result.high_95:.3f}, permutation p {result.p:.3f}): the "
        f"interval {lies} of {options.auc_max:g}. With {sizes[0]} anchors the gate would fail with a chance of "
        f"{power}. Most telling, by loss of AUC when exchanged: {words}."
    )


def _importances(
    features: NDArray[np.float64],
    is_anchor: NDArray[np.bool_],
    fold: NDArray[np.int64],
    names: list[str],
    make: Any,
    options: ClassifierTestOptions,
) -> dict[str, dict[str, float]]:
    """Feature -> loss of out-of-fold AUC when its values are exchanged within the scored fold, and AUC alone."""
    score, models = out_of_fold(features, is_anchor, fold, make)
    whole = within_fold_auc(score, is_anchor, fold)[0]
    rng = np.random.default_rng(options.seed + 2)
    losses = np.zeros((len(names), options.n_shuffles))
    for k in range(len(names)):
        shuffled = np.full((options.n_shuffles, len(fold)), 0.5)
        for number, model in enumerate(models):
            rows = np.flatnonzero(fold == number)
            if model is None or not len(rows):
                continue
            tried = np.tile(features[rows], (options.n_shuffles, 1, 1))
            tried[:, :, k] = rng.permuted(tried[:, :, k], axis=1)
            predicted = model.predict_proba(tried.reshape(-1, len(names)))[:, 1]
            shuffled[:, rows] = predicted.reshape(options.n_shuffles, -1)
        losses[k] = [whole - within_fold_auc(values, is_anchor, fold)[0] for values in shuffled]
    one_fold = np.zeros(len(fold), dtype=np.int64)
    alone = [float(within_fold_auc(features[:, k], is_anchor, one_fold)[0]) for k in range(len(names))]
    mean, spread = losses.mean(axis=1), losses.std(axis=1)
    order = np.argsort(-mean, kind="stable")
    return {names[k]: {"loss": float(mean[k]), "loss_sd": float(spread[k]), "auc_alone": alone[k]} for k in order}


def _maker(options: ClassifierTestOptions) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if options.classifier == "logistic":
        return lambda: make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(),
            LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000),
        )  # fmt: skip
    return lambda: HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=6, learning_rate=0.1, l2_regularization=1.0, min_samples_leaf=10, max_bins=63,
        class_weight="balanced", early_stopping=False, random_state=options.seed % 2**32,
    )  # fmt: skip
