"""The project's configuration as it is now, read through Kedro as a run would read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from skytrace.provenance.manifest import plain

__all__ = ["ProjectConfiguration"]


class ProjectConfiguration:
    """Implements ``trace_checks.Configuration`` for the bootstrapped project at ``project``; reads everything once."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._parameters: dict[tuple[str, str], dict[str, Any] | str] = {}
        self._catalogs: dict[str, dict[str, Any]] = {}

    def parameters(self, environment: str, runtime: dict[str, Any]) -> dict[str, Any] | str:
        """Typed and checked parameters in JSON's types, ``runtime`` over them; the reason in a line where they fail."""
        key = (environment, json.dumps(runtime, sort_keys=True))
        if key not in self._parameters:
            self._parameters[key] = self._read(environment, runtime)
        return self._parameters[key]

    def catalog(self, environment: str) -> dict[str, Any]:
        """The catalog's entries with resolved paths; none where the environment cannot be read."""
        if environment not in self._catalogs:
            try:
                self._catalogs[environment] = dict(self._context(environment, {}).config_loader["catalog"])
            except Exception:  # an environment that is gone: whoever asks says so of the dataset
                self._catalogs[environment] = {}
        return self._catalogs[environment]

    def _read(self, environment: str, runtime: dict[str, Any]) -> dict[str, Any] | str:
        try:
            return plain(self._context(environment, runtime).params)
        except Exception as error:  # of whatever kind: it is the state of the configuration that is asked for
            return " ".join(str(error).split())

    def _context(self, environment: str, runtime: dict[str, Any]) -> Any:
        from kedro.framework.session import KedroSession

        session = KedroSession.create(project_path=self._project, env=environment, runtime_params=runtime)
        return session.load_context()
