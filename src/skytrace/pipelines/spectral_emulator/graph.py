"""What the parts of spectral_emulator share: the pipeline's name, its stages, and the raw sky from outside."""

from kedro.pipeline import Node, Pipeline

__all__ = ["LABELS", "LAYERED", "NAME", "STAGES", "make_pipeline"]

NAME = "spectral_emulator"
#: The steps of the inference, each with the stage that its parameters are of: more and more freedom in what the ejecta
#: are made of. The second round is stage 1 again, where the first round's posterior is, with an emulator of that part.
STAGES = {"stage_one": 1, "second_round": 1, "stage_two": 2, "stage_three": 3}
LABELS = {
    "stage_one": "stage 1", "second_round": "stage 1, second round", "stage_two": "stage 2", "stage_three": "stage 3",
}  # fmt: skip
#: The last step of the fifteen parameters: what is said of these is said of it.
LAYERED = "second_round"


def make_pipeline(steps: list[Node]) -> Pipeline:
    """The nodes under this pipeline's name; ``supernova_spectrum`` keeps its own."""
    return Pipeline(steps, namespace=NAME, inputs={"supernova_spectrum": "supernova_spectrum"}, tags=[NAME])
