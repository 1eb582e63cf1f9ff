"""The catalog class that lets Kedro's versions and DVC share one folder without treading on each other.

A run by hand saves a new timestamped version. A DVC stage sets KEDRO_RELEASE, and every versioned dataset is then saved
and loaded as that one fixed version, so that `x.npz/0001/x.npz` keeps its place, and its hash, from run to run. A
release label sorts before any timestamp: the newest run by hand stays what Kedro calls the latest.
"""

import os
from typing import Any

from kedro.io import DataCatalog
from kedro.io.core import VERSIONED_FLAG_KEY

__all__ = ["RELEASE_VARIABLE", "ReleaseCatalog"]

RELEASE_VARIABLE = "KEDRO_RELEASE"


class ReleaseCatalog(DataCatalog):
    """Timestamps by hand, one fixed version under KEDRO_RELEASE."""

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
