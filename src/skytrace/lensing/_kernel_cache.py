"""Kernels compiled from older sources are never read back (``compute.kernel_cache``). Private to the kernel modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skytrace.compute.kernel_cache import files_digest, follow_files

__all__ = ["SOURCES", "follow_sources", "sources_digest"]

#: Files whose kernels are compiled into each other.
SOURCES = ("_brightness.py", "_fourier.py", "_kernels.py", "_tracing.py", "deflection.py")
_FILES = tuple(Path(__file__).parent / name for name in SOURCES)


def sources_digest() -> str:
    """SHA-256 of the kernels' files, in the order of SOURCES."""
    return files_digest(_FILES)


def follow_sources(namespace: dict[str, Any]) -> None:
    """Add the digest to the stamp under which each kernel of a module's ``namespace`` is cached."""
    follow_files(namespace, _FILES)
