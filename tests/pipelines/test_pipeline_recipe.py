"""The pipeline that docs/how_to/pipeline.md writes runs, word for word, and its number is traced to the raw sky."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

ROOT = "src/skytrace/pipelines/depth_report"


@pytest.fixture
def blocks(repository):
    """(language, text) of every block of code of the page."""
    page = (repository / "docs/how_to/pipeline.md").read_text(encoding="utf-8")
    return [(kind, textwrap.dedent(text)) for kind, text in re.findall(r"   ```(\w+)\n(.*?)   ```", page, re.DOTALL)]


@pytest.fixture
def checkout(repository, blocks, tmp_path):
    """A copy of the project, under git, with what the page says to add."""
    for name in ("conf", "src"):
        shutil.copytree(repository / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", tmp_path)
    (tmp_path / ".gitignore").write_text("data/\n__pycache__/\n")
    (tmp_path / "data").mkdir()
    (tmp_path / ROOT).mkdir()
    modules = [text.split("\n", 1) for kind, text in blocks if kind == "python" and text.startswith("# ")]
    for name, text in modules:
        (tmp_path / ROOT / name.removeprefix("# ")).write_text(text)
    catalog, parameters = (text for kind, text in blocks if kind == "yaml")
    (tmp_path / "conf/base/catalog_depth_report.yml").write_text(catalog)
    (tmp_path / "conf/base/parameters_depth_report.yml").write_text(parameters)
    (line,) = (text for kind, text in blocks if kind == "python" and not text.startswith("# "))
    registry = tmp_path / "src/skytrace/pipeline_registry.py"
    before, begin, after = registry.read_text().partition("LINEAGES: dict[str, tuple[str, ...]] = {\n")
    registry.write_text(before + begin + f"    {line}" + after)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_the_pipeline_of_the_page_runs_and_is_traced(checkout, repository):
    (run, trace) = re.findall(
        r"`(kedro (?:run|trace) [^`]*depth_report[^`]*)`",
        (repository / "docs/how_to/pipeline.md").read_text(encoding="utf-8"),
    )
    environment = {**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": str(checkout / "src"), "COLUMNS": "200"}

    def told(command: str) -> subprocess.CompletedProcess:
        words = [sys.executable, "-m", *command.split()]
        return subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True, check=False)

    done = told(run)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((checkout / "data/08_reporting/smoke/depth_report/summary.json").read_text())
    assert set(summary) == {"g", "r", "z"} and all(20 < depth < 26 for depth in summary.values())
    assert summary["g"] > summary["r"] > summary["z"], "as the depths of DR10"
    traced = told(trace)
    assert traced.returncode == 0, traced.stdout + traced.stderr
    assert f"r = {summary['r']}" in traced.stdout and "whole: " in traced.stdout
    refused = told(f"{run} --params depth_report.options.quantile=1.5")
    assert refused.returncode != 0
    words = " ".join((refused.stdout + refused.stderr).split())
    assert re.search(r"quantile = 1\.5 is outside its allowed range \[0, 1\]", words)
