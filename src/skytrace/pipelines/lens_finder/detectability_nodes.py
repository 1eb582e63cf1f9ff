"""Glue of lens_finder's audit by what can be seen: arc evidence, strata, the top of a survey, detectability."""

from typing import Any

import pandas as pd

from skytrace.audit.detectability import (
    DetectabilityOptions,
    anchor_completeness,
    arc_evidence,
    calibrate_gate,
    measurable,
    observable,
    recall_factors,
)
from skytrace.compute import progress
from skytrace.imaging import PreprocessOptions
from skytrace.learning import Detector, StrataEvaluationOptions, TopOptions
from skytrace.learning.samples import NEVER_TRAINED_ON, rows_of
from skytrace.learning.strata_evaluation import evaluate_strata, validation_test_gap
from skytrace.learning.top_composition import category_shares, top_composition
from skytrace.lensing.population import host_light_shape
from skytrace.pipelines.lens_finder.options import CutoutOptions
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]
#: Fewer anchors, or galaxies beside them, leave a comparison unmeasured.
FEWEST_ANCHORS = 5


def measure_arc_evidence(
    survey: ImagingSurvey,
    sample: Table,
    manifest: Table,
    preprocessing: PreprocessOptions,
    cutouts: CutoutOptions,
    options: DetectabilityOptions,
) -> Table:
    """What is left about each galaxy after a model of its light, for all that the detector was not trained on."""
    rows = rows_of(manifest, *NEVER_TRAINED_ON, "anchor")
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
    validation, test = (table[table["split"] == name] for name in NEVER_TRAINED_ON)
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
    radii = survey.lenses().drop_duplicates("galaxy_id").set_index("galaxy_id")["theta_e_arcsec"]
    rows["theta_e_arcsec"] = rows["galaxy_id"].map(radii)
    measures = [name for name in evidence.columns if name not in ("galaxy_id", "score")]
    lenses = rows[(rows["label"] == 1) & rows["is_anchor"]].reset_index(drop=True)
    ordinary, confusers = (rows[(rows["label"] == 0) & (rows["pool"] == pool)] for pool in ("N1", "N2"))

    def measured(table: Table) -> Table:
        return table[measures].assign(score=table["arc_score"]).reset_index(drop=True)

    if min(len(lenses), len(ordinary)) < FEWEST_ANCHORS:
        few = f"{len(lenses)} anchors and {len(ordinary)} ordinary galaxies; {FEWEST_ANCHORS} of each are needed"
        empty = pd.DataFrame({"axis": [], "low": [], "high": [], "n": [], "k": [], "completeness": []})
        return {"anchors": len(lenses), "factors": {}, "note": f"Not measured: {few}."}, empty
    cells = lenses["healpix_128"].to_numpy(), ordinary["healpix_128"].to_numpy()
    gate = calibrate_gate(
        measured(lenses), measured(ordinary), confusers=measured(confusers), cells=cells, options=options
    )
    seen = observable(measured(lenses), gate["threshold"], options=options)
    known = measurable(measured(lenses), options=options)
    found = (lenses["score"] >= detector.threshold).to_numpy()
    completeness = pd.concat(
        [  # the gate says nothing of anchors that it cannot measure
            anchor_completeness(lenses[known], seen[known], options=options).assign(detected_by="gate"),
            anchor_completeness(lenses, found, options=options).assign(detected_by="detector"),
        ],
        ignore_index=True,
    )
    report = {
        "anchors": len(lenses),
        "gate": gate,
        "factors": {"all": recall_factors(seen, found, measured=known)}
        | {
            f"tier {tier}": recall_factors(seen[part], found[part], measured=known[part])
            for tier in sorted(set(lenses["tier"]))
            if (part := (lenses["tier"] == tier).to_numpy()).any()
        },
        "note": "anchors outside the training split, found by searches like this one; those of the validation split "
        "helped to choose epoch and threshold",
    }
    return report, completeness
