"""What every dataset of one local file shares: where a version lies, whether it is there, what Kedro-Viz may know."""

import glob
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, DatasetError, Version

__all__ = ["VersionedFile"]


class VersionedFile(AbstractVersionedDataset[Any, Any]):
    """Base of datasets that are one file (or one file and its companion) on a local or mounted disk."""

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        self.metadata = metadata
        super().__init__(
            filepath=PurePosixPath(filepath),
            version=version,
            exists_function=lambda path: Path(path).exists(),
            glob_function=lambda pattern: sorted(glob.glob(pattern)),  # noqa: PTH207  patterns are absolute
            **kwargs,
        )

    def load_path(self) -> Path:
        """The file that a load would read. Raises DatasetError where there is none."""
        path = Path(self._get_load_path())
        if not path.is_file():
            raise DatasetError(f"there is no file {path}; run the pipeline that makes it")
        return path

    def save_path(self) -> Path:
        """The file that a save would write."""
        return Path(self._get_save_path())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_file()
        except DatasetError:
            return False
