"""Two runs that would write the same files do not go on side by side; any other two do.

A run holds one lock for every place that it writes to, <sky>/<pipeline> for data/<layer>/<sky>/<pipeline>/<file>. The
operating system keeps the lock and drops it with the process, so that a killed run leaves none behind; nothing waits,
so that nothing can wait for ever. Where the file system knows no locks, a warning says so and the run goes on.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.compute.files import atomic_path
from skytrace.errors import SkytraceError
from skytrace.provenance.hashing import relative_name
from skytrace.provenance.runs import is_running, this_process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedro.pipeline import Pipeline

__all__ = ["LOCK_FOLDER", "RunLock", "RunLockedError", "places_written"]

LOCK_FOLDER = "data/.locks"
logger = logging.getLogger(__name__)


class RunLockedError(SkytraceError):
    """Another run writes where this one would; the message says which run that is, and what can be done."""


class RunLock:
    """The locks of one run: taken all or none. They lie beside the data, so that checkouts of one data folder agree."""

    def __init__(self, project: Path) -> None:
        self._folder = project / LOCK_FOLDER
        self._held: list[tuple[Any, Path]] = []

    def acquire(self, places: Iterable[str], *, command: str) -> None:
        """Lock every one of ``places``. Raises RunLockedError, holding none, where another run has one of them.

        command: what to tell others that this run is.
        """
        self.release()
        try:
            for place in sorted(places):
                self._acquire(place, command)
        except BaseException:
            self.release()
            raise

    def _acquire(self, place: str, command: str) -> None:
        from filelock import FileLock, Timeout

        name = re.sub(r"[^A-Za-z0-9_.-]+", "~", place)
        holder = self._folder / f"{name}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # no lock by existence: that one would outlive a killed run
            lock = FileLock(self._folder / f"{name}.lock", blocking=False, thread_local=False, fallback_to_soft=False)
            lock.acquire()
        except Timeout:
            raise RunLockedError(_held_by(holder, place)) from None
        except (OSError, NotImplementedError) as error:
            logger.warning(
                "no lock could be taken in %s (%s): do not run another pipeline that writes to %s meanwhile",
                self._folder, error, place,
            )  # fmt: skip
            return
        self._held.append((lock, holder))
        facts = {**this_process(), "since": datetime.now(UTC).isoformat(timespec="seconds"), "command": command}
        with atomic_path(holder) as partial:
            partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    def release(self) -> None:
        """Give every lock back; the files of the locks stay, because removing one could part two waiting runs."""
        while self._held:
            lock, holder = self._held.pop()
            holder.unlink(missing_ok=True)
            lock.release()


def places_written(pipeline: Pipeline, catalog: Any, project: Path) -> set[str]:
    """Where a run of ``pipeline`` leaves files: <sky>/<pipeline>, or the folder of a file that lies elsewhere.

    Raw sky that is made on its first use (a mock survey) counts where it is not there yet.
    """
    written = {name for node in pipeline.nodes for name in node.outputs}
    places = set()
    for name in written | pipeline.inputs():
        if name == "parameters" or name.startswith("params:"):
            continue
        dataset = catalog.get(name)
        path = getattr(dataset, "_filepath", None)
        if path is None or (name not in written and (not hasattr(dataset, "source_path") or dataset.exists())):
            continue
        places.add(_place(Path(str(path)), project))
    return places


def _place(path: Path, project: Path) -> str:
    parts = Path(relative_name(path, project)).parts
    if len(parts) >= 4 and parts[0] == "data":
        return "/".join(parts[2:4])
    return "/".join(parts[:-1]) or "."


def _held_by(holder: Path, place: str) -> str:
    try:
        facts = json.loads(holder.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it has the lock for a moment only, or is about to write who it is
        facts = {}
    advice = "wait until it has ended, end it, or run another pipeline or environment"
    spoil = "two runs that write the same files would spoil each other's results"
    if not facts or is_running(facts) is False:  # the names left by a run that was killed are not the holder's
        return f"another run writes to {place}, and {spoil}: {advice}"
    who = f"process {facts.get('pid')} on {facts.get('host')}, since {facts.get('since')}: {facts.get('command')}"
    return f"another run writes to {place} ({who}), and {spoil}: {advice}"
