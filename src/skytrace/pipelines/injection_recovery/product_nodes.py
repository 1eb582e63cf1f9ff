"""Glue of what is made of the measured surface: merged cells, two stages, the published surface, model, sky, card."""

import json
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute.json_values import json_ready
from skytrace.errors import CatalogueError
from skytrace.pipelines.injection_recovery.shards import drawn_by_lot
from skytrace.selection.completeness import CompletenessOptions
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.merging import MergeOptions, merged_completeness
from skytrace.selection.monotone_model import MonotoneOptions
from skytrace.selection.published import PublishedOptions
from skytrace.selection.realism import GateOptions
from skytrace.selection.selection_function import SelectionFunction
from skytrace.selection.stability import StabilityOptions
from skytrace.selection.two_stage import two_stage_table
from skytrace.surveys.data_root import under_data_root

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, np.ndarray]


def merge_cells(
    injections: Table, detector: Any, grid: GridOptions, options: CompletenessOptions, merging: MergeOptions
) -> Table:
    """The cells beside themselves joined by the stated rule; the published cells stay as they were measured."""
    chosen = options.with_detector(detector.threshold)
    return merged_completeness(injections, SelectionGrid(grid), options=chosen, merging=merging)


def factor_completeness(
    injections: Table, detector: Any, grid: GridOptions, options: CompletenessOptions, gates: GateOptions
) -> tuple[Table, Report]:
    """Observable fraction and conditional recall of every cell, and of all injections together."""
    from skytrace.audit.detectability import recall_factors

    snr, threshold = gates.observable_snr, float(detector.threshold)
    table = two_stage_table(
        injections, SelectionGrid(grid), threshold=threshold, observable_snr=snr,
        min_injections=options.min_injections,
    )  # fmt: skip
    factors = recall_factors(injections["arc_snr"] >= snr, injections["score"] >= threshold)
    names = ("observable_fraction", "conditional_recall", "recall_of_unobservable")
    seen, found, below = (factors[name] for name in names)
    words = f"{seen['share']:.1%} of the injections have an arc S/N of {snr:g} or more"
    if found["share"] is not None:
        words += f"; the detector finds {found['share']:.1%} of these"
    if below["share"] is not None:
        words += f", and {below['share']:.1%} of the others"
    report = {
        "observable_snr": snr,
        "threshold": threshold,
        "factors": factors,
        "sentence": f"{words}. Cells are counted as often as they were filled; the intervals here take injections for "
        "independent, those of the table know about shared hosts.",
    }
    return table, report


def compare_with_published(
    selection_function: Table, injections: Table, host_report: Report, grid: GridOptions, options: PublishedOptions
) -> tuple[Table, Table, Report, Any, Any]:
    """Cells and marginals of both surfaces, what is comparable, and the figures; or why there is none."""
    from skytrace.reporting.comparison_figures import comparison_cells_figure, comparison_marginals_figure
    from skytrace.reporting.product_figures import absent_figure
    from skytrace.selection.published import comparability, compare_surfaces, comparison_summary, read_published

    ours = SelectionFunction.from_table(selection_function)
    absent = _absent(options)
    if absent:
        cells = compare_surfaces(ours, ours).head(0)
        report = {"status": "absent", "reason": absent, "sentences": [absent], "comparability": []}
        return cells, _no_marginals(), report, absent_figure(absent), absent_figure(absent)
    theirs = read_published(
        under_data_root(str(options.folder)),
        photon_noise=options.photon_noise,
        source_mag_bin=options.source_mag_bin,
    )
    words = comparability(ours, theirs, survey=str(host_report["survey"]))
    report = {"status": "compared", "reason": "", "source": theirs.metadata["source"], "comparability": words}
    try:
        cells = compare_surfaces(
            ours, theirs, their_threshold=options.their_threshold, their_design_effect=options.their_design_effect
        )
    except CatalogueError as error:
        report |= {"status": "nothing in common", "reason": str(error), "sentences": [str(error)]}
        figure = absent_figure(str(error))
        return compare_surfaces(ours, ours).head(0), _no_marginals(), report, figure, figure
    report |= comparison_summary(cells)
    report["thresholds"] = {side: float(cells.attrs[f"threshold_{side}"]) for side in ("ours", "theirs")}
    marginals, figure = _common_marginals(cells, injections, SelectionGrid(grid), comparison_marginals_figure)
    return cells, marginals, report, comparison_cells_figure(cells), figure


def _absent(options: PublishedOptions) -> str:
    """Why the published tables are not there, "" where they are."""
    if options.folder is None:
        return "The published surface is not configured (published.folder is null), so nothing is compared with it."
    if not under_data_root(options.folder).is_dir():
        return (
            f"The published surface is configured, but the data root holds no folder {options.folder}: nothing is "
            "compared with it. docs/real_data.md says what belongs there."
        )
    return ""


def _no_marginals() -> Table:
    names = "mode_ours side threshold axis value n n_detected n_hosts completeness low68 high68 low95 high95"
    return pd.DataFrame(columns=[*names.split(), "n_cells", "equal_weights"])


def _common_marginals(cells: Table, injections: Table, grid: SelectionGrid, draw: Any) -> tuple[Table, Any]:
    """Marginals over the same cells, matched and degraded hosts of ours apart; the figure is of the matched ones."""
    from skytrace.reporting.product_figures import absent_figure
    from skytrace.selection.published import common_marginals

    parts: dict[str, Table] = {}
    why = "no cell was measured in both"
    for mode in ("matched", "degraded"):
        try:
            parts[mode] = common_marginals(cells[cells["mode_ours"] == mode], injections, grid)
        except CatalogueError as error:
            why = str(error)
    if not parts:
        return _no_marginals(), absent_figure(f"No common marginals: {why}.")
    table = pd.concat([part.assign(mode_ours=mode) for mode, part in parts.items()], ignore_index=True)
    mode = next(iter(parts))
    return table[_no_marginals().columns], draw(parts[mode], ours=f"this work, {mode} hosts")


def fit_model(
    injections: Table, hosts: Table, detector: Any, grid: GridOptions, options: MonotoneOptions
) -> tuple[Arrays, Table, Report, Any]:
    """The smooth monotone model of P(detected), its test against the cells, and the figure of that test."""
    from skytrace.reporting.product_figures import absent_figure, calibration_figure
    from skytrace.selection.model_calibration import calibration_test
    from skytrace.selection.monotone_model import fit_monotone_model, model_features

    sample = drawn_by_lot(injections, options.max_injections, seed=options.seed)
    detected = sample["score"].to_numpy() >= detector.threshold
    features = model_features(sample, hosts, depth_column=grid.depth_column)
    try:
        fit = fit_monotone_model(features, detected, options=options)
    except CatalogueError as error:
        reason = f"No monotone model: {error}."
        columns = ["cell", "n", "n_detected", "predicted", "observed_completeness", "predicted_completeness", "z"]
        empty = pd.DataFrame(columns=columns)
        return {"reason": np.array(reason)}, empty, {"status": "absent", "sentence": reason}, absent_figure(reason)
    members = fit.model.member_probabilities(features, unit="host")
    test = calibration_test(
        detected, fit.out_of_fold, cell=sample["cell"], host=sample["galaxy_id"], members=members, seed=options.seed
    )
    report = {
        "status": "fitted",
        "threshold": float(detector.threshold),
        "model": fit.model.card,
        "injections_measured": len(injections),
        "chi2": test.chi2,
        "cells": test.n_cells,
        "p_value": test.p_value,
        "host_correlation": test.rho,
        "rms_difference": test.rms_difference,
        "slope": test.slope,
        "slope_p_value": test.slope_p_value,
        "verdict": test.verdict,
        "sentence": f"Fitted to {len(sample):,} of {len(injections):,} injections, drawn by lot. {test.sentence}",
    }
    return fit.model.to_arrays(), test.table, report, calibration_figure(test.table, report)


def check_stability(injections: Table, hosts: Table, detector: Any, options: StabilityOptions) -> tuple[Report, Any]:
    """Whether completeness differs between regions of the sky once the cells are held fixed, and its figure."""
    from skytrace.reporting.product_figures import stability_figure
    from skytrace.selection.stability import sky_regions, stability_test

    place = hosts.drop_duplicates("galaxy_id").set_index("galaxy_id").loc[injections["galaxy_id"], ["ra", "dec"]]
    region = sky_regions(place["ra"], place["dec"], nside=options.nside)
    found = stability_test(
        injections["cell"], injections["galaxy_id"], region, injections["score"] >= detector.threshold, options=options
    )
    numbers = ("statistic", "degrees", "p_value", "scatter", "detectable_scatter")
    report = {
        "threshold": float(detector.threshold),
        "nside": options.nside,
        **{name: json_ready(getattr(found, name)) for name in numbers},
        "verdict": found.verdict,
        "sentence": found.sentence,
        "regions": json.loads(found.table.to_json(orient="records", double_precision=10)),
    }
    return report, stability_figure(found.table, found.sentence)


def write_card(
    selection_function: Table,
    realism: Report,
    conditions: Table,
    trends: Report,
    published: Report,
    host_report: Report,
) -> tuple[str, str]:
    """The model card, as Markdown and as HTML."""
    from skytrace.reporting.model_card import model_card

    card = model_card(
        SelectionFunction.from_table(selection_function),
        realism,
        conditions=conditions,
        trends=trends,
        comparison=published["sentences"],
        survey=str(host_report["survey"]),
    )
    return card.to_markdown(), card.to_html()
