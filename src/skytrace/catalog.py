"""The catalog class that lets Kedro's versions and DVC share one folder without treading on each other.

A run by hand saves a new timestamped version. A DVC stage sets KEDRO_RELEASE, and every versioned dataset is then saved
and loaded as that one fixed version, so that `x.npz/0001/x.npz` keeps its place, and its hash, from run to run. A
release label sorts before any timestamp: the newest run by hand stays what Kedro calls the latest.
"""

import os
from pathlib import PurePath
from typing import Any

from kedro.io import DataCatalog
from kedro.io.core import VERSIONED_FLAG_KEY, DatasetError, VersionNotFoundError

from skytrace.errors import SkytraceError

__all__ = ["RELEASE_VARIABLE", "ReleaseCatalog"]

RELEASE_VARIABLE = "KEDRO_RELEASE"


class ReleaseCatalog(DataCatalog):
    """Timestamps by hand, one fixed version under KEDRO_RELEASE; what was not made yet is told with what makes it."""

    @classmethod
    def from_config(
        cls,
        catalog: dict[str, dict[str, Any]] | None,
        credentials: dict[str, dict[str, Any]] | None = None,
        load_versions: dict[str, str] | None = None,
        save_version: str | None = None,
        **kwargs: Any,
    ) -> "ReleaseCatalog":
        """As Kedro's, with ``save_version`` replaced by the release where one is set."""
        save_version = os.environ.get(RELEASE_VARIABLE) or save_version
        return super().from_config(catalog, credentials, load_versions, save_version, **kwargs)

    def _add_from_config(self, ds_name: str, ds_config: dict[str, Any]) -> None:
        # private to Kedro: kept in step by the kedro~=1.7.0 pin and by tests/test_catalog.py
        release = os.environ.get(RELEASE_VARIABLE)
        if release and ds_config.get(VERSIONED_FLAG_KEY):
            self._load_versions.setdefault(ds_name, release)
        super()._add_from_config(ds_name, ds_config)

    def load(self, ds_name: str, version: str | None = None) -> Any:
        """As Kedro's. Raises SkytraceError naming the pipeline to run where no version was ever made."""
        try:
            return super().load(ds_name, version)
        except DatasetError as error:
            if not isinstance(error.__cause__, VersionNotFoundError):
                raise
            raise SkytraceError(_to_make(ds_name, self.get(ds_name))) from error


def _to_make(name: str, dataset: Any) -> str:
    """What makes a dataset of which there is no version; its path is data/<layer>/<sky>/<pipeline>/<file>."""
    path, pipeline = PurePath(str(getattr(dataset, "_filepath", ""))), name.partition(".")[0]
    words = f"there is no version of {name} yet under {path}"
    if os.environ.get(RELEASE_VARIABLE):
        words += f" for {RELEASE_VARIABLE}={os.environ[RELEASE_VARIABLE]}"
    if path.parent.name != pipeline:
        return f"{words}: run the pipeline that writes it first"
    sky = path.parent.parent.name
    env = {"mock": "", "mock_paper_iv": " --env paper_iv"}.get(sky, f" --env {sky}")
    first = f"kedro run{env} --pipelines {pipeline}"
    return f"{words}: pipeline {pipeline} makes it, on the sky {sky}. Run this first: {first}"
