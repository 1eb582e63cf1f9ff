"""Glue of the page that a reader opens first: the surface to explore, the gates, what else was measured of it."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd

from skytrace.pipelines.injection_recovery.gates import plot_gates
from skytrace.selection.bound_history import bound_words
from skytrace.selection.completeness import HOST_COLUMNS
from skytrace.selection.realism import GateOptions
from skytrace.selection.selection_function import SelectionFunction
from skytrace.selection.trends import TRENDS

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, np.ndarray]

__all__ = ["summarise_products", "write_page"]

_GALLERY = 30


def summarise_products(
    two_stage: Report, stability: Report, model: Report, failures: Report, published: Report
) -> Report:
    """What each product says of the surface, in its own sentences, by the heading that the page gives it."""
    return {
        "In the data, then found": [two_stage["sentence"]],
        "Across the sky": [stability["sentence"]],
        "Model of single injections": [model["sentence"]],
        "Why injections are missed": [_cause_words(failures), *failures["sentences"]],
        "The published DR10 surface": list(published["sentences"]),
    }


def _cause_words(failures: Report) -> str:
    """The shares of the causes; None stands for a share that the sample does not tell."""
    known = [row for row in failures["causes"] if row["share"] is not None]
    if not known:
        return (
            "Shares of the causes are not measured: no injection was missed, or a cell's misses are not in the sample."
        )
    words = ", ".join(f"{row['cause'].replace('_', ' ')} {row['share']:.0%}" for row in known)
    left = "" if len(known) == len(failures["causes"]) else "; the shares of the other causes are not measured"
    return f"Of the missed: {words}{left}."


def write_page(
    selection_function: Table,
    realism: Report,
    injections: Table,
    stamps: Arrays,
    host_report: Report,
    trends: Report,
    marginals: Table,
    published_cells: Table,
    published: Report,
    failure_stamps: Arrays,
    failures: Report,
    summary: Report,
    card: str,
    anchors: Table,
    composites: Table,
    gates: GateOptions,
) -> str:
    """The explorer: one HTML file that works without a network."""
    from skytrace.reporting.page import selection_function_page
    from skytrace.reporting.population_words import population_words

    first = selection_function.iloc[0]
    metadata = SelectionFunction.from_table(selection_function).metadata
    facts = {
        "Detector": str(first["detector"]),
        "Hosts": f"{host_report['hosts_used']:,} galaxies of {host_report['survey']} ({host_report['host_splits']})",
        **({"Sky": str(host_report["note"])} if host_report.get("note") else {}),
        "Injections": f"{len(injections):,}",
        "Without any injection": _floor_words(injections, float(first["threshold_default"])),
        "Einstein radius": host_report["axes"]["theta_e"],
        "PSF size": host_report["axes"]["psf_fwhm"],
        "Depth": host_report["axes"]["depth"],
        **({"Injected pixels": realism["injected_pixels"]["sentence"]} if "injected_pixels" in realism else {}),
        **{f"Trend with {TRENDS[axis]}": str(trend["sentence"]) for axis, trend in trends.items()},
        **{heading: " ".join(sentences) for heading, sentences in summary.items()},
    }
    compared = None
    if len(published_cells):
        compared = published_cells.copy()
        compared.attrs = {f"threshold_{side}": value for side, value in published["thresholds"].items()}
    return selection_function_page(
        selection_function,
        realism,
        galleries=[*_score_galleries(injections, stamps), *_failure_galleries(failure_stamps, failures)],
        facts=facts,
        downloads=_downloads(selection_function, marginals, realism, card),
        marginals=marginals,
        comparison=compared,
        population=population_words(metadata),
        gate_notes=bound_words(realism, metadata.get("population")),
        gate_figures=_gate_figures(realism, anchors, composites, gates),
    )


def _downloads(selection_function: Table, marginals: Table, realism: Report, card: str) -> dict[str, bytes]:
    return {
        "selection_function.csv": selection_function.drop(columns=list(HOST_COLUMNS), errors="ignore")
        .to_csv(index=False)
        .encode(),
        "selection_function.parquet": _parquet(selection_function),
        "marginals.csv": marginals.to_csv(index=False).encode(),
        "realism_report.json": json.dumps(realism, indent=2, allow_nan=False).encode(),
        "model_card.html": card.encode(),
    }


def _parquet(selection_function: Table) -> bytes:
    """The file that forward correction reads: with the tallies of hosts and all metadata, as ``to_parquet`` writes."""
    file = io.BytesIO()
    SelectionFunction.from_table(selection_function).to_table().to_parquet(file, compression="zstd", index=False)
    return file.getvalue()


def _gate_figures(realism: Report, anchors: Table, composites: Table, gates: GateOptions) -> list[tuple[str, bytes]]:
    from skytrace.reporting.style import figure_png

    captions = (
        "Gates 1 and 3: arc S/N and arc colours of the known lenses and of injections like them",
        "Gate 4: surface brightness, radius and asymmetry of the arcs",
        "Gates 5 and 8: what the classifiers tell apart, and by what",
    )
    figures = plot_gates(realism, anchors, composites, gates)
    return [(caption, figure_png(figure)) for caption, figure in zip(captions, figures, strict=True)]


def _score_galleries(injections: Table, stamps: Arrays) -> list[tuple[str, str, bytes]]:
    from skytrace.reporting.stamps import contact_sheet_png

    scores = injections.set_index("injection_id")["score"].loc[stamps["injection_id"]].to_numpy()
    order = np.argsort(-scores, kind="stable")
    n = min(_GALLERY, len(order))
    best, worst = (contact_sheet_png(stamps["image"][rows]) for rows in (order[:n], order[::-1][:n]))
    return [
        ("Best-scored injections", f"{n} of {len(order)} kept composites", best),
        ("Worst-scored injections", f"{n} of {len(order)}", worst),
    ]


def _failure_galleries(stamps: Arrays, report: Report) -> list[tuple[str, str, bytes]]:
    """A contact sheet of every cause of failure that occurs, with its share of the missed injections."""
    from skytrace.reporting.stamps import contact_sheet_png

    galleries = []
    for row in report["causes"]:
        chosen = stamps["image"][stamps["cause"] == row["cause"]]
        if len(chosen):
            share = "" if row["share"] is None else f"{row['share']:.1%} of the missed injections; "
            words = f"{row['meaning']}: {share}{len(chosen)} of them by lot"
            galleries.append((f"Missed: {row['cause'].replace('_', ' ')}", words, contact_sheet_png(chosen)))
    return galleries


def _floor_words(injections: Table, threshold: float) -> str:
    before, after = (injections[name].to_numpy() >= threshold for name in ("host_score", "score"))
    of_detections = f", which are {before[after].mean():.1%} of the detections" if after.any() else ""
    return (
        f"{before.mean():.2%} of the injections are in hosts that pass the threshold as they are{of_detections}: "
        "completeness counts them, as a search would"
    )
