"""Glue of the detector studies: the scheduled-masking experiment, and the surface of every detector."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.compute.json_values import json_records
from skytrace.errors import OptionError
from skytrace.imaging import PreprocessOptions
from skytrace.learning import Detector, ThresholdOptions, TrainingOptions
from skytrace.learning.ensemble import Ensemble
from skytrace.learning.samples import check_split_certificate
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.shards import Campaign, load_inputs, stage
from skytrace.pipelines.injection_studies.ensemble import DEFAULT, add_ensemble_score, compared_detectors
from skytrace.pipelines.injection_studies.nodes import LIMITS, adjust_over_all, reference_difference
from skytrace.pipelines.injection_studies.options import MaskingOptions, StudyOptions
from skytrace.pipelines.injection_studies.shards import run_study, stage_detectors
from skytrace.pipelines.lens_finder.nodes import train_detector
from skytrace.selection.completeness import CompletenessOptions, completeness_table, marginals
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.paired import PairedOptions, pair_injections, paired_table
from skytrace.selection.sensitivity import SensitivityOptions, sensitivity
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, Any]

__all__ = ["compare_detectors", "score_detectors", "train_masked_detector"]


def train_masked_detector(
    stamps: Arrays,
    manifest: Table,
    split_report: Report,
    preprocessing: PreprocessOptions,
    training: TrainingOptions,
    threshold: ThresholdOptions,
    masking: MaskingOptions,
    checkpoint_folder: str,
) -> tuple[Detector, Table]:
    """A detector trained as the frozen one was, on the same stamps in the same order, but with cores masked by a
    rising schedule; its threshold is chosen by the same rule at the same false-positive rate. Resumable.
    """
    masked = replace(training, **asdict(masking))
    return train_detector(stamps, manifest, split_report, preprocessing, masked, threshold, checkpoint_folder)


def score_detectors(
    survey: ImagingSurvey,
    detector: Any,
    masked_detector: Any,
    ensemble: Any,
    ensemble_validation: Table,
    hosts: Table,
    conditions: Table,
    injections: Table,
    manifest: Table,
    grid: GridOptions,
    population: PopulationOptions,
    injection: InjectionOptions,
    preprocessing: PreprocessOptions,
    threshold: ThresholdOptions,
    studies: StudyOptions,
    cluster: ClusterOptions,
    shard_folder: str,
) -> Table:
    """The first injections of every cell with a score of every detector: score (the frozen one's), score_<name>."""
    detectors = compared_detectors(detector, masked_detector, ensemble, ensemble_validation, threshold)
    for one in detectors.values():
        check_split_certificate(one.card, manifest)
    others = {name: one for name, one in detectors.items() if name not in (DEFAULT, "ensemble")}
    campaign = Campaign(grid, population, injection, preprocessing, hosts, conditions)
    staged = stage(campaign, detector, survey, folder=Path(shard_folder))
    folders = stage_detectors(others, campaign, folder=staged)
    table = run_study(
        campaign, staged=staged, injections_per_cell=studies.injections_per_cell, others=folders, cluster=cluster
    )
    load_inputs.cache_clear()
    reference_difference(table, injections)
    return add_ensemble_score(table, ensemble, hosts, conditions)


def compare_detectors(
    detector_injections: Table,
    detector: Any,
    masked_detector: Any,
    ensemble: Any,
    ensemble_validation: Table,
    grid_options: GridOptions,
    threshold: ThresholdOptions,
    completeness: CompletenessOptions,
    options: SensitivityOptions,
    paired: PairedOptions,
) -> tuple[Table, Table, Table, Report]:
    """The surface of every detector at its own threshold, their marginals, how the surface moves, and the report.

    Raises OptionError unless all thresholds were chosen by one rule at one false-positive rate.
    """
    grid = SelectionGrid(grid_options)
    detectors = compared_detectors(detector, masked_detector, ensemble, ensemble_validation, threshold)
    rules = {name: _rule(one) for name, one in detectors.items()}
    if len(set(rules.values())) > 1:
        raise OptionError(f"the detectors' thresholds follow different rules, so they do not compare: {rules}")
    tables = {DEFAULT: detector_injections}
    for name in list(detectors)[1:]:
        tables[name] = detector_injections.assign(score=detector_injections[f"score_{name}"])
    surfaces, margins, pairs = [], [], []
    for name, table in tables.items():
        chosen = CompletenessOptions((detectors[name].threshold,), completeness.min_injections)
        surfaces.append(completeness_table(table, grid, options=chosen).assign(detector=name))
        margins.append(marginals(table, grid, options=chosen).assign(detector=name))
        if name == DEFAULT:
            continue
        both = pair_injections(tables[DEFAULT], table, common=paired.common)
        compared = paired_table(
            both, threshold=detector.threshold, threshold_ablation=detectors[name].threshold, options=paired
        )
        pairs.append(compared.assign(detector=name))
    others = {name: table for name, table in tables.items() if name != DEFAULT}
    limits = {name: detectors[name].threshold for name in others}
    found = sensitivity(
        detector_injections, others, grid, threshold=detector.threshold, thresholds=limits,
        options=replace(options, choices=tuple(others)),
    )  # fmt: skip
    moved = adjust_over_all(pd.concat(pairs, ignore_index=True))
    report = {
        "detectors": {name: _facts(one) for name, one in detectors.items()},
        "how_the_surface_moves": json_records(found.summary),
        "paired_over_all": json_records(moved.loc[moved["bin"] == "all"]),
        "meaning": "shift, difference: the other detector's completeness minus the frozen detector's, each at its own "
        "threshold, on the same composites",
        "limits": [
            *LIMITS[1:2],
            "One training of each detector: the scatter between trainings of other seeds is not in the intervals.",
            "The ensemble's members together saw as many images in training as the frozen detector alone.",
            "A threshold is chosen on finitely many validation galaxies; its own error is not in the intervals.",
        ],
    }
    return pd.concat(surfaces, ignore_index=True), pd.concat(margins, ignore_index=True), moved, report


def _rule(detector: Any) -> str:
    """How a threshold was chosen, with its false-positive rate."""
    return str(detector.card["threshold"]["rule"])


def _facts(detector: Any) -> Report:
    card = detector.card
    if isinstance(detector, Ensemble):
        members = {name: member.architecture for name, member in detector.members.items()}
        return {"members": members, "combination": detector.options.combination, "threshold": card["threshold"]}
    facts = {"architecture": detector.architecture, "threshold": card["threshold"]}
    options = card.get("options", {})
    return facts | {name: options[name] for name in MaskingOptions.__dataclass_fields__ if name in options}
