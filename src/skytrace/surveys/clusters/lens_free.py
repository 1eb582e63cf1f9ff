"""More fields of the same mock without a lens among them: what a report of false positives needs most of.

They are the mock's own other fields, of numbers that no survey has; nothing learns from them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import check_whole
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.population import simulate_clusters

if TYPE_CHECKING:
    import pandas as pd

    from skytrace.surveys.clusters.interface import ClusterSurvey

__all__ = ["LensFreeClusters", "lens_free_fields"]

#: Larger than the number of any cluster of a survey (``MockClusterOptions.n_clusters``).
_FIRST = 10_000_000


class LensFreeClusters(MockClusters):
    """``options.n_clusters`` fields of numbers from 10,000,000 on, none of them a lens."""

    name = "mock_clusters_lens_free"

    @cached_property
    def _simulated(self) -> pd.DataFrame:
        numbers = _FIRST + np.arange(self.options.n_clusters)
        return simulate_clusters(numbers, options=self.options).set_index("cluster_id", drop=False)


def lens_free_fields(survey: ClusterSurvey, fields: int) -> LensFreeClusters | None:
    """``fields`` fields like those of ``survey`` that hold no lens; None of a real sky, or where 0 are asked for."""
    check_whole("fields", fields, 0, 1_000_000)
    if not fields or not isinstance(survey, MockClusters):
        return None
    return LensFreeClusters(replace(survey.options, n_clusters=fields, lens_fraction=0.0))
