"""What a sample of known positives and unlabelled rows must be, and its folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["MIN_POSITIVES", "check_finite_rows", "checked_labels", "fold_of_rows"]

#: With one positive there is none left to score out of fold.
MIN_POSITIVES = 2


def check_finite_rows(features: NDArray) -> None:
    """Raise CatalogueError where a row of ``features`` (n, d) holds NaN or inf."""
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(wrong):
        raise CatalogueError(
            f"X has NaN or inf in {len(wrong)} of {len(features)} rows, the first in row {wrong[0]}; "
            "leave such rows out, or fill their features and say so in one more"
        )


def checked_labels(labels: NDArray, *, min_unlabelled_ratio: float) -> tuple[NDArray, NDArray[np.int64]]:
    """(the two label values, rising; (n,) 1 for known positives and 0 for unlabelled).

    Raises OptionError (a ValueError) on other than two values, fewer than MIN_POSITIVES positives, or fewer unlabelled
    rows than min_unlabelled_ratio for each positive.
    """
    from sklearn.utils.multiclass import check_classification_targets, type_of_target

    check_classification_targets(labels)
    classes = np.unique(labels)
    if len(classes) > 2:
        raise OptionError(
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(labels, input_name='y')}: {len(classes)} classes, known positives and unlabelled wanted"
        )
    if len(classes) < 2:
        raise OptionError(
            f"y holds one class, {classes[0]!r}, in all {len(labels)} rows: known positives and unlabelled rows are "
            "both needed (n_positives, n_unlabelled >= 1)"
        )
    labelled = (labels == classes[1]).astype(np.int64)
    n_positives = int(labelled.sum())
    n_unlabelled = len(labelled) - n_positives
    if n_positives < MIN_POSITIVES:
        raise OptionError(f"n_positives = {n_positives} is outside its allowed range [{MIN_POSITIVES}, inf]")
    least = max(MIN_POSITIVES, int(np.ceil(min_unlabelled_ratio * n_positives)))
    if n_unlabelled < least:
        raise OptionError(
            f"n_unlabelled = {n_unlabelled} is outside its allowed range [{least}, inf] for {n_positives} positives "
            f"(min_unlabelled_ratio = {min_unlabelled_ratio:g})"
        )
    return classes, labelled


def fold_of_rows(
    labelled: NDArray[np.int64], folds: int, *, groups: ArrayLike | None, random: np.random.RandomState
) -> NDArray[np.int64]:
    """Fold (n,) of every row, positives and unlabelled spread evenly; rows of one group share a fold.

    At most ``folds``, and no more than the rarer class has members (or the positives have groups). Raises OptionError
    where the positives lie in one group only.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    check_whole("folds", folds, 2, 1000)
    number = int(min(folds, labelled.sum(), (1 - labelled).sum()))
    if groups is None:
        splits = StratifiedKFold(number, shuffle=True, random_state=random).split(labelled, labelled)
    else:
        groups = np.asarray(groups)
        if groups.shape != labelled.shape:
            raise OptionError(f"groups has shape {groups.shape} for {len(labelled)} rows")
        number = min(number, *(len(np.unique(groups[labelled == value])) for value in (0, 1)))
        if number < 2:
            raise OptionError("all positives, or all unlabelled rows, are of one group: folds by group need two")
        splits = StratifiedGroupKFold(number, shuffle=True, random_state=random).split(labelled, labelled, groups)
    fold = np.empty(len(labelled), dtype=np.int64)
    for k, (_, held) in enumerate(splits):
        fold[held] = k
    return fold
