"""Every sharded step of every pipeline computes where its ``cluster`` says: found in the source, not in a list."""

import ast
import dataclasses
import inspect
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from skytrace.compute import ClusterOptions
from skytrace.compute.clusters import slurm_cluster
from skytrace.compute.threads import SINGLE_THREAD_ENVIRONMENT
from skytrace.parameters import build_options
from skytrace.pipeline_registry import LINEAGES, create_lineage

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "skytrace"
#: Options that no environment of the project sets: what a site would.
SITE = {
    "cluster": "slurm", "workers": 64, "workers_per_job": 8, "memory_per_job": "16GB", "walltime": "1-00:30:00",
    "queue": "regular", "account": "m1234", "interface": "lo", "job_directives": ["-C cpu", "--qos=debug"],
    "job_prologue": ["module load python"],
}  # fmt: skip


def _modules():
    """Name -> syntax tree of every module of the pipelines and the surveys."""
    paths = [path for folder in ("pipelines", "surveys") for path in (SOURCE / folder).rglob("*.py")]
    return {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


MODULES = _modules()
FUNCTIONS = {
    (module, node.name): node
    for module, tree in MODULES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef)
}


def _named(module):
    """What a name stands for in a module: (module, function), or (module, None) for a module itself."""
    names = {name: (module, name) for owner, name in FUNCTIONS if owner == module}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names[alias.asname or alias.name] = (whole, None) if whole in MODULES else (node.module, alias.name)
    return names


def _calls(module, node):
    """(module, function) of whatever a definition calls or hands on."""
    names = _named(module)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in names:
            yield names[part.id]
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in names:
            yield names[part.value.id][0], part.attr


def _reaching_shards():
    """(module, function) of all from which ``map_shards`` is reached."""
    calls = {key: set(_calls(key[0], node)) for key, node in FUNCTIONS.items()}
    reached = {key for key, called in calls.items() if any(name == "map_shards" for _, name in called)}
    while more := {key for key, called in calls.items() if called & reached} - reached:
        reached |= more
    return reached


def _nodes():
    """(pipeline, node) of everything that any pipeline runs, each once."""
    nodes = {}
    for name in LINEAGES:
        for node in create_lineage((name,)).nodes:
            nodes.setdefault(node.name, node)
    return list(nodes.values())


def _cluster_input(node):
    """The parameter that a node's argument of type ClusterOptions is bound to, or None."""
    hints = get_type_hints(node.func)
    arguments = list(inspect.signature(node.func).parameters)
    bound = dict(zip(arguments, node.inputs, strict=False))
    for name, hint in hints.items():
        if hint is ClusterOptions or ClusterOptions in get_args(hint):
            return bound.get(name)
    return None


REACHING = _reaching_shards()
SHARDED = [node for node in _nodes() if (node.func.__module__, node.func.__name__) in REACHING]


def test_map_shards_is_always_told_the_cluster_that_the_caller_was_given():
    calls = []
    for (module, name), node in FUNCTIONS.items():
        for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "map_shards":
                calls.append(name)
                given = {word.arg: word.value for word in call.keywords}
                words = f"{module}.{name} calls map_shards"
                assert isinstance(given.get("cluster"), ast.Name), f"{words} without cluster=<its own argument>"
                arguments = [*node.args.args, *node.args.kwonlyargs]
                kind = {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation}
                assert "ClusterOptions" in kind.get(given["cluster"].id, ""), f"{words} with another cluster"
    assert len(calls) >= 12, calls


def test_parallel_work_outside_shards_is_known():
    # whatever else starts processes or Dask by itself escapes `cluster`; the page on scale names it
    known = {"spectra/emulator_networks.py", "compute/clusters.py", "compute/shards.py", "compute/progress.py"}
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            parts = {name.split(".")[0] for name in names} & {
                "joblib",
                "multiprocessing",
                "distributed",
                "dask_jobqueue",
            }
            if parts or any(name.endswith(".ProcessPoolExecutor") for name in names):
                found.add(path.relative_to(SOURCE).as_posix())
    assert found == known


def test_every_pipeline_has_sharded_steps_and_they_are_these():
    by_pipeline = {}
    for node in SHARDED:
        by_pipeline.setdefault(node.name.split(".")[0], set()).add(node.func.__name__)
    assert set(by_pipeline) == set(LINEAGES)
    assert {"select_galaxies", "cut_stamps"} <= by_pipeline["lens_finder"]
    assert {"choose_hosts", "inject"} <= by_pipeline["injection_recovery"]
    assert len(SHARDED) >= 15


@pytest.mark.parametrize("node", SHARDED, ids=lambda node: node.name)
def test_a_sharded_step_takes_its_cluster_from_the_parameters(node):
    found = _cluster_input(node)
    assert found is not None, f"{node.name} maps shards and takes no ClusterOptions: it cannot leave this machine"
    assert found.startswith("params:"), f"{node.name} takes its cluster from {found}"
    assert found.endswith(".cluster")


def _configured():
    """(parameter, environment) -> ClusterOptions of every cluster of a sharded step that an environment sets."""
    found = {}
    keys = sorted({_cluster_input(node).removeprefix("params:") for node in SHARDED if _cluster_input(node)})
    for key in keys:
        pipeline = key.split(".")[0]
        base = yaml.safe_load((ROOT / f"conf/base/parameters_{pipeline}.yml").read_text(encoding="utf-8"))[pipeline]
        for path in sorted(ROOT.glob(f"conf/*/parameters_{pipeline}.yml")):
            own = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(pipeline) or {}
            values = {**base["cluster"], **own.get("cluster", {})}
            found[key, path.parent.name] = build_options(key, values, ClusterOptions)
    return found


CONFIGURED = _configured()
DISTINCT = sorted({dataclasses.replace(one, cluster="slurm") for one in CONFIGURED.values()}, key=repr)


def test_every_sharded_step_is_configured_in_the_base_environment():
    keys = {_cluster_input(node).removeprefix("params:") for node in SHARDED}
    assert {key for key, environment in CONFIGURED if environment == "base"} == keys


@pytest.mark.parametrize("key", sorted({key for key, _ in CONFIGURED}))
@pytest.mark.parametrize("where", ["local", "tcp://10.0.0.1:8786", "slurm"])
def test_every_sharded_step_takes_every_kind_of_cluster(key, where):
    values = dataclasses.asdict(CONFIGURED[key, "base"]) | {"cluster": where}
    assert build_options(key, values, ClusterOptions).cluster == where


def _script(options):
    with slurm_cluster(options) as cluster:
        return cluster.job_script()


def _directives(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


@pytest.mark.parametrize("options", DISTINCT, ids=lambda one: f"{one.workers}-workers")
def test_the_job_script_of_every_configuration_asks_for_what_it_says(options):
    script = _script(options)
    lines = script.splitlines()
    assert lines[0].startswith("#!")
    assert _directives(script) == [
        "-J skytrace", "-n 1", f"--cpus-per-task={options.workers_per_job}", "--mem=4G", f"-t {options.walltime}",
    ]  # fmt: skip
    exports = [f"export {name}={value}" for name, value in SINGLE_THREAD_ENVIRONMENT.items()]
    assert [line for line in lines if line.startswith("export ")] == exports
    (command,) = [line for line in lines if "distributed.cli.dask_worker" in line]
    assert command.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://")
    for words in ("--nthreads 1 ", "--nworkers ", "--nanny", "--memory-limit 3.73GiB", "--name "):
        assert words in command or words == "--nworkers ", command
    assert lines.index(exports[-1]) < lines.index(command)


def test_the_job_script_of_a_site_has_every_line_that_was_asked_for_and_no_other():
    options = build_options("cluster", SITE, ClusterOptions)
    script = _script(options)
    assert _directives(script) == [
        "-J skytrace", "-p regular", "-A m1234", "-n 1", "--cpus-per-task=8", "--mem=15G", "-t 1-00:30:00", "-C cpu",
        "--qos=debug",
    ]  # fmt: skip
    body = [line for line in script.splitlines() if line and not line.startswith("#")]
    exports = [f"export {name}={value}" for name, value in SINGLE_THREAD_ENVIRONMENT.items()]
    assert body[:-1] == ["module load python", *exports]
    command = body[-1]
    assert command.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://")
    for words in ("--nworkers 8 ", "--nthreads 1 ", "--memory-limit 1.86GiB", "--interface lo"):
        assert words in command, command
    assert build_options("cluster", {**SITE, "workers": 65}, ClusterOptions).workers == 65


def test_a_run_asks_slurm_for_its_workers(monkeypatch):
    from dask_jobqueue import SLURMCluster

    from skytrace.compute.clusters import open_client

    asked = []
    monkeypatch.setattr(SLURMCluster, "scale", lambda self, n=None: asked.append((n, self._job_kwargs["processes"])))
    with open_client(build_options("cluster", {**SITE, "workers": 20}, ClusterOptions)):
        assert asked == [(20, 8)]
