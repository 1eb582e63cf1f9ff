"""``{public-names} skytrace.sky``: the reference of a package, from the docstrings of its public names.

Docstrings of this project are plain English with ``literals`` and doctests. What reStructuredText would read as markup
in them (a product's asterisk, a norm's bars) is shown as it is written.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

LITERAL = re.compile(r"(``.+?``)")
MARKUP = re.compile(r"([*|`\\]|(?<=\w)_(?!\w))")
LONGEST_VALUE = 200


def as_plain_text(lines: list[str]) -> list[str]:
    """``lines`` of a docstring with what reStructuredText would take for markup escaped; doctests stay as they are."""
    plain = []
    in_doctest = False
    for line in lines:
        in_doctest = bool(line.strip()) and (in_doctest or line.lstrip().startswith(">>>"))
        plain.append(line if in_doctest else escaped(line))
    return plain


def escaped(line: str) -> str:
    """A line of a docstring, as text; a ``literal`` stays one, also where it touches a word."""
    text = ""
    for place, part in enumerate(LITERAL.split(line)):
        touches = bool(text and part) and all(c.isalnum() or c in "`_" for c in (text[-1], part[0]))
        # an escaped blank parts the two, and is not shown
        text += ("\\ " if touches else "") + (part if place % 2 else MARKUP.sub(r"\\\1", part))
    return text


def rewrite_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event: every docstring is plain text, and one made up by ``dataclass`` is none."""
    made_up = inspect.isclass(obj) and (obj.__doc__ or "").startswith(f"{obj.__name__}(")
    lines[:] = [] if made_up else as_plain_text(lines)


def first_sentence(source: str) -> str:
    """The first paragraph of a module's docstring, up to its first full stop or colon at a line's or sentence's end."""
    text = " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9)'`])[.:;](?= |$)", text, maxsplit=1)[0]


def modules_of(package: str) -> list[tuple[str, str]]:
    """(name, first sentence) of every public module of ``package``."""
    folder = Path(str(importlib.import_module(package).__file__)).parent
    names = [found.name for found in pkgutil.iter_modules([str(folder)]) if not found.name.startswith("_")]
    return [(name, first_sentence(source_of(folder / name).read_text(encoding="utf-8"))) for name in names]


def source_of(module: Path) -> Path:
    """The file of a module or package whose path, without suffix, is ``module``."""
    return module / "__init__.py" if module.is_dir() else module.with_suffix(".py")


def comment_of(package: str, name: str) -> list[str]:
    """The ``#:`` comment of a constant, in the module of ``package`` that sets it; [] where there is none."""
    for module, _ in modules_of(package):
        try:
            found = ModuleAnalyzer.for_module(f"{package}.{module}").find_attr_docs()
        except Exception:  # a module that Sphinx cannot read has no comments to show
            continue
        if ("", name) in found:
            return [line for line in found["", name] if line.strip()]
    return []


def entry(package: str, name: str) -> list[str]:
    """The reStructuredText of one public name."""
    found = getattr(importlib.import_module(package), name)
    if inspect.isclass(found):
        return [f".. autoclass:: {package}.{name}", "   :members:", ""]
    if callable(found) and hasattr(found, "__name__"):
        return [f".. autofunction:: {package}.{name}", ""]
    value = " ".join(repr(found).split())
    shown = value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + " ..."
    words = as_plain_text(comment_of(package, name))
    head = [f".. py:data:: {name}", f"   :module: {package}", ""]
    return [*head, *(f"   {line}" for line in words), "", f"   ``{shown}``", ""]


def title(words: str) -> list[str]:
    """A section's heading."""
    return [words, "-" * len(words), ""]


class PublicNames(SphinxDirective):
    """The public names of a package, whole modules of it by ``:modules:``, and a table of all its modules."""

    required_arguments = 1
    option_spec = {"modules": str}  # noqa: RUF012 (docutils' own way)

    def run(self) -> list[nodes.Node]:
        """Write the reference as reStructuredText, and let autodoc read it."""
        package = self.arguments[0]
        found = importlib.import_module(package)
        words = as_plain_text(inspect.getdoc(found).splitlines())
        lines = [f".. py:module:: {package}", "", *words, "", *title(f"Public names of {package}")]
        for name in sorted(found.__all__, key=str.lower):
            lines += entry(package, name)
        for module in self.options.get("modules", "").split():
            lines += [*title(f"{package}.{module}"), f".. automodule:: {package}.{module}", "   :members:", ""]
        lines += [*title(f"Modules of {package}"), "A module's public names are those of its ``__all__``.", ""]
        lines += [".. list-table::", "   :widths: 30 70", ""]
        for module, said in modules_of(package):
            lines += [f"   * - ``{module}``", f"     - {as_plain_text([said])[0]}"]
        content = StringList(lines, source=f"{package}.__all__")
        parent = nodes.section()
        parent.document = self.state.document
        nested_parse_with_titles(self.state, content, parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-docstring", rewrite_docstring)
    return {"version": "1", "parallel_read_safe": True, "env_version": 1}
