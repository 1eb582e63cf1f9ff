"""The pipelines that run. A pipeline's name stands for its whole lineage; its own nodes carry the name as their tag."""

import importlib
import warnings

from kedro.framework.project import pipelines as project_pipelines
from kedro.pipeline import Pipeline

from skytrace.errors import SkytraceError

__all__ = ["LINEAGES", "PipelineError", "create_lineage", "register_pipelines"]


class PipelineError(SkytraceError):
    """The module of a pipeline could not be imported, or does not make a pipeline."""


#: Each pipeline with the modules of skytrace.pipelines that its lineage is made of, raw sky first.
LINEAGES: dict[str, tuple[str, ...]] = {
    "lens_finder": ("lens_finder",),
    "injection_recovery": ("lens_finder.detector", "injection_recovery"),  # without the audit: nothing reads it
    "injection_studies": ("lens_finder", "injection_recovery", "injection_studies"),  # it scores the ensemble too
    "supernova": ("supernova",),
    "spectral_emulator": ("spectral_emulator",),
    "cluster_pu": ("cluster_pu",),
    "cluster_modelling": ("cluster_pu", "cluster_modelling"),
}


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines that the command asked for, or all of them; only their modules are imported."""
    requested = project_pipelines._requested_pipelines
    # a name that nobody knows loads everything, so that Kedro can suggest the nearest one
    if not requested or "__default__" in requested or not set(requested) <= set(LINEAGES):
        requested = list(LINEAGES)
    registered = {name: create_lineage(LINEAGES[name]) for name in requested}
    if set(registered) == set(LINEAGES):  # everything that there is: what Kedro-Viz opens with
        registered["__default__"] = create_lineage(tuple(LINEAGES))
    return registered


def create_lineage(names: tuple[str, ...]) -> Pipeline:
    """The pipelines of these modules of skytrace.pipelines as one. Raises PipelineError naming one that fails."""
    return sum((_create(name) for name in names), Pipeline([]))


def _create(name: str) -> Pipeline:
    try:
        with warnings.catch_warnings():
            # Kedro advises against dots in names; ours are the namespaces that dots are for
            warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
            return importlib.import_module(f"skytrace.pipelines.{name}").create_pipeline()
    except Exception as error:
        raise PipelineError(f"the pipeline {name} cannot be loaded: {type(error).__name__}: {error}") from error
