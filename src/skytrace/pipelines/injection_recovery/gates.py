"""Glue of the realism gates: real lenses and injected composites measured by the same call, then compared."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.imaging import PreprocessOptions
from skytrace.imaging.photometry import mag_ab, mag_depth
from skytrace.imaging.psf import moffat_fwhm_from_psfsize, sky_sigma_nmgy
from skytrace.lensing.population import PopulationOptions, host_light_shape
from skytrace.pipelines.injection_recovery.shards import Campaign, drawn_by_lot, recompute
from skytrace.selection.arcs import ArcOptions, measure_arcs
from skytrace.selection.grid import GridOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism import (
    HOST_AXES,
    GateOptions,
    background_pixels,
    comparison_sample,
    nearest_injections,
    realism_report,
)
from skytrace.sky import crossmatch
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, np.ndarray]


def measure_anchors(
    survey: ImagingSurvey,
    split_galaxies: Table,
    grid: GridOptions,
    preprocessing: PreprocessOptions,
    arcs: ArcOptions,
) -> Table:
    """Real lenses that the detector never trained on, with the light of their arcs."""
    lenses = survey.lenses()
    seen = split_galaxies[split_galaxies["split"].isin(["train", "val"])]
    unseen = ~lenses["galaxy_id"].isin(seen["galaxy_id"])
    if len(lenses) and len(seen):
        unseen &= crossmatch(lenses["ra"], lenses["dec"], seen["ra"], seen["dec"], 1.0)[0] < 0
    test = lenses["galaxy_id"].isin(split_galaxies["galaxy_id"][split_galaxies["split"] == "test"])
    wanted = unseen & (lenses["is_anchor"].astype(bool) | test)
    galaxies = survey.galaxies()
    anchors = lenses[wanted][["lens_id", "galaxy_id", "tier", "theta_e_arcsec"]]
    anchors = anchors.merge(galaxies, on="galaxy_id", how="inner").sort_values("lens_id", ignore_index=True)
    columns = {
        "theta_e": anchors["theta_e_arcsec"].astype(float),
        "psf_fwhm": anchors["psfsize_r"].astype(float),
        "depth": mag_depth(anchors[grid.depth_column]),
    }
    anchors = anchors.assign(**columns, **host_light(anchors))
    sigma = sky_sigma_nmgy(_bands(anchors, "psfdepth"), _bands(anchors, "psfsize"))
    low, high = 50 - preprocessing.crop // 2, 50 + preprocessing.crop - preprocessing.crop // 2
    parts = []
    for start in range(0, max(len(anchors), 1), 250):
        rows = slice(start, start + 250)
        part = anchors[rows]
        size = (len(part), 3, preprocessing.crop, preprocessing.crop)
        image, invvar = np.zeros(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
        if len(part):
            batch = survey.cutouts(list(part["galaxy_id"].astype(str)))
            image, invvar = (plane[:, :, low:high, low:high] for plane in (batch.image, batch.invvar))
        parts.append(_arcs(image, invvar, part, part["theta_e"], part["psf_fwhm"], sigma[rows], arcs))
    keep = ["lens_id", "galaxy_id", "tier", "theta_e", "psf_fwhm", "depth", *HOST_AXES]
    return pd.concat([anchors[keep], pd.concat(parts, ignore_index=True)], axis=1)


def measure_composites(
    survey: ImagingSurvey,
    hosts: Table,
    conditions: Table,
    injections: Table,
    anchors: Table,
    grid: GridOptions,
    population: PopulationOptions,
    options: InjectionOptions,
    preprocessing: PreprocessOptions,
    gates: GateOptions,
    arcs: ArcOptions,
) -> tuple[Table, Arrays]:
    """Arc light of the injections near the anchors, and a sample of composites drawn by lot, both computed again."""
    campaign = Campaign(grid, population, options, preprocessing, hosts, conditions)
    of_host = hosts.drop_duplicates("galaxy_id").set_index("galaxy_id")
    of_injection = host_light(of_host.loc[injections["galaxy_id"]])
    near = injections.iloc[
        nearest_injections(
            anchors, injections.assign(**of_injection), n_per_anchor=options.composites_per_anchor, options=gates
        )
    ]
    sample = drawn_by_lot(injections, options.n_stamps, seed=options.seed + 2)
    ids = {"near": near["injection_id"].to_numpy(), "sample": sample["injection_id"].to_numpy()}
    wanted = injections[injections["injection_id"].isin(np.union1d(ids["near"], ids["sample"]))]
    tables, kept = [], []
    for rows, stamps, injected in recompute(campaign, survey, wanted):
        host = rows["host_row"].to_numpy()
        psfsize, sigma = stamps.psfsize_r[host], stamps.sigma_nmgy[host]
        measured = _arcs(
            injected.image, stamps.invvar[host], stamps.table.iloc[host], rows["theta_e"], psfsize, sigma, arcs
        )
        table = rows[["injection_id", "cell", "galaxy_id", "mode", "theta_e"]].reset_index(drop=True)
        table = table.assign(
            psf_fwhm=psfsize, depth=stamps.depth_r_mag[host], **host_light(of_host.loc[table["galaxy_id"]])
        )
        table["injected_snr"] = injected.measured["arc_snr"].to_numpy()
        tables.append(pd.concat([table, measured], axis=1)[rows["injection_id"].isin(ids["near"]).to_numpy()])
        pick = rows["injection_id"].isin(ids["sample"]).to_numpy()
        kept.append(
            {
                "injection_id": rows["injection_id"].to_numpy()[pick],
                "image": injected.image[pick],
                "host": stamps.image[host][pick],
                "invvar": stamps.invvar[host][pick],
                "sigma_nmgy": sigma[pick],
                "psf_fwhm": psfsize[pick],
                "theta_e": rows["theta_e"].to_numpy()[pick],
            }
        )
    stamps_kept = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    return pd.concat(tables, ignore_index=True), stamps_kept


def host_light(galaxies: Table) -> dict[str, np.ndarray]:
    """HOST_AXES of catalogue rows: r magnitude and g-r of the galaxy (for a lens, of its deflector) [AB]."""
    g, r = mag_ab(galaxies["flux_g"]), mag_ab(galaxies["flux_r"])
    return dict(zip(HOST_AXES, (r, g - r), strict=True))


def check_realism(
    anchors: Table,
    composites: Table,
    injections: Table,
    stamps: Arrays,
    hosts: Table,
    detector: Any,
    gates: GateOptions,
) -> tuple[Report, Any]:
    """The gates' report with its verdict, and the figure of what they compare."""
    from skytrace.reporting.selection_figures import realism_figure

    sample = comparison_sample(anchors, composites, options=gates)
    background = background_pixels(
        stamps["host"], stamps["image"], stamps["invvar"],
        theta_e_arcsec=stamps["theta_e"], fwhm_arcsec=moffat_fwhm_from_psfsize(stamps["psf_fwhm"]),
        sigma_pix_nmgy=stamps["sigma_nmgy"], options=gates,
    )  # fmt: skip
    parity = injections.drop_duplicates(["galaxy_id", "psf_index", "depth_index"])
    parity = parity.rename(columns={"zero_flux_score": "zero_score"})[["galaxy_id", "host_score", "zero_score"]]
    if "confuser_category" in hosts:
        category = hosts.drop_duplicates("galaxy_id").set_index("galaxy_id")["confuser_category"]
        parity = parity.assign(category=parity["galaxy_id"].map(category).to_numpy())
    report = realism_report(sample, background, parity, threshold=detector.threshold, options=gates)
    return report, realism_figure(report, sample.anchors, sample.injections)


def _arcs(
    image: np.ndarray, invvar: np.ndarray, table: Table, theta_e: Any, psfsize: Any, sigma: np.ndarray, arcs: ArcOptions
) -> Table:
    """``measure_arcs`` with the catalogue's host shape and the r-band PSF: the one call for both sides."""
    q, phi = host_light_shape(table)
    fwhm = moffat_fwhm_from_psfsize(np.asarray(psfsize, dtype=float))
    theta = np.asarray(theta_e, dtype=float)
    return measure_arcs(
        image, invvar, theta_e_arcsec=theta, fwhm_arcsec=fwhm, sigma_pix_nmgy=sigma, q=q, phi_rad=phi, options=arcs
    )


def _bands(table: Table, name: str) -> np.ndarray:
    return table[[f"{name}_{band}" for band in "grz"]].to_numpy(dtype=np.float64)


__all__ = ["check_realism", "measure_anchors", "measure_composites"]
