"""A selection function that others published, read into our class, and what of it can be set beside ours."""

from skytrace.selection.published.comparison import (
    ROLES,
    common_marginals,
    compare_surfaces,
    comparison_summary,
    difference_interval,
)
from skytrace.selection.published.options import PublishedOptions
from skytrace.selection.published.statements import STATEMENTS, Statement, comparability
from skytrace.selection.published.tables import published_table, read_published

__all__ = [
    "ROLES",
    "STATEMENTS",
    "PublishedOptions",
    "Statement",
    "common_marginals",
    "comparability",
    "compare_surfaces",
    "comparison_summary",
    "difference_interval",
    "published_table",
    "read_published",
]
