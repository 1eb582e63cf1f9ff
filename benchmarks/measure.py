"""How every benchmark measures: one thread on one core, CPU seconds, best of several, one JSON line.

Import this module before numpy: the number of threads is read when the numerical libraries load.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["arguments", "best_seconds", "error_figures", "note", "one_thread", "print_line"]

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")
for _name in _VARIABLES:
    os.environ[_name] = "1"
_STARTED = time.perf_counter()


def arguments(description: str | None) -> argparse.Namespace:
    """Command line of a benchmark: --quick (under 40 s) and --gpu."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="finish in under 40 seconds")
    parser.add_argument("--gpu", action="store_true", help="measure on an accelerator, where there is an engine for it")
    return parser.parse_args()


def one_thread() -> str:
    """Pin this process to one core; the device in words."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    name = "CPU"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, one core"


def best_seconds(work: Callable[[], object], *, repeats: int) -> float:
    """CPU seconds of the fastest of ``repeats`` calls, after one that is not counted (compilation, caches)."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def error_figures(errors: Any, prefix: str = "error") -> dict[str, float]:
    """Median, 90th percentile and maximum, named as the JSON line names them."""
    import numpy as np

    median, p90 = np.percentile(errors, [50, 90])
    return {f"{prefix}_median": float(median), f"{prefix}_p90": float(p90), f"{prefix}_max": float(np.max(errors))}


def note(text: str) -> None:
    """Progress, to stderr."""
    print(f"[{time.perf_counter() - _STARTED:5.1f} s] {text}", file=sys.stderr, flush=True)


def print_line(**fields: Any) -> None:
    """The one JSON line, to stdout; floats to six figures."""
    print(json.dumps({key: float(f"{v:.6g}") if isinstance(v, float) else v for key, v in fields.items()}), flush=True)
