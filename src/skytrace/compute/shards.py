"""A pure function mapped over shards: the same bytes on one thread, on many processes, and after any interruption.

A shard is any picklable object with an attribute ``path``, the file that the function writes (through atomic_path).
A shard whose file exists is complete and is not computed again, so the path must name everything that the result
depends on: put a fingerprint of the inputs in the folder's name.
"""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.compute.clusters import ClusterOptions, open_client
from skytrace.compute.files import is_disk_full, remove_abandoned
from skytrace.compute.progress import ProgressBar, progress
from skytrace.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["map_shards"]

logger = logging.getLogger(__name__)


def map_shards(
    fn: Callable[[Any], Any],
    shards: Sequence[Any],
    *,
    cluster: str | ClusterOptions = "inline",
    workers: int = 2,
    description: str = "",
) -> list[Path]:
    """Compute the shards that are not there yet and return the path of each, in the order given.

    ``fn(shard)`` writes ``shard.path``; on a cluster ``fn`` and the shards are pickled, so hand it paths, not tensors.
    ``cluster`` may be a ClusterOptions, which then decides ``workers`` too. Raises ShardError for two shards of one
    path, a function that leaves no file, and a full disk; any other error of ``fn`` comes out as it is, with a note.
    Whatever is raised, finished shards stay and the next call goes on from them.
    """
    options = cluster if isinstance(cluster, ClusterOptions) else ClusterOptions(cluster=cluster, workers=workers)
    paths = [Path(shard.path) for shard in shards]
    repeated = [path for path, count in Counter(paths).items() if count > 1]
    if repeated:
        raise ShardError(f"{len(repeated)} paths belong to more than one shard, the first is {repeated[0]}")
    todo = [shard for shard, path in zip(shards, paths, strict=True) if not path.exists()]
    folders = {path.parent for path in paths}
    for folder in folders:
        remove_abandoned(folder)
    if todo:
        _compute(fn, todo, options, description, n_all=len(paths))
        for folder in folders:  # of workers that were killed meanwhile; others have computed their shards
            remove_abandoned(folder)
    return paths


def _compute(
    fn: Callable[[Any], Any], todo: list[Any], options: ClusterOptions, description: str, *, n_all: int
) -> None:
    label = description or getattr(fn, "__name__", "shards")
    n_done = n_all - len(todo)
    if n_done:
        logger.info("%s: %d of %d shards are there already", label, n_done, n_all)
    run = _run_inline if options.cluster == "inline" else _run_dask
    bar: ProgressBar[int] = progress(n_all, label)
    with bar, closing(run(fn, todo, options)) as results:
        bar.advance(n_done)
        for shard, error in results:
            if error is None and not Path(shard.path).exists():
                error = ShardError(f"computing a shard left no file at {shard.path}")
            if error is not None:
                raise _explained(error, Path(shard.path), n_done, n_all)
            n_done += 1
            bar.advance()


def _run_inline(
    fn: Callable[[Any], Any], todo: list[Any], options: ClusterOptions
) -> Generator[tuple[Any, BaseException | None]]:
    if options.workers == 1:
        for shard in todo:
            yield shard, _error_of(fn, shard)
        return
    queue = iter(todo)
    with ThreadPoolExecutor(options.workers, thread_name_prefix="shard") as pool:
        # a short queue: after an error, or Ctrl-C, nothing more is started than what is already running
        running = {pool.submit(_error_of, fn, shard): shard for shard in islice(queue, options.workers)}
        while running:
            try:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                logger.warning("stopping: %d shards that are running are finished first, and kept", len(running))
                raise
            for future in finished:
                shard = running.pop(future)
                yield shard, future.result()
                following = next(queue, None)
                if following is not None:
                    running[pool.submit(_error_of, fn, following)] = following


def _run_dask(
    fn: Callable[[Any], Any], todo: list[Any], options: ClusterOptions
) -> Generator[tuple[Any, BaseException | None]]:
    from distributed import as_completed

    with open_client(options) as client:
        # a killed worker's shards go to another worker by themselves; retries are for a node with, say, a bad disk
        retries = 0 if options.cluster == "local" else 2
        # pickled once, kept once by a worker, and made again where that is lost: fn may hold a survey's tables
        held = client.submit(_as_it_is, fn, pure=False, retries=retries)
        futures = client.map(_apply, todo, fn=held, pure=False, retries=retries)
        shard_of = {future.key: shard for future, shard in zip(futures, todo, strict=True)}
        scheduler = client.scheduler.address
        for future in as_completed(futures):
            shard = shard_of[future.key]
            if future.cancelled():  # nobody here cancels: Dask does, when it has lost the scheduler
                lost = f"the scheduler at {scheduler} is gone, or was restarted, before {shard.path} was computed"
                yield shard, ShardError(f"{lost}; start it again, or compute on another cluster")
            else:
                yield shard, future.exception()


def _as_it_is(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return fn


def _apply(shard: Any, *, fn: Callable[[Any], Any]) -> Any:
    return fn(shard)


def _error_of(fn: Callable[[Any], Any], shard: Any) -> Exception | None:
    try:
        fn(shard)
    except Exception as error:  # handed to the caller, which raises it
        return error
    return None


def _explained(error: BaseException, path: Path, n_done: int, n_all: int) -> BaseException:
    kept = f"{n_done} of {n_all} shards are complete and kept; running again computes the rest"
    if is_disk_full(error):
        full = ShardError(f"no space left on the disk while writing {path}. {kept}, once there is space.")
        full.__cause__ = error
        return full
    error.add_note(f"in the shard {path}. {kept}.")
    return error
