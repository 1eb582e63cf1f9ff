"""Glue of injection_studies: the campaign again under other choices, and by other detectors, paired with the first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from skytrace.pipelines.injection_studies.alternatives import CampaignOptions, common_columns, keeps_hosts, kind_of
from skytrace.pipelines.injection_studies.options import SOURCE_FAMILY_3, StudyOptions
from skytrace.pipelines.injection_studies.shards import run_study
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.hosts import HostOptions, verify_hosts
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.paired import COMMON_COLUMNS, PairedOptions, pair_injections, paired_table
from skytrace.selection.sensitivity import KINDS, SensitivityOptions, sensitivity
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

    Source family 3 is among them where ``studies.source_library`` names a library of stamps.

    Alternatives that change the hosts hold only the conditions whose mode (matched, degraded) is another than in the
    base. Raises CatalogueError unless the base draws the very injections of ``injections``.
    """
    check_split_certificate(detector.card, manifest)
    detector.check_preprocessing(preprocessing_checksum(preprocessing))
    options = CampaignOptions(grid, host_options, population, injection, preprocessing)
    # all of them are built before anything is computed: a wrong value in the last one stops the run now
    wanted = {name: studies.overrides(name) for name in studies.alternatives}
    if studies.source_library is not None:
        wanted[SOURCE_FAMILY_3] |= stage_library(studies.source_library, folder=Path(shard_folder))
    changed = {name: options.with_overrides(name, values) for name, values in wanted.items()}
    base = _campaign(options, hosts, conditions)
    staged = stage(base, detector, survey, folder=Path(shard_folder))
    prepared = {"base": _Prepared(base, staged)}
    for name, values in wanted.items():
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


def stage_library(source_folder: str, *, folder: Path) -> dict[str, Any]:
    """The stamps under the data root as a library that shards can read: the options that name it, with its checksum.

    Raises SurveyError where the folder or a file of it is missing, PixelError for a stamp without an object.
    """
    from skytrace.lensing.source_library import build_library
    from skytrace.surveys.hst_sources import read_source_stamps

    library = build_library(read_source_stamps(source_folder))
    path = library.save(folder.resolve() / f"source-library-{library.checksum[:16]}.npz")
    return {"population.source_library": str(path), "population.source_library_checksum": library.checksum}


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

    The verdict is on the priors alone; alternatives of other kinds (``alternatives.kind_of``) have sentences of their
    own. The errors that they are held against are those of the whole published campaign.
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
    kinds = {name: kind_of(studies.own(name)) for name in tables} | dict.fromkeys(thresholds, "choice")
    against = {name: studies.base_of(name) for name in tables if studies.base_of(name) != "base"}
    found = sensitivity(
        base, alternatives, SelectionGrid(grid_options), threshold=detector.threshold, thresholds=thresholds,
        kinds=kinds, against=against, published=injections, options=options,
    )  # fmt: skip
    not_run = dict.fromkeys(
        [name for name in studies.alternatives if name not in tables], "no condition changed its hosts' mode"
    )
    if studies.source_library is None:
        not_run[SOURCE_FAMILY_3] = "studies.source_library is null: no stamps of real galaxies to inject"
    report = {
        "verdict": found.verdict,
        "sentence": found.sentence,
        "sentences_of_other_kinds": found.others,
        "alternatives_by_kind": {kind: [name for name in alternatives if kinds[name] == kind] for kind in KINDS},
        "threshold": detector.threshold,
        "injections_per_cell": studies.injections_per_cell,
        "injections_of_the_base": len(base),
        "injections_published": len(injections),
        "largest_score_difference_of_the_base": reference_difference(base, injections),
        "alternatives": studies.alternatives,
        "not_run": not_run,
        "compared_with_another_alternative": against,
        "options": asdict(options),
        "summary": json_records(found.summary),
        "limits": list(LIMITS),
    }
    return found.shifts, found.summary, report


def pair_ablations(
    study_injections: Table, detector: Any, studies: StudyOptions, options: PairedOptions
) -> tuple[Table, Report]:
    """Paired tests by Einstein radius and over all, one block of rows an alternative that keeps the hosts; column
    against: what it is paired with, "base" or another alternative.

    In the rows "all", p_mcnemar_holm and p_hosts_holm are adjusted over the alternatives; in the bins, over the bins.
    """
    tables = dict(list(study_injections.groupby("alternative", sort=False)))
    parts = []
    for name in studies.alternatives:
        if not keeps_hosts(studies.overrides(name)):
            continue
        common = tuple(column for column in common_columns(studies.own(name)) if column in options.common)
        pairs = pair_injections(tables[studies.base_of(name)], tables[name], common=common)
        table = paired_table(pairs, threshold=detector.threshold, options=options)
        table.insert(0, "alternative", name)
        table.insert(1, "kind", kind_of(studies.own(name)))
        table.insert(2, "against", studies.base_of(name))
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
            "difference: share detected under the alternative minus the share as published (or, where against says "
            "so, under another alternative), of the same injections "
            "with the same random numbers. p_mcnemar takes pairs for independent; p_hosts exchanges whole hosts and "
            "holds where injections share a host. _holm: over the alternatives here, over the bins of one in the table."
        ),
        "limits": list(LIMITS),
    }
    return table, report


def adjust_over_all(table: Table, *, names: Sequence[str] = ("p_mcnemar", "p_hosts")) -> Table:
    """The table with the p of its rows "all" adjusted over these rows together (Holm): name -> name_holm."""
    whole = (table["bin"] == "all").to_numpy()
    adjusted = {f"{name}_holm": np.where(whole, np.nan, table[f"{name}_holm"].to_numpy()) for name in names}
    for name in names:
        adjusted[f"{name}_holm"][whole] = holm_adjusted(table.loc[whole, name].to_numpy())
    return table.assign(**adjusted)
