"""What the result rests on: priors estimated and swept, features left out, a worse sky. No truth comes here."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.pipelines.cluster_pu.estimators import MAIN, Matrix, fit_member, loaded_members, score_rows
from skytrace.pipelines.cluster_pu.options import (
    AnomalyOptions,
    FeatureOptions,
    LearningOptions,
    PriorOptions,
    PriorStudyOptions,
)

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["ablate", "find_anomalies", "score_shifted", "study_priors", "sweep_priors"]


def study_priors(logits: Table, prior: PriorOptions, options: PriorStudyOptions) -> tuple[Table, Table]:
    """(the prior estimated from this sample's out-of-fold logits of the label, estimators one by one with intervals and
    the upper bound; what such estimates are worth where the prior and the densities are known).
    """
    from skytrace.learning.class_prior import estimate_priors
    from skytrace.learning.prior_study import prior_study

    train = logits[logits["split"] == "train"]
    known = train["known_lens"].to_numpy(dtype=bool)
    scores = train["positive_vs_unlabelled" if "positive_vs_unlabelled" in train else "stack"].to_numpy()
    here = estimate_priors(scores[known], scores[~known], n_resamples=options.n_resamples, seed=options.seed)
    study = prior_study(
        priors=options.priors, n_positives=options.n_positives, n_unlabelled=options.n_unlabelled,
        n_simulations=options.n_simulations, seed=options.seed,
    )  # fmt: skip
    return here.assign(given=prior.unlabelled), study


def sweep_priors(
    features: Table, split: Table, options: FeatureOptions, learning: LearningOptions, prior: PriorOptions
) -> Table:
    """learner_prior, cluster_id, logit of the test fields at that prior: the main estimator told another share of
    lenses among the unlabelled, its scale fitted at the same.
    """
    from skytrace.learning.pu_calibration import fit_pu_scale

    matrix = Matrix(features, split, options)
    train, val, test = (matrix.split == name for name in ("train", "val", "test"))
    parts = []
    for told in sorted({*prior.sweep, prior.unlabelled}):
        model = fit_member(
            MAIN, matrix["train"], matrix.labelled[train], matrix.cell[train], learning=learning, prior=told
        )
        slope, intercept = fit_pu_scale(model.decision_function(matrix["val"]), matrix.labelled[val], prior=told)
        logit = slope * model.decision_function(matrix["test"]) + intercept
        ids = split["cluster_id"].to_numpy()[test]
        parts.append(pd.DataFrame({"learner_prior": told, "cluster_id": ids, "logit": logit}))
    return pd.concat(parts, ignore_index=True)


def ablate(
    features: Table, split: Table, options: FeatureOptions, learning: LearningOptions, prior: PriorOptions
) -> Table:
    """variant, cluster_id, logit of the test fields: the main estimator without each group of features and on each
    group alone; and single columns by themselves, among them the best cut in one colour, in a count of
    objects chosen by colour, in how alike colours are, and in any column, chosen with their direction on the labels of
    the training fields.
    """
    whole = Matrix(features, split, options)
    groups = tuple(name for name, columns in whole.groups.items() if columns)
    chosen = {f"without {name}": tuple(other for other in groups if other != name) for name in groups}
    chosen |= {f"{name} only": (name,) for name in groups}
    ids = split["cluster_id"].to_numpy()[whole.split == "test"]
    parts = []
    for variant, used in chosen.items():
        matrix = Matrix(features, split, options, used)
        train = matrix.split == "train"
        model = fit_member(
            MAIN, matrix["train"], matrix.labelled[train], matrix.cell[train], learning=learning, prior=prior.unlabelled
        )
        logit = model.decision_function(matrix["test"])
        parts.append(pd.DataFrame({"variant": variant, "cluster_id": ids, "logit": logit}))
    for variant, column, sign in _single_columns(whole, options):
        logit = sign * whole["test"][column].to_numpy()
        parts.append(pd.DataFrame({"variant": variant, "cluster_id": ids, "logit": logit}))
    return pd.concat(parts, ignore_index=True)


def _single_columns(matrix: Matrix, options: FeatureOptions) -> list[tuple[str, str, float]]:
    """(variant, column, 1 or -1: whether high or low values are ranked first)."""
    from skytrace.clusters.feature_table import colour_columns
    from skytrace.learning.metrics import roc_auc

    rows, labels = matrix["train"], matrix.labelled[matrix.split == "train"]
    above = pd.Series({name: roc_auc(rows[name].to_numpy(), labels) - 0.5 for name in rows})
    kinds = {kind: above[above.index.isin(names)] for kind, names in colour_columns(options.patches).items()}
    found = [("theta_E proxy of richness alone", "theta_e_richness_arcsec", 1.0)]
    for words, some in (
        ("best cut in one colour", kinds["colour"]),
        ("best single colour-based count", kinds["count"]),
        ("best single coherence of colours", kinds["coherence"]),
        ("best single column", above),
    ):
        if some.empty:
            continue
        best = str(some.abs().idxmax())
        found.append((f"{words}: {best}", best, float(np.sign(some[best]) or 1.0)))
    return found


def score_shifted(shifted: Table, split: Table, models: Report) -> Table:
    """condition, cluster_id, logit of the test fields under every shifted sky, by the models as they are."""
    test = split.loc[split["split"] == "test", "cluster_id"]
    rows = shifted[shifted["cluster_id"].isin(test)].reset_index(drop=True)
    if not len(rows):
        return pd.DataFrame({"condition": pd.Series(dtype=str), "cluster_id": pd.Series(dtype=str), "logit": []})
    logit = score_rows(rows, models, loaded_members(models))["logit_unlabelled"]
    return pd.DataFrame({"condition": rows["condition"], "cluster_id": rows["cluster_id"], "logit": logit})


def find_anomalies(
    features: Table, split: Table, logits: Table, importance: Table, options: FeatureOptions, anomaly: AnomalyOptions
) -> tuple[Table, Report]:
    """(cluster_id, distance, tail_share (of non-lenses at least as far) and anomalous of every field; the detector as
    numbers, and how many it calls anomalous).

    Distances are in the space of the features that the classifiers learnt to use. Nobody knows non-lenses: the least
    lens-like unlabelled training fields stand for them, of which hardly any can be a lens.
    """
    from skytrace.learning.anomaly import fit_anomaly_detector

    matrix = Matrix(features, split, options)
    names = importance["feature"].head(anomaly.n_features).to_list()
    values = matrix.values[names].to_numpy()
    pool = (matrix.split == "train") & (matrix.labelled == 0)
    scores = logits["logit"].to_numpy()
    reference = pool & (scores <= np.quantile(scores[pool], anomaly.reference_share))
    detector = fit_anomaly_detector(values[reference], quantile=anomaly.quantile)
    found = detector.is_anomalous(values)
    table = pd.DataFrame(
        {
            "cluster_id": split["cluster_id"].to_numpy(), "distance": detector.distances(values),
            "tail_share": detector.tail_shares(values), "anomalous": found,
        }
    )  # fmt: skip
    held = matrix.split != "train"
    report = {
        "features": names, "detector": detector.as_dict(), "anomalous_of_reference": float(found[reference].mean()),
        "anomalous_of_unseen": float(found[held].mean()), "unseen": int(held.sum()),
    }  # fmt: skip
    return table, report
