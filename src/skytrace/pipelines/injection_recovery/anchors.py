"""Real lenses and injected composites, measured by the same calls: arc light, arc shape, and what the detector sees."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.imaging import PreprocessOptions, preprocess
from skytrace.imaging.photometry import band_columns, mag_ab, mag_depth
from skytrace.imaging.preprocessing import preprocessing_checksum
from skytrace.imaging.psf import moffat_fwhm_from_psfsize, sky_sigma_nmgy, stamp_fwhm_arcsec
from skytrace.imaging.quality import QualityOptions
from skytrace.lensing.population import PopulationOptions, host_light_shape
from skytrace.pipelines.injection_recovery.nodes import cutout_flags
from skytrace.pipelines.injection_recovery.shards import Campaign, drawn_by_lot, recompute
from skytrace.selection.arcs import ArcOptions, measure_arcs
from skytrace.selection.grid import GridOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism import HOST_AXES, GateOptions, MorphologyOptions, arc_morphology, nearest_injections
from skytrace.sky import TIERS, SelectionOptions, crossmatch
from skytrace.sky.selection import selection_filters
from skytrace.surveys.interface import ImagingSurvey
from skytrace.surveys.selected import galaxies_of

Table = pd.DataFrame
Arrays = dict[str, np.ndarray]
#: A layer's features among the arrays of stamps have this before the layer's name.
LAYER = "layer:"


def measure_anchors(
    survey: ImagingSurvey,
    detector: Any,
    split_galaxies: Table,
    selection: SelectionOptions,
    grid: GridOptions,
    injection: InjectionOptions,
    preprocessing: PreprocessOptions,
    quality: QualityOptions,
    gates: GateOptions,
    arcs: ArcOptions,
    morphology: MorphologyOptions,
) -> tuple[Table, Arrays]:
    """Real lenses that the detector never trained on, with light and shape of their arcs; and the stamps of those with
    an observable arc (``_kept``).

    They pass what hosts pass, or ``rejected`` names why not ("selection:filter", the first that failed;
    "quality:reason", all of them, joined by ";"; "repeated:galaxy") and nothing of them is measured.
    """
    detector.check_preprocessing(preprocessing_checksum(preprocessing))
    anchors = _unseen_lenses(survey, split_galaxies)
    columns = {
        "theta_e": anchors["theta_e_arcsec"].astype(float),
        "psf_fwhm": anchors["psfsize_r"].astype(float),
        "depth": mag_depth(anchors[grid.depth_column]),
    }
    anchors = anchors.assign(**columns, **host_light(anchors), rejected=_not_selected(anchors, selection))
    parts, kept = [], []
    for start in range(0, max(len(anchors), 1), 250):
        part = anchors.iloc[start : start + 250]
        read = part[part["rejected"] == ""]
        image, invvar, stamps, flags, fwhm = _anchor_pixels(survey, read, preprocessing, quality, injection)
        sigma = sky_sigma_nmgy(band_columns(read, "psfdepth"), band_columns(read, "psfsize"))
        light = _arcs(image, invvar, read, read["theta_e"], fwhm, sigma, arcs, morphology)
        light = light.set_index(read.index)
        light[flags != ""] = np.nan
        seen = (light["arc_snr"] >= gates.observable_snr).to_numpy()
        kept.append(_kept(detector, read["lens_id"].to_numpy(), image, stamps, seen, injection))
        part = part.assign(rejected=part["rejected"].where(part["rejected"] != "", pd.Series(flags, read.index)))
        parts.append(part.join(light))
    table = pd.concat(parts, ignore_index=True)
    keep = ["lens_id", "galaxy_id", "tier", "rejected", "theta_e", "psf_fwhm", "depth", *HOST_AXES]
    return table[[*keep, *light.columns]], _joined(kept)


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
    rows = galaxies_of(survey, anchors["galaxy_id"].tolist())
    anchors = anchors.astype({"galaxy_id": rows["galaxy_id"].dtype})  # a table without rows has no type of its own
    return anchors.merge(rows, on="galaxy_id", how="inner").sort_values("lens_id", ignore_index=True)


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
    survey: ImagingSurvey,
    anchors: Table,
    preprocessing: PreprocessOptions,
    quality: QualityOptions,
    injection: InjectionOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image, invvar and the detector's stamps, (n, 3, crop, crop) about the cutouts' own centre, the reasons of
    quality control, (n,), and the r-band PSF's half-maximum width, (n,) [arcsec]. Stamps of what it rejects are zeros.
    """
    crop = preprocessing.crop
    if anchors.empty:
        nothing = np.zeros((0, 3, crop, crop), dtype=np.float32)
        return nothing, nothing, nothing, np.zeros(0, dtype=object), np.zeros(0)
    batch = survey.cutouts(list(anchors["galaxy_id"].astype(str)))
    flags = cutout_flags(batch, anchors, preprocessing, quality)["reasons"].astype(str)
    reasons = np.array(
        [";".join(f"quality:{name}" for name in joined.split(";")) if joined else "" for joined in flags], dtype=object
    )
    low = batch.image.shape[-1] // 2 - crop // 2
    image, invvar = (plane[:, :, low : low + crop, low : low + crop] for plane in (batch.image, batch.invvar))
    stamps, good = np.zeros(image.shape, dtype=np.float32), reasons == ""
    stamps[good] = preprocess(batch.image[good], batch.invvar[good], options=preprocessing)
    psfsize = band_columns(anchors, "psfsize")
    fwhm = moffat_fwhm_from_psfsize(psfsize[:, 1], beta=injection.psf_beta)  # of what is rejected: it may lack a PSF
    own = batch.psf.take(np.flatnonzero(good))
    fwhm[good] = stamp_fwhm_arcsec(own, psfsize[good], beta=injection.psf_beta)[:, 1]
    return image, invvar, stamps, reasons, fwhm


def measure_composites(
    survey: ImagingSurvey,
    detector: Any,
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
    morphology: MorphologyOptions,
) -> tuple[Table, Arrays, Arrays]:
    """Light and shape of the arcs of the injections near the anchors, a sample of composites drawn by lot, and the
    stamps of near ones with an observable arc (``_kept``), all computed again.
    """
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
    tables, drawn, kept = [], [], []
    for rows, stamps, injected in recompute(campaign, survey, wanted):
        host = rows["host_row"].to_numpy()
        psfsize, sigma = stamps.psfsize_r[host], stamps.sigma_nmgy[host]
        measured = _arcs(
            injected.image, stamps.invvar[host], stamps.table.iloc[host], rows["theta_e"],
            stamps.fwhm_r_arcsec[host], sigma, arcs, morphology,
        )  # fmt: skip
        table = rows[["injection_id", "cell", "galaxy_id", "mode", "theta_e"]].reset_index(drop=True)
        table = table.assign(
            psf_fwhm=psfsize, depth=stamps.depth_r_mag[host], **host_light(of_host.loc[table["galaxy_id"]])
        )
        table["injected_snr"] = injected.measured["arc_snr"].to_numpy()
        is_near = rows["injection_id"].isin(ids["near"]).to_numpy()
        tables.append(pd.concat([table, measured], axis=1)[is_near])
        both = np.minimum(measured["arc_snr"].to_numpy(), table["injected_snr"].to_numpy())
        seen = is_near & (both >= gates.observable_snr)  # False where one of them is NaN
        name = rows["injection_id"].to_numpy()
        kept.append(_kept(detector, name, injected.image, injected.stamps, seen, options))
        pick = rows["injection_id"].isin(ids["sample"]).to_numpy()
        drawn.append(
            {
                "injection_id": name[pick],
                "image": injected.image[pick],
                "host": stamps.image[host][pick],
                "invvar": stamps.invvar[host][pick],
                "sigma_nmgy": sigma[pick],
                "psf_fwhm": psfsize[pick],
                "fwhm_arcsec": stamps.fwhm_r_arcsec[host][pick],
                "theta_e": rows["theta_e"].to_numpy()[pick],
            }
        )
    return pd.concat(tables, ignore_index=True), _joined(drawn), _joined(kept)


def host_light(galaxies: Table) -> dict[str, np.ndarray]:
    """HOST_AXES of catalogue rows: r magnitude and g-r of the galaxy (for a lens, of its deflector) [AB]."""
    g, r = mag_ab(galaxies["flux_g"]), mag_ab(galaxies["flux_r"])
    return dict(zip(HOST_AXES, (r, g - r), strict=True))


def _kept(
    detector: Any, names: np.ndarray, image: np.ndarray, stamps: np.ndarray, seen: np.ndarray, options: InjectionOptions
) -> Arrays:
    """Of the rows ``seen``: id (lens_id or injection_id, as text), image [nanomaggies], and the detector's features of
    every layer, under LAYER + its name.
    """
    from skytrace.learning.features import detector_features, detector_layers

    features = detector_features(
        detector, stamps[seen], layers=detector_layers(detector), batch_size=options.score_batch, threads=1
    )
    layers = {f"{LAYER}{name}": values for name, values in features.items()}
    return {"id": names[seen].astype(str), "image": image[seen].astype(np.float32), **layers}


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _arcs(
    image: np.ndarray,
    invvar: np.ndarray,
    table: Table,
    theta_e: Any,
    fwhm_arcsec: np.ndarray,
    sigma: np.ndarray,
    arcs: ArcOptions,
    morphology: MorphologyOptions,
) -> Table:
    """``measure_arcs`` and ``arc_morphology`` with the catalogue's host shape and the r-band PSF's half-maximum
    width (n,): the one call for both sides.
    """
    q, phi = host_light_shape(table)
    known = {"theta_e_arcsec": np.asarray(theta_e, dtype=float), "fwhm_arcsec": fwhm_arcsec, "q": q, "phi_rad": phi}
    light = measure_arcs(image, invvar, sigma_pix_nmgy=sigma, **known, options=arcs)
    return pd.concat([light, arc_morphology(image, invvar, **known, arcs=arcs, options=morphology)], axis=1)


__all__ = ["LAYER", "host_light", "measure_anchors", "measure_composites"]
