"""Glue of the realism gates: what was measured of real lenses and of composites is compared, judged and drawn."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.imaging.photometry import EXTINCTION_PER_EBV, flux_nmgy
from skytrace.imaging.psf import moffat_fwhm_from_psfsize
from skytrace.imaging.quality import QualityOptions
from skytrace.pipelines.injection_recovery.anchors import LAYER
from skytrace.selection.arcs import ArcOptions
from skytrace.selection.bound_history import registration
from skytrace.selection.injected_pixels import injected_pixels
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism import (
    BackgroundSample,
    BlindPanelOptions,
    ClassifierTestOptions,
    ComparisonSample,
    ComparisonSettings,
    GateOptions,
    LinearProbeOptions,
    MorphologyOptions,
    background_pixels,
    blind_panel_key,
    comparison_sample,
    gate_arc_colour,
    gate_arc_snr,
    gate_background,
    gate_blind_panel,
    gate_classifier,
    gate_linear_probe,
    gate_morphology,
    gate_parity,
    realism_report,
)
from skytrace.sky import SelectionOptions

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, np.ndarray]


def check_realism(
    anchors: Table,
    composites: Table,
    anchor_stamps: Arrays,
    composite_stamps: Arrays,
    injections: Table,
    injection_stamps: Arrays,
    hosts: Table,
    detector: Any,
    selection: SelectionOptions,
    injection: InjectionOptions,
    quality: QualityOptions,
    arcs: ArcOptions,
    gates: GateOptions,
    morphology: MorphologyOptions,
    classifier: ClassifierTestOptions,
    panel: BlindPanelOptions,
    probe: LinearProbeOptions,
) -> tuple[Report, Table]:
    """The eight gates' report with its verdict, and the key of the blind panel, which names lenses and injections."""
    sample = comparison_sample(anchors, composites, options=gates)
    key = blind_panel_key(sample, gates=gates, options=panel)
    results = [
        gate_arc_snr(sample, options=gates),
        gate_background(_background(injection_stamps, injection, gates), options=gates),
        gate_arc_colour(sample, options=gates),
        gate_morphology(sample, gates=gates, options=morphology),
        gate_classifier(sample, gates=gates, options=classifier),
        gate_blind_panel(key, options=panel),
        gate_parity(_parity(injections, hosts), threshold=detector.threshold, options=gates),
        gate_linear_probe(
            sample, _features(anchor_stamps, sample.anchors["lens_id"]),
            _features(composite_stamps, sample.injections["injection_id"]), gates=gates, options=probe,
        ),
    ]  # fmt: skip
    settings = ComparisonSettings(
        arcs, selection, quality, injection.psf_beta, injection.composites_per_anchor, injection.n_stamps,
        morphology, classifier, panel, probe,
    )  # fmt: skip
    report = realism_report(results, sample, threshold=detector.threshold, options=gates, settings=settings)
    report["registration"] = registration(report)
    report["injected_pixels"] = _pixels(injection_stamps, injections, hosts, injection, gates)
    return report, _named_key(key, sample)


def plot_gates(report: Report, anchors: Table, composites: Table, gates: GateOptions) -> tuple[Any, Any, Any]:
    """Figures of what gates 1 and 3 compare, of the arc shapes of gate 4, and of the classifiers of gates 5 and 8."""
    from skytrace.reporting.gate_figures import classifier_figure, morphology_figure
    from skytrace.reporting.selection_figures import realism_figure

    sample = comparison_sample(anchors, composites, options=gates)
    of_number = {gate["name"][0]: gate for gate in report["gates"]}
    return (
        realism_figure(report, sample.anchors, sample.injections),
        morphology_figure(of_number["4"], sample.anchors, sample.injections),
        classifier_figure(
            of_number["5"], of_number["8"], half_width_fwhm=report["settings"]["morphology"]["half_width_fwhm"]
        ),
    )


def plot_blind_panel(key: Table, anchor_stamps: Arrays, composite_stamps: Arrays, panel: BlindPanelOptions) -> Any:
    """The stamps of the panel, numbered in the order of its key, which lies in another file."""
    from skytrace.reporting.gate_figures import blind_panel_figure

    images = np.zeros((len(key), *anchor_stamps["image"].shape[1:]), dtype=np.float32)
    for is_anchor, stamps in ((True, anchor_stamps), (False, composite_stamps)):
        rows = np.flatnonzero(key["is_anchor"].to_numpy(dtype=bool) == is_anchor)
        images[rows] = stamps["image"][_places(stamps, key["name"].iloc[rows])]
    return blind_panel_figure(images, columns=panel.columns)


def _background(stamps: Arrays, injection: InjectionOptions, gates: GateOptions) -> BackgroundSample:
    """The margin about an arc counts half-maximum widths: ``fwhm_arcsec`` of the stamps, measured where the PSF is an
    image. Stamps without it were kept by an older release: theirs is that of the Moffat with the catalogue's psfsize.
    """
    return background_pixels(
        stamps["host"], stamps["image"], stamps["invvar"], theta_e_arcsec=stamps["theta_e"],
        fwhm_arcsec=_fwhm(stamps, injection), sigma_pix_nmgy=stamps["sigma_nmgy"], options=gates,
    )  # fmt: skip


def _fwhm(stamps: Arrays, injection: InjectionOptions) -> np.ndarray:
    fwhm = stamps.get("fwhm_arcsec")
    return moffat_fwhm_from_psfsize(stamps["psf_fwhm"], beta=injection.psf_beta) if fwhm is None else fwhm


def _pixels(stamps: Arrays, injections: Table, hosts: Table, injection: InjectionOptions, gates: GateOptions) -> Report:
    """``injected_pixels`` of the kept stamps; their light is the sources', magnified and dimmed by the host's dust."""
    rows = injections.set_index("injection_id").loc[stamps["injection_id"]]
    ebv = hosts.drop_duplicates("galaxy_id").set_index("galaxy_id")["ebv"].loc[rows["galaxy_id"]].to_numpy()
    flux = [
        rows["magnification"] * flux_nmgy(rows[f"source_mag_{band}"] + per_ebv * ebv)
        for band, per_ebv in EXTINCTION_PER_EBV.items()
    ]
    return injected_pixels(
        stamps["host"], stamps["image"], stamps["invvar"], np.stack(flux, axis=1),
        theta_e_arcsec=stamps["theta_e"], fwhm_arcsec=_fwhm(stamps, injection), options=gates,
    )  # fmt: skip


def _parity(injections: Table, hosts: Table) -> Table:
    """A row a host stamp: its score, that after an injection of no light, and the kind of look-alike where known."""
    parity = injections.drop_duplicates(["galaxy_id", "psf_index", "depth_index"])
    parity = parity.rename(columns={"zero_flux_score": "zero_score"})[["galaxy_id", "host_score", "zero_score"]]
    if "confuser_category" in hosts:
        category = hosts.drop_duplicates("galaxy_id").set_index("galaxy_id")["confuser_category"]
        parity = parity.assign(category=parity["galaxy_id"].map(category).to_numpy())
    return parity


def _features(stamps: Arrays, names: Any) -> Arrays:
    """Layer -> features of the named lenses or injections, in their order."""
    rows = _places(stamps, names)
    return {name.removeprefix(LAYER): values[rows] for name, values in stamps.items() if name.startswith(LAYER)}


def _places(stamps: Arrays, names: Any) -> np.ndarray:
    places = pd.Index(stamps["id"]).get_indexer(pd.Index(names).astype(str))
    if (places < 0).any():
        raise CatalogueError(f"{(places < 0).sum()} compared lenses or injections have no stamp: measure them again")
    return places


def _named_key(key: Table, sample: ComparisonSample) -> Table:
    """The panel's key with the lens_id or injection_id of each stamp in place of its row."""
    names = np.empty(len(key), dtype=object)
    for is_anchor, table, column in (
        (True, sample.anchors, "lens_id"), (False, sample.injections, "injection_id")
    ):  # fmt: skip
        rows = (key["is_anchor"] == is_anchor).to_numpy()
        names[rows] = table[column].astype(str).to_numpy()[key["row"].to_numpy()[rows]]
    return key.drop(columns="row").assign(name=names)


__all__ = ["check_realism", "plot_blind_panel", "plot_gates"]
