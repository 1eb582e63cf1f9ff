"""Selection of a catalogue that is too large for memory, one part of the sky at a time.

A part's own galaxies are selected; those just beyond its border are only neighbours, and the short list of lenses is
handed to every part whole. So no pair is lost at a border, and the parts together are what ``select_galaxies`` makes of
the whole table: the same rows, values and ledger. The sample by strata is ``stratify_chunks`` of the parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.sky.selection import (
    LEDGER_COLUMNS,
    SelectionOptions,
    refuse_nothing_left,
    selection_filters,
    sieve,
    with_labels,
    with_pools,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["join_ledgers", "join_selections", "margin_needed_arcsec", "select_partition"]


def margin_needed_arcsec(options: SelectionOptions) -> float:
    """How far beyond its border a part must know its neighbours [arcsec]."""
    return options.confusers.merger_separation_arcsec[1]


def select_partition(
    galaxies: pd.DataFrame, margin: pd.DataFrame, lenses: pd.DataFrame, *, options: SelectionOptions | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``select_galaxies`` of one part: its sample, which may be empty, and its ledger.

    galaxies: the part's own. margin: galaxies of other parts, all within ``margin_needed_arcsec`` of the border; more
    do no harm. lenses: those of the whole survey. Raises CatalogueError on a galaxy_id that repeats.
    """
    options = options or SelectionOptions()
    _check_repeats(galaxies["galaxy_id"])
    sample, ledger = sieve(with_labels(galaxies, lenses), selection_filters(options, lenses))
    around = pd.concat([galaxies, margin], ignore_index=True) if len(margin) else galaxies
    return with_pools(sample, neighbours=around, options=options.confusers), ledger


def join_ledgers(ledgers: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The ledger of all parts together. Raises CatalogueError where a filter leaves nothing of them all."""
    counts = ["rows_in", "rows_out", "removed", "lenses_removed"]
    joined = ledgers[0].copy()
    joined[counts] = sum(ledger[counts] for ledger in ledgers)
    refuse_nothing_left(joined)
    return joined[list(LEDGER_COLUMNS)]


def join_selections(samples: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The samples of all parts in their order. Raises CatalogueError on a galaxy that is in two of them."""
    parts = [sample for sample in samples if len(sample)]
    together = pd.concat(parts, ignore_index=True)
    _check_repeats(together["galaxy_id"])
    return together


def _check_repeats(galaxy_id: pd.Series) -> None:
    repeated = galaxy_id[galaxy_id.duplicated()].unique()
    if len(repeated):
        raise CatalogueError(f"galaxy_id repeats: {', '.join(map(str, repeated[:3]))} ({len(repeated)} in all)")
