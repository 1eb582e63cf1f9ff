"""The size and SHA-256 of a file or a folder, read in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

__all__ = ["describe_path", "file_sha256"]

_PIECE = 1 << 22


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def describe_path(path: Path) -> dict[str, Any]:
    """``bytes`` and ``sha256`` of a file; of a folder also ``files``, and the SHA-256 of its sorted list of
    (name, SHA-256) lines, as ``sha256sum`` would print them. Hidden files and links do not count; empty if missing.
    """
    if path.is_file():
        return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    if not path.is_dir():
        return {}
    names = sorted(
        (found.relative_to(path) for found in path.rglob("*") if found.is_file() and not found.is_symlink()),
        key=lambda name: name.as_posix(),
    )
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    lines = "".join(f"{file_sha256(path / name)}  {name.as_posix()}\n" for name in names)
    return {
        "bytes": sum((path / name).stat().st_size for name in names),
        "files": len(names),
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }
