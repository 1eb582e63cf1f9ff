"""The facts of a trace as lines for a terminal: the value, the tree, the runs, and where the chain is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from skytrace.compute.json_values import leaves
from skytrace.provenance.lineage import short_hash

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["brief", "dataset_words", "flat_values", "run_sentence", "sky_words", "trace_lines", "verdict"]

_BRANCHES = {True: ("└─ ", "   "), False: ("├─ ", "│  ")}
_WIDEST = 160


def trace_lines(facts: dict[str, Any], *, full: bool = False) -> Iterator[Text]:
    """One rich Text a line; plain text without colours when a console has none. full: parameters with all values."""
    from rich.text import Text

    target = facts["target"]
    yield Text.assemble((clean(target["name"]), "bold"), f"  {clean(target['path'] or '(no file)')}")
    if target["key"]:
        yield Text.assemble(f"{clean(target['key'])} = ", (brief(target["value"]), "bold cyan"))
    yield Text("")
    yield from _Tree(facts, full).lines()
    yield Text("")
    for run in facts["runs"]:
        yield Text(run_sentence(run))
    for note in facts["notes"]:
        yield Text(f"note: {clean(note)}", style="yellow")
    yield Text("")
    yield Text(verdict(facts), style="bold green" if facts["whole"] else "bold red")
    for each in facts["breaks"]:
        yield Text.assemble((f"  {each['kind']:<15} ", "red"), f"{_joined(each['where'])}: {clean(each['words'])}")


def verdict(facts: dict[str, Any]) -> str:
    """Whether the chain is whole, in a sentence."""
    raw = sum(dataset["place"] == "raw" for dataset in facts["datasets"])
    kinds = ((len(facts[key]), key) for key in ("datasets", "nodes", "runs"))
    counts = ", ".join(f"{n} {name if n != 1 else name[:-1]}" for n, name in kinds)
    counts += f", {raw} raw {'sky' if raw == 1 else 'skies'}"
    if facts["whole"]:
        return f"whole: {counts}; every file is as its run recorded it"
    n = len(facts["breaks"])
    return f"broken in {n} place{'s' if n > 1 else ''} ({counts}):"


def run_sentence(run: dict[str, Any]) -> str:
    """``run 2026-...: smoke, cluster_pu, began ..., 61 s, commit 0123456 (clean): kedro run ...``."""
    commit = f"commit {run['commit'][:7]}" if run["commit"] else "no commit"
    tree = {True: "dirty tree", False: "clean tree", None: "tree unknown"}[run["dirty"]]
    seconds = f", {run['seconds']:.0f} s" if run["seconds"] is not None else ""
    ended = "" if run["state"] == "done" else f", {run['state']}"
    return clean(
        f"run {run['run_id']}: environment {run['environment']}, pipelines {', '.join(run['pipelines'])}, "
        f"began {run['started']}{seconds}{ended}, {commit}, {tree}; {run['command']}"
    )


def dataset_words(dataset: dict[str, Any]) -> str:
    """Where a dataset lies and how: place, size, hash, state."""
    if dataset["place"] == "memory":
        return "in memory, never written"
    words = [dataset["path"]] if dataset["path"] else []
    if dataset["place"] == "raw":
        words.insert(0, f"raw sky, {sky_words(dataset)}")
    if dataset["version"]:
        words.append(f"version {dataset['version']}")
    if dataset["files"] is not None:
        words.append(f"{dataset['files']} files")
    if dataset["rows"] is not None:
        words.append(f"{dataset['rows']} rows")
    if dataset["sha256"]:
        words.append(f"SHA-256 {short_hash(dataset['sha256'])}")
    return clean(", ".join([*words, dataset["state"]] if dataset["state"] else words))


def sky_words(dataset: dict[str, Any]) -> str:
    """What raw sky it is: the class that reads it, with the options that it was asked with."""
    kind = str(dataset["type"]).rsplit(".", 1)[-1].removesuffix("Dataset")
    sky = {name: value for name, value in (dataset["sky"] or {}).items() if name != "filepath"}
    options = sky.pop("options", None) or {}
    asked = brief_pairs({**sky, **options})
    return f"{kind}({asked})"


def brief_pairs(values: Any) -> str:
    """``a=1, b.c=2``, cut where it grows long."""
    return brief(", ".join(f"{name}={text}" for name, text in flat_values(values)))


def flat_values(value: Any) -> list[tuple[str, str]]:
    """(dotted name, value as text) of every leaf; one pair with the name "value" for what is not a group."""
    found = leaves(value, "" if isinstance(value, dict) else "value")
    return [(name, item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)) for name, item in found]


def brief(value: Any) -> str:
    """A value as one line of JSON, cut where it grows long; text as it is, without what a terminal would obey."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = clean(text)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]} …"


def clean(text: str) -> str:
    """``text`` on one line, every character that does not print as its escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


def _joined(names: list[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return clean(", ".join(names[:limit]) + more)


class _Tree:
    """Every dataset and every node in full where it comes first, by its number from then on."""

    def __init__(self, facts: dict[str, Any], full: bool) -> None:
        self._facts = facts
        self._full = full
        self._datasets = {each["number"]: each for each in facts["datasets"]}
        self._nodes = {each["number"]: each for each in facts["nodes"]}
        self._broken = {name for each in facts["breaks"] for name in each["where"]}
        self._shown: set[tuple[str, Any]] = set()

    def lines(self) -> Iterator[Text]:
        """The tree below the target."""
        return self._dataset(self._facts["target"]["dataset"], "", "")

    def _first(self, *what: Any) -> bool:
        new = what not in self._shown
        self._shown.add(what)  # type: ignore[arg-type]
        return new

    def _dataset(self, number: int, first: str, rest: str) -> Iterator[Text]:
        from rich.text import Text

        dataset = self._datasets[number]
        head = Text.assemble((first, "dim"), f"[{number}] ", (clean(dataset["name"]), "bold"))
        if not self._first("dataset", number):
            yield head.append(" (above)", style="dim")
            return
        head.append(f"  {dataset_words(dataset)}")
        yield self._marked(head, dataset["name"])
        if dataset["node"] is not None:
            yield from self._node(dataset["node"], rest + _BRANCHES[True][0], rest + _BRANCHES[True][1])

    def _node(self, number: int, first: str, rest: str) -> Iterator[Text]:
        from rich.text import Text

        node = self._nodes[number]
        head = Text.assemble((first, "dim"), "made by ", (clean(node["name"]), "italic"))
        if not self._first("node", number):
            yield head.append(" (above)", style="dim")
            return
        yield self._marked(head.append(f"  run {clean(node['run_id'])}"), node["name"])
        groups = list(node["parameters"].items())
        last = len(groups) + len(node["inputs"])
        for place, (name, values) in enumerate(groups, start=1):
            yield from self._parameters(
                node["run_id"], name, values, *(rest + part for part in _BRANCHES[place == last])
            )
        for place, needed in enumerate(node["inputs"], start=len(groups) + 1):
            yield from self._dataset(needed, *(rest + part for part in _BRANCHES[place == last]))

    def _parameters(self, run_id: str, name: str, values: Any, first: str, rest: str) -> Iterator[Text]:
        from rich.text import Text

        head = Text.assemble((first, "dim"), ("parameters ", "dim"), clean(name))
        if not self._first("parameters", (run_id, name)):
            yield head.append(" (above)", style="dim")
        elif self._full:
            yield head
            for leaf, text in flat_values(values):
                yield Text.assemble((rest, "dim"), f"  {clean(leaf)} = {clean(text)}")
        else:
            yield head.append(f": {brief_pairs(values) if isinstance(values, dict) else brief(values)}")

    def _marked(self, line: Text, name: str) -> Text:
        return line.append("  ✗ broken", style="red") if name in self._broken else line
