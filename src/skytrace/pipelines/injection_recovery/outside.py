"""The outside check of injections: real lenses imaged from space, brought to every cell's sky. Not part of `make run`.

Without the images (docs/real_data.md) its three outputs say that they are absent, and why.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from kedro.pipeline import Node

from skytrace.imaging import PreprocessOptions
from skytrace.lensing.population import PopulationOptions, host_light_shape
from skytrace.pipelines.injection_recovery.shards import Campaign, drawn_by_lot, recompute
from skytrace.selection.arcs import ArcOptions, measure_arcs
from skytrace.selection.grid import GridOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism.morphology import arc_morphology
from skytrace.selection.realism.outside_comparison import COMPARED, compare_outside
from skytrace.selection.realism.outside_lenses import OutsideLensOptions, measure_outside
from skytrace.surveys.data_root import under_data_root
from skytrace.surveys.hst_lenses import read_hst_lenses
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["check_outside_lenses", "outside_node"]

_MEASURED = ("arc_snr", *COMPARED)


def check_outside_lenses(
    survey: ImagingSurvey,
    hosts: Table,
    conditions: Table,
    injections: Table,
    grid: GridOptions,
    population: PopulationOptions,
    injection: InjectionOptions,
    preprocessing: PreprocessOptions,
    arcs: ArcOptions,
    outside: OutsideLensOptions,
) -> tuple[Report, Table, Any]:
    """The report, one row a lens and cell, and the figure; the verdict again with sources bluer and redder. Without a
    folder, or where the data root has none of that name, all three say so.
    """
    from skytrace.reporting.outside_figures import outside_figure
    from skytrace.reporting.product_figures import absent_figure

    why = _absent(outside)
    if why:
        table = pd.DataFrame(columns=["name", "theta_e", "psf_fwhm", "depth", *_MEASURED])
        return {"status": "absent", "verdict": "not checked", "reason": why}, table, absent_figure(why)
    outside = replace(outside, pixels=preprocessing.crop, psf_beta=injection.psf_beta)
    lenses = read_hst_lenses(str(outside.folder))
    cells = conditions[conditions["n_per_cell"] > 0][["psf_fwhm", "depth"]].drop_duplicates(ignore_index=True)
    measured, _ = measure_outside(lenses, cells, options=outside, arcs=arcs)
    campaign = Campaign(grid, population, injection, preprocessing, hosts, conditions)
    composites = _measure_near(campaign, survey, injections, measured["theta_e"].unique(), arcs, outside)
    report, ranked = compare_outside(measured, composites, options=outside)
    for name, shift in (("if_sources_are_bluer", -1.0), ("if_sources_are_redder", 1.0)):
        colour = outside.source_r_minus_f140w + shift * outside.colour_bracket_mag
        other = replace(outside, source_r_minus_f140w=colour)
        again, _ = compare_outside(
            measure_outside(lenses, cells, options=other, arcs=arcs)[0], composites, options=other
        )
        kept = ("verdict", "lenses_compared", "shapes", "arc_snr_over_injections_at_assumed_colour")
        report[name] = {"source_r_minus_f140w": colour} | {key: again[key] for key in kept if key in again}
    report["lenses_without_model"] = sum(not np.isfinite(lens.theta_e_arcsec) for lens in lenses)
    report["injections_measured"] = len(composites)
    report = {"status": "compared"} | report
    return report, ranked, outside_figure(report, ranked)


def _absent(outside: OutsideLensOptions) -> str:
    """Why there are no images, "" where they are."""
    if outside.folder is None:
        return "No images of lenses from space are configured (outside_lenses.folder is null): nothing is compared."
    if not under_data_root(outside.folder).is_dir():
        return (
            f"The data root holds no folder {outside.folder}: injections are compared with no lens seen from space. "
            "docs/real_data.md says what belongs there."
        )
    return ""


def _measure_near(
    campaign: Campaign,
    survey: ImagingSurvey,
    injections: Table,
    theta_e: np.ndarray,
    arcs: ArcOptions,
    options: OutsideLensOptions,
) -> Table:
    """Arc light and shape of ``per_cell`` injections by lot in each cell near a lens's theta_E, computed again.

    Only those whose own light could be observed: a measured S/N below the cut would drop the others anyway.
    """
    near = np.abs(injections["theta_e"].to_numpy()[:, None] - theta_e).min(axis=1) <= options.theta_e_step_arcsec
    bright = injections[near & (injections["arc_snr"].to_numpy() >= options.observable_snr)]
    parts = [drawn_by_lot(part, options.per_cell, seed=options.seed) for _, part in bright.groupby("cell")]
    tables = []
    for rows, stamps, injected in recompute(campaign, survey, pd.concat(parts) if parts else bright):
        host = rows["host_row"].to_numpy()
        q, phi = host_light_shape(stamps.table.iloc[host])
        known: dict[str, Any] = {
            "theta_e_arcsec": rows["theta_e"].to_numpy(dtype=float),
            "fwhm_arcsec": stamps.fwhm_r_arcsec[host],
            "q": q, "phi_rad": phi,
        }  # fmt: skip
        invvar = stamps.invvar[host]
        light = measure_arcs(injected.image, invvar, sigma_pix_nmgy=stamps.sigma_nmgy[host], options=arcs, **known)
        shape = arc_morphology(injected.image, invvar, arcs=arcs, **known)
        head = rows[["injection_id", "theta_e", "psf_fwhm", "depth"]].reset_index(drop=True)
        tables.append(pd.concat([head, light, shape], axis=1))
    empty = pd.DataFrame(columns=["injection_id", "theta_e", "psf_fwhm", "depth", *_MEASURED])
    return pd.concat(tables, ignore_index=True) if tables else empty.astype(float)


def outside_node() -> Node:
    """The check as a node, by the names of the pipeline it joins."""
    return Node(
        check_outside_lenses,
        ["survey", "hosts", "conditions", "injections", "params:grid", "params:population", "params:injection",
         "params:preprocess", "params:arcs", "params:outside_lenses"],
        ["outside_lens_report", "outside_lens_ranks", "outside_lens_figure"],
        name="check_outside_lenses",
    )  # fmt: skip
