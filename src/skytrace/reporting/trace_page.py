"""The facts of a trace (``kedro trace --json``) as one page that works from a file: no network, no script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skytrace.compute.json_values import leaves
from skytrace.reporting.html_templates import html_template

__all__ = ["trace_page"]


def trace_page(facts: Mapping[str, Any]) -> str:
    """The page as HTML: the value, where the chain is broken, the tree to fold and unfold, the runs. All text escaped.

    A dataset or node stands in full where it comes first; from then on a link leads there.
    """
    return str(
        html_template("trace.html.j2").render(
            target=facts["target"],
            value=json.dumps(facts["target"]["value"], ensure_ascii=False),
            whole=facts["whole"],
            breaks=facts["breaks"],
            notes=facts["notes"],
            tree=_Tree(facts).dataset(facts["target"]["dataset"]),
            runs=facts["runs"],
        )
    )


class _Tree:
    """The tree as nested dicts; what was shown before is marked ``again`` and has nothing below it."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._datasets = {each["number"]: each for each in facts["datasets"]}
        self._nodes = {each["number"]: each for each in facts["nodes"]}
        self._broken: dict[str, list[str]] = {}
        for each in facts["breaks"]:
            for name in each["where"]:
                self._broken.setdefault(name, []).append(f"{each['kind']}: {each['words']}")
        self._shown: set[tuple[str, int]] = set()

    def dataset(self, number: int) -> dict[str, Any]:
        """The dataset with the node that made it below it."""
        again = ("dataset", number) in self._shown
        self._shown.add(("dataset", number))
        dataset = self._datasets[number]
        maker = None if again or dataset["node"] is None else self._node(dataset["node"])
        return {
            **dataset,
            "again": again,
            "maker": maker,
            "faults": self._broken.get(dataset["name"], []),
            "sky_options": _texts(dataset["sky"] or {}),
        }

    def _node(self, number: int) -> dict[str, Any]:
        again = ("node", number) in self._shown
        self._shown.add(("node", number))
        node = self._nodes[number]
        return {
            **node,
            "again": again,
            "faults": self._broken.get(node["name"], []),
            "values": [] if again else _texts(node["parameters"]),
            "needed": [] if again else [self.dataset(needed) for needed in node["inputs"]],
        }


def _texts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value, ensure_ascii=False)) for name, value in leaves(values)]
