"""Whether a run that a manifest tells of has ended, and how: a killed run cannot say so itself, its process is gone."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_manifests", "run_state", "run_words", "this_process"]


def this_process() -> dict[str, Any]:
    """host, pid and the second at which this process began (a pid is used again after a while)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": _began(os.getpid())}


def run_state(facts: Mapping[str, Any]) -> str:
    """done, failed, running, killed (status running, but its process on this machine is gone), or unfinished: of a run
    on another machine nobody here can say which of the two.
    """
    if facts.get("status") != "running":
        return str(facts.get("status"))
    process = facts.get("process") or {}
    if process.get("host") != socket.gethostname():
        return "unfinished"
    began = _began(int(process.get("pid") or 0))
    return "running" if began is not None and began == process.get("began") else "killed"


def run_words(facts: Mapping[str, Any]) -> str:
    """``run 2026-... was killed in lens_finder.train_detector``: how a run that is not done stands."""
    state = run_state(facts)
    open_ones = [
        name for name, node in (facts.get("nodes") or {}).items() if node.get("status") in ("running", "failed")
    ]
    place = f" in {', '.join(open_ones)}" if open_ones else ""
    said = {
        "killed": f"was killed{place}",
        "failed": f"failed{place}",
        "running": f"is still running{place}",
        "unfinished": f"on {(facts.get('process') or {}).get('host', 'another machine')} has not finished{place}",
    }
    return f"run {facts.get('run_id')} {said.get(state, state)}"


def read_manifests(folder: Path) -> list[dict[str, Any]]:
    """The run manifests of ``folder``, the newest first; none where there is no such folder."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"), reverse=True))
    return [facts for facts in found if isinstance(facts, dict)]


def _began(pid: int) -> int | None:
    """The second at which process ``pid`` of this machine began; None where there is none, or only its remains."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
    except (psutil.Error, ValueError):
        return None
