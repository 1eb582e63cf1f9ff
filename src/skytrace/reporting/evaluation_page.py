"""The evaluation of a detector as one page for a referee: no network, no script, one HTML document that prints.

Every section says what was measured, with intervals, or that it was not measured and why: nothing is left out silently.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skytrace.errors import OptionError
from skytrace.reporting.evaluation_audit import audit_sections, checks_section
from skytrace.reporting.evaluation_parts import Parts, Section
from skytrace.reporting.evaluation_performance import performance_sections
from skytrace.reporting.evaluation_provenance import provenance_sections
from skytrace.reporting.evaluation_shapes import audit_entries
from skytrace.reporting.html_templates import data_uri, html_template

if TYPE_CHECKING:
    import pandas as pd

    from skytrace.reporting.galleries import ErrorGallery

__all__ = ["FIGURE_CAPTIONS", "evaluation_page"]

#: Figure name -> what it shows; the names that ``figures`` may have.
FIGURE_CAPTIONS = {
    "roc": "Recall against false-positive rate. Grey: fewer than five false positives, so the curve is not resolved.",
    "precision_recall": "Precision against recall at the sample's share of lenses, which is not the sky's.",
    "reliability": "Share of lenses against mean score as trained (before calibration), with 68 % Jeffreys intervals.",
    "calibration": "Share of lenses against mean probability before and after calibration, 68 % Jeffreys intervals.",
    "recall_by_stratum": "Recall at the threshold in the bins of every stratum; thick 68 %, thin 95 %.",
    "confuser_fpr": "False-positive rate by primary confuser category; a category without a dot has no false positive.",
    "shortcuts": "AUC of single features: circles green, triangles yellow, squares red; dashed 0.6, solid 0.7.",
    "region_gates": "AUC of classifiers of part of a stamp or the catalogue; the detector with and without its core.",
    "diversity": "Pairwise correlation of the members' scores.",
    "risk_coverage": "Risk among the stamps decided on, against the share of stamps decided on.",
    "topk_composition": "Expected share of lenses and of each confuser among the K highest scores, by scenario.",
    "detectability": "The observable share of lenses, the recall of the observable ones, and their product.",
}
_NOT_DRAWN = "Its figures were not drawn in this run."
#: Pixels of our figures to one pixel of a page: they are drawn at 200 dots an inch.
_PIXEL_RATIO = 1.75


def evaluation_page(
    evaluation: Mapping[str, Any],
    *,
    card: Mapping[str, Any],
    figures: Mapping[str, bytes] | None = None,
    galleries: Sequence[ErrorGallery] = (),
    strata: Mapping[str, Any] | None = None,
    top_k: Mapping[str, Any] | None = None,
    audit: Mapping[str, Any] | None = None,
    ensemble: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    parity: Mapping[str, Any] | None = None,
    detectability: Mapping[str, Any] | None = None,
    split_report: Mapping[str, Any] | None = None,
    ledgers: Mapping[str, pd.DataFrame] | None = None,
    not_measured: Mapping[str, str] | None = None,
    title: str = "Evaluation of the lens detector",
) -> str:
    """HTML of the evaluation. All text is escaped; a part that is None gets a section that says so.

    A table below is a DataFrame, a list of records or columns; intervals are low68, high68, low95, high95 (or low_68,
    ...); a *record* is {value, low_68, high_68, low_95, high_95} or {value: None, reason}. Entries beyond those named
    are shown as plain tables.

    evaluation: of ``learning.evaluate_scores`` or the node ``evaluate_detector``. card: the detector's.
    figures: name (FIGURE_CAPTIONS) -> PNG bytes. galleries: of ``reporting.galleries``.
    strata: by_stratum (of ``learning.evaluate_strata``), gap (of ``validation_test_gap``).
    top_k: of ``learning.top_composition``.
    audit: of ``audit.audit_report``; or its entries: columns (names), shortcuts (table of ``audit.shortcut_aucs``),
    shortcut_summary, gates (table of ``audit.compare_gates``), verdicts, does_not_show.
    ensemble: comparison, diversity, selective (of ``learning.compare_scores``, ``score_diversity``,
    ``selective_summary``); or correlation (square), risk_coverage (table: coverage, risk, curve).
    calibration: all, top (before, after, limit, noise_95) of ``learning.calibration_verdict``, and how it was chosen.
    parity: verdict (of ``audit.parity_verdict``) and both tests. detectability: factors (of
    ``audit.recall_factors``, or those by group), and any records and tables.
    split_report: of the split's verification.
    ledgers: heading -> table. not_measured: part's name -> why it was not run.
    Raises OptionError on a figure of an unknown name, CatalogueError on a table without a needed column.
    """
    unknown = sorted(set(figures or {}) - set(FIGURE_CAPTIONS))
    if unknown:
        raise OptionError(f"figures: {unknown[0]!r} is not one of {', '.join(FIGURE_CAPTIONS)}")
    parts = Parts(
        evaluation, card, strata, top_k, audit_entries(audit or {}) or None, ensemble,
        calibration, parity, detectability, split_report,
        dict(ledgers or {}), galleries, dict(not_measured or {}),
    )  # fmt: skip
    sections = (
        checks_section(parts), *performance_sections(parts), *audit_sections(parts), *provenance_sections(parts)
    )  # fmt: skip
    pictures = {name: _picture(name, png) for name, png in (figures or {}).items()}
    views = [_view(section, pictures) for section in sections]
    return html_template("evaluation.html.j2").render(
        title=title, subtitle=_subtitle(evaluation, card), sections=views
    )  # fmt: skip


def _view(section: Section, pictures: Mapping[str, Any]) -> dict[str, Any]:
    """A section with its pictures; one that would be empty without them says so."""
    shown = [pictures[name] for name in section.pictures if name in pictures]
    empty = not (shown or section.absence or section.sentences or section.items or section.tables or section.galleries)
    return {**vars(section), "pictures": shown, "absence": _NOT_DRAWN if empty else section.absence}


def _picture(name: str, png: bytes) -> dict[str, Any]:
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise OptionError(f"figures: {name!r} is not a PNG")
    (width,) = struct.unpack(">I", png[16:20])
    caption = FIGURE_CAPTIONS[name]
    return {
        "source": data_uri("image/png", png),
        "width": round(width / _PIXEL_RATIO),
        "caption": caption,
        "alternative": caption,
    }


def _subtitle(evaluation: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    sample = evaluation["sample"]
    what = str(card.get("architecture", "detector"))
    split = evaluation.get("split", "test")
    return f"{what}, {split} split: {sample['lenses']:,} lenses and {sample['galaxies']:,} galaxies"
