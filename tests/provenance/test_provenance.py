"""The facts of a run: what changed in the source, what the files were, how much memory a step took."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import SkytraceError
from skytrace.provenance import RunManifest, describe_path, device, package_versions, repository_state
from skytrace.provenance.manifest import collect_seeds, count_rows, plain
from skytrace.provenance.results import find_results, save_reports
from skytrace.provenance.runs import run_state, run_words, this_process


def _git(folder, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_folder_without_git_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert set(repository_state(tmp_path).values()) == {None}


def test_a_machine_without_git_has_no_commit(tmp_path, monkeypatch):
    _git(tmp_path, "init")
    monkeypatch.setenv("PATH", "")
    assert set(repository_state(tmp_path).values()) == {None}


def test_the_state_of_a_repository_says_what_was_changed(tmp_path):
    _git(tmp_path, "init", "-b", "main")
    (tmp_path / "a.py").write_text("1\n")
    before_any_commit = repository_state(tmp_path)
    assert before_any_commit["commit"] is None
    assert before_any_commit["dirty"] is True

    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "one")
    clean = repository_state(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean == {"commit": clean["commit"], "branch": "main", "dirty": False, "diff_sha256": None}

    hashes = set()
    for name, text in (("a.py", "2\n"), ("a.py", "3\n"), ("new.py", ""), ("new.py", "x")):
        (tmp_path / name).write_text(text)
        state = repository_state(tmp_path)
        assert state["dirty"] is True
        assert state["commit"] == clean["commit"]
        hashes.add(state["diff_sha256"])
    assert len(hashes) == 4, "two different changes have one hash"

    before = repository_state(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "evaluation.json").write_text("{}")
    (tmp_path / "dvc.lock").write_text("")
    assert repository_state(tmp_path) == before, "results count as a change of the source"


def test_the_hash_of_a_file_is_what_sha256sum_prints(tmp_path):
    content = np.random.default_rng(1).bytes(9_000_000)  # more than two pieces
    (tmp_path / "a").write_bytes(content)
    assert describe_path(tmp_path / "a") == {"bytes": 9_000_000, "sha256": hashlib.sha256(content).hexdigest()}
    assert describe_path(tmp_path / "none") == {}


def test_the_hash_of_a_folder_changes_with_names_and_contents_alone(tmp_path):
    for folder, order in (("one", "ab"), ("two", "ba")):
        for name in order:
            path = tmp_path / folder / "shards" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"content of {name}")
    (tmp_path / "two" / ".partial").write_text("half")
    first = describe_path(tmp_path / "one")
    assert first == describe_path(tmp_path / "two")
    assert (first["files"], first["bytes"]) == (2, 24)
    (tmp_path / "two" / "shards" / "a").rename(tmp_path / "two" / "shards" / "c")
    assert describe_path(tmp_path / "two")["sha256"] != first["sha256"]


PEAK = """
import time
import numpy as np
from skytrace.provenance import PeakMemory

memory = PeakMemory(interval_s=0.01)
memory.start()
memory.reset()
before = memory.read()
block = np.ones(40_000_000)  # 320 MB
time.sleep(0.3)
del block
peak = memory.read()
memory.reset()
time.sleep(0.1)
after = memory.read()
memory.stop()
print(peak - before, after - before)
"""


def test_peak_memory_sees_what_was_let_go_again():
    """In a process of its own: one that has freed much before would take the block from what it still holds."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    peak, after = map(float, done.stdout.split())
    assert 300e6 < peak < 500e6
    assert after < 100e6


def test_seeds_are_found_at_any_depth():
    parameters = {"lens_finder": {"split": {"seed": 1, "nside": 128}, "mock_seed": 2}, "seed": 3, "seeds": 4}
    assert collect_seeds(parameters) == {"lens_finder.split.seed": 1, "lens_finder.mock_seed": 2, "seed": 3}


def test_options_become_plain_json():
    value = {
        "cluster": ClusterOptions(job_directives=("-C cpu",)),
        "n": np.int64(3),
        "x": float("nan"),
        "a": np.ones(2),
    }
    loaded = json.loads(json.dumps(plain(value), allow_nan=False))
    assert loaded["cluster"]["job_directives"] == ["-C cpu"]
    assert (loaded["n"], loaded["x"], loaded["a"]) == (3, None, [1.0, 1.0])


def test_rows_of_tables_and_of_arrays_are_counted():
    assert count_rows(pd.DataFrame({"a": [1, 2, 3]})) == 3
    assert count_rows({"id": np.zeros(4), "stamps": np.zeros((4, 3, 8, 8)), "scale": np.array(2.0)}) == 4
    assert count_rows({"a": np.zeros(4), "b": np.zeros(5)}) is None
    assert count_rows({"auc": 0.97}) is None


def test_the_machine_and_the_versions_are_named():
    described = device()
    assert described["cores"] >= 1
    assert described["memory_bytes"] > 1e8
    versions = package_versions()
    assert versions["numpy"] == np.__version__
    assert {"python", "kedro", "torch", "pandas"} <= set(versions)


def test_a_manifest_holds_every_fact_and_survives_a_failure(tmp_path):
    table = tmp_path / "data" / "table.csv"
    table.parent.mkdir()
    table.write_text("a\n1\n2\n")
    manifest = RunManifest(tmp_path, run_id="r1", environment="smoke", command={"pipeline_names": ["x"]})
    manifest.add_parameters({"x": {"cluster": ClusterOptions(), "seed": 7}}, globals_={"sky": "mock"})
    manifest.node_begins("x.one")
    manifest.add_dataset(
        "x.table", role="output", kind="pandas.CSVDataset", path=table, version="0001", rows=2, node="x.one"
    )
    manifest.node_ends("x.one")
    manifest.node_begins("x.two")
    manifest.node_ends("x.two", status="failed")
    path = manifest.write(tmp_path / "manifests" / "r1.json", status="failed", error=ValueError("a star in the way"))
    facts = json.loads(path.read_text())
    assert (facts["status"], facts["error"]) == ("failed", "ValueError: a star in the way")
    assert facts["seeds"] == {"x.seed": 7}
    assert facts["parameters"]["x"]["cluster"]["workers"] == 2
    assert [facts["nodes"][name]["status"] for name in ("x.one", "x.two")] == ["done", "failed"]
    assert facts["nodes"]["x.one"]["peak_memory_bytes"] > 1e6
    record = facts["datasets"]["x.table"]
    assert record["path"] == "data/table.csv"
    assert record["sha256"] == hashlib.sha256(b"a\n1\n2\n").hexdigest()
    assert (record["bytes"], record["rows"], record["version"], record["role"]) == (6, 2, "0001", "output")


@pytest.mark.parametrize("release", [None, "0001"])
def test_results_name_the_newest_version_or_the_release(tmp_path, monkeypatch, release):
    monkeypatch.setenv("KEDRO_RELEASE", release or "")
    catalog = {
        "injection_recovery.realism_report": {"filepath": "report.json"},
        "injection_recovery.selection_function": {"filepath": "surface.parquet", "versioned": True},
        "lens_finder.evaluation": {"filepath": "evaluation.json"},
        "lens_finder.detector": {"filepath": "d.safetensors", "versioned": True},
    }
    nothing = find_results(catalog, tmp_path)
    assert nothing.lines(tmp_path) == [
        "no results yet: kedro run --pipelines injection_recovery, or any of `kedro registry list`"
    ]
    assert nothing.lines(tmp_path, env="decam_fields") == [
        "no results yet: kedro run --env decam_fields --pipelines injection_recovery, or any of `kedro registry list`"
    ]
    (tmp_path / "report.json").write_text('{"verdict": "NO-GO"}')
    auc = '{"ranking": {"auc": {"value": 0.97, "low_68": 0.965, "low_95": 0.96, "high_95": 0.98}}}'
    (tmp_path / "evaluation.json").write_text(auc)
    for version in ("0001", "2026-01-01T00.00.00.000Z"):
        (tmp_path / "surface.parquet" / version).mkdir(parents=True)
        (tmp_path / "surface.parquet" / version / "surface.parquet").touch()
    results = find_results(catalog, tmp_path)
    lines = results.lines(tmp_path)
    assert lines[:2] == ["verdict: NO-GO", "detector: AUC 0.9700 [0.9600, 0.9800 at 95 %] on the test split"]
    newest = release or "2026-01-01T00.00.00.000Z"
    assert any(line.startswith(f"surface.parquet/{newest}/surface.parquet  the selection function") for line in lines)
    assert "lens_finder.detector" not in results.paths


def test_results_say_how_well_cluster_fields_are_ranked(tmp_path):
    folder = tmp_path / "data" / "mock" / "cluster_pu"
    folder.mkdir(parents=True)
    names = {"cluster_pu.evaluation": "evaluation.json", "cluster_pu.triage_page": "triage.html"}
    catalog = {name: {"filepath": f"data/mock/cluster_pu/{file}"} for name, file in names.items()}
    (folder / "triage.html").touch()
    rare = {
        "auroc": {"value": 0.8214, "low_95": 0.7779, "high_95": 0.8621}, "sample": {"positives": 125, "negatives": 685},
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps({"rare_events": rare}))
    assert find_results(catalog, tmp_path).lines(tmp_path) == [
        "clusters: AUROC 0.821 [0.778, 0.862 at 95 %] on 125 lenses and 685 other test fields",
        "data/mock/cluster_pu/triage.html      candidates for clusters that lens clusters, ranked, with pictures",
        "data/mock/cluster_pu/evaluation.json  the ranking on test fields",
    ]  # no verdict: no gate judges clusters


def test_results_say_how_the_distance_laws_compare(tmp_path):
    folder = tmp_path / "data" / "des_sn" / "supernova"
    folder.mkdir(parents=True)
    names = {"supernova.pair_report": "pairs.json", "supernova.supernova_page": "supernova.html"}
    catalog = {name: {"filepath": f"data/des_sn/supernova/{file}"} for name, file in names.items()}
    (folder / "supernova.html").touch()
    pair = {"difference": -30.04, "se": 2.31, "indistinguishable": False, "n": 44}
    (folder / "pairs.json").write_text(json.dumps({"loo": {"student_t": {"qfd_anchored": pair}}}))
    assert find_results(catalog, tmp_path).lines(tmp_path) == [
        "supernovae: elpd of the anchored basis minus flat LambdaCDM -30.0 +- 2.3 by PSIS-LOO, n = 44: "
        "they do not predict equally well",
        "data/des_sn/supernova/supernova.html  the distance laws compared, in words and figures",
    ]  # no verdict: nothing here is of lenses
    (folder.parent / "manifests").mkdir()
    sha256 = hashlib.sha256((folder / "pairs.json").read_bytes()).hexdigest()
    made = {"supernova.pair_report": {"role": "output", "sha256": sha256}}
    facts = {"run_id": "2026-01-01", "status": "done", "git": {"commit": "c"}, "datasets": made}
    (folder.parent / "manifests" / "2026-01-01.json").write_text(json.dumps(facts))
    saved = save_reports(catalog, tmp_path, tmp_path / "kept")
    assert [path.name for path in saved] == ["pairs.json", "run.json"]
    assert save_reports(catalog, tmp_path, tmp_path / "again", only="supernova")[0].name == "pairs.json"
    with pytest.raises(SkytraceError, match="no reports to save yet: kedro run --pipelines lens_finder"):
        save_reports(catalog, tmp_path, tmp_path / "again", only="lens_finder")
    words = "no pipeline 'lens' leaves reports; choose one of cluster_pu, injection_recovery"
    with pytest.raises(SkytraceError, match=words):
        save_reports(catalog, tmp_path, tmp_path / "again", only="lens")


def test_saved_reports_carry_the_run_that_made_them(tmp_path):
    reports = tmp_path / "data" / "mock"
    catalog = {"injection_recovery.trends": {"filepath": "data/mock/injection_recovery/trends.json"}}
    with pytest.raises(SkytraceError, match="no reports to save yet"):
        save_reports(catalog, tmp_path, tmp_path / "kept")
    (reports / "injection_recovery").mkdir(parents=True)
    (reports / "injection_recovery" / "trends.json").write_text('{"depth": 1}')
    with pytest.raises(SkytraceError, match="no manifest in data/mock/manifests is of a finished run that wrote"):
        save_reports(catalog, tmp_path, tmp_path / "kept")
    (reports / "manifests").mkdir()
    sha256 = hashlib.sha256(b'{"depth": 1}').hexdigest()
    made = {"injection_recovery.trends": {"role": "output", "sha256": sha256}}
    for run_id, status, datasets in (
        ("2026-01-01", "done", made), ("2026-01-02", "failed", made), ("2026-01-03", "done", {}),
    ):  # fmt: skip
        facts = {"run_id": run_id, "status": status, "git": {"commit": f"of-{run_id}"}, "datasets": datasets}
        (reports / "manifests" / f"{run_id}.json").write_text(json.dumps(facts))
    saved = save_reports(catalog, tmp_path, tmp_path / "kept")
    assert [path.name for path in saved] == ["trends.json", "run.json"]
    run = json.loads((tmp_path / "kept" / "run.json").read_text())
    assert run["git"]["commit"] == "of-2026-01-01", "the run that wrote these bytes, not a later one that found them"
    assert run["reports"]["injection_recovery.trends"]["sha256"] == sha256
    (reports / "injection_recovery" / "trends.json").write_text('{"depth": 2}')
    with pytest.raises(SkytraceError, match="as it is now"):
        save_reports(catalog, tmp_path, tmp_path / "kept")


def test_a_run_whose_process_is_gone_was_killed_and_one_of_another_machine_is_unfinished():
    here = this_process()
    facts = {"run_id": "r1", "status": "running", "process": here, "nodes": {"x.train": {"status": "running"}}}
    assert run_words(facts) == "run r1 is still running in x.train"
    assert run_state(facts | {"process": here | {"began": here["began"] - 100}}) == "killed", "a pid was used again"
    assert run_state(facts | {"process": here | {"pid": 2**30}}) == "killed"
    assert run_words(facts | {"process": here | {"pid": 2**30}}) == "run r1 was killed in x.train"
    assert run_words(facts | {"process": here | {"host": "far"}}) == "run r1 on far has not finished in x.train"
    assert run_state(facts | {"process": None}) == "unfinished"
    assert run_state(facts | {"status": "done"}) == "done"


def test_reports_of_a_killed_run_are_told_and_not_saved(tmp_path):
    reports = tmp_path / "data" / "mock"
    verdict = b'{"verdict": "GO"}'
    name = "injection_recovery.realism_report"
    catalog = {name: {"filepath": "data/mock/injection_recovery/realism_report.json"}}
    (reports / "injection_recovery").mkdir(parents=True)
    (reports / "injection_recovery" / "realism_report.json").write_bytes(verdict)
    (reports / "manifests").mkdir()
    record = {
        "role": "output", "path": "data/mock/injection_recovery/realism_report.json", "bytes": len(verdict),
        "sha256": hashlib.sha256(verdict).hexdigest(),
    }  # fmt: skip
    killed = {
        "run_id": "2026-01-02", "status": "running", "process": this_process() | {"pid": 2**30},
        "nodes": {"x.one": {"status": "done"}, "x.two": {"status": "running"}}, "datasets": {name: record},
    }  # fmt: skip
    (reports / "manifests" / "2026-01-02.json").write_text(json.dumps(killed))
    note = "note: run 2026-01-02 was killed in x.two"
    lines = find_results(catalog, tmp_path).lines(tmp_path)
    assert lines[-1] == f"{note}; data/mock/injection_recovery/realism_report.json is of that run"
    with pytest.raises(
        SkytraceError, match=r"run 2026-01-02 was killed in x\.two, and wrote it: run the pipeline again"
    ):
        save_reports(catalog, tmp_path, tmp_path / "kept")
    done = killed | {"run_id": "2026-01-03", "status": "done"}
    (reports / "injection_recovery" / "realism_report.json").write_bytes(verdict + b" ")
    assert find_results(catalog, tmp_path).lines(tmp_path)[-1] == f"{note}; no file named here is of that run"
    (reports / "manifests" / "2026-01-03.json").write_text(json.dumps(done))
    assert not any(line.startswith("note") for line in find_results(catalog, tmp_path).lines(tmp_path))


def test_a_snapshot_is_hashed_once_and_again_where_the_file_changed(tmp_path, monkeypatch):
    from skytrace.provenance import manifest as module

    looked = []
    monkeypatch.setattr(module, "describe_path", lambda path: looked.append(path.name) or describe_path(path))
    table, target = tmp_path / "table.csv", tmp_path / "manifests" / "r1.json"
    table.write_text("a\n1\n")
    manifest = RunManifest(tmp_path, run_id="r1", environment="smoke", command={})
    manifest.add_dataset("t", role="output", kind="CSV", path=table, version=None, rows=1, node="one")
    for _ in range(3):
        manifest.snapshot(target)
    facts = json.loads(target.read_text())
    assert (facts["status"], run_state(facts)) == ("running", "running")
    assert facts["datasets"]["t"]["sha256"] == hashlib.sha256(b"a\n1\n").hexdigest()
    assert looked == ["table.csv"]
    table.write_text("a\n2\n3\n")
    manifest.write(target, status="done")
    assert json.loads(target.read_text())["datasets"]["t"]["sha256"] == hashlib.sha256(b"a\n2\n3\n").hexdigest()
    assert looked == ["table.csv", "table.csv"]
