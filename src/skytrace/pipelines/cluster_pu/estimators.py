"""What is learnt from known lenses and unlabelled fields: members, their stack, its scale, and what each rests on.

No truth comes here. Rows of the split ``train`` are scored out of fold; those of ``val`` fit the scale alone, those of
``test`` nothing.
"""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.pipelines.cluster_pu.options import FeatureOptions, LearningOptions, PriorOptions
from skytrace.sky.split import SplitOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["MAIN", "Matrix", "fit_member", "learn", "loaded_members", "score_rows", "shuffle_labels", "split_fields"]

#: The estimator of ablations and sweeps.
MAIN = "nn_pu"
#: With one known lens there is none left to score out of fold.
MIN_POSITIVES = 2
_ENOUGH_SHUFFLES = 5  # for a standard error of their mean
_PLAIN = "positive_vs_unlabelled"


class Matrix:
    """Filled features of all fields with their split, label and cell, rows in the order of ``split``."""

    def __init__(self, features: Table, split: Table, options: FeatureOptions, groups: tuple[str, ...] = ()) -> None:
        from skytrace.clusters.feature_table import feature_groups, filled_features, fit_filling

        self.groups = feature_groups(options.patches)
        wanted = [name for group in groups or tuple(self.groups) for name in self.groups[group]]
        table = split.merge(features, on="cluster_id", validate="1:1")
        self.split = table["split"].to_numpy(dtype=str)
        self.labelled = table["known_lens"].to_numpy().astype(np.int64)
        self.cell = table["cell"].to_numpy()
        self.filling = fit_filling(table[self.split == "train"], wanted)
        self.values = filled_features(table, self.filling)

    def __getitem__(self, split: str) -> Table:
        """Features of one split."""
        return self.values[self.split == split]


def split_fields(clusters: Table, fields: Table, options: SplitOptions) -> tuple[Table, Report]:
    """(cluster_id, cell, split, known_lens) of the clusters with a cutout, by whole sky cells; the counts.

    Raises CatalogueError where the splits that are learnt from and calibrated on hold too few known lenses, or fewer
    unlabelled fields than known lenses.
    """
    from skytrace.sky.split import SPLITS, healpix_cell, split_of_cells

    kept = clusters[clusters["cluster_id"].isin(fields["cluster_id"])].reset_index(drop=True)
    cell = healpix_cell(kept["ra"], kept["dec"], nside=options.nside)
    split = split_of_cells(cell, seed=options.seed, fractions=options.fractions)
    known = kept["known_lens"].to_numpy(dtype=bool)
    table = pd.DataFrame({"cluster_id": kept["cluster_id"], "cell": cell, "split": split, "known_lens": known})
    report = {
        name: {
            "fields": int((split == name).sum()),
            "known_lenses": int(known[split == name].sum()),
            "cells": len(np.unique(cell[split == name])),
        }
        for name in SPLITS
    }
    for name in SPLITS[:2]:
        _check_enough(name, **report[name])
    return table, {"nside": options.nside, "splits": report}


def _check_enough(name: str, *, fields: int, known_lenses: int, cells: int) -> None:
    unlabelled = fields - known_lenses
    if known_lenses < MIN_POSITIVES or unlabelled < known_lenses:
        raise CatalogueError(
            f"the split {name} has {known_lenses} known lenses and {unlabelled} unlabelled fields in {cells} sky "
            f"cells; at least {MIN_POSITIVES} known lenses are needed, and as many unlabelled fields as known lenses: "
            "give it a larger share (split.fractions), smaller cells (split.nside), or a catalogue that knows more"
        )


def fit_member(name: str, rows: Table, labelled: Any, cells: Any, *, learning: LearningOptions, prior: float) -> Any:
    """The estimator of this name, cross-fitted by cell."""
    from skytrace.learning import positive_unlabeled as pu

    shared = {"trees": learning.trees, "folds": learning.folds, "random_state": learning.seed}
    if name == "elkan_noto":
        # the case-control form only rescales positives against unlabelled: it would be that member once more
        model: Any = pu.ElkanNotoClassifier(prior, form="weighted", **shared)
    elif name == "nn_pu":
        model = pu.NonNegativePUClassifier(prior, gamma=learning.gamma, beta=learning.beta, **shared)
    else:
        model = pu.PositiveVersusUnlabelledClassifier(**shared)
    return model.fit(rows, labelled, groups=cells)


def learn(
    features: Table, split: Table, options: FeatureOptions, learning: LearningOptions, prior: PriorOptions
) -> tuple[Table, Report, Table, Report]:
    """(logits: a row a field with every member's, the stack's and the calibrated one at the unlabelled prior and at the
    sky's; the models as numbers and text; importance: a row a feature; the report).
    """
    from skytrace.learning.positive_unlabeled import label_frequency
    from skytrace.learning.pu_calibration import fit_pu_scale
    from skytrace.learning.pu_losses import shifted_logits
    from skytrace.learning.pu_stacking import cross_fitted_stack, fit_pu_stack, stacked_logits
    from skytrace.learning.pu_store import classifier_record

    matrix = Matrix(features, split, options)
    train, held = matrix.split == "train", matrix.split != "train"
    s = matrix.labelled[train]
    table = split[["cluster_id", "cell", "split", "known_lens"]].reset_index(drop=True)
    models: dict[str, Any] = {}
    for name in learning.members:
        models[name] = fit_member(
            name, matrix["train"], s, matrix.cell[train], learning=learning, prior=prior.unlabelled
        )
        logits = np.empty(len(table))
        logits[train] = models[name].out_of_fold_logits_
        logits[held] = models[name].decision_function(matrix.values[held])
        table[name] = logits
    names = list(learning.members)
    fold = models[names[0]].folds_
    stack = fit_pu_stack(table.loc[train, names], s, penalty=learning.penalty)
    combined = np.empty(len(table))
    combined[train] = cross_fitted_stack(table.loc[train, names], s, fold, penalty=learning.penalty)
    combined[held] = stacked_logits(stack, table.loc[held, names])
    table["stack"] = combined
    val = matrix.split == "val"
    slope, intercept = fit_pu_scale(combined[val], matrix.labelled[val], prior=prior.unlabelled)
    table["logit_unlabelled"] = slope * combined + intercept
    table["logit"] = shifted_logits(table["logit_unlabelled"], from_prior=prior.unlabelled, to_prior=prior.sky)
    n_positives, n_unlabelled = int(s.sum()), int((1 - s).sum())
    record = {
        "members": {name: classifier_record(model) for name, model in models.items()},
        "filling": matrix.filling,
        "stack": stack,
        "scale": {"slope": slope, "intercept": intercept, "prior": prior.unlabelled},
    }
    report = {
        "known_lenses": n_positives,
        "unlabelled": n_unlabelled,
        "label_frequency": label_frequency(n_positives, n_unlabelled, prior=prior.unlabelled),
        "stack": dict(zip(stack["members"], stack["coefficients"], strict=True)),
        "scale": record["scale"],
        "calibrated_on": {
            "known_lenses": int(matrix.labelled[val].sum()),
            "unlabelled": int((val & (matrix.labelled == 0)).sum()),
        },
        "features": {group: len(columns) for group, columns in matrix.groups.items()},
    }
    return table, record, _importance(models[MAIN if MAIN in models else names[0]], matrix), report


def loaded_members(models: Report) -> dict[str, Any]:
    """The classifiers of ``models``, the record that ``learn`` leaves, by name."""
    from skytrace.learning.pu_store import classifier_from_record

    return {name: classifier_from_record(record) for name, record in models["members"].items()}


def score_rows(features: Table, models: Report, members: dict[str, Any]) -> Table:
    """Logits of rows that nothing was fitted to, indexed as ``features``: every member's, stack, and logit_unlabelled
    (calibrated, at the prior that the learners were told). members: of ``loaded_members``.
    """
    from skytrace.clusters.feature_table import filled_features
    from skytrace.learning.pu_stacking import stacked_logits

    values = filled_features(features, models["filling"])
    table = pd.DataFrame(
        {name: member.decision_function(values) for name, member in members.items()}, index=features.index
    )
    table["stack"] = stacked_logits(models["stack"], table)
    return table.assign(logit_unlabelled=models["scale"]["slope"] * table["stack"] + models["scale"]["intercept"])


def shuffle_labels(
    features: Table, split: Table, options: FeatureOptions, learning: LearningOptions, prior: PriorOptions
) -> Report:
    """AUC of out-of-fold logits for labels that were dealt anew among the training fields, members and stack: anything
    but 1/2 is a leak between folds. Each fold has its shuffled labels before anything is fitted.

    Members that share rows and folds are told apart better in pairs: 3 standard errors (and 0.005) from positives
    against unlabelled, which has no second stage, are a leak too, where there are five shuffles or more.
    """
    from skytrace.learning.metrics import roc_auc
    from skytrace.learning.pu_stacking import cross_fitted_stack

    matrix = Matrix(features, split, options)
    train = matrix.split == "train"
    areas: dict[str, list[float]] = {name: [] for name in (*learning.members, "stack")}
    for number in range(learning.shuffles):
        s = np.random.default_rng([learning.seed, number]).permutation(matrix.labelled[train])
        logits, fold = {}, None
        for name in learning.members:
            model = fit_member(name, matrix["train"], s, matrix.cell[train], learning=learning, prior=prior.unlabelled)
            logits[name], fold = model.out_of_fold_logits_, model.folds_
            areas[name].append(roc_auc(logits[name], s))
        stacked = cross_fitted_stack(pd.DataFrame(logits), s, fold, penalty=learning.penalty)
        areas["stack"].append(roc_auc(stacked, s))
    means = {name: float(np.mean(values)) for name, values in areas.items()}
    worst = max(abs(mean - 0.5) for mean in means.values())
    pairs = {}
    for name in learning.members:
        if _PLAIN in areas and name != _PLAIN:
            difference = np.subtract(areas[name], areas[_PLAIN])
            error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else float("inf")
            pairs[name] = {"mean": float(difference.mean()), "standard_error": error}
    told = learning.shuffles >= _ENOUGH_SHUFFLES
    apart = told and any(abs(one["mean"]) > max(3.0 * one["standard_error"], 0.005) for one in pairs.values())
    return {
        "auc": areas,
        "mean": means,
        "minus_positive_vs_unlabelled": pairs if told else {},
        "tolerance": learning.shuffle_tolerance,
        "passes": bool(worst <= learning.shuffle_tolerance and not apart),
    }


def _importance(model: Any, matrix: Matrix) -> Table:
    """feature, group, gain (share of the trees'), shap (mean |contribution| to the logit over the training fields)."""
    from skytrace.clusters.feature_table import group_of

    rows, names = matrix["train"].to_numpy(), list(matrix.values.columns)
    gain, shap, fitted = np.zeros(len(names)), np.zeros(len(names)), 0
    for trees in model.models_:
        if trees.booster is None:
            continue
        fitted += 1
        gain += trees.booster.feature_importance("gain")
        # exact Shapley values of trees (Lundberg et al. 2020), the last column is the mean
        shap += np.abs(np.asarray(trees.booster.predict(rows, pred_contrib=True))[:, :-1]).mean(axis=0)
    table = pd.DataFrame(
        {
            "feature": names, "group": [group_of(name, matrix.groups) for name in names],
            "gain": gain / max(gain.sum(), 1e-300), "shap": shap / max(fitted, 1),
        }
    )  # fmt: skip
    return table.sort_values(["shap", "feature"], ascending=[False, True], kind="stable").reset_index(drop=True)
