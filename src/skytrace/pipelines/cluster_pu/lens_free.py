"""Scores of fields that hold no lens, where a simulated sky can show more of them: for the evaluation alone.

A false-positive rate of 1e-3, and the mean probability at a prior of 1e-4, need more non-lenses than a test split has.
"""

from typing import Any

import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.learning.pu_transformer import PUTransformer
from skytrace.pipelines.cluster_pu.estimators import loaded_members, score_rows
from skytrace.pipelines.cluster_pu.features import AS_OBSERVED, measure_features
from skytrace.pipelines.cluster_pu.fields import cut_fields
from skytrace.pipelines.cluster_pu.options import FeatureOptions, FieldOptions, LensFreeOptions, PriorOptions
from skytrace.pipelines.cluster_pu.transformer import stack_shifted
from skytrace.pipelines.cluster_pu.transformer_inputs import inputs_of, prepare_inputs
from skytrace.pipelines.cluster_pu.transformer_options import TransformerTrackOptions
from skytrace.surveys.clusters.interface import ClusterSurvey

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["score_lens_free"]


def score_lens_free(
    survey: ClusterSurvey, models: Report, transformer: PUTransformer, stack: Report, options: LensFreeOptions,
    features: FeatureOptions, track: TransformerTrackOptions, prior: PriorOptions, shards: FieldOptions,
    cluster: ClusterOptions,
) -> Table:  # fmt: skip
    """cluster_id and logit at the sky's prior of fields without a lens, by the stack of both tracks as it is; no row
    where the sky is real, or none is asked for.
    """
    from skytrace.learning.pu_losses import shifted_logits
    from skytrace.learning.pu_transformer import transformer_logits
    from skytrace.surveys.clusters.lens_free import lens_free_fields

    more = lens_free_fields(survey, options.fields)
    if more is None:
        return pd.DataFrame({"cluster_id": pd.Series(dtype=str), "logit": pd.Series(dtype=float)})
    clusters = more.clusters()
    fields = cut_fields(more, clusters, shards, cluster)
    split = pd.DataFrame({"cluster_id": clusters["cluster_id"], "split": "lens_free"})
    measured, _ = measure_features(fields, clusters, split, features, shards, cluster)
    inputs = prepare_inputs(fields, split, track, features, shards, cluster)
    ids = measured["cluster_id"]
    seen = transformer_logits(
        transformer, inputs_of(inputs, ids), threads=track.training.threads, device=track.training.device
    )
    named = {"condition": AS_OBSERVED, "cluster_id": ids}
    trees = score_rows(measured, models, loaded_members(models))["logit_unlabelled"]
    both = stack_shifted(pd.DataFrame({**named, "logit": trees}), pd.DataFrame({**named, "logit": seen}), stack)
    logit = shifted_logits(both["logit"].to_numpy(), from_prior=prior.unlabelled, to_prior=prior.sky)
    return pd.DataFrame({"cluster_id": both["cluster_id"], "logit": logit})
