"""What a bootstrap of scores draws: whole sky cells where enough are known, stamps by class otherwise.

The galaxies of a cell share their PSF and depth; drawn one by one they would make intervals too narrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["CELL", "MIN_CELLS", "drawn_by"]

#: HEALPix cell (nside 128) of each row of a table.
CELL = "healpix_128"
#: Fewer cells than this say too little of the scatter between cells for an interval to be trusted.
MIN_CELLS = 10


def drawn_by(strata: ArrayLike | None, cells: ArrayLike | None, *, rows: int) -> dict[str, Any]:
    """Arguments of ``bootstrap_interval``: clusters= the cells (rows,) if there are MIN_CELLS, else strata=.

    Raises CatalogueError if the cells are not one a row.
    """
    if cells is None:
        return {"strata": strata}
    cells = np.asarray(cells)
    if len(cells) != rows:
        raise CatalogueError(f"{len(cells)} sky cells were given for {rows} rows")
    return {"strata": strata} if len(np.unique(cells)) < MIN_CELLS else {"clusters": cells}
