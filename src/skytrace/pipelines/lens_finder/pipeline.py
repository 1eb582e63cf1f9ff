"""The graph of lens_finder, from the raw survey to a detector with a card and its evaluation."""

from collections.abc import Callable

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.lens_finder import nodes

NAME = "lens_finder"


def create_pipeline(**_: object) -> Pipeline:
    """Stages 1 to 5, 7, 8 and 10 of the design page, in its words."""
    steps = [
        _node(nodes.select_galaxies, ["survey", "params:selection"], ["selected_galaxies", "filter_ledger"]),
        _node(
            nodes.split_sky,
            ["selected_galaxies", "params:split"],
            ["split_galaxies", "split_report", "withheld_anchors"],
        ),
        _node(nodes.stratify_negatives, ["split_galaxies", "params:strata"], ["sample", "stratification_ledger"]),
        _node(
            nodes.cut_stamps,
            ["survey", "sample", "params:preprocess", "params:quality", "params:cutouts"],
            ["stamps", "manifest", "quality_ledger"],
        ),
        _node(
            nodes.train_detector,
            ["stamps", "manifest", "split_report", "params:preprocess", "params:training", "params:threshold",
             "params:checkpoint_folder"],
            ["detector", "training_history"],
        ),
        _node(nodes.score_sample, ["detector", "stamps", "manifest", "params:preprocess"], "scores"),
        _node(nodes.evaluate_detector, ["detector", "scores", "manifest", "params:evaluation"], "evaluation"),
        _node(nodes.plot_roc, ["scores", "evaluation"], "roc"),
        _node(nodes.plot_precision_recall, ["scores", "evaluation"], "precision_recall"),
        _node(nodes.plot_reliability, ["scores", "evaluation"], "reliability"),
    ]  # fmt: skip
    return Pipeline(steps, namespace=NAME, inputs={"survey": "detector_survey"}, tags=[NAME])


def _node(function: Callable, inputs: list[str], outputs: str | list[str]) -> Node:
    """A node named as its function: the verb and the object that Kedro-Viz and the log show."""
    return Node(function, inputs, outputs, name=function.__name__)
