"""The manifest of one run: everything needed to say where its numbers came from, as one JSON file."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute.files import atomic_path
from skytrace.compute.json_values import json_ready
from skytrace.provenance.hashing import describe_files, describe_path, file_sha256, relative_name
from skytrace.provenance.machine import device, package_versions
from skytrace.provenance.memory import PeakMemory
from skytrace.provenance.repository import repository_state

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RunManifest", "collect_seeds", "count_rows", "plain"]

_FORMAT = "skytrace.run-manifest/1"


class RunManifest:
    """Collects the facts of a run while it goes on; ``write`` adds the hashes and leaves the file."""

    def __init__(self, project: Path, *, run_id: str, environment: str, command: dict[str, Any]) -> None:
        self.project = project
        self.facts: dict[str, Any] = {
            "format": _FORMAT,
            "run_id": run_id,
            "status": "running",
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": environment,
            "command": plain(command),
            "git": repository_state(project),
            "packages": package_versions(),
        }
        lock = project / "requirements.lock"
        self.facts["requirements_lock_sha256"] = file_sha256(lock) if lock.is_file() else None
        self._began = time.perf_counter()
        self._nodes: dict[str, dict[str, Any]] = {}
        self._datasets: dict[str, dict[str, Any]] = {}
        self._memory = PeakMemory()
        self._memory.start()

    def add_parameters(self, parameters: Any, *, globals_: Any = None) -> None:
        """Record resolved parameters, the names that paths are built from, and every seed in either."""
        self.facts["parameters"] = plain(parameters)
        self.facts["globals"] = plain(globals_ or {})
        self.facts["seeds"] = {
            **collect_seeds(self.facts["globals"], "globals"),
            **collect_seeds(self.facts["parameters"]),
        }

    def node_begins(self, name: str) -> None:
        """A node starts, by loading or by running: its clock and its peak memory begin here, once."""
        if name in self._nodes:
            return
        self._memory.reset()
        self._nodes[name] = {"status": "running", "began": time.perf_counter()}

    def node_ends(self, name: str, *, status: str = "done") -> None:
        """A node is through, has failed, or has saved one more output: the last call counts."""
        node = self._nodes[name]
        node["status"] = status
        node["seconds"] = round(time.perf_counter() - node["began"], 3)
        node["peak_memory_bytes"] = self._memory.read()

    def add_dataset(
        self,
        name: str,
        *,
        role: str,
        kind: str,
        path: Path | None,
        version: str | None,
        rows: int | None,
        node: str,
        files: Callable[[], list[Path] | None] | None = None,
    ) -> None:
        """Record that ``node`` read (role ``input``) or wrote (``output``) a dataset; hashed when the run ends.

        ``files()`` is asked then for what was read of the folder ``path``, which may hold far more; None: all of it.
        """
        record = self._datasets.setdefault(name, {"role": role, "type": kind, "nodes": []})
        record.update(path=path, version=version, rows=rows if rows is not None else record.get("rows"), files=files)
        if role == "output":
            record["role"] = role
        record["nodes"].append(node)

    def write(self, path: Path, *, status: str, error: BaseException | None = None) -> Path:
        """Close the run and write the manifest to ``path``."""
        self._memory.stop()
        for node in self._nodes.values():
            node.pop("began", None)
        self.facts.update(
            status=status,
            error=f"{type(error).__name__}: {error}" if error is not None else None,
            seconds=round(time.perf_counter() - self._began, 3),
            device=device(),
            nodes=self._nodes,
            datasets={name: self._hashed(record) for name, record in sorted(self._datasets.items())},
        )
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(plain(self.facts), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def _hashed(self, record: dict[str, Any]) -> dict[str, Any]:
        record = dict(record)
        path, ask = record["path"], record.pop("files")
        if path is None:
            return record
        files = ask() if ask is not None else None
        content = describe_path(path) if files is None else describe_files(files, path)
        described = {**record, "path": relative_name(path, self.project), **content}
        card = path.with_suffix(".card.json")  # a detector's weights mean little without their card
        if card.is_file():
            described["card"] = {"path": relative_name(card, self.project), **describe_path(card)}
        return described


def plain(value: Any) -> Any:
    """``value`` in the types of JSON, as its text where JSON has none for it."""
    return json_ready(value, other=str)


def collect_seeds(parameters: Any, prefix: str = "") -> dict[str, Any]:
    """Every entry named ``seed`` or ``*_seed``, by its dotted path."""
    seeds: dict[str, Any] = {}
    if isinstance(parameters, dict):
        for key, value in parameters.items():
            path = f"{prefix}.{key}" if prefix else key
            if key == "seed" or key.endswith("_seed"):
                seeds[path] = value
            else:
                seeds.update(collect_seeds(value, path))
    return seeds


def count_rows(data: Any) -> int | None:
    """Rows of a table, or the common first axis of a dict of arrays; None for anything else."""
    if hasattr(data, "columns"):
        return len(data)
    if isinstance(data, dict) and data and all(isinstance(value, np.ndarray) for value in data.values()):
        lengths = {len(value) for value in data.values() if value.ndim}
        return lengths.pop() if len(lengths) == 1 else None
    return None
