"""What the commands of the README do, with everything that they call replaced by something that says it was called."""

import os
import shutil
import subprocess

import pytest

CALLED = '#!/bin/sh\necho "called {name} $*"\n'
KEDRO = CALLED.format(name="kedro") + 'case "$1" in run|results) echo "verdict: GO";; esac\n'
DVC = CALLED.format(name="dvc") + "exec kedro from dvc\n"


@pytest.fixture
def make(tmp_path, repository):
    """Run a target of the Makefile in a checkout whose environment is ready and holds impostors."""
    shutil.copy2(repository / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, script in (("kedro", KEDRO), ("dvc", DVC), ("python", CALLED.format(name="python"))):
        (binaries / name).write_text(script)
        (binaries / name).chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}

    def do(*targets: str) -> list[str]:
        done = subprocess.run(["make", *targets], cwd=tmp_path, env=plain, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return do


def test_make_run_tells_the_results_once(make):
    # `kedro run` ends with them, also where it finds everything there: tests/test_hooks.py
    lines = make("run")
    assert lines.count("verdict: GO") == 1
    assert "called kedro run --pipelines injection_recovery --only-missing-outputs" in lines


def test_make_repro_gives_the_stages_the_kedro_of_the_environment(make):
    lines = make("repro")
    assert lines.index("called dvc repro") < lines.index("called kedro from dvc")


def test_make_chaos_kills_24_times_or_as_often_as_asked(make, tmp_path, monkeypatch):
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\necho "$SKYTRACE_CHAOS_KILLS kills: $*"\n')
    assert "24 kills: -m pytest -s tests/chaos" in make("chaos")
    assert "30 kills: -m pytest -s tests/chaos" in make("chaos", "SKYTRACE_CHAOS_KILLS=30")


def test_help_lists_every_target_that_a_user_may_call(make, repository):
    listed = {line.split()[0] for line in make("help")}
    text = (repository / "Makefile").read_text()
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    assert listed == set(phony)
    assert "repro" in listed
