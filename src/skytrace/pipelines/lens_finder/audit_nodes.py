"""Glue of lens_finder's audit: what the detector learnt from, how an ensemble compares, which arcs can be seen."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
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
from skytrace.audit.anchor_flux import AnchorFluxOptions, anchor_flux_check, anchor_flux_summary
from skytrace.audit.detectability import (
    DetectabilityOptions,
    anchor_completeness,
    arc_evidence,
    calibrate_gate,
    observable,
    recall_factors,
)
from skytrace.audit.parity import (
    ParityOptions,
    central_magnitudes,
    compare_routes,
    parity_verdict,
    population_test,
    route_test,
)
from skytrace.compute import progress
from skytrace.errors import CatalogueError, SurveyError
from skytrace.imaging import PreprocessOptions, preprocessing_checksum
from skytrace.learning import (
    CalibrationOptions,
    Detector,
    EnsembleOptions,
    EvaluationOptions,
    StrataEvaluationOptions,
    ThresholdOptions,
    TopOptions,
    TrainingOptions,
    score_stamps,
)
from skytrace.learning.calibration import calibration_verdict, compare_calibrations, select_calibrator
from skytrace.learning.comparison import compare_scores, score_diversity
from skytrace.learning.ensemble import Ensemble
from skytrace.learning.ensemble import train_ensemble as train
from skytrace.learning.metrics import choose_threshold
from skytrace.learning.samples import labelled_stamps, rows_of, split_certificate, stamps_at
from skytrace.learning.selective import selective_summary
from skytrace.learning.strata_evaluation import evaluate_strata, validation_test_gap
from skytrace.learning.top_composition import category_shares, top_composition
from skytrace.lensing.population import host_light_shape
from skytrace.pipelines.lens_finder.options import CutoutOptions, PartsOptions
from skytrace.sky import SelectionOptions
from skytrace.sky.selection_parity import ParityOptions as SelectionParityOptions
from skytrace.sky.selection_parity import named_selections, parity_report, selection_counts
from skytrace.surveys.interface import ImagingSurvey, check_galaxies

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, Any]
_NEVER_TRAINED_ON = ("val", "test")
_FEWEST_ANCHORS = 5


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
    rows = _with_catalogue(_some(rows_of(manifest, *_NEVER_TRAINED_ON), parts), sample)
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
    validation, test = (scores[scores["split"] == name] for name in _NEVER_TRAINED_ON)
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


def measure_arc_evidence(
    survey: ImagingSurvey,
    sample: Table,
    manifest: Table,
    preprocessing: PreprocessOptions,
    cutouts: CutoutOptions,
    options: DetectabilityOptions,
) -> Table:
    """What is left about each galaxy after a model of its light, for all that the detector was not trained on."""
    rows = rows_of(manifest, *_NEVER_TRAINED_ON, "anchor")
    shapes = sample.set_index("galaxy_id").loc[rows["galaxy_id"]].reset_index()
    parts = []
    for start in progress(range(0, len(rows), cutouts.chunk), "arc evidence"):
        some = shapes.iloc[start : start + cutouts.chunk].reset_index(drop=True)
        batch = survey.cutouts([str(name) for name in some["galaxy_id"]], size=cutouts.size)
        q, phi = host_light_shape(some)
        evidence = arc_evidence(
            batch.image, batch.invvar, q=q, phi_rad=phi, options=options, preprocess_options=preprocessing
        )
        parts.append(evidence.assign(galaxy_id=some["galaxy_id"]))
    return pd.concat(parts, ignore_index=True)


def evaluate_by_stratum(
    detector: Detector, scores: Table, manifest: Table, evidence: Table, options: StrataEvaluationOptions
) -> Report:
    """Recall, false positives and calibration in strata of the test split; the gap between validation and test."""
    columns = [name for name in manifest.columns if name not in scores.columns]
    table = scores.merge(manifest[["galaxy_id", *columns]], on="galaxy_id", how="left", validate="one_to_one")
    measured = evidence.rename(columns={"score": "arc_evidence"})[["galaxy_id", "arc_evidence"]]
    table = table.merge(measured, on="galaxy_id", how="left", validate="one_to_one")
    validation, test = (table[table["split"] == name] for name in _NEVER_TRAINED_ON)
    return {
        "by_stratum": evaluate_strata(test, threshold=detector.threshold, options=options),
        "gap": validation_test_gap(validation, test, options=options),
    }


def expect_top(scores: Table, split_galaxies: Table, options: TopOptions) -> Report:
    """What the highest scores of a survey would be, under stated shares of lenses."""
    galaxies = split_galaxies.loc[split_galaxies["label"] == 0, "confuser_category"]
    return top_composition(scores[scores["split"] == "test"], shares=category_shares(galaxies), options=options)


def measure_detectability(
    survey: ImagingSurvey, detector: Detector, scores: Table, manifest: Table, evidence: Table,
    options: DetectabilityOptions,
) -> tuple[Report, Table]:  # fmt: skip
    """The share of lenses that can be seen at all, times the share of those that the detector finds."""
    rows = scores.merge(
        manifest[["galaxy_id", "psfsize_r", "psfdepth_r"]], on="galaxy_id", how="left", validate="one_to_one"
    )
    rows = rows.merge(evidence.rename(columns={"score": "arc_score"}), on="galaxy_id", how="left")
    known = survey.lenses().drop_duplicates("galaxy_id").set_index("galaxy_id")["theta_e_arcsec"]
    rows["theta_e_arcsec"] = rows["galaxy_id"].map(known)
    measures = [name for name in evidence.columns if name not in ("galaxy_id", "score")]
    lenses = rows[(rows["label"] == 1) & rows["is_anchor"]].reset_index(drop=True)
    ordinary, confusers = (rows[(rows["label"] == 0) & (rows["pool"] == pool)] for pool in ("N1", "N2"))

    def measured(table: Table) -> Table:
        return table[measures].assign(score=table["arc_score"]).reset_index(drop=True)

    if min(len(lenses), len(ordinary)) < _FEWEST_ANCHORS:
        few = f"{len(lenses)} anchors and {len(ordinary)} ordinary galaxies; {_FEWEST_ANCHORS} of each are needed"
        empty = pd.DataFrame({"axis": [], "low": [], "high": [], "n": [], "k": [], "completeness": []})
        return {"anchors": len(lenses), "factors": {}, "note": f"Not measured: {few}."}, empty
    cells = lenses["healpix_128"].to_numpy(), ordinary["healpix_128"].to_numpy()
    gate = calibrate_gate(
        measured(lenses), measured(ordinary), confusers=measured(confusers), cells=cells, options=options
    )
    seen = observable(measured(lenses), gate["threshold"], options=options)
    found = (lenses["score"] >= detector.threshold).to_numpy()
    completeness = pd.concat(
        [
            anchor_completeness(lenses, detected, options=options).assign(detected_by=name)
            for name, detected in (("gate", seen), ("detector", found))
        ],
        ignore_index=True,
    )
    report = {
        "anchors": len(lenses),
        "gate": gate,
        "factors": {"all": recall_factors(seen, found)}
        | {
            f"tier {tier}": recall_factors(seen[part], found[part])
            for tier in sorted(set(lenses["tier"]))
            if (part := (lenses["tier"] == tier).to_numpy()).any()
        },
        "note": "anchors outside the training split, found by searches like this one; those of the validation split "
        "helped to choose epoch and threshold",
    }
    return report, completeness


def check_parity(
    survey: ImagingSurvey, sample: Table, manifest: Table, parts: PartsOptions, cutouts: CutoutOptions,
    options: ParityOptions, anchor_flux: AnchorFluxOptions,
) -> tuple[Report, Table]:  # fmt: skip
    """Are anchors darker or brighter than the lenses trained on because of the sky, or because of the extraction?

    The first test needs a survey with a second route to the same pixels (``second_route()``); without one, or without
    anchors, it is not measured, and there is no verdict.
    """
    rows = rows_of(manifest, "train", "anchor")
    is_anchor = (rows["is_anchor"] & (rows["label"] == 1)).to_numpy()
    trained = (rows["split"] == "train").to_numpy() & (rows["label"] == 1).to_numpy()
    anchors, training = (_some(rows[which], parts) for which in (is_anchor, trained))
    nothing = pd.DataFrame({"galaxy_id": [], "ratio": [], "agrees": [], "reason": []})
    if min(len(anchors), len(training)) < _FEWEST_ANCHORS:
        few = f"{len(anchors)} anchors and {len(training)} training lenses; {_FEWEST_ANCHORS} of each are needed"
        return {"verdict": None, "note": f"Not measured: {few}."}, nothing
    catalogue = sample.set_index("galaxy_id")
    magnitudes = {"training": [], "anchors": []}
    checked, measures = [], []
    for _, batch in _batches(survey, training, cutouts, "parity: training lenses"):
        magnitudes["training"].append(central_magnitudes(batch.image, batch.invvar, options=options))
    other = survey.second_route() if hasattr(survey, "second_route") else None
    for ids, batch in _batches(survey, anchors, cutouts, "parity: anchors"):
        magnitudes["anchors"].append(central_magnitudes(batch.image, batch.invvar, options=options))
        known = catalogue.loc[ids].reset_index()
        checked.append(anchor_flux_check(batch.image, known, invvar=batch.invvar, options=anchor_flux))
        if other is not None:
            measures += _two_routes(ids, batch, other, cutouts, options, first=len(measures))
    fluxes = pd.concat(checked, ignore_index=True)
    withheld, elsewhere = int(is_anchor.sum()), rows_of(manifest, *_NEVER_TRAINED_ON)
    n_elsewhere = int((elsewhere["is_anchor"] & (elsewhere["label"] == 1)).sum())
    report: Report = {
        "anchor_flux": anchor_flux_summary(fluxes),
        "sentence": f"The {len(anchors)} anchors here are {'' if len(anchors) == withheld else 'drawn from '}the "
        f"{withheld} withheld because they lie in a train or val cell; the {n_elsewhere} anchors of the validation "
        "and test splits count in the recall and the detectability of anchors, not here.",
    }
    try:
        population = population_test(*(np.concatenate(magnitudes[k]) for k in ("anchors", "training")), options=options)
    except CatalogueError as error:
        return {**report, "verdict": None, "note": f"Not measured: {error}."}, fluxes
    report["population"] = population
    if not measures:
        report["verdict"] = None
        report["note"] = "This survey has one route to its pixels: processing was not tested, and there is no verdict."
        return report, fluxes
    processing = route_test(pd.concat(measures, ignore_index=True), options=options)
    processing["anchors_with_both_routes"], processing["anchors"] = len(measures), len(anchors)
    return {**report, "processing": processing, "verdict": parity_verdict(processing, population)}, fluxes


def _batches(survey: ImagingSurvey, rows: Table, cutouts: CutoutOptions, words: str) -> Iterator[tuple[list[str], Any]]:
    for start in progress(range(0, len(rows), cutouts.chunk), words):
        ids = rows["galaxy_id"].iloc[start : start + cutouts.chunk].astype(str).tolist()
        yield ids, survey.cutouts(ids, size=cutouts.size)


def _two_routes(
    ids: list[str], batch: Any, other: ImagingSurvey, cutouts: CutoutOptions, options: ParityOptions, *, first: int
) -> list[Table]:
    """A table of measures for each galaxy that the other route holds, too; the others are left out."""
    found = []
    for row, name in enumerate(ids):
        try:
            twin = other.cutouts([name], size=cutouts.size)
        except SurveyError:
            continue
        one = slice(row, row + 1)
        weights = {"first_invvar": batch.invvar[one], "second_invvar": twin.invvar}
        compared = compare_routes(batch.image[one], twin.image, options=options, **weights)
        found.append(compared.assign(object=first + len(found)))
    return found


def _with_catalogue(rows: Table, sample: Table) -> Table:
    """Rows of the manifest, in their order, with the sample's columns that it lacks."""
    known = [name for name in sample.columns if name not in rows.columns]
    return rows.merge(sample[["galaxy_id", *known]], on="galaxy_id", how="left", validate="one_to_one")


def _some(rows: Table, parts: PartsOptions) -> Table:
    """At most max_stamps rows, chosen by lot; sorted, for neighbours lie in one file of a survey."""
    chosen = rows.sort_values("galaxy_id").sample(n=min(parts.max_stamps, len(rows)), random_state=parts.seed)
    return chosen.sort_values("galaxy_id")
