"""The transformer track: what it learns, its part in the stack of both tracks, and how it compares with the other.

No truth comes to what learns or stacks: rows of the split ``train`` are scored out of fold, by the folds of the CPU
track, those of ``val`` and ``test`` by all networks. Truth comes to ``judge_tracks`` alone.
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from kedro.pipeline import Node

from skytrace.learning.pu_transformer import PUTransformer
from skytrace.learning.rare_events import RareEventOptions
from skytrace.pipelines.cluster_pu.features import AS_OBSERVED
from skytrace.pipelines.cluster_pu.options import FeatureOptions, LearningOptions, PriorOptions
from skytrace.pipelines.cluster_pu.transformer_inputs import inputs_of, prepare_inputs, view_name
from skytrace.pipelines.cluster_pu.transformer_options import TransformerTrackOptions
from skytrace.surveys.clusters.interface import ClusterSurvey

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = [
    "judge_tracks", "pretrain_transformer", "score_transformer", "stack_shifted", "stack_tracks", "train_transformer",
    "transformer_nodes",
]  # fmt: skip

#: Columns of the logits of both tracks: the CPU track's own stack, and this track's.
TREES, TRANSFORMER = "trees", "transformer"


def transformer_nodes() -> list[Node]:
    """Inputs, pretraining, training, scores, the stack of both tracks, and the comparison."""
    return [
        Node(
            prepare_inputs,
            ["fields", "split", "params:transformer", "params:features", "params:shards", "params:cluster"],
            "transformer_inputs",
            name="prepare_inputs",
        ),
        Node(
            pretrain_transformer, ["cluster_survey", "params:transformer"], "transformer_start",
            name="pretrain_transformer",
        ),
        Node(
            train_transformer,
            ["transformer_inputs", "split", "transformer_start", "params:transformer", "params:learning",
             "params:prior"],
            ["transformer", "transformer_fitted"],
            name="train_transformer",
        ),
        Node(
            score_transformer,
            ["transformer", "transformer_fitted", "transformer_inputs", "split", "params:transformer",
             "params:features"],
            ["transformer_logits", "transformer_shifted", "transformer_attention"],
            name="score_transformer",
        ),
        Node(
            stack_tracks,
            ["tree_logits", "transformer_logits", "params:learning", "params:prior"],
            ["logits", "track_stack"],
            name="stack_tracks",
        ),
        Node(
            stack_shifted,
            ["tree_shifted_logits", "transformer_shifted", "track_stack"],
            "shifted_logits",
            name="stack_shifted",
        ),
        Node(
            judge_tracks,
            ["truth", "logits", "ablation_logits", "transformer_inputs", "split", "transformer", "params:transformer",
             "params:rare_events"],
            "transformer_evaluation",
            name="judge_tracks",
        ),
    ]  # fmt: skip


def pretrain_transformer(survey: ClusterSurvey, track: TransformerTrackOptions) -> dict[str, Any]:
    """Weights to begin from by name, none where nothing is pretrained. Raises SurveyError for a survey that cannot show
    one lens twice.
    """
    pairs = track.training.pretraining.clusters
    if not pairs:
        return {}
    from skytrace.learning.lens_pretraining import pretrain
    from skytrace.surveys.clusters.pairs import paired_inputs

    first, second = paired_inputs(survey, pairs, inputs=track.inputs)
    return pretrain(first, second, options=track.network, training=track.training, weights_file=track.weights_file)


def train_transformer(
    inputs: Table,
    split: Table,
    start: dict[str, Any],
    track: TransformerTrackOptions,
    learning: LearningOptions,
    prior: PriorOptions,
) -> tuple[PUTransformer, Table]:
    """(the networks, cluster_id, fold and out-of-fold logit of the training fields)."""
    from skytrace.learning.pu_transformer_training import cross_fit

    train = split[split["split"] == "train"].reset_index(drop=True)
    views = [inputs_of(inputs, train["cluster_id"], condition=view_name(k)) for k in range(track.inputs.views)]
    model, logits, fold = cross_fit(
        views, train["known_lens"].astype(int), groups=train["cell"], prior=prior.unlabelled, options=track.network,
        training=track.training, folds=learning.folds, fold_seed=learning.seed, test_views=track.test_views,
        start=start, weights_file=track.weights_file or None, checkpoint_folder=track.checkpoints,
    )  # fmt: skip
    model = dataclasses.replace(model, card={**model.card, "inputs": dataclasses.asdict(track.inputs)})
    return model, pd.DataFrame({"cluster_id": train["cluster_id"], "fold": fold, "logit": logits})


def score_transformer(
    model: PUTransformer,
    fitted: Table,
    inputs: Table,
    split: Table,
    track: TransformerTrackOptions,
    features: FeatureOptions,
) -> tuple[Table, Table, dict[str, np.ndarray]]:
    """(cluster_id, fold (-1: no fold trained on it) and logit of every field; condition, cluster_id, logit of the test
    fields under every shifted sky; where the networks look, by field).
    """
    from skytrace.learning.pu_transformer import attention_maps, transformer_logits

    runs = {"threads": track.training.threads, "device": track.training.device}
    held = split.loc[split["split"] != "train", "cluster_id"]
    logits = transformer_logits(model, inputs_of(inputs, held), **runs)
    rest = pd.DataFrame({"cluster_id": held, "fold": -1, "logit": logits})
    table = split[["cluster_id", "cell", "split", "known_lens"]].merge(
        pd.concat([fitted, rest]), on="cluster_id", validate="1:1"
    )
    test = split.loc[split["split"] == "test", "cluster_id"]
    parts = [pd.DataFrame({"condition": pd.Series(dtype=str), "cluster_id": pd.Series(dtype=str), "logit": []})]
    for shift in features.shifts if len(test) else ():
        worse = transformer_logits(model, inputs_of(inputs, test, condition=shift.name), **runs)
        parts.append(pd.DataFrame({"condition": shift.name, "cluster_id": test, "logit": worse}))
    looked = {
        "cluster_id": split["cluster_id"].to_numpy(dtype=str),
        "attention": attention_maps(model, inputs_of(inputs, split["cluster_id"]), threads=track.training.threads),
    }
    return table, pd.concat(parts if len(parts) == 1 else parts[1:], ignore_index=True), looked


def stack_tracks(
    trees: Table, transformer: Table, learning: LearningOptions, prior: PriorOptions
) -> tuple[Table, Report]:
    """(the logits of the CPU track with those of the transformer, of its own stack in ``trees``, and the stack of both
    in ``stack``, calibrated on val; the stack and its scale).
    """
    from skytrace.learning.pu_calibration import fit_pu_scale
    from skytrace.learning.pu_losses import shifted_logits
    from skytrace.learning.pu_stacking import cross_fitted_stack, fit_pu_stack, stacked_logits

    # standardised members: the calibrated logits of the CPU track's stack weigh what the raw ones would
    table = trees.assign(**{TREES: trees["logit_unlabelled"]})
    both = table[["cluster_id"]].merge(transformer, on="cluster_id", validate="1:1")
    table[TRANSFORMER] = both["logit"].to_numpy()
    names, train, val = [TREES, TRANSFORMER], table["split"] == "train", table["split"] == "val"
    labelled = table["known_lens"].astype(np.int64).to_numpy()
    stack = fit_pu_stack(table.loc[train, names], labelled[train], penalty=learning.penalty)
    combined = stacked_logits(stack, table[names])
    combined[train] = cross_fitted_stack(
        table.loc[train, names], labelled[train], both.loc[train, "fold"], penalty=learning.penalty
    )
    table["stack"] = combined
    slope, intercept = fit_pu_scale(combined[val], labelled[val], prior=prior.unlabelled)
    table["logit_unlabelled"] = slope * combined + intercept
    table["logit"] = shifted_logits(table["logit_unlabelled"], from_prior=prior.unlabelled, to_prior=prior.sky)
    record = {
        "stack": stack,
        "scale": {"slope": slope, "intercept": intercept, "prior": prior.unlabelled},
        "weights": dict(zip(stack["members"], stack["coefficients"], strict=True)),
    }
    return table, record


def stack_shifted(trees: Table, transformer: Table, record: Report) -> Table:
    """condition, cluster_id, logit at the unlabelled prior of the test fields under every shifted sky, by both."""
    from skytrace.learning.pu_stacking import stacked_logits

    both = trees.merge(transformer, on=["condition", "cluster_id"], suffixes=("", "_transformer"), validate="1:1")
    members = pd.DataFrame({TREES: both["logit"], TRANSFORMER: both["logit_transformer"]})
    logit = record["scale"]["slope"] * stacked_logits(record["stack"], members) + record["scale"]["intercept"]
    return pd.DataFrame({"condition": both["condition"], "cluster_id": both["cluster_id"], "logit": logit})


def judge_tracks(
    truth: Table,
    logits: Table,
    ablations: Table,
    inputs: Table,
    split: Table,
    model: PUTransformer,
    track: TransformerTrackOptions,
    rare: RareEventOptions,
) -> Report:
    """AUROC on the test fields, drawn anew by sky cells, of both tracks, their stack, single columns and networks that
    learnt from true labels; differences from the CPU track in pairs; what training told of itself.
    """
    from functools import partial

    from skytrace.learning.metrics import roc_auc
    from skytrace.learning.resampling import drawn_by
    from skytrace.pipelines.cluster_pu.evaluation import truth_labels
    from skytrace.statistics import bootstrap_interval

    test = logits[logits["split"] == "test"].reset_index(drop=True)
    labels, basis = truth_labels(truth, test)
    scores = {"transformer": test[TRANSFORMER].to_numpy(), "CPU track": test[TREES].to_numpy()}
    scores["stack of both"] = test["stack"].to_numpy()
    for variant in [name for name in ablations["variant"].unique() if str(name).endswith("alone")]:
        alone = ablations[ablations["variant"] == variant].set_index("cluster_id")["logit"]
        scores[str(variant)] = alone.loc[test["cluster_id"]].to_numpy()
    if len(truth) and track.oracle:
        scores["transformer trained on true labels"] = _oracle_logits(truth, inputs, split, test, track)
    drawn = drawn_by(labels, test["cell"].to_numpy(), rows=len(labels))
    interval = partial(bootstrap_interval, n_resamples=rare.n_resamples, seed=rare.seed, **drawn)
    rows = {}
    for name, values in scores.items():
        gain = interval(
            lambda a, b, y: roc_auc(a, y) - roc_auc(b, y), values, scores["CPU track"], labels
        )  # fmt: skip
        rows[name] = {
            "auroc": interval(roc_auc, values, labels).as_dict(), "minus_cpu_track": gain.as_dict(),
        }  # fmt: skip
    return {
        "truth": basis, "positives": int(labels.sum()), "negatives": int((1 - labels).sum()), "auroc": rows,
        "known_lenses_learnt_from": model.card["known_positives"], "scale": model.card["scale"],
        "training": model.card["history"],
    }  # fmt: skip


def _oracle_logits(
    truth: Table, inputs: Table, split: Table, test: Table, track: TransformerTrackOptions
) -> np.ndarray:
    """Mean logits of the test fields by networks of the same shape and training with every label true: as many
    positives as there are, and "unlabelled" fields none of which is a lens.
    """
    from skytrace.learning.pu_transformer import dihedral_logits, loaded_network
    from skytrace.learning.pu_transformer_training import fit_network

    train = split.loc[split["split"] == "train", "cluster_id"]
    is_lens = truth.set_index("cluster_id")["is_lens"].loc[train].to_numpy().astype(np.int64)
    views = [inputs_of(inputs, train, condition=view_name(k)) for k in range(track.inputs.views)]
    judged = inputs_of(inputs, test["cluster_id"], condition=AS_OBSERVED)
    parts = []
    for number in range(track.oracle):
        state, _ = fit_network(
            views, is_lens, prior=1e-9, options=dataclasses.replace(track.network, frozen_share=0.0),
            training=dataclasses.replace(track.training, balanced=True), seed=track.training.seed + 1000 + number,
        )  # fmt: skip
        network = loaded_network(track.network, tuple(views[0].shape[1:]), state)
        parts.append(
            dihedral_logits(
                network, judged, test_views=track.test_views, threads=track.training.threads,
                device=track.training.device,
            )
        )  # fmt: skip
    return np.mean(parts, axis=0)
