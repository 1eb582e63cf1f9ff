"""Candidates of cluster_pu with identified images, their mass models, what these are worth, and the figure."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.cluster_modelling import nodes

__all__ = ["create_pipeline"]

NAME = "cluster_modelling"
_MODELS = "params:lens"


def create_pipeline(**_: object) -> Pipeline:
    """Reads ``cluster_pu.candidates`` and the raw entry ``cluster_images``; nothing of it goes back to the ranking."""
    steps = [
        Node(
            nodes.choose_systems,
            ["candidates", "cluster_images", "params:systems"],
            ["systems", "images", "members"],
            name="choose_systems",
        ),
        Node(
            nodes.fit_systems,
            ["systems", "images", "members", "params:systems", _MODELS, "params:sampler", "params:free_form",
             "params:cluster"],
            ["models", "modelled_images"],
            name="fit_systems",
        ),
        Node(
            nodes.check_models,
            ["models", "cluster_images", _MODELS],
            "model_report",
            name="check_models",
        ),
        Node(
            nodes.draw_systems,
            ["models", "modelled_images", "members", "params:systems"],
            ["models_figure", "models_figure_pdf"],
            name="draw_systems",
        ),
    ]  # fmt: skip
    inputs = {"candidates": "cluster_pu.candidates", "cluster_images": "cluster_images"}
    return Pipeline(steps, namespace=NAME, inputs=inputs, tags=[NAME])
