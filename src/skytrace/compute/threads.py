"""One thread for the numerical libraries, so that shards share the cores and sums keep one order."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SINGLE_THREAD_ENVIRONMENT", "single_threaded"]

#: What worker processes get before their libraries load.
SINGLE_THREAD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NPROC": "1",  # of XLA, as in skytrace/__init__.py
}

_lock = threading.Lock()
_users = 0
_blas: Any = None


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Run the body with one BLAS, torch and numba thread, and restore the former numbers afterwards.

    Import torch or numba *before* entering: only libraries already loaded are touched. Safe to enter from several
    threads at once: the process-wide BLAS limit is lifted when the last of them leaves, torch's and numba's are
    the calling thread's own.
    """
    torch, numba = sys.modules.get("torch"), sys.modules.get("numba")
    torch_threads = torch.get_num_threads() if torch else None
    numba_threads = numba.get_num_threads() if numba else None
    _limit_blas()
    if torch:
        torch.set_num_threads(1)
    if numba:
        numba.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(torch_threads)
        if numba:
            numba.set_num_threads(numba_threads)
        _release_blas()


def _limit_blas() -> None:
    global _users, _blas  # noqa: PLW0603  the limit is one per process, whoever asks for it
    from threadpoolctl import threadpool_limits

    with _lock:
        if _users == 0:
            _blas = threadpool_limits(limits=1, user_api="blas")
        _users += 1


def _release_blas() -> None:
    global _users, _blas  # noqa: PLW0603
    with _lock:
        _users -= 1
        if _users == 0:
            _blas.restore_original_limits()
            _blas = None
