"""Peak resident memory of a stretch of code, this process and its children together."""

from __future__ import annotations

import threading

import psutil  # comes with dask's distributed

__all__ = ["PeakMemory"]


class PeakMemory:
    """A thread that samples resident memory every ``interval_s``; ``peak_bytes`` is the largest since the last reset.

    Memory that lives shorter than the interval can be missed. Children are counted because shards may be computed
    in them; pages that processes share are then counted more than once.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self.peak_bytes = 0
        self._interval_s = interval_s
        self._process = psutil.Process()
        self._lock = threading.Lock()  # or a sample taken before a reset would be kept after it
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin sampling; a second start is the same as one."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End sampling."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def reset(self) -> None:
        """Forget the peak: the next stretch of code begins."""
        with self._lock:
            self.peak_bytes = self._resident()

    def read(self) -> int:
        """The peak since the last reset, now included [bytes]."""
        with self._lock:
            self.peak_bytes = max(self.peak_bytes, self._resident())
            return self.peak_bytes

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.read()

    def _resident(self) -> int:
        total = self._process.memory_info().rss
        for child in self._process.children(recursive=True):
            try:
                total += child.memory_info().rss
            except psutil.Error:  # it ended meanwhile
                continue
        return total
