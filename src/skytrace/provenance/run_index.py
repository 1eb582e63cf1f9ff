"""All runs that left a manifest in a project, and which of them wrote a file with which bytes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.provenance.release_runs import FOLDER as RELEASES
from skytrace.provenance.runs import read_manifests

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RunIndex", "writing_node"]


class RunIndex:
    """Manifests of runs, the newest first (a run's id is the time of day at which it began)."""

    def __init__(self, manifests: Iterable[dict[str, Any]], listings: Iterable[Path] = ()) -> None:
        self.manifests = sorted(manifests, key=lambda facts: str(facts.get("run_id")), reverse=True)
        self._listings = tuple(listings)
        self._writers: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for facts in self.manifests:
            for name, record in (facts.get("datasets") or {}).items():
                if record.get("role") == "output" and record.get("path"):
                    self._writers[record["path"]].append((name, facts))

    @classmethod
    def of_project(cls, project: Path) -> RunIndex:
        """The manifests in every ``data/08_reporting/<sky>/manifests`` of ``project``, and in its ``releases``."""
        folders = sorted((project / "data/08_reporting").glob("*/manifests"))
        return cls(
            [facts for folder in folders for facts in read_manifests(folder)],
            [place / "listings" for folder in folders for place in (folder, folder / RELEASES)],
        )

    def writer(self, path: str, sha256: str | None, *, until: str | None = None) -> tuple[str, dict[str, Any]] | None:
        """(dataset, manifest) of the newest run that wrote ``path`` with these bytes; None: no bytes in particular.

        path: relative to the project. until: id of the newest run that counts.
        """
        for name, facts in self._writers.get(path, ()):
            known = facts["datasets"][name].get("sha256")
            if (until is None or facts["run_id"] <= until) and (sha256 is None or known == sha256):
                return name, facts
        return None

    def reader(self, name: str, *, environment: str | None = None) -> dict[str, Any] | None:
        """The newest run that read or wrote dataset ``name``, in memory or as a file, in this environment."""
        for facts in self.manifests:
            if environment is not None and facts.get("environment") != environment:
                continue
            if name in (facts.get("datasets") or {}) or writing_node(facts, name):
                return facts
        return None

    def paths_like(self, end: str) -> list[str]:
        """Recorded paths, newest first, that are ``end`` or end with a folder and it."""
        return [path for path in self._writers if path == end or path.endswith(f"/{end}")]

    def versions(self, path: str) -> list[str]:
        """Recorded paths of the dataset at ``path`` (``x.npz`` -> ``x.npz/<version>/x.npz``), the oldest first."""
        name = Path(path).name
        return sorted(
            known for known in self._writers if Path(known).name == name and Path(known).parents[1].as_posix() == path
        )

    def listing(self, sha256: str | None) -> list[tuple[str, str]] | None:
        """(SHA-256, name) of every file of the folder with this hash, as the run that read it wrote them down."""
        for folder in self._listings:
            place = folder / f"{sha256}.sha256"
            if place.is_file():
                lines = place.read_text(encoding="utf-8").splitlines()
                return [(line[:64], line[66:]) for line in lines]
        return None


def writing_node(facts: dict[str, Any], name: str) -> str | None:
    """The node of this run that makes dataset ``name``; None where the manifest knows none.

    Manifests of the first form (``skytrace.run-manifest/1``) list a file's writer first among its nodes.
    """
    for node, told in (facts.get("nodes") or {}).items():
        if name in told.get("outputs", ()):
            return node
    record = (facts.get("datasets") or {}).get(name, {})
    return record["nodes"][0] if record.get("role") == "output" and record.get("nodes") else None
