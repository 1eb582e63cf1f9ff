"""Glue of injection_recovery: hosts, injections, gates, surface. The science is in skytrace.selection."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint
from skytrace.compute.json_values import json_ready
from skytrace.errors import CatalogueError, LeakageError, OptionError
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.quality import QualityOptions, cutout_quality, quality_flags
from skytrace.learning.samples import check_split_certificate
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.shards import Campaign, run_campaign
from skytrace.selection.completeness import (
    HOST_COLUMNS,
    CompletenessOptions,
    completeness_table,
    host_tallies,
    marginals,
)
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.hosts import HostOptions, eligible_hosts, hosts_in_use, match_hosts, verify_hosts
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.selection_function import SelectionFunction
from skytrace.selection.trends import trend_tests
from skytrace.sky import SelectionOptions
from skytrace.statistics import beta_interval
from skytrace.surveys.interface import CutoutBatch, ImagingSurvey
from skytrace.surveys.selected import selected_galaxies

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, np.ndarray]
_ASSIGNMENT = ("condition", "psf_index", "depth_index", "mode", "rank")


def choose_hosts(
    survey: ImagingSurvey,
    split_galaxies: Table,
    selection: SelectionOptions,
    options: HostOptions,
    grid_options: GridOptions,
    preprocessing: PreprocessOptions,
    quality: QualityOptions,
    cluster: ClusterOptions | None = None,
    shard_folder: str = "",
) -> tuple[Table, Table, Report]:
    """Hosts of every (PSF, depth) condition, the account of the conditions, and what was checked and rejected."""
    if grid_options.depth_column == "galdepth_r" and options.degraded_hosts:
        raise OptionError(
            "grid.depth_column = 'galdepth_r' does not go with hosts.degraded_hosts = true: hosts are degraded to a "
            "psfdepth, and their galdepth would be a label only; set degraded_hosts: false, or depth_column: psfdepth_r"
        )
    grid = SelectionGrid(grid_options)
    lenses = survey.lenses()
    sample, ledger = selected_galaxies(survey, options=selection, cluster=cluster, folder=shard_folder)
    candidates = eligible_hosts(sample, lenses, split_galaxies, options=options)
    checked: dict[str, bool] = {}
    while True:  # until no chosen host fails quality control: the next one by hash takes a rejected one's place
        good = candidates[candidates["galaxy_id"].map(lambda name: checked.get(name, True))]
        if good.empty:
            raise CatalogueError(f"quality control rejected all {len(candidates)} host candidates")
        assignments, conditions = match_hosts(good, grid, options=options)
        fresh = sorted(set(assignments["galaxy_id"].astype(str)) - set(checked))
        if not fresh:
            break
        checked.update(_quality(survey, fresh, good, preprocessing, quality))
    compared = verify_hosts(good, lenses, split_galaxies, radius_arcsec=options.exclusion_radius_arcsec)
    columns = [name for name in good.columns if name not in _ASSIGNMENT]
    hosts = assignments.merge(good[columns], on="galaxy_id", how="left", validate="many_to_one")
    used = hosts["galaxy_id"].value_counts()
    report = {
        "survey": survey.name,
        "note": getattr(survey, "note", ""),
        "host_splits": options.host_splits,
        "leakage": {"verified": True, **compared},
        "selection": ledger.to_dict(orient="records"),
        "candidates": len(candidates),
        "rejected_by_quality": int(sum(not accepted for accepted in checked.values())),
        "hosts_used": len(used),
        "hosts_in_use": hosts_in_use(assignments, conditions),
        "conditions_of_the_most_used_host": int(used.max()) if len(used) else 0,
        "conditions": conditions["mode"].value_counts().to_dict(),
        "axes": grid.definitions(),
    }
    return hosts, conditions, report


def _quality(
    survey: ImagingSurvey,
    names: list[str],
    candidates: Table,
    preprocessing: PreprocessOptions,
    quality: QualityOptions,
) -> dict[str, bool]:
    """Galaxy id -> whether its cutout passes the quality control of training."""
    accepted: dict[str, bool] = {}
    for start in range(0, len(names), 250):
        part = names[start : start + 250]
        flags = cutout_flags(survey.cutouts(part), candidates, preprocessing, quality)
        accepted.update(zip(flags["galaxy_id"].astype(str), flags["accepted"].astype(bool), strict=True))
    return accepted


def cutout_flags(
    batch: CutoutBatch, galaxies: Table, preprocessing: PreprocessOptions, quality: QualityOptions
) -> Table:
    """``quality_flags`` of a batch, the catalogue's fluxes compared; the one judgement of hosts and of anchors."""
    fluxes = galaxies.set_index("galaxy_id")[["flux_g", "flux_r", "flux_z"]]
    table = cutout_quality(batch, preprocess_options=preprocessing).join(fluxes, on="galaxy_id")
    return quality_flags(table, options=quality)


def inject(
    survey: ImagingSurvey,
    detector: Any,
    hosts: Table,
    conditions: Table,
    split_galaxies: Table,
    manifest: Table,
    grid: GridOptions,
    host_options: HostOptions,
    population: PopulationOptions,
    options: InjectionOptions,
    preprocessing: PreprocessOptions,
    cluster: ClusterOptions,
    shard_folder: str,
) -> Table:
    """Every injection with its parameters and score."""
    # hosts and split table may be of another run than the detector: its card proves what it saw
    check_split_certificate(detector.card, manifest)
    unique = hosts.drop_duplicates("galaxy_id")
    seen = manifest["galaxy_id"][manifest["split"].isin(("train", "val"))]
    if len(leaked := unique["galaxy_id"][unique["galaxy_id"].isin(seen)]):
        raise LeakageError(
            f"{len(leaked)} hosts were shown to the detector in training or validation: {leaked.iloc[0]}"
        )
    verify_hosts(unique, survey.lenses(), split_galaxies, radius_arcsec=host_options.exclusion_radius_arcsec)
    campaign = Campaign(grid, population, options, preprocessing, hosts, conditions)
    return run_campaign(campaign, detector, survey, folder=Path(shard_folder), cluster=cluster)


def measure_surface(
    injections: Table,
    conditions: Table,
    realism: Report,
    detector: Any,
    grid_options: GridOptions,
    population: PopulationOptions,
    options: CompletenessOptions,
    hosts: HostOptions,
    selection: SelectionOptions,
    host_report: Report | None = None,
) -> tuple[Table, Table, Table, Report]:
    """The selection function (Parquet, and the same as CSV), its marginals, and its trends along the axes."""
    grid = SelectionGrid(grid_options)
    chosen = options.with_detector(detector.threshold)
    table = completeness_table(injections, grid, options=chosen)
    table = table.join(host_tallies(injections, grid, options=chosen))  # which cells share hosts: errors of averages
    available = conditions[["psf_index", "depth_index", "n_matched", "n_degraded"]]
    available = available.rename(columns={"n_matched": "n_hosts_matched", "n_degraded": "n_hosts_degradable"})
    table = table.merge(available, on=["psf_index", "depth_index"], how="left", validate="many_to_one")
    floor = _host_shares(injections, chosen.thresholds)
    table = table.merge(floor, on=["cell", "threshold"], how="left", validate="one_to_one")
    definitions = {f"{axis}_definition": words for axis, words in grid.definitions().items()}
    metadata = {
        **definitions,
        "detector": detector.architecture,
        "detector_hash": fingerprint(detector.architecture, detector.state),
        "verdict": realism["verdict"],
        "threshold_default": float(detector.threshold),
        "source_position_rule": population.position_rule,
        "population": json_ready(population),
        "hosts": json_ready(hosts),
        "host_selection": json_ready(selection),
        "theta_e_in_cell": grid_options.theta_e_in_cell,
        "injections": len(injections),
        "host_false_positives": _host_false_positives(injections, chosen.thresholds),
    }
    if host_report is not None:
        metadata |= {"survey": str(host_report["survey"]), "host_split": str(host_report["host_splits"])}
    published = SelectionFunction.from_table(table, metadata=metadata).to_table()
    trends = trend_tests(injections, grid, threshold=detector.threshold)
    return published, published.drop(columns=list(HOST_COLUMNS)), marginals(injections, grid, options=chosen), trends


def _host_false_positives(injections: Table, thresholds: tuple[float, ...]) -> list[Report]:
    """Share of hosts that pass each threshold as they are, without an injection: the false-positive rate on hosts.

    One row a host and condition, because degrading changes a host's score.
    """
    once = injections.drop_duplicates(["galaxy_id", "psf_index", "depth_index"])
    rates = []
    for threshold in thresholds:
        k, n = int((once["host_score"] >= threshold).sum()), len(once)
        low, high = beta_interval(k, n)
        rates.append({"threshold": float(threshold), "k": k, "n": n, "low68": float(low), "high68": float(high)})
    return rates


def _host_shares(injections: Table, thresholds: tuple[float, ...]) -> Table:
    """Share of each cell's injections whose host passes the threshold without an injection: its floor."""
    parts = [
        (injections["host_score"] >= threshold).groupby(injections["cell"]).mean().rename("share_host_detected")
        .reset_index().assign(threshold=threshold)
        for threshold in thresholds
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def plot_heatmaps(selection_function: Table) -> Any:
    """P(detected) against Einstein radius and PSF size, a panel a depth, at the detector's threshold."""
    from skytrace.reporting.selection_figures import selection_heatmaps

    return selection_heatmaps(selection_function)


def plot_marginals(table: Table, selection_function: Table) -> Any:
    """Completeness along each axis, at the detector's threshold."""
    from skytrace.reporting.selection_figures import marginals_figure

    own = np.isclose(table["threshold"], selection_function["threshold_default"].iloc[0])
    return marginals_figure(table[own])
