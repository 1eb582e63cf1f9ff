"""Kedro's quick commands stay quick: what they import is measured, not how long they take."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "torchvision", "jax", "matplotlib", "sklearn", "numba", "dask", "distributed", "astropy", "sep", "numpyro",
    "arviz", "xarray", "pandera", "sncosmo", "lightgbm", "filelock", "scipy.stats", "scipy.optimize", "scipy.spatial",
)  # fmt: skip
#: What a command that loads no pipeline does without.
NODES_ONLY = (*HEAVY, "pandas", "pyarrow", "scipy", "skytrace.pipelines")

PROGRAM = """
import atexit, json, sys
names = {names!r}
atexit.register(lambda: print("IMPORTED " + json.dumps([name for name in names if name in sys.modules])))
from kedro.framework.cli.cli import main
sys.argv = ["kedro", *{command!r}]
main()
"""


@pytest.mark.parametrize(
    "command", [["registry", "list"], ["results"], ["run", "--help"], ["trace", "--help"]], ids=" ".join
)
def test_a_quick_command_imports_nothing_heavy(repository, command):
    program = PROGRAM.format(names=HEAVY, command=command)
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "no results yet" in done.stderr, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("IMPORTED "))
    assert json.loads(line.removeprefix("IMPORTED ")) == []


@pytest.mark.parametrize(
    "command",
    [["--help"], ["run", "--help"], ["run", "--env", "smoke", "--pipelines", "injection_recovry"]],
    ids=" ".join,
)
def test_help_and_a_misspelling_load_no_pipeline(repository, command):
    program = PROGRAM.format(names=NODES_ONLY, command=command)
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == ("injection_recovry" in command), done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("IMPORTED "))
    assert json.loads(line.removeprefix("IMPORTED ")) == []
