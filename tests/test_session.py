"""Ctrl-C ends a run with a line that says how to go on, and what that line says gives what the run would have given."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro_datasets.json import JSONDataset

from skytrace.provenance.runs import run_words
from skytrace.session import _Standing

#: `kedro`, whose node cluster_pu.describe_survey says that it has begun, and waits.
WAITING = """
import functools, sys, time
from skytrace.pipelines.cluster_pu import survey_scale

@functools.wraps(survey_scale.describe_survey)
def wait(*arguments, **options):
    print("WAITING", flush=True)
    time.sleep(900.0)

survey_scale.describe_survey = wait
from kedro.framework.cli.cli import main
main()
"""


@pytest.fixture
def checkout(repository, tmp_path):
    """A copy of what `kedro run` needs, without data."""
    for name in ("conf", "src"):
        shutil.copytree(repository / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path


def _start(checkout, *arguments, program=None):
    environment = {**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": str(checkout / "src"), "COLUMNS": "200"}
    environment.pop("DVC_STAGE", None)
    first = ["-c", program] if program else ["-m", "kedro"]
    return subprocess.Popen(
        [sys.executable, *first, *arguments], cwd=checkout, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def test_ctrl_c_is_one_line_exit_code_130_and_an_interrupted_manifest_and_its_line_finishes_the_run(checkout):
    asked = ["run", "--env", "smoke", "--pipelines", "cluster_pu", "--to-outputs", "cluster_pu.survey_report"]
    process = _start(checkout, *asked, program=WAITING)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "WAITING" in line:
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("interrupted")]
    told, _, command = line.partition(". Go on with: ")
    assert told == "interrupted in cluster_pu.describe_survey: 1 of 2 nodes, and all finished shards, are done and kept"
    assert command == (
        "kedro run --env smoke --pipelines cluster_pu "
        "--from-nodes cluster_pu.describe_survey --to-outputs cluster_pu.survey_report"
    )
    (path,) = (checkout / "data/08_reporting/smoke/manifests").glob("*.json")
    manifest = json.loads(path.read_text())
    assert manifest["status"] == "interrupted"
    assert [node["status"] for node in manifest["nodes"].values()] == ["done", "interrupted"]
    assert run_words(manifest).endswith("was interrupted in cluster_pu.describe_survey")
    assert not list((checkout / "data/.locks").glob("*.json")), "the lock was not given back"

    rest = _start(checkout, *shlex.split(command)[1:])
    stdout, stderr = rest.communicate(timeout=600)
    assert rest.returncode == 0, stderr
    assert "[1/1] cluster_pu.describe_survey" in stdout
    report = checkout / "data/08_reporting/smoke/cluster_pu/survey.json"
    resumed = report.read_bytes()
    shutil.rmtree(checkout / "data")
    whole = _start(checkout, *asked)
    whole.communicate(timeout=600)
    assert report.read_bytes() == resumed, "going on gives another result than a run that nobody interrupted"


def same(x):
    return x


@pytest.fixture
def standing(tmp_path):
    """A run of first -> (in memory) -> second -> third, of which ``saved`` have been made."""

    def stand(*saved: str, **params) -> str:
        nodes = [
            Node(same, "raw", "kept", name="first"),
            Node(same, "kept", "in_memory", name="second"),
            Node(same, "in_memory", "last", name="third"),
        ]
        catalog = DataCatalog(
            {name: JSONDataset(filepath=str(tmp_path / f"{name}.json")) for name in ("raw", "kept", "last")}
        )
        catalog["in_memory"] = MemoryDataset()
        catalog.save("kept", {"n": 1})
        catalog.save("raw", {"n": 1})
        followed = _Standing()
        params = {"env": "smoke", "pipeline_names": ["toy"], **params}
        followed.before_pipeline_run(params, Pipeline(nodes), catalog)
        for name in saved:
            node = next(node for node in nodes if name in node.outputs)
            followed.before_dataset_loaded(node)
            followed.after_dataset_saved(name, node)
        followed.before_dataset_loaded(SimpleNamespace(name="third"))
        return followed.words()

    return stand


def test_what_lived_in_memory_only_is_made_again(standing, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert standing("kept", "in_memory") == (
        "interrupted in third: 2 of 3 nodes, and all finished shards, are done and kept. "
        "Go on with: kedro run --env smoke --pipelines toy --from-nodes second"
    )


def test_where_nothing_is_done_or_counted_the_same_command_is_the_way_on(standing, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    same_again = "Go on with: kedro run --env smoke --pipelines toy --from-nodes first"
    assert standing(from_nodes=["first"]).endswith(same_again)
    missing = standing("kept", only_missing_outputs=True)
    assert missing == (
        "interrupted in third: what is finished is kept. "
        "Go on with: kedro run --env smoke --pipelines toy --only-missing-outputs"
    )


def test_a_stage_of_dvc_goes_on_by_dvc(standing, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "cluster_pu")
    assert standing("kept") == "interrupted in third. Go on with: dvc repro"
