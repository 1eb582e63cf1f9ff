"""The whole of cluster_pu that `kedro run --pipelines cluster_pu` makes: the track of features and trees.

A part that needs pixels (a network, lens models of the best candidates) reads ``fields``, ``split`` and ``candidates``.
"""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.cluster_pu import (
    estimators,
    evaluation,
    features,
    fields,
    lens_free,
    studies,
    survey_scale,
    triage,
)
from skytrace.pipelines.cluster_pu.graph import make_pipeline
from skytrace.pipelines.cluster_pu.transformer import transformer_nodes

__all__ = ["create_pipeline"]

_LEARN_FROM = ["features", "split", "params:features", "params:learning", "params:prior"]


def create_pipeline(**_: object) -> Pipeline:
    """Fields and features; what is learnt and what it rests on; the evaluation; candidates, figures and the page."""
    return make_pipeline([*_fields(), *_learning(), *transformer_nodes(), *_studies(), *_evaluation(), *_triage()])


def _fields() -> list[Node]:
    return [
        Node(fields.read_clusters, "cluster_survey", "clusters", name="read_clusters"),
        Node(
            survey_scale.describe_survey,
            ["clusters", "params:survey", "params:features", "params:prior"],
            ["survey_clusters", "survey_report"],
            name="describe_survey",
        ),
        Node(
            fields.cut_fields,
            ["cluster_survey", "clusters", "params:shards", "params:cluster"],
            "fields",
            name="cut_fields",
        ),
        Node(
            features.measure_features,
            ["fields", "clusters", "split", "params:features", "params:shards", "params:cluster"],
            ["features", "shifted_features"],
            name="measure_features",
        ),
        Node(
            estimators.split_fields, ["clusters", "fields", "params:split"], ["split", "split_report"],
            name="split_fields",
        ),
    ]  # fmt: skip


def _learning() -> list[Node]:
    return [
        Node(estimators.learn, _LEARN_FROM, ["tree_logits", "models", "importance", "learning_report"], name="learn"),
        Node(estimators.shuffle_labels, _LEARN_FROM, "shuffle_report", name="shuffle_labels"),
    ]


def _studies() -> list[Node]:
    return [
        Node(
            studies.study_priors,
            ["logits", "params:prior", "params:prior_study"],
            ["prior_estimates", "prior_study"],
            name="study_priors",
        ),
        Node(studies.sweep_priors, _LEARN_FROM, "prior_sweep", name="sweep_priors"),
        Node(studies.ablate, _LEARN_FROM, "ablation_logits", name="ablate"),
        Node(
            studies.score_shifted, ["shifted_features", "split", "models"], "tree_shifted_logits", name="score_shifted"
        ),
        Node(
            studies.find_anomalies,
            ["features", "split", "logits", "importance", "params:features", "params:anomaly"],
            ["anomalies", "anomaly_report"],
            name="find_anomalies",
        ),
    ]


def _evaluation() -> list[Node]:
    return [
        Node(evaluation.read_truth, "cluster_survey", "truth", name="read_truth"),
        Node(
            lens_free.score_lens_free,
            ["cluster_survey", "models", "transformer", "track_stack", "params:lens_free", "params:features",
             "params:transformer", "params:prior", "params:shards", "params:cluster"],
            "lens_free_logits",
            name="score_lens_free",
        ),
        Node(
            evaluation.evaluate,
            ["truth", "features", "logits", "split", "prior_sweep", "ablation_logits", "shifted_logits", "anomalies",
             "lens_free_logits", "prior_study", "survey_report", "params:features", "params:learning", "params:prior",
             "params:rare_events"],
            ["evaluation", "ablation_table", "by_prior", "curves"],
            name="evaluate",
        ),
    ]  # fmt: skip


def _triage() -> list[Node]:
    figures = [f"{name}_{kind}" for name in triage.FIGURES for kind in ("figure", "figure_pdf")]
    return [
        Node(
            triage.rank_candidates,
            ["clusters", "fields", "features", "logits", "anomalies", "params:prior"],
            "candidates",
            name="rank_candidates",
        ),
        Node(
            triage.write_page,
            ["candidates", "fields", "evaluation", "survey_report", "learning_report", "shuffle_report",
             "ablation_table", "importance", "curves", "by_prior", "prior_study", "params:prior", "params:triage",
             "params:rare_events"],
            [*figures, "triage_page"],
            name="write_page",
        ),
    ]  # fmt: skip
