"""The site that `kedro viz build` writes, made to need no network and no server of kedro-viz."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

__all__ = ["make_self_contained"]

#: What the front end asks the live server for and the static build lacks (kedro-viz 12.5, ``api/rest/responses``).
_METADATA = {
    "has_missing_dependencies": False,
    "package_compatibilities": [{"package_name": "fsspec", "package_version": "", "is_compatible": True}],
}
_OUTSIDE_LINK = re.compile(r"<link[^>]+href=[\"']?https?://[^>]*>")


def make_self_contained(folder: str | Path) -> Path:
    """Drop the links to web fonts from every page of the site and add the file that its front end expects.

    Returns the folder. Raises FileNotFoundError where there is no built site.
    """
    folder = Path(folder)
    for page in (folder / "index.html", folder / "404.html"):
        page.write_text(_OUTSIDE_LINK.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "api" / "metadata").write_text(json.dumps(_METADATA), encoding="utf-8")
    return folder


if __name__ == "__main__":
    make_self_contained(sys.argv[1])
