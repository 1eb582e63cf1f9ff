"""The one progress bar: a rich bar in a terminal, a line in the log every ten seconds elsewhere."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ProgressBar", "progress"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_LOG_EVERY_S = 10.0
_lock = threading.Lock()
_display: Any = None  # rich allows one live display; bars opened inside another bar, or in threads, share it
_bars = 0


def progress(items: Iterable[T] | int, description: str = "", *, total: int | None = None) -> ProgressBar[T]:
    """Return a bar to iterate over, or to advance by hand.

    ``for shard in progress(shards, "cutouts"): ...`` or ``with progress(385, "cells") as bar: bar.advance()``.
    ``total`` is needed only for an iterable without a length.
    """
    if isinstance(items, int):
        return ProgressBar(range(items), description, items)  # type: ignore[arg-type]
    if total is None and isinstance(items, Sized):
        total = len(items)
    return ProgressBar(items, description, total)


class ProgressBar(Generic[T]):
    """See progress. Advancing is safe from several threads; worker processes stay silent."""

    def __init__(self, items: Iterable[T], description: str, total: int | None) -> None:
        self.description = description
        self.total = total
        self.done = 0
        self._items = items
        self._task: Any = None
        self._started = self._logged = 0.0

    def __iter__(self) -> Iterator[T]:
        with self:
            for item in self._items:
                yield item
                self.advance()

    def __len__(self) -> int:
        if self.total is None:
            raise TypeError("a progress bar without a total has no length")
        return self.total

    def __enter__(self) -> ProgressBar[T]:
        self._started = self._logged = time.monotonic()
        self._task = _open(self.description, self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            _close(self._task)
            self._task = None

    def advance(self, steps: int = 1) -> None:
        """Record ``steps`` more done."""
        self.done += steps
        if self._task is not None:
            _display.advance(self._task, steps)
            return
        now = time.monotonic()
        finished = self.done == self.total and now - self._started > _LOG_EVERY_S
        if (now - self._logged > _LOG_EVERY_S or finished) and multiprocessing.parent_process() is None:
            self._logged = now
            logger.info("%s", _line(self.description, self.done, self.total, now - self._started))


def _line(description: str, done: int, total: int | None, seconds: float) -> str:
    text = f"{description or 'progress'}: {done}"
    if total:
        text += f"/{total} ({100 * done / total:.0f} %)"
        if 0 < done < total:
            text += f", {seconds * (total - done) / done:.0f} s left"
    return f"{text}, {seconds:.0f} s so far"


def _open(description: str, total: int | None) -> Any:
    global _display, _bars  # noqa: PLW0603
    from rich import get_console
    from rich import progress as rich_progress

    console = get_console()
    if multiprocessing.parent_process() is not None or not console.is_terminal or console.is_jupyter:
        return None
    with _lock:
        if _display is None:
            _display = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TimeElapsedColumn(),
                rich_progress.TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            _display.start()
        _bars += 1
        return _display.add_task(description or "progress", total=total)


def _close(task: Any) -> None:
    global _display, _bars  # noqa: PLW0603
    with _lock:
        _display.remove_task(task)
        _bars -= 1
        if _bars == 0:
            _display.stop()
            _display = None
