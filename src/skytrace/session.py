"""A Kedro session that ends well when it is interrupted: its hooks close their books, and it says how to go on."""

from __future__ import annotations

import os
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession

from skytrace.provenance.runs import command_line

__all__ = ["RunInterrupted", "SkytraceSession"]


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run; its text says what is done and what to type to go on."""


class SkytraceSession(KedroSession):
    """Kedro's session; Ctrl-C in a run reaches ``on_pipeline_error`` of all hooks, which Kedro tells of errors only."""

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As Kedro's. Raises RunInterrupted on Ctrl-C once the pipeline runs, a plain KeyboardInterrupt before."""
        standing = _Standing()
        self._hook_manager.register(standing)
        try:
            return super().run(*args, **kwargs)
        except KeyboardInterrupt as error:
            if not standing.facts:
                raise
            interrupted = RunInterrupted(standing.words())
            self._hook_manager.hook.on_pipeline_error(error=interrupted, **standing.facts)
            raise interrupted from error
        finally:
            self._hook_manager.unregister(standing)


class _Standing:
    """How far a run is: which nodes have saved all that they make."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self._node = ""
        self._missing: dict[str, set[str]] = {}

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: Any, pipeline: Any, catalog: Any) -> None:
        """The run begins, now that no other hook has refused it."""
        self.facts = {"run_params": run_params, "pipeline": pipeline, "catalog": catalog}
        self._missing = {node.name: set(node.outputs) for node in pipeline.nodes}

    @hook_impl
    def before_dataset_loaded(self, node: Any) -> None:
        """A node begins with its first load."""
        self._node = node.name

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """One output less to come."""
        self._missing.get(node.name, set()).discard(dataset_name)

    def words(self) -> str:
        """``interrupted in cluster_pu.fit: 3 of 24 nodes are done and kept. Go on with: kedro run ...``."""
        params, pipeline = self.facts["run_params"], self.facts["pipeline"]
        place = f"interrupted in {self._node}" if self._node else "interrupted"
        if os.environ.get("DVC_STAGE"):
            return f"{place}. Go on with: dvc repro"
        environment = params.get("env") or "local"
        # nodes that are skipped, or that run in other processes, save nothing that could be counted here
        if params.get("only_missing_outputs") or "ParallelRunner" in str(params.get("runner")):
            return f"{place}: what is finished is kept. Go on with: {command_line(environment, params)}"
        done = [node for node in pipeline.nodes if not self._missing[node.name]]
        told = f"{place}: {len(done)} of {len(pipeline.nodes)} nodes, and all finished shards, are done and kept"
        if not done:
            return f"{told}. Go on with: {command_line(environment, params)}"
        rest = {**params, "from_nodes": self._to_go_on_from(done)}
        return f"{told}. Go on with: {command_line(environment, rest)}"

    def _to_go_on_from(self, done: list[Any]) -> list[str]:
        """Values of --from-nodes: the nearest nodes whose inputs are on disk, where this run has left them."""
        # private to Kedro, which says the same of a node that fails: kept in step by its pin and tests/test_session.py
        from kedro.runner.runner import _find_nodes_to_resume_from

        pipeline = self.facts["pipeline"]
        unfinished = set(pipeline.nodes) - set(done)
        return sorted(
            _find_nodes_to_resume_from(pipeline=pipeline, unfinished_nodes=unfinished, catalog=self.facts["catalog"])
        )
