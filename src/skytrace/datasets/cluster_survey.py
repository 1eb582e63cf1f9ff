"""Surveys of galaxy clusters as catalog entries: an environment changes the type of ``cluster_survey``."""

from typing import TYPE_CHECKING

from skytrace.datasets.survey import FolderSurveyDataset, SurveyDataset

if TYPE_CHECKING:
    from skytrace.surveys.clusters.interface import ClusterSurvey

__all__ = ["ClusterMosaicDataset", "MockClustersDataset"]


class MockClustersDataset(SurveyDataset):
    """The built-in clusters, rendered when asked for. ``options``: MockClusterOptions."""

    def load(self) -> "ClusterSurvey":
        """The survey; its cutouts are rendered when they are asked for."""
        from skytrace.surveys.clusters.mock import MockClusters
        from skytrace.surveys.clusters.options import MockClusterOptions

        return MockClusters(MockClusterOptions.from_mapping(self._options))

    def source_path(self) -> None:  # type: ignore[override]
        """No file: the options are the sky."""

    def _exists(self) -> bool:
        return True


class ClusterMosaicDataset(FolderSurveyDataset):
    """FITS mosaics in g, r, i and a catalogue of clusters in ``folder``. ``options``: MosaicOptions."""

    def load(self) -> "ClusterSurvey":
        """The survey; its mosaics are read when it is first asked for something."""
        from skytrace.surveys.clusters.mosaic import ClusterMosaic

        survey = ClusterMosaic(self._folder, self._options)
        self._read.append(survey.files_read)
        return survey
