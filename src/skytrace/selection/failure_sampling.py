"""Which injections are rendered again for their causes, by lot, and what the sample says of all misses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, check_between, check_whole
from skytrace.selection.failures import CAUSES
from skytrace.statistics import beta_interval
from skytrace.statistics.streams import stream_uniforms

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["FailureSample", "draw_for_failures", "gallery_ids", "stratified_shares"]


@dataclass(frozen=True)
class FailureSample:
    """per_cell_missed, per_cell_detected: injections of a cell that are rendered again and measured. core_radius_px:
    of the mask of the second scoring. per_cause: stamps kept for the gallery of a cause. seed: of the lots.
    """

    per_cell_missed: int = 40
    per_cell_detected: int = 5
    core_radius_px: float = 6.0
    per_cause: int = 24
    seed: int = 20260901

    def __post_init__(self) -> None:
        check_whole("per_cell_missed", self.per_cell_missed, 1, 1_000_000)
        check_whole("per_cell_detected", self.per_cell_detected, 0, 1_000_000)
        check_between("core_radius_px", self.core_radius_px, 1.0, 100.0)
        check_whole("per_cause", self.per_cause, 1, 1000)
        check_whole("seed", self.seed, 0, 2**63 - 1)


def draw_for_failures(
    injections: pd.DataFrame, *, threshold: float, sample: FailureSample | None = None
) -> pd.DataFrame:
    """Rows of ``injections`` (injection_id, cell, score) whose causes are measured: of every cell up to
    ``per_cell_missed`` missed and ``per_cell_detected`` detected ones, by a hash of their ids, in order of the id.
    """
    sample = sample or FailureSample()
    missed = injections["score"].to_numpy(dtype=np.float64) < threshold
    lot = pd.Series(stream_uniforms(injections["injection_id"].to_numpy(), 1, seed=sample.seed)[:, 0])
    rank = lot.groupby([injections["cell"].to_numpy(), missed]).rank(method="first").to_numpy()
    chosen = rank <= np.where(missed, sample.per_cell_missed, sample.per_cell_detected)
    return injections[chosen].sort_values("injection_id", ignore_index=True)


def stratified_shares(
    sampled: pd.DataFrame, missed_in_cell: pd.Series, *, counted: pd.Series | None = None
) -> pd.DataFrame:
    """Share of every cause among *all* missed injections, from a sample drawn cell by cell: cause, share, low68,
    high68, low95, high95.

    sampled: cell, cause of measured injections (detected ones are left out). missed_in_cell: cell -> all that were
    missed there. Each cell counts by its misses; the intervals (Beta at the effective number of the stratified
    estimator, with the finite-population correction) say what the drawing adds and no more: where every miss was
    measured they have no width. counted: of ``counted_causes``, causes whose number among all misses is known: their
    shares are exact, and the others are scaled to what they leave (a ratio estimate), so that all add up to 1.
    Raises CatalogueError where a cell has misses and no sample.
    """
    missed = sampled[sampled["cause"] != "detected"]
    total = missed_in_cell[missed_in_cell > 0]
    n = missed.groupby("cell").size().reindex(total.index).fillna(0).to_numpy(dtype=np.float64)
    if (n == 0).any():
        raise CatalogueError(f"{int((n == 0).sum())} cells have misses, and none of them was measured")
    weight = total.to_numpy(dtype=np.float64) / total.sum()
    left = 1.0 - n / total.to_numpy(dtype=np.float64)
    rows = []
    for name in (*CAUSES, "unexplained", "not_measured"):
        k = (missed["cause"] == name).groupby(missed["cell"]).sum().reindex(total.index).to_numpy(dtype=np.float64)
        share = float(np.sum(weight * k / n)) if len(n) else np.nan
        # Jeffreys' mean keeps a cell with none, or all, of a cause from having no variance
        inner = (k + 0.5) / (n + 1.0)
        variance = float(np.sum(weight**2 * left * inner * (1.0 - inner) / np.maximum(n - 1.0, 1.0)))
        row = {"cause": name, "share": share}
        for level_name, level in (("68", 0.6827), ("95", 0.9545)):
            ends: tuple[Any, Any] = (share, share)
            if variance > 0:
                spread = float(np.sum(weight * inner * (1.0 - inner)))
                ends = beta_interval(share * spread / variance, spread / variance, level)
            row |= {f"low{level_name}": float(ends[0]), f"high{level_name}": float(ends[1])}
        rows.append(row)
    table = pd.DataFrame(rows)
    return table if counted is None or total.empty else _with_counted(table, counted / total.sum())


def _with_counted(table: pd.DataFrame, exact: pd.Series) -> pd.DataFrame:
    """The shares with those in ``exact`` put in, and the others scaled to the rest."""
    table = table.set_index("cause")
    known = table.index.isin(exact.index)
    estimated = float(table.loc[~known, "share"].sum())
    if estimated > 0:
        table.loc[~known] *= (1.0 - float(exact.sum())) / estimated
    for column in table.columns:
        table.loc[exact.index, column] = exact.to_numpy()
    return table.reset_index()


def gallery_ids(injection_id: ArrayLike, cause: ArrayLike, *, n: int = 30, seed: int) -> dict[str, NDArray[np.int64]]:
    """Cause -> up to ``n`` injections of it, drawn by lot (a hash of the id), in order of the id."""
    ids, cause = np.asarray(injection_id, dtype=np.int64), np.asarray(cause, dtype=object)
    check_between("n", n, 1, 100_000)
    lot = stream_uniforms(ids, 1, seed=seed)[:, 0]
    chosen = {}
    for name in (*CAUSES, "unexplained", "not_measured"):
        rows = np.flatnonzero(cause == name)
        if len(rows):
            chosen[name] = np.sort(ids[rows[np.argsort(lot[rows], kind="stable")[:n]]])
    return chosen
