"""Published lenses as any survey wants them: entries of all discovery channels, resolved to systems, with tiers.

Reading, the match to galaxies and the choice of anchors are those of ``legacy_survey.lenses``; what is new here is that
systems are found on the sky (``sky.systems``) rather than taken from a column of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.sky.systems import TIER_OF_GRADE, SystemOptions, resolve_systems
from skytrace.surveys.legacy_survey.lenses import lens_table, read_lens_catalog

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["lens_systems", "lenses_of_systems"]

_GRADE_OF_TIER = {tier: grade for grade, tier in TIER_OF_GRADE.items()}


def lens_systems(path: Path, *, options: SystemOptions | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """SYSTEM_COLUMNS and ``sample_weight`` (confirmed and A 1, B 0.5, weak 0: never a positive), and the report of
    ``resolve_systems``. path: Parquet. Raises SurveyError where the file is absent or lacks columns.
    """
    from skytrace.learning.samples import sample_weights

    systems, report = resolve_systems(read_lens_catalog(path), options=options)
    weak = (systems["tier"] == "").to_numpy()
    systems["sample_weight"] = np.where(weak, 0.0, sample_weights(systems["tier"]))
    return systems, report


def lenses_of_systems(systems: pd.DataFrame, galaxies: pd.DataFrame, *, anchor_fraction: float) -> pd.DataFrame:
    """LENS_COLUMNS of ``systems`` on the survey's ``galaxies`` (galaxy_id, ra, dec [deg]).

    A graded system belongs to the nearest galaxy within 1"; a weak one is of tier B *without a galaxy*: it keeps
    negatives away and is never a positive. Anchors are the share ``anchor_fraction`` of the confirmed and A systems
    with a galaxy, by hash of system_id.
    """
    catalog = systems.assign(
        grade=systems["tier"].map(_GRADE_OF_TIER).fillna(""), lens_type="galaxy", cluster_survey_only=False
    )
    return lens_table(catalog, galaxies, anchor_fraction=anchor_fraction)
