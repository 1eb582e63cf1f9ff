"""Glue of stage 0: the survey's light curves, validated, freed of the Milky Way's dust and cut."""

from typing import Any

import pandas as pd

from skytrace.compute.json_values import json_records
from skytrace.pipelines.supernova.options import InferenceOptions, check_releases
from skytrace.supernovae.dust import unknown_reddening, without_milky_way_dust
from skytrace.supernovae.hubble import HubbleOptions
from skytrace.supernovae.light_curves import (
    LightCurveOptions,
    light_curve_report,
    validate_light_curves,
    zero_point_offsets,
)
from skytrace.supernovae.quality import QualityCutOptions, apply_quality_cuts, measure_quality
from skytrace.surveys.supernovae.interface import HUBBLE_COLUMNS, SupernovaSurvey

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["cut", "read_published", "read_truth", "validate"]


def validate(survey: SupernovaSurvey, options: LightCurveOptions) -> tuple[Table, Table, Table, Report]:
    """Observations that can be used, objects, rejected rows with reasons, and the counts of it all."""
    objects = survey.objects()
    clean, rejections = validate_light_curves(survey.light_curves(), objects=objects, options=options)
    report = light_curve_report(clean, rejections)
    report["zero_points"] = json_records(zero_point_offsets(clean, objects=objects, options=options))
    unknown = unknown_reddening(clean, objects)
    report["supernovae_of_unknown_reddening"] = len(unknown)  # taken as 0: their light stays dimmed
    report["of_unknown_reddening"] = unknown[:20]
    report["survey"] = survey.name
    report["note"] = getattr(survey, "note", "")
    return clean, objects, rejections, report


def read_published(survey: SupernovaSurvey, inference: InferenceOptions, hubble: HubbleOptions) -> Table:
    """Published distances of every release one under another, with the release's name. Raises OptionError where the
    options name a release that the survey does not have, long before they are used.
    """
    published = survey.hubble_tables()
    check_releases(published, inference=inference, hubble=hubble)
    tables = [table.assign(release=name) for name, table in published.items()]
    columns = [*HUBBLE_COLUMNS, "release"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def read_truth(survey: SupernovaSurvey) -> Table:
    """What a simulated sky knows; no row of a real one. For reports on the machinery: no inference may read it."""
    return survey.truth()


def cut(
    validated_light_curves: Table, objects: Table, milky_way_dust: bool, options: QualityCutOptions
) -> tuple[Table, Table, Table]:
    """Light curves, without the Milky Way's dust where asked for, of the SNe that pass every cut; what was measured of
    each SN with the cut that removed it; the ledger.
    """
    seen = without_milky_way_dust(validated_light_curves, objects) if milky_way_dust else validated_light_curves
    kept, ledger = apply_quality_cuts(seen, objects, options)
    return kept, measure_quality(seen, objects, options), ledger
