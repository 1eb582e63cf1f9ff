"""The size and SHA-256 of a file, a folder or a list of files, read in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["describe_files", "describe_path", "file_sha256", "relative_name"]

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
    found = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    visible = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    return describe_files(visible, path)


def describe_files(files: Iterable[Path], folder: Path) -> dict[str, Any]:
    """``files``, ``bytes`` and ``sha256`` as describe_path gives them of a folder that holds just these files."""
    paths = {relative_name(path, folder): path for path in files}
    lines = "".join(f"{file_sha256(paths[name])}  {name}\n" for name in sorted(paths))
    return {
        "bytes": sum(path.stat().st_size for path in paths.values()),
        "files": len(paths),
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }


def relative_name(path: Path, folder: Path) -> str:
    """``path`` as seen from ``folder``, with forward slashes; as it is where it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
