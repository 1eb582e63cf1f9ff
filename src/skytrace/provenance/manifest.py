"""The manifest of one run: everything needed to say where its numbers came from, as one JSON file.

It is there from the run's first moment and renewed as nodes begin and save, so that a run that is killed leaves one
too: with status "running" and a process that is gone (``provenance.runs.run_state``).
"""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute.files import atomic_path
from skytrace.compute.json_values import json_ready
from skytrace.provenance.hashing import (
    describe_files,
    describe_path,
    file_sha256,
    list_files,
    relative_name,
    visible_files,
)
from skytrace.provenance.machine import device, package_versions
from skytrace.provenance.memory import PeakMemory
from skytrace.provenance.repository import repository_state
from skytrace.provenance.runs import this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["RunManifest", "collect_seeds", "count_rows", "plain"]

_FORMAT = (
    "skytrace.run-manifest/2"  # 2: what each node read, wrote and was; what raw sky was asked for; listings of folders
)


class RunManifest:
    """Collects the facts of a run while it goes on; ``snapshot`` leaves what is known so far, ``write`` closes it."""

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
            "process": this_process(),
        }
        lock = project / "requirements.lock"
        self.facts["requirements_lock_sha256"] = file_sha256(lock) if lock.is_file() else None
        self._began = time.perf_counter()
        self._nodes: dict[str, dict[str, Any]] = {}
        self._datasets: dict[str, dict[str, Any]] = {}
        self._described: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._at_load: dict[str, list[_State]] = {}
        self._listings: dict[str, str] = {}
        self._lock = threading.RLock()  # nodes may run in threads
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

    def node_begins(
        self, name: str, *, function: str = "", reads: Sequence[str] = (), writes: Sequence[str] = ()
    ) -> bool:
        """A node starts, by loading or by running: its clock and its peak memory begin here, once; whether they did.

        function: its full name. reads, writes: names of datasets; ``params:x`` is the group x of the parameters.
        """
        with self._lock:
            if name in self._nodes:
                return False
            self._memory.reset()
            asked = [entry for entry in reads if entry == "parameters" or entry.startswith("params:")]
            self._nodes[name] = {
                "status": "running",
                "began": time.perf_counter(),
                "function": function,
                "inputs": [entry for entry in reads if entry not in asked],
                "parameters": [entry.removeprefix("params:") for entry in asked],
                "outputs": list(writes),
            }
            return True

    def node_ends(self, name: str, *, status: str = "done") -> None:
        """A node is through, has failed, or has saved one more output: the last call counts."""
        node = self._nodes[name]
        node["status"] = status
        node["seconds"] = round(time.perf_counter() - node["began"], 3)
        node["peak_memory_bytes"] = self._memory.read()

    def dataset_is_read(self, name: str, path: Path) -> None:
        """The file or folder ``path`` is about to be read: it is hashed later in this very state, or not at all.

        One that is not there yet, because its loader makes it, is not watched. No byte is read here.
        """
        state = _states(path)
        with self._lock:
            if state and self._at_load.setdefault(name, state) != state:  # another node has read other bytes
                self._at_load[name] = []

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
        sky: dict[str, Any] | None = None,
    ) -> None:
        """Record that ``node`` read (role ``input``) or wrote (``output``) a dataset; hashed when the run ends.

        ``files()`` is asked then for what was read of the folder ``path``, which may hold far more; None: all of it.
        sky: of raw sky, what the catalog says it is (options, folder); None for anything else.
        """
        with self._lock:
            record = self._datasets.setdefault(name, {"role": role, "type": kind, "nodes": []})
            record.update(
                path=path, version=version, rows=rows if rows is not None else record.get("rows"), files=files
            )
            if sky is not None:
                record["sky"] = plain(sky)
                if isinstance(sky.get("filepath"), str):  # of a sky that is made: in the project
                    record["sky"]["filepath"] = relative_name(Path(sky["filepath"]), self.project)
            if role == "output":
                record["role"] = role
            record["nodes"].append(node)

    def snapshot(self, path: Path) -> Path | None:
        """Write what is known so far to ``path``, status running; None in a process that did not open the run.

        Folders that are asked for their files (raw sky) are hashed at the end only: the run may yet read more of them.
        """
        if self.facts["process"]["pid"] != os.getpid():  # a worker that was forked knows its own nodes alone
            return None
        with self._lock:
            return self._save(path, seconds=self._seconds(), device=device(), **self._tables(final=False))

    def write(self, path: Path, *, status: str, error: BaseException | None = None) -> Path:
        """Close the run and write the manifest to ``path``; beside it the lists of files of its folders, each as
        ``listings/<sha256>.sha256``, named by the hash that the manifest gives of the folder.
        """
        with self._lock:
            self._memory.stop()
            for node in self._nodes.values():  # Kedro tells of a node that fails, not of one that Ctrl-C ends
                if status == "interrupted" and node["status"] == "running":
                    node["status"] = status
            self.facts.update(
                status=status,
                error=f"{type(error).__name__}: {error}" if error is not None else None,
                seconds=self._seconds(),
                device=device(),
                **self._tables(final=True),
            )
            self._save_listings(path.parent / "listings")
            return self._save(path)

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._began, 3)

    def _tables(self, *, final: bool) -> dict[str, Any]:
        return {
            "nodes": {
                name: {key: value for key, value in node.items() if key != "began"}
                for name, node in self._nodes.items()
            },
            "datasets": {name: self._hashed(name, final=final) for name in sorted(self._datasets)},
        }

    def _save(self, path: Path, **now: Any) -> Path:
        facts = plain(self.facts | now)
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def _save_listings(self, folder: Path) -> None:
        for record in self.facts["datasets"].values():
            place = folder / f"{record.get('sha256')}.sha256"
            if record.get("sha256") in self._listings and not place.exists():
                with atomic_path(place) as partial:
                    partial.write_text(self._listings[record["sha256"]], encoding="utf-8")

    def _hashed(self, name: str, *, final: bool) -> dict[str, Any]:
        record = dict(self._datasets[name])
        path, ask = record["path"], record.pop("files")
        if path is None:
            return record
        described = {**record, "path": relative_name(path, self.project)}
        files = ask() if ask is not None and final else None
        if files is not None:
            described |= self._listed(files, path)
        elif final or ask is None:
            described |= self._content(name, path)
        card = path.with_suffix(".card.json")  # a detector's weights mean little without their card
        if card.is_file():
            described["card"] = {"path": relative_name(card, self.project), **describe_path(card)}
        return described

    def _content(self, name: str, path: Path) -> dict[str, Any]:
        """``describe_path``, read again only where a file is another than at the last look.

        An input is hashed as it was when it was read, and stays so; ``changed_while_read`` where that is gone.
        """
        state, known = _states(path), self._described.get(name)
        read = self._at_load.get(name, state) if self._datasets[name]["role"] == "input" else state
        if known is not None and known[0] in (state, read):
            return known[1]
        described: dict[str, Any] = {"changed_while_read": True}
        if state == read:
            hashed = self._listed(visible_files(path), path) if path.is_dir() else describe_path(path)
            if name not in self._at_load or _states(path) == read:
                described = hashed
        self._described[name] = (state, described)
        return described

    def _listed(self, files: Sequence[Path], folder: Path) -> dict[str, Any]:
        """``describe_files``, whose list of files is kept."""
        listing = list_files(files, folder)
        described = describe_files(files, folder, listing=listing)
        self._listings[described["sha256"]] = listing
        return described


_State = tuple[str, int, int, int]  # path, inode, bytes, time of the last change in ns


def _states(path: Path) -> list[_State]:
    """Of a file, or of all files of a folder; none where there is nothing."""
    files = [file for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()]
    found = [(str(file), file.stat()) for file in files]
    return [(name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found]


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
