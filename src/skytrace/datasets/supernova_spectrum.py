"""Observed spectra as catalog entries: an environment changes the type of ``supernova_spectrum``."""

from typing import TYPE_CHECKING, Any

from skytrace.datasets.survey import FolderSurveyDataset, SurveyDataset

if TYPE_CHECKING:
    from skytrace.surveys.spectra.interface import SpectrumSource

__all__ = ["MockSpectrumDataset", "SN2011feDataset", "SpectrumFileDataset"]


class MockSpectrumDataset(SurveyDataset):
    """The built-in supernova, simulated when asked for. ``options``: MockSpectrumOptions."""

    def load(self) -> "SpectrumSource":
        """The source; its spectrum is simulated when it is asked for."""
        from skytrace.surveys.spectra.mock import MockSpectrum
        from skytrace.surveys.spectra.options import MockSpectrumOptions

        return MockSpectrum(MockSpectrumOptions.from_mapping(self._options))

    def source_path(self) -> None:  # type: ignore[override]
        """No file: the options are the sky."""

    def _exists(self) -> bool:
        return True


class SN2011feDataset(FolderSurveyDataset):
    """One of the HST spectra of SN 2011fe in ``folder``. ``options``: SN2011feOptions without it."""

    def __init__(self, *, folder: str = "spectra/sn2011fe", **kwargs: Any) -> None:
        super().__init__(folder=folder, **kwargs)

    def load(self) -> "SpectrumSource":
        """The source; its file is read when the spectrum is asked for."""
        from skytrace.surveys.spectra.options import SN2011feOptions
        from skytrace.surveys.spectra.sn2011fe import SN2011fe

        source = SN2011fe(SN2011feOptions.from_mapping({**self._options, "folder": self._folder}))
        self._read.append(source.files_read)
        return source


class SpectrumFileDataset(FolderSurveyDataset):
    """A spectrum of yours: text, ECSV or FITS in ``folder``. ``options``: SpectrumSourceOptions."""

    def load(self) -> "SpectrumSource":
        """The source; its file is read when the spectrum is asked for."""
        from skytrace.surveys.spectra.files import SpectrumFile
        from skytrace.surveys.spectra.options import SpectrumSourceOptions

        source = SpectrumFile(self._folder, SpectrumSourceOptions.from_mapping(self._options))
        self._read.append(source.files_read)
        return source
