"""Whatever decides a result makes the results computed before it stale: for DVC's stages, and for cached shards."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from skytrace.compute.fingerprint import source_fingerprint
from skytrace.pipeline_registry import LINEAGES
from skytrace.pipelines.injection_recovery.shards import _COMPUTED_BY
from tests.test_import_law import SOURCE, _imported

#: Sources that word messages, refuse runs and record facts: no number of a result passes through them.
REPORTING_ONLY = (
    "skytrace", "skytrace.hooks", "skytrace.provenance", "skytrace.cli", "skytrace.session", "skytrace.load_versions",
    "skytrace.run_request",
)  # fmt: skip
#: Sources outside the pipelines that choose which nodes run, with which options, on which versions.
FRAME = ("skytrace.settings", "skytrace.pipeline_registry", "skytrace.datasets")
#: Classes of datasets that only the catalog of one pipeline names: they decide nothing in the stages of the others.
DATASETS_OF = {
    "skytrace.datasets.supernova_survey": "supernova", "skytrace.datasets.cluster_survey": "cluster_pu",
    "skytrace.datasets.cluster_images": "cluster_modelling",
    "skytrace.datasets.supernova_spectrum": "spectral_emulator",
}  # fmt: skip
ENVIRONMENTS = sorted(folder.name for folder in (SOURCE.parents[1] / "conf").iterdir() if any(folder.glob("*.yml")))


def _module(path: Path) -> str:
    return ".".join(("skytrace", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {_module(path): path for path in SOURCE.rglob("*.py")}


@cache
def _direct(module: str) -> frozenset[str]:
    """The modules of ours that ``module`` imports, anywhere in its text; lazy names come from every submodule."""
    names = set()
    for name in _imported(MODULES[module]):
        parts = name.split(".")
        names |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    text = MODULES[module].read_text(encoding="utf-8")
    if "lazy_names" in text and MODULES[module].name == "__init__.py":
        names |= {name for name in MODULES if name.startswith(f"{module}.")}
    return frozenset(names & set(MODULES))


def imported_by(*seeds: str, without: frozenset[str] = frozenset()) -> set[str]:
    """Every module of ours that a run starting at ``seeds`` (and all below them) may import, but for ``without`` and
    what is reached through those alone.
    """
    todo = {name for name in MODULES if any(name == seed or name.startswith(f"{seed}.") for seed in seeds)} - without
    found: set[str] = set()
    while todo:
        module = todo.pop()
        found.add(module)
        todo |= _direct(module) - found - without
    return found


def _below(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or (name != "skytrace" and module.startswith(f"{name}.")) for name in names)


@pytest.fixture(scope="module")
def stages(repository) -> dict:
    return yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.mark.parametrize("name", list(LINEAGES))
def test_a_stage_depends_on_every_source_that_its_results_pass_through(stages, name):
    deps = [Path(dep) for dep in stages[name]["deps"]]
    others = frozenset(module for module, pipeline in DATASETS_OF.items() if pipeline != name)
    needed = imported_by(f"skytrace.pipelines.{name}", *FRAME, without=others)
    needed = {module for module in needed if module != "skytrace.pipelines" and not _below(module, REPORTING_ONLY)}
    sources = {MODULES[module].relative_to(SOURCE.parents[1]) for module in needed}
    missing = [path.as_posix() for path in sorted(sources) if not any(path.is_relative_to(dep) for dep in deps)]
    assert missing == [], "a change there would leave dvc.lock saying that nothing changed"


@pytest.mark.parametrize("name", list(LINEAGES))
def test_a_stage_depends_on_its_configuration_in_base_and_in_the_environment(stages, name):
    stage = stages[name]
    tracked = {*stage["deps"], *(next(iter(entry)) for entry in stage["params"])}
    for folder in ("conf/base", "conf/${env}"):
        for file in ("globals.yml", "catalog_survey.yml", f"parameters_{name}.yml"):
            assert f"{folder}/{file}" in tracked
    assert {"conf/base/catalog_" + name + ".yml", "requirements.lock"} <= tracked


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_holds_the_files_that_the_stages_name_and_no_others_that_decide(
    repository, stages, environment
):
    entries = [*(dep for stage in stages.values() for dep in stage["deps"])]
    entries += [next(iter(entry)) for stage in stages.values() for entry in stage["params"]]
    named = {Path(entry.replace("${env}", environment)) for entry in entries if entry.startswith("conf/")}
    named = {path.name for path in named if path.parent.name == environment}
    there = {path.name for path in (repository / "conf" / environment).glob("*.yml")}
    assert there == named


IN_A_CLONE = """
import json, sys
from pathlib import Path
from dvc.repo import Repo
outputs, edits = json.loads(sys.argv[1])
for name in outputs:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).touch()
repo = Repo.init(no_scm=True)
repo.commit(force=True)
stale = {"nothing": sorted(Repo().status())}
for name, text in edits.items():
    before = Path(name).read_bytes()
    Path(name).write_bytes(before + text.encode())
    stale[name] = sorted(Repo().status())
    Path(name).write_bytes(before)
print(json.dumps(stale))
"""


@pytest.mark.slow
def test_a_change_of_what_decides_results_makes_the_stages_stale_and_one_of_words_does_not(
    tmp_path, repository, stages
):
    for name in ("src", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")
        shutil.copytree(repository / name, tmp_path / name, ignore=ignored)
    for name in ("dvc.yaml", "requirements.lock"):
        shutil.copy2(repository / name, tmp_path / name)
    names = tmp_path / "conf/base/globals.yml"
    names.write_text(names.read_text().replace("\nenv: base", "\nenv: smoke"))
    values = yaml.safe_load(names.read_text())
    outputs = []
    for stage in stages.values():
        for entry in (*stage["outs"], *stage["metrics"], *stage["plots"]):
            text = next(iter(entry)) if isinstance(entry, dict) else entry
            for key in ("release", "sky", "detector_sky", "supernova_sky", "cluster_pu_sky", "spectrum_sky"):
                text = text.replace(f"${{{key}}}", str(values[key]))
            outputs.append(text)
    studies = "injection_studies"  # reads the outputs of both others
    both, first, second = (
        ["injection_recovery", studies, "lens_finder"], [studies, "lens_finder"], ["injection_recovery", studies],
    )  # fmt: skip
    every = sorted([*both, "supernova", "spectral_emulator", "cluster_pu", "cluster_modelling"])
    edits = {
        "requirements.lock": ("\n", every),
        "src/skytrace/parameters.py": ("\n", every),
        "src/skytrace/selection/arcs.py": ("\n", every),  # the mock survey's discoveries go by it
        "src/skytrace/supernovae/quality.py": ("\n", ["spectral_emulator", "supernova"]),
        "conf/smoke/globals.yml": ("\nnews: 1\n", every),
        "conf/smoke/catalog_survey.yml": ("\n", every),
        "conf/smoke/parameters_supernova.yml": ("\nnews: 1\n", ["supernova"]),
        "conf/smoke/parameters_lens_finder.yml": ("\nnews: 1\n", first),
        "conf/smoke/parameters_injection_recovery.yml": ("\nnews: 1\n", second),
        "conf/smoke/parameters_injection_studies.yml": ("\nnews: 1\n", [studies]),
        "src/skytrace/hooks.py": ("\n", []),
    }
    task = json.dumps([outputs, {name: text for name, (text, _) in edits.items()}])
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CLONE, task], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = {"nothing": [], **{name: stale for name, (_, stale) in edits.items()}}
    assert json.loads(done.stdout.splitlines()[-1]) == expected


def test_the_fingerprint_of_a_shard_covers_every_source_that_computes_it():
    needed = imported_by("skytrace.pipelines.injection_recovery.shards")
    words = (*REPORTING_ONLY, "skytrace.errors", "skytrace.surveys")  # the last: an empty package
    assert {name for name in needed if not _below(name, _COMPUTED_BY)} <= set(words)


def test_a_change_of_the_loop_or_of_the_shard_map_gives_shards_another_name(monkeypatch):
    read_bytes = Path.read_bytes
    fingerprints = {}
    for name in (None, "pipelines/injection_recovery/shards.py", "compute/shards.py", "compute/arrays.py",
                 "selection/injection.py", "reporting/page.py", "pipelines/injection_recovery/nodes.py"):  # fmt: skip

        def changed(path: Path, name: str | None = name) -> bytes:
            return read_bytes(path) + (b"\n" if name and path.as_posix().endswith(f"skytrace/{name}") else b"")

        monkeypatch.setattr(Path, "read_bytes", changed)
        fingerprints[name] = source_fingerprint(*_COMPUTED_BY)
    unchanged = {name for name, value in fingerprints.items() if value == fingerprints[None]}
    assert unchanged == {None, "reporting/page.py", "pipelines/injection_recovery/nodes.py"}
    assert len(set(fingerprints.values())) == 5


@pytest.mark.parametrize(
    ("folder", "pipeline", "survey"),
    [
        ("checkpoint_folder", "lens_finder", "detector_survey"),
        ("shard_folder", "injection_recovery", "survey"),
        ("shards", "supernova", "supernova_survey"),
    ],
)
def test_no_two_surveys_share_a_folder_of_unfinished_work(repository, folder, pipeline, survey):
    surveys_in: dict[str, set[str]] = {}
    for environment in ENVIRONMENTS:
        loader = OmegaConfigLoader(
            str(repository / "conf"), base_env="base", default_run_env=environment, env=environment,
            merge_strategy={"parameters": "soft", "globals": "soft"},
        )  # fmt: skip
        entry = loader["catalog"][survey]
        described = json.dumps([entry["type"], entry["options"]], sort_keys=True)
        place = loader["parameters"][pipeline][folder]
        surveys_in.setdefault(place["folder"] if isinstance(place, dict) else place, set()).add(described)
    assert len(surveys_in) >= 3
    assert {name: surveys for name, surveys in surveys_in.items() if len(surveys) > 1} == {}


def test_the_fingerprint_of_a_fit_covers_every_source_that_computes_it():
    from skytrace.pipelines.supernova.shards import _COMPUTED_BY as computed_by

    # names are taken from their own modules: the package's, loaded on first use, would stand for all of it
    needed = imported_by("skytrace.pipelines.supernova.shards", without=frozenset({"skytrace.supernovae"}))
    words = (*REPORTING_ONLY, "skytrace.errors", "skytrace.compute")
    assert {name for name in needed if not _below(name, computed_by)} - set(words) == {
        name for name in needed if name.startswith("skytrace.compute.") and not _below(name, computed_by)
    }


def test_the_fingerprint_of_a_mock_spectrum_covers_every_source_that_computes_its_posterior():
    from skytrace.pipelines.spectral_emulator.inference_shards import _COMPUTED_BY as computed_by

    needed = imported_by(
        "skytrace.pipelines.spectral_emulator.inference_shards", without=frozenset({"skytrace.spectra"})
    )
    left = {name for name in needed if name.startswith("skytrace.spectra.") and not _below(name, computed_by)}
    # a mock comes as arrays, its space and emulator as values: what made them is not asked again
    given = {"ejecta", "emulator_covariance", "noise", "observed", "observed_options", "parameter_space"}
    assert left == {f"skytrace.spectra.{name}" for name in given}


@pytest.mark.parametrize("name", list(DATASETS_OF))
def test_datasets_said_to_be_of_one_pipeline_are_in_no_other_catalog(repository, name):
    classes = {node.split("(")[0] for node in MODULES[name].read_text().split("class ")[1:]}
    for path in (repository / "conf").glob("*/catalog*.yml"):
        for entry, content in (yaml.safe_load(path.read_text()) or {}).items():
            if content["type"].rsplit(".", 1)[-1] in classes:
                assert entry == name.rsplit(".", 1)[-1], path
