"""What a source of one supernova's spectrum offers, simulated or real: the pipelines do not know which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from skytrace.spectra.observed import ObservedSpectrum

__all__ = ["SpectrumSource", "no_truth"]


@runtime_checkable
class SpectrumSource(Protocol):
    """One observed spectrum. note: what a reader of results must know about it. files_read: what was read so far."""

    name: str
    note: str
    files_read: set[Path]

    def spectrum(self) -> ObservedSpectrum:
        """As observed: nothing is taken out that was in it."""
        ...

    def truth(self) -> pd.DataFrame:
        """One row with the parameters that it was simulated with; of a real spectrum no row."""
        ...


def no_truth() -> pd.DataFrame:
    """The truth of a real spectrum: no row."""
    import pandas as pd

    from skytrace.spectra.ejecta import EJECTA_PARAMETERS

    return pd.DataFrame({name: pd.Series(dtype=float) for name in EJECTA_PARAMETERS})
