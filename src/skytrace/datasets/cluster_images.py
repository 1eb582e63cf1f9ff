"""Identified multiple images as a catalog entry: an environment changes the type of ``cluster_images``."""

from typing import TYPE_CHECKING, Any

from skytrace.datasets.survey import FolderSurveyDataset, SurveyDataset

if TYPE_CHECKING:
    from skytrace.surveys.clusters.identified import ClusterImages

__all__ = ["ClusterImageTablesDataset", "MockClusterImagesDataset"]


class MockClusterImagesDataset(SurveyDataset):
    """What would be identified behind the built-in clusters. ``options``: MockClusterOptions of the survey that the
    candidates come from; ``identify``: IdentifyOptions.
    """

    def __init__(self, *, identify: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._identify = dict(identify or {})

    def load(self) -> "ClusterImages":
        """The source of images; they are computed when they are asked for."""
        from skytrace.surveys.clusters.identified import MockClusterImages

        return MockClusterImages.from_mappings(self._options, self._identify)

    def source_path(self) -> None:  # type: ignore[override]
        """No file: the options are the sky."""

    def _describe(self) -> dict[str, Any]:
        return {"identify": self._identify, **super()._describe()}

    def _exists(self) -> bool:
        return True


class ClusterImageTablesDataset(FolderSurveyDataset):
    """Tables of images and members in ``folder``. ``options``: their names, ``images`` and ``members``."""

    def load(self) -> "ClusterImages":
        """The source of images; its tables are read when they are asked for."""
        from skytrace.surveys.clusters.identified import ImageTables

        tables = ImageTables(self.source_path(), **self._options)
        self._read.append(tables.files_read)
        return tables
