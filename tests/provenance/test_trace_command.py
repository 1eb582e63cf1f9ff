"""`kedro trace` as it is typed: text, JSON, page, exit code; and the whole way through Kedro on a small sky."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from skytrace import cli
from skytrace.provenance import trace as trace_module
from skytrace.provenance import trace_project
from skytrace.provenance.trace_text import clean
from skytrace.reporting.trace_page import trace_page

EVALUATION = "data/08_reporting/toy/evaluation.json"


@pytest.fixture
def kedro(project, monkeypatch):
    monkeypatch.setattr(cli, "_project", lambda: project.folder)
    monkeypatch.setattr(trace_project, "ProjectConfiguration", lambda _: project)

    def do(*arguments: str):
        return CliRunner().invoke(cli.cli, ["trace", *arguments])

    return do


def test_the_text_has_the_value_the_tree_the_run_and_the_verdict(kedro, project):
    done = kedro(f"{EVALUATION}:auc.value")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0] == f"toy.evaluation  {EVALUATION}"
    assert lines[1] == f"auc.value = {(100.0 + 10.0**1.6) / 4}"
    sha256 = project.manifest("2026-01-01T00.00.00.000Z")["datasets"]["toy.evaluation"]["sha256"]
    assert lines[3] == f"[1] toy.evaluation  {EVALUATION}, SHA-256 {sha256[:12]}, as recorded"
    assert lines[4] == "└─ made by toy.evaluate  run 2026-01-01T00.00.00.000Z"
    assert lines[5] == "   ├─ parameters toy.measure: zero_point=25.0, kind=sum"
    sky = 'raw sky, SkyFolder(folder=sky, files=["a.csv", "b.csv"]), sky, 2 files, 3 rows, SHA-256 '
    recorded = project.manifest("2026-01-01T00.00.00.000Z")["datasets"]["sky"]["sha256"][:12]
    assert any(line.endswith(f"[4] sky  {sky}{recorded}, as recorded") for line in lines)
    assert any(line.endswith("[6] mock_sky  raw sky, ComputedSky(n=4), computed") for line in lines)
    assert sum("] toy.galaxies" in line for line in lines) == 2
    assert sum(line.endswith("] toy.galaxies (above)") for line in lines) == 1
    assert any(line.endswith("parameters toy.measure (above)") for line in lines)
    assert lines[-1].startswith("whole: 6 datasets, 4 nodes, 1 run, 2 raw skies; ")
    assert "\x1b" not in done.stdout, "colours where nobody sees them"


def test_all_values_of_the_parameters_are_shown_when_asked_for(kedro):
    assert "zero_point = 25.0" in kedro("toy.evaluation", "--full").stdout


def test_the_environment_is_that_of_the_option_or_else_of_the_variable_that_kedro_reads(kedro, monkeypatch):
    asked = []
    real = trace_module.trace

    def trace(*arguments, **options):
        asked.append(options["environment"])
        return real(*arguments, **options)

    monkeypatch.setattr(trace_module, "trace", trace)
    monkeypatch.setenv("KEDRO_ENV", "toy")
    assert kedro("toy.evaluation:n").exit_code == 0
    kedro("toy.evaluation:n", "--env", "other")
    monkeypatch.delenv("KEDRO_ENV")
    kedro("toy.evaluation:n")
    assert asked == ["toy", "other", None]


def test_a_broken_chain_is_exit_code_1_unless_its_kinds_are_allowed(kedro, project):
    with (project.folder / "data/04_feature/toy/fluxes.csv").open("a") as stream:
        stream.write("x,1\n")
    project.write("src/toysky/constants.py", "TEN = 9.9\n")
    done = kedro("toy.evaluation")
    assert done.exit_code == 1
    assert "broken in 2 places" in done.stdout
    assert re.search(r"^  edited +toy\.fluxes: ", done.stdout, re.MULTILINE)
    assert re.search(r"^  code +toy\.evaluate, .*src/toysky/constants\.py$", done.stdout, re.MULTILINE)
    assert kedro("toy.evaluation", "--allow", "code").exit_code == 1
    allowed = kedro("toy.evaluation", "--allow", "code", "--allow", "edited")
    assert allowed.exit_code == 0 and "broken in 2 places" in allowed.stdout
    wrong = kedro("toy.evaluation", "--allow", "nothing")
    assert wrong.exit_code == 1 and "--allow = 'nothing' is not one of edited, missing" in wrong.output


def test_something_unknown_is_a_message(kedro):
    done = kedro("toy.evaluatoin")
    assert done.exit_code == 1
    assert "did you mean toy.evaluation?" in done.output and "Traceback" not in done.output


def test_json_holds_the_same_facts(kedro, project):
    done = kedro("toy.evaluation:n", "--json")
    facts = json.loads(done.stdout)
    assert facts == project.trace("toy.evaluation:n")
    assert facts["format"] == "skytrace.trace/1"


class _Reader(HTMLParser):
    """Tags and ids of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href" and value.startswith("#")]


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def test_the_page_shows_everything_once_and_links_to_it(kedro, project, tmp_path):
    done = kedro("toy.evaluation:n", "--html", str(tmp_path / "out.html"))
    assert done.exit_code == 0
    page = (tmp_path / "out.html").read_text()
    read = _read(page)
    assert sorted(name for name in read.ids if name.startswith("dataset-")) == [f"dataset-{n}" for n in range(1, 7)]
    assert read.links == ["#dataset-3"]
    assert "The chain is whole" in page and "<code>n</code> = <b>2</b>" in page
    assert project.trace("toy.evaluation")["datasets"][0]["sha256"] in page


def test_the_page_needs_no_network_and_runs_nothing(project):
    page = trace_page(project.trace("toy.evaluation"))
    read = _read(page)
    assert "script" not in read.tags and "http" not in page.replace("http-equiv", "")


def test_text_of_a_user_is_escaped_on_the_page(project):
    evil = "<script>alert(1)</script>\"'&"
    facts = project.trace("toy.evaluation:n")
    clean_page = _read(trace_page(facts))
    facts["target"] |= {"name": evil, "key": evil, "value": evil, "path": evil}
    facts["breaks"] = [{"kind": evil, "words": evil, "where": [evil], "files": []}]
    facts["notes"], facts["whole"] = [evil], False
    for dataset in facts["datasets"]:
        dataset |= {"name": evil, "path": evil, "version": evil, "type": evil, "sky": {evil: evil}, "state": evil}
    for node in facts["nodes"]:
        node |= {"name": evil, "function": evil, "run_id": evil, "parameters": {evil: {evil: evil}}}
    for run in facts["runs"]:
        run |= dict.fromkeys(("run_id", "environment", "command", "commit", "state", "started"), evil)
    page = trace_page(facts)
    assert "<script" not in page and page.count("&lt;script&gt;") > 40
    assert set(_read(page).tags) - set(clean_page.tags) <= {"ul", "li"}


def test_a_terminal_is_not_obeyed(kedro, project):
    path = project.folder / EVALUATION
    path.write_text(json.dumps({"n": "\x1b[31mred\x1b]0;title\x07\nnext [bold]x[/bold]"}))
    done = kedro("toy.evaluation:n")
    assert r"n = \x1b[31mred\x1b]0;title\x07\nnext [bold]x[/bold]" in done.stdout.splitlines()
    assert clean("θ_E = 1.2\u202e") == r"θ_E = 1.2\u202e"


@pytest.mark.slow
def test_a_run_of_the_smallest_sky_is_traced_through_kedro(repository, tmp_path):
    """As a user does it, in a checkout of its own: whole, then broken by a parameter, then by an edit."""
    for name in ("src", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(repository / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", ".gitignore", ".telemetry", "requirements.lock"):
        shutil.copy(repository / name, tmp_path / name)
    (tmp_path / "data").mkdir()
    environment = {
        **os.environ, "PYTHONPATH": str(tmp_path / "src"), "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip

    def call(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    def kedro(*arguments: str) -> subprocess.CompletedProcess:
        return call(sys.executable, "-m", "skytrace", *arguments)

    for command in (("init", "-b", "main"), ("add", "."), ("commit", "-m", "one")):
        assert call("git", *command).returncode == 0
    asked = ("--env", "smoke", "--pipelines", "supernova", "--to-outputs", "supernova.validation_report")
    done = kedro("run", *asked)
    assert done.returncode == 0, done.stderr[-3000:]
    report = "data/08_reporting/smoke/supernova/validation_report.json"
    key = next(iter(json.loads((tmp_path / report).read_text())))

    whole = kedro("trace", f"{report}:{key}", "--json")
    facts = json.loads(whole.stdout)
    assert (whole.returncode, facts["breaks"]) == (0, [])
    assert facts["target"]["value"] == json.loads((tmp_path / report).read_text())[key]
    (raw,) = [each for each in facts["datasets"] if each["place"] == "raw"]
    assert raw["name"] == "supernova_survey" and raw["sky"]["options"]["n_supernovae"] == 300
    assert facts["runs"][0]["command"].endswith("--pipelines supernova --to-outputs supernova.validation_report")

    names = tmp_path / "conf/smoke/globals.yml"
    names.write_text(names.read_text().replace("n_supernovae: 300", "n_supernovae: 301"))
    (tmp_path / report).write_text((tmp_path / report).read_text() + " ")
    broken = kedro("trace", report)
    assert broken.returncode == 1
    assert "  sky             supernova_survey: options.n_supernovae is 301 now, and was 300 in run" in broken.stdout
    assert "  edited          supernova.validation_report: " in broken.stdout
    assert "broken in 2 places" in broken.stdout
