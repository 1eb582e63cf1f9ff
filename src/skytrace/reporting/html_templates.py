"""The templates of our pages, filled with text that is escaped; content that a page carries inside itself."""

from __future__ import annotations

import base64
from typing import Any

__all__ = ["data_uri", "html_template"]


def html_template(name: str) -> Any:
    """Jinja's template ``name`` of this package: text is escaped, an unknown name is an error.

    It knows the filter png_uri, which makes PNG bytes the source of an image.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("skytrace.reporting"), autoescape=True, undefined=StrictUndefined)
    environment.filters["png_uri"] = lambda png: data_uri("image/png", png)
    return environment.get_template(name)


def data_uri(kind: str, content: bytes) -> str:
    """``content`` of the media type ``kind`` as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
