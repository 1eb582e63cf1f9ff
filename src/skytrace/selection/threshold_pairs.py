"""Does another detector find more, if its threshold could have fallen elsewhere? Hosts and thresholds drawn again.

At fixed thresholds a paired test (``selection.paired``) says whether these two cuts differ on these injections. It is
silent on whether the detectors do: each cut rests on the few validation galaxies above it. Here every resample has
hosts drawn whole, and the thresholds that were chosen on a resample of the validation galaxies
(``learning.threshold_noise``). Intervals are percentiles of the resamples (Efron & Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.paired import PairedOptions, paired_table
from skytrace.statistics import LEVELS, holm_adjusted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["FIXED_TESTS", "paired_detectors"]

#: Numbers that a block of resamples may hold (64 MB).
_BLOCK_VALUES = 8_000_000
_INTERVAL = ("standard_error", *(f"{end}{name}" for name in LEVELS for end in ("low", "high")))
#: Columns of p at fixed thresholds; each has its own with _holm.
FIXED_TESTS = ("p_mcnemar_fixed", "p_hosts_fixed")


def paired_detectors(
    pairs: pd.DataFrame,
    *,
    thresholds: tuple[float, float],
    threshold_draws: tuple[ArrayLike, ArrayLike],
    options: PairedOptions | None = None,
) -> pd.DataFrame:
    """``paired_table`` of two detectors, each at its own threshold, with the thresholds' own error in its intervals.

    pairs: of ``pair_injections``: score of the first, score_ablation of the second. thresholds: of both.
    threshold_draws: (r,) of both, from one resample of the same validation galaxies each. standard_error, low68,
    high68, low95, high95: of hosts and thresholds resampled together; the same with _fixed, and FIXED_TESTS with their
    _holm: at these very thresholds, as of ``paired_table``. p_bootstrap: two-sided, of the resamples on the other side
    of 0; p_bootstrap_holm: adjusted over the bins, NaN over all. Raises OptionError on draws of unequal lengths,
    CatalogueError on one host alone.
    """
    options = options or PairedOptions()
    drawn = [np.asarray(values, dtype=np.float64) for values in threshold_draws]
    if drawn[0].ndim != 1 or drawn[0].shape != drawn[1].shape or not len(drawn[0]):
        raise OptionError(f"threshold_draws have shapes {drawn[0].shape} and {drawn[1].shape}; both must be (r,)")
    table = paired_table(pairs, threshold=thresholds[0], threshold_ablation=thresholds[1], options=options)
    table = table.rename(columns={name: f"{name}_fixed" for name in _INTERVAL})
    own = {name.removesuffix("_fixed"): name for name in FIXED_TESTS}
    table = table.rename(columns=own | {f"{name}_holm": f"{fixed}_holm" for name, fixed in own.items()})
    edges = np.asarray(options.theta_e_edges_arcsec)
    theta = pairs["theta_e_arcsec"].to_numpy(dtype=np.float64)
    inside = [(theta >= low) & (theta < high) for low, high in [*itertools.pairwise(edges), (-np.inf, np.inf)]]
    draws = _difference_draws(pairs, np.stack(inside, axis=1).astype(np.float64), drawn, options.seed)
    empty = ~np.stack(inside).any(axis=1)
    draws[:, empty] = 0.0  # no pair: NaN below
    found = {"standard_error": np.nanstd(draws, axis=0, ddof=1)}
    for name, level in LEVELS.items():
        tails = np.nanquantile(draws, [0.5 * (1.0 - level), 0.5 * (1.0 + level)], axis=0)
        found[f"low{name}"], found[f"high{name}"] = tails
    beyond = np.minimum((draws <= 0).sum(axis=0), (draws >= 0).sum(axis=0))
    found["p_bootstrap"] = np.minimum((1.0 + 2.0 * beyond) / (1.0 + np.isfinite(draws).sum(axis=0)), 1.0)
    table = table.assign(**{name: np.where(empty, np.nan, values) for name, values in found.items()})
    return table.assign(p_bootstrap_holm=np.append(holm_adjusted(table["p_bootstrap"].to_numpy()[:-1]), np.nan))


def _difference_draws(
    pairs: pd.DataFrame, member: NDArray[np.float64], drawn: list[NDArray[np.float64]], seed: int
) -> NDArray[np.float64]:
    """(resample, bin) second's share detected minus the first's; NaN where a resample has no host in the bin.

    member: (n, bin) 1 where an injection lies in the bin.
    """
    host, names = pd.factorize(pairs["galaxy_id"])
    if len(names) < 2:
        raise CatalogueError("injections into one host alone say nothing of the scatter between hosts")
    first, second = (pairs[name].to_numpy(dtype=np.float64) for name in ("score", "score_ablation"))
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK_VALUES // len(pairs))
    parts = []
    for start in range(0, len(drawn[0]), step):
        limits = [values[start : start + step, None] for values in drawn]
        weight = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=len(limits[0]))[:, host]
        change = (second >= limits[1]).astype(np.float64) - (first >= limits[0])
        with np.errstate(invalid="ignore"):
            parts.append(((weight * change) @ member) / (weight @ member))
    return np.concatenate(parts)
