"""What a reader may use while it reads."""

import contextlib
import resource
from pathlib import Path


@contextlib.contextmanager
def limited_memory(more_bytes: float):
    """No more than ``more_bytes`` of new memory in this process, where Linux says how much there is already."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + int(more_bytes), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
