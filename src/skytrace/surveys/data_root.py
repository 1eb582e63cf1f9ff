"""Where real sky lies: ``$SKYTRACE_DATA``, else ``data/00_external`` of the project. docs/real_data.md says what goes
there.
"""

from __future__ import annotations

import os
from pathlib import Path

from skytrace.errors import SurveyError

__all__ = ["data_root", "require_folder", "under_data_root"]

_DEFAULT = Path("data/00_external")


def data_root() -> Path:
    """The folder of real sky: ``$SKYTRACE_DATA`` if it is set and not empty, else data/00_external (may not exist)."""
    configured = os.environ.get("SKYTRACE_DATA", "").strip()
    return Path(configured).expanduser() if configured else _DEFAULT


def under_data_root(folder: str | os.PathLike) -> Path:
    """``folder`` itself if it is absolute, else the folder of that name under the data root."""
    return data_root() / Path(folder)


def require_folder(folder: Path, *, files: str) -> Path:
    """``folder`` if it exists; else SurveyError naming it, the public ``files`` that belong there and
    $SKYTRACE_DATA.
    """
    if folder.is_dir():
        return folder
    configured = os.environ.get("SKYTRACE_DATA", "").strip()
    where = f"$SKYTRACE_DATA is {configured}" if configured else f"$SKYTRACE_DATA is not set, so {_DEFAULT} is searched"
    raise SurveyError(f"no folder {folder}; {where}. It must hold {files}. docs/real_data.md says where to get them.")
