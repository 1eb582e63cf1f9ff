"""What the graphs of lens_finder share: its name, and how its nodes are named."""

from collections.abc import Callable

from kedro.pipeline import Node

__all__ = ["NAME", "make_node"]

NAME = "lens_finder"


def make_node(function: Callable, inputs: list[str], outputs: str | list[str]) -> Node:
    """A node named as its function: the verb and the object that Kedro-Viz and the log show."""
    return Node(function, inputs, outputs, name=function.__name__)
