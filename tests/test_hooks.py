"""What a run leaves behind: one manifest with every file's hash, also when it fails, and its results in words."""

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from skytrace.catalog import ReleaseCatalog
from skytrace.compute import ClusterOptions
from skytrace.hooks import ProgressHook, ResultsHook, RunManifestHook
from skytrace.provenance.runs import run_words

RUN_ID = "2026-01-01T00.00.00.000Z"


def make_arrays(options: ClusterOptions) -> dict:
    block = np.ones(30_000_000)  # 240 MB for a moment
    time.sleep(0.3)
    del block
    return {"a": np.arange(options.workers)}


def tabulate(arrays: dict) -> pd.DataFrame:
    return pd.DataFrame({"a": arrays["a"]})


def report(table: pd.DataFrame) -> dict:
    if len(table) == 13:
        raise ValueError("thirteen rows")
    if len(table) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"verdict": "GO"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a small pipeline under the project's hooks, as KedroSession.run does; return the manifest ({}: none)."""
    monkeypatch.delenv("KEDRO_RELEASE", raising=False)
    reporting = tmp_path / "data" / "08_reporting" / "toy"
    configuration = {
        "arrays": {"type": "skytrace.datasets.NPZDataset", "filepath": f"{tmp_path}/arrays.npz", "versioned": True},
        "table": {"type": "pandas.CSVDataset", "filepath": f"{tmp_path}/table.csv", "save_args": {"index": False}},
        "injection_recovery.realism_report": {"type": "json.JSONDataset", "filepath": f"{reporting}/report.json"},
    }
    pipeline = Pipeline(
        [
            Node(make_arrays, "params:options", "arrays", name="make_arrays"),
            Node(tabulate, "arrays", "table"),
            Node(report, "table", "report", name="report"),
        ]
    )
    pipeline = Pipeline(pipeline, outputs={"report": "injection_recovery.realism_report"})

    def do(workers: int, *, only_missing_outputs: bool = False) -> dict:
        manager = _create_hook_manager()
        _register_hooks(manager, (ResultsHook(), RunManifestHook(), ProgressHook()))
        catalog = ReleaseCatalog.from_config(configuration, save_version=RUN_ID)
        options = ClusterOptions(workers=workers)
        catalog["params:options"] = options
        loader = {"globals": {"sky": "toy", "seed": 5}, "catalog": configuration}
        hook = manager.hook
        hook.after_context_created(context=SimpleNamespace(project_path=tmp_path, config_loader=loader))
        hook.after_catalog_created(
            catalog=catalog, conf_catalog={}, conf_creds={}, parameters={"parameters": {"options": options}},
            save_version=RUN_ID, load_versions={},
        )  # fmt: skip
        command = {"run_id": RUN_ID, "env": "base", "runner": "<kedro.runner.SequentialRunner object at 0x7f00>"}
        hook.before_pipeline_run(run_params=command, pipeline=pipeline, catalog=catalog)
        try:
            result = SequentialRunner().run(
                pipeline, catalog, hook_manager=manager, run_id=RUN_ID, only_missing_outputs=only_missing_outputs
            )
            hook.after_pipeline_run(run_params=command, run_result=result, pipeline=pipeline, catalog=catalog)
        except ValueError as error:
            hook.on_pipeline_error(error=error, run_params=command, pipeline=pipeline, catalog=catalog)
        path = reporting / "manifests" / f"{RUN_ID}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    return do


def test_the_manifest_of_a_run_names_every_file_with_its_hash(run, tmp_path):
    manifest = run(4)
    assert manifest["status"] == "done"
    datasets = manifest["datasets"]
    assert set(datasets) == {"arrays", "table", "injection_recovery.realism_report"}
    arrays = datasets["arrays"]
    assert arrays["path"] == f"arrays.npz/{RUN_ID}/arrays.npz"
    assert arrays["version"] == RUN_ID
    assert arrays["rows"] == 4
    assert arrays["role"] == "output"
    assert arrays["nodes"] == ["make_arrays", "tabulate"]
    for record in datasets.values():
        content = (tmp_path / record["path"]).read_bytes()
        assert (record["bytes"], record["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert datasets["table"]["version"] is None


def test_the_manifest_measures_time_and_memory_of_each_node(run):
    nodes = run(4)["nodes"]
    assert list(nodes) == ["make_arrays", "tabulate", "report"], "a name carries Kedro's hash, or a node is missing"
    assert nodes["make_arrays"]["seconds"] >= 0.3
    assert nodes["report"]["seconds"] < 0.3
    assert nodes["make_arrays"]["peak_memory_bytes"] - nodes["report"]["peak_memory_bytes"] > 200e6


def test_the_manifest_holds_parameters_seeds_and_the_command(run):
    manifest = run(4)
    assert manifest["parameters"]["options"]["workers"] == 4
    assert manifest["seeds"] == {"globals.seed": 5}
    assert manifest["command"]["runner"] == "kedro.runner.SequentialRunner"
    assert manifest["packages"]["numpy"] == np.__version__


def test_the_manifest_says_what_each_node_read_wrote_and_was(run):
    nodes = run(4)["nodes"]
    facts = {
        name: {key: node[key] for key in ("inputs", "parameters", "outputs", "function")}
        for name, node in nodes.items()
    }
    assert facts == {
        "make_arrays": {
            "inputs": [], "parameters": ["options"], "outputs": ["arrays"], "function": f"{__name__}.make_arrays",
        },
        "tabulate": {"inputs": ["arrays"], "parameters": [], "outputs": ["table"], "function": f"{__name__}.tabulate"},
        "report": {
            "inputs": ["table"], "parameters": [], "outputs": ["injection_recovery.realism_report"],
            "function": f"{__name__}.report",
        },
    }  # fmt: skip


def test_a_failed_run_leaves_a_manifest_that_says_where(run):
    manifest = run(13)
    assert manifest["status"] == "failed"
    assert manifest["error"] == "ValueError: thirteen rows"
    assert [node["status"] for node in manifest["nodes"].values()] == ["done", "done", "failed"]
    assert manifest["datasets"]["table"]["rows"] == 13


def test_a_killed_run_leaves_a_manifest_of_what_it_wrote_until_then(run, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=run, args=(9,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (path,) = (tmp_path / "data/08_reporting/toy/manifests").iterdir()
    manifest = json.loads(path.read_text())
    assert manifest["status"] == "running"
    assert run_words(manifest) == f"run {RUN_ID} was killed in report"
    assert [node["status"] for node in manifest["nodes"].values()] == ["done", "done", "running"]
    assert manifest["parameters"]["options"]["workers"] == 9
    assert {"git", "packages", "device", "seeds"} <= set(manifest)
    for name in ("arrays", "table"):
        record = manifest["datasets"][name]
        content = (tmp_path / record["path"]).read_bytes()
        assert (record["role"], record["sha256"]) == ("output", hashlib.sha256(content).hexdigest())


def test_a_manifest_that_cannot_be_written_does_not_hide_the_error_of_the_run(tmp_path, monkeypatch, caplog):
    def no_disk(*_, **__):
        raise OSError("No space left on device")

    hook = RunManifestHook()
    hook._project = tmp_path
    hook._manifest = SimpleNamespace(facts={"run_id": RUN_ID}, write=no_disk)
    with caplog.at_level(logging.WARNING, logger="skytrace.hooks"):
        hook.on_pipeline_error(ValueError("thirteen rows"))
    assert [record.getMessage() for record in caplog.records] == [
        f"the run manifest {tmp_path}/data/08_reporting/unknown/manifests/{RUN_ID}.json could not be written: "
        "OSError: No space left on device"
    ]


@pytest.fixture
def disk_without_room_for_manifests(monkeypatch):
    write_text = Path.write_text

    def half_then_full(self: Path, text: str, *args, **kwargs) -> int:
        if "manifests" not in self.parts:
            return write_text(self, text, *args, **kwargs)
        write_text(self, text[: len(text) // 2], *args, **kwargs)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half_then_full)


@pytest.mark.usefixtures("disk_without_room_for_manifests")
def test_a_disk_that_is_full_at_the_manifest_is_told_by_its_name_and_costs_no_result(run, tmp_path, caplog, capsys):
    with caplog.at_level(logging.WARNING, logger="skytrace.hooks"):
        assert run(4) == {}
    manifests = tmp_path / "data/08_reporting/toy/manifests"
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"the run manifest {manifests / RUN_ID}.json could not be written: ShardError: no space")
    assert list(manifests.iterdir()) == [], "half a manifest was left"
    assert json.loads((tmp_path / "data/08_reporting/toy/report.json").read_text()) == {"verdict": "GO"}
    assert pd.read_csv(tmp_path / "table.csv")["a"].tolist() == [0, 1, 2, 3]
    assert "verdict: GO" in capsys.readouterr().out.splitlines(), "the results were not told"


@pytest.mark.usefixtures("disk_without_room_for_manifests")
def test_a_full_disk_at_the_manifest_of_a_failed_run_leaves_the_runs_own_error(run, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="skytrace.hooks"):
        assert run(13) == {}  # the hooks' own error would not be the ValueError that the fixture expects
    assert f"{RUN_ID}.json could not be written" in caplog.records[-1].getMessage()
    assert list((tmp_path / "data/08_reporting/toy/manifests").iterdir()) == []


def test_progress_counts_nodes_and_the_end_gives_verdict_and_paths(run, caplog, capsys):
    with caplog.at_level(logging.INFO, logger="skytrace.hooks"):
        run(4)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "[1/3] make_arrays"
    assert lines[2] == "[2/3] tabulate"
    assert any(line.startswith("[3/3] report: ") for line in lines)
    printed = capsys.readouterr().out.splitlines()
    assert "verdict: GO" in printed
    assert any(line.startswith("data/08_reporting/toy/report.json  ") for line in printed)


def test_verdict_and_paths_are_told_once_by_a_run_and_once_by_a_run_that_reuses_everything(run, capsys):
    for reuse in (False, True):
        run(4, only_missing_outputs=reuse)
        lines = capsys.readouterr().out.splitlines()
        assert lines.count("verdict: GO") == 1
        assert sum(line.startswith("data/08_reporting/toy/report.json  ") for line in lines) == 1


@pytest.mark.parametrize(
    ("namespaces", "folder"),
    [
        (["supernova"], "des_sn"),
        (["lens_finder"], "toy"),
        (["supernova", "lens_finder"], "toy"),
        (["cluster_pu"], "my_clusters"),
        (["spectral_emulator"], "sn2011fe"),
    ],
)
def test_the_manifest_lies_with_the_sky_of_the_pipeline_that_ran(tmp_path, namespaces, folder):
    hook = RunManifestHook()
    skies = {"supernova_sky": "des_sn", "cluster_pu_sky": "my_clusters", "spectrum_sky": "sn2011fe"}
    loader = {"globals": {"sky": "toy", **skies}, "catalog": {}}
    hook.after_context_created(context=SimpleNamespace(project_path=tmp_path, config_loader=loader))
    pipeline = SimpleNamespace(nodes=[SimpleNamespace(namespace=name) for name in namespaces])
    hook.before_pipeline_run(run_params={"run_id": RUN_ID, "env": None}, pipeline=pipeline, catalog=None)
    hook.after_pipeline_run()
    assert (tmp_path / "data/08_reporting" / folder / "manifests" / f"{RUN_ID}.json").exists()
