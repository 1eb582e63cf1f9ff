"""``kedro trace``: from a number in a report, or a dataset, to the raw sky, as plain facts that text and page show."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.errors import SkytraceError, unknown_name
from skytrace.provenance.hashing import file_sha256, relative_name
from skytrace.provenance.lineage import Lineage, trace_dataset
from skytrace.provenance.manifest import plain
from skytrace.provenance.report_values import read_value
from skytrace.provenance.run_index import RunIndex, writing_node
from skytrace.provenance.runs import command_line, run_state, run_words
from skytrace.provenance.trace_checks import check_lineage

if TYPE_CHECKING:
    from skytrace.provenance.lineage import Dataset, Step
    from skytrace.provenance.trace_checks import Configuration

__all__ = ["Target", "find_target", "trace"]

_FORMAT = "skytrace.trace/1"
#: Entries of a dataset's record in the manifest that a trace hands on.
_TOLD = ("type", "path", "version", "sha256", "bytes", "files", "rows", "sky", "card")


@dataclass(frozen=True)
class Target:
    """name: of the dataset. path: of its file in the project; None where it has none. key: in the file, or ""."""

    name: str
    path: str | None
    key: str = ""


def trace(
    asked: str, *, project: Path, environment: str | None, configuration: Configuration, index: RunIndex | None = None
) -> dict[str, Any]:
    """Everything that is known of where ``asked`` (dataset or file, with ``:key`` or without) came from.

    The facts are in JSON's types: target (with value), whole, breaks, notes, datasets, nodes, runs; datasets and nodes
    name each other by number. Raises SkytraceError for something that is no dataset, no recorded file, or no value.
    """
    index = RunIndex.of_project(project) if index is None else index
    environment = environment or "local"
    catalog = configuration.catalog(environment)
    target = find_target(asked, catalog, index, project)
    lineage = _lineage(target, index, project, environment)
    breaks, notes = check_lineage(lineage, index, project, configuration)
    value = None
    if target.key:
        if target.path is None or not (project / target.path).is_file():
            raise SkytraceError(f"{target.path or target.name} is not there: no value of it can be read")
        value = read_value(project / target.path, target.key)
    return plain(
        {
            "format": _FORMAT,
            "asked": asked,
            "target": {
                "dataset": lineage.target.number, "name": target.name, "path": target.path, "key": target.key or None,
                "value": value,
            },
            "whole": not breaks,
            "breaks": breaks,
            "notes": notes,
            "datasets": [_dataset_facts(dataset) for dataset in lineage.datasets],
            "nodes": [_step_facts(step) for step in lineage.steps],
            "runs": [_run_facts(lineage.runs[run_id]) for run_id in sorted(lineage.runs)],
        }
    )  # fmt: skip


def find_target(asked: str, catalog: dict[str, Any], index: RunIndex, project: Path) -> Target:
    """What ``asked`` means: the longest beginning of it, up to a colon, that is a dataset or a file of one."""
    ends = [len(asked), *(place for place in range(len(asked) - 1, 0, -1) if asked[place] == ":")]
    for end in ends:
        found = _dataset_or_file(asked[:end], catalog, index, project)
        if found is not None:
            if end == len(asked) - 1:
                raise SkytraceError(f"{asked!r} ends with a colon: name a value after it, or leave it away")
            return Target(*found, key=asked[end + 1 :])
    first = asked.partition(":")[0]
    if Path(first).suffix and "/" in first:
        raise SkytraceError(f"{first} is no file of a dataset, and no manifest is of a run that wrote it")
    known = sorted({*catalog, *(name for facts in index.manifests for name in facts.get("datasets") or {})})
    raise SkytraceError(unknown_name(f"{first!r} is neither a dataset nor a file", first, known))


def _dataset_or_file(
    text: str, catalog: dict[str, Any], index: RunIndex, project: Path
) -> tuple[str, str | None] | None:
    entry = catalog.get(text)
    if entry is not None:
        return text, _file_of(entry, index, project)
    if any(text in (facts.get("datasets") or {}) or writing_node(facts, text) for facts in index.manifests):
        return text, next(
            (facts["datasets"][text].get("path") for facts in index.manifests if text in (facts.get("datasets") or {})),
            None,
        )
    path = relative_name(Path(os.path.normpath(Path.cwd() / text)), project)
    writer = index.writer(path, None)
    if writer is not None:
        return writer[0], path
    for name, entry in catalog.items():
        known = entry.get("filepath")
        if known and not entry.get("versioned") and path == known:
            return name, path
        if known and entry.get("versioned") and Path(path).parent.parent.as_posix() == known:
            return name, path
    copied = project / path
    if copied.is_file():  # a copy of a report, as `kedro results --save` makes them
        for known in index.paths_like(copied.name):
            if (same := index.writer(known, file_sha256(copied))) is not None:
                return same[0], known
    return None


def _file_of(entry: dict[str, Any], index: RunIndex, project: Path) -> str | None:
    path = entry.get("filepath")
    if path is None or not entry.get("versioned"):
        return path
    release = os.environ.get("KEDRO_RELEASE")
    there = sorted(
        relative_name(found, project) for found in (project / path).glob(f"{release or '*'}/{Path(path).name}")
    )
    known = there or index.versions(path)
    return known[-1] if known else path


def _lineage(target: Target, index: RunIndex, project: Path, environment: str) -> Lineage:
    name, path = target.name, target.path
    if path is not None:
        place = project / path
        now = file_sha256(place) if place.is_file() else None
        writer = index.writer(path, now) or index.writer(path, None)
        if writer is not None:
            return trace_dataset(index, writer[0], writer[1], {})
    facts = index.reader(name, environment=environment)
    record = (facts.get("datasets") or {}).get(name) if facts else None
    if facts is not None and (record is None or "sky" in record):  # in memory, or raw sky
        return trace_dataset(index, name, facts, {})
    if path is not None and (project / path).is_file():
        return trace_dataset(index, name, None, {"path": path})
    elsewhere = sorted({each["environment"] for each in index.manifests if each["environment"] != environment
                        and (name in (each.get("datasets") or {}) or writing_node(each, name))})  # fmt: skip
    hint = f"; runs of --env {', '.join(elsewhere)} had it" if elsewhere else ""
    raise SkytraceError(f"{name}{f' ({path})' if path else ''} was never made in environment {environment}{hint}")


def _dataset_facts(dataset: Dataset) -> dict[str, Any]:
    kept = {key: dataset.record.get(key) for key in _TOLD}
    return {
        "number": dataset.number, "name": dataset.name, "place": dataset.place, "state": dataset.state, **kept,
        "run_id": dataset.run_id, "node": dataset.step.number if dataset.step else None,
    }  # fmt: skip


def _step_facts(step: Step) -> dict[str, Any]:
    return {
        "number": step.number, "name": step.node, "run_id": step.run_id, "function": step.function,
        "status": step.status, "seconds": step.seconds, "parameters": step.parameters,
        "inputs": [needed.number for needed in step.inputs],
    }  # fmt: skip


def _run_facts(facts: dict[str, Any]) -> dict[str, Any]:
    git, command = facts.get("git") or {}, facts.get("command") or {}
    state = run_state(facts)
    words = [run_words(facts), *([str(facts["error"])] if facts.get("error") else [])]
    kept = {key: facts.get(key) for key in ("run_id", "started", "seconds", "environment", "requirements_lock_sha256")}
    return {
        **kept, "state": state, "error": None if state == "done" else ": ".join(words),
        "pipelines": command.get("pipeline_names") or ["__default__"],
        "command": command_line(facts.get("environment"), command), "commit": git.get("commit"),
        "branch": git.get("branch"), "dirty": git.get("dirty"), "diff_sha256": git.get("diff_sha256"),
        "seeds": facts.get("seeds"), "packages": facts.get("packages"),
    }  # fmt: skip
