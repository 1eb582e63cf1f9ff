"""From a number to the raw sky, and where the chain is broken: every kind of break is made on purpose, and named."""

import copy
import json
import shutil

import pandas as pd
import pytest
from kedro.framework.hooks import hook_impl

from skytrace.errors import SkytraceError
from skytrace.provenance.report_values import read_value
from tests.provenance.toy_project import RUNS

EVALUATION = "data/08_reporting/toy/evaluation.json"


def _breaks(facts) -> list[tuple]:
    return [(each["kind"], each["where"]) for each in facts["breaks"]]


def _words(facts) -> str:
    (each,) = facts["breaks"]
    return each["words"]


def test_a_number_is_read_and_its_chain_is_whole(project):
    facts = project.trace(f"{EVALUATION}:auc.value")
    # 10^(-0.4 (20 - 25)) + 10^(-0.4 (21 - 25)), over four numbers
    assert facts["target"]["value"] == pytest.approx((100 + 39.810717055) / 4)
    assert (facts["target"]["name"], facts["target"]["path"]) == ("toy.evaluation", EVALUATION)
    assert facts["breaks"] == [] and facts["whole"] is True


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("toy.evaluation:n", 2),
        ("toy.evaluation:auc.at.0.1.1", 0.5),
        ("toy.table:stack/auroc", "0.75"),
        ("toy.table:#1/auroc", "0.625"),
        ("toy.table:#2/auroc", "0.75"),
        ("data/08_reporting/toy/table.csv:n=3,member=stack/auroc", "0.75"),
    ],
)
def test_a_value_is_named_by_dots_or_by_row_and_column(project, key, value):
    assert project.trace(key)["target"]["value"] == value


def test_of_a_parquet_table_the_asked_and_the_choosing_columns_are_read_alone(tmp_path, monkeypatch):
    columns = {"name": ["a", "b", "a"], "x.y": [1.5, 2.5, 3.5], "band": ["g", "g", "r"], "when": [0, 1, 2]}
    frame = pd.DataFrame({**columns, "never": [[1], [2], [3]]}, index=pd.Index([7, 8, 9], name="id"))
    frame.to_parquet(tmp_path / "table.parquet")
    asked, read_parquet = [], pd.read_parquet

    def read(path, columns=None, **options):
        asked.append(list(columns))
        return read_parquet(path, columns=columns, **options)

    monkeypatch.setattr(pd, "read_parquet", read)
    path = tmp_path / "table.parquet"
    assert read_value(path, "b/x.y") == 2.5 and asked.pop() == ["name", "x.y"]
    assert read_value(path, "#3/when") == 2 and asked.pop() == ["name", "when"]
    assert isinstance(read_value(path, "#3/when"), int) and asked.pop()
    assert read_value(path, "name=a,band=r/x.y") == 3.5 and asked.pop() == ["name", "x.y", "band"]
    assert read_value(path, "b/name") == "b" and asked.pop() == ["name"]
    with pytest.raises(SkytraceError, match=r"has 2 rows 'a', of 3: ROW is a value of 'name'"):
        read_value(path, "a/when")
    with pytest.raises(SkytraceError, match=r"no column 'bund'; did you mean band"):
        read_value(path, "bund=r/when")
    asked.clear()
    for column in ("id", "whem"):
        with pytest.raises(SkytraceError, match=f"no column '{column}'"):
            read_value(path, f"a/{column}")
    assert asked == [], "nothing is read for a column that is not there"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("toy.evaluation:auc.valu", "has no 'valu' in auc; did you mean value"),
        ("toy.evaluation:n.x", "has no 'x' in n; there stands 2"),
        ("toy.evaluation:auc.at.0.1.2", "list of 2, counted from 0"),
        ("toy.table:auroc", "is not ROW/COLUMN; the columns are member, n, auroc"),
        ("toy.table:3/auroc", "has 0 rows '3', of 2: ROW is a value of 'member', a number from #1 on"),
        ("toy.table:#3/auroc", "has 0 rows '#3', of 2"),
        ("toy.table:stack/aurok", "no column 'aurok'; did you mean auroc"),
        ("toy.evaluatoin", "'toy.evaluatoin' is neither a dataset nor a file; did you mean toy.evaluation"),
        ("data/08_reporting/toy/other.json:n", "no manifest is of a run that wrote it"),
        ("toy.truth:n", "toy.truth is not there"),
        ("toy.evaluation:", "'toy.evaluation:' ends with a colon: name a value after it"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(project, asked, message):
    with pytest.raises(SkytraceError) as error:
        project.trace(asked)
    assert message in str(error.value)


def test_the_tree_goes_down_to_both_raw_skies_and_holds_everything_once(project):
    facts = project.trace("toy.evaluation")
    datasets = {each["name"]: each for each in facts["datasets"]}
    assert list(datasets) == ["toy.evaluation", "toy.fluxes", "toy.galaxies", "sky", "toy.truth", "mock_sky"]
    assert len(facts["datasets"]) == 6, "a shared ancestor stands twice"
    assert {name: each["place"] for name, each in datasets.items()} == {
        "toy.evaluation": "made", "toy.fluxes": "made", "toy.galaxies": "made", "sky": "raw", "toy.truth": "memory",
        "mock_sky": "raw",
    }  # fmt: skip
    nodes = {each["name"]: each for each in facts["nodes"]}
    names = {each["number"]: each["name"] for each in facts["datasets"]}
    assert [names[number] for number in nodes["toy.evaluate"]["inputs"]] == ["toy.fluxes", "toy.galaxies", "toy.truth"]
    assert nodes["toy.measure"]["parameters"] == {"toy.measure": {"zero_point": 25.0, "kind": "sum"}}
    assert nodes["toy.select"]["parameters"] == {"toy.limit": 22.0}
    assert nodes["toy.measure"]["function"] == "toysky.nodes.measure"
    assert datasets["toy.galaxies"]["version"] == RUNS[0]
    assert datasets["sky"]["files"] == 2 and datasets["sky"]["sky"]["options"] == {"files": ["a.csv", "b.csv"]}
    assert datasets["mock_sky"]["sky"] == {"options": {"n": 4}}
    (run,) = facts["runs"]
    assert (run["run_id"], run["environment"], run["dirty"]) == (RUNS[0], "toy", False)
    assert run["command"] == "kedro run --env toy --pipelines toy"


def test_a_raw_sky_and_a_dataset_in_memory_can_be_asked_for(project):
    assert [each["name"] for each in project.trace("sky")["datasets"]] == ["sky"]
    assert [each["name"] for each in project.trace("toy.truth")["datasets"]] == ["toy.truth", "mock_sky"]


def test_another_environment_than_that_of_the_runs_is_told(project):
    with pytest.raises(SkytraceError, match=r"^sky was never made in environment local; runs of --env toy had it$"):
        project.trace("sky", environment="local")
    project.entries["toy.evaluation"]["filepath"] = "data/08_reporting/other/evaluation.json"
    with pytest.raises(SkytraceError, match=r"other/evaluation\.json\) was never made in environment local; runs of"):
        project.trace("toy.evaluation", environment="local")
    assert project.trace(f"{EVALUATION}:n", environment="local")["whole"], "a file says itself which run it is of"


def test_a_copy_of_a_report_is_known_by_its_bytes(project, tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.copy(tmp_path / EVALUATION, tmp_path / "docs/evaluation.json")
    assert project.trace("docs/evaluation.json:n")["target"]["path"] == EVALUATION


def test_a_file_edited_by_hand(project, tmp_path):
    path = tmp_path / EVALUATION
    path.write_text(path.read_text().replace('"n": 2', '"n": 3'))
    facts = project.trace("toy.evaluation:n")
    assert facts["target"]["value"] == 3
    assert _breaks(facts) == [("edited", ["toy.evaluation"])]
    recorded = project.manifest(RUNS[0])["datasets"]["toy.evaluation"]["sha256"][:12]
    assert _words(facts).endswith(f"of no run since; run {RUNS[0]} recorded {recorded}")


def test_an_input_edited_by_hand(project, tmp_path):
    with (tmp_path / "data/04_feature/toy/fluxes.csv").open("a") as stream:
        stream.write("x,1\n")
    assert _breaks(project.trace("toy.evaluation")) == [("edited", ["toy.fluxes"])]


def test_raw_sky_that_was_changed_is_named_by_its_file(project):
    project.write("sky/README", "is not read, and may change")
    assert project.trace("toy.evaluation")["whole"]
    project.write("sky/b.csv", "name,mag\ng3,21.5\n")
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("edited", ["sky"])]
    assert _words(facts) == f"b.csv of sky changed since run {RUNS[0]}"


def test_raw_sky_that_is_gone_is_named_by_its_file(project, tmp_path):
    (tmp_path / "sky/a.csv").unlink()
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("missing", ["sky"])]
    assert _words(facts) == f"a.csv of sky gone since run {RUNS[0]}"


@pytest.mark.parametrize("name", ["toy.evaluation", "toy.fluxes"])
def test_a_file_that_is_gone(project, tmp_path, name):
    path = project.entries[name]["filepath"]
    (tmp_path / path).unlink()
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("missing", [name])]
    assert _words(facts) == f"{path} is gone; run {RUNS[0]} knew it"


def test_a_version_that_is_gone(project, tmp_path):
    shutil.rmtree(tmp_path / f"data/03_primary/toy/galaxies.csv/{RUNS[0]}")
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("missing-version", ["toy.galaxies"])]
    assert _words(facts).startswith(f"version {RUNS[0]} is gone: data/03_primary/toy/galaxies.csv/{RUNS[0]}/")


def test_a_parameter_that_has_another_value_now(project):
    project.values = copy.deepcopy(project.values)
    project.values["toy"]["measure"]["zero_point"] = 25.5
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("parameters", ["toy.evaluate", "toy.measure"])]
    assert _words(facts) == f"toy.measure.zero_point is 25.5 now, and was 25.0 in run {RUNS[0]}"
    project.values["toy"]["unread"] = {"seed": 1}
    assert project.trace("toy.galaxies")["whole"], "a parameter that no node of this chain read counts"


def test_a_parameter_that_is_new_or_gone(project):
    project.values = {"toy": {"limit": 22.0, "measure": {"zero_point": 25.0, "other": 1}}}
    words = {each["words"].split(" in run")[0] for each in project.trace("toy.fluxes")["breaks"]}
    assert words == {
        "toy.measure.kind is absent now, and was sum", "toy.measure.other is 1 now, and was absent",
    }  # fmt: skip


def test_options_of_the_raw_sky_that_are_others_now(project):
    project.entries = copy.deepcopy(project.entries)
    project.entries["mock_sky"]["options"]["n"] = 5
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("sky", ["mock_sky"])]
    assert _words(facts) == f"options.n is 5 now, and was 4 in run {RUNS[0]}"
    project.entries["mock_sky"] = {"type": "skytrace.datasets.DecamFieldsDataset", "folder": "x"}
    assert "reads a DecamFieldsDataset now" in _words(project.trace("toy.evaluation"))


def test_a_run_of_a_dirty_tree(project):
    project.write("src/toysky/constants.py", "TEN = 10.0  # surely\n")
    project.run(RUNS[1])
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("dirty", [RUNS[1]])]
    assert "with changes that were not committed" in _words(facts)


def test_code_that_changed_since_is_named_with_the_nodes_whose_results_pass_through_it(project):
    project.write("src/toysky/words.py", "never = 1\n")  # for the type checker alone
    project.write("src/toysky/unread.py", "x = 1\n")
    project.commit("words")
    assert project.trace("toy.evaluation")["whole"]
    project.write("src/toysky/constants.py", "TEN = 9.9\n")
    for state in ("in the tree", "committed"):
        if state == "committed":
            project.commit("ten")
        facts = project.trace("toy.evaluation")
        assert _breaks(facts) == [("code", ["toy.evaluate", "toy.measure", "toy.select", "toy.read_truth"])], state
        assert facts["breaks"][0]["files"] == ["src/toysky/constants.py"]


def test_a_commit_that_is_not_here(project, tmp_path):
    path = tmp_path / f"data/08_reporting/toy/manifests/{RUNS[0]}.json"
    manifest = json.loads(path.read_text())
    manifest["git"]["commit"] = "0123456789" * 4
    path.write_text(json.dumps(manifest))
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("code", [RUNS[0]])]
    assert _words(facts).startswith(f"commit 0123456 of run {RUNS[0]} is not in this repository")


def test_an_upstream_node_that_was_run_again_alone_makes_its_readers_stale(project):
    project.write("sky/b.csv", "name,mag\ng3,21.5\n")
    project.run(RUNS[1], "toy.select")
    facts = project.trace("toy.fluxes")
    assert _breaks(facts) == [("edited", ["sky"]), ("stale", ["toy.galaxies"])] or _breaks(facts) == [
        ("stale", ["toy.galaxies"]), ("edited", ["sky"]),
    ]  # fmt: skip
    stale = next(each["words"] for each in facts["breaks"] if each["kind"] == "stale")
    assert stale == f"version {RUNS[1]} was made by run {RUNS[1]} after version {RUNS[0]}, which run {RUNS[0]} used"

    project.run(RUNS[2], "toy.measure")  # the fluxes follow, the evaluation does not
    assert project.trace("toy.fluxes")["whole"]
    facts = project.trace("toy.evaluation")
    stale = {each["where"][0]: each["words"] for each in facts["breaks"] if each["kind"] == "stale"}
    path = "data/04_feature/toy/fluxes.csv"
    assert stale["toy.fluxes"] == f"run {RUNS[2]} made {path} again, with other bytes, after run {RUNS[0]} had used it"
    assert set(stale) == {"toy.fluxes", "toy.galaxies"}


def test_the_same_bytes_made_again_break_nothing(project):
    project.run(RUNS[1], "toy.select")
    project.run(RUNS[2], "toy.measure")
    facts = project.trace("toy.evaluation")
    assert facts["whole"], facts["breaks"]
    facts = project.trace("toy.fluxes")
    assert [each["run_id"] for each in facts["runs"]] == [RUNS[1], RUNS[2]]
    galaxies = next(each for each in facts["datasets"] if each["name"] == "toy.galaxies")
    assert (galaxies["version"], galaxies["run_id"]) == (RUNS[1], RUNS[1])


def test_a_version_that_was_asked_for_is_not_outdated_by_newer_ones(project):
    project.write("sky/b.csv", "name,mag\ng3,21.5\n")
    project.run(RUNS[1], "toy.select")
    project.write("sky/b.csv", "name,mag\ng3,21.0\n")
    project.run(RUNS[2], "toy.measure", load_versions={"toy.galaxies": RUNS[0]})
    facts = project.trace("toy.fluxes")
    assert facts["whole"], facts["breaks"]
    assert f"--load-versions toy.galaxies:{RUNS[0]}" in facts["runs"][-1]["command"]


def test_bytes_that_were_changed_between_two_runs(project, tmp_path):
    with (tmp_path / "data/04_feature/toy/fluxes.csv").open("a") as stream:
        stream.write("x,1\n")
    project.run(RUNS[1], "toy.evaluate", "toy.read_truth")
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("edited", ["toy.fluxes"])]
    assert f"run {RUNS[0]}, the last to write it until then, had left" in _words(facts)
    assert {each["name"] for each in facts["datasets"]} >= {"toy.galaxies", "sky"}, "the chain ends at the edit"


class _AnotherRun:
    """Writes toy.fluxes again in the midst of a run: when it was read (loaded), or when its hash was taken (saved)."""

    def __init__(self, path, *, when: str, text: str) -> None:
        self.path, self.when, self.text = path, when, text

    def _write(self) -> None:
        new = self.path.with_name("new.csv")
        new.write_text(self.text)
        new.replace(self.path)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str) -> None:
        if (dataset_name, self.when) == ("toy.fluxes", "loaded"):
            self._write()

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str) -> None:
        if (dataset_name, self.when) == ("toy.evaluation", "saved"):
            self._write()


def test_an_input_that_is_rewritten_between_its_reading_and_its_hashing_is_named(project, tmp_path):
    path = tmp_path / "data/04_feature/toy/fluxes.csv"
    text = path.read_text()
    swapped = text.replace("g1", "g9")
    assert len(swapped) == len(text) and swapped != text
    manifest = project.run(RUNS[1], "toy.evaluate", "toy.read_truth",
                           hooks=(_AnotherRun(path, when="loaded", text=swapped),))  # fmt: skip
    record = manifest["datasets"]["toy.fluxes"]
    assert record["changed_while_read"] is True and "sha256" not in record
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("rewritten", ["toy.fluxes"])]
    assert _words(facts) == (
        f"data/04_feature/toy/fluxes.csv was changed after run {RUNS[1]} had begun to read it, before its hash was "
        "taken: which bytes it read is not known"
    )
    assert {each["name"] for each in facts["datasets"]} >= {"toy.galaxies", "sky"}, "the chain goes on"


def test_an_input_that_is_rewritten_after_its_hashing_keeps_the_hash_of_what_was_read(project, tmp_path):
    path = tmp_path / "data/04_feature/toy/fluxes.csv"
    read = project.manifest(RUNS[0])["datasets"]["toy.fluxes"]["sha256"]
    manifest = project.run(RUNS[1], "toy.evaluate", "toy.read_truth",
                           hooks=(_AnotherRun(path, when="saved", text="name,flux\n"),))  # fmt: skip
    record = manifest["datasets"]["toy.fluxes"]
    assert record["sha256"] == read and "changed_while_read" not in record
    assert _breaks(project.trace("toy.evaluation")) == [("edited", ["toy.fluxes"])]


def test_files_of_no_recorded_run(project, tmp_path):
    (tmp_path / f"data/08_reporting/toy/manifests/{RUNS[0]}.json").unlink()
    facts = project.trace("toy.evaluation")
    assert ("no-run", ["toy.evaluation"]) in _breaks(facts)
    project.run(RUNS[1], "toy.evaluate", "toy.read_truth")
    facts = project.trace("toy.evaluation")
    assert _breaks(facts) == [("no-run", ["toy.fluxes"]), ("no-run", ["toy.galaxies"])]
    assert facts["breaks"][0]["words"] == (
        f"run {RUNS[1]} read data/04_feature/toy/fluxes.csv, and no manifest is of a run that wrote it"
    )


def test_a_manifest_of_the_first_form_ends_the_chain_and_says_so(project, tmp_path):
    path = tmp_path / f"data/08_reporting/toy/manifests/{RUNS[0]}.json"
    manifest = json.loads(path.read_text())
    for node in manifest["nodes"].values():
        for key in ("inputs", "outputs", "parameters", "function"):
            del node[key]
    path.write_text(json.dumps(manifest))
    facts = project.trace("toy.evaluation:n")
    assert facts["target"]["value"] == 2
    assert _breaks(facts) == [("no-run", ["toy.evaluate"])]


def test_other_packages_are_told_and_break_nothing(project, tmp_path):
    path = tmp_path / f"data/08_reporting/toy/manifests/{RUNS[0]}.json"
    manifest = json.loads(path.read_text())
    now = manifest["packages"]["numpy"]
    manifest["packages"] |= {"numpy": "1.0.0", "gone": "2.0"}
    path.write_text(json.dumps(manifest))
    facts = project.trace("toy.evaluation:n")
    assert facts["breaks"] == []
    words = f"run {RUNS[0]} had other packages: numpy 1.0.0 then, {now} now, gone 2.0 then, absent now"
    assert facts["notes"] == [words]
