"""The toy project, run once, for every test of ``kedro trace``."""

import pytest

from tests.provenance.toy_project import RUNS, ToyProject, forget_modules


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A ToyProject in the current folder, of which all nodes have run once, from a clean tree."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "src")
    monkeypatch.delenv("KEDRO_RELEASE", raising=False)
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    forget_modules()
    toy = ToyProject(tmp_path)
    toy.run(RUNS[0])
    yield toy
    forget_modules()
