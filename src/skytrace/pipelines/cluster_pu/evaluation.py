"""The one place that truth comes to: how good the ranking and the probabilities are, on unseen fields.

On a real sky nobody knows; then the known lenses of the test cells are the positives, all others count as non-lenses,
and the report says so: what it calls false may be undiscovered.
"""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from skytrace.learning.rare_events import RareEventOptions
from skytrace.pipelines.cluster_pu.estimators import Matrix
from skytrace.pipelines.cluster_pu.options import FeatureOptions, LearningOptions, PriorOptions
from skytrace.surveys.clusters.interface import ClusterSurvey

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["evaluate", "read_truth", "truth_labels"]

_BEST = "stack, calibrated"


def read_truth(survey: ClusterSurvey) -> Table:
    """What a simulated sky knows of each cluster, no row of a real one. For ``evaluate`` alone."""
    return survey.truth()


def evaluate(
    truth: Table,
    features: Table,
    logits: Table,
    split: Table,
    prior_sweep: Table,
    ablations: Table,
    shifted_logits: Table,
    anomalies: Table,
    lens_free_logits: Table,
    prior_study: Table,
    survey_report: Report,
    options: FeatureOptions,
    learning: LearningOptions,
    prior: PriorOptions,
    rare: RareEventOptions,
) -> tuple[Report, Table, Table, Table]:
    """(the rare-event report with its oracle, kinds and robustness; AUC and precision of every variant against the
    stack, in pairs; figures by prior; ROC and precision curves of the test fields).
    """
    from skytrace.compute.json_values import json_ready
    from skytrace.learning.pu_losses import shifted_logits as at_prior
    from skytrace.learning.rare_events import calibration_report, rare_event_report

    rare = dataclasses.replace(rare, prior=prior.sky)  # told once
    test = logits[logits["split"] == "test"].reset_index(drop=True)
    labels, basis = truth_labels(truth, test)
    cells = test["cell"].to_numpy()
    score = test["logit"].to_numpy()
    probability = _probability(score)
    members = [*learning.members, *(name for name in ("trees", "transformer") if name in test)]
    variants = {_BEST: score, **{name: test[name].to_numpy() for name in members}}
    variants["mean of members' ranks"] = np.mean([_ranks(test[name]) for name in learning.members], axis=0)
    for name, rows in ablations.groupby("variant", sort=False):
        variants[str(name)] = _in_order(rows, test)
    oracle = _oracle(truth, features, split, options, learning)
    if oracle is not None:
        variants["oracle: trained on true labels"] = oracle
    table = _compared(variants, labels, cells, prior, rare)
    given = at_prior(score, from_prior=prior.sky, to_prior=prior.unlabelled)
    told = dataclasses.replace(rare, prior=prior.unlabelled)
    report = {
        "truth": basis,
        "rare_events": rare_event_report(score, labels, probabilities=probability, options=rare, cells=cells),
        "unlabelled_prior": {"given": prior.unlabelled, "true": _true_prior(truth, split)},
        "calibration_at_unlabelled_prior": calibration_report(_probability(given), labels, options=told, cells=cells),
        "more_non_lenses": _with_more(lens_free_logits, score, labels, rare),
        "prior_upper_bound": _bound_coverage(prior_study),
        "kinds": _by_kind(truth, test, score),
        "anomalies": _anomalies(anomalies, test, labels),
        "robustness": _robustness(shifted_logits, test, score, labels, cells, rare),
        "survey": _at_survey(survey_report, score, labels, cells, rare),
    }
    return (
        json_ready(report),
        table,
        _by_prior(prior_sweep, test, score, labels, cells, prior, rare),
        _curves(score, labels, prior),
    )


def truth_labels(truth: Table, test: Table) -> tuple[np.ndarray, str]:
    """(1 for lenses among the test fields, what that is taken from)."""
    if not len(truth):
        known = test["known_lens"].to_numpy().astype(np.int64)
        return known, "known lenses; every other field counts as a non-lens, undiscovered lenses too"
    is_lens = truth.set_index("cluster_id")["is_lens"]
    return is_lens.loc[test["cluster_id"]].to_numpy().astype(np.int64), "the simulated sky's own"


def _true_prior(truth: Table, split: Table) -> float | None:
    if not len(truth):
        return None
    rows = split.merge(truth[["cluster_id", "is_lens"]], on="cluster_id")
    return float(rows.loc[~rows["known_lens"].astype(bool), "is_lens"].mean())


def _probability(logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(logits)


def _ranks(values: Any) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values) / (len(values) + 1.0)


def _in_order(rows: Table, test: Table) -> np.ndarray:
    """Logits of ``rows`` in the order of the test fields."""
    return rows.set_index("cluster_id")["logit"].loc[test["cluster_id"]].to_numpy()


def _oracle(
    truth: Table, features: Table, split: Table, options: FeatureOptions, learning: LearningOptions
) -> np.ndarray | None:
    """Logits of the test fields by the same trees and folds on the same training fields with all labels true: what is
    lost for want of labels, not for want of features.
    """
    if not len(truth):
        return None
    from skytrace.learning.positive_unlabeled import PositiveVersusUnlabelledClassifier

    matrix = Matrix(features, split, options)
    is_lens = truth.set_index("cluster_id")["is_lens"].loc[split["cluster_id"]].to_numpy().astype(np.int64)
    train = matrix.split == "train"
    model = PositiveVersusUnlabelledClassifier(
        trees=learning.trees, folds=learning.folds, random_state=learning.seed, min_unlabelled_ratio=0.0
    )
    model.fit(matrix["train"], is_lens[train], groups=matrix.cell[train])
    return model.decision_function(matrix["test"])


def _compared(
    variants: dict[str, np.ndarray], labels: np.ndarray, cells: np.ndarray, prior: PriorOptions, rare: RareEventOptions
) -> Table:
    """variant, auroc, average_precision (at the sky's prior) with intervals, and AUROC minus the stack's, in pairs."""
    from skytrace.learning import metrics
    from skytrace.learning.rare_events import average_precision_at_prior
    from skytrace.learning.resampling import drawn_by
    from skytrace.statistics import bootstrap_interval

    drawn = drawn_by(labels, cells, rows=len(labels))
    interval = partial(bootstrap_interval, n_resamples=rare.n_resamples, seed=rare.seed, **drawn)
    best = variants[_BEST]
    rows = []
    for name, scores in variants.items():
        row: dict[str, Any] = {"variant": name}
        for key, statistic in (
            ("auroc", metrics.roc_auc),
            ("average_precision", partial(_average_precision, average_precision_at_prior, prior.sky)),
        ):
            found = interval(statistic, scores, labels).as_dict()
            row[key] = found.pop("value")
            row |= {f"{key}_{end}": found[end] for end in ("low_68", "high_68", "low_95", "high_95")}
        gain = interval(lambda a, b, y: metrics.roc_auc(a, y) - metrics.roc_auc(b, y), scores, best, labels).as_dict()
        row |= {f"difference_{end}": gain[end] for end in ("value", "low_95", "high_95")}
        rows.append(row)
    return pd.DataFrame(rows)


def _average_precision(function: Any, prior: float, scores: np.ndarray, labels: np.ndarray) -> float:
    return function(scores, labels, prior=prior)


def _by_prior(
    sweep: Table, test: Table, score: np.ndarray, labels: np.ndarray, cells: np.ndarray, prior: PriorOptions,
    rare: RareEventOptions,
) -> Table:  # fmt: skip
    """A row a prior of the sky: average precision, precision at the recall asked for, hours a discovery and mean p /
    pi with intervals; and AUROC of the learner that was told this prior for its unlabelled fields.
    """
    from skytrace.learning import metrics
    from skytrace.learning.pu_losses import shifted_logits
    from skytrace.learning.rare_events import (
        average_precision_at_prior,
        calibration_error_at_prior,
        precision_at_recall,
    )
    from skytrace.learning.resampling import drawn_by
    from skytrace.statistics import bootstrap_interval

    drawn = drawn_by(labels, cells, rows=len(labels))
    interval = partial(bootstrap_interval, n_resamples=rare.n_resamples, seed=rare.seed, **drawn)
    rows = []
    for pi in sorted({*prior.sweep, prior.sky, prior.unlabelled}):
        logit = shifted_logits(score, from_prior=prior.sky, to_prior=pi)
        statistics: dict[str, Any] = {
            "average_precision": partial(average_precision_at_prior, prior=pi),
            "precision_at_recall": partial(precision_at_recall, recall=rare.recall, prior=pi),
            "mean_over_prior": lambda z, y, pi=pi: calibration_error_at_prior(_probability(z), y, prior=pi)[
                "mean_over_prior"
            ],
        }
        row: dict[str, Any] = {"prior": pi}
        for key, statistic in statistics.items():
            found = interval(statistic, logit, labels).as_dict()
            row |= {key: found["value"], f"{key}_low_68": found["low_68"], f"{key}_high_68": found["high_68"]}
        row["hours_per_discovery"] = rare.seconds_per_review / 3600.0 / row["precision_at_recall"]
        told = sweep[np.isclose(sweep["learner_prior"], pi)]
        if len(told):
            found = interval(metrics.roc_auc, _in_order(told, test), labels).as_dict()
            row |= {"learner_auroc": found["value"], "learner_auroc_low_68": found["low_68"]}
            row["learner_auroc_high_68"] = found["high_68"]
        rows.append(row)
    return pd.DataFrame(rows)


def _with_more(more: Table, score: np.ndarray, labels: np.ndarray, rare: RareEventOptions) -> Report | None:
    """The rare-event report with fields that hold no lens beside the test fields, rows drawn by class; None without."""
    from skytrace.learning.rare_events import rare_event_report

    if not len(more):
        return None
    every = np.concatenate([score, more["logit"].to_numpy()])
    truth = np.concatenate([labels, np.zeros(len(more), labels.dtype)])
    found = rare_event_report(every, truth, probabilities=_probability(every), options=rare)
    return {"lens_free_fields": len(more), **found}


def _bound_coverage(study: Table) -> list[dict[str, float]]:
    """Of the upper bound of the prior, by true prior: in what share of simulations it held, with Jeffreys' interval."""
    told = ["prior", "n_simulations", "covers", "covers_low_95", "covers_high_95", "median_ratio"]
    rows: list[dict[str, float]] = study.loc[study["estimator"] == "upper_bound", told].to_dict("records")
    return rows


def _by_kind(truth: Table, test: Table, score: np.ndarray) -> list[dict[str, Any]]:
    """Of every kind of non-lens: how many there are, and what share ranks above the median lens of the test fields."""
    if not len(truth):
        return []
    rows = test[["cluster_id"]].merge(truth[["cluster_id", "is_lens", "kind"]], on="cluster_id")
    middle = float(np.median(score[rows["is_lens"].to_numpy(dtype=bool)]))
    found = []
    for kind, part in rows.assign(above=score > middle).groupby("kind"):
        found.append({"kind": str(kind), "n": len(part), "above_median_lens": float(part["above"].mean())})
    return found


def _anomalies(anomalies: Table, test: Table, labels: np.ndarray) -> Report:
    from skytrace.learning.anomaly import anomalies_over_chance
    from skytrace.statistics import beta_interval

    called = anomalies.set_index("cluster_id")["anomalous"].loc[test["cluster_id"]].to_numpy(dtype=bool)
    report: Report = {"over_chance": anomalies_over_chance(called, labels)}
    for name, value in (("lenses", 1), ("non_lenses", 0)):
        n, k = int((labels == value).sum()), int(called[labels == value].sum())
        low, high = beta_interval(k, n, 0.9545)
        report[name] = {"n": n, "anomalous": k, "low_95": float(low), "high_95": float(high)}
    return report


def _robustness(
    shifted: Table, test: Table, score: np.ndarray, labels: np.ndarray, cells: np.ndarray, rare: RareEventOptions
) -> list[dict[str, Any]]:
    """By condition: AUROC, its loss against the sky as observed (same fields, in pairs), and how logits move."""
    from skytrace.learning import metrics
    from skytrace.learning.resampling import drawn_by
    from skytrace.statistics import bootstrap_interval

    drawn = drawn_by(labels, cells, rows=len(labels))
    found = []
    for name, rows in shifted.groupby("condition"):
        worse = _in_order(rows, test)
        loss = bootstrap_interval(
            lambda a, b, y: metrics.roc_auc(a, y) - metrics.roc_auc(b, y), worse, score, labels,
            n_resamples=rare.n_resamples, seed=rare.seed, **drawn,
        )  # fmt: skip
        moved = worse - test["logit_unlabelled"].to_numpy()
        found.append(
            {
                "condition": str(name), "auroc": metrics.roc_auc(worse, labels), "difference": loss.as_dict(),
                "rank_correlation": float(np.corrcoef(_ranks(worse), _ranks(score))[0, 1]),
                "median_logit_change": float(np.median(moved)),
            }
        )  # fmt: skip
    return found


def _at_survey(
    survey: Report, score: np.ndarray, labels: np.ndarray, cells: np.ndarray, rare: RareEventOptions
) -> Report | None:
    """Discoveries against hours of review among the clusters of a real catalogue, at the given prior and at that of
    chance alignments. The ranking is that of the test fields here: nobody has looked at the survey's pixels.
    """
    from skytrace.learning.pu_losses import shifted_logits as at_prior
    from skytrace.learning.rare_events import discovery_curve

    if survey["status"] != "read":
        return None
    curves = {}
    for name in ("given", "by_alignment"):
        told = dataclasses.replace(rare, prior=survey["prior"][name], survey_size=survey["clusters"])
        there = _probability(at_prior(score, from_prior=rare.prior, to_prior=told.prior))
        curve = discovery_curve(score, labels, options=told, cells=cells, probabilities=there)
        curves[name] = curve.to_dict("records")
    return {"catalogue": survey["catalogue"], "clusters": survey["clusters"], "discovery_curve": curves}


def _curves(score: np.ndarray, labels: np.ndarray, prior: PriorOptions) -> Table:
    """false_positive_rate, recall, precision at the sky's prior: a row a distinct score of the test fields; and the
    upper limit of the rate (Jeffreys, 95 %), where nothing is selected 0.
    """
    from skytrace.learning import metrics
    from skytrace.learning.rare_events import precision_at_prior
    from skytrace.statistics import LEVELS, beta_interval

    false, recall = metrics.roc_curve(score, labels)
    n = int((labels == 0).sum())
    limit = np.r_[0.0, beta_interval(np.rint(false[1:] * n), n, LEVELS["95"])[1]]
    precision = precision_at_prior(recall, false, prior=prior.sky)
    columns = {
        "false_positive_rate": false,
        "recall": recall,
        "precision": precision,
        "false_positive_rate_limit": limit,
    }
    return pd.DataFrame(columns)
