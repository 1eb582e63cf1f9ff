"""Completeness in two factors: could the arc be seen at all, and did the detector find it then?

Observable means an integrated arc S/N (r, injected light) at or above a stated bound: a property of the lens and the
sky, not of the detector. In every cell completeness = observable fraction x conditional recall + detections below the
bound / n. The last term is reported: it is what the bound misses, or what the detector found without an arc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, check_between
from skytrace.selection.completeness import CompletenessOptions, completeness_table
from skytrace.selection.grid import AXES

if TYPE_CHECKING:
    import pandas as pd

    from skytrace.selection.grid import SelectionGrid

__all__ = ["two_stage_table"]

_ENDS = ("low68", "high68", "low95", "high95")


def two_stage_table(
    injections: pd.DataFrame, grid: SelectionGrid, *, threshold: float, observable_snr: float, min_injections: int = 200
) -> pd.DataFrame:
    """One row a cell: AXES, mode, n, n_observable, n_detected_observable, n_detected_unobservable, then
    observable_fraction, conditional_recall, product and completeness, the first two with host-aware 68 and 95 %
    intervals (endings _low68 .. _high95), and recall_sufficient (observable injections reach ``min_injections``).

    injections: columns of ``completeness_table`` and arc_snr. An S/N that was not measured (NaN) raises CatalogueError.
    """
    check_between("observable_snr", observable_snr, 0.0, 1000.0)
    if "arc_snr" not in injections or not np.isfinite(injections["arc_snr"].to_numpy(dtype=float)).all():
        raise CatalogueError("injections need a finite arc_snr each: the gate cannot be asked without it")
    seen = injections["arc_snr"].to_numpy(dtype=float) >= observable_snr
    whole = CompletenessOptions((threshold,), min_injections)
    both = completeness_table(injections, grid, options=whole)
    # the gate's answer as a score of 0 or 1, so that its share has the same host-aware interval
    gate = completeness_table(injections.assign(score=seen.astype(float)), grid, options=CompletenessOptions((0.5,)))
    found = completeness_table(injections[seen], grid, options=whole)
    table = both[["cell", *AXES, "mode", "n", "n_hosts"]].copy()
    table["n_observable"] = gate["n_detected"].to_numpy()
    table["n_detected_observable"] = found["n_detected"].to_numpy()
    table["n_detected_unobservable"] = both["n_detected"].to_numpy() - found["n_detected"].to_numpy()
    for name, part in (("observable_fraction", gate), ("conditional_recall", found)):
        table[name] = part["completeness"].to_numpy()
        for end in _ENDS:
            table[f"{name}_{end}"] = part[f"{end}_hosts"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        table["product"] = table["n_detected_observable"] / table["n"].where(table["n"] > 0)
    table["completeness"] = both["completeness"].to_numpy()
    return table.assign(recall_sufficient=found["sufficient"].to_numpy())
