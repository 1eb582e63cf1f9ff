"""Real lenses as the survey would show them, ranked among the injections of their own cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.selection.realism.outside_lenses import OutsideLensOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COMPARED", "compare_outside"]

#: Shapes that are compared; brightness hangs on an assumed colour.
COMPARED = ("arc_radius_ratio", "arc_asymmetry")


def compare_outside(
    outside: pd.DataFrame, injections: pd.DataFrame, *, options: OutsideLensOptions | None = None
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Where each lens's shape ranks among the injections of its own cell, theta_E and arc S/N; and one row a lens/cell.

    injections: columns theta_e, psf_fwhm, depth (the *cell's*, equal to those of ``outside``), arc_snr, COMPARED. A
    lens enters many cells, so the sample is the lenses: ranks are averaged over a lens's cells, the mean over lenses
    is 1/2 where lenses are drawn as injections are, and its interval is the bootstrap over lenses. verdict: consistent,
    different (1/2 outside the 95 % interval of one of COMPARED), or insufficient.
    """
    options = options or OutsideLensOptions()
    needed = ["theta_e", "psf_fwhm", "depth", "arc_snr", *COMPARED]
    missing = [name for table in (outside, injections) for name in needed if name not in table.columns]
    if missing:
        raise CatalogueError(f"the compared tables lack the columns {', '.join(sorted(set(missing)))}")
    rows = []
    cells = dict(iter(injections.groupby(["psf_fwhm", "depth"])))
    for key, part in outside.groupby(["psf_fwhm", "depth"]):
        if key in cells:
            rows.append(_ranks(part, cells[key], options))
    ranked = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["name", "n_matched", *COMPARED])
    ranked["compared"] = ranked["n_matched"].to_numpy(dtype=float) >= options.min_neighbours
    used = ranked[ranked["compared"]]
    report: dict[str, Any] = {
        "what": "real lenses imaged in F140W from space, as each survey cell would show them, against its injections",
        "assumed": {
            "source_r_minus_f140w": options.source_r_minus_f140w, "zero_point_ab": options.zero_point_ab,
            "psf": "the image's own PSF is subtracted in quadrature (half-maximum widths); nothing is deconvolved",
            "noise": "sky of the cell only; the photon noise of the lens is left out",
        },
        "not_checked": "colours; S/N beyond the assumed colour (it scales as 10^(-0.4 colour)); lenses were discovered",
        "lenses_with_model": int(outside["name"].nunique()),
        "lenses_compared": int(used["name"].nunique()) if len(used) else 0,
        "lens_cells_compared": len(used),
        "cells": _by_cell(used),
        "shapes": {},
    }  # fmt: skip
    if report["lenses_compared"] < options.min_lenses:
        return report | {"verdict": "insufficient"}, ranked
    rng = np.random.default_rng(options.seed)
    different = False
    for name in COMPARED:
        of_lens = used.groupby("name")[f"{name}_rank"].mean().to_numpy()
        draws = rng.choice(of_lens, (options.n_bootstrap, len(of_lens))).mean(axis=1)
        low, high = np.percentile(draws, [2.275, 97.725])
        different = different or not low <= 0.5 <= high
        report["shapes"][name] = {
            "mean_rank": float(of_lens.mean()), "low_95": float(low), "high_95": float(high),
            "median_lenses": float(used[name].median()), "median_injections": float(used[f"{name}_matched"].median()),
        }  # fmt: skip
    snr = used["arc_snr"] / used["arc_snr_cell"]
    report["arc_snr_over_injections_at_assumed_colour"] = float(snr.median())
    return report | {"verdict": "different" if different else "consistent"}, ranked


def _ranks(lenses: pd.DataFrame, injections: pd.DataFrame, options: OutsideLensOptions) -> pd.DataFrame:
    """Rows of one cell: ranks of lenses among their matched injections, and these injections' medians."""
    fake, real = (_observable(table, options) for table in (injections, lenses))
    theta = np.abs(real["theta_e"].to_numpy()[:, None] - fake["theta_e"].to_numpy()) / options.theta_e_step_arcsec
    brightness = np.abs(np.log10(real["arc_snr"].to_numpy()[:, None] / fake["arc_snr"].to_numpy()))
    distance = np.maximum(theta, brightness / options.arc_snr_step_dex)
    order = np.argsort(distance, axis=1, kind="stable")[:, : options.neighbours]
    near = np.take_along_axis(distance, order, axis=1) <= options.max_distance_steps
    same_theta = theta <= options.max_distance_steps
    out = real[["name", "theta_e", "psf_fwhm", "depth", "arc_snr", *COMPARED]].reset_index(drop=True)
    out["n_matched"] = near.sum(axis=1)
    for name in COMPARED:
        values = np.where(near, fake[name].to_numpy()[order], np.nan)
        below = (values < out[name].to_numpy()[:, None]).sum(axis=1)
        out[f"{name}_rank"] = (below + 0.5) / (out["n_matched"] + 1.0)
        out[f"{name}_matched"] = _medians(values)
    every = np.where(same_theta, fake["arc_snr"].to_numpy()[None], np.nan)
    out["arc_snr_cell"] = _medians(every)
    return out


def _observable(table: pd.DataFrame, options: OutsideLensOptions) -> pd.DataFrame:
    """Rows whose shape is measured at an arc S/N of observable_snr or more."""
    values = table[["arc_snr", *COMPARED]].to_numpy(dtype=np.float64)
    return table[np.isfinite(values).all(axis=1) & (values[:, 0] >= options.observable_snr)]


def _medians(values: NDArray[np.float64]) -> list[float]:
    """Median of the finite values of each row (n, m); NaN where there are none."""
    rows = [row[np.isfinite(row)] for row in values]
    return [float(np.median(row)) if len(row) else float("nan") for row in rows]


def _by_cell(used: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a (PSF, depth) cell: lenses and the medians of both sides."""
    if not len(used):
        return []
    entries = []
    for _, part in used.groupby(["psf_fwhm", "depth"]):
        sky = {name: float(part[name].iloc[0]) for name in ("psf_fwhm", "depth")}
        entry: dict[str, Any] = {**sky, "lenses": len(part)}
        for name in COMPARED:
            entry[name] = {
                "lenses": float(part[name].median()), "injections": float(part[f"{name}_matched"].median()),
                "mean_rank": float(part[f"{name}_rank"].mean()),
            }  # fmt: skip
        entry["arc_snr_over_injections_at_assumed_colour"] = float((part["arc_snr"] / part["arc_snr_cell"]).median())
        entries.append(entry)
    return entries
