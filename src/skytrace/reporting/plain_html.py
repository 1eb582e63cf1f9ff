"""HTML tables made elsewhere, reduced to what a page may show: table elements without attributes, and escaped text."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

__all__ = ["plain_table_html"]

_KEPT = frozenset(
    {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "p", "br", "strong", "em", "sub", "sup"}
)
#: Elements whose content is no text for a reader.
_DROPPED = frozenset(
    {"script", "style", "template", "title", "iframe", "object", "svg", "math", "textarea", "noscript"}
)
_VOID = frozenset({"br"})


class _Plain(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.open: list[str] = []
        self.dropped = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _DROPPED:
            self.dropped += 1
        elif tag in _KEPT and not self.dropped:
            spans = "".join(
                f' {key}="{int(value)}"'
                for key, value in attrs
                if key in ("colspan", "rowspan") and value and value.isascii() and value.isdigit()
            )
            self.parts.append(f"<{tag}{spans if tag in ('th', 'td') else ''}>")
            if tag not in _VOID:
                self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _DROPPED:
            self.dropped = max(0, self.dropped - 1)
        elif tag in self.open and not self.dropped:
            while True:  # what was left open inside ends with it
                last = self.open.pop()
                self.parts.append(f"</{last}>")
                if last == tag:
                    break

    def handle_data(self, data: str) -> None:
        if not self.dropped:
            self.parts.append(escape(data))


def plain_table_html(source: str) -> str:
    """``source`` with its tables, paragraphs and text only: no attribute but column and row spans, nothing that runs.

    >>> plain_table_html('<table class="x"><tr><td onclick="f()">1 &lt; 2<script>f()</script></td></tr>')
    '<table><tr><td>1 &lt; 2</td></tr></table>'
    """
    parser = _Plain()
    parser.feed(source)
    parser.close()
    return "".join([*parser.parts, *(f"</{tag}>" for tag in reversed(parser.open))])
