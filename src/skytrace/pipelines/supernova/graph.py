"""What the stages of supernova share: the pipeline's name, and the raw sky from outside."""

from kedro.pipeline import Node, Pipeline

__all__ = ["NAME", "make_pipeline"]

NAME = "supernova"


def make_pipeline(steps: list[Node]) -> Pipeline:
    """The nodes under this pipeline's name; ``supernova_survey`` keeps its own."""
    read = {name for node in steps for name in node.inputs}
    sky = {"supernova_survey": "supernova_survey"} if "supernova_survey" in read else {}
    return Pipeline(steps, namespace=NAME, inputs=sky, tags=[NAME])
