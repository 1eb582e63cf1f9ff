"""Glue of injection_studies: the campaign again under other choices, and by other detectors, paired with the first."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, progress
from skytrace.compute.json_values import json_records
from skytrace.errors import CatalogueError, OptionError
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.preprocessing import preprocessing_checksum
from skytrace.imaging.quality import QualityOptions
from skytrace.learning.samples import check_split_certificate
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.nodes import choose_hosts
from skytrace.pipelines.injection_recovery.shards import Campaign, load_inputs, stage
from skytrace.pipelines.injection_studies.alternatives import CampaignOptions, common_columns, keeps_hosts
from skytrace.pipelines.injection_studies.options import StudyOptions
from skytrace.pipelines.injection_studies.shards import run_study
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.hosts import HostOptions, verify_hosts
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.paired import COMMON_COLUMNS, PairedOptions, pair_injections, paired_table
from skytrace.selection.sensitivity import SensitivityOptions, sensitivity
from skytrace.sky import SelectionOptions
from skytrace.statistics import holm_adjusted
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["compare_alternatives", "pair_ablations", "run_alternatives"]

LIMITS = (
    "Alternatives are varied one at a time: their interactions are not measured.",
    "Only the alternatives listed were tried; a prior that is not among them may matter more.",
    "A shift says how the surface depends on a choice, not which choice is right.",
)


@dataclass(frozen=True)
class _Prepared:
    """An alternative ready to run: its campaign, and the folder of its hosts' pixels."""

    campaign: Campaign
    staged: Path


def run_alternatives(
    survey: ImagingSurvey,
    detector: Any,
    hosts: Table,
    conditions: Table,
    injections: Table,
    split_galaxies: Table,
    manifest: Table,
    grid: GridOptions,
    selection: SelectionOptions,
    host_options: HostOptions,
    population: PopulationOptions,
    injection: InjectionOptions,
    preprocessing: PreprocessOptions,
    quality: QualityOptions,
    studies: StudyOptions,
    cluster: ClusterOptions,
    shard_folder: str,
) -> Table:
    """The first injections of every cell under every alternative, and as published ("base"); column alternative.

    Alternatives that change the hosts hold only the conditions whose mode (matched, degraded) is another than in the
    base. Raises CatalogueError unless the base draws the very injections of ``injections``.
    """
    check_split_certificate(detector.card, manifest)
    detector.check_preprocessing(preprocessing_checksum(preprocessing))
    options = CampaignOptions(grid, host_options, population, injection, preprocessing)
    # all of them are built before anything is computed: a wrong value in the last one stops the run now
    changed = {name: options.with_overrides(name, values) for name, values in studies.alternatives.items()}
    base = _campaign(options, hosts, conditions)
    staged = stage(base, detector, survey, folder=Path(shard_folder))
    prepared = {"base": _Prepared(base, staged)}
    for name, values in studies.alternatives.items():
        if keeps_hosts(values):
            prepared[name] = _Prepared(_campaign(changed[name], hosts, conditions), staged)
            continue
        other_hosts, other_conditions, _ = choose_hosts(
            survey, split_galaxies, selection, changed[name].hosts, grid, preprocessing, quality
        )
        campaign = _campaign(changed[name], *_of_another_mode(other_hosts, other_conditions, conditions))
        if (campaign.conditions["n_per_cell"] > 0).any():
            unique = campaign.hosts.drop_duplicates("galaxy_id")
            radius = host_options.exclusion_radius_arcsec
            verify_hosts(unique, survey.lenses(), split_galaxies, radius_arcsec=radius)
            prepared[name] = _Prepared(campaign, stage(campaign, detector, survey, folder=Path(shard_folder)))
    tables = []
    for name in progress(list(prepared), "alternatives"):
        one = prepared[name]
        table = run_study(
            one.campaign, staged=one.staged, injections_per_cell=studies.injections_per_cell, cluster=cluster
        )
        if name == "base":
            reference_difference(table, injections)
        tables.append(table.assign(alternative=name))
    load_inputs.cache_clear()
    return pd.concat(tables, ignore_index=True)


def _campaign(options: CampaignOptions, hosts: Table, conditions: Table) -> Campaign:
    return Campaign(options.grid, options.population, options.injection, options.preprocess, hosts, conditions)


def _of_another_mode(hosts: Table, conditions: Table, base: Table) -> tuple[Table, Table]:
    """Hosts and conditions of an alternative, those left without injections whose mode is the base's, or none."""
    mode = base.set_index("condition")["mode"].reindex(conditions["condition"]).to_numpy()
    other = (conditions["mode"] != mode) & (conditions["mode"] != "no_hosts") & (mode != "no_hosts")
    conditions = conditions.assign(n_per_cell=np.where(other, conditions["n_per_cell"], 0))
    kept = set(conditions["condition"][conditions["n_per_cell"] > 0])
    return hosts[hosts["condition"].isin(kept)].reset_index(drop=True), conditions


def reference_difference(base: Table, injections: Table) -> float:
    """Largest |score| difference between the base computed again and the published injections of the same ids.

    Raises CatalogueError where their draws differ: then they are not the same injections, made by other options or
    other sources.
    """
    published = injections[injections["injection_id"].isin(base["injection_id"])]
    pairs = pair_injections(base, published, common=COMMON_COLUMNS)
    if len(pairs) < len(base):
        raise CatalogueError(
            f"injections lacks {len(base) - len(pairs)} of the study's base: run injection_recovery with these options"
        )
    return float((pairs["score"] - pairs["score_ablation"]).abs().max())


def compare_alternatives(
    study_injections: Table,
    injections: Table,
    detector: Any,
    grid_options: GridOptions,
    studies: StudyOptions,
    options: SensitivityOptions,
) -> tuple[Table, Table, Report]:
    """Shifts of every bin, the summary by alternative and axis, and the verdict whether priors dominate.

    The errors that priors are held against are those of the whole published campaign.
    """
    if options.min_injections > studies.injections_per_cell:
        raise OptionError(
            f"sensitivity.min_injections = {options.min_injections} is above studies.injections_per_cell = "
            f"{studies.injections_per_cell}: no cell could be compared"
        )
    tables = {str(name): table for name, table in study_injections.groupby("alternative", sort=False)}
    base = tables.pop("base")
    thresholds = {f"threshold_{value:g}": value for value in studies.thresholds}
    alternatives = {**tables, **dict.fromkeys(thresholds, base)}
    host_choices = [name for name in tables if not keeps_hosts(studies.alternatives[name])]
    found = sensitivity(
        base, alternatives, SelectionGrid(grid_options), threshold=detector.threshold, thresholds=thresholds,
        published=injections, options=replace(options, choices=(*options.choices, *host_choices, *thresholds)),
    )  # fmt: skip
    not_run = [name for name in studies.alternatives if name not in tables]
    report = {
        "verdict": found.verdict,
        "sentence": found.sentence,
        "threshold": detector.threshold,
        "injections_per_cell": studies.injections_per_cell,
        "injections_of_the_base": len(base),
        "injections_published": len(injections),
        "largest_score_difference_of_the_base": reference_difference(base, injections),
        "alternatives": studies.alternatives,
        "not_run": dict.fromkeys(not_run, "no condition changed its hosts' mode"),
        "choices_outside_the_verdict": [*host_choices, *thresholds],
        "options": asdict(options),
        "summary": json_records(found.summary),
        "limits": list(LIMITS),
    }
    return found.shifts, found.summary, report


def pair_ablations(
    study_injections: Table, detector: Any, studies: StudyOptions, options: PairedOptions
) -> tuple[Table, Report]:
    """Paired tests by Einstein radius and over all, one block of rows an alternative that keeps the hosts.

    In the rows "all", p_mcnemar_holm and p_hosts_holm are adjusted over the alternatives; in the bins, over the bins.
    """
    base = study_injections[study_injections["alternative"] == "base"]
    parts = []
    for name, overrides in studies.alternatives.items():
        if not keeps_hosts(overrides):
            continue
        common = tuple(column for column in common_columns(overrides) if column in options.common)
        pairs = pair_injections(base, study_injections[study_injections["alternative"] == name], common=common)
        table = paired_table(pairs, threshold=detector.threshold, options=options)
        table.insert(0, "alternative", name)
        parts.append(table)
    if not parts:
        raise CatalogueError("every alternative changes the hosts: there is nothing to pair")
    table = pd.concat(parts, ignore_index=True)
    table = adjust_over_all(table)
    whole = table[table["bin"] == "all"].drop(columns=["theta_e_low", "theta_e_high", "bin"])
    report = {
        "threshold": detector.threshold,
        "alternatives": {name: studies.alternatives[name] for name in whole["alternative"]},
        "over_all": json_records(whole),
        "meaning": (
            "difference: share detected under the alternative minus the share as published, of the same injections "
            "with the same random numbers. p_mcnemar takes pairs for independent; p_hosts exchanges whole hosts and "
            "holds where injections share a host. _holm: over the alternatives here, over the bins of one in the table."
        ),
        "limits": list(LIMITS),
    }
    return table, report


def adjust_over_all(table: Table) -> Table:
    """The table with the p of its rows "all" adjusted over these rows together (Holm)."""
    whole = (table["bin"] == "all").to_numpy()
    adjusted = {
        f"{name}_holm": np.where(whole, np.nan, table[f"{name}_holm"].to_numpy()) for name in ("p_mcnemar", "p_hosts")
    }
    for name in ("p_mcnemar", "p_hosts"):
        adjusted[f"{name}_holm"][whole] = holm_adjusted(table.loc[whole, name].to_numpy())
    return table.assign(**adjusted)
