"""A trace as an RO-Crate: the entities that the profiles ask for are there, and say what the runs recorded.

https://w3id.org/ro/wfrun/provenance/0.5 and the profiles that it stands on; rules are quoted by their MUST.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from skytrace.errors import SkytraceError
from skytrace.provenance.trace_crate import PROFILES, write_crate
from tests.provenance.toy_project import RUNS

EVALUATION = "data/08_reporting/toy/evaluation.json"
GALAXIES = f"data/03_primary/toy/galaxies.csv/{RUNS[0]}/galaxies.csv"


class Graph:
    """The metadata of a crate, by identifier and by type; links become lists of entities."""

    def __init__(self, text: str) -> None:
        loaded = json.loads(text)
        self.context = loaded["@context"]
        self.entities = {each["@id"]: each for each in loaded["@graph"]}

    def of_type(self, kind: str) -> list[dict]:
        return [each for each in self.entities.values() if kind in _list(each["@type"])]

    def linked(self, entity: dict, name: str) -> list[dict]:
        return [self.entities[each["@id"]] for each in _list(entity.get(name, []))]


def _list(value) -> list:
    return [value] if isinstance(value, dict | str) or hasattr(value, "id") else list(value)


@pytest.fixture
def folder(project, tmp_path):
    return write_crate(project.trace("toy.evaluation:auc.value"), project.folder, tmp_path / "crate")


@pytest.fixture
def graph(folder):
    return Graph((folder / "ro-crate-metadata.json").read_text())


def test_the_root_names_its_profiles_its_workflow_and_what_an_ro_crate_must_have(graph):
    root, descriptor = graph.entities["./"], graph.entities["ro-crate-metadata.json"]
    assert graph.linked(descriptor, "about") == [root]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert graph.context == [
        "https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context",
    ]  # fmt: skip
    assert {each["@id"] for each in graph.linked(root, "conformsTo")} == set(PROFILES)
    assert all("CreativeWork" in each["@type"] for each in graph.linked(root, "conformsTo"))
    assert root["name"] == "Lineage of toy.evaluation:auc.value" and root["datePublished"] and root["description"]
    assert graph.linked(root, "license")
    (workflow,) = graph.linked(root, "mainEntity")
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} <= set(workflow["@type"])
    assert [each["name"] for each in graph.linked(workflow, "programmingLanguage")] == ["Kedro"]
    assert workflow in graph.linked(root, "hasPart")
    assert workflow["conformsTo"]["@id"].startswith("https://bioschemas.org/profiles/ComputationalWorkflow/")
    values = [value for each in graph.entities.values() for key, value in each.items() if key[0] != "@"]
    assert any(isinstance(value, list) for value in values), "of several values there is a list"
    assert not any(isinstance(value, list) and len(value) == 1 for value in values), "RO-Crate 1.1: none of one"


def test_the_workflow_names_its_tools_and_steps_and_each_has_its_actions(graph):
    (workflow,) = graph.of_type("ComputationalWorkflow")
    steps, tools = graph.linked(workflow, "step"), graph.linked(workflow, "hasPart")
    assert {each["name"] for each in steps} == {"toy.evaluate", "toy.measure", "toy.select", "toy.read_truth"}
    assert {each["name"] for each in tools} == {
        f"toysky.nodes.{f}" for f in ("evaluate", "measure", "select", "read_truth")
    }
    assert graph.of_type("HowToStep") == steps
    actions = {action["@id"]: action for action in graph.of_type("CreateAction")}
    controls = graph.of_type("ControlAction")
    assert len(controls) == 4
    for control in controls:
        (step,), (action,) = graph.linked(control, "instrument"), graph.linked(control, "object")
        assert action["@id"] in actions
        assert graph.linked(action, "instrument") == graph.linked(step, "workExample")
    (organize,) = graph.of_type("OrganizeAction")
    (run,) = graph.linked(organize, "result")
    assert graph.linked(run, "instrument") == [workflow]
    assert graph.linked(organize, "object") == controls
    assert [each["name"] for each in graph.linked(organize, "instrument")] == ["Kedro"]
    assert run in graph.linked(graph.entities["./"], "mentions") and run["startTime"] <= run["endTime"]


def test_formal_parameters_have_types_and_values(graph):
    (workflow,) = graph.of_type("ComputationalWorkflow")
    inputs = {each["name"]: each for each in graph.linked(workflow, "input")}
    assert set(inputs) == {"sky", "mock_sky", "parameters toy.limit", "parameters toy.measure"}
    (output,) = graph.linked(workflow, "output")
    assert (output["name"], output["additionalType"]) == ("toy.evaluation", "File")
    for slot in graph.of_type("FormalParameter"):
        (value,) = graph.linked(slot, "workExample")
        assert slot["additionalType"] in _list(value["@type"])
        assert graph.linked(value, "exampleOfWork") == [slot]
    (value,) = graph.linked(inputs["parameters toy.measure"], "workExample")
    assert json.loads(value["value"]) == {"zero_point": 25.0, "kind": "sum"}
    (sky,) = graph.linked(inputs["mock_sky"], "workExample")
    assert json.loads(sky["value"])["sky"] == {"options": {"n": 4}}


def test_actions_link_what_nodes_read_and_wrote(graph):
    (action,) = [each for each in graph.of_type("CreateAction") if each["name"].startswith("toy.measure@")]
    assert [each["name"] for each in graph.linked(action, "object")] == ["toy.galaxies", "toy.measure"]
    assert [each["@id"] for each in graph.linked(action, "result")] == ["data/04_feature/toy/fluxes.csv"]
    (run,) = [each for each in graph.of_type("CreateAction") if each["@id"].startswith("#run-")]
    assert {each["name"] for each in graph.linked(run, "object")} == {"sky", "mock_sky", "toy.limit", "toy.measure"}


def test_files_are_in_it_with_their_hashes_and_raw_sky_is_not(graph, folder):
    files = {each["@id"]: each for each in graph.of_type("File")}
    assert set(files) == {"lineage.json", EVALUATION, GALAXIES, "data/04_feature/toy/fluxes.csv"}
    assert set(files) == {each["@id"] for each in graph.linked(graph.entities["./"], "hasPart")}
    for name, entity in files.items():
        content = (folder / name).read_bytes()
        if name != "lineage.json":
            assert entity["sha256"] == hashlib.sha256(content).hexdigest()
            assert entity["contentSize"] == str(len(content))
    assert json.loads((folder / "lineage.json").read_text())["target"]["key"] == "auc.value"


def test_weights_go_with_their_card(project, tmp_path):
    project.write("data/04_feature/toy/fluxes.card.json", '{"trained": true}')
    project.run(RUNS[1], "toy.measure")
    place = write_crate(project.trace("toy.fluxes"), project.folder, tmp_path / "crate")
    graph = Graph((place / "ro-crate-metadata.json").read_text())
    card = graph.entities["data/04_feature/toy/fluxes.card.json"]
    assert card["sha256"] == hashlib.sha256(b'{"trained": true}').hexdigest() and card["name"] == "Card of toy.fluxes"
    project.write("data/04_feature/toy/fluxes.card.json", '{"trained": false}')
    (fault,) = project.trace("toy.fluxes")["breaks"]
    assert fault["kind"] == "edited" and fault["words"].startswith("data/04_feature/toy/fluxes.card.json has SHA-256")


def test_a_file_beyond_the_limit_is_named_and_not_copied(project, tmp_path):
    write_crate(project.trace("toy.evaluation"), project.folder, tmp_path / "small", largest_bytes=10)
    graph = Graph((tmp_path / "small/ro-crate-metadata.json").read_text())
    assert {each["@id"] for each in graph.of_type("File")} == {"lineage.json"}
    assert not (tmp_path / "small/data").exists()
    value = next(each for each in graph.of_type("PropertyValue") if each["name"] == "toy.galaxies")
    assert json.loads(value["value"])["path"] == GALAXIES and len(value["sha256"]) == 64


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _recorded_as(project, path: str) -> None:
    """A manifest that says of toy.fluxes, card and all, that it lies at ``path``; there it does."""
    place = project.folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(project.folder / "data/04_feature/toy/fluxes.csv", place)
    manifest = project.folder / f"data/08_reporting/toy/manifests/{RUNS[0]}.json"
    facts = json.loads(manifest.read_text())
    record = facts["datasets"]["toy.fluxes"]
    record["path"] = path
    record["card"] = {"path": path, "sha256": record["sha256"]}
    manifest.write_text(json.dumps(facts))


LEADING_OUT = ("../escaped.txt", "data/../../escaped.txt", "..\\escaped.txt", "C:\\escaped.txt", "lineage.json",
               "Ro-Crate-Metadata.json")  # fmt: skip


def test_a_path_that_leads_out_of_the_project_is_named_and_nothing_is_written_there(project, tmp_path):
    facts = project.trace("toy.evaluation")
    fluxes = next(each for each in facts["datasets"] if each["name"] == "toy.fluxes")
    for number, path in enumerate((*LEADING_OUT, str(tmp_path / "elsewhere/escaped.txt"))):
        _recorded_as(project, path)
        fluxes["path"] = path
        if number == 0:
            facts = project.trace("toy.evaluation")
            fluxes = next(each for each in facts["datasets"] if each["name"] == "toy.fluxes")
            assert (fluxes["path"], fluxes["state"]) == (path, "as recorded")
        out = tmp_path / f"out{number}"
        crate = write_crate(facts, project.folder, out / "deep/deeper/crate")
        with zipfile.ZipFile(write_crate(facts, project.folder, out / "deep/deeper/crate.zip")) as archive:
            names = archive.namelist()
        assert sorted(names) == sorted([EVALUATION, GALAXIES, "lineage.json", "ro-crate-metadata.json"]), path
        inside = "deep/deeper/crate"
        assert sorted(_files(out)) == sorted([*(f"{inside}/{name}" for name in names), f"{inside}.zip"]), path
        assert json.loads((crate / "lineage.json").read_text())["format"] == "skytrace.trace/1"
        graph = Graph((crate / "ro-crate-metadata.json").read_text())
        (named,) = [each for each in graph.of_type("PropertyValue") if each["name"] == "toy.fluxes"]
        assert json.loads(named["value"])["path"] == path and len(named["sha256"]) == 64
        assert named["description"].startswith("Not copied: its path leads out of the project, or to a file of the")


def test_only_the_path_decides_whether_weights_and_card_are_copied(project, tmp_path):
    _recorded_as(project, "%2e%2e/escaped.txt")
    facts = project.trace("toy.evaluation")
    place = write_crate(facts, project.folder, tmp_path / "out/crate")
    assert "%2e%2e/escaped.txt" in _files(place) and not (tmp_path / "out/escaped.txt").exists()
    fluxes = next(each for each in facts["datasets"] if each["name"] == "toy.fluxes")
    fluxes["path"], fluxes["card"]["path"] = "data/04_feature/toy/fluxes.csv", "../escaped.txt"
    place = write_crate(facts, project.folder, tmp_path / "out/second")
    assert "data/04_feature/toy/fluxes.csv" in _files(place) and not (tmp_path / "out/escaped.txt").exists()
    graph = Graph((place / "ro-crate-metadata.json").read_text())
    (card,) = [each for each in graph.of_type("PropertyValue") if each["name"] == "Card of toy.fluxes"]
    assert (card["value"], card["sha256"]) == ("../escaped.txt", fluxes["sha256"])


def test_a_crate_that_fails_half_way_leaves_nothing_behind(project, tmp_path, monkeypatch):
    from rocrate.model.metadata import Metadata

    def fail(*_, **__):
        raise RuntimeError

    facts = project.trace("toy.evaluation")
    for way in ("write", "stream"):
        monkeypatch.setattr(Metadata, way, fail)  # the last to be written, after the files
    for name in ("crate", "crate.zip"):
        with pytest.raises(RuntimeError):
            write_crate(facts, project.folder, tmp_path / "out" / name)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_zip_holds_the_same(project, tmp_path, folder):
    place = write_crate(project.trace("toy.evaluation:auc.value"), project.folder, tmp_path / "crate.zip")
    with zipfile.ZipFile(place) as archive:
        assert {name for name in archive.namelist() if not name.endswith("/")} == {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        assert archive.read(EVALUATION) == (folder / EVALUATION).read_bytes()


def _ids(entities) -> list[str]:
    return sorted(each.id for each in _list(entities))


def test_the_community_s_own_reader_finds_the_root_the_workflow_and_the_actions(project, tmp_path):
    from rocrate.rocrate import ROCrate

    facts = project.trace("toy.evaluation:auc.value")
    functions = {node["name"]: node["function"] for node in facts["nodes"]}
    for name in ("crate", "crate.zip"):
        crate = ROCrate(write_crate(facts, project.folder, tmp_path / "out" / name))
        assert crate.version == "1.1" and crate.metadata.root is crate.root_dataset
        assert crate.name == "Lineage of toy.evaluation:auc.value"
        assert _ids(crate.root_dataset["conformsTo"]) == sorted(PROFILES)
        workflow = crate.mainEntity
        assert (workflow.id, workflow["programmingLanguage"]["name"]) == ("lineage.json", "Kedro")
        files = {each.id: each for each in crate.data_entities}
        assert set(files) == {"lineage.json", EVALUATION, GALAXIES, "data/04_feature/toy/fluxes.csv"}
        for each in files.values():
            content = Path(each.source).read_bytes()
            assert each.get("sha256") in (hashlib.sha256(content).hexdigest(), None if each is workflow else "")

        actions = {each["name"]: each for each in crate.get_by_type("CreateAction")}
        run = actions.pop(f"Kedro run {RUNS[0]}")
        assert _list(crate.root_dataset["mentions"]) == [run] and run["instrument"] is workflow
        assert {each.partition("@")[0]: action["instrument"]["name"] for each, action in actions.items()} == functions
        assert _ids(action["instrument"] for action in actions.values()) == _ids(workflow["hasPart"])
        evaluate = actions[f"toy.evaluate@{RUNS[0]}"]
        assert [each.id for each in _list(evaluate["result"])] == [EVALUATION]
        assert {each["name"] for each in evaluate["object"]} == {
            "toy.fluxes", "toy.galaxies", "toy.truth", "toy.measure",
        }  # fmt: skip
        (organize,) = crate.get_by_type("OrganizeAction")
        assert organize["result"] is run
        assert _ids(each["object"] for each in organize["object"]) == _ids(actions.values())


def test_runs_of_different_days_are_actions_of_their_own(project, tmp_path):
    project.run(RUNS[1], "toy.evaluate", "toy.read_truth")
    write_crate(project.trace("toy.evaluation"), project.folder, tmp_path / "two")
    graph = Graph((tmp_path / "two/ro-crate-metadata.json").read_text())
    runs = {each["@id"]: each for each in graph.of_type("CreateAction") if each["@id"].startswith("#run-")}
    assert set(runs) == {f"#run-{RUNS[0]}", f"#run-{RUNS[1]}"}
    made = {name: {each["name"] for each in graph.linked(run, "result")} for name, run in runs.items()}
    assert made == {
        f"#run-{RUNS[0]}": {"toy.galaxies", "toy.fluxes"}, f"#run-{RUNS[1]}": {"toy.evaluation", "toy.truth"},
    }  # fmt: skip


FAILED, COMPLETED = "http://schema.org/FailedActionStatus", "http://schema.org/CompletedActionStatus"


def _endings(project, folder, **changed) -> tuple[dict, dict, dict]:
    """The actions of the run, of toy.measure and of toy.select where the manifest is changed so."""
    manifest = project.folder / f"data/08_reporting/toy/manifests/{RUNS[0]}.json"
    facts = json.loads(manifest.read_text())
    facts["nodes"]["toy.measure"]["status"] = changed.pop("measure")
    manifest.write_text(json.dumps(facts | changed))
    place = write_crate(project.trace("toy.fluxes"), project.folder, folder)
    actions = Graph((place / "ro-crate-metadata.json").read_text()).of_type("CreateAction")
    starts = ("Kedro run", "toy.measure@", "toy.select@")
    run, measure, select = (next(each for each in actions if each["name"].startswith(start)) for start in starts)
    return run, measure, select


def test_a_run_that_is_not_done_is_a_failed_action_that_says_why(project, tmp_path):
    here = project.manifest(RUNS[0])["process"]
    run, measure, select = _endings(project, tmp_path / "done", measure="done")
    assert [each["actionStatus"] for each in (run, measure, select)] == [COMPLETED] * 3
    assert not any("error" in each for each in (run, measure, select)) and "endTime" in run

    run, measure, select = _endings(project, tmp_path / "failed", status="failed", error="KeyError: 'x'",
                                    measure="failed")  # fmt: skip
    words = f"run {RUNS[0]} failed in toy.measure: KeyError: 'x'"
    assert [each["actionStatus"] for each in (run, measure, select)] == [FAILED, FAILED, COMPLETED]
    assert (run["error"], measure["error"]) == (words, words)
    assert "error" not in select and "endTime" in run

    killed = here | {"pid": 2**30}
    run, measure, select = _endings(project, tmp_path / "killed", status="running", error=None, process=killed,
                                    measure="running")  # fmt: skip
    assert [each["actionStatus"] for each in (run, measure, select)] == [FAILED, FAILED, COMPLETED]
    assert (run["error"], measure["error"]) == (f"run {RUNS[0]} was killed in toy.measure",) * 2
    assert "endTime" not in run, "of a killed run nobody knows when it ended"

    run, measure, _ = _endings(project, tmp_path / "interrupted", status="interrupted", measure="interrupted")
    assert (run["actionStatus"], run["error"]) == (FAILED, f"run {RUNS[0]} was interrupted in toy.measure")

    run, measure, select = _endings(project, tmp_path / "on", status="running", process=here, measure="running")
    assert not any({"actionStatus", "error", "endTime"} & set(each) for each in (run, measure))
    assert select["actionStatus"] == COMPLETED


def test_a_result_that_is_not_as_its_run_left_it_is_no_crate(project, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(SkytraceError, match="there already"):
        write_crate(project.trace("toy.evaluation"), project.folder, tmp_path / "there")
    (tmp_path / EVALUATION).write_text("{}")
    with pytest.raises(SkytraceError, match=r"toy\.evaluation is changed: a crate needs its file"):
        write_crate(project.trace("toy.evaluation"), project.folder, tmp_path / "crate")
    assert not (tmp_path / "crate").exists()
