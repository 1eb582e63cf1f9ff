"""Glue of the page that a reader opens first: the surface to explore, the gates, what else was measured of it."""

from typing import Any

import numpy as np
import pandas as pd

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
) -> str:
    """The explorer: one HTML file that works without a network."""
    from skytrace.reporting.page import selection_function_page
    from skytrace.reporting.population_words import population_words

    first = selection_function.iloc[0]
    facts = {
        "Detector": str(first["detector"]),
        "Hosts": f"{host_report['hosts_used']:,} galaxies of {host_report['survey']} ({host_report['host_splits']})",
        **({"Sky": str(host_report["note"])} if host_report.get("note") else {}),
        "Injections": f"{len(injections):,}",
        "Without any injection": _floor_words(injections, float(first["threshold_default"])),
        "Einstein radius": host_report["axes"]["theta_e"],
        "PSF size": host_report["axes"]["psf_fwhm"],
        "Depth": host_report["axes"]["depth"],
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
        downloads={
            "selection_function.csv": selection_function.to_csv(index=False).encode(),
            "marginals.csv": marginals.to_csv(index=False).encode(),
            "model_card.html": card.encode(),
        },
        marginals=marginals,
        comparison=compared,
        population=population_words(SelectionFunction.from_table(selection_function).metadata),
    )


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
