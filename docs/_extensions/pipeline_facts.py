"""What pages say of pipelines and datasets, read from the registry and the catalog: it cannot go out of date.

``{pipeline-facts} NAME``: what the pipeline reads, its nodes in order, the files to look at first.
``{dataset-list} FILE``: the datasets of a catalog file with the comment that stands above each.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from docutils import nodes
from page_tables import table, words
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline
    from sphinx.application import Sphinx

CONF = Path(__file__).resolve().parents[2] / "conf" / "base"
RESOLVED = re.compile(r"\$\{globals:(\w+)\}")


@cache
def lineage(name: str) -> Pipeline:
    """The pipeline ``name`` with everything upstream of it."""
    from skytrace.pipeline_registry import LINEAGES, create_lineage

    if name not in LINEAGES:
        raise ValueError(f"no pipeline {name!r}; there are {', '.join(LINEAGES)}")
    return create_lineage(LINEAGES[name])


@cache
def catalog(folder: Path = CONF) -> dict[str, dict[str, Any]]:
    """Every dataset of ``folder`` with a layer: name -> its entry, with ``file`` of the catalog and ``comment``."""
    sky = yaml.safe_load((folder / "globals.yml").read_text(encoding="utf-8"))
    found = {}
    for path in sorted(folder.glob("catalog*.yml")):
        source = path.read_text(encoding="utf-8")
        for name, entry in yaml.safe_load(source).items():
            layer = ((entry.get("metadata") or {}).get("kedro-viz") or {}).get("layer")
            if layer and not name.startswith("_"):
                place = RESOLVED.sub(lambda match: str(sky[match[1]]), str(entry.get("filepath", "")))
                found[name] = {
                    "file": path.stem, "layer": layer, "place": place,
                    "kind": str(entry["type"]).rpartition(".")[2], "comment": comment_above(source, name),
                    "versioned": bool(entry.get("versioned")),
                }  # fmt: skip
    return found


def comment_above(source: str, name: str) -> str:
    """The comment lines right above the entry ``name`` of a catalog file, as one line; "" where there are none."""
    lines = source.splitlines()
    at = next((i for i, line in enumerate(lines) if line.split(" ")[0].split("#")[0].rstrip() == f"{name}:"), 0)
    said: list[str] = []
    while at and lines[at - 1].startswith("#"):
        at -= 1
        said.insert(0, lines[at].lstrip("# ").rstrip())
    return " ".join(said)


def steps(name: str) -> list[tuple[str, str]]:
    """(name without the pipeline's, what its function's docstring says) of the pipeline's own nodes, in order."""
    found = []
    for node in lineage(name).nodes:
        if name in node.tags:
            function = getattr(node.func, "func", node.func)
            said = " ".join((function.__doc__ or "").strip().split("\n\n")[0].split())
            found.append((node.name.removeprefix(f"{name}."), said))
    return found


def raw_sky(name: str) -> list[str]:
    """The datasets that the lineage of ``name`` begins with."""
    return sorted(item for item in lineage(name).inputs() if not item.startswith("param"))


def first_results(name: str) -> list[tuple[str, str, str]]:
    """(dataset, what it is, where) of the results that `kedro results` names."""
    from skytrace.provenance.results import HEADLINES

    mine = [key for key in HEADLINES if key.startswith(f"{name}.") and key in catalog()]
    return [(key, HEADLINES[key], catalog()[key]["place"]) for key in mine]


class PipelineFacts(SphinxDirective):
    """The facts of a pipeline."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A line on what is read, and two tables."""
        name = self.arguments[0]
        reads = ", ".join(f"`{item}`" for item in raw_sky(name))
        own, whole = len(steps(name)), len(lineage(name).nodes)
        upstream = "" if own == whole else f", and {whole - own} of the pipelines upstream, which it runs too"
        found = [nodes.paragraph("", "", *words(f"It begins with {reads}. It has {own} nodes of its own{upstream}."))]
        results = [(said, f"`{key}`", f"`{place}`") for key, said, place in first_results(name)]
        if results:
            found.append(table(("look at first", "dataset", "file of a default run"), results, (30, 30, 40)))
        rows = [(f"`{step}`", said) for step, said in steps(name)]
        return [*found, table(("node", "what it makes"), rows, (30, 70))]


class DatasetList(SphinxDirective):
    """The datasets of one catalog file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One table."""
        mine = {name: entry for name, entry in catalog().items() if entry["file"] == self.arguments[0]}
        if not mine:
            raise self.error(f"no catalog file {self.arguments[0]!r} in {CONF}")
        rows = [(f"`{name}`", entry["layer"], what_it_is(name, entry), place(entry)) for name, entry in mine.items()]
        return [table(("dataset", "layer", "what it is", "where"), rows, (28, 12, 35, 25))]


@cache
def makers() -> dict[str, str]:
    """Dataset -> the node that makes it."""
    from skytrace.pipeline_registry import LINEAGES

    return {output: node.name for name in LINEAGES for node in lineage(name).nodes for output in node.outputs}


def what_it_is(name: str, entry: dict[str, Any]) -> str:
    """The catalog's comment on a dataset, and the node that makes it."""
    maker = makers().get(name)
    made = f"Made by `{maker}`." if maker else ""
    return ". ".join(said for said in (entry["comment"].rstrip("."), made) if said)


def place(entry: dict[str, Any]) -> str:
    """Where a dataset lies; raw sky that is computed has its class."""
    return (f"`{entry['place']}`" if entry["place"] else f"`{entry['kind']}`") + (
        ", versioned" if entry["versioned"] else ""
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_directive("pipeline-facts", PipelineFacts)
    app.add_directive("dataset-list", DatasetList)
    return {"version": "1", "parallel_read_safe": True}
