"""Kernels compiled from older sources are never read back. Private to the kernel modules.

Numba's cache on disk compares a kernel's own file only: after an update of a file whose kernels it calls, it would
run the old code. Here every kernel's stamp also holds a digest of all files that kernels call each other from.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["SOURCES", "follow_sources", "sources_digest"]

#: Files whose kernels are compiled into each other.
SOURCES = ("_brightness.py", "_fourier.py", "_kernels.py", "_tracing.py", "deflection.py")


@lru_cache(maxsize=1)
def sources_digest() -> str:
    """SHA-256 of the kernels' files, in the order of SOURCES."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()


def follow_sources(namespace: dict[str, Any]) -> None:
    """Add the digest to the stamp under which each kernel of a module's ``namespace`` is cached.

    Numba offers no public way; a version that stores the stamp elsewhere keeps its own rule, and the test fails.
    """
    for kernel in tuple(namespace.values()):
        file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
        if file is not None and hasattr(file, "_source_stamp"):
            file._source_stamp = (*file._source_stamp[:2], sources_digest())
