"""What the graphs of injection_recovery share: its name, and its inputs from lens_finder and the raw sky."""

from kedro.pipeline import Node, Pipeline

__all__ = ["FROM_LENS_FINDER", "NAME", "make_pipeline"]

NAME = "injection_recovery"
#: Datasets of lens_finder that are read here, by their names inside this pipeline.
FROM_LENS_FINDER = ("detector", "manifest", "split_galaxies")


def make_pipeline(steps: list[Node], *, from_lens_finder: tuple[str, ...] = (), tag: str = NAME) -> Pipeline:
    """The nodes under this pipeline's name, with the raw sky and what they read of lens_finder from outside."""
    read = {name for node in steps for name in node.inputs}
    upstream = {name: f"lens_finder.{name}" for name in (*FROM_LENS_FINDER, *from_lens_finder) if name in read}
    sky = {"survey": "survey"} if "survey" in read else {}
    return Pipeline(steps, namespace=NAME, inputs={**sky, **upstream}, tags=[tag])
