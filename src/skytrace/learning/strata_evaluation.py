"""Where a detector is good: recall, false positives and calibration by stratum, and the val-test gap within strata.

A stratum with one class has no ranking and no calibration: these are None beside the reason. Shares carry Jeffreys
intervals, everything else percentile bootstraps of whole sky cells where the table has healpix_128 and the stratum
enough of them, else of stamps, lenses and galaxies apart.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, check_between
from skytrace.learning.evaluation import count_share
from skytrace.learning.metrics import calibration_errors, check_scores, roc_auc
from skytrace.learning.options import StrataEvaluationOptions, StratumOptions
from skytrace.learning.resampling import CELL, drawn_by
from skytrace.statistics import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["evaluate_strata", "stratum_names", "validation_test_gap"]

#: The stratum of rows without a value: galaxies have no tier, and no arc.
NO_VALUE = "(none)"


def evaluate_strata(
    table: pd.DataFrame, *, threshold: float, options: StrataEvaluationOptions | None = None
) -> dict[str, Any]:
    """JSON-ready, by column: a list with one record a stratum, or the reason why there is none.

    table: score, label and the columns of ``options.strata``. threshold: chosen beforehand, in (0, 1). A record:
    stratum, lenses, galaxies, recall and false_positive_rate at the threshold, auc, ece.
    """
    options = options or StrataEvaluationOptions()
    check_between("threshold", threshold, 0.0, 1.0, include_low=False, include_high=False)
    scores, labels = check_scores(table["score"], table["label"])
    cells = table[CELL].to_numpy() if CELL in table and table[CELL].notna().all() else None
    result: dict[str, Any] = {}
    for stratum in options.strata:
        if stratum.column not in table.columns:
            result[stratum.column] = {"strata": [], "reason": f"the table has no column {stratum.column!r}"}
            continue
        names = stratum_names(table[stratum.column], stratum)
        records = []
        for name in names.categories:
            chosen = np.asarray(names == name)
            if chosen.any():
                own = None if cells is None else cells[chosen]
                records.append({"stratum": name, **_record(scores[chosen], labels[chosen], own, threshold, options)})
        result[stratum.column] = {"strata": records}
    return result


def stratum_names(values: pd.Series, stratum: StratumOptions) -> pd.Categorical:
    """The stratum (n,) of every value, in rising order; NO_VALUE, the last, where it is missing or empty.

    Bins are [low, high) and open at both ends of the range; quantiles are those of the values given.
    """
    if not stratum.edges and not stratum.quantiles:
        text = values.astype("string").fillna("").str.strip().replace("", NO_VALUE).to_numpy(dtype=str)
        ordered = sorted(set(text) - {NO_VALUE}, key=_natural)
        return pd.Categorical(text, categories=[*ordered, NO_VALUE], ordered=True)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    known = np.isfinite(numbers)
    edges: Sequence[float] = stratum.edges
    if stratum.quantiles:
        inner = np.arange(1, stratum.quantiles) / stratum.quantiles
        edges = np.unique(np.quantile(numbers[known], inner)).tolist() if known.any() else []
    bounds = [-np.inf, *edges, np.inf]
    labels = [_bin_name(low, high) for low, high in pairwise(bounds)]
    codes = np.where(known, np.searchsorted(edges, numbers, side="right"), len(labels))
    return pd.Categorical(np.array([*labels, NO_VALUE])[codes], categories=[*labels, NO_VALUE], ordered=True)


def validation_test_gap(
    validation: pd.DataFrame, test: pd.DataFrame, *, options: StrataEvaluationOptions | None = None
) -> dict[str, Any]:
    """AUC on validation minus AUC on test, over all and within matched strata, with bootstrap intervals (JSON-ready).

    validation, test: score, label and ``options.matched``. A gap over all that vanishes within strata is a difference
    of the two samples; one that stays is overfitting, or a leak. max_stratified_gap: the largest in size. The largest
    of many is large by chance: ``chance_95`` is its 95th percentile when whole sky cells change splits at random (a
    split is made of cells, whose galaxies share PSF and depth), or, where cells are unknown or too few, rows within
    stratum and class; ``permuted`` says which, and ``p_value`` how often chance gives as much. Raises CatalogueError
    for a split without both classes.
    """
    options = options or StrataEvaluationOptions()
    both = pd.concat([validation.assign(in_test=False), test.assign(in_test=True)], ignore_index=True)
    scores, labels = check_scores(both["score"], both["label"])
    in_test = both["in_test"].to_numpy(dtype=bool)
    value = _gap(scores, labels, in_test)
    if not np.isfinite(value):
        raise CatalogueError("a val-test gap needs both lenses and galaxies in both splits")
    missing = [name for name in options.matched if name not in both.columns]
    if missing:
        raise CatalogueError(f"the tables lack {', '.join(missing)}, by which the splits are to be matched")
    code, names = pd.factorize(both[list(options.matched)].astype(str).agg(" / ".join, axis=1), sort=True)
    kept: list[tuple[int, dict[str, Any]]] = []
    skipped: list[tuple[int, dict[str, Any]]] = []
    for number, name in enumerate(names):
        counts = [int(((code == number) & (in_test == t) & (labels == y)).sum()) for t in (False, True) for y in (1, 0)]
        record = dict(zip(("val_lenses", "val_galaxies", "test_lenses", "test_galaxies"), counts, strict=True))
        (kept if min(counts) >= options.min_per_class else skipped).append((number, {"stratum": str(name), **record}))
    cells = both[CELL].to_numpy() if CELL in both and both[CELL].notna().all() else None

    def interval(chosen: NDArray[np.bool_]) -> dict[str, float]:
        own = None if cells is None else cells[chosen]
        drawn = drawn_by(2 * in_test[chosen] + labels[chosen], own, rows=int(chosen.sum()))
        return bootstrap_interval(
            _gap, scores[chosen], labels[chosen], in_test[chosen],
            n_resamples=options.n_resamples, seed=options.seed, **drawn,
        ).as_dict()  # fmt: skip

    strata = [record | {"gap": interval(code == number)} for number, record in kept]
    result: dict[str, Any] = {
        "matched_by": list(options.matched),
        "global_gap": interval(np.ones(len(labels), dtype=bool)),
        "strata": strata,
        "skipped": [record | {"reason": f"fewer than {options.min_per_class} of a class"} for _, record in skipped],
    }
    if not kept:
        reason = f"no stratum has {options.min_per_class} lenses and galaxies in both splits"
        return result | {"max_stratified_gap": {"value": None, "reason": reason}}
    chosen = np.isin(code, [number for number, _ in kept])
    largest = max(strata, key=lambda record: abs(record["gap"]["value"]))
    return result | {
        "max_stratified_gap": {
            "stratum": largest["stratum"],
            **largest["gap"],
            **_chance(
                scores[chosen],
                labels[chosen],
                in_test[chosen],
                code[chosen],
                None if cells is None else cells[chosen],
                options,
            ),
        }
    }


def _record(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    cells: NDArray[Any] | None,
    threshold: float,
    options: StrataEvaluationOptions,
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "lenses": int(labels.sum()),
        "galaxies": int((labels == 0).sum()),
        "recall": count_share(scores[labels == 1] >= threshold),
        "false_positive_rate": count_share(scores[labels == 0] >= threshold),
    }
    if len(np.unique(labels)) < 2:
        only = "lenses" if labels[0] == 1 else "galaxies"
        nothing = {"value": None, "reason": f"the stratum holds {only} only"}
        return record | {"auc": nothing, "ece": nothing}

    drawn = drawn_by(labels, cells, rows=len(labels))

    def interval(statistic: Callable[..., float]) -> dict[str, Any]:
        return bootstrap_interval(
            statistic, scores, labels, n_resamples=options.n_resamples, seed=options.seed, **drawn
        ).as_dict()

    return record | {"auc": interval(roc_auc), "ece": interval(lambda s, y: calibration_errors(s, y)[0])}


def _gap(scores: NDArray[np.float64], labels: NDArray[np.int64], in_test: NDArray[np.bool_]) -> float:
    return roc_auc(scores[~in_test], labels[~in_test]) - roc_auc(scores[in_test], labels[in_test])


def _chance(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    in_test: NDArray[np.bool_],
    code: NDArray[np.intp],
    cells: NDArray[Any] | None,
    options: StrataEvaluationOptions,
) -> dict[str, Any]:
    """The largest gap within strata when sky cells, or else rows of a stratum and class, change splits at random."""
    rng = np.random.default_rng(options.seed)
    numbers = np.unique(code)
    whole_cells = "clusters" in drawn_by(None, cells, rows=len(labels))
    if whole_cells:  # an anchor that was withheld from training left its cell's split: that part moves by itself
        pairs = np.stack([np.unique(cells, return_inverse=True)[1], in_test], axis=1)
        split_of_unit, unit = np.unique(pairs, axis=0, return_inverse=True)
        groups = [np.arange(len(split_of_unit))]
        splits = split_of_unit[:, 1].astype(bool)
    else:
        unit, splits = np.arange(len(labels)), in_test
        groups = [np.flatnonzero((code == c) & (labels == y)) for c in numbers for y in (0, 1)]

    def largest(split: NDArray[np.bool_]) -> float:
        gaps = np.abs([_gap(scores[code == c], labels[code == c], split[code == c]) for c in numbers])
        return float(np.max(gaps, where=np.isfinite(gaps), initial=0.0))  # a class may be absent where cells move

    draws = np.empty(options.n_resamples)
    for draw in range(options.n_resamples):
        shuffled = splits.copy()
        for members in groups:
            shuffled[members] = rng.permutation(splits[members])
        draws[draw] = largest(shuffled[unit.ravel()])
    exceeding = int((draws >= largest(in_test) - 1e-12).sum())
    return {
        "permuted": "sky cells" if whole_cells else "stamps",
        "chance_95": float(np.quantile(draws, 0.95)),
        "p_value": (exceeding + 1) / (options.n_resamples + 1),
    }


def _bin_name(low: float, high: float) -> str:
    if np.isinf(low) and np.isinf(high):
        return "all"
    if np.isinf(low):
        return f"< {high:.4g}"
    return f">= {low:.4g}" if np.isinf(high) else f"{low:.4g} to {high:.4g}"


def _natural(text: str) -> tuple[float, str]:
    """Order by a leading number (nobs bins 3-5, 6-10, 11+), then by name."""
    digits = text.lstrip("><= ").split("-")[0].rstrip("+")
    return (float(digits) if digits.replace(".", "", 1).isdigit() else np.inf, text)
