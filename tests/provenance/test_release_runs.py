"""What git carries of a release: the manifest of the run that made it, whole, and nothing of the machine."""

import json
import re
import shutil
from pathlib import Path

import pytest

from skytrace.provenance.release_runs import keep_release_manifest
from skytrace.provenance.run_index import RunIndex
from tests.provenance.toy_project import RUNS

MANIFESTS = Path("data/08_reporting/toy/manifests")
FOLDER = MANIFESTS / "releases"


def _kept() -> Path:
    (path,) = FOLDER.glob("0001-toy-*.json")
    return path


@pytest.fixture
def released(project, monkeypatch, tmp_path):
    """A project whose only run was of release 0001, and read its raw sky under $SKYTRACE_DATA."""
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path / "root"))
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "root").mkdir()
    (tmp_path / "sky").rename(tmp_path / "root" / "sky")
    project.write(".gitignore", "data/\nroot/\nelsewhere/\n__pycache__/\n")
    project.commit("the sky is elsewhere")
    monkeypatch.setenv("KEDRO_RELEASE", "0001")
    project.run(RUNS[0])
    return project


def _leave_this_machine(folder: Path) -> None:
    """What git does not carry is gone."""
    for path in (folder / MANIFESTS).glob("*.json"):
        path.unlink()
    shutil.rmtree(folder / MANIFESTS / "listings")


def test_on_another_machine_the_chain_is_whole_with_its_raw_sky_in_another_folder(released, tmp_path, monkeypatch):
    here = released.trace("toy.evaluation:auc.value")
    _leave_this_machine(tmp_path)
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    assert [each["kind"] for each in released.trace("toy.evaluation")["breaks"]] == ["missing"]
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path / "elsewhere"))
    there = released.trace("toy.evaluation:auc.value")
    assert there["breaks"] == [] == here["breaks"]
    assert there["target"]["value"] == here["target"]["value"]
    assert [each["state"] for each in there["datasets"]] == [each["state"] for each in here["datasets"]]

    (tmp_path / "elsewhere" / "sky" / "README").write_text("was never read")
    assert released.trace("toy.evaluation")["breaks"] == [], "the list of the files that were read is kept too"
    (tmp_path / "elsewhere" / "sky" / "b.csv").write_text("name,mag\ng3,21.5\n")
    assert [each["kind"] for each in released.trace("toy.evaluation")["breaks"]] == ["edited"]


def test_nothing_of_the_machine_is_kept_and_the_rest_is_as_the_run_wrote_it(released, tmp_path):
    text = _kept().read_text()
    kept, own = json.loads(text), released.manifest(RUNS[0])
    assert kept["datasets"]["sky"]["path"] == "$SKYTRACE_DATA/sky"
    assert "process" not in kept and "project_path" not in kept["command"]
    own.pop("process")
    own["command"].pop("project_path")
    own["datasets"]["sky"]["path"] = kept["datasets"]["sky"]["path"]
    assert kept == own
    assert str(tmp_path) not in text and own["datasets"]["toy.galaxies"]["path"].startswith("data/03_primary/")


def test_a_run_counts_once_and_the_newest_with_the_same_results_is_kept(released):
    assert [facts["run_id"] for facts in RunIndex.of_project(released.folder).manifests] == [RUNS[0]]
    shutil.rmtree("data/03_primary")
    released.run(RUNS[1])
    assert json.loads(_kept().read_text())["run_id"] == RUNS[1]
    index = RunIndex.of_project(released.folder)
    assert [facts["run_id"] for facts in index.manifests] == [RUNS[1], RUNS[0]]
    assert "process" in index.manifests[0], "the manifest of this machine says more"


def test_results_that_dvc_brings_back_find_their_run_again(released, tmp_path):
    """As DVC's run cache does: made, made with another parameter, and the first results copied back."""
    shutil.copytree("data", "elsewhere", ignore=shutil.ignore_patterns("manifests"))
    shutil.rmtree("data/03_primary")
    released.values["toy"]["measure"]["zero_point"] += 1.0
    released.run(RUNS[1])
    assert len(list(FOLDER.glob("0001-toy-*.json"))) == 2
    _leave_this_machine(tmp_path)
    assert released.trace("toy.evaluation")["breaks"] == []
    released.values["toy"]["measure"]["zero_point"] -= 1.0
    shutil.copytree("elsewhere", "data", dirs_exist_ok=True)
    found = released.trace("toy.evaluation")
    assert found["breaks"] == [] and [run["run_id"] for run in found["runs"]] == [RUNS[0]]


def test_a_later_run_that_wrote_the_same_bytes_stands_for_one_whose_manifest_is_gone(released, tmp_path):
    released.run(RUNS[1], "toy.evaluate", "toy.read_truth")
    shutil.rmtree("data/03_primary")
    released.run(RUNS[2], "toy.select", "toy.measure")
    (tmp_path / MANIFESTS / f"{RUNS[0]}.json").unlink()
    _kept().unlink()
    found = released.trace("toy.evaluation:auc.value")
    assert found["breaks"] == [] and [run["run_id"] for run in found["runs"]] == list(RUNS[1:3])
    shutil.rmtree("data/03_primary")
    released.values["toy"]["limit"] = 22.5
    released.run(RUNS[3], "toy.select")  # other bytes do not stand for them
    (tmp_path / MANIFESTS / f"{RUNS[2]}.json").unlink()
    assert "no-run" in [each["kind"] for each in released.trace("toy.evaluation")["breaks"]]


def test_a_folder_of_the_project_is_not_raw_sky_elsewhere(released, tmp_path):
    """$SKYTRACE_DATA may hold the project too: what is made in it stays where it is in the project."""
    own = released.manifest(RUNS[0])
    made = "data/01_raw/toy/survey"
    own["datasets"]["sky"] |= {"path": made, "sky": {"filepath": made}}
    own["command"]["project_path"] = str(tmp_path / "root" / "skytrace")
    path = tmp_path / MANIFESTS / f"{RUNS[0]}.json"
    path.write_text(json.dumps(own))
    kept = json.loads(keep_release_manifest(path, "0001").read_text())
    assert kept["datasets"]["sky"]["path"] == made
    own["datasets"]["sky"]["path"] = str(tmp_path / "root" / "des")
    path.write_text(json.dumps(own))
    kept = json.loads(keep_release_manifest(path, "0001").read_text())
    assert kept["datasets"]["sky"]["path"] == "$SKYTRACE_DATA/des"


def test_parts_of_pipelines_and_runs_by_hand_keep_nothing(project, monkeypatch):
    assert not FOLDER.exists(), "a run without a release"
    monkeypatch.setenv("KEDRO_RELEASE", "0002")
    project.run(RUNS[1], "toy.select")
    assert not FOLDER.exists(), "one node of four"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "0001-toy-"),
        ({"tags": ["toy"]}, "0001-toy-"),  # as DVC's stages call a pipeline without those before it
        ({"tags": ["plots"]}, None),
        ({"pipeline_names": ["b", "a"], "tags": ["a"]}, None),
        ({"pipeline_names": ["b", "a"], "tags": ["a", "b"]}, "0001-a+b-"),
        ({"status": "failed"}, None),
        ({"only_missing_outputs": True}, None),
        ({"to_outputs": ["toy.evaluation"]}, None),
        ({"pipeline_names": ["toy", "../other"]}, "0001-.._other+toy-"),
    ],
)
def test_a_whole_run_is_one_that_leaves_no_node_out(tmp_path, change, name):
    command = {"pipeline_names": ["toy"], **{key: value for key, value in change.items() if key != "status"}}
    facts = {"run_id": "r", "status": change.get("status", "done"), "command": command, "datasets": {}}
    (tmp_path / "r.json").write_text(json.dumps(facts))
    kept = keep_release_manifest(tmp_path / "r.json", "0001")
    if name is None:
        assert kept is None
    else:
        assert kept is not None and kept.parent == tmp_path / "releases"
        assert re.fullmatch(re.escape(name) + r"[0-9a-f]{8}\.json", kept.name)
    assert keep_release_manifest(tmp_path / "r.json", None) is None


def test_other_tags_results_and_long_names_have_names_of_their_own(tmp_path):
    names = set()
    for pipelines in (["toy"], ["toy"] * 40, [*["toy"] * 40, "zoo"]):
        for tags in ([], pipelines):
            for sha256 in ("1" * 64, "2" * 64):
                facts = {
                    "run_id": "r", "status": "done", "command": {"pipeline_names": pipelines, "tags": tags},
                    "datasets": {"x": {"role": "output", "sha256": sha256}},
                }  # fmt: skip
                (tmp_path / "r.json").write_text(json.dumps(facts))
                names.add(keep_release_manifest(tmp_path / "r.json", "0001").name)
    assert len(names) == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datasets": {"a": None}}, "datasets.a is a NoneType"),
        ({"datasets": []}, ""),  # nothing is in it
        ({"datasets": ["a"]}, "datasets is a list"),
        ({"datasets": {"a": {"path": 3}}}, "datasets.a.path is a int"),
        ({"datasets": {"a": {"sky": "mock"}}}, "datasets.a.sky is a str"),
        ({"nodes": {"n": None}}, "nodes.n is a NoneType"),
        ({"nodes": {"n": {"inputs": "all"}}}, "nodes.n.inputs is a str"),
        ({"git": "main"}, "git is a str"),
        ({"command": "kedro run"}, "command is a str"),
        ({"packages": ["numpy"]}, "packages is a list"),
        ({"process": {"pid": "abc"}}, "process.pid is a str"),
        ({"run_id": None}, "run_id is a NoneType"),
    ],
)
def test_a_manifest_that_somebody_spoilt_is_left_out_by_name(released, caplog, change, words):
    before = released.trace("toy.evaluation")
    path = released.folder / FOLDER / "0001-other.json"
    facts = {"run_id": "2027", "status": "done", "datasets": {}, **change}
    for one in (facts, facts | {"status": "failed", "run_id": "2028"}):  # git keeps none of a failed run
        path.write_text(json.dumps(one))
        assert released.trace("toy.evaluation") == before
    told = [record.getMessage() for record in caplog.records if "0001-other.json" in record.getMessage()]
    assert (bool(told) and words in told[0]) if words else not told


def test_a_commit_in_a_manifest_is_no_option_of_git(released, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    path = _kept()
    facts = json.loads(path.read_text())
    facts["git"]["commit"] = f"--output={tmp_path / 'mine.txt'}"
    path.write_text(json.dumps(facts))
    _leave_this_machine(tmp_path)
    found = released.trace("toy.evaluation")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert [each["kind"] for each in found["breaks"]] == ["code"]
