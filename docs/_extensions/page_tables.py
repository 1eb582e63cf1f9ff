"""Tables and words for pages that are written by a directive, as nodes: whatever a file says is text, never markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["link", "table", "words"]

_LITERAL = re.compile(r"``(.+?)``|`([^`]+)`")


def words(text: str) -> list[nodes.Node]:
    """``text`` with what stands in backticks as literals."""
    found: list[nodes.Node] = []
    begun = 0
    for match in _LITERAL.finditer(text):
        literal = match[1] or match[2]
        found += [nodes.Text(text[begun : match.start()]), nodes.literal(literal, literal)]
        begun = match.end()
    return [*found, nodes.Text(text[begun:])]


def link(text: str, address: str) -> nodes.Node:
    """A link to an address of this site, seen from the page that it stands on."""
    return nodes.reference(text, text, refuri=address, internal=True)


def table(heads: Sequence[str], rows: Iterable[Sequence[str | list[nodes.Node]]], widths: Sequence[int]) -> nodes.Node:
    """A table of ``heads`` and ``rows``; a cell is text or nodes; ``widths`` are shares of the page's."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=width) for width in widths]
    head, body = nodes.thead(), nodes.tbody()
    head += _row(list(heads))
    body += [_row(row) for row in rows]
    group += [head, body]
    whole = nodes.table(classes=["written"])
    whole += group
    return whole


def _row(cells: Sequence[str | list[nodes.Node]]) -> nodes.Node:
    row = nodes.row()
    for cell in cells:
        entry = nodes.entry()
        entry += nodes.paragraph("", "", *(words(cell) if isinstance(cell, str) else cell))
        row += entry
    return row
