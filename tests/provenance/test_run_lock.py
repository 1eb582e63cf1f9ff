"""Two runs that would write the same files are kept apart; others are not, and nobody is locked out for ever."""

import errno
import json
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from kedro.pipeline import Node, Pipeline

from skytrace.catalog import ReleaseCatalog
from skytrace.hooks import RunLockHook
from skytrace.provenance.run_lock import LOCK_FOLDER, RunLock, RunLockedError, places_written

PLACE = "smoke/cluster_pu"
COMMAND = "kedro run --env smoke --pipelines cluster_pu"
WORK = Path(__file__).with_name("run_lock_work.py")


@contextmanager
def another_process_holding(project: Path, place: str = PLACE):
    process = subprocess.Popen([sys.executable, WORK, project, place], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_run_is_refused_and_told_who_holds_the_lock_and_what_to_do(tmp_path):
    with another_process_holding(tmp_path) as process, pytest.raises(RunLockedError) as caught:
        RunLock(tmp_path).acquire([PLACE], command="kedro run")
    words = str(caught.value)
    assert f"another run writes to {PLACE} (process {process.pid} on {socket.gethostname()}, since 20" in words
    assert f": {COMMAND})" in words, "the command of the holder, not of the one that is refused"
    assert "wait until it has ended, end it, or run another pipeline or environment" in words


def test_another_pipeline_or_sky_goes_on_beside_it_and_a_refused_run_keeps_none_of_its_locks(tmp_path):
    with another_process_holding(tmp_path):
        beside = RunLock(tmp_path)
        beside.acquire(["smoke/supernova", "mock/cluster_pu"], command="")
        beside.release()
        with pytest.raises(RunLockedError):
            RunLock(tmp_path).acquire(["a/first", PLACE, "z/last"], command="")
        free = RunLock(tmp_path)
        free.acquire(["a/first", "z/last"], command="")
        free.release()


def test_a_killed_run_leaves_no_lock(tmp_path):
    with another_process_holding(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert json.loads((tmp_path / LOCK_FOLDER / "smoke~cluster_pu.json").read_text())["pid"] == process.pid
        lock = RunLock(tmp_path)
        lock.acquire([PLACE], command="mine")
        assert json.loads((tmp_path / LOCK_FOLDER / "smoke~cluster_pu.json").read_text())["pid"] == os.getpid()
        lock.release()


def test_a_name_that_a_killed_run_left_is_not_told_as_the_holder(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire([PLACE], command="")
    holder = tmp_path / LOCK_FOLDER / "smoke~cluster_pu.json"
    holder.write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22 + 1, "began": 1, "command": "gone"}))
    with pytest.raises(RunLockedError) as caught:
        RunLock(tmp_path).acquire([PLACE], command="")
    assert "gone" not in str(caught.value)
    assert str(2**22 + 1) not in str(caught.value)
    lock.release()


def test_a_worker_of_a_run_that_has_ended_does_not_keep_its_lock(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire([PLACE], command="")
    context = multiprocessing.get_context("fork")
    may_end = context.Event()
    worker = context.Process(target=may_end.wait, args=(60,))
    worker.start()
    lock.release()
    try:
        again = RunLock(tmp_path)
        again.acquire([PLACE], command="the next")  # would be refused, had the worker inherited the lock
        assert worker.is_alive()
        with pytest.raises(RunLockedError, match="the next"):
            RunLock(tmp_path).acquire([PLACE], command="")
        again.release()
    finally:
        may_end.set()
        worker.join()


def test_a_file_system_without_locks_is_a_warning_and_no_wall(tmp_path, monkeypatch, caplog):
    import fcntl

    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with caplog.at_level(logging.WARNING, logger="skytrace.provenance.run_lock"):
        locks = [RunLock(tmp_path), RunLock(tmp_path)]
        for lock in locks:  # neither is the second refused: nothing of the first is left as a lock
            lock.acquire([PLACE], command="")
    assert len(caplog.records) == 2
    assert f"do not run another pipeline that writes to {PLACE}" in caplog.records[0].getMessage()


def double(x: dict) -> dict:
    return {"n": 2 * x["n"]}


@pytest.fixture
def project(tmp_path):
    """(pipeline, catalog): raw sky -> lens_finder.a -> injection_recovery.b, and one file elsewhere."""
    root = f"{tmp_path}/data"
    report = {"type": "json.JSONDataset"}
    catalog = ReleaseCatalog.from_config(
        {
            "survey": {"type": "skytrace.datasets.MockSurveyDataset", "filepath": f"{root}/01_raw/mock/survey"},
            "a": report | {"filepath": f"{root}/03_primary/mock/lens_finder/a.json"},
            "b": report | {"filepath": f"{root}/08_reporting/des/injection_recovery/b.json"},
            "c": report | {"filepath": f"{tmp_path}/shown/c.json"},
        }
    )
    nodes = [Node(double, "survey", "a", name="one"), Node(double, "a", "b", name="two"), Node(double, "b", "c")]
    return Pipeline(nodes), catalog


def test_places_are_sky_and_pipeline_of_what_is_written_and_raw_sky_that_is_to_be_made(project, tmp_path):
    pipeline, catalog = project
    whole = {"mock/survey", "mock/lens_finder", "des/injection_recovery", "shown"}
    assert places_written(pipeline, catalog, tmp_path) == whole
    assert places_written(pipeline.only_nodes("two"), catalog, tmp_path) == {"des/injection_recovery"}
    made = tmp_path / "data/01_raw/mock/survey"
    made.mkdir(parents=True)
    (made / "survey.json").write_text("{}")
    assert places_written(pipeline, catalog, tmp_path) == whole - {"mock/survey"}


def test_a_run_of_missing_outputs_locks_only_what_is_missing(project, tmp_path):
    pipeline, catalog = project
    for name in ("a", "b"):
        path = Path(str(catalog.get(name)._filepath))
        path.parent.mkdir(parents=True)
        path.write_text('{"n": 1}')
    hook = RunLockHook()
    hook._project = tmp_path
    params = {"env": "smoke", "only_missing_outputs": True}
    with another_process_holding(tmp_path, "des/injection_recovery"):
        hook.before_pipeline_run(params, pipeline, catalog)  # b is there: the other run is in nobody's way
        assert sorted(path.stem for path in (tmp_path / LOCK_FOLDER).glob("*.json")) == [
            "des~injection_recovery", "shown",
        ]  # fmt: skip
        hook.after_pipeline_run()
        assert not (tmp_path / LOCK_FOLDER / "shown.json").exists()
        with pytest.raises(RunLockedError, match="des/injection_recovery"):
            hook.before_pipeline_run({**params, "only_missing_outputs": False}, pipeline, catalog)


def test_a_failed_run_gives_its_locks_back(project, tmp_path):
    pipeline, catalog = project
    hook = RunLockHook()
    hook._project = tmp_path
    hook.before_pipeline_run({"env": None}, pipeline, catalog)
    with pytest.raises(RunLockedError):
        RunLock(tmp_path).acquire(["mock/lens_finder"], command="")
    hook.on_pipeline_error()
    RunLock(tmp_path).acquire(["mock/lens_finder"], command="")
