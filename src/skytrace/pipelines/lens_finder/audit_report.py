"""Glue of lens_finder's last steps: the figures of the audit, and the page that a referee reads."""

from typing import Any

import pandas as pd

from skytrace.learning import CalibrationOptions, Detector
from skytrace.learning.samples import rows_of, stamps_at
from skytrace.pipelines.lens_finder.options import PartsOptions
from skytrace.surveys.interface import ImagingSurvey

Table = pd.DataFrame
Report = dict[str, Any]
Arrays = dict[str, Any]

#: Figures in the order in which ``write_evaluation_page`` returns them, by the names that the page knows.
FIGURES = {
    "recall_by_stratum": "recall_by_stratum",
    "confuser_false_positives": "confuser_fpr",
    "calibration_curve": "calibration",
    "shortcut_aucs": "shortcuts",
    "region_gate_aucs": "region_gates",
    "ensemble_diversity": "diversity",
    "risk_coverage": "risk_coverage",
    "top_composition_bars": "topk_composition",
    "detectability_factors": "detectability",
}


def write_evaluation_page(
    evaluation: Report,
    detector: Detector,
    calibrated: Table,
    manifest: Table,
    stamps: Arrays,
    strata: Report,
    top: Report,
    audit: Report,
    shortcuts: Table,
    gates: Table,
    ensemble: Report,
    calibration: Report,
    parity: Report,
    detectability: Report,
    completeness: Table,
    split_report: Report,
    filter_ledger: Table,
    stratification_ledger: Table,
    quality_ledger: Table,
    selections: Table,
    parts: PartsOptions,
    calibration_options: CalibrationOptions,
    survey: ImagingSurvey,
) -> tuple[Any, ...]:
    """The audit's figures, in the order of FIGURES, and the evaluation as an HTML file that works without a network."""
    from skytrace.reporting.evaluation_page import evaluation_page

    test = calibrated[calibrated["split"] == "test"]
    figures = _draw(evaluation, test, strata, shortcuts, gates, ensemble, top, detectability, calibration_options)
    page = evaluation_page(
        evaluation,
        card=detector.card,
        figures=_pictures(figures, test, evaluation),
        galleries=_galleries(test, detector, manifest, stamps, survey, parts),
        strata=strata,
        top_k=top,
        audit={"columns": audit["columns"]["inputs"], "shortcuts": shortcuts, "shortcut_summary": audit["shortcuts"],
               "gates": gates, "verdicts": audit["gates"]["verdicts"], "does_not_show": audit["does_not_show"]},
        ensemble=ensemble,
        calibration=calibration,
        parity=parity if "anchor_flux" in parity else None,
        detectability={**detectability, "completeness": completeness} if detectability["factors"] else None,
        not_measured={"parity": str(parity.get("note")), "detectability": str(detectability["note"])},
        split_report=split_report,
        ledgers={
            "Selection": filter_ledger,
            "Rows after each filter, by named selection": selections[selections["type_bin"] == "all"],
            "Stratification": stratification_ledger, "Quality control": quality_ledger,
        },
    )  # fmt: skip
    return *(figures[name] for name in FIGURES), page


def _draw(
    evaluation: Report,
    test: Table,
    strata: Report,
    shortcuts: Table,
    gates: Table,
    ensemble: Report,
    top: Report,
    detectability: Report,
    calibration: CalibrationOptions,
) -> dict[str, Any]:
    """The audit's figures, by the names of FIGURES."""
    from skytrace.reporting import evaluation_figures as draw
    from skytrace.reporting.detector_figures import calibration_figure
    from skytrace.reporting.evaluation_shapes import category_table, composition_table, factor_table, strata_table

    curves = [pd.DataFrame(report["curve"]).assign(curve=name) for name, report in ensemble["selective"].items()]
    return {
        "recall_by_stratum": draw.recall_by_stratum_figure(strata_table(strata["by_stratum"])),
        "confuser_false_positives": draw.confuser_fpr_figure(
            category_table(evaluation), overall=evaluation["at_threshold"]["false_positive_rate"]["value"]
        ),
        "calibration_curve": calibration_figure(
            {"as trained": test["score"], "calibrated": test["probability"]}, test["label"],
            top_share=calibration.top_share,
        ),
        "shortcut_aucs": draw.shortcut_figure(shortcuts),
        "region_gate_aucs": draw.region_gates_figure(gates),
        "ensemble_diversity": draw.diversity_figure(pd.DataFrame(ensemble["diversity"]["pairs"])),
        "risk_coverage": draw.risk_coverage_figure(pd.concat(curves, ignore_index=True)),
        "top_composition_bars": draw.topk_composition_figure(composition_table(top)),
        "detectability_factors": draw.detectability_figure(factor_table(detectability["factors"])),
    }  # fmt: skip


def _pictures(figures: dict[str, Any], test: Table, evaluation: Report) -> dict[str, bytes]:
    """PNG of every figure of the page, by the page's names: the audit's, and those of the ranking."""
    from skytrace.reporting.detector_figures import precision_recall_figure, reliability_figure, roc_figure
    from skytrace.reporting.style import figure_png

    pictures = {name: figure_png(figures[key]) for key, name in FIGURES.items()}
    ranking = {"roc": roc_figure, "precision_recall": precision_recall_figure, "reliability": reliability_figure}
    return pictures | {name: figure_png(draw(test, evaluation=evaluation)) for name, draw in ranking.items()}


def _galleries(
    test: Table, detector: Detector, manifest: Table, stamps: Arrays, survey: ImagingSurvey, parts: PartsOptions
) -> list[Any]:
    from skytrace.imaging.preprocessing import MAD_TO_SIGMA
    from skytrace.reporting.galleries import error_galleries

    known = survey.lenses().drop_duplicates("galaxy_id").set_index("galaxy_id")["theta_e_arcsec"]
    of = rows_of(manifest, "test").set_index("galaxy_id", drop=False).loc[test["galaxy_id"]]
    return list(
        error_galleries(
            stamps_at(stamps["stamps"], of),
            test.assign(theta_e_arcsec=test["galaxy_id"].map(known)).reset_index(drop=True),
            threshold=detector.threshold,
            n=parts.gallery,
            scale=MAD_TO_SIGMA * of[[f"background_mad_{band}" for band in "grz"]].to_numpy(),
            stretch=detector.card["preprocessing"]["options"]["stretch"],
        )
    )
