"""Glue of the realism gates: real lenses and injected composites measured by the same call, then compared."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.imaging import PreprocessOptions
from skytrace.imaging.photometry import mag_ab, mag_depth
from skytrace.imaging.psf import moffat_fwhm_from_psfsize, sky_sigma_nmgy
from skytrace.imaging.quality import QualityOptions
from skytrace.lensing.population import PopulationOptions, host_light_shape
from skytrace.pipelines.injection_recovery.nodes import cutout_flags
from skytrace.pipelines.injection_recovery.shards import Campaign, drawn_by_lot, recompute
from skytrace.selection.arcs import ArcOptions, measure_arcs
from skytrace.selection.grid import GridOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism import (
    HOST_AXES,
    ComparisonSettings,
    GateOptions,
    background_pixels,
    comparison_sample,
    nearest_injections,
    realism_report,
)
from skytrace.sky import TIERS, SelectionOptions, crossmatch
from skytrace.sky.selection import selection_filters
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, np.ndarray]


def measure_anchors(
    survey: ImagingSurvey,
    split_galaxies: Table,
    selection: SelectionOptions,
    grid: GridOptions,
    injection: InjectionOptions,
    preprocessing: PreprocessOptions,
    quality: QualityOptions,
    arcs: ArcOptions,
) -> Table:
    """Real lenses that the detector never trained on, with the light of their arcs.

    They pass what hosts pass, or ``rejected`` names why not ("selection:filter", the first that failed;
    "quality:reason", all of them, joined by ";"; "repeated:galaxy") and nothing of them is measured.
    """
    anchors = _unseen_lenses(survey, split_galaxies)
    columns = {
        "theta_e": anchors["theta_e_arcsec"].astype(float),
        "psf_fwhm": anchors["psfsize_r"].astype(float),
        "depth": mag_depth(anchors[grid.depth_column]),
    }
    anchors = anchors.assign(**columns, **host_light(anchors), rejected=_not_selected(anchors, selection))
    parts = []
    for start in range(0, max(len(anchors), 1), 250):
        part = anchors.iloc[start : start + 250]
        read = part[part["rejected"] == ""]
        image, invvar, flags = _anchor_pixels(survey, read, preprocessing, quality)
        sigma = sky_sigma_nmgy(_bands(read, "psfdepth"), _bands(read, "psfsize"))
        light = _arcs(image, invvar, read, read["theta_e"], read["psf_fwhm"], sigma, arcs, injection.psf_beta)
        light = light.set_index(read.index)
        light[flags != ""] = np.nan
        part = part.assign(rejected=part["rejected"].where(part["rejected"] != "", pd.Series(flags, read.index)))
        parts.append(part.join(light))
    table = pd.concat(parts, ignore_index=True)
    keep = ["lens_id", "galaxy_id", "tier", "rejected", "theta_e", "psf_fwhm", "depth", *HOST_AXES]
    return table[[*keep, *light.columns]]


def _unseen_lenses(survey: ImagingSurvey, split_galaxies: Table) -> Table:
    """Lenses that are anchors or in the test split, and neither by id nor by place in training or validation."""
    lenses = survey.lenses()
    seen = split_galaxies[split_galaxies["split"].isin(["train", "val"])]
    unseen = ~lenses["galaxy_id"].isin(seen["galaxy_id"])
    if len(lenses) and len(seen):
        unseen &= crossmatch(lenses["ra"], lenses["dec"], seen["ra"], seen["dec"], 1.0)[0] < 0
    test = lenses["galaxy_id"].isin(split_galaxies["galaxy_id"][split_galaxies["split"] == "test"])
    wanted = unseen & (lenses["is_anchor"].astype(bool) | test)
    anchors = lenses[wanted][["lens_id", "galaxy_id", "tier", "theta_e_arcsec"]]
    return anchors.merge(survey.galaxies(), on="galaxy_id", how="inner").sort_values("lens_id", ignore_index=True)


def _not_selected(anchors: Table, selection: SelectionOptions) -> np.ndarray:
    """(n,) the first filter of the hosts' selection that a lens fails, "" for none; of two at one galaxy the better
    tier stays. The exclusion around lenses spares them, as it does in ``select_galaxies``.
    """
    lenses = anchors.assign(label=1, type=anchors["type"].astype(str).str.strip())
    rank = lenses["tier"].map({tier: place for place, tier in enumerate(TIERS)})
    best = lenses.assign(rank=rank).sort_values(["rank", "lens_id"], kind="stable")
    repeated = best["galaxy_id"].duplicated().reindex(lenses.index).to_numpy(dtype=bool)
    reasons = np.where(repeated, "repeated:galaxy", "").astype(object)
    for name, keep, _ in selection_filters(selection, lenses):
        reasons[(reasons == "") & ~np.asarray(keep(lenses), dtype=bool)] = f"selection:{name}"
    return reasons


def _anchor_pixels(
    survey: ImagingSurvey, anchors: Table, preprocessing: PreprocessOptions, quality: QualityOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and invvar, (n, 3, crop, crop) about the cutouts' own centre, and the reasons of quality control, (n,)."""
    crop = preprocessing.crop
    if anchors.empty:
        nothing = np.zeros((0, 3, crop, crop), dtype=np.float32)
        return nothing, nothing, np.zeros(0, dtype=object)
    batch = survey.cutouts(list(anchors["galaxy_id"].astype(str)))
    flags = cutout_flags(batch, anchors, preprocessing, quality)["reasons"].astype(str)
    reasons = [";".join(f"quality:{name}" for name in joined.split(";")) if joined else "" for joined in flags]
    low = batch.image.shape[-1] // 2 - crop // 2
    image, invvar = (plane[:, :, low : low + crop, low : low + crop] for plane in (batch.image, batch.invvar))
    return image, invvar, np.array(reasons, dtype=object)


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
            injected.image, stamps.invvar[host], stamps.table.iloc[host], rows["theta_e"], psfsize, sigma, arcs,
            options.psf_beta,
        )  # fmt: skip
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
    selection: SelectionOptions,
    injection: InjectionOptions,
    quality: QualityOptions,
    arcs: ArcOptions,
    gates: GateOptions,
) -> tuple[Report, Any]:
    """The gates' report with its verdict, and the figure of what they compare."""
    from skytrace.reporting.selection_figures import realism_figure

    sample = comparison_sample(anchors, composites, options=gates)
    background = background_pixels(
        stamps["host"], stamps["image"], stamps["invvar"],
        theta_e_arcsec=stamps["theta_e"],
        fwhm_arcsec=moffat_fwhm_from_psfsize(stamps["psf_fwhm"], beta=injection.psf_beta),
        sigma_pix_nmgy=stamps["sigma_nmgy"], options=gates,
    )  # fmt: skip
    parity = injections.drop_duplicates(["galaxy_id", "psf_index", "depth_index"])
    parity = parity.rename(columns={"zero_flux_score": "zero_score"})[["galaxy_id", "host_score", "zero_score"]]
    if "confuser_category" in hosts:
        category = hosts.drop_duplicates("galaxy_id").set_index("galaxy_id")["confuser_category"]
        parity = parity.assign(category=parity["galaxy_id"].map(category).to_numpy())
    settings = ComparisonSettings(
        arcs, selection, quality, injection.psf_beta, injection.composites_per_anchor, injection.n_stamps
    )
    report = realism_report(sample, background, parity, threshold=detector.threshold, options=gates, settings=settings)
    return report, realism_figure(report, sample.anchors, sample.injections)


def _arcs(
    image: np.ndarray,
    invvar: np.ndarray,
    table: Table,
    theta_e: Any,
    psfsize: Any,
    sigma: np.ndarray,
    arcs: ArcOptions,
    beta: float,
) -> Table:
    """``measure_arcs`` with the catalogue's host shape and the r-band PSF: the one call for both sides."""
    q, phi = host_light_shape(table)
    fwhm = moffat_fwhm_from_psfsize(np.asarray(psfsize, dtype=float), beta=beta)
    theta = np.asarray(theta_e, dtype=float)
    return measure_arcs(
        image, invvar, theta_e_arcsec=theta, fwhm_arcsec=fwhm, sigma_pix_nmgy=sigma, q=q, phi_rad=phi, options=arcs
    )


def _bands(table: Table, name: str) -> np.ndarray:
    return table[[f"{name}_{band}" for band in "grz"]].to_numpy(dtype=np.float64)


__all__ = ["check_realism", "measure_anchors", "measure_composites"]
