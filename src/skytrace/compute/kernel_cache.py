"""Kernels compiled from older sources are never read back.

Numba's cache on disk compares a kernel's own file only: after an update of a file whose kernels it calls, it would
run the old code. Here every kernel's stamp also holds a digest of all files that kernels call each other from.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["files_digest", "follow_files"]


@lru_cache(maxsize=16)
def files_digest(files: tuple[Path, ...]) -> str:
    """SHA-256 of the files, in their order."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def follow_files(namespace: dict[str, Any], files: tuple[Path, ...]) -> None:
    """Add the digest of ``files`` to the stamp under which each kernel of a module's ``namespace`` is cached.

    Numba offers no public way; a version that stores the stamp elsewhere keeps its own rule, and the tests fail.
    """
    for kernel in tuple(namespace.values()):
        file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
        if file is not None and hasattr(file, "_source_stamp"):
            file._source_stamp = (*file._source_stamp[:2], files_digest(files))
