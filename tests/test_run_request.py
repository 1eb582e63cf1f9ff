"""A misspelt name is answered with what was typed, the nearest that there is, and the list; nothing else is refused."""

import subprocess
import sys

import pytest
from kedro.pipeline import Node, Pipeline

from skytrace.pipeline_registry import LINEAGES
from skytrace.run_request import (
    UnknownNameError,
    check_environment,
    check_names_of_nodes,
    check_pipelines,
    check_request,
)


def same(x):
    return x


@pytest.fixture
def pipeline():
    nodes = [
        Node(same, "stamps", "detector", name="train_detector", tags="lens_finder"),
        Node(same, "detector", "evaluation", name="evaluate", tags="lens_finder"),
    ]
    return Pipeline(nodes, namespace="lens_finder")


def test_a_misspelt_pipeline_is_told_as_typed_with_the_nearest_and_the_list():
    with pytest.raises(UnknownNameError) as caught:
        check_pipelines(["lens_finder", "injection_recovry"])
    assert str(caught.value) == (
        "--pipelines injection_recovry: there is no such pipeline; did you mean injection_recovery? "
        f"there are {', '.join(LINEAGES)}"
    )
    check_pipelines([*LINEAGES, "__default__"])


def test_a_misspelt_environment_is_told_with_those_that_there_are(tmp_path):
    for name in ("base", "smoke", "des_sn", "empty"):
        (tmp_path / "conf" / name).mkdir(parents=True)
        if name != "empty":
            (tmp_path / "conf" / name / "globals.yml").touch()
    with pytest.raises(UnknownNameError) as caught:
        check_environment(tmp_path, "smok")
    assert str(caught.value) == (
        "--env smok: there is no such environment in conf/; did you mean smoke? there are des_sn, smoke"
    )
    for right in ("smoke", "base", "empty", None):
        check_environment(tmp_path, right)


def test_the_environment_may_come_from_kedros_variable_and_another_folder_of_configuration_is_not_ours(
    repository, monkeypatch
):
    monkeypatch.setenv("KEDRO_ENV", "smok")
    with pytest.raises(UnknownNameError, match="--env smok"):
        check_request(repository, {})
    check_request(repository, {"conf_source": "elsewhere"})
    check_request(repository, {"env": "smoke"})


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        ("node_names", "lens_finder.train_detectr", "--nodes lens_finder.train_detectr: the pipelines that run have no "
         "such node; did you mean lens_finder.train_detector? there are lens_finder.evaluate, lens_finder.train_"),
        ("from_nodes", "evaluate", "--from-nodes evaluate: the pipelines that run have no such node; did you mean "
         "lens_finder.evaluate?"),
        ("to_nodes", "zzz", "--to-nodes zzz: the pipelines that run have no such node; there are lens_finder.evaluate"),
        ("tags", "lens_findr", "no such tag; did you mean lens_finder? there are lens_finder"),
        ("namespaces", "lensfinder", "no such namespace; did you mean lens_finder? there are lens_finder"),
        ("from_inputs", "lens_finder.stamp", "no such dataset; did you mean lens_finder.stamps?"),
        ("to_outputs", "evaluation", "no such dataset; did you mean lens_finder.evaluation?"),
    ],
)  # fmt: skip
def test_a_misspelt_node_tag_namespace_or_dataset_is_told_with_the_nearest(pipeline, key, name, words):
    with pytest.raises(UnknownNameError) as caught:
        check_names_of_nodes(pipeline, {key: [name]})
    assert words in str(caught.value)


def test_one_right_tag_does_not_hide_a_wrong_one(pipeline):
    with pytest.raises(UnknownNameError, match="--tags lens_findr"):
        check_names_of_nodes(pipeline, {"tags": ("lens_finder", "lens_findr")})


def test_what_is_there_is_not_refused(pipeline):
    right = {
        "node_names": ("lens_finder.evaluate",), "tags": ("lens_finder",), "namespaces": ["lens_finder"],
        "from_inputs": ["lens_finder.stamps"], "to_outputs": ["lens_finder.evaluation"], "from_nodes": [],
    }  # fmt: skip
    check_names_of_nodes(pipeline, right)


def test_a_runner_of_another_package_is_not_refused_and_a_misspelt_one_of_kedro_is(tmp_path):
    check_request(tmp_path, {"runner": "somebody.runners.DaskRunner", "conf_source": "x"})
    check_request(tmp_path, {"runner": "ThreadRunner", "conf_source": "x"})
    with pytest.raises(UnknownNameError, match=r"--runner ThreadRuner: .* did you mean ThreadRunner"):
        check_request(tmp_path, {"runner": "ThreadRuner", "conf_source": "x"})


def test_a_misspelt_pipeline_costs_no_loading_of_pipelines(repository):
    program = (
        "import sys; from pathlib import Path; from skytrace.run_request import check_request\n"
        "try: check_request(Path('.'), {'pipelines': ['injection_recovry'], 'tags': ['x']})\n"
        "except ValueError as error: print(error, 'pandas' in sys.modules, 'skytrace.pipelines' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("--pipelines injection_recovry: ")
    assert done.stdout.endswith("False False\n")
