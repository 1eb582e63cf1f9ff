"""Whether a run that a manifest tells of has ended, and how: a killed run cannot say so itself, its process is gone."""

from __future__ import annotations

import json
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from skytrace.compute.files import is_temporary
from skytrace.compute.json_values import leaves
from skytrace.provenance.release_runs import FOLDER as RELEASES
from skytrace.provenance.release_runs import here

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["command_line", "is_running", "read_manifests", "run_state", "run_words", "this_process"]

logger = logging.getLogger(__name__)

#: Entries of a manifest that are tables, where they are there, and what entries of its datasets and nodes are.
_TABLES = ("datasets", "nodes", "git", "command", "packages", "process", "device")
_KINDS = {
    "path": str, "sha256": str, "version": str, "role": str, "function": str, "status": str, "nodes": list,
    "inputs": list, "outputs": list, "parameters": list, "sky": dict, "card": dict,
}  # fmt: skip


def this_process() -> dict[str, Any]:
    """host, pid and the second at which this process began (a pid is used again after a while)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": _began(os.getpid())}


def run_state(facts: Mapping[str, Any]) -> str:
    """done, failed, interrupted (by Ctrl-C), running, killed (status running, but its process on this machine is gone),
    or unfinished: of a run on another machine nobody here can say which of the two.
    """
    if facts.get("status") != "running":
        return str(facts.get("status"))
    going_on = is_running(facts.get("process") or {})
    return "unfinished" if going_on is None else "running" if going_on else "killed"


def is_running(process: Mapping[str, Any]) -> bool | None:
    """Whether the process that ``this_process`` told of is still there; None where it is another machine's."""
    if process.get("host") != socket.gethostname():
        return None
    began = _began(int(process.get("pid") or 0))
    return began is not None and began == process.get("began")


def run_words(facts: Mapping[str, Any]) -> str:
    """``run 2026-... was killed in lens_finder.train_detector``: how a run that is not done stands."""
    state = run_state(facts)
    nodes = (facts.get("nodes") or {}).items()
    open_ones = [name for name, node in nodes if node.get("status") in ("running", "failed", "interrupted")]
    place = f" in {', '.join(open_ones)}" if open_ones else ""
    said = {
        "killed": f"was killed{place}",
        "failed": f"failed{place}",
        "interrupted": f"was interrupted{place}",
        "running": f"is still running{place}",
        "unfinished": f"on {(facts.get('process') or {}).get('host', 'another machine')} has not finished{place}",
    }
    return f"run {facts.get('run_id')} {said.get(state, state)}"


def read_manifests(folder: Path) -> list[dict[str, Any]]:
    """The run manifests of ``folder`` and those kept with a release, the newest first; none where there is no such
    folder. One that is damaged is left out, with a warning that names it.
    """
    found = _read_folder(folder)
    known = {facts["run_id"] for facts in found}
    kept = [facts for facts in _read_folder(folder / RELEASES) if facts.get("status") == "done"]
    return sorted(
        [*found, *(here(facts) for facts in kept if facts["run_id"] not in known)],
        key=lambda facts: facts["run_id"], reverse=True,
    )  # fmt: skip


def _read_folder(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.glob("*.json"), reverse=True):
        if is_temporary(path):
            continue
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            logger.warning("the run manifest %s cannot be read (%s) and is left out; delete it", path, error)
            continue
        if wrong := _misshapen(facts):
            logger.warning("the run manifest %s is none (%s) and is left out; delete it", path, wrong)
            continue
        found.append(facts)
    return found


def _misshapen(facts: Any) -> str:
    """What of a manifest is not as a run writes it, so that its readers need not look; "" where all is."""
    if not isinstance(facts, dict):
        return "no table of facts"
    wrong = [name for name in _TABLES if not isinstance(facts.get(name) or {}, dict)]
    wrong += [] if isinstance(facts.get("run_id"), str) else ["run_id"]
    if wrong:
        return f"{wrong[0]} is a {type(facts.get(wrong[0])).__name__}"
    for table in ("datasets", "nodes"):
        for name, entry in (facts.get(table) or {}).items():
            if not isinstance(entry, dict):
                return f"{table}.{name} is a {type(entry).__name__}"
            wrong = [key for key, kind in _KINDS.items() if not isinstance(entry.get(key), kind | None)]
            if wrong:
                return f"{table}.{name}.{wrong[0]} is a {type(entry[wrong[0]]).__name__}"
    pid = (facts.get("process") or {}).get("pid")
    return "" if isinstance(pid, int | None) else f"process.pid is a {type(pid).__name__}"


def command_line(environment: str | None, command: dict[str, Any]) -> str:
    """What to type to run it again."""
    words = ["kedro run", f"--env {environment}"]
    options = {"pipeline_names": "--pipelines", "tags": "--tags", "node_names": "--nodes", "from_nodes": "--from-nodes",
               "to_nodes": "--to-nodes", "from_inputs": "--from-inputs", "to_outputs": "--to-outputs",
               "namespaces": "--namespaces"}  # fmt: skip
    words += [f"{option} {','.join(command[key])}" for key, option in options.items() if command.get(key)]
    loads = command.get("load_versions") or {}
    words += [f"--load-versions {','.join(f'{name}:{version}' for name, version in loads.items())}"] if loads else []
    given = leaves(command.get("runtime_params") or {})
    words += [f"--params {','.join(f'{name}={value}' for name, value in given)}"] if given else []
    words += ["--only-missing-outputs"] if command.get("only_missing_outputs") else []
    return " ".join(words)


def _began(pid: int) -> int | None:
    """The second at which process ``pid`` of this machine began; None where there is none, or only its remains."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
    except (psutil.Error, ValueError):
        return None
