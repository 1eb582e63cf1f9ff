"""What `kedro run --load-versions` asks for must be there, and be read: looked at before the first node runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from skytrace.errors import OptionError, unknown_name
from skytrace.run_request import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro.pipeline import Pipeline

__all__ = ["LoadVersionsHook", "check_load_versions"]


class LoadVersionsHook:
    """Refuses a version that no node of the run would read, or that is not there."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any) -> None:
        """Look at the versions that were asked for."""
        check_load_versions(run_params.get("load_versions") or {}, pipeline, catalog)


def check_load_versions(asked: Mapping[str, str], pipeline: Pipeline, catalog: Any) -> None:
    """Raise UnknownNameError for a dataset that ``pipeline`` does not read and for a version that is not there,
    OptionError for a dataset without versions and for one that the run makes itself.
    """
    for name, version in asked.items():
        words = f"--load-versions {name}:{version}"
        if name not in pipeline.datasets():
            known = sorted(one for one in pipeline.datasets() if not one.startswith("params:"))
            raise UnknownNameError(unknown_name(f"{words}: the pipelines that run read no such dataset", name, known))
        maker = next((node.name for node in pipeline.nodes if name in node.outputs), None)
        if maker is not None:
            raise OptionError(f"{words}: node {maker} makes it anew in this run; begin after it: --from-inputs {name}")
        dataset = catalog.get(name)
        if getattr(dataset, "_version", None) is None:
            raise OptionError(f"{words}: it has no versions (versioned: true is not in its catalog entry)")
        file = Path(str(dataset._filepath))
        there = sorted(path.parent.name for path in file.glob(f"*/{file.name}"))
        if version not in there:
            raise UnknownNameError(unknown_name(f"{words}: there is no such version", version, there or ["none yet"]))
