"""Surveys of supernovae as catalog entries: an environment changes the type of ``supernova_survey``."""

from typing import TYPE_CHECKING

from skytrace.datasets.survey import FolderSurveyDataset, SurveyDataset

if TYPE_CHECKING:
    from skytrace.surveys.supernovae.interface import SupernovaSurvey

__all__ = ["MockSupernovaDataset", "SnanaSupernovaDataset", "SupernovaTablesDataset"]


class MockSupernovaDataset(SurveyDataset):
    """The built-in supernovae, computed when asked for. ``options``: MockSupernovaOptions."""

    def load(self) -> "SupernovaSurvey":
        """The survey; its light curves are made when it is first asked for them."""
        from skytrace.surveys.supernovae.mock import MockSupernovae
        from skytrace.surveys.supernovae.options import MockSupernovaOptions

        return MockSupernovae(MockSupernovaOptions.from_mapping(self._options))

    def source_path(self) -> None:  # type: ignore[override]
        """No file: the options are the sky."""

    def _exists(self) -> bool:
        return True


class SupernovaTablesDataset(FolderSurveyDataset):
    """Light curves and Hubble diagrams as tables. ``options``: SupernovaTableOptions."""

    def load(self) -> "SupernovaSurvey":
        """The survey; its tables are read when it is first asked for them."""
        from skytrace.surveys.supernovae.tables import TabulatedSupernovae

        survey = TabulatedSupernovae(self._folder, self._options)
        self._read.append(survey.files_read)
        return survey


class SnanaSupernovaDataset(FolderSurveyDataset):
    """SNANA's FITS pairs or text files. ``options``: SnanaOptions."""

    def load(self) -> "SupernovaSurvey":
        """The survey; its files are read when it is first asked for something."""
        from skytrace.surveys.supernovae.snana import SnanaSupernovae

        survey = SnanaSupernovae(self._folder, self._options)
        self._read.append(survey.files_read)
        return survey
