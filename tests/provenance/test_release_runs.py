"""What git carries of a release: the manifest of the run that made it, whole, and nothing of the machine."""

import json
import shutil
from pathlib import Path

import pytest

from tests.provenance.toy_project import RUNS

MANIFESTS = Path("data/08_reporting/toy/manifests")
KEPT = MANIFESTS / "releases" / "0001-toy.json"


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
    text = KEPT.read_text()
    kept, own = json.loads(text), released.manifest(RUNS[0])
    assert kept["datasets"]["sky"]["path"] == "$SKYTRACE_DATA/sky"
    assert "process" not in kept and "project_path" not in kept["command"]
    own.pop("process")
    own["command"].pop("project_path")
    own["datasets"]["sky"]["path"] = kept["datasets"]["sky"]["path"]
    assert kept == own
    assert str(tmp_path) not in text and own["datasets"]["toy.galaxies"]["path"].startswith("data/03_primary/")


def test_a_run_counts_once_and_the_newest_of_a_release_is_kept(released):
    from skytrace.provenance.run_index import RunIndex

    assert [facts["run_id"] for facts in RunIndex.of_project(released.folder).manifests] == [RUNS[0]]
    shutil.rmtree("data/03_primary")
    released.run(RUNS[1])
    assert json.loads(KEPT.read_text())["run_id"] == RUNS[1]
    index = RunIndex.of_project(released.folder)
    assert [facts["run_id"] for facts in index.manifests] == [RUNS[1], RUNS[0]]
    assert "process" in index.manifests[0], "the manifest of this machine says more"


def test_parts_of_pipelines_and_runs_by_hand_keep_nothing(project, monkeypatch):
    assert not KEPT.parent.exists(), "a run without a release"
    monkeypatch.setenv("KEDRO_RELEASE", "0002")
    project.run(RUNS[1], "toy.select")
    assert not KEPT.parent.exists(), "one node of four"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "0001-toy.json"),
        ({"tags": ["toy"]}, "0001-toy.json"),  # as DVC's stages call a pipeline without those before it
        ({"tags": ["plots"]}, None),
        ({"status": "failed"}, None),
        ({"only_missing_outputs": True}, None),
        ({"to_outputs": ["toy.evaluation"]}, None),
        ({"pipeline_names": ["toy", "../other"]}, "0001-toy+.._other.json"),
    ],
)
def test_a_whole_run_is_one_that_leaves_no_node_out(tmp_path, change, name):
    from skytrace.provenance.release_runs import keep_release_manifest

    command = {"pipeline_names": ["toy"], **{key: value for key, value in change.items() if key != "status"}}
    facts = {"run_id": "r", "status": change.get("status", "done"), "command": command, "datasets": {}}
    (tmp_path / "r.json").write_text(json.dumps(facts))
    kept = keep_release_manifest(tmp_path / "r.json", "0001")
    assert (None if kept is None else kept.relative_to(tmp_path).as_posix()) == (name and f"releases/{name}")
    assert keep_release_manifest(tmp_path / "r.json", None) is None
