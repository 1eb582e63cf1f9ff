"""Whether a lineage still holds: its files against the runs' hashes, parameters and sky against the configuration as it
is now, code against the commits. Every fault is a Break; what is known to be harmless but worth saying is a note.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from skytrace.provenance.hashing import describe_path, file_sha256, relative_name
from skytrace.provenance.lineage import Break, short_hash, value_at
from skytrace.provenance.machine import package_versions
from skytrace.provenance.repository import changed_since, repository_state
from skytrace.provenance.runs import run_state, run_words
from skytrace.provenance.sources import SourceTree

if TYPE_CHECKING:
    from skytrace.provenance.lineage import Dataset, Lineage
    from skytrace.provenance.run_index import RunIndex

__all__ = ["Configuration", "check_lineage"]

_BY_HAND = re.compile(
    r"\d{4}-\d\d-\d\dT"
)  # versions of runs by hand are times; a release is pinned, and never outdated


class Configuration(Protocol):
    """The project's configuration as it is now; ``trace_project.ProjectConfiguration`` reads it through Kedro."""

    def parameters(self, environment: str, runtime: dict[str, Any]) -> dict[str, Any] | str:
        """Parameters in JSON's types, ``runtime`` over them; a line of words where they cannot be read."""

    def catalog(self, environment: str) -> dict[str, Any]:
        """The catalog's entries; none where they cannot be read."""


def check_lineage(
    lineage: Lineage, index: RunIndex, project: Path, configuration: Configuration
) -> tuple[list[Break], list[str]]:
    """(breaks, notes) of the lineage, those found while building it first; sets every dataset's ``state``."""
    breaks = list(lineage.breaks)
    for dataset in lineage.datasets:
        breaks += _FileCheck(dataset, lineage, index, project).breaks()
    changed, notes = _check_runs(lineage, project, SourceTree(project / "src"))
    breaks += changed
    breaks += _check_parameters(lineage, configuration)
    breaks += _check_sky(lineage, configuration)
    return _merged(breaks), notes


class _FileCheck:
    """One dataset on disk now, against what its run recorded."""

    def __init__(self, dataset: Dataset, lineage: Lineage, index: RunIndex, project: Path) -> None:
        self._dataset = dataset
        self._lineage = lineage
        self._index = index
        self._project = project

    def breaks(self) -> list[Break]:
        """What is wrong with its files."""
        dataset, record = self._dataset, self._dataset.record
        if dataset.path is None:
            dataset.state = "in memory" if dataset.place == "memory" else "computed" if record.get("sky") else "unknown"
            return []
        place = self._project / dataset.path
        if record.get("changed_while_read"):
            words = f"{dataset.path} was changed after run {min(dataset.readers)} had begun to read it, before its hash"
            words += " was taken: which bytes it read is not known"
            return [self._break("changed while it was read", "rewritten", words)]
        if record.get("sha256") is None:
            return [self._break("unknown", "unknown", f"no run recorded a hash of {dataset.path}")]
        if not place.exists():
            return [self._gone()]
        found = self._folder(place) if place.is_dir() else self._file(place)
        return [*found, *self._card(), *self._newer_version()]

    def _break(self, state: str, kind: str, words: str) -> Break:
        self._dataset.state = state
        return Break(kind, words, (self._dataset.name,))

    def _gone(self) -> Break:
        dataset, version = self._dataset, self._dataset.record.get("version")
        if version is not None:
            words = f"version {version} is gone: {dataset.path}, as run {self._run()} knew it"
            return self._break("missing", "missing-version", words)
        return self._break("missing", "missing", f"{dataset.path} is gone; run {self._run()} knew it")

    def _run(self) -> str:
        return str(self._dataset.run_id)

    def _file(self, place: Path) -> list[Break]:
        dataset, known = self._dataset, self._dataset.record["sha256"]
        now = file_sha256(place)
        if now == known:
            dataset.state = "as recorded"
            return []
        path = str(dataset.path)
        later = self._index.writer(path, now)
        readers = sorted(dataset.readers)
        if later is not None and later[1]["run_id"] > min(readers, default=""):
            words = f"run {later[1]['run_id']} made {path} again, with other bytes, after run {readers[0]} had used it"
            return [self._break("made again", "stale", words)]
        verb = "read" if dataset.place == "raw" else "recorded"
        words = f"{path} has SHA-256 {short_hash(now)}, of no run since; run {self._run()} {verb} {short_hash(known)}"
        return [self._break("changed", "edited", words)]

    def _folder(self, place: Path) -> list[Break]:
        dataset, known = self._dataset, self._dataset.record["sha256"]
        listing = self._index.listing(known)
        if listing is None:
            if describe_path(place).get("sha256") == known:
                dataset.state = "as recorded"
                return []
            words = f"run {self._run()} kept no list of the files of {dataset.path}, which are others now, or more"
            return [self._break("unknown", "unknown", words)]
        gone = [name for _, name in listing if not (place / name).is_file()]
        other = [name for sha256, name in listing if name not in gone and file_sha256(place / name) != sha256]
        found = []
        if gone:
            found.append(
                self._break("missing", "missing", f"{_some(gone)} of {dataset.path} gone since run {self._run()}")
            )
        if other:
            words = f"{_some(other)} of {dataset.path} changed since run {self._run()}"
            found.append(self._break("changed", "edited", words))
        if not found:
            dataset.state = "as recorded"
        return found

    def _card(self) -> list[Break]:
        card = self._dataset.record.get("card")
        if card is None:
            return []
        place = self._project / card["path"]
        if not place.is_file():
            return [self._break("missing", "missing", f"{card['path']} is gone; run {self._run()} knew it")]
        if file_sha256(place) != card["sha256"]:
            now, known = short_hash(file_sha256(place)), short_hash(card["sha256"])
            words = f"{card['path']} has SHA-256 {now}, of no run since; run {self._run()} recorded {known}"
            return [self._break("changed", "edited", words)]
        return []

    def _newer_version(self) -> list[Break]:
        """A version that a run by hand would read today, where it holds other bytes than the one that was read."""
        dataset, version = self._dataset, self._dataset.record.get("version")
        if version is None or not _BY_HAND.match(version) or dataset is self._lineage.target or self._pinned():
            return []
        place = self._project / str(dataset.path)
        newest = max((found for found in place.parents[1].glob(f"*/{place.name}")), key=lambda path: path.parent.name)
        if newest.parent.name <= version or file_sha256(newest) == dataset.record["sha256"]:
            return []
        path = relative_name(newest, self._project)
        maker = self._index.writer(path, None)
        made = f"by run {maker[1]['run_id']}" if maker else "by no recorded run"
        reader = min(dataset.readers)
        words = f"version {newest.parent.name} was made {made} after version {version}, which run {reader} used"
        return [Break("stale", words, (dataset.name,))]

    def _pinned(self) -> bool:
        runs = (self._lineage.runs[run] for run in self._dataset.readers)
        return any(self._dataset.name in (facts.get("command") or {}).get("load_versions", {}) for facts in runs)


def _check_runs(lineage: Lineage, project: Path, sources: SourceTree) -> tuple[list[Break], list[str]]:
    """Commits and code of the runs that made something; how those ended that did not end well, and whose packages are
    others now.
    """
    breaks, notes, state, installed = [], [], repository_state(project), package_versions()
    for run_id in sorted({step.run_id for step in lineage.steps}):
        facts = lineage.runs[run_id]
        if moved := _differences("", facts.get("packages") or installed, installed):
            told = [f"{name.removeprefix('.')} {then} then, {now} now" for name, then, now in moved]
            notes.append(f"run {run_id} had other packages: {_some(told)}")
        git = facts.get("git") or {}
        commit = git.get("commit")
        if run_state(facts) != "done":
            notes.append(run_words(facts))
        if commit is None:
            breaks.append(Break("dirty", f"run {run_id} was of code without a commit", (run_id,)))
            continue
        if git.get("dirty"):
            words = f"run {run_id} was of commit {commit[:7]} with changes that were not committed"
            breaks.append(Break("dirty", words, (run_id,)))
        if (state["commit"], state["diff_sha256"]) == (commit, git.get("diff_sha256")):
            continue  # the very same tree
        changed = changed_since(project, commit, committed_only=bool(git.get("dirty")))
        if changed is None:
            words = f"commit {commit[:7]} of run {run_id} is not in this repository: what has changed since is unknown"
            breaks.append(Break("code", words, (run_id,)))
        else:
            breaks += _changed_code(lineage, run_id, commit, changed, sources)
    return breaks, notes


def _changed_code(
    lineage: Lineage, run_id: str, commit: str, changed: frozenset[str], sources: SourceTree
) -> list[Break]:
    functions = {step.node: step.function for step in lineage.steps if step.run_id == run_id}
    functions |= {
        raw.name: raw.record.get("type", "") for raw in lineage.datasets if raw.place == "raw" and run_id in raw.readers
    }
    breaks = []
    for where, function in functions.items():
        files = sorted({f"src/{path.as_posix()}" for path in sources.files_of(function)} & changed)
        if files:
            words = f"changed since commit {commit[:7]} of run {run_id}: {_some(files)}"
            breaks.append(Break("code", words, (where,), tuple(files)))
    return breaks


def _check_parameters(lineage: Lineage, configuration: Configuration) -> list[Break]:
    breaks = []
    for step in lineage.steps:
        facts = lineage.runs[step.run_id]
        if not step.parameters:
            continue
        now = configuration.parameters(facts.get("environment", ""), _runtime(facts))
        if isinstance(now, str):
            breaks.append(Break("parameters", f"those of now cannot be read: {now}", (step.node,)))
            continue
        for group, value in step.parameters.items():
            for name, then, today in _differences(group, value, value_at(now, group)):
                words = f"{name} is {today} now, and was {then} in run {step.run_id}"
                breaks.append(Break("parameters", words, (step.node,)))
    return breaks


def _check_sky(lineage: Lineage, configuration: Configuration) -> list[Break]:
    breaks = []
    for dataset in lineage.datasets:
        if dataset.place != "raw":
            continue
        run_id = min(dataset.readers)
        environment = lineage.runs[run_id].get("environment", "")
        entry = configuration.catalog(environment).get(dataset.name)
        if entry is None:
            words = f"environment {environment} has no {dataset.name} any more; run {run_id} read it"
            breaks.append(Break("sky", words, (dataset.name,)))
            continue
        kinds = [str(kind).rsplit(".", 1)[-1] for kind in (dataset.record.get("type"), entry.get("type"))]
        if kinds[0] != kinds[1]:
            words = f"environment {environment} reads a {kinds[1]} now, run {run_id} read a {kinds[0]}"
            breaks.append(Break("sky", words, (dataset.name,)))
            continue
        for key in ("options", "folder", "identify"):
            for name, then, today in _differences(key, dataset.record["sky"].get(key), entry.get(key)):
                if key in entry:
                    words = f"{name} is {today} now, and was {then} in run {run_id}"
                    breaks.append(Break("sky", words, (dataset.name,)))
    return breaks


def _runtime(facts: dict[str, Any]) -> dict[str, Any]:
    return dict((facts.get("command") or {}).get("runtime_params") or {})


def _differences(name: str, then: Any, now: Any) -> list[tuple[str, str, str]]:
    """(dotted name, value then, value now) of every leaf that is not the same."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [*then, *(key for key in now if key not in then)]
        return [
            change
            for key in keys
            for change in _differences(f"{name}.{key}", then.get(key, "absent"), now.get(key, "absent"))
        ]
    return [] if then == now else [(name, str(then), str(now))]


def _some(names: list[str] | tuple[str, ...], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _merged(breaks: list[Break]) -> list[Break]:
    """One Break for the same words, with all the places that they are true of."""
    found: dict[tuple[str, str], Break] = {}
    for each in breaks:
        known = found.get((each.kind, each.words))
        where = tuple(dict.fromkeys((*(known.where if known else ()), *each.where)))
        found[each.kind, each.words] = replace(each, where=where)
    return list(found.values())
