"""The state of the source tree: which commit, and what has been changed since."""

from __future__ import annotations

import hashlib
import re
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["changed_since", "repository_state"]

#: What a run writes itself is no change of the source.
_SOURCE = ("--", ".", ":(exclude)data", ":(exclude)dvc.lock")


def repository_state(folder: Path) -> dict[str, Any]:
    """``commit``, ``branch``, ``dirty`` and ``diff_sha256`` of the git repository at ``folder``.

    The hash covers the changes of tracked files and the names and contents of untracked ones that git does not ignore,
    ``data`` and ``dvc.lock`` left out; None in a clean tree. Everything is None without git or outside a repository,
    ``commit`` alone before the first one.
    """
    unknown = {"commit": None, "branch": None, "dirty": None, "diff_sha256": None}
    if _git(folder, "rev-parse", "--is-inside-work-tree") != b"true\n":
        return unknown
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    branch = _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    changes = _git(folder, "diff", "--binary", "HEAD" if commit else "--cached", *_SOURCE) or b""
    untracked = (_git(folder, "ls-files", "--others", "--exclude-standard", "-z", *_SOURCE) or b"").split(b"\0")
    digest = hashlib.sha256(changes)
    for name in sorted(filter(None, untracked)):
        digest.update(name + b"\0")
        path = folder / name.decode("utf-8", "surrogateescape")
        if path.is_file():
            digest.update(path.read_bytes())
    dirty = bool(changes) or any(untracked)
    return {
        "commit": commit.decode().strip() if commit else None,
        "branch": branch.decode().strip() if branch else None,
        "dirty": dirty,
        "diff_sha256": digest.hexdigest() if dirty else None,
    }


def changed_since(folder: Path, commit: str, *, committed_only: bool = False) -> frozenset[str] | None:
    """Tracked files, relative to ``folder``, that are not as in ``commit``; None where the repository has no such
    one, or it is no hash.

    committed_only: by later commits, whatever lies in the working tree.
    """
    if re.fullmatch(r"[0-9a-f]{7,64}", str(commit)) is None:  # a manifest may say anything; git would take an option
        return None
    others = [commit, "HEAD"] if committed_only else [commit]
    found = _git(folder, "diff", "--relative", "--name-only", "--no-renames", "-z", *others, "--")
    if found is None:
        return None
    return frozenset(name.decode("utf-8", "surrogateescape") for name in found.split(b"\0") if name)


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
