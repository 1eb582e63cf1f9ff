"""A pipeline's name stands for its whole lineage; its tag for its own nodes."""

import os
import subprocess
import sys

import pytest
from kedro.framework.project import pipelines as project_pipelines
from kedro.io.core import DatasetError

from skytrace import pipeline_registry
from skytrace.cli import MessageError, _say
from skytrace.errors import OptionError
from skytrace.pipeline_registry import LINEAGES, PipelineError, register_pipelines


@pytest.fixture
def requested(monkeypatch):
    return lambda names: monkeypatch.setattr(project_pipelines, "_requested_pipelines", names)


def test_every_registered_pipeline_has_nodes(requested):
    requested(None)
    registered = register_pipelines()
    assert set(registered) == {*LINEAGES, "__default__"}
    assert all(len(pipeline.nodes) >= 3 for pipeline in registered.values())
    whole = {node.name for name in LINEAGES for node in registered[name].nodes}
    assert {node.name for node in registered["__default__"].nodes} == whole


@pytest.mark.parametrize("name", list(LINEAGES))
def test_a_lineage_starts_at_raw_sky_and_nothing_else(requested, name):
    requested([name])
    lineage = register_pipelines()[name]
    raw = {data for data in lineage.inputs() if not data.startswith("params:") and data != "parameters"}
    assert raw <= {
        "survey",
        "detector_survey",
        "supernova_survey",
        "supernova_spectrum",
        "cluster_survey",
        "cluster_images",
    }


def test_every_node_carries_the_tag_of_its_own_pipeline_and_a_readable_name(requested):
    requested(None)
    lineage = register_pipelines()["injection_recovery"]
    for node in lineage.nodes:
        assert node.namespace in LINEAGES
        assert node.tags == {node.namespace}
    alone = lineage.only_nodes_with_tags("lens_finder")
    whole = register_pipelines()["lens_finder"]
    for node in whole.nodes:
        assert node.tags == {"lens_finder"}
    # what injections need of lens_finder, and nothing of its audit
    audit = {node.name for node in whole.nodes} - {node.name for node in alone.nodes}
    assert {node.name for node in alone.nodes} < {node.name for node in whole.nodes}
    assert {"lens_finder.train_ensemble", "lens_finder.write_evaluation_page"} <= audit
    assert "lens_finder.train_detector" not in audit


def test_only_what_is_asked_for_is_imported():
    program = (
        "import sys; from kedro.framework.project import pipelines\n"
        "pipelines._requested_pipelines = ['lens_finder']\n"
        "from skytrace.pipeline_registry import register_pipelines\n"
        "print(sorted(register_pipelines()), 'skytrace.pipelines.injection_recovery' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['lens_finder'] False"


def test_a_broken_pipeline_is_named_and_harms_no_other(requested, monkeypatch):
    monkeypatch.setitem(pipeline_registry.LINEAGES, "broken", ("no_such_module",))
    requested(["broken"])
    with pytest.raises(PipelineError, match="the pipeline no_such_module cannot be loaded: ModuleNotFoundError"):
        register_pipelines()
    requested(["lens_finder"])
    assert list(register_pipelines()) == ["lens_finder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pipeline", "injection_recovry"], "injection_recovery"),
        (["--pipelines", "lens_findr"], "lens_finder"),
        (["--pipelines", "lens_finder", "--params", "lens_finder.training.epocs=3"], "did you mean epochs?"),
    ],
    ids=["pipeline", "pipelines", "parameter"],
)
def test_a_misspelling_gets_a_suggestion_and_no_traceback(repository, arguments, message):
    command = [sys.executable, "-m", "kedro", "run", "--env", "smoke", *arguments]
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_an_error_of_ours_behind_a_dataset_error_is_told_without_a_traceback():
    @_say
    def load() -> None:
        try:
            raise OptionError("mock survey has no option 'n_galaxys'; did you mean n_galaxies?")
        except OptionError as error:
            raise DatasetError("Failed while loading data from dataset MockSurveyDataset(...)") from error

    with pytest.raises(MessageError, match="did you mean n_galaxies"):
        load()


def test_an_error_that_nobody_expected_keeps_its_traceback():
    @_say
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        fail()


def test_results_of_an_environment_without_any_fail_and_say_what_to_run_there(repository, monkeypatch):
    from click.testing import CliRunner

    from skytrace.cli import results
    from skytrace.provenance import results as module

    monkeypatch.chdir(repository)
    monkeypatch.setattr(module, "find_results", lambda *_: module.Results(None, None))
    done = CliRunner().invoke(results, ["--env", "smoke"])
    assert done.exit_code == 1
    assert "no results yet: kedro run --env smoke --pipelines injection_recovery" in done.output


def test_reports_of_a_part_of_a_pipeline_are_saved_before_there_is_a_page_to_open(repository, monkeypatch, tmp_path):
    from click.testing import CliRunner

    from skytrace.cli import results
    from skytrace.provenance import results as module

    monkeypatch.chdir(repository)
    monkeypatch.setattr(module, "find_results", lambda *_: module.Results(None, None))
    monkeypatch.setattr(module, "save_reports", lambda _catalog, _project, folder, only: [folder / f"{only}.json"])
    done = CliRunner().invoke(results, ["--save", str(tmp_path), "--only", "spectral_emulator"])
    assert done.exit_code == 0 and f"saved {tmp_path / 'spectral_emulator.json'}" in done.output
