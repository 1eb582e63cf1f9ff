"""Where shards are computed: in this process, in local processes, on a running Dask scheduler, or under Slurm."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skytrace.compute.threads import SINGLE_THREAD_ENVIRONMENT
from skytrace.errors import OptionError, check_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ClusterOptions", "open_client", "slurm_cluster"]


@dataclass(frozen=True)
class ClusterOptions:
    """Where and how wide to compute. The fields after ``workers`` matter to ``slurm`` alone.

    cluster: ``inline`` (threads of this process), ``local`` (Dask worker processes on this machine),
    ``tcp://host:port`` (a running Dask scheduler) or ``slurm`` (jobs through dask-jobqueue).
    workers: how many shards are computed at once; each runs one thread.
    """

    cluster: str = "inline"
    workers: int = 2
    workers_per_job: int = 1
    memory_per_job: str = "4GB"
    walltime: str = "02:00:00"
    queue: str | None = None
    account: str | None = None
    interface: str | None = None
    job_directives: tuple[str, ...] = ()
    job_prologue: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.cluster not in ("inline", "local", "slurm") and not re.match(r"(tcp|tls)://\S+:\d+$", self.cluster):
            raise OptionError(f"cluster = {self.cluster!r} is not one of inline, local, slurm, tcp://host:port")
        check_whole("workers", self.workers, 1, 100_000)
        check_whole("workers_per_job", self.workers_per_job, 1, 1024)
        if not re.fullmatch(r"\d+(\.\d+)?\s?[kMGT]i?B", self.memory_per_job):
            raise OptionError(f"memory_per_job = {self.memory_per_job!r} is not a number and its unit, such as 4GB")
        if not re.fullmatch(r"(\d+-)?\d+:\d{2}:\d{2}", self.walltime):
            raise OptionError(f"walltime = {self.walltime!r} is not hours:minutes:seconds, such as 02:00:00")
        object.__setattr__(self, "job_directives", tuple(self.job_directives))
        object.__setattr__(self, "job_prologue", tuple(self.job_prologue))


@contextlib.contextmanager
def open_client(options: ClusterOptions) -> Iterator[Any]:
    """Yield a Dask client of the cluster that ``options`` describe, and close what was opened for it."""
    import dask
    from distributed import Client, LocalCluster

    if options.cluster == "inline":
        raise OptionError("cluster = 'inline' needs no Dask client")
    # one line for every connection is too much, unless somebody asks Dask's own configuration for it
    level = str(dask.config.get("logging.distributed", "warning"))
    logging.getLogger("distributed").setLevel(level.upper())
    if options.cluster.startswith(("tcp://", "tls://")):
        try:
            client = Client(options.cluster, timeout="30s")
        except OSError as error:
            raise OptionError(
                f"cluster = {options.cluster!r}: no Dask scheduler answered there within 30 s ({error}); start one "
                "with `dask scheduler`, or choose inline, local or slurm"
            ) from error
        with client:
            yield client
        return
    # distributed sets this, and more, in our own environment too when it spawns a worker, and leaves it there
    before = dict(os.environ)
    in_worker = SINGLE_THREAD_ENVIRONMENT | {"DASK_LOGGING__DISTRIBUTED": level}
    environment = {"distributed.nanny.pre-spawn-environ": in_worker}
    with dask.config.set(environment), contextlib.ExitStack() as stack:
        stack.callback(_restore_environment, before, names=None)
        if options.cluster == "slurm":
            cluster = stack.enter_context(slurm_cluster(options))
            cluster.scale(options.workers)
        else:
            cluster = stack.enter_context(
                LocalCluster(n_workers=options.workers, threads_per_worker=1, processes=True, dashboard_address=None)
            )
        client = stack.enter_context(Client(cluster))
        _restore_environment(before, names=set(in_worker))
        yield client


def _restore_environment(before: dict[str, str], *, names: set[str] | None) -> None:
    """Put the variables ``names`` (None: all) back to what they were."""
    for name in set(os.environ) | set(before) if names is None else names:
        if name in before:
            os.environ[name] = before[name]
        else:
            os.environ.pop(name, None)


def slurm_cluster(options: ClusterOptions) -> Any:
    """Return a dask-jobqueue cluster (no job submitted yet) whose workers run one thread each."""
    from dask_jobqueue import SLURMCluster

    exports = [f"export {name}={value}" for name, value in SINGLE_THREAD_ENVIRONMENT.items()]
    return SLURMCluster(
        cores=options.workers_per_job,
        processes=options.workers_per_job,
        memory=options.memory_per_job,
        walltime=options.walltime,
        queue=options.queue,
        account=options.account,
        interface=options.interface,
        python=sys.executable,
        job_name="skytrace",
        job_extra_directives=list(options.job_directives),
        job_script_prologue=[*options.job_prologue, *exports],
    )
