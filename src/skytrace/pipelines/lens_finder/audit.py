"""The audit of lens_finder: shortcuts, parts of the stamp, ensemble, calibration, strata, detectability, parity."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.lens_finder import audit_nodes, audit_report, detectability_nodes, parity_nodes
from skytrace.pipelines.lens_finder.graph import NAME, make_node

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Stages 6, 9, 11, 12 and the rest of 10 of the design page, and the page that a referee reads."""
    steps = [*_learnt_from(), *_seen_and_found(), _page()]
    return Pipeline(steps, namespace=NAME, inputs={"survey": "detector_survey"}, tags=[NAME])


def _learnt_from() -> list[Node]:
    """What the detector learnt from, and whether an ensemble learns more from as much."""
    return [
        make_node(
            audit_nodes.compare_selections,
            ["survey", "params:selection", "params:selection_parity"],
            "selection_parity",
        ),
        make_node(audit_nodes.audit_shortcuts, ["manifest", "sample", "params:shortcuts"], "shortcuts"),
        make_node(
            audit_nodes.audit_parts,
            ["detector", "stamps", "manifest", "sample", "scores", "params:gates", "params:parts"],
            "region_gates",
        ),
        make_node(audit_nodes.report_audit, ["stamps", "detector", "ensemble", "shortcuts", "region_gates"], "audit"),
        make_node(
            audit_nodes.train_ensemble,
            ["stamps", "manifest", "params:preprocess", "params:training", "params:ensemble", "params:threshold",
             "params:checkpoint_folder"],
            ["ensemble", "ensemble_history", "ensemble_validation"],
        ),
        make_node(
            audit_nodes.score_ensemble, ["ensemble", "stamps", "manifest", "params:preprocess"], "ensemble_scores"
        ),
        make_node(
            audit_nodes.compare_ensemble,
            ["ensemble", "ensemble_scores", "ensemble_validation", "scores", "detector", "params:threshold",
             "params:evaluation"],
            "ensemble_report",
        ),
    ]  # fmt: skip


def _seen_and_found() -> list[Node]:
    """What the scores mean, and what could be found at all."""
    return [
        make_node(
            audit_nodes.calibrate_scores, ["scores", "params:calibration"], ["calibrated_scores", "calibration"]
        ),
        make_node(
            detectability_nodes.measure_arc_evidence,
            ["survey", "sample", "manifest", "params:preprocess", "params:cutouts", "params:detectability"],
            "arc_evidence",
        ),
        make_node(
            detectability_nodes.evaluate_by_stratum,
            ["detector", "scores", "manifest", "arc_evidence", "params:evaluation_strata"],
            "strata_evaluation",
        ),
        make_node(detectability_nodes.expect_top, ["scores", "split_galaxies", "params:top"], "top_composition"),
        make_node(
            detectability_nodes.measure_detectability,
            ["survey", "detector", "scores", "manifest", "arc_evidence", "params:detectability"],
            ["detectability", "anchor_completeness"],
        ),
        make_node(
            parity_nodes.check_parity,
            ["survey", "sample", "manifest", "params:parts", "params:cutouts", "params:parity", "params:anchor_flux"],
            ["parity", "anchor_fluxes"],
        ),
    ]  # fmt: skip


def _page() -> Node:
    """The page that a referee reads, and its figures."""
    return make_node(
        audit_report.write_evaluation_page,
        ["evaluation", "detector", "calibrated_scores", "manifest", "stamps", "strata_evaluation",
         "top_composition", "audit", "shortcuts", "region_gates", "ensemble_report", "calibration", "parity",
         "detectability", "anchor_completeness", "split_report", "filter_ledger", "stratification_ledger",
         "quality_ledger", "selection_parity", "params:parts", "params:calibration", "survey"],
        [*audit_report.FIGURES, "evaluation_page"],
    )  # fmt: skip
