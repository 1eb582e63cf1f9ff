"""Glue of lens_finder's parity: anchors against training lenses, and one extraction route against another."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from skytrace.audit.anchor_flux import AnchorFluxOptions, anchor_flux_check, anchor_flux_summary
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
from skytrace.learning.samples import NEVER_TRAINED_ON, rows_of
from skytrace.pipelines.lens_finder.detectability_nodes import FEWEST_ANCHORS
from skytrace.pipelines.lens_finder.options import CutoutOptions, PartsOptions
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]


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
    anchors, training = (parts.draw(rows[which]) for which in (is_anchor, trained))
    nothing = pd.DataFrame({"galaxy_id": [], "ratio": [], "agrees": [], "reason": []})
    if min(len(anchors), len(training)) < FEWEST_ANCHORS:
        few = f"{len(anchors)} anchors and {len(training)} training lenses; {FEWEST_ANCHORS} of each are needed"
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
    withheld, elsewhere = int(is_anchor.sum()), rows_of(manifest, *NEVER_TRAINED_ON)
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
