"""Surveys as catalog entries: an environment changes the type of ``survey``, and no pipeline notices.

Loading hands over the survey, not its pixels; a survey is raw sky, so saving one is an error.
"""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from skytrace.surveys.interface import ImagingSurvey

__all__ = ["DecamFieldsDataset", "FolderSurveyDataset", "LegacySurveyDataset", "MockSurveyDataset", "SurveyDataset"]


class SurveyDataset(AbstractDataset[Any, Any]):
    """Base of the surveys: loaded, never saved."""

    def __init__(self, *, options: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._options = dict(options or {})
        self.metadata = metadata
        self._read: list[set[Path]] = []

    def save(self, data: Any) -> NoReturn:
        """Always an error."""
        raise DatasetError(f"{type(self).__name__} is raw sky: it is read, never saved")

    @abstractmethod
    def source_path(self) -> Path:
        """The folder that the raw sky lies in, for the run manifest."""

    def source_files(self) -> list[Path] | None:
        """The files that the surveys loaded so far have read, for the run manifest; None: the whole folder."""
        return sorted(path.absolute() for path in set().union(*self._read)) if self._read else None

    def _describe(self) -> dict[str, Any]:
        return {"options": self._options}


class MockSurveyDataset(SurveyDataset):
    """The built-in survey, made in the folder ``filepath`` on first use. ``options``: MockSurveyOptions."""

    def __init__(self, *, filepath: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._filepath = Path(filepath)

    def load(self) -> "ImagingSurvey":
        """The survey, made now if it is not there."""
        from skytrace.surveys.mock import MockSurvey, MockSurveyOptions

        survey = MockSurvey(self._filepath, MockSurveyOptions.from_mapping(self._options))
        survey.make()
        return survey

    def source_path(self) -> Path:
        """The folder of the survey."""
        return self._filepath

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), **super()._describe()}

    def _exists(self) -> bool:
        return (self._filepath / "survey.json").is_file()


class FolderSurveyDataset(SurveyDataset):
    """Real sky in ``folder``, absolute or under $SKYTRACE_DATA."""

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._folder = folder

    def source_path(self) -> Path:
        """The folder of the files."""
        from skytrace.surveys.data_root import under_data_root

        return under_data_root(self._folder).absolute()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder, **super()._describe()}

    def _exists(self) -> bool:
        return self.source_path().is_dir()


class DecamFieldsDataset(FolderSurveyDataset):
    """Real DECam fields in ``folder``. ``options``: DecamFieldsOptions."""

    def load(self) -> "ImagingSurvey":
        """The survey; its fields are read when it is first asked for something."""
        from skytrace.surveys.decam_fields import DecamFieldsSurvey

        survey = DecamFieldsSurvey(self._folder, self._options)
        self._read.append(survey.files_read)
        return survey


class LegacySurveyDataset(SurveyDataset):
    """DR10 through the cutout service or from coadds and sweeps on disk. ``options``: LegacySurveyOptions."""

    def load(self) -> "ImagingSurvey":
        """The survey; its tables and pixels are read, or fetched, when it is first asked for them."""
        from skytrace.surveys.legacy_survey import LegacySurvey

        survey = LegacySurvey(self._options)
        self._read.append(survey.files_read)
        return survey

    def source_path(self) -> Path:
        """The data root: sweeps, lenses, cutouts and bricks lie in folders of it."""
        from skytrace.surveys.data_root import data_root

        return data_root().absolute()

    def _exists(self) -> bool:
        from skytrace.surveys.data_root import under_data_root
        from skytrace.surveys.legacy_survey import LegacySurveyOptions

        options = LegacySurveyOptions.from_mapping(self._options)
        return under_data_root(options.hats or options.sweeps).is_dir()
