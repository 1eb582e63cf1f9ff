"""What the parts of cluster_pu share: the pipeline's name, and the raw sky from outside."""

from kedro.pipeline import Node, Pipeline

__all__ = ["NAME", "make_pipeline"]

NAME = "cluster_pu"


def make_pipeline(steps: list[Node]) -> Pipeline:
    """The nodes under this pipeline's name; ``cluster_survey`` keeps its own."""
    read = {name for node in steps for name in node.inputs}
    sky = {"cluster_survey": "cluster_survey"} if "cluster_survey" in read else {}
    return Pipeline(steps, namespace=NAME, inputs=sky, tags=[NAME])
