"""Glue of lens_finder's audit: what the detector learnt from, how an ensemble compares, which arcs can be seen."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from skytrace.audit import (
    GateOptions,
    ShortcutOptions,
    audit_report,
    catalogue_features,
    compare_gates,
    gate_scores,
    mask_core,
    shortcut_aucs,
    shortcut_features,
)
from skytrace.imaging import PreprocessOptions, preprocessing_checksum
from skytrace.learning import (
    CalibrationOptions,
    Detector,
    EnsembleOptions,
    EvaluationOptions,
    ThresholdOptions,
    TrainingOptions,
    score_stamps,
)
from skytrace.learning.calibration import calibration_verdict, compare_calibrations, select_calibrator
from skytrace.learning.comparison import compare_scores, score_diversity
from skytrace.learning.ensemble import Ensemble
from skytrace.learning.ensemble import train_ensemble as train
from skytrace.learning.metrics import choose_threshold
from skytrace.learning.samples import NEVER_TRAINED_ON, labelled_stamps, rows_of, split_certificate, stamps_at
from skytrace.learning.selective import selective_summary
from skytrace.pipelines.lens_finder.options import PartsOptions
from skytrace.sky import SelectionOptions
from skytrace.sky.selection_parity import ParityOptions as SelectionParityOptions
from skytrace.sky.selection_parity import named_selections, parity_report, selection_counts
from skytrace.surveys.interface import ImagingSurvey, check_galaxies

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, Any]


def compare_selections(survey: ImagingSurvey, selection: SelectionOptions, deviations: SelectionParityOptions) -> Table:
    """Rows left after each filter, stratum by stratum, by this selection and by every named one beside it."""
    galaxies, lenses = check_galaxies(survey.galaxies(), source=survey.name), survey.lenses()
    named = named_selections(selection, deviations)
    return parity_report({name: selection_counts(galaxies, lenses, options=one) for name, one in named.items()})


def audit_shortcuts(manifest: Table, sample: Table, options: ShortcutOptions) -> Table:
    """How well each single number tells the lenses of the sample from its galaxies."""
    rows = _with_catalogue(rows_of(manifest, "train", "val", "test"), sample)
    return shortcut_aucs(
        shortcut_features(rows), rows["label"].to_numpy(), cells=rows["healpix_128"].to_numpy(), options=options
    )


def audit_parts(
    detector: Detector,
    stamps: Arrays,
    manifest: Table,
    sample: Table,
    scores: Table,
    gates: GateOptions,
    parts: PartsOptions,
) -> Table:
    """The detector, with and without the core of its stamps, beside classifiers that see a part or the catalogue."""
    rows = _with_catalogue(parts.draw(rows_of(manifest, *NEVER_TRAINED_ON)), sample)
    pixels = stamps_at(stamps["stamps"], rows)[:]
    cells, labels = rows["healpix_128"].to_numpy(), rows["label"].to_numpy()
    masked = score_stamps(detector, mask_core(pixels, gates.core_radius_px), metadata=rows)
    seen = {
        "detector": scores.set_index("galaxy_id")["score"].loc[rows["galaxy_id"]].to_numpy(),
        "detector, core masked": masked,
        **gate_scores(pixels, labels, cells=cells, catalogue=catalogue_features(rows), options=gates),
    }
    return compare_gates(seen, labels, cells=cells, options=gates)


def report_audit(
    stamps: Arrays, detector: Detector, ensemble: Ensemble, shortcuts: Table, region_gates: Table
) -> Report:
    """Inputs, shortcuts and parts of the stamp in one report; it fails where the detector sees a label."""
    inputs = [name for name in stamps if name != "galaxy_id"] + list(detector.metadata_columns)
    report = audit_report(
        inputs=inputs, shortcuts=shortcuts, gates=region_gates, metadata_fusion=bool(detector.metadata_columns)
    )
    return {**report, "ensemble_reads": ["stamps", *ensemble.metadata_columns]}


def train_ensemble(
    stamps: Arrays,
    manifest: Table,
    preprocessing: PreprocessOptions,
    training: TrainingOptions,
    options: EnsembleOptions,
    threshold: ThresholdOptions,
    checkpoint_folder: str,
) -> tuple[Ensemble, Table, Table]:
    """An ensemble of specialists on the single network's budget of images, its history, and its validation scores."""
    samples = {name: labelled_stamps(stamps["stamps"], manifest, split=name) for name in ("train", "val")}
    ensemble, history, validation = train(
        samples["train"], samples["val"], options=training, ensemble=options, checkpoint_folder=checkpoint_folder
    )
    combined = validation[options.combination]
    ensemble = ensemble.with_card(
        threshold=choose_threshold(combined, validation["label"], options=threshold),
        preprocessing={"options": asdict(preprocessing), "checksum": preprocessing_checksum(preprocessing)},
        split={"splits": split_certificate(manifest)},
    )
    ids = rows_of(manifest, "val")["galaxy_id"].to_numpy()
    return ensemble, history, validation.assign(galaxy_id=ids)


def score_ensemble(ensemble: Ensemble, stamps: Arrays, manifest: Table, preprocessing: PreprocessOptions) -> Table:
    """Scores of the members and of the whole on the test split."""
    ensemble.check_preprocessing(preprocessing_checksum(preprocessing))
    rows = rows_of(manifest, "test").reset_index(drop=True)
    members = ensemble.member_scores(stamps_at(stamps["stamps"], rows), metadata=rows)
    head = rows[["galaxy_id", "label", "pool", "confuser_category", "healpix_128"]]
    return pd.concat([head, members.assign(ensemble=ensemble.combine(members, metadata=rows))], axis=1)


def compare_ensemble(
    ensemble: Ensemble, ensemble_scores: Table, ensemble_validation: Table, scores: Table, detector: Detector,
    threshold: ThresholdOptions, evaluation: EvaluationOptions,
) -> Report:  # fmt: skip
    """Whether the ensemble finds more than the single network on the test split, and how different its members are."""
    single = scores.set_index("galaxy_id")["score"].loc[ensemble_scores["galaxy_id"]].to_numpy()
    labels, cells = ensemble_scores["label"].to_numpy(), ensemble_scores["healpix_128"].to_numpy()
    both = {"ensemble": ensemble_scores["ensemble"].to_numpy(), "single network": single}
    limits = {"ensemble": ensemble.threshold, "single network": detector.threshold}
    members = list(ensemble.members)
    chosen = {
        name: choose_threshold(ensemble_validation[name], ensemble_validation["label"], options=threshold)["value"]
        for name in members
    }
    return {
        "image_budget": ensemble.card["image_budget"],
        "comparison": compare_scores(
            both["ensemble"], both["single network"], labels, cells=cells,
            rates=evaluation.false_positive_rates, n_resamples=evaluation.n_resamples, seed=evaluation.seed,
        ),
        "diversity": score_diversity(
            {name: ensemble_scores[name].to_numpy() for name in members}, labels, thresholds=chosen,
            is_confuser=(ensemble_scores["pool"] == "N2").to_numpy(),
        ),
        "selective": {
            name: selective_summary(
                values, labels, threshold=limits[name], cells=cells,
                n_resamples=evaluation.n_resamples, seed=evaluation.seed,
            )
            for name, values in both.items()
        },
    }  # fmt: skip


def calibrate_scores(scores: Table, options: CalibrationOptions) -> tuple[Table, Report]:
    """Scores as probabilities at the sample's share of lenses: the map is fitted on validation and judged on test."""
    validation, test = (scores[scores["split"] == name] for name in NEVER_TRAINED_ON)
    calibrator, choice = select_calibrator(validation["score"], validation["label"], options=options)
    calibrated = scores.assign(probability=calibrator.apply(scores["score"]))
    verdict = calibration_verdict(
        test["score"], calibrator.apply(test["score"]), test["label"], cells=test["healpix_128"], options=options
    )
    by_method = compare_calibrations(
        (validation["score"], validation["label"]), (test["score"], test["label"]),
        cells=test["healpix_128"], options=options,
    )  # fmt: skip
    return calibrated, {**verdict, "calibrator": calibrator.as_dict(), "choice": choice, "by_method": by_method}


def _with_catalogue(rows: Table, sample: Table) -> Table:
    """Rows of the manifest, in their order, with the sample's columns that it lacks."""
    known = [name for name in sample.columns if name not in rows.columns]
    return rows.merge(sample[["galaxy_id", *known]], on="galaxy_id", how="left", validate="one_to_one")
