"""How much a threshold owes to the galaxies that it was chosen on: chosen again in every resample of them.

At a false-positive rate of 1 % some hundreds of galaxies leave a handful above the threshold, so that its own error can
be larger than the difference between two detectors. One resample serves all detectors: what they share cancels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, check_whole
from skytrace.learning.resampling import drawn_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["resampled_thresholds"]


def resampled_thresholds(
    scores: Mapping[str, ArrayLike],
    *,
    rate: float,
    cells: ArrayLike | None = None,
    n_resamples: int = 4000,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """name -> (n_resamples,) thresholds by the rule of ``choose_threshold`` at the false-positive rate ``rate``.

    scores: of the same *validation* galaxies by every detector, each (n,) in [0, 1]. cells: (n,) sky cell of each;
    whole cells are drawn where there are enough (``learning.resampling``). Raises CatalogueError on no galaxies or
    unequal lengths.
    """
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or not min(lengths):
        raise CatalogueError(f"galaxies' scores of lengths {sorted(lengths)} cannot be resampled together")
    check_whole("n_resamples", n_resamples, 1, 10_000_000)
    weight = _weights(drawn_by(None, cells, rows=lengths.pop()).get("clusters"), columns, n_resamples, seed)
    return {name: _thresholds(values, weight, rate) for name, values in columns.items()}


def _weights(
    clusters: NDArray | None, columns: Mapping[str, NDArray], n_resamples: int, seed: int
) -> NDArray[np.int64]:
    """(n_resamples, n) how often each galaxy was drawn."""
    rows = len(next(iter(columns.values())))
    codes = np.arange(rows) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    groups = int(codes.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1.0 / groups), size=n_resamples)
    return drawn[:, codes]


def _thresholds(scores: NDArray[np.float64], weight: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    """Lowest threshold of each resample at which at most ``rate`` of its galaxies are detected, inside (0, 1)."""
    order = np.argsort(-scores, kind="stable")
    above = np.cumsum(weight[:, order], axis=1)
    total = above[:, -1]
    allowed = np.floor(rate * total + 1e-9)
    first = np.argmax(above > allowed[:, None], axis=1)  # the galaxy of the highest score that may not be detected
    value = np.where(allowed < total, np.nextafter(scores[order][first], np.inf), 0.0)
    return np.clip(value, np.nextafter(0.0, 1.0), np.nextafter(1.0, 0.0))
