"""What the parts of spectral_emulator share: the pipeline's name, its stages, and the raw sky from outside."""

from kedro.pipeline import Node, Pipeline

__all__ = ["NAME", "STAGES", "make_pipeline"]

NAME = "spectral_emulator"
#: The stages of the inference, each with its number: more and more freedom in what the ejecta are made of.
STAGES = {"stage_one": 1, "stage_two": 2, "stage_three": 3}


def make_pipeline(steps: list[Node]) -> Pipeline:
    """The nodes under this pipeline's name; ``supernova_spectrum`` keeps its own."""
    return Pipeline(steps, namespace=NAME, inputs={"supernova_spectrum": "supernova_spectrum"}, tags=[NAME])
