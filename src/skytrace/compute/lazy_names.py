"""Public names of a package that are loaded on first use (PEP 562), so that importing the package costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazy_names"]


def lazy_names(
    package: str, home: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of ``package``; ``home``: public name -> the module that defines it.

    ``__getattr__, __dir__, __all__ = lazy_names(__name__, {...})`` in the package's ``__init__``.
    """
    names = sorted(home)

    def load(name: str) -> Any:
        """The object of that name, from its module."""
        if name in home:
            return getattr(import_module(f"{package}.{home[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: names, names
