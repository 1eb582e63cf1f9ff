"""The tables of Balaji & Johnson (2026), P(score >= threshold | theta_E, PSF, depth), as a SelectionFunction.

Injections into DR10 cutouts on the grid of ours. Intervals are recomputed from the counts; hosts were not counted.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.compute.parquet import read_parquet
from skytrace.errors import CatalogueError, OptionError, check_between, reading
from skytrace.selection.grid import AXES, GridOptions, SelectionGrid
from skytrace.selection.selection_function import SelectionFunction
from skytrace.statistics import LEVELS, beta_interval

if TYPE_CHECKING:
    import os

__all__ = ["published_table", "read_published"]

_AXIS_COLUMNS = {"theta_e": "theta_e", "psf_fwhm": "psf_fwhm", "depth_5sig": "depth"}
_COUNTS = ("n_injections", "n_detected")
_NEEDED = (*_AXIS_COLUMNS, "threshold", "source_mag_bin", *_COUNTS, "completeness")
_ENDS = {"low68": "ci68_lo", "high68": "ci68_hi", "low95": "ci95_lo", "high95": "ci95_hi"}
_KEPT = ("threshold_type", "fpr_target", "n_failed", "mean_score", "mean_arc_snr")


def read_published(
    folder: str | os.PathLike,
    *,
    photon_noise: bool = False,
    source_mag_bin: str = "all",
    min_injections: int = 200,
    probe_auc_max: float = 0.75,
) -> SelectionFunction:
    """The published surface from ``folder``: grid_no_poisson.parquet (grid_poisson with ``photon_noise``) and its
    ``_meta.json``; linear_probe.json and real_lens_scores.json where they are there.

    source_mag_bin: "all", or one of the table's bins. min_injections: fewer make a cell insufficient.
    probe_auc_max: an AUC of the published probe above it makes the verdict NO-GO (gate 8); without one it is
    INSUFFICIENT, for none of our other gates were run. Raises CatalogueError naming file and column.
    """
    folder, name = Path(folder), "grid_poisson" if photon_noise else "grid_no_poisson"
    raw = _read_table(folder / f"{name}.parquet")
    noted = _read_json(folder / f"{name}_meta.json")
    table = published_table(raw, source_mag_bin=source_mag_bin, min_injections=min_injections, file=f"{name}.parquet")
    _check_against_metadata(table, noted, source_mag_bin, f"{name}.parquet")
    probe = _read_json(folder / "linear_probe.json", optional=True).get("linear_probe", {})
    metadata = {
        **_verdict_of_probe(probe, probe_auc_max),
        "source": "Balaji & Johnson 2026, stronglens-realism-gap at dc9c7f1, results/D06_corrected_priors",
        "metadata_file": f"{name}_meta.json",
        "detector": str(noted.get("arch", "not stated")),
        "threshold_default": float(table["threshold"].min()),
        "theta_e_definition": "Einstein radius [arcsec], product average, singular isothermal ellipsoid, at the centre",
        "psf_fwhm_definition": "psfsize_r of the host [arcsec], used there as the half-maximum width of a Gaussian PSF",
        "depth_definition": "5-sigma AB magnitude of the host's psfdepth_r",
        "edges_definition": "half a step from the centres; the outer bins of PSF and depth are open-ended",
        "source_model": str(noted.get("source_model", "not stated")),
        "source_mag_bin": _words_of_bin(source_mag_bin),
        "photon_noise": _words_of_noise(noted),
        "survey": "Legacy Surveys DR10, real cutouts",
        "host_split": str(noted.get("host_split", "not stated")),
        "n_hosts_known": False,
        "interval_rule": _words_of_intervals(table),
        "thresholds": _threshold_facts(table, _read_json(folder / "real_lens_scores.json", optional=True)),
    }
    return SelectionFunction.from_table(table, metadata=metadata)


def published_table(
    raw: pd.DataFrame, *, source_mag_bin: str = "all", min_injections: int = 200, file: str = "the table"
) -> pd.DataFrame:
    """Rows of a SelectionFunction, one a (threshold, cell), from the published columns; cells not listed are empty.

    Intervals (68.27 and 95.45 %) are recomputed from counts: interval_source says counts; "as published" where
    n_detected is not given, none where the cell is empty. n_hosts is NaN where it was not recorded.
    Raises CatalogueError naming ``file`` and the column.
    """
    check_between("min_injections", min_injections, 1, 1_000_000)
    missing = [name for name in _NEEDED if name not in raw.columns]
    if missing:
        raise CatalogueError(f"{file}: lacks the column(s) {', '.join(missing)}")
    known = sorted(raw["source_mag_bin"].astype(str).unique())
    if source_mag_bin not in known:
        raise CatalogueError(
            f"{file}, column source_mag_bin: no rows of {source_mag_bin!r}; there are {', '.join(known)}"
        )
    raw = raw.rename(columns=_AXIS_COLUMNS)
    grid = _grid_of(raw, file)
    rows = raw[raw["source_mag_bin"].astype(str) == source_mag_bin]
    _check_counts(rows, file)
    tables = []
    for threshold in np.sort(rows["threshold"].unique()):
        part = rows[rows["threshold"] == threshold]
        cells = part[list(AXES)].apply(lambda column: grid.bin_of(str(column.name), column))
        cell = np.ravel_multi_index(tuple(cells.to_numpy().T), grid.shape)
        if len(np.unique(cell)) != len(cell):
            raise CatalogueError(f"{file}: a cell appears twice at threshold = {threshold:g} of {source_mag_bin!r}")
        given = part.set_index(cell)
        tables.append(_cells_of(grid.cells(), given, float(threshold), min_injections))
    return pd.concat(tables, ignore_index=True)


def _cells_of(cells: pd.DataFrame, given: pd.DataFrame, threshold: float, min_injections: int) -> pd.DataFrame:
    """One threshold: ``cells`` with counts, states and intervals; ``given`` is indexed by cell."""
    n = given["n_injections"].reindex(cells["cell"]).fillna(0).to_numpy(dtype=np.int64)
    k = given["n_detected"].reindex(cells["cell"]).to_numpy(dtype=np.float64)
    told = given["completeness"].reindex(cells["cell"]).to_numpy(dtype=np.float64)
    counted = (n > 0) & np.isfinite(k)
    share = np.where(counted, np.nan_to_num(k) / np.maximum(n, 1), np.where(n > 0, told, np.nan))
    state = np.where(n >= min_injections, "ok", np.where(n > 0, "insufficient", "no_hosts")).astype(object)
    table = cells.assign(
        threshold=threshold, mode=np.where(n > 0, "matched", "none").astype(object), state=state,
        sufficient=state == "ok", n=n, n_detected=np.where(n > 0, k, 0.0), n_hosts=np.where(n > 0, np.nan, 0.0),
        completeness=share, interval_source=np.where(counted, "counts", np.where(n > 0, "as published", "none")),
    )  # fmt: skip
    for name, level in LEVELS.items():
        ends = beta_interval(np.where(counted, k, 0.0), np.where(counted, n, 0), level)
        for end, values in zip((f"low{name}", f"high{name}"), ends, strict=True):
            column = _ENDS[end]
            lacking = pd.Series(np.nan, index=given.index)
            theirs = given.get(column, lacking).reindex(cells["cell"]).to_numpy(dtype=np.float64)
            table[end] = np.where(counted, values, np.where(n > 0, theirs, np.nan))
    for name in _KEPT:
        if name in given.columns:
            table[name] = given[name].reindex(cells["cell"]).to_numpy()
    return table


def _grid_of(raw: pd.DataFrame, file: str) -> SelectionGrid:
    for axis, column in zip(AXES, _AXIS_COLUMNS, strict=True):
        if not np.isfinite(raw[axis].to_numpy(dtype=np.float64)).all():
            raise CatalogueError(f"{file}, column {column}: not all values are finite")
    theta_e, psf_fwhm, depth = (tuple(map(float, np.sort(raw[axis].unique()))) for axis in AXES)
    try:
        return SelectionGrid(GridOptions(theta_e, psf_fwhm, depth))
    except OptionError as error:
        raise CatalogueError(
            f"{file}, columns {', '.join(_AXIS_COLUMNS)}: not the centres of a grid: {error}"
        ) from error


def _check_counts(rows: pd.DataFrame, file: str) -> None:
    n, k = (rows[name].to_numpy(dtype=np.float64) for name in _COUNTS)
    if not (np.isfinite(n) & (n >= 0) & (n == np.round(n))).all():
        raise CatalogueError(f"{file}, column n_injections: not all are counts")
    bad = np.isfinite(k) & ~((k >= 0) & (k <= n) & (k == np.round(k)))
    if bad.any():
        first = int(np.argmax(bad))
        raise CatalogueError(
            f"{file}, column n_detected: {k[first]:g} of {n[first]:g} injections ({int(bad.sum())} such)"
        )
    told = rows["completeness"].to_numpy(dtype=np.float64)
    full = (n > 0) & np.isfinite(k)
    apart = np.abs(told[full] - k[full] / n[full])
    if not (apart < 1e-6).all():
        raise CatalogueError(f"{file}, column completeness: is not n_detected / n_injections (by {np.nanmax(apart):g})")
    if (n > 0).any() and not np.isfinite(told[n > 0]).all():
        raise CatalogueError(f"{file}, column completeness: missing where n_injections > 0")


def _check_against_metadata(table: pd.DataFrame, noted: dict[str, Any], source_mag_bin: str, file: str) -> None:
    empty = int((table["n"] == 0).sum() // table["threshold"].nunique())
    if source_mag_bin == "all" and noted.get("n_empty_cells", empty) != empty:
        raise CatalogueError(
            f"{file}, column n_injections: {empty} empty cells, but its metadata say {noted['n_empty_cells']}"
        )


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise CatalogueError(
            f"{path.name} is not in {path.parent}: the published tables are needed to compare with them"
        )
    return read_parquet(path, error=CatalogueError)


def _read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if not path.is_file():
        if optional:
            return {}
        raise CatalogueError(f"{path.name} is not in {path.parent}: it says how the table was made")
    with reading(path, "a JSON object", CatalogueError):
        return dict(json.loads(path.read_text(encoding="utf-8")))


def _verdict_of_probe(probe: dict[str, Any], bound: float) -> dict[str, str]:
    auc = probe.get("cv_auc_mean")
    if auc is None:
        return {"verdict": "INSUFFICIENT", "verdict_reason": "none of our gates was run on these injections"}
    spread = probe.get("cv_auc_std", float("nan"))
    words = (
        f"their own linear probe of the detector's features: AUC {auc:.3f} +- {spread:.3f} between real and injected"
    )
    if auc > bound:
        return {"verdict": "NO-GO", "verdict_reason": f"{words}, above {bound:g} (gate 8); no other gate was run"}
    return {"verdict": "INSUFFICIENT", "verdict_reason": f"{words}, within {bound:g} (gate 8); no other gate was run"}


def _words_of_bin(name: str) -> str:
    if name == "all":
        return "all magnitudes"
    return (
        f"{name.replace('lensed_', 'lensed magnitude ')} AB in r" if "lensed" in name else f"{name} AB in r, unlensed"
    )


def _words_of_noise(noted: dict[str, Any]) -> str:
    if not noted.get("add_poisson_noise"):
        return "none"
    return f"of the arcs, {noted.get('gain_e_per_nmgy', float('nan')):g} electrons a nanomaggy in every band"


def _words_of_intervals(table: pd.DataFrame) -> str:
    count = table["interval_source"].value_counts()
    return (
        f"Jeffreys, 68.27 and 95.45 %, recomputed from counts in {int(count.get('counts', 0))} rows; "
        f"as published in {int(count.get('as published', 0))} rows without counts; their own levels are 68 and 95 %"
    )


def _threshold_facts(table: pd.DataFrame, scores: dict[str, Any]) -> list[dict[str, Any]]:
    """For each threshold: the false-positive rate it was derived from, and what it keeps of negatives and lenses."""
    rates = {
        "false_positive_rate": ("negatives", "fpr_at_thresholds"),
        "anchor_recall": ("real_lens", "recall_at_thresholds"),
    }
    facts: list[dict[str, Any]] = []
    for value in np.sort(table["threshold"].unique()):
        target = table.loc[table["threshold"] == value, "fpr_target"].dropna() if "fpr_target" in table else pd.Series()
        fact: dict[str, Any] = {"threshold": float(value), "fpr_target": float(target.iloc[0]) if len(target) else None}
        for name, (group, key) in rates.items():
            said = scores.get(group, {}).get(key, {})
            near = [rate for words, rate in said.items() if abs(_number_in(words) - value) < 1e-3]
            n = scores.get(group, {}).get("n_valid")
            if near and n:
                low, high = beta_interval(round(near[0] * n), n)
                fact[name] = {"value": near[0], "n": n, "low68": float(low), "high68": float(high)}
        facts.append(fact)
    return facts


def _number_in(words: str) -> float:
    found = re.search(r"\d\.\d+", words)
    return float(found[0]) if found else float("nan")
