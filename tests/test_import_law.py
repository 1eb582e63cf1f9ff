"""Imports run downwards: pipelines, datasets, surveys, science, foundations. Read from the source itself."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "skytrace"
SCIENCE = (
    "imaging", "lensing", "sky", "learning", "audit", "selection", "supernovae", "spectra", "clusters", "reporting",
)  # fmt: skip
FOUNDATION = ("statistics", "compute", "errors")
FRAME = (
    "settings", "hooks", "pipeline_registry", "cli", "catalog", "parameters", "provenance", "run_request", "session",
    "__main__", "load_versions",
)  # fmt: skip

ALLOWED = {
    **{name: {*SCIENCE, *FOUNDATION, "surveys.interface"} for name in SCIENCE},
    **{name: set(FOUNDATION) for name in FOUNDATION},
    "surveys": {"surveys", *SCIENCE, *FOUNDATION},
    "datasets": {"datasets", "surveys", *SCIENCE, *FOUNDATION},
    "pipelines": {"pipelines", "datasets", "surveys", *SCIENCE, *FOUNDATION},
    **{name: {*FRAME, "pipelines", "datasets", *FOUNDATION} for name in FRAME},
    # raw sky lies elsewhere on another machine
    "provenance": {*FRAME, "pipelines", "datasets", *FOUNDATION, "surveys.data_root"},
    # a command that fetches files is a survey's downloader, and the page of a trace is written by one, by name
    "cli": {*FRAME, "pipelines", "datasets", *FOUNDATION}
    | {"surveys.data_root", "surveys.supernovae.download", "reporting.trace_page"},
}
KEDRO_FREE = ("surveys", *SCIENCE, *FOUNDATION)
MODULES = sorted(SOURCE.rglob("*.py"))


def _imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; the house imports by full name"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_run_downwards(path):
    part = _part(path)
    if part == "__init__":
        assert not [name for name in _imported(path) if name.startswith("skytrace.")]
        return
    assert part in ALLOWED, f"{part} has no place in the import law; give it one here"
    wrong = []
    for name in _imported(path):
        if name.startswith(("kedro", "kedro_datasets", "kedro_viz")) and part in KEDRO_FREE:
            wrong.append(name)
        if name.startswith("skytrace."):
            inner = name.removeprefix("skytrace.")
            if not any(
                inner == allowed or inner.startswith(f"{allowed}.") for allowed in ALLOWED[part] | {"__version__"}
            ):
                wrong.append(name)
    assert not wrong, f"{part} must not import {', '.join(wrong)}"


def test_pipelines_do_not_know_where_sky_comes_from():
    sources = ("skytrace.surveys.mock", "skytrace.surveys.decam_fields", "skytrace.surveys.legacy_survey")
    for path in (SOURCE / "pipelines").rglob("*.py"):
        assert not [name for name in _imported(path) if name.startswith(sources)], path


def test_no_drawer_modules():
    drawers = {"utils", "helpers", "misc", "common", "util", "tools"}
    assert not [path for path in MODULES if path.stem in drawers]
