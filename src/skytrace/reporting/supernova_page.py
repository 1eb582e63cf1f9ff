"""The comparison of distance laws as one page: what was measured, what it says, what it does not show.

Every number of a sentence is read from a metrics file and listed with its key, every table's caption names its file;
every sentence that judges is chosen by the numbers.
No network and no script: the template of the evaluation page, filled with other sections.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from skytrace.reporting.cited_numbers import CitedNumbers
from skytrace.reporting.evaluation_parts import Section
from skytrace.reporting.html_templates import data_uri, html_template
from skytrace.reporting.hubble_figures import LAW_LABELS
from skytrace.reporting.supernova_data_sections import data_sections
from skytrace.reporting.supernova_outlier_sections import outlier_sections
from skytrace.reporting.supernova_sections import (
    inference_sections,
    limits_section,
    recomputation_section,
    verdict_section,
)
from skytrace.reporting.supernova_words import note_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

__all__ = ["FIGURE_CAPTIONS", "supernova_page"]

#: Figure name -> what it shows.
FIGURE_CAPTIONS = {
    "hubble_diagram": "Distance moduli, and the laws fitted by least squares to the SNe that the gate does not call "
    "outliers, the held-out ones included, the "
    "intrinsic scatter of flat ΛCDM's posterior added to the errors; below, everything minus flat ΛCDM: "
    "points are means of bins of equal number, lines the rivals where they are inside the panel.",
    "loo_comparison": "elpd by PSIS-LOO below the best law with the same noise, with the standard error of the "
    "difference; logarithmic beyond 10.",
    "basis": "The three terms and their orthogonal form; condition numbers; correlations of the coefficients as "
    "written and of the orthogonal ones.",
    "corner_flat_lcdm": "Posterior of flat ΛCDM: contours hold 68 and 95 % of the draws; dashed: 16, 50 and 84 % of "
    "them.",
    "corner_qfd_anchored": "Posterior of the anchored three terms, in the orthogonal coefficients: contours hold 68 "
    "and 95 % of the draws; dashed: 16, 50 and 84 % of them.",
    "trace_rank": "Draws of each chain of the anchored three terms, and their ranks among all chains; grey: 95 % of a "
    "flat histogram.",
    "posterior_predictive": "Residuals of SNe predicted unseen, and what the posterior's noise gives for them; right: "
    "their scatter by size of the error.",
    "prior_predictive": "Distance moduli that the priors alone allow, noise included, by law, minus flat ΛCDM of the "
    "posterior's mean: 68 and 95 %; points: the data, which the priors have not seen. Spikes, where there are "
    "any, are single SNe whose error is far above 1 mag: the noise includes it.",
    "light_curves": "Light curves with the fitted model, by chi2/ndof (5, 25, 50, 75, 95, 99 %) "
    "among unflagged fits, and the two of largest chi2/ndof.",
    "outlier_gallery": "Light curves of the SNe that the population explains least (largest −elpd), of those that have "
    "a light curve here; p: probability of the outlying component.",
    "outlier_roc": "How well each score finds outliers: by what is known of this sky, and by injection, each "
    "against all other SNe.",
}
_CORNERS = ("corner_flat_lcdm", "corner_qfd_anchored")
#: survey of validation_report.json -> how the page names it.
_SURVEYS = {"tables": "Published tables of light curves and distances", "mock_supernovae": "Simulated supernovae"}
_PIXEL_RATIO = 1.75  # pixels of our figures to one of a page: drawn at 200 dots an inch


def supernova_page(
    reports: Mapping[str, Any],
    *,
    summary: pd.DataFrame | None = None,
    figures: Mapping[str, bytes] | None = None,
    ledger: pd.DataFrame | None = None,
    notes: Mapping[str, str] | None = None,
    title: str = "Supernovae and distance laws",
) -> str:
    """HTML of the comparison.

    reports: file name -> its content: validation_report.json, fit_report.json, cosmology.json, sampler.json,
    comparison.json, pairs.json, folds.json, seeds.json, scatter.json, outliers.json, outlier_injection.json,
    predictive.json, truth_report.json, recomputation.json. summary: posterior_summary.csv. figures:
    name (FIGURE_CAPTIONS) -> PNG bytes. ledger: quality_ledger.csv. notes: name -> what to add to that figure's
    caption. Raises CatalogueError where a report lacks a number that the page quotes.
    """
    numbers = CitedNumbers(reports)
    sections: list[Section] = [
        verdict_section(reports, numbers),
        *data_sections(reports, numbers, ledger),
        *inference_sections(reports, numbers, summary),
        *outlier_sections(reports, numbers),
        limits_section(reports, numbers),
        recomputation_section(numbers),
    ]
    added = dict(notes or {})
    if reports["truth_report.json"]["known"]:
        added |= dict.fromkeys(_CORNERS, "Full lines: what the sky was made with.")
    pictures = {name: _picture(png, _caption(name, added)) for name, png in (figures or {}).items()}
    views = [
        {**vars(section), "pictures": [pictures[name] for name in section.pictures if name in pictures]}
        for section in sections
    ]
    survey = reports["validation_report.json"]
    law = LAW_LABELS[reports["pairs.json"]["reference"]]
    subtitle = f"{_SURVEYS.get(survey['survey'], survey['survey'])}. The laws are fitted to the distances of the table "
    subtitle += f"“{reports['pairs.json']['table']}” and each is compared with {law}. "
    note = note_words(survey)
    subtitle += note and f"{note[0].upper()}{note[1:]}."
    return html_template("evaluation.html.j2").render(title=title, subtitle=subtitle, sections=views)


def _caption(name: str, added: Mapping[str, str]) -> str:
    return f"{FIGURE_CAPTIONS[name]} {added.get(name, '')}".rstrip()


def _picture(png: bytes, caption: str) -> dict[str, Any]:
    (width,) = struct.unpack(">I", png[16:20])
    return {
        "source": data_uri("image/png", png), "width": round(width / _PIXEL_RATIO), "caption": caption,
        "alternative": caption,
    }  # fmt: skip
