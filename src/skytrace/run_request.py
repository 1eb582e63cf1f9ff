"""What `kedro run` is asked for must be there: one message names what was typed, what was meant perhaps, and the list.

Looked at before anything is loaded, so that a misspelling costs a second; nodes, tags and datasets, which only the
pipelines know, are looked at once those are made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.errors import SkytraceError, unknown_name
from skytrace.pipeline_registry import LINEAGES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedro.pipeline import Pipeline

__all__ = ["UnknownNameError", "check_environment", "check_names_of_nodes", "check_pipelines", "check_request"]

_BASE = "base"
_RUNNERS = ("SequentialRunner", "ParallelRunner", "ThreadRunner")


class UnknownNameError(SkytraceError, ValueError):
    """A command names a pipeline, an environment, a node, a tag or a dataset that is not there."""


def check_request(project: Path, asked: dict[str, Any]) -> None:
    """Raise UnknownNameError for the first name in ``asked`` (`kedro run`'s options, by their names) that is not there.

    project: the folder that holds conf/. Pipelines are loaded only where nodes, tags or datasets were asked for.
    """
    pipelines = [name for name in [asked.get("pipeline"), *(asked.get("pipelines") or ())] if name]
    check_pipelines(pipelines)
    if not asked.get("conf_source"):
        check_environment(project, asked.get("env") or os.environ.get("KEDRO_ENV"))
    runner = asked.get("runner")
    if runner and "." not in runner and runner not in _RUNNERS:
        raise UnknownNameError(unknown_name(f"--runner {runner}: there is no such runner", runner, _RUNNERS))
    narrowing = ("node_names", "from_nodes", "to_nodes", "tags", "namespaces", "from_inputs", "to_outputs")
    if any(asked.get(key) for key in narrowing):
        check_names_of_nodes(_requested(pipelines), asked)


def check_pipelines(names: Iterable[str]) -> None:
    """Raise UnknownNameError for a name that is not one of LINEAGES."""
    for name in names:
        if name != "__default__" and name not in LINEAGES:
            problem = f"--pipelines {name}: there is no such pipeline"
            raise UnknownNameError(unknown_name(problem, name, list(LINEAGES)))


def check_environment(project: Path, name: str | None) -> None:
    """Raise UnknownNameError unless ``name`` is a folder of ``project``/conf; None is Kedro's default, and is right."""
    conf = project / "conf"
    if name is None or (conf / name).is_dir():
        return
    there = sorted(folder.name for folder in conf.iterdir() if folder.is_dir() and any(folder.glob("*.yml")))
    there = [folder for folder in there if folder != _BASE]
    raise UnknownNameError(unknown_name(f"--env {name}: there is no such environment in conf/", name, there))


def check_names_of_nodes(pipeline: Pipeline, asked: dict[str, Any]) -> None:
    """Raise UnknownNameError for a node, tag, namespace or dataset in ``asked`` that ``pipeline`` does not have."""
    nodes = sorted(node.name for node in pipeline.nodes)
    datasets = sorted(name for name in pipeline.datasets() if not name.startswith("params:") and name != "parameters")
    tags = sorted({tag for node in pipeline.nodes for tag in node.tags})
    spaces = sorted({space for node in pipeline.nodes for space in _spaces(node.namespace)})
    for key, option, kind, known in (
        ("node_names", "--nodes", "node", nodes),
        ("from_nodes", "--from-nodes", "node", nodes),
        ("to_nodes", "--to-nodes", "node", nodes),
        ("tags", "--tags", "tag", tags),
        ("namespaces", "--namespaces", "namespace", spaces),
        ("from_inputs", "--from-inputs", "dataset", datasets),
        ("to_outputs", "--to-outputs", "dataset", datasets),
    ):
        for name in asked.get(key) or ():
            if name not in known and not (kind == "dataset" and name.startswith("params:")):
                ends = [entry for entry in known if entry.endswith(f".{name}")]  # without its namespace
                problem = f"{option} {name}: the pipelines that run have no such {kind}"
                raise UnknownNameError(unknown_name(problem, ends[0] if ends else name, known))


def _spaces(namespace: str | None) -> list[str]:
    parts = (namespace or "").split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1) if parts[0]]


def _requested(names: list[str]) -> Pipeline:
    from kedro.framework.project import pipelines
    from kedro.pipeline import Pipeline as Empty

    pipelines.set_requested(names or None)  # as the run will: what is loaded here is not loaded again
    return sum((pipelines[name] for name in names or ["__default__"]), Empty([]))
