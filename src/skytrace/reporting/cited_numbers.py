"""Numbers of a page that know where they come from: each is read from a metrics file by its key, and listed beside it.

A page written this way cannot hold a number that no file holds: a key that is not there is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytrace.errors import CatalogueError
from skytrace.reporting.evaluation_tables import DASH, PageTable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CitedNumbers"]


class CitedNumbers:
    """Reports by file name; ``text`` gives a number as text and remembers it for the section's table of sources."""

    def __init__(self, reports: Mapping[str, Any]) -> None:
        self._reports = reports
        self._cited: list[tuple[str, str, str]] = []

    def value(self, file: str, key: str) -> Any:
        """What ``file`` holds under the dotted ``key``; raises CatalogueError where it does not."""
        found: Any = self._reports[file]
        for part in _parts(found, key):
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise CatalogueError(f"{file} has no {key}: a page cannot quote it") from error
        return found

    def text(self, file: str, key: str, form: str = "") -> str:
        """The number as text in Python's format ``form`` ("," for whole numbers by default), and its source noted."""
        value = self.value(file, key)
        if value is None:
            shown = DASH
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        elif isinstance(value, int) and not form:
            shown = f"{value:,}"
        else:
            shown = format(value, form or ".3f").replace("-", "−")
        source = (shown, file, key)
        if source not in self._cited:
            self._cited.append(source)
        return shown

    def sources(self) -> tuple[PageTable, ...]:
        """The table of the numbers quoted since the last call; none where there are none."""
        rows, self._cited = tuple(self._cited), []
        if not rows:
            return ()
        return (PageTable("Where the numbers above are", ("number", "file", "key"), rows, (True, False, False)),)


def _parts(report: Any, key: str) -> list[str]:
    """``key`` at its dots; a name that has a dot itself is taken whole where the report has it."""
    return [key] if isinstance(report, dict) and key in report else key.split(".")
