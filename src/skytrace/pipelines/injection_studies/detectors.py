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
from skytrace.pipelines.injection_studies.operating_points import (
    bare_host_rate,
    operating_points,
    split_scores,
    threshold_draws,
)
from skytrace.pipelines.injection_studies.options import MaskingOptions, StudyOptions
from skytrace.pipelines.injection_studies.shards import run_study, stage_detectors
from skytrace.pipelines.lens_finder.nodes import train_detector
from skytrace.selection.completeness import CompletenessOptions, completeness_table, marginals
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.paired import PairedOptions, pair_injections
from skytrace.selection.sensitivity import SensitivityOptions, sensitivity
from skytrace.selection.threshold_pairs import FIXED_TESTS, paired_detectors
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
    injections: Table,
    detector: Any,
    masked_detector: Any,
    ensemble: Any,
    scores: Table,
    masked_scores: Table,
    ensemble_scores: Table,
    ensemble_validation: Table,
    grid_options: GridOptions,
    threshold: ThresholdOptions,
    completeness: CompletenessOptions,
    options: SensitivityOptions,
    paired: PairedOptions,
) -> tuple[Table, Table, Table, Report]:
    """The surface of every detector at its own threshold, their marginals, paired differences, and the report.

    Shifts and differences have the thresholds' own error in their intervals (``selection.threshold_pairs``). Raises
    OptionError unless all thresholds were chosen by one rule at one false-positive rate.
    """
    grid = SelectionGrid(grid_options)
    detectors = compared_detectors(detector, masked_detector, ensemble, ensemble_validation, threshold)
    rules = {name: _rule(one) for name, one in detectors.items()}
    if len(set(rules.values())) > 1:
        raise OptionError(f"the detectors' thresholds follow different rules, so they do not compare: {rules}")
    validation, test = split_scores(scores, masked_scores, ensemble, ensemble_validation, ensemble_scores)
    draws = threshold_draws(detectors, validation, threshold, n_resamples=options.n_resamples, seed=options.seed)
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
        compared = paired_detectors(
            both, thresholds=(detector.threshold, detectors[name].threshold),
            threshold_draws=(draws[DEFAULT], draws[name]), options=paired,
        )  # fmt: skip
        pairs.append(compared.assign(detector=name))
    others = {name: table for name, table in tables.items() if name != DEFAULT}
    found = sensitivity(
        detector_injections, others, grid, threshold=detector.threshold,
        thresholds={name: detectors[name].threshold for name in others},
        threshold_draws={"base": draws[DEFAULT], **{name: draws[name] for name in others}},
        kinds=dict.fromkeys(others, "choice"), options=options,
    )  # fmt: skip
    moved = adjust_over_all(pd.concat(pairs, ignore_index=True), names=("p_bootstrap", *FIXED_TESTS))
    points = operating_points(detectors, validation, test)
    whole = moved[moved["bin"] == "all"]
    shares = {name: float((tables[name]["score"] >= one.threshold).mean()) for name, one in detectors.items()}
    report = {
        "detectors": {name: _facts(one) | {"share_found": shares[name]} for name, one in detectors.items()},
        "operating_points": points,
        "bare_hosts_of_default": bare_host_rate(injections, detector.threshold),
        "sentences": {row["detector"]: _sentence(row, shares, points, options.level) for _, row in whole.iterrows()},
        "how_the_surface_moves": json_records(found.summary),
        "paired_over_all": json_records(whole),
        "resampled": {"thresholds": threshold.rule != "fixed", "n_resamples": options.n_resamples},
        "meaning": "shift, difference: the other detector's completeness minus the frozen detector's, each at its own "
        "threshold, on the same composites. Intervals and p_bootstrap: hosts drawn whole, and every threshold chosen "
        "again on the same resample of the validation galaxies. What ends in _fixed holds at these very thresholds: it "
        "compares two cuts, not two detectors.",
        "limits": [
            *LIMITS[1:2],
            "One training of each detector: the scatter between trainings of other seeds is not in the intervals.",
            "The ensemble's members together saw as many images in training as the frozen detector alone.",
            "One rule of thresholds on validation is not one false-positive rate on other galaxies: operating_points.",
            "An injection is no lens of the test split: the order of the detectors may be another on real lenses.",
        ],
    }
    return pd.concat(surfaces, ignore_index=True), pd.concat(margins, ignore_index=True), moved, report


def _sentence(row: Any, shares: dict[str, float], points: dict[str, Report], level: float) -> str:
    """One detector against the frozen one, with what each does to the galaxies and lenses of the test split."""
    name = row["detector"]
    sure = row["p_bootstrap_holm"] <= level and (row["low95"] > 0 or row["high95"] < 0)
    words = ("finds more than" if row["difference"] > 0 else "finds fewer than") if sure else "is not told apart from"
    both = [(points[one], one) for one in (name, DEFAULT)]
    rates, lenses = (
        " and ".join(
            f"{point[what]['value']:.1%} (95 % interval {point[what]['low_95']:.1%} to {point[what]['high_95']:.1%}, "
            f"{one})" if point[what]["n"] else f"none there ({one})"
            for point, one in both
        )
        for what in ("test_false_positive_rate", "test_lenses_found")
    )  # fmt: skip
    return (
        f"{name} {words} {DEFAULT} on these injections: {shares[name]:.1%} against {shares[DEFAULT]:.1%}, difference "
        f"{100 * row['difference']:+.1f} points (95 % interval {100 * row['low95']:+.1f} to "
        f"{100 * row['high95']:+.1f}, the thresholds' own error included). Test galaxies "
        f"detected: {rates}; test lenses: {lenses}."
    )


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
