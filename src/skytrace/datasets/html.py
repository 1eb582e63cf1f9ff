"""A self-contained HTML page."""

from typing import Any

from skytrace.compute.files import atomic_path
from skytrace.datasets.versioned_file import VersionedFile

__all__ = ["HTMLDataset"]


class HTMLDataset(VersionedFile):
    """A page as text, UTF-8."""

    def __init__(self, *, filepath: str, **kwargs: Any) -> None:
        super().__init__(filepath=filepath, **kwargs)

    def load(self) -> str:
        """The page."""
        return self.load_path().read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        """Write the page, whole or not at all."""
        with atomic_path(self.save_path()) as partial:
            partial.write_text(data, encoding="utf-8", newline="\n")
