"""Glue of the failure causes: injections drawn by lot, rendered again from their ids, measured and explained."""

import json
from typing import Any

import numpy as np
import pandas as pd

from skytrace.imaging import PreprocessOptions
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.shards import Campaign, recompute
from skytrace.selection.failure_sampling import FailureSample, draw_for_failures, gallery_ids, stratified_shares
from skytrace.selection.failures import (
    FailureOptions,
    cause_summary,
    counted_causes,
    failure_causes,
    failure_counts,
    failure_covariates,
    failure_flags,
)
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.injection import InjectionOptions
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, np.ndarray]


def explain_failures(
    survey: ImagingSurvey,
    detector: Any,
    hosts: Table,
    conditions: Table,
    injections: Table,
    grid: GridOptions,
    population: PopulationOptions,
    options: InjectionOptions,
    preprocessing: PreprocessOptions,
    failures: FailureOptions,
    sample: FailureSample,
) -> tuple[Table, Arrays]:
    """The sampled injections with covariates, causes that hold and the first cause; and stamps of every cause."""
    from skytrace.audit.gates import mask_core
    from skytrace.compute import single_threaded
    from skytrace.learning.scoring import score_stamps

    campaign = Campaign(grid, population, options, preprocessing, hosts, conditions)
    chosen = draw_for_failures(injections, threshold=detector.threshold, sample=sample)
    parts: list[Table] = []
    kept: Arrays = {}
    theta_e = chosen.set_index("injection_id")["theta_e_arcsec"]
    with single_threaded():
        for rows, stamps, injected in recompute(campaign, survey, chosen):
            host = rows["host_row"].to_numpy()
            table = failure_covariates(
                stamps.image[host], injected.added, injected.stamps, stamps.invvar[host],
                theta_e_arcsec=theta_e.loc[rows["injection_id"]].to_numpy(),
                fwhm_arcsec=stamps.fwhm_r_arcsec[host], background_nmgy=stamps.statistics[0][host, 1],
                sigma_nmgy=stamps.sigma_nmgy[host, 1], clip=preprocessing.clip,
                host_index=host, options=failures,
            )  # fmt: skip
            table.insert(0, "injection_id", rows["injection_id"].to_numpy())
            known = rows[["injection_id"]].merge(chosen, on="injection_id", validate="one_to_one")
            known = known.merge(table.assign(score_core_masked=np.nan), on="injection_id", validate="one_to_one")
            earlier = failure_flags(known, options=failures).drop(columns="core_sensitive")
            open_ones = ~(earlier == 1.0).any(axis=1).to_numpy()
            if open_ones.any():  # the last of the causes: it is asked where none before it holds
                masked = mask_core(injected.stamps[open_ones], sample.core_radius_px)
                score = score_stamps(detector, masked, batch_size=options.score_batch, threads=1)
                known.loc[open_ones, "score_core_masked"] = score
            known = known.join(failure_causes(known, threshold=detector.threshold, options=failures))
            parts.append(known)
            kept = _with_stamps(kept, known, injected.image, sample)
    return pd.concat(parts).sort_values("injection_id", ignore_index=True), kept


def _with_stamps(kept: Arrays, known: Table, image: np.ndarray, sample: FailureSample) -> Arrays:
    """``kept`` and the new stamps, pruned to the first by lot of every cause."""
    new = {
        "injection_id": known["injection_id"].to_numpy(), "cause": known["cause"].to_numpy(dtype=str), "image": image,
    }  # fmt: skip
    both = {name: np.concatenate([kept[name], value]) if kept else value for name, value in new.items()}
    chosen = gallery_ids(both["injection_id"], both["cause"], n=sample.per_cause, seed=sample.seed + 1)
    wanted = np.concatenate([*chosen.values(), np.zeros(0, dtype=np.int64)])
    pick = np.isin(both["injection_id"], wanted)
    return {name: value[pick] for name, value in both.items()}


def count_failures(
    sampled: Table, injections: Table, detector: Any, grid_options: GridOptions, failures: FailureOptions
) -> tuple[Table, Report, Any]:
    """Counts by cell, what causes all misses (counted, or as the sample tells), the figure."""
    from skytrace.reporting.product_figures import failure_figure

    grid = SelectionGrid(grid_options)
    threshold = float(detector.threshold)
    missed = injections[injections["score"] < threshold]
    counts = failure_counts(sampled["cell"], sampled["cause"], grid)
    of_cell = np.bincount(missed["cell"], minlength=grid.n_cells)
    counts = counts.rename(columns={"n": "n_sampled", "n_missed": "n_missed_sampled"})
    counts.insert(list(counts.columns).index("n_sampled"), "n_missed", of_cell)
    counted = counted_causes(missed, options=failures)
    shares = stratified_shares(sampled, pd.Series(of_cell), counted=counted)
    shares["n_of_all_missed"] = shares["cause"].map(counted)
    summary = cause_summary(sampled).merge(shares, on="cause", validate="one_to_one")
    n_sampled = int(counts["n_missed_sampled"].sum())
    report = {
        "threshold": threshold,
        "missed": len(missed),
        "missed_measured": n_sampled,
        "missed_measured_per_cell_max": int(counts["n_missed_sampled"].max()),
        "detected_measured": int((sampled["cause"] == "detected").sum()),
        "causes": json.loads(summary.to_json(orient="records", double_precision=10)),
        "sentences": [
            f"{' and '.join(counted.index)} need no pixels and are counted among all {len(missed):,} missed "
            "injections; for the other causes "
            f"{n_sampled:,} of them were rendered again and measured, drawn by lot in "
            "every cell; shares are of all misses, and their intervals say what the drawing adds, not how they would "
            "differ with other hosts.",
            "A cause is the first that holds in a stated order, an association and no proof; holds_missed and "
            "holds_detected count it wherever it holds, among the measured and unweighted; core_sensitive is asked "
            "only where none before it holds.",
        ],
    }
    return counts, report, failure_figure(summary, counts, report)
