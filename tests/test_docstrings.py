"""Whatever has a public name in the frame says what it is for, also methods, hooks and functions inside functions."""

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
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, DEFINITIONS) and not node.name.startswith("_")]
    assert ast.get_docstring(tree)
    assert [node.name for node in found if not ast.get_docstring(node)] == []
