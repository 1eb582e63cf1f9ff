"""A project of four nodes under git, run under skytrace's own hooks: two raw skies to one number.

sky (folder of CSV) -> toy.galaxies (versioned) -> toy.fluxes -> toy.evaluation (JSON) and toy.table (CSV);
mock_sky (computed) -> toy.truth (in memory) -> toy.evaluation. toy.evaluation reads toy.galaxies too.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from skytrace.catalog import ReleaseCatalog
from skytrace.datasets.survey import SurveyDataset
from skytrace.hooks import RunManifestHook
from skytrace.provenance.trace import trace
from skytrace.surveys.data_root import under_data_root

RUNS = tuple(f"2026-01-0{day}T00.00.00.000Z" for day in range(1, 8))
SOURCES = {
    "__init__.py": "",
    "nodes.py": '''
import pandas as pd
from toysky.photometry import flux

def select(sky, limit):
    return sky[sky["mag"] < limit].reset_index(drop=True)

def read_truth(mock):
    return list(mock)

def measure(galaxies, options):
    return pd.DataFrame({"name": galaxies["name"], "flux": flux(galaxies["mag"], options["zero_point"])})

def evaluate(fluxes, galaxies, truth, options):
    value = float(fluxes["flux"].sum()) / len(truth)
    table = pd.DataFrame({"member": ["nn_pu", "stack"], "n": [2, 3], "auroc": [0.625, 0.75]})
    return {"auc": {"value": value, "at.0.1": [0.25, 0.5]}, "n": len(galaxies)}, table
''',
    "photometry.py": '''
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from toysky.words import never

def flux(mag, zero_point):
    from toysky.constants import TEN
    return TEN ** (-0.4 * (mag - zero_point))
''',
    "constants.py": "TEN = 10.0\n",
    "words.py": "never = None\n",
}  # fmt: skip


class SkyFolder(SurveyDataset):
    """Tables in ``folder``; only those named in ``options: files`` are read."""

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._folder = folder

    def load(self) -> pd.DataFrame:
        """The rows of all tables."""
        paths = [self.source_path() / name for name in self._options["files"]]
        self._read.append(set(paths))
        return pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)

    def source_path(self) -> Path:
        """The folder under $SKYTRACE_DATA."""
        return under_data_root(self._folder).absolute()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder, **super()._describe()}


class ComputedSky(SurveyDataset):
    """``options: n`` numbers."""

    def load(self) -> range:
        """0 to n - 1."""
        return range(self._options["n"])

    def source_path(self) -> None:  # type: ignore[override]
        """No file."""


class ToyProject:
    """The project in ``folder``, which is the current one; parameters, catalog: the configuration as it is now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: dict[str, Any] = {"toy": {"limit": 22.0, "measure": {"zero_point": 25.0, "kind": "sum"}}}
        self.entries: dict[str, Any] = {
            "sky": {"type": f"{__name__}.SkyFolder", "folder": "sky", "options": {"files": ["a.csv", "b.csv"]}},
            "mock_sky": {"type": f"{__name__}.ComputedSky", "options": {"n": 4}},
            "toy.galaxies": {
                "type": "pandas.CSVDataset", "filepath": "data/03_primary/toy/galaxies.csv", "versioned": True,
                "save_args": {"index": False},
            },
            "toy.fluxes": {
                "type": "pandas.CSVDataset", "filepath": "data/04_feature/toy/fluxes.csv",
                "save_args": {"index": False},
            },
            "toy.evaluation": {"type": "json.JSONDataset", "filepath": "data/08_reporting/toy/evaluation.json"},
            "toy.table": {
                "type": "pandas.CSVDataset", "filepath": "data/08_reporting/toy/table.csv",
                "save_args": {"index": False},
            },
        }  # fmt: skip
        for name, text in SOURCES.items():
            self.write(f"src/toysky/{name}", text)
        self.write("sky/a.csv", "name,mag\ng1,20.0\ng2,23.0\n")
        self.write("sky/b.csv", "name,mag\ng3,21.0\n")
        self.write("sky/README", "not sky")
        self.write(".gitignore", "data/\nsky/\n__pycache__/\n")
        self.git("init", "-b", "main")
        self.commit("one")

    def write(self, name: str, text: str) -> None:
        """A file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *arguments: str) -> None:
        """A git command in the project."""
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)

    def commit(self, words: str) -> None:
        """Everything as it is."""
        self.git("add", ".")
        self.git("commit", "-m", words)

    def run(
        self, run_id: str, *nodes: str, load_versions: dict[str, str] | None = None, hooks: tuple[Any, ...] = ()
    ) -> dict[str, Any]:
        """Run all nodes, or these, as KedroSession does, with more ``hooks``; the manifest."""
        code = importlib.import_module("toysky.nodes")
        pipeline = Pipeline(
            [
                Node(code.select, ["sky", "params:toy.limit"], "toy.galaxies", name="toy.select"),
                Node(code.read_truth, "mock_sky", "toy.truth", name="toy.read_truth"),
                Node(code.measure, ["toy.galaxies", "params:toy.measure"], "toy.fluxes", name="toy.measure"),
                Node(
                    code.evaluate, ["toy.fluxes", "toy.galaxies", "toy.truth", "params:toy.measure"],
                    ["toy.evaluation", "toy.table"], name="toy.evaluate",
                ),
            ]
        )  # fmt: skip
        pipeline = pipeline.only_nodes(*nodes) if nodes else pipeline
        manager = _create_hook_manager()
        _register_hooks(manager, (RunManifestHook(), *hooks))
        catalog = ReleaseCatalog.from_config(self.entries, load_versions=load_versions, save_version=run_id)
        catalog["params:toy.limit"] = self.values["toy"]["limit"]
        catalog["params:toy.measure"] = self.values["toy"]["measure"]
        hook = manager.hook
        loader = {"globals": {"sky": "toy"}, "catalog": self.entries}
        hook.after_context_created(context=SimpleNamespace(project_path=self.folder, config_loader=loader))
        hook.after_catalog_created(
            catalog=catalog, conf_catalog={}, conf_creds={}, parameters={"parameters": self.values},
            save_version=run_id, load_versions=load_versions or {},
        )  # fmt: skip
        command = {
            "run_id": run_id, "env": "toy", "pipeline_names": ["toy"], "load_versions": load_versions or {},
            "node_names": list(nodes), "project_path": str(self.folder),
        }  # fmt: skip
        hook.before_pipeline_run(run_params=command, pipeline=pipeline, catalog=catalog)
        result = SequentialRunner().run(pipeline, catalog, hook_manager=manager, run_id=run_id)
        hook.after_pipeline_run(run_params=command, run_result=result, pipeline=pipeline, catalog=catalog)
        return self.manifest(run_id)

    def manifest(self, run_id: str) -> dict[str, Any]:
        """What that run left."""
        return json.loads((self.folder / f"data/08_reporting/toy/manifests/{run_id}.json").read_text())

    def trace(self, asked: str, environment: str = "toy") -> dict[str, Any]:
        """The facts."""
        return trace(asked, project=self.folder, environment=environment, configuration=self)

    def parameters(self, environment: str, runtime: dict[str, Any]) -> dict[str, Any] | str:
        """As skytrace.provenance.trace_checks.Configuration."""
        return self.values if environment == "toy" else f"no environment {environment}"

    def catalog(self, environment: str) -> dict[str, Any]:
        """As skytrace.provenance.trace_checks.Configuration."""
        return self.entries


def forget_modules() -> None:
    """The next project has sources of its own."""
    for name in [name for name in sys.modules if name.split(".")[0] == "toysky"]:
        del sys.modules[name]
