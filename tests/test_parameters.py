"""Parameters arrive as typed options; a key that nobody reads is an error that names the right one."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Node, Pipeline

from skytrace.errors import OptionError, check_between
from skytrace.learning import EvaluationOptions
from skytrace.parameters import build_options, typed_parameters


@dataclass(frozen=True)
class Limits:
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_between("high", self.high, self.low, 10.0)


@dataclass(frozen=True)
class Options:
    bands: tuple[str, ...] = ("g",)
    box: tuple[float, float] | None = None
    limits: Limits = field(default_factory=Limits)
    steps: tuple[Limits, ...] = ()


def measure(table: object, options: Options, count: int, limits: Limits | None) -> object:
    return table


def _pipelines() -> dict[str, Pipeline]:
    node = Node(measure, ["table", "params:options", "params:count", "params:limits"], "out", name="measure")
    return {"lens_finder": Pipeline([node], namespace="lens_finder", inputs={"table"})}


def _raw(**options) -> dict:
    return {"lens_finder": {"options": options, "count": 3, "limits": None}}


def test_lists_become_tuples_and_mappings_nested_options():
    raw = _raw(bands=["g", "r"], box=[1.0, 2.0], limits={"high": 5.0}, steps=[{"low": 0.5}])
    typed = typed_parameters(raw, _pipelines())["lens_finder"]
    assert typed["options"] == Options(("g", "r"), (1.0, 2.0), Limits(high=5.0), (Limits(low=0.5),))
    assert typed["count"] == 3
    assert typed["limits"] is None
    assert raw["lens_finder"]["options"]["bands"] == ["g", "r"], "the raw parameters were changed"


def test_a_whole_number_with_an_exponent_is_whole_where_a_whole_one_is_asked_for():
    assert build_options("p", {"n_resamples": 1e3, "top_share": 1.0}, EvaluationOptions) == EvaluationOptions(
        n_resamples=1000, top_share=1.0
    )
    assert isinstance(build_options("p", {"n_resamples": 1e3}, EvaluationOptions).n_resamples, int)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (_raw(band=["g"]), "lens_finder.options.band is not a parameter; did you mean bands? there are bands, box"),
        (_raw(limits={"hihg": 1}), "lens_finder.options.limits.hihg is not a parameter; did you mean high?"),
        (_raw(limits={"high": 11.0}), r"lens_finder.options.limits: high = 11.0 is outside its allowed range [0, 10]"),
        (_raw(limits=3), "lens_finder.options.limits = 3 is not a group of options (Limits)"),
        ({**_raw(), "lens_findr": {}}, "lens_findr is not a parameter; did you mean lens_finder?"),
        ({"lens_finder": _raw()["lens_finder"] | {"cuont": 4}},
         "lens_finder.cuont is not a parameter; did you mean count"),
        ({"lens_finder": {"count": 3, "limits": None}}, "lens_finder.options is missing from the parameters"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_what_would_be_right(raw, message):
    with pytest.raises(OptionError) as caught:
        typed_parameters(raw, _pipelines())
    assert message in str(caught.value)


def test_all_mistakes_come_in_one_message():
    with pytest.raises(OptionError) as caught:
        typed_parameters({**_raw(band=1, bosx=2), "supernva": {}}, _pipelines())
    for name in ("lens_finder.options.band", "lens_finder.options.bosx", "supernva"):
        assert f"{name} is not a parameter" in str(caught.value)


def test_groups_of_pipelines_that_do_not_run_and_anchors_are_left_be():
    raw = {**_raw(), "injection_recovery": {"anything": {"goes": 1}}, "_anchor": {}}
    assert typed_parameters(raw, _pipelines())["injection_recovery"] == {"anything": {"goes": 1}}


def test_an_instance_passes_unchanged():
    options = Options(bands=("z",))
    assert build_options("options", options, Options) is options


@pytest.mark.parametrize(
    "environment", ["base", "smoke", "decam_fields", "legacy_survey", "paper_iv", "mock_large", "des_sn"]
)
def test_the_parameters_of_every_environment_are_valid(repository, monkeypatch, environment):
    monkeypatch.chdir(repository)
    bootstrap_project(repository)
    with KedroSession.create(project_path=repository, env=environment) as session:
        parameters = session.load_context().params
    assert {"lens_finder", "injection_recovery"} <= set(parameters)
    assert all(not isinstance(parameters["lens_finder"][name], dict) for name in ("selection", "split", "training"))


def test_parameter_files_hold_no_resolver():
    # `dvc exp run -S` cannot read one, and dvc.lock would record its text instead of its value
    files = list((Path(__file__).parents[1] / "conf").glob("*/parameters*.yml"))
    assert files
    assert [path for path in files if "${" in path.read_text(encoding="utf-8")] == []
