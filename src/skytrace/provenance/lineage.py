"""From a dataset back to the raw sky: which run's node made it, from which inputs, and so on, by the runs' manifests.

Nothing on disk is looked at here (``trace_checks``), and nothing is guessed: where no manifest knows, the lineage ends
with a Break that says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skytrace.provenance.run_index import writing_node

if TYPE_CHECKING:
    from skytrace.provenance.run_index import RunIndex

__all__ = ["KINDS", "Break", "Dataset", "Lineage", "Step", "short_hash", "trace_dataset", "value_at"]

#: What can be broken, with the words for it.
KINDS = {
    "edited": "a file has other bytes than the run that it comes from recorded",
    "missing": "a file is gone",
    "missing-version": "a version of a dataset is gone",
    "stale": "an input was made again after what was made from it",
    "rewritten": "an input was written again while the run that read it went on",
    "no-run": "no run is recorded that made it, or not what it was made from",
    "dirty": "made by code that no commit holds",
    "parameters": "a parameter has another value now",
    "sky": "the raw sky is another one now, or has other options",
    "code": "the code that made it has changed",
    "unknown": "the manifest does not say enough to check it",
}


@dataclass(frozen=True)
class Break:
    """kind: one of KINDS. words: one line. where: names of the datasets, nodes or runs. files: of the source."""

    kind: str
    words: str
    where: tuple[str, ...]
    files: tuple[str, ...] = ()


@dataclass(eq=False)
class Dataset:
    """A dataset in one state. place: raw, made, or memory (never written). record: what the manifest says of it.

    run_id: the run that wrote it, or read it where none is known to have. readers: ids of the runs that read it.
    state: how it lies on disk now, in a word; set by the checks.
    """

    number: int
    name: str
    place: str
    record: dict[str, Any]
    run_id: str | None
    step: Step | None = None
    readers: set[str] = field(default_factory=set)
    state: str = ""

    @property
    def path(self) -> str | None:
        """Where its file lies, relative to the project."""
        return self.record.get("path")


@dataclass(eq=False)
class Step:
    """What one node did in one run. parameters: group -> its values as the run had them. known: inputs are recorded.

    status: as the manifest has it (done, failed, interrupted, running); "" where it does not say.
    """

    number: int
    node: str
    run_id: str
    function: str
    seconds: float | None
    parameters: dict[str, Any]
    known: bool
    status: str = ""
    inputs: list[Dataset] = field(default_factory=list)


@dataclass(eq=False)
class Lineage:
    """target: what was asked for. datasets, steps: everything it comes from, once each. runs: manifests by id."""

    target: Dataset
    datasets: list[Dataset]
    steps: list[Step]
    runs: dict[str, dict[str, Any]]
    breaks: list[Break]


def trace_dataset(index: RunIndex, name: str, facts: dict[str, Any] | None, record: dict[str, Any]) -> Lineage:
    """The lineage of dataset ``name`` as the run with the manifest ``facts`` wrote or read it.

    record: what is known of it where ``facts`` is None (no run is).
    """
    builder = _Builder(index)
    if facts is None:
        target = builder.add(name, "made", record, None)
        words = f"no manifest is of a run that wrote {record.get('path') or name}"
        builder.breaks.append(Break("no-run", words, (name,)))
    else:
        target = builder.dataset(name, facts)
    return Lineage(target, builder.datasets, builder.steps, builder.runs, builder.breaks)


class _Builder:
    """Walks from outputs to inputs; every dataset, step and run is met once."""

    def __init__(self, index: RunIndex) -> None:
        self._index = index
        self._known: dict[tuple, Dataset] = {}
        self._steps: dict[tuple[str, str], Step] = {}
        self.datasets: list[Dataset] = []
        self.steps: list[Step] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.breaks: list[Break] = []

    def add(self, name: str, place: str, record: dict[str, Any], run_id: str | None) -> Dataset:
        """A dataset that was not met before."""
        found = Dataset(len(self.datasets) + 1, name, place, record, run_id)
        self.datasets.append(found)
        return found

    def dataset(self, name: str, reader: dict[str, Any]) -> Dataset:
        """Dataset ``name`` as the run ``reader`` had it, with everything that it was made from."""
        record = (reader.get("datasets") or {}).get(name)
        self.runs[reader["run_id"]] = reader
        if record is None:
            key: tuple = (name, reader["run_id"])
        else:
            key = (name, record.get("path"), record.get("sha256"), str(record.get("sky")))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._new(name, record, reader)
        found.readers.add(reader["run_id"])
        return found

    def _new(self, name: str, record: dict[str, Any] | None, reader: dict[str, Any]) -> Dataset:
        if record is None:
            found = self.add(name, "memory", {}, reader["run_id"])
            found.step = self._step(name, reader)
            if found.step is None:
                self._broken("no-run", f"run {reader['run_id']} does not say where {name} came from", name)
            return found
        if record.get("role") != "output" and "sky" in record:
            return self.add(name, "raw", record, reader["run_id"])
        if record.get("role") == "output":
            found = self.add(name, "made", record, reader["run_id"])
            found.step = self._step(name, reader)
            return found
        return self._made_before(name, record, reader)

    def _made_before(self, name: str, record: dict[str, Any], reader: dict[str, Any]) -> Dataset:
        """A file that ``reader`` found there: made by the newest run until then that wrote these bytes; where none is
        known, by a later one that wrote them again.
        """
        path, run_id, sha256 = record["path"], reader["run_id"], record.get("sha256")
        writer = self._index.writer(path, sha256, until=run_id)
        if writer is None and sha256 is not None:
            writer = self._index.writer(path, sha256)
        last = writer or self._index.writer(path, None, until=run_id)
        found = self.add(name, "made", record, last[1]["run_id"] if last else run_id)
        if last is None:
            self._broken("no-run", f"run {run_id} read {path}, and no manifest is of a run that wrote it", name)
            return found
        if writer is None:
            wrote = short_hash(last[1]["datasets"][last[0]].get("sha256"))
            self._broken(
                "edited",
                f"run {run_id} read {path} with SHA-256 {short_hash(record.get('sha256'))}, and run "
                f"{last[1]['run_id']}, the last to write it until then, had left {wrote}",
                name,
            )
        self.runs[last[1]["run_id"]] = last[1]
        found.step = self._step(last[0], last[1])
        return found

    def _step(self, name: str, facts: dict[str, Any]) -> Step | None:
        node = writing_node(facts, name)
        if node is None:
            return None
        key = (facts["run_id"], node)
        if key not in self._steps:
            self._steps[key] = self._new_step(node, facts)
            for needed in (facts.get("nodes") or {}).get(node, {}).get("inputs", ()):
                self._steps[key].inputs.append(self.dataset(needed, facts))
        return self._steps[key]

    def _new_step(self, node: str, facts: dict[str, Any]) -> Step:
        told = (facts.get("nodes") or {}).get(node, {})
        step = Step(
            number=len(self.steps) + 1,
            node=node,
            run_id=facts["run_id"],
            function=told.get("function", ""),
            seconds=told.get("seconds"),
            parameters={name: value_at(facts.get("parameters"), name) for name in told.get("parameters", ())},
            known="inputs" in told,
            status=str(told.get("status") or ""),
        )
        self.steps.append(step)
        if not step.known:
            self._broken(
                "no-run", f"run {facts['run_id']} is of an older skytrace: what its node read is unknown", node
            )
        return step

    def _broken(self, kind: str, words: str, where: str) -> None:
        self.breaks.append(Break(kind, words, (where,)))


def value_at(parameters: Any, name: str) -> Any:
    """The group ``name`` (dotted) of the parameters; ``parameters`` is all of them; None where it is not there."""
    if name == "parameters":
        return parameters
    for part in name.split("."):
        parameters = parameters.get(part) if isinstance(parameters, dict) else None
    return parameters


def short_hash(sha256: str | None) -> str:
    """The first twelve digits: what a line of text shows."""
    return sha256[:12] if sha256 else "none"
