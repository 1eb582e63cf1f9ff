"""The measured selection function: grid, hosts, injections, completeness, gates. Names are loaded on first use."""

from importlib import import_module
from typing import Any

_HOME = {
    "CompletenessOptions": "completeness",
    "GridOptions": "grid",
    "HostOptions": "hosts",
    "InjectionOptions": "injection",
    "SelectionFunction": "selection_function",
    "SelectionGrid": "grid",
    "completeness_table": "completeness",
    "degrade_cutouts": "degrade",
    "eligible_hosts": "hosts",
    "inject_lenses": "injection",
    "marginals": "completeness",
    "match_hosts": "hosts",
    "prepare_hosts": "injection",
    "trend_test": "trends",
    "verify_hosts": "hosts",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
