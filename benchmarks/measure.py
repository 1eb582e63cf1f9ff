"""How every benchmark measures: one thread on one core, CPU seconds, best of several, one JSON line.

Import this module before numpy: the number of threads is read when the numerical libraries load, and the allocator is
told once, for both sides, to keep what is freed (``keep_freed_memory`` says why).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "arguments",
    "best_seconds",
    "broken_bounds",
    "error_figures",
    "keep_freed_memory",
    "largest_differences",
    "note",
    "one_thread",
    "print_line",
]

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")
#: A benchmark's own process: where somebody else's imports this module, nothing of that process is changed.
_OWN_PROCESS = "numpy" not in sys.modules
if _OWN_PROCESS:
    for _name in _VARIABLES:
        os.environ[_name] = "1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
_STARTED = time.perf_counter()

#: Parameters of glibc's ``mallopt`` (malloc.h), and the largest threshold that every version of it accepts.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD = -1, -3, 32 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed arrays below 32 MB for the next allocation; False where there is no ``mallopt``.

    By default glibc maps large arrays anew and unmaps them when freed, until the first free of such an array raises
    the limit to that array's size, and never above 32 MB. Whether the arrays of a library are paged in afresh on each
    call (some 10,000 page faults a call of lenstronomy, half of its CPU time) then hangs on what ran *before* it in
    the process. Fixed limits take that history out of the figures of both sides.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    limits = ((_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, 2**30))
    accepted = [mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in limits]
    return all(accepted)


MEMORY_IS_KEPT = _OWN_PROCESS and keep_freed_memory()


def arguments(description: str | None) -> argparse.Namespace:
    """Command line of a benchmark: --quick (under 40 s), --check (against its own bounds) and --gpu."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="finish in under 40 seconds")
    parser.add_argument("--check", action="store_true", help="exit with 1, naming the figure, where a bound is broken")
    parser.add_argument("--gpu", action="store_true", help="measure on an accelerator, where there is an engine for it")
    return parser.parse_args()


def one_thread() -> str:
    """Pin this process to one core; the device in words."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from skytrace.compute.processor import processor_name  # loads numpy: after its threads were set

    return f"{processor_name()}, one core"


def best_seconds(
    *works: Callable[[], object], repeats: int, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """CPU seconds of the fastest of ``repeats`` calls of each, after one that is not counted (compilation, caches);
    seconds of another ``clock`` where the work is not on this processor.

    The calls take turns, so that a machine that slows down for a while slows all of them down.
    """
    for work in works:
        work()
    best = [float("inf")] * len(works)
    for _ in range(repeats):
        for k, work in enumerate(works):
            start = clock()
            work()
            best[k] = min(best[k], clock() - start)
    return best


def error_figures(errors: Any, prefix: str = "error") -> dict[str, float]:
    """Median, 90th percentile and maximum, named as the JSON line names them."""
    import numpy as np

    median, p90 = np.percentile(errors, [50, 90])
    return {f"{prefix}_median": float(median), f"{prefix}_p90": float(p90), f"{prefix}_max": float(np.max(errors))}


def largest_differences(ours: Any, rows: list[dict[str, float]], names: Mapping[str, str]) -> dict[str, float]:
    """Largest |ours - reference| over |reference| plus its median, by ``names`` (column -> name of what is reported
    together). ours: a table; rows: the reference's. SystemExit where one side alone is NaN.
    """
    import numpy as np

    largest: dict[str, float] = {}
    for column, name in names.items():
        a, b = ours[column].to_numpy(dtype=float), np.array([row[column] for row in rows], dtype=float)
        if (np.isnan(a) != np.isnan(b)).any():
            raise SystemExit(f"{sys.argv[0]}: {column} is NaN on one side only")
        a, b = a[np.isfinite(b)], b[np.isfinite(b)]
        if not len(a):
            continue
        size = np.abs(b) + np.median(np.abs(b))
        relative = np.divide(np.abs(a - b), size, out=np.abs(a - b), where=size > 0)
        largest[name] = max(largest.get(name, 0.0), float(relative.max()))
    return largest


def broken_bounds(row: Mapping[str, Any], bounds: Mapping[str, tuple[float, float]]) -> list[str]:
    """A sentence for each figure of ``row`` outside its (lowest, highest), a figure that is missing or NaN included."""
    sentences = []
    for name, (low, high) in bounds.items():
        value = row.get(name)
        if value is None or not low <= value <= high:
            allowed = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
            shown = "missing" if value is None else f"{value:.4g}"
            sentences.append(f"{name} is {shown}, but must be {allowed if low > 0 else f'at most {high:g}'}")
    return sentences


def note(text: str) -> None:
    """Progress, to stderr."""
    print(f"[{time.perf_counter() - _STARTED:5.1f} s] {text}", file=sys.stderr, flush=True)


def print_line(**fields: Any) -> dict[str, Any]:
    """The one JSON line, to stdout; floats to six figures. Returns what it printed."""
    row = {key: float(f"{v:.6g}") if isinstance(v, float) else v for key, v in fields.items()}
    print(json.dumps(row), flush=True)
    return row
