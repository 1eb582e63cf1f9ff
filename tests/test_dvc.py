"""DVC and Kedro agree: the same outputs, nothing done twice, the same hashes when done again, and in another clone."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from kedro.framework.project import pipelines as project_pipelines
from kedro.framework.startup import bootstrap_project

from skytrace.pipeline_registry import LINEAGES
from tests.notebook_runs import QUOTED, run_story


def _outputs_of_stage(stage: dict) -> set[str]:
    entries = [*stage["outs"], *stage["metrics"], *stage["plots"]]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


@pytest.mark.parametrize("name", list(LINEAGES))
def test_a_stage_owns_exactly_what_its_nodes_write(repository, monkeypatch, name):
    monkeypatch.chdir(repository)
    bootstrap_project(repository)
    catalog: dict = {}
    for path in (repository / "conf" / "base").glob("catalog*.yml"):
        catalog |= yaml.safe_load(path.read_text(encoding="utf-8"))
    owned = set()
    for node in project_pipelines[name].only_nodes_with_tags(name).nodes:
        for output in node.outputs:
            entry = catalog[output]
            folder = Path(entry["filepath"].replace("${globals:", "${"))
            path = folder / "${release}" / folder.name if entry.get("versioned") else folder
            owned.add(path.as_posix())
            if path.suffix == ".safetensors":
                owned.add(path.with_suffix(".card.json").as_posix())
    if name == "lens_finder":
        owned.add(catalog["detector_survey"]["filepath"].replace("${globals:", "${"))
    stages = yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert _outputs_of_stage(stages[name]) == owned


def test_what_dvc_leaves_to_git_is_not_ignored_by_git(repository):
    stages = yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    left = [
        path.replace("${sky}", "mock").replace("${detector_sky}", "mock").replace("${supernova_sky}", "mock")
        .replace("${cluster_pu_sky}", "mock").replace("${spectrum_sky}", "mock")
        for stage in stages.values()
        for entry in (*stage["outs"], *stage["metrics"], *stage["plots"]) if isinstance(entry, dict)
        for path, options in entry.items() if options.get("cache") is False
    ]  # fmt: skip
    assert len(left) >= len(LINEAGES)
    ignored = subprocess.run(
        ["git", "check-ignore", *left], cwd=repository, capture_output=True, text=True, check=False
    )
    assert ignored.returncode == 1, ignored.stdout  # 1: none of them


#: Made a second time, from nothing but the source; with SKYTRACE_DVC=full all are.
CHEAP = ("lens_finder", "injection_recovery", "supernova", "cluster_pu")
REPEATED = tuple(LINEAGES) if os.environ.get("SKYTRACE_DVC") == "full" else CHEAP


class Clone:
    """A clone of the working tree with DVC and Kedro on its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        binaries = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "src"),
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            # programs of the samplers are compiled once for all tests (conftest.py); results are computed by every run
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
        }  # fmt: skip

    def __call__(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    @property
    def lock(self) -> dict:
        """dvc.lock without the sizes of folders, which hold no more than the hashes do."""
        return yaml.safe_load((self.folder / "dvc.lock").read_text())


@pytest.fixture(scope="module")
def first_clone(tmp_path_factory, repository) -> Clone:
    folder = tmp_path_factory.mktemp("dvc") / "first"
    # the working tree, committed or not, is what is tested; results and environments stay behind
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        source, target = repository / name, folder / name
        if source.is_file() and not name.startswith("data/") and name != "dvc.lock":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    names = folder / "conf" / "base" / "globals.yml"
    text = names.read_text()
    skies = ("sky", "detector_sky", "supernova_sky", "cluster_pu_sky", "spectrum_sky")
    for key, old in (("env", "base"), *((name, "mock") for name in skies)):
        assert f"\n{key}: {old}" in text
        text = text.replace(f"\n{key}: {old}", f"\n{key}: smoke")
    names.write_text(text)
    ignore = folder / ".gitignore"
    ignore.write_text(ignore.read_text().replace("data/*/smoke/\n", ""))

    clone = Clone(folder)
    clone("git", "init", "-q", "-b", "main")
    clone("dvc", "config", "cache.dir", str(folder.parent / "first_cache"))
    clone("dvc", "remote", "add", "-d", "storage", str(folder.parent / "storage"))
    clone("git", "add", ".")
    clone("git", "commit", "-qm", "source")
    return clone


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_results_are_made_once_repeat_their_hashes_and_reach_a_second_clone(first_clone):
    first = first_clone
    first("dvc", "repro")
    lock = first.lock
    assert set(lock["stages"]) == set(LINEAGES)
    assert "Data and pipelines are up to date" in first("dvc", "repro")

    _check_notebooks(first)
    _check_lineage(first)

    # a run by hand leaves the release alone
    first("kedro", "run", "--env", "smoke", "--pipelines", "injection_recovery", "--nodes", _plot_node(first))
    assert "Data and pipelines are up to date" in first("dvc", "status")

    for scratch in ("04_feature", "06_models/smoke/checkpoints"):  # nothing may be reused but the source
        shutil.rmtree(first.folder / "data" / scratch, ignore_errors=True)
    first("dvc", "repro", "--force", "--single-item", *REPEATED)
    assert first.lock == lock

    first("dvc", "push")
    first("git", "add", ".")
    first("git", "commit", "-qm", "results")
    carried = [name for name in first("git", "ls-files", "data").splitlines() if "/manifests/" in name]
    kept = [Path(name).stem.rsplit("-", 1)[0] for name in carried if name.endswith(".json")]
    assert sorted(kept) == sorted(f"0001-{name}" for name in LINEAGES), "made twice, the same bytes"
    assert {Path(name).parent.name for name in carried} <= {"releases", "listings"}

    second = Clone(first.folder.parent / "second")
    first("git", "clone", "-q", str(first.folder), str(second.folder))
    second("dvc", "config", "--local", "cache.dir", str(first.folder.parent / "second_cache"))
    second("dvc", "pull")
    assert "Data and pipelines are up to date" in second("dvc", "status")
    assert "Data and pipelines are up to date" in second("dvc", "repro")
    assert second("git", "status", "--short") == ""
    assert second("kedro", "results", "--env", "smoke").startswith("verdict: ")
    _check_lineage(second)

    _check_experiment(second)


def _check_experiment(clone: Clone) -> None:
    """docs/how_to/machines.md: how much do the wings of the PSF matter? One stage is made again, and compared."""
    file, key = "conf/base/parameters_injection_recovery.yml", "injection_recovery.injection.psf_beta"
    clone("dvc", "exp", "run", "--name", "broad-wings", "-S", f"{file}:{key}=2.5", "injection_recovery")

    def told(*command: str) -> dict:
        text = clone(*command, "--json")
        return json.JSONDecoder().raw_decode(text[text.index("{") :])[0]

    assert told("dvc", "params", "diff") == {file: {key: {"old": 3.5, "new": 2.5, "diff": -1.0}}}
    reports = "data/08_reporting/smoke/injection_recovery"
    moved = told("dvc", "metrics", "diff")
    assert set(moved) == {f"{reports}/realism_report.json", f"{reports}/trends.json"}
    assert moved[f"{reports}/realism_report.json"]["settings.psf_beta"]["new"] == 2.5

    pictures = clone.folder.parent / "plots"
    clone("dvc", "plots", "diff", "HEAD", "-o", str(pictures))
    name = f"{reports.replace('/', '_')}_heatmaps.png"
    before, after = (pictures / "static" / f"{revision}_{name}" for revision in ("HEAD", "workspace"))
    assert before.read_bytes() != after.read_bytes()

    clone("git", "restore", ".")
    clone("dvc", "checkout", "injection_recovery")
    assert "Data and pipelines are up to date" in clone("dvc", "status", "injection_recovery")
    assert told("dvc", "metrics", "diff", "HEAD", "broad-wings") == moved


def _check_notebooks(clone: Clone) -> None:
    """Every notebook runs to its end on these outputs, and quotes and traces the number that the file holds."""
    environment = {**clone.environment, "KEDRO_ENV": "smoke", "IPYTHONDIR": str(clone.folder.parent / "ipython")}
    paths = [clone.folder / "notebooks" / f"{name}.ipynb" for name in QUOTED]
    with ThreadPoolExecutor(2) as pool:  # each waits for a kernel of its own
        stories = dict(zip(QUOTED, pool.map(lambda path: run_story(path, environment), paths), strict=True))
    for name, story in stories.items():
        words, value = QUOTED[name](clone.folder / "data" / "08_reporting" / "smoke")
        assert story.quoted() == words, name
        assert story.figures() >= 1, name
        traced, verdict = story.lineage()
        assert traced == value, f"{name}: {story.traced}"
        assert verdict.startswith("whole: "), story.said(-1)


#: Run in the clone: how often the chain of each file is broken, and how many raw skies it ends in.
_TRACED = """
import json, sys
from pathlib import Path
from kedro.framework.startup import bootstrap_project
from skytrace.provenance.run_index import RunIndex
from skytrace.provenance.trace import trace
from skytrace.provenance.trace_project import ProjectConfiguration

project = Path.cwd()
bootstrap_project(project)
index, configuration = RunIndex.of_project(project), ProjectConfiguration(project)
found = {}
for name in sys.argv[1:]:
    facts = trace(name, project=project, environment="smoke", configuration=configuration, index=index)
    found[name] = facts["breaks"], sum(bool(one["sky"]) for one in facts["datasets"])
print("traced", json.dumps(found))
"""


def _check_lineage(clone: Clone) -> None:
    """Every file of metrics of every pipeline has a chain that is whole, and ends in a raw sky; but for four of
    simulated models alone, which are made before any spectrum is read.
    """
    stages = yaml.safe_load((clone.folder / "dvc.yaml").read_text())["stages"]
    entries = [entry for stage in stages.values() for entry in stage["metrics"]]
    names = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    files = [re.sub(r"\$\{\w+\}", "smoke", name) for name in names]
    assert len(files) >= 40 and all((clone.folder / file).is_file() for file in files)
    told = clone("python", "-c", _TRACED, *files)
    found = json.loads(told.partition("traced ")[2].splitlines()[0])
    assert {file: breaks for file, (breaks, _) in found.items() if breaks} == {}
    without_sky = {Path(file).name for file, (_, skies) in found.items() if not skies}
    assert without_sky == {
        "atomic_report.json",
        "stage_one_draws.json",
        "stage_one_emulator.json",
        "training_sizes.json",
    }


def _plot_node(clone: Clone) -> str:
    nodes = yaml.safe_load(clone("kedro", "registry", "describe", "injection_recovery"))["Nodes"]
    return next(node.split(" ")[0] for node in nodes if "plot_heatmaps" in node)
