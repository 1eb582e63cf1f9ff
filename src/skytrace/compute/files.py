"""Files and folders that appear whole or not at all: written under a hidden name beside them, synced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from skytrace.errors import AccessError, ShardError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["atomic_folder", "atomic_path", "file_name_of", "is_disk_full", "is_temporary", "remove_abandoned"]

_PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path`` (made if missing); rename it to ``path`` on success.

    The temporary name keeps the suffix of ``path``, because writers choose the format from it. On any error the
    temporary file is removed and an older ``path`` stays as it was. A full disk raises ShardError, a folder that may
    not be written to AccessError, both naming ``path``.
    """
    path = Path(path)
    partial = _partial_of(path)
    with _refusals(path, partial):
        try:
            yield partial
            _sync(partial)
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(PermissionError):  # of the error itself, which is the one to see
                partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a new, empty temporary folder beside ``path``; rename it to ``path``, which is not there yet, on success.

    On any error it is removed with what is in it. Raises as ``atomic_path``; OSError where ``path`` holds something.
    """
    path = Path(path)
    partial = _partial_of(path)
    with _refusals(path, partial):
        try:
            partial.mkdir()
            yield partial
            for file in partial.rglob("*"):
                if file.is_file():
                    _sync(file)
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _partial_of(path: Path) -> Path:
    """The temporary name beside ``path``, whose folder is made if missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise _no_access(path) from error
    owner = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
    return path.with_name(f".{path.name}.{owner}{_PARTIAL}{path.suffix}")


@contextlib.contextmanager
def _refusals(path: Path, partial: Path) -> Iterator[None]:
    """A full disk and a missing right as errors of ours that name ``path``."""
    try:
        yield
    except Exception as error:
        if isinstance(error, PermissionError) and error.filename in (str(partial), str(path)):
            raise _no_access(path) from error
        if is_disk_full(error) and not isinstance(error, ShardError):
            raise ShardError(
                f"no space left on the disk while writing {path}; nothing of it was kept. "
                "Free some space and run again."
            ) from error
        raise


def _no_access(path: Path) -> AccessError:
    return AccessError(
        f"{path} may not be written: this user has no right to write to its folder; give it that right and run again"
    )


def file_name_of(name: str) -> str:
    """``name`` of a thing from outside as part of a file's name: it leads into no other folder, whatever it holds.

    Names that differ may become the same: what tells them apart belongs into the rest of the file's name.

    >>> file_name_of("A 2744"), file_name_of("../../etc/passwd"), file_name_of("/abs")
    ('A_2744', '_.._etc_passwd', '_abs')
    """
    return re.sub(r"[^A-Za-z0-9+._-]", "_", name).lstrip(".")[:80] or "_"


def is_disk_full(error: BaseException) -> bool:
    """Whether ``error``, or what it came from, says that the disk, quota or file-size limit is exhausted."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        # libraries written in Rust and C (safetensors, cfitsio) keep only the words of the errno
        if "No space left on device" in str(seen) or "Not enough space on disk" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def remove_abandoned(folder: str | os.PathLike) -> None:
    """Remove what ``atomic_path`` and ``atomic_folder`` left in ``folder`` when a process of this machine died."""
    name = re.compile(rf"\..+\.{re.escape(socket.gethostname())}-(\d+)-\d+{re.escape(_PARTIAL)}(\.[^.]*)?")
    with contextlib.suppress(FileNotFoundError):
        for path in Path(folder).iterdir():
            partial = name.fullmatch(path.name)
            if partial and not _is_alive(int(partial[1])):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether the name says that a file is not whole yet: readers of folders pass it over, as they do hidden files."""
    return path.name.startswith(".")


def _is_alive(pid: int) -> bool:
    import psutil  # os.kill(pid, 0), the usual question, ends the process on Windows

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # killed, and nobody has asked how it ended
    except psutil.NoSuchProcess:
        return False


def _sync(path: Path) -> None:
    # network file systems report a full disk only here or at close: without it a rename could keep a truncated file
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows syncs only what may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
