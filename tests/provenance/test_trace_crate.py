"""A trace as an RO-Crate: the entities that the profiles ask for are there, and say what the runs recorded.

https://w3id.org/ro/wfrun/provenance/0.5 and the profiles that it stands on; rules are quoted by their MUST.
"""

import hashlib
import json
import zipfile

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
    return value if isinstance(value, list) else [value]


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


def test_a_zip_holds_the_same(project, tmp_path, folder):
    place = write_crate(project.trace("toy.evaluation:auc.value"), project.folder, tmp_path / "crate.zip")
    with zipfile.ZipFile(place) as archive:
        assert {name for name in archive.namelist() if not name.endswith("/")} == {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        assert archive.read(EVALUATION) == (folder / EVALUATION).read_bytes()


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


def test_a_result_that_is_not_as_its_run_left_it_is_no_crate(project, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(SkytraceError, match="there already"):
        write_crate(project.trace("toy.evaluation"), project.folder, tmp_path / "there")
    (tmp_path / EVALUATION).write_text("{}")
    with pytest.raises(SkytraceError, match=r"toy\.evaluation is changed: a crate needs its file"):
        write_crate(project.trace("toy.evaluation"), project.folder, tmp_path / "crate")
    assert not (tmp_path / "crate").exists()
