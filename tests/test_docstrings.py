"""Whatever is public says what it is for; in the frame also hooks, functions inside functions, and private classes."""

import ast

import pytest

from tests.test_import_law import SOURCE

FILES = [
    *(SOURCE / f"{name}.py" for name in ("errors", "parameters", "cli", "hooks", "catalog", "pipeline_registry")),
    *sorted(path for name in ("datasets", "provenance", "compute") for path in (SOURCE / name).glob("*.py")),
    *sorted((SOURCE / "surveys/legacy_survey").glob("*.py")),
    SOURCE / "surveys/decam_fields.py",
    SOURCE / "surveys/data_root.py",
]
PACKAGE = sorted(SOURCE.rglob("*.py"))
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, DEFINITIONS) and not node.name.startswith("_")]
    assert ast.get_docstring(tree)
    assert [node.name for node in found if not ast.get_docstring(node)] == []


def public_definitions(body):
    """Definitions that can be reached from outside: nothing inside a function or a private class."""
    for node in body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_every_module_and_what_it_offers_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body
    assert [node.name for node in public_definitions(tree.body) if not ast.get_docstring(node)] == []
