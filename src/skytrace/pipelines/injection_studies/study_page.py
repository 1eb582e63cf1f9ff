"""Glue of the studies' page: every detector's surface to explore, and what the published number depends on."""

from typing import Any

import pandas as pd

from skytrace.pipelines.injection_studies.options import StudyOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["write_studies_page"]

#: Columns of the page's tables; the files hold all of them.
_SUMMARY = (
    "alternative", "axis", "kind", "against", "verdict", "max_shift", "max_low95", "max_high95", "p_holm",
    "median_abs_shift", "ratio",
)  # fmt: skip
_PAIRED = (
    "n", "n_hosts", "n_base_only", "n_ablation_only", "difference", "low68", "high68", "low95", "high95",
    "p_mcnemar_holm", "p_hosts_holm",
)  # fmt: skip
_DETECTORS = (
    "n", "n_hosts", "difference", "low68", "high68", "low95", "high95", "p_bootstrap_holm", "low95_fixed",
    "high95_fixed",
)  # fmt: skip


def write_studies_page(
    surfaces: Table,
    margins: Table,
    detector_pairs: Table,
    detector_report: Report,
    shifts: Table,
    summary: Table,
    sensitivity: Report,
    ablations: Table,
    realism: Report,
    studies: StudyOptions,
) -> tuple[Any, Any, Any, str]:
    """Figures of the sensitivity, the ablations and the detectors, and one HTML file that works without a network."""
    from skytrace.reporting.page import selection_function_page
    from skytrace.reporting.study_figures import ablation_figure, detectors_figure, sensitivity_figure
    from skytrace.reporting.style import figure_png

    figures = {
        "sensitivity": sensitivity_figure(shifts, summary),
        "ablations": ablation_figure(ablations, by_radius=studies.paired),
        "detectors": detectors_figure(margins, detector_pairs),
    }
    pictures = {name: figure_png(figure) for name, figure in figures.items()}
    products = [
        ("What the number depends on", " ".join([sensitivity["sentence"], *sensitivity["sentences_of_other_kinds"]
         .values()]), pictures["sensitivity"]),
        ("Largest shift by alternative and axis", "Intervals are simultaneous over the bins of an axis, p_holm over "
         "alternatives and axes too. ratio: median |shift|, noise taken off, over the published surface's median 68 % "
         "half-width. The verdict on the priors is that of the kind prior alone.", summary[list(_SUMMARY)]),
        ("Paired ablations", "The same injections, with and without.", pictures["ablations"]),
        ("Paired ablations, over all", "Holm's p over the alternatives.", _over_all(ablations, "alternative", _PAIRED)),
        ("Detectors", detector_report["meaning"], pictures["detectors"]),
        ("Detectors, paired with the default", " ".join([*detector_report["sentences"].values(), "Holm's p over the "
         "detectors; _fixed: as if the thresholds had no error."]), _over_all(detector_pairs, "detector", _DETECTORS)),
    ]  # fmt: skip
    first = surfaces["detector"] == surfaces["detector"].iloc[0]
    facts = {
        "Detectors": ", ".join(dict.fromkeys(surfaces["detector"])) + "; each at its own threshold",
        "Thresholds": str(detector_report["detectors"][surfaces["detector"].iloc[0]]["threshold"]["rule"]),
        "Injections": f"{int(surfaces.loc[first, 'n'].sum()):,}: the first {studies.injections_per_cell} of every cell "
        f"of the {sensitivity['injections_published']:,} published",
        "Priors": str(sensitivity["verdict"]),
    }
    files = {"surfaces": surfaces, "sensitivity": summary, "ablations": ablations, "detector_pairs": detector_pairs}
    limits = [*realism.get("limits", ()), *sensitivity["limits"], *detector_report["limits"]]
    page = selection_function_page(
        surfaces.assign(threshold_default=surfaces["threshold"]),
        {**realism, "limits": list(dict.fromkeys(limits))},
        facts=facts,
        downloads={f"{name}.csv": table.to_csv(index=False).encode() for name, table in files.items()},
        title="Selection function under other choices, and of other detectors",
        marginals=margins,
        products=products,
    )
    return *figures.values(), page


def _over_all(table: Table, name: str, columns: tuple[str, ...]) -> Table:
    return table.loc[table["bin"] == "all", [name, *columns]].reset_index(drop=True)
