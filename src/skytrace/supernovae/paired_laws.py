"""Two laws on the same supernovae: the difference of what they predict, supernova by supernova, and its standard error.

A comparison with the best of many mixes laws with noise models; here each law meets one reference under the same noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["paired_difference", "paired_laws"]

_MIXTURE = "_mixture"


def paired_difference(ours: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, Any]:
    """Sum of elpd (n,) minus that of the reference (n,) with its standard error sqrt(n) sd (Vehtari et al. 2017, eq.
    24), in standard errors, and whether it is within two of them; the latter two None where the error is 0.
    """
    each = np.asarray(ours, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    error = float(np.sqrt(len(each)) * each.std(ddof=1))
    total = float(each.sum())
    distance = total / error if error > 0.0 else None
    return {
        "difference": total,
        "se": error,
        "standard_errors": distance,
        "indistinguishable": None if distance is None else abs(distance) <= 2.0,
        "n": len(each),
    }


def paired_laws(pointwise: pd.DataFrame, scores: pd.DataFrame, *, reference: str = "flat_lcdm") -> dict[str, Any]:
    """``paired_difference`` of every law against ``reference``: loo (by noise model: student_t, mixture), folds,
    held_out; elpd of the law minus the reference's, positive where the law predicts better.

    pointwise: snid, elpd_loo, posterior (a law's name, "_mixture" appended where that is the noise). scores: of
    ``score_fold`` with model and held_out. Raises CatalogueError where two laws are of other supernovae.
    """
    loo: dict[str, Any] = {"student_t": {}, "mixture": {}}
    for noise, ending in (("student_t", ""), ("mixture", _MIXTURE)):
        names = [name for name in pointwise["posterior"].unique() if name.endswith(_MIXTURE) == bool(ending)]
        if reference + ending in names:
            base = pointwise[pointwise["posterior"] == reference + ending]
            for name in names:
                if name != reference + ending:
                    other = pointwise[pointwise["posterior"] == name]
                    loo[noise][name.removesuffix(_MIXTURE)] = _paired(other, base, "elpd_loo")
    report: dict[str, Any] = {"reference": reference, "loo": loo, "folds": {}, "held_out": {}}
    for name, chosen in (("folds", ~scores["held_out"]), ("held_out", scores["held_out"])):
        base = scores[chosen & (scores["model"] == reference)]
        for law in scores["model"].unique():
            if law != reference:
                report[name][law] = _paired(scores[chosen & (scores["model"] == law)], base, "elpd")
    return report


def _paired(other: pd.DataFrame, base: pd.DataFrame, column: str) -> dict[str, Any]:
    if other["snid"].tolist() != base["snid"].tolist():
        raise CatalogueError("two laws were scored on other supernovae, or in another order: they cannot be paired")
    return paired_difference(other[column].to_numpy(), base[column].to_numpy())
