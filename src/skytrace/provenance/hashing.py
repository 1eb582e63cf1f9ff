"""The size and SHA-256 of a file, a folder or a list of files, read in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["describe_files", "describe_path", "file_sha256", "list_files", "relative_name", "visible_files"]

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
    return describe_files(visible_files(path), path) if path.is_dir() else {}


def visible_files(folder: Path) -> list[Path]:
    """The files below ``folder`` that count: neither hidden ones nor links."""
    found = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    return [file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)]


def list_files(files: Iterable[Path], folder: Path) -> str:
    """A line "SHA-256  name" a file, by name as seen from ``folder``: what ``sha256sum`` prints, and ``-c`` checks."""
    paths = {relative_name(path, folder): path for path in files}
    return "".join(f"{file_sha256(paths[name])}  {name}\n" for name in sorted(paths))


def describe_files(files: Iterable[Path], folder: Path, *, listing: str | None = None) -> dict[str, Any]:
    """``files``, ``bytes`` and ``sha256`` as describe_path gives them of a folder that holds just these files.

    listing: what ``list_files`` says of them, where that is known already.
    """
    paths = set(files)
    lines = list_files(paths, folder) if listing is None else listing
    return {
        "bytes": sum(path.stat().st_size for path in paths),
        "files": len(paths),
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }


def relative_name(path: Path, folder: Path) -> str:
    """``path`` as seen from ``folder``, with forward slashes; as it is where it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
