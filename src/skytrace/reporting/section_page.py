"""Pages of sections that work from a file: sentences, figures and tables; no network, no script, all text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from skytrace.reporting.evaluation_tables import PageTable
from skytrace.reporting.html_templates import html_template

__all__ = ["Picture", "Section", "section_page"]


@dataclass(frozen=True)
class Picture:
    """png: of a figure; caption: what it shows, for readers who do not see it too."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Section:
    """name: of its anchor. Shown in the order sentences, figures, tables."""

    name: str
    title: str
    sentences: tuple[str, ...] = ()
    figures: tuple[Picture, ...] = ()
    tables: tuple[PageTable, ...] = field(default=())


def section_page(title: str, subtitle: str, sentences: Sequence[str], sections: Sequence[Section]) -> str:
    """The page as HTML."""
    return str(
        html_template("sections.html.j2").render(
            title=title, subtitle=subtitle, sentences=list(sentences), sections=list(sections)
        )
    )
