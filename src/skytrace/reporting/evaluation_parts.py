"""What the evaluation page is made of: the parts that a run may have measured, and a section of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_tables import PageTable

if TYPE_CHECKING:
    import pandas as pd

    from skytrace.reporting.galleries import ErrorGallery

__all__ = ["Parts", "Section", "reason"]

_NOT_RUN = "This run did not include it."


@dataclass(frozen=True)
class Parts:
    """Everything that the page is made of; None or empty where a part was not run. See ``evaluation_page``."""

    evaluation: Mapping[str, Any]
    card: Mapping[str, Any]
    strata: Mapping[str, Any] | None = None
    top_k: Mapping[str, Any] | None = None
    audit: Mapping[str, Any] | None = None
    ensemble: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] | None = None
    detectability: Mapping[str, Any] | None = None
    split_report: Mapping[str, Any] | None = None
    ledgers: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    galleries: Sequence[ErrorGallery] = ()
    not_measured: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """key: anchor in the page. items: a list below the sentences. pictures: names of the figures that belong here.
    absence: why there is no number.
    """

    key: str
    title: str
    sentences: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    tables: tuple[PageTable, ...] = ()
    galleries: tuple[ErrorGallery, ...] = ()
    absence: str = ""


def reason(parts: Parts, key: str) -> str:
    """Why a part was not measured."""
    return str(parts.not_measured.get(key, _NOT_RUN))
