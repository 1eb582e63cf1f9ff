"""What happens around the nodes: a line for each, a manifest for the run, and the results at the end."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DatasetError, MemoryDataset
from kedro.runner import SequentialRunner

from skytrace.catalog import RELEASE_VARIABLE
from skytrace.errors import ShardError
from skytrace.provenance.manifest import RunManifest, count_rows
from skytrace.provenance.release_runs import keep_release_manifest
from skytrace.provenance.results import find_results
from skytrace.provenance.run_lock import RunLock, places_written
from skytrace.provenance.runs import command_line
from skytrace.provenance.summary import RunSummary

__all__ = ["ProgressHook", "ResultsHook", "RunLockHook", "RunManifestHook"]

logger = logging.getLogger(__name__)

#: Pipelines whose sky is not named after them in the globals.
_SKIES = {"spectral_emulator": "spectrum_sky"}


class ProgressHook:
    """``[3/12] lens_finder.cut_stamps`` as a node starts, its seconds as it ends."""

    def __init__(self) -> None:
        self._position: dict[str, int] = {}
        self._began: dict[str, float] = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Any) -> None:
        """Number the nodes; no clock runs yet."""
        self._began = {}
        self._position = {node.name: i for i, node in enumerate(pipeline.nodes, start=1)}

    @hook_impl
    def before_dataset_loaded(self, node: Any) -> None:
        """A node begins with its first load."""
        self._start(node)  # loading is part of a node's time: raw sky may have to be made or fetched

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """A node that loads nothing begins here."""
        self._start(node)

    def _start(self, node: Any) -> None:
        if node.name in self._began:
            return
        self._began[node.name] = time.perf_counter()
        logger.info("%s %s", self._place(node), _short(node))

    @hook_impl
    def after_node_run(self, node: Any) -> None:
        """Say how long the node took."""
        logger.info("%s %s: %.1f s", self._place(node), _short(node), time.perf_counter() - self._began[node.name])

    def _place(self, node: Any) -> str:
        return f"[{self._position.get(node.name, '?')}/{len(self._position)}]"


class RunManifestHook:
    """Writes data/08_reporting/<sky>/manifests/<run id>.json when the run begins, renews it as nodes begin and save,
    and closes it when the run ends or fails: a run that is killed has left one with status "running". A copy of a whole
    release's is for git (``provenance.release_runs``). The sky is the globals' <pipeline>_sky where all nodes are of
    that pipeline and it has one (supernova), else their ``sky``.
    """

    def __init__(self) -> None:
        self._project = Path()
        self._globals: dict[str, Any] = {}
        self._parameters: Any = {}
        self._catalog: Any = None
        self._manifest: RunManifest | None = None
        self._sky = "unknown"

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the project's folder and the names that paths are built from."""
        self._project = Path(context.project_path)
        self._globals = dict(context.config_loader["globals"])

    @hook_impl
    def after_catalog_created(self, parameters: dict[str, Any]) -> None:
        """Keep the parameters, typed and checked."""
        self._parameters = parameters.get("parameters", {})

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Open the manifest: the state of the code, the machine and the parameters now."""
        self._catalog = catalog
        namespaces = {node.namespace for node in pipeline.nodes}
        name = namespaces.pop() if len(namespaces) == 1 else ""
        own = _SKIES.get(name, f"{name}_sky" if name else "sky")
        self._sky = str(self._globals.get(own, self._globals.get("sky", "unknown")))
        self._manifest = RunManifest(
            self._project,
            run_id=run_params["run_id"],
            environment=run_params["env"] or "local",
            command=_command(run_params),
        )
        self._manifest.add_parameters(self._parameters, globals_=self._globals)
        self._renew()

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Any) -> None:
        """A node begins with its first load; what is read must be the same when it is hashed."""
        self._node_begins(node)
        self._watch(dataset_name)

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """A node that loads nothing begins here."""
        self._node_begins(node)

    @hook_impl
    def after_node_run(self, node: Any) -> None:
        """Record the node's seconds and memory so far."""
        if self._manifest is not None:
            self._manifest.node_ends(_short(node))

    @hook_impl
    def on_node_error(self, node: Any) -> None:
        """Record which node failed."""
        if self._manifest is not None:
            self._manifest.node_ends(_short(node), status="failed")

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Any) -> None:
        """Record what was read."""
        self._record(dataset_name, data, node, role="input")

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Any) -> None:
        """Record what was written."""
        self._record(dataset_name, data, node, role="output")
        if self._manifest is not None:
            self._manifest.node_ends(_short(node))  # so far: saving counts too
        self._renew()

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Write the manifest. One that cannot be written is a warning: the results are whole, and stay."""
        self._write("done")

    @hook_impl
    def on_pipeline_error(self, error: BaseException) -> None:
        """Write the manifest of the failed run, whatever else goes wrong: the run's own error is the one to see."""
        try:
            self._write("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error)
        except Exception as hidden:
            logger.warning("the run manifest could not be written: %s: %s", type(hidden).__name__, hidden)

    def _node_begins(self, node: Any) -> None:
        if self._manifest is not None and self._manifest.node_begins(
            _short(node), function=_function_of(node), reads=list(node.inputs), writes=list(node.outputs)
        ):
            self._renew()

    def _watch(self, name: str) -> None:
        dataset = None if self._manifest is None or name.startswith("params:") else self._catalog.get(name)
        if self._manifest is None or dataset is None or isinstance(dataset, MemoryDataset):
            return
        try:
            path = _path_of(dataset, _version_of(dataset, "input"))
        except DatasetError:  # no version is there: loading says so
            return
        if path is not None and (path.is_file() or not hasattr(dataset, "source_path")):  # not all sky of a survey
            self._manifest.dataset_is_read(name, path)

    def _record(self, name: str, data: Any, node: Any, *, role: str) -> None:
        if self._manifest is None or name == "parameters" or name.startswith("params:"):
            return
        dataset = self._catalog.get(name)
        if dataset is None or isinstance(dataset, MemoryDataset):
            return
        version = _version_of(dataset, role)
        self._manifest.add_dataset(
            name,
            role=role,
            kind=f"{type(dataset).__module__}.{type(dataset).__qualname__}",
            path=_path_of(dataset, version),
            version=version,
            rows=count_rows(data),
            node=_short(node),
            files=getattr(dataset, "source_files", None),
            sky=dataset._describe() if hasattr(dataset, "source_path") else None,
        )

    def _path(self, manifest: RunManifest) -> Path:
        folder = self._project / "data/08_reporting" / self._sky / "manifests"
        # a run id is a time of day; colons are not allowed in file names everywhere, and Kedro's has none
        return folder / f"{manifest.facts['run_id']}.json"

    def _renew(self) -> None:
        """What is known so far, on disk: a run that is killed says no more. One that fails is tried again soon."""
        if self._manifest is None:
            return
        path = self._path(self._manifest)
        try:
            self._manifest.snapshot(path)
        except (OSError, ShardError) as hidden:  # not a warning: the last one that cannot be written is
            logger.info("the run manifest %s could not be renewed: %s: %s", path, type(hidden).__name__, hidden)

    def _write(self, status: str, error: BaseException | None = None) -> None:
        manifest, self._manifest = self._manifest, None
        if manifest is None:
            return
        path = self._path(manifest)
        try:
            manifest.write(path, status=status, error=error)
        except (OSError, ShardError) as hidden:
            logger.warning("the run manifest %s could not be written: %s: %s", path, type(hidden).__name__, hidden)
            return
        logger.info("run manifest: %s", path.relative_to(self._project))
        try:
            kept = keep_release_manifest(path, os.environ.get(RELEASE_VARIABLE))
        except (OSError, ValueError, RuntimeError, ShardError) as hidden:
            logger.warning("%s could not be kept with the release: %s: %s", path, type(hidden).__name__, hidden)
            return
        if kept is not None:
            logger.info("kept for git, with the release: %s", kept.relative_to(self._project))


class RunLockHook:
    """Keeps runs apart that would write the same files: see skytrace.provenance.run_lock."""

    def __init__(self) -> None:
        self._project = Path()
        self._lock = RunLock(self._project)

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the project's folder."""
        self._project = Path(context.project_path)

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Lock what this run will write. Raises RunLockedError where another run writes it."""
        self._lock.release()  # of a run of this process that ended in a hook
        self._lock = RunLock(self._project)
        if run_params.get("only_missing_outputs"):
            # private to Kedro: kept in step by the kedro~=1.7.0 pin and by tests/provenance/test_run_lock.py
            pipeline = SequentialRunner()._filter_pipeline_for_missing_outputs(pipeline, catalog)
        command = command_line(run_params.get("env") or "local", run_params)
        self._lock.acquire(places_written(pipeline, catalog, self._project), command=command)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """The next may write."""
        self._lock.release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """The next may write."""
        self._lock.release()


class ResultsHook:
    """After a run: what it made, the verdicts and where the results are."""

    def __init__(self) -> None:
        self._project = Path()
        self._catalog: dict[str, Any] = {}
        self._summary = RunSummary(self._project)
        self._pipelines: set[str] = set()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the project's folder and the catalog's paths."""
        self._project = Path(context.project_path)
        self._catalog = context.config_loader["catalog"]

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any) -> None:
        """The clock starts; only results of pipelines that this run reads or writes are told at its end."""
        elsewhere = "ParallelRunner" in str(run_params.get("runner"))
        self._summary = RunSummary(self._project, in_other_processes=elsewhere)
        self._pipelines = {name.split(".")[0] for name in pipeline.datasets()}

    @hook_impl
    def before_dataset_loaded(self, node: Any) -> None:
        """A node begins with its first load."""
        self._summary.node_begins(_short(node), _pipeline_of(node))

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """A node that loads nothing begins here."""
        self._summary.node_begins(_short(node), _pipeline_of(node))

    @hook_impl
    def after_node_run(self, node: Any) -> None:
        """A node that makes nothing ends here."""
        self._summary.node_ends(_short(node))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """Count what is kept on disk; a node ends with its last output."""
        path = self._catalog.get(dataset_name, {}).get("filepath")
        self._summary.node_ends(_short(node), self._project / path if path else None)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Print what was made, and the results that are there, whether this run made them or found them."""
        catalog = {name: entry for name, entry in self._catalog.items() if name.split(".")[0] in self._pipelines}
        self._summary.show(find_results(catalog, self._project))


def _command(run_params: dict[str, Any]) -> dict[str, Any]:
    # Kedro gives the runner as the text of an instance, with its address in memory
    runner = re.sub(r"^<(.*) object at .*>$", r"\1", str(run_params.get("runner")))
    return {**run_params, "runner": runner}


def _pipeline_of(node: Any) -> str:
    return (getattr(node, "namespace", None) or "").split(".")[0]


def _short(node: Any) -> str:
    # Kedro ends the name of a node that was given none with a hash of its inputs and outputs
    return re.sub(r"__[0-9a-f]{8}$", "", node.name)


def _function_of(node: Any) -> str:
    function = node.func
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _path_of(dataset: Any, version: str | None) -> Path | None:
    if hasattr(dataset, "source_path"):  # a survey: a folder of raw sky
        return dataset.source_path()
    if version is not None:
        return Path(str(dataset._get_versioned_path(version)))
    path = getattr(dataset, "_filepath", None)
    return Path(str(path)) if path is not None else None


def _version_of(dataset: Any, role: str) -> str | None:
    if getattr(dataset, "_version", None) is None:
        return None
    return dataset.resolve_load_version() if role == "input" else dataset.resolve_save_version()
