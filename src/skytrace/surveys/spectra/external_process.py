"""A foreign program under watch: a time limit, and limits of what it may write, one file and all files together.

Where the system has setrlimit (POSIX), no file can grow beyond the limit, not for a moment: the program is started by a
launcher that sets it on itself and becomes the program. Elsewhere, and for the sum of all files, the folder is measured
several times a second and the program killed once it is above.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

from skytrace.errors import SimulatorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["run_watched"]

_INTERVAL_S = 0.2
#: Python ignores SIGXFSZ and SIGPIPE, and a program inherits what is ignored.
_LAUNCHER = """
import os, resource, signal, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for number in (signal.SIGXFSZ, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"the program cannot be started: {error.strerror}")
"""


def run_watched(
    arguments: Sequence[str], *, folder: Path, run_in: Path, environment: Mapping[str, str], stderr: BinaryIO,
    timeout_s: float, max_output_mb: float,
) -> int:  # fmt: skip
    """The exit status of a program that was run in ``run_in`` (negative: the signal that killed it).

    Raises SimulatorError where it cannot be started, takes longer than ``timeout_s``, or writes a file of more than
    ``max_output_mb`` million bytes or as much in all into ``folder``. It and its process group are dead then; what
    has left the group (setsid) is not.
    """
    limit = int(max_output_mb * 1e6)
    try:
        process = subprocess.Popen(
            [*_launched(limit), *arguments], cwd=run_in, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise SimulatorError(f"the program cannot be started: {error.strerror}") from error
    too_much = f"wrote more than max_output_mb = {max_output_mb:g}"
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0.0:
                raise SimulatorError(f"timeout after {timeout_s:g} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=min(left, _INTERVAL_S))
                break
            if _bytes_in(folder) > limit:
                raise SimulatorError(too_much)
    finally:
        with contextlib.suppress(ProcessLookupError):
            _kill_all(process)
        process.wait()
    if status == -getattr(signal, "SIGXFSZ", 0) or _bytes_in(folder) > limit:
        raise SimulatorError(too_much)
    return status


def _kill_all(process: subprocess.Popen) -> None:
    """End the program and all that it has started; on Windows, which has no process groups to kill, it alone."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _launched(limit: int) -> list[str]:
    """What stands before the program's own words on the command line."""
    try:
        import resource  # noqa: F401  POSIX only
    except ImportError:
        return []
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(limit)]


def _bytes_in(folder: Path) -> int:
    """Of all files below, links not followed; what vanishes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  many times a second
    return total
