"""Glue of lens_finder: each node unpacks its options, calls the science, and shapes the result for the catalog."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from skytrace.audit import check_model_inputs
from skytrace.compute import ClusterOptions
from skytrace.imaging import PreprocessOptions, preprocessing_checksum
from skytrace.imaging.quality import QualityOptions
from skytrace.learning import (
    Detector,
    EvaluationOptions,
    ThresholdOptions,
    TrainingOptions,
    evaluate_scores,
    score_stamps,
)
from skytrace.learning.evaluation import count_share
from skytrace.learning.metrics import choose_threshold
from skytrace.learning.samples import (
    MANIFEST_COLUMNS,
    labelled_stamps,
    rows_of,
    sample_weights,
    split_certificate,
    stamps_at,
)
from skytrace.learning.training import train_detector as train
from skytrace.pipelines.lens_finder.cutouts import Cutting, cut
from skytrace.pipelines.lens_finder.options import CutoutOptions
from skytrace.sky import (
    SelectionOptions,
    SplitOptions,
    StrataOptions,
    assign_split,
    healpix_cell,
    stratify,
    verify_split,
    withhold_anchors,
)
from skytrace.surveys.interface import ImagingSurvey
from skytrace.surveys.selected import selected_galaxies

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, Any]  # arrays by name; stamps may stay on disk (StampStore)


def select_galaxies(
    survey: ImagingSurvey,
    options: SelectionOptions,
    cluster: ClusterOptions | None = None,
    cutouts: CutoutOptions | None = None,
) -> tuple[Table, Table]:
    """Galaxies and lenses that pass the filters, and the ledger of those that do not."""
    folder = cutouts.scratch_folder if cutouts else ""
    return selected_galaxies(survey, options=options, cluster=cluster, folder=folder)


def split_sky(
    survey: ImagingSurvey, galaxies: Table, options: SplitOptions, selection: SelectionOptions
) -> tuple[Table, Report, Table]:
    """Galaxies with their split by sky, the proof that nothing leaks, and the anchors withheld from training."""
    galaxies = galaxies.assign(
        split=assign_split(
            galaxies["ra"], galaxies["dec"], nside=options.nside, seed=options.seed, fractions=options.fractions
        ),
        healpix_128=healpix_cell(galaxies["ra"], galaxies["dec"], nside=128),
    )
    galaxies, withheld = withhold_anchors(galaxies)
    report = verify_split(
        galaxies, nside=options.nside, lenses=survey.lenses(), lens_exclusion_arcsec=selection.lens_exclusion_arcsec
    )
    return galaxies, {"options": asdict(options), "verified": True, **report}, withheld


def stratify_negatives(galaxies: Table, options: StrataOptions) -> tuple[Table, Table]:
    """The galaxies that get a cutout, and the ledger of every stratum's goal and shortfall."""
    return stratify(galaxies, options=options)


def cut_stamps(
    survey: ImagingSurvey,
    sample: Table,
    preprocessing: PreprocessOptions,
    quality: QualityOptions,
    cutouts: CutoutOptions,
    cluster: ClusterOptions | None = None,
) -> tuple[Arrays, Table, Table]:
    """Preprocessed stamps of every cutout that passes quality control, the manifest of all, and what was rejected."""
    store, table = cut(Cutting(survey, sample, preprocessing, quality, cutouts), cluster)
    accepted = table.pop("accepted").to_numpy(dtype=bool)
    table["stamp_row"] = np.where(accepted, np.cumsum(accepted) - 1, -1)
    manifest = _manifest(sample, table)
    outcome = manifest["reject_reasons"].replace("", "accepted").rename("outcome")
    ledger = manifest.groupby([outcome, "split", "label"]).size().rename("cutouts").reset_index()
    return {"galaxy_id": sample["galaxy_id"].to_numpy(dtype=str)[accepted], "stamps": store}, manifest, ledger


def train_detector(
    stamps: Arrays,
    manifest: Table,
    split_report: Report,
    preprocessing: PreprocessOptions,
    training: TrainingOptions,
    threshold: ThresholdOptions,
    checkpoint_folder: str,
) -> tuple[Detector, Table]:
    """The detector with its card: threshold chosen on validation, data hashes, split certificate; and its history."""
    check_model_inputs(name for name in stamps if name != "galaxy_id")
    samples = {name: labelled_stamps(stamps["stamps"], manifest, split=name) for name in ("train", "val")}
    detector, history = train(samples["train"], samples["val"], options=training, checkpoint_folder=checkpoint_folder)
    scores = score_stamps(detector, samples["val"].stamps, metadata=samples["val"].metadata)
    detector = detector.with_card(
        threshold=choose_threshold(scores, samples["val"].labels, options=threshold),
        preprocessing={"options": asdict(preprocessing), "checksum": preprocessing_checksum(preprocessing)},
        split={**{key: split_report[key] for key in ("options", "verified")}, "splits": split_certificate(manifest)},
        must_not_be_claimed=[
            "A score is no probability that a galaxy of the sky is a lens: it refers to the training batches' share.",
            "No purity or number of lenses of a survey follows without its prevalence of lenses.",
            "Nothing is claimed for seeing, depth, types or magnitudes outside those of the training sample.",
            "Held-out anchors are not an independent spectroscopic validation.",
        ],
    )
    return detector, pd.DataFrame(history)


def score_sample(detector: Detector, stamps: Arrays, manifest: Table, preprocessing: PreprocessOptions) -> Table:
    """Scores of everything that the detector was not trained on: validation, test and withheld anchors."""
    detector.check_preprocessing(preprocessing_checksum(preprocessing))
    rows = rows_of(manifest, "val", "test", "anchor")
    columns = ["galaxy_id", "split", "label", "tier", "is_anchor", "pool", "confuser_category", "healpix_128"]
    scores = rows[columns].reset_index(drop=True)
    scores["score"] = score_stamps(detector, stamps_at(stamps["stamps"], rows), metadata=rows)
    return scores


def evaluate_detector(detector: Detector, scores: Table, manifest: Table, options: EvaluationOptions) -> Report:
    """The evaluation on the test split, beside validation and the anchors; all numbers with intervals."""
    threshold = detector.threshold
    test = evaluate_scores(_test_rows(scores), threshold=threshold, options=options)
    validation = evaluate_scores(scores[scores["split"] == "val"], threshold=threshold, options=options)["ranking"]
    anchors = scores[scores["is_anchor"] & (scores["label"] == 1)]
    apart = int((anchors["split"] == "anchor").sum())
    return {
        "split": "test",
        **test,
        "threshold_choice": detector.card["threshold"],
        "validation": validation,
        "validation_minus_test_auc": validation["auc"]["value"] - test["ranking"]["auc"]["value"],
        "held_out_anchors": {
            "recall": count_share(anchors["score"].to_numpy() >= threshold),
            "note": f"known lenses kept out of training, {apart} of them withheld as they lie in a train or val cell, "
            f"{len(anchors) - apart} in the test split",
        },
        "stamps_by_split": split_certificate(manifest),
    }


def plot_roc(scores: Table, evaluation: Report) -> Any:
    """ROC of the test split."""
    from skytrace.reporting.detector_figures import roc_figure

    return roc_figure(_test_rows(scores), evaluation=evaluation)


def plot_precision_recall(scores: Table, evaluation: Report) -> Any:
    """Precision and recall in the test split."""
    from skytrace.reporting.detector_figures import precision_recall_figure

    return precision_recall_figure(_test_rows(scores), evaluation=evaluation)


def plot_reliability(scores: Table, evaluation: Report) -> Any:
    """Reliability of the test scores, the highest apart."""
    from skytrace.reporting.detector_figures import reliability_figure

    return reliability_figure(_test_rows(scores), evaluation=evaluation)


def _test_rows(scores: Table) -> Table:
    return scores[scores["split"] == "test"]


def _manifest(sample: Table, quality: Table) -> Table:
    """One row a cutout: who it is, where its stamp is, what training may know, and the quality columns."""
    sample = sample.assign(sample_weight=sample_weights(sample["tier"]), stamp_row=quality["stamp_row"].to_numpy())
    repeated = ["galaxy_id", "stamp_row", "flux_g", "flux_r", "flux_z"]
    return pd.concat([sample[list(MANIFEST_COLUMNS)].reset_index(drop=True), quality.drop(columns=repeated)], axis=1)
