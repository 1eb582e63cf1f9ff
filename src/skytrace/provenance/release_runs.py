"""Manifests that travel with a release: DVC carries a release's files and git its manifests, so that ``kedro trace``
knows on another machine which run made them.

A run of whole pipelines, or of those nodes of them that a DVC stage runs, leaves under KEDRO_RELEASE, when it is done,
manifests/releases/<release>-<pipelines>-<hash>.json beside its own manifest, which stays on its machine. The hash is of
what it made: DVC may bring results of an earlier run back, and that run's manifest is still there. The newest run of
the same results has the place.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.compute.files import atomic_path, file_name_of, remove_abandoned
from skytrace.compute.fingerprint import fingerprint
from skytrace.surveys.data_root import data_root

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FOLDER", "here", "keep_release_manifest"]

#: Beside the manifests of runs.
FOLDER = "releases"
#: Raw sky lies elsewhere on another machine.
_ROOT = "$SKYTRACE_DATA/"
#: Entries of a run's command that leave nodes out.
_FILTERS = (
    "node_names",
    "from_nodes",
    "to_nodes",
    "from_inputs",
    "to_outputs",
    "namespaces",
    "only_missing_outputs",
)


def keep_release_manifest(manifest: Path, release: str | None) -> Path | None:
    """Copy the closed ``manifest`` to where git keeps it, with its lists of files; None where the run is no whole one
    of a release, or is not done. The process, and where project and raw sky lie on this machine, stay behind.
    """
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    name = _name(facts, release)
    if name is None:
        return None
    folder = manifest.parent / FOLDER
    remove_abandoned(folder)
    _keep_listings(facts, manifest.parent / "listings", folder / "listings")
    path = folder / f"{name}.json"
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(_portable(facts), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def here(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a kept manifest with the paths of raw sky as they are on this machine."""
    found = copy.deepcopy(dict(facts))
    for record in (found.get("datasets") or {}).values():
        path = record.get("path")
        if isinstance(path, str) and path.startswith(_ROOT):
            record["path"] = (data_root() / path.removeprefix(_ROOT)).as_posix()
    return found


def _name(facts: Mapping[str, Any], release: str | None) -> str | None:
    command = facts.get("command") or {}
    pipelines = sorted(command.get("pipeline_names") or ["__default__"])
    tags = sorted(command.get("tags") or [])  # of a DVC stage: the pipeline without those before it
    if not release or facts.get("status") != "done" or any(command.get(key) for key in _FILTERS):
        return None
    if tags and tags != pipelines:
        return None
    made = {
        name: record.get("sha256")
        for name, record in (facts.get("datasets") or {}).items()
        if record.get("role") == "output"
    }
    words = file_name_of(f"{release}-{'+'.join(pipelines)}")
    return f"{words}-{fingerprint(release, pipelines, tags, made, length=8)}"


def _portable(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts without the process; raw sky by its place under $SKYTRACE_DATA, unless only the project's is there."""
    kept = copy.deepcopy({key: value for key, value in facts.items() if key != "process"})
    project = Path((kept.get("command") or {}).pop("project_path", None) or Path.cwd())
    root = (project / data_root()).absolute()
    for record in (kept.get("datasets") or {}).values():
        if "sky" not in record or not record.get("path"):
            continue
        path = project / record["path"]
        ours = path.is_relative_to(project) and not root.is_relative_to(project)
        if path.is_relative_to(root) and not ours:
            record["path"] = _ROOT + path.relative_to(root).as_posix()
    return kept


def _keep_listings(facts: Mapping[str, Any], source: Path, target: Path) -> None:
    for record in (facts.get("datasets") or {}).values():
        name = f"{record.get('sha256')}.sha256"
        if (source / name).is_file() and not (target / name).exists():
            with atomic_path(target / name) as partial:
                shutil.copyfile(source / name, partial)
