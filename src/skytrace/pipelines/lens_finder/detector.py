"""The part of lens_finder that other pipelines build on: from the raw survey to a detector, its scores, its figures."""

from kedro.pipeline import Pipeline

from skytrace.pipelines.lens_finder import nodes
from skytrace.pipelines.lens_finder.graph import NAME, make_node

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Stages 1 to 5, 7, 8 and 10 of the design page, in its words."""
    steps = [
        make_node(nodes.select_galaxies, ["survey", "params:selection", "params:cluster", "params:cutouts"],
                  ["selected_galaxies", "filter_ledger"]),
        make_node(
            nodes.split_sky,
            ["survey", "selected_galaxies", "params:split", "params:selection"],
            ["split_galaxies", "split_report", "withheld_anchors"],
        ),
        make_node(nodes.stratify_negatives, ["split_galaxies", "params:strata"], ["sample", "stratification_ledger"]),
        make_node(
            nodes.cut_stamps,
            ["survey", "sample", "params:preprocess", "params:quality", "params:cutouts", "params:cluster"],
            ["stamps", "manifest", "quality_ledger"],
        ),
        make_node(
            nodes.train_detector,
            ["stamps", "manifest", "split_report", "params:preprocess", "params:training", "params:threshold",
             "params:checkpoint_folder"],
            ["detector", "training_history"],
        ),
        make_node(nodes.score_sample, ["detector", "stamps", "manifest", "params:preprocess"], "scores"),
        make_node(nodes.evaluate_detector, ["detector", "scores", "manifest", "params:evaluation"], "evaluation"),
        make_node(nodes.plot_roc, ["scores", "evaluation"], "roc"),
        make_node(nodes.plot_precision_recall, ["scores", "evaluation"], "precision_recall"),
        make_node(nodes.plot_reliability, ["scores", "evaluation"], "reliability"),
    ]  # fmt: skip
    return Pipeline(steps, namespace=NAME, inputs={"survey": "detector_survey"}, tags=[NAME])
