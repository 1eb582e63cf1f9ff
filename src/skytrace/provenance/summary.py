"""The end of a run on the screen: what was made, how long it took, the verdicts, and where to look."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.provenance.hashing import relative_name

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from skytrace.provenance.results import Results

__all__ = ["RunSummary", "open_console"]

_FOUND = "nothing was run: the outputs were there already, whatever the parameters"


@dataclass
class _Made:
    """What one pipeline's nodes did."""

    nodes: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    paths: set[Path] = field(default_factory=set)


class RunSummary:
    """Collects what nodes make while a run goes on, and shows it as a table, a row a pipeline."""

    def __init__(self, project: Path, *, in_other_processes: bool = False) -> None:
        self._project = project
        self._in_other_processes = in_other_processes
        self._start = time.perf_counter()
        self._began: dict[str, tuple[float, str]] = {}
        self._made: dict[str, _Made] = {}

    def node_begins(self, node: str, pipeline: str) -> None:
        """The node's clock starts, once. pipeline: whose row it goes to."""
        if node not in self._began:
            self._began[node] = (time.perf_counter(), pipeline)
            self._made.setdefault(pipeline, _Made()).nodes.add(node)

    def node_ends(self, node: str, path: Path | None = None) -> None:
        """The node has run, or has saved one more output (to ``path``, if that is kept): the last call counts."""
        if node not in self._began:
            return
        began, pipeline = self._began[node]
        made = self._made[pipeline]
        made.seconds[node] = time.perf_counter() - began
        if path is not None:
            made.paths.add(path)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """(pipeline, nodes, files, time, where) as words, in the order in which pipelines began."""
        return [
            (
                name or "(no pipeline)", str(len(made.nodes)), str(len(made.paths)),
                duration(sum(made.seconds.values())), self._where(made.paths),
            )
            for name, made in self._made.items()
        ]  # fmt: skip

    def show(self, results: Results, console: Console | None = None) -> None:
        """Print the table of what was made, the verdicts, and the table of what is worth opening."""
        console = console or open_console()
        console.print()
        if self._made:
            whole = duration(time.perf_counter() - self._start)
            table = _plain_table(
                "pipeline", ("nodes", "right"), ("datasets", "right"), ("time", "right"), f"where ({whole} in all)"
            )
            for row in self.rows():
                table.add_row(*row)
            _print_whole(console, table)
        elif not self._in_other_processes:  # whose nodes this process does not see
            console.print(_FOUND)
        if self._made and not any(self._is_new(path) for path in results.paths.values()):
            console.print("\nof earlier runs:" if results.paths else "")
        for line in results.findings():
            console.print(line, style=_style(line), soft_wrap=True)
        if results.paths:
            _print_whole(console, self._results_table(results))
        for note in results.notes:
            console.print(note, style="yellow", soft_wrap=True)

    def _results_table(self, results: Results) -> Table:
        """The files worth opening, a line each; where only some are of this run, the others are told apart."""
        new = [self._is_new(path) for path in results.paths.values()]
        table = _plain_table()
        for (path, words), made in zip(results.files(self._project), new, strict=True):
            table.add_row(path, words if made or not any(new) else f"{words} (of an earlier run)")
        return table

    def _is_new(self, path: Path) -> bool:
        """Whether this run saved ``path``; a version of x lies at x/<version>/x."""
        known = {path, *path.parents[:2]}
        return any(made in known for row in self._made.values() for made in row.paths)

    def _where(self, paths: set[Path]) -> str:
        folders = {Path(relative_name(path, self._project)).parent.parts for path in paths}
        if len(folders) <= 1:
            return "/".join(next(iter(folders), ()))
        ends = {parts[2:4] for parts in folders if len(parts) >= 4 and parts[0] == "data"}
        if len(ends) == 1 and all(len(parts) >= 4 for parts in folders):
            return "/".join(("data", "*", *ends.pop()))
        return ", ".join(sorted("/".join(parts) for parts in folders))


def open_console() -> Console:
    """A console on stdout: plain where NO_COLOR is set (rich alone would keep bold) or nobody watches."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    return Console(highlight=False, markup=False, emoji=False, color_system=None if plain else "auto")


def duration(seconds: float) -> str:
    """``0.4 s``, ``74 s``, ``12 min``, ``3.4 h``."""
    if seconds < 120.0:
        return f"{seconds:.1f} s" if seconds < 10.0 else f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"


def _plain_table(*columns: str | tuple[str, str]) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=bool(columns), header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    if not columns:
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(no_wrap=True)
    for column in columns:
        name, justify = (column, "left") if isinstance(column, str) else column
        table.add_column(name, no_wrap=True, justify=justify)  # type: ignore[arg-type]
    return table


def _print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as it is: a path that is cut or folded cannot be copied."""
    usual = console.width
    console.width = max(usual, console.measure(table, options=console.options.update(width=10_000)).maximum)
    with console.capture() as captured:
        console.print(table, crop=False, no_wrap=True, overflow="ignore")
    console.width = usual
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _style(line: str) -> Any:
    if not line.startswith("verdict: "):
        return None
    return "bold green" if line == "verdict: GO" else "bold red" if line == "verdict: NO-GO" else "bold yellow"
