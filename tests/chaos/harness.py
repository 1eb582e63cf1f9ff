"""Kills at seeded random moments: a run is started, one of its processes is killed, and it is run again.

Then bytes are compared.

What is killed: the main process, a worker, or a scheduler of its own, of a step in shards (``chaos_work``); the main
process or a worker of ``kedro run``. Nothing waits for a fixed time but the random delay before a kill, and a run that
was over before its kill is thrown away and tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from tests.chaos import chaos_work

#: A busy machine with two cores is slow; a run that waits longer hangs.
LIMIT_S = 900.0
#: Of eight kills: whose, in turn. The first four are the short form.
TURNS = ("main", "worker", "scheduler", "kedro main", "worker", "main", "scheduler", "kedro worker")
_KEDRO = (
    "run", "--env", "smoke", "--pipelines", "cluster_pu", "--to-nodes", "cluster_pu.cut_fields",
    "--only-missing-outputs", "--params", "cluster_pu.shards.fields=2,cluster_pu.cluster.cluster=",
)  # fmt: skip
_CLUSTERS, _PIPELINE_SHARDS = 40, 20


@dataclass(frozen=True)
class Kill:
    """share: of the files of the step that are there when the victim is chosen; it dies ``delay_s`` later."""

    number: int
    victim: str
    share: float
    delay_s: float
    at_once: bool  # the next run begins before the orphans of the killed one have ended


@dataclass
class Outcome:
    """What one kill left, and what running again made of it."""

    kill: Kill
    tries: int = 0
    share: float = 0.0
    whole: int = 0
    partial: int = 0
    ended: str = ""
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        """One line of the table."""
        verdict = "identical" if not self.faults else "; ".join(self.faults)
        return (
            f"{self.kill.number:4d}  {self.kill.victim:12s}  {100 * self.share:5.0f} %  "
            f"{self.whole:3d} whole, {self.partial} partial  {self.ended:22s}  {verdict}"
        )


def plan_kills(kills: int, seed: int) -> list[Kill]:
    """The same kills for the same seed; a longer plan begins with the shorter one."""
    plan = []
    for number in range(kills):
        rng = np.random.default_rng([seed, number])
        share, delay, coin = rng.uniform(0.03, 0.9), rng.uniform(0.0, 0.06), rng.uniform()
        plan.append(Kill(number + 1, TURNS[number % len(TURNS)], float(share), float(delay), bool(coin < 0.5)))
    return plan


class Job:
    """A program that writes a known number of shards below ``shards``; ``outputs`` are compared."""

    total = chaos_work.SHARDS

    def __init__(self, folder: Path, repository: Path) -> None:
        self.folder = folder
        self.shards = folder / "out"
        self.repository = repository
        self.log = folder / "run.log"
        folder.mkdir(parents=True)

    def command(self, cluster: str) -> list[str]:
        """What runs it."""
        return [chaos_work.__file__, str(self.shards), cluster]

    @contextmanager
    def running(self, cluster: str = "inline") -> Iterator[subprocess.Popen]:
        """The run, in a process group of its own that does not outlive the block."""
        with _process(self.command(cluster), self.folder, self.repository, self.log) as process:
            yield process

    def finished(self) -> dict[str, Path]:
        """Shards that are there under their own names."""
        return {str(path.relative_to(self.shards)): path for path in self._below(self.shards) if not _hidden(path)}

    def partial(self) -> list[Path]:
        """Temporary files."""
        return [path for path in self._below(self.shards) if _hidden(path)]

    def outputs(self) -> dict[str, str]:
        """sha256 of every file that the run leaves, temporary ones too."""
        return {str(path.relative_to(self.shards)): _sha256(path) for path in self._below(self.shards)}

    @staticmethod
    def _below(folder: Path) -> list[Path]:
        return sorted(path for path in folder.rglob("*") if path.is_file())


class PipelineJob(Job):
    """``kedro run`` of the part of cluster_pu that cuts fields in shards, in a project of its own with few fields."""

    total = _PIPELINE_SHARDS

    def __init__(self, folder: Path, repository: Path) -> None:
        super().__init__(folder, repository)
        shutil.copytree(repository / "conf", folder / "conf")
        told = (folder / "conf/smoke/globals.yml").read_text()
        (folder / "conf/smoke/globals.yml").write_text(told.replace("n_clusters: 240", f"n_clusters: {_CLUSTERS}"))
        (folder / "src").mkdir()  # Kedro wants one; the package comes from the repository, what is compiled with it
        shutil.copy(repository / "pyproject.toml", folder)
        self.shards = folder / "data/02_intermediate/smoke/cluster_pu/shards"

    def command(self, cluster: str) -> list[str]:
        """The same line first and after a kill."""
        return ["-m", "kedro", *_KEDRO[:-1], _KEDRO[-1] + cluster]

    def outputs(self) -> dict[str, str]:
        """All files of data but locks and manifests, which tell of times and processes."""
        data = self.folder / "data"
        return {
            str(path.relative_to(data)): _sha256(path)
            for path in self._below(data)
            if ".locks" not in path.parts and "manifests" not in path.parts
        }


def carry_out(kill: Kill, make: Callable[[int], Job], reference: dict[str, str]) -> Outcome:
    """Kill, look, run again, compare. make: a job in a new folder, by the number of the try."""
    outcome = Outcome(kill)
    for attempt in range(6):
        outcome.tries = attempt + 1
        job = make(attempt)
        with _cluster(kill, job) as (scheduler, address), job.running(address) as process:
            victim = _await_victim(kill, job, process, scheduler, kill.share * 0.6**attempt)
            if victim is None or not _strike(victim, job, outcome):
                continue
            _judge_end(kill, process, job, outcome)
            if not kill.at_once:
                _await(partial(_alone, process.pid), "the orphans of a killed run to end")
            _look(job, reference, outcome)
            _run_again(job, reference, outcome)
        return outcome
    raise AssertionError(f"kill {kill.number} came too late {outcome.tries} times: the step is too short")


def undisturbed(job: Job) -> dict[str, str]:
    """The outputs of a run that nobody kills."""
    with job.running() as process:
        code = process.wait(LIMIT_S)
    assert code == 0, job.log.read_text()
    return job.outputs()


def _await_victim(
    kill: Kill, job: Job, process: subprocess.Popen, scheduler: subprocess.Popen | None, share: float
) -> psutil.Process | None:
    """Who is to die, once ``share`` of the work is done; None where the run was over first."""
    wanted = max(1, int(share * job.total))
    _await(lambda: len(job.finished()) >= wanted or process.poll() is not None, f"{wanted} shards")
    time.sleep(kill.delay_s)
    if process.poll() is not None:
        return None
    if scheduler is not None:
        return psutil.Process(scheduler.pid)
    if kill.victim.endswith("worker"):
        found: list[psutil.Process] = []

        def one_is_there() -> bool:
            found[:] = _workers(process.pid)
            return bool(found) or process.poll() is not None

        _await(one_is_there, "a worker")  # between two steps there are none for a while
        return found[kill.number % len(found)] if found else None
    return psutil.Process(process.pid)


def _strike(victim: psutil.Process, job: Job, outcome: Outcome) -> bool:
    """Kill; False where there was nothing left to kill, or to do."""
    try:
        victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    done = len(job.finished())
    outcome.share, outcome.whole, outcome.partial = done / job.total, done, len(job.partial())
    return done < job.total


def _judge_end(kill: Kill, process: subprocess.Popen, job: Job, outcome: Outcome) -> None:
    """What the run itself made of the kill: a worker is replaced, a scheduler's end is an error in words."""
    code = process.wait(LIMIT_S)
    said = job.log.read_text(errors="replace")
    if kill.victim.endswith("main"):
        outcome.ended = f"exit code {code}"
        if code != -signal.SIGKILL:
            outcome.faults.append(f"the killed run ended with {code}")
    elif kill.victim.endswith("worker"):
        outcome.ended = "went on by itself" if code == 0 else f"exit code {code}"
        if code != 0:
            outcome.faults.append(f"a killed worker ended the run with {code}: {said[-2000:]}")
    else:
        told = "ShardError: the scheduler" in said and "running again computes the rest" in said
        outcome.ended = "an error that says so" if told else f"exit code {code}"
        if code == 0 or not told:
            outcome.faults.append(f"a killed scheduler ended the run with {code}: {said[-2000:]}")


def _look(job: Job, reference: dict[str, str], outcome: Outcome) -> None:
    """Every file that is there under its own name is the file of the undisturbed run."""
    for name, digest in job.outputs().items():
        if not _hidden(Path(name)) and reference.get(name) != digest:
            outcome.faults.append(f"{name} was there and was not whole")


def _run_again(job: Job, reference: dict[str, str], outcome: Outcome) -> None:
    before = {name: path.stat().st_mtime_ns for name, path in job.finished().items()}
    for _ in range(2):
        with job.running() as process:
            code = process.wait(LIMIT_S)
        if code != 0:
            outcome.faults.append(f"running again ended with {code}: {job.log.read_text()[-2000:]}")
            return
        if not job.partial():  # else one of an orphan that was still writing when this run began: the next takes it
            break
    after = {name: path.stat().st_mtime_ns for name, path in job.finished().items() if name in before}
    # an orphan that outlived its run by a moment may have renamed the same bytes over a file
    if not outcome.kill.at_once and after != before:
        outcome.faults.append("finished shards were computed again")
    made = job.outputs()
    wrong = sorted(name for name in made.keys() | reference.keys() if made.get(name) != reference.get(name))
    if wrong:
        outcome.faults.append(f"{len(wrong)} files differ, the first is {wrong[0]}")


@contextmanager
def _cluster(kill: Kill, job: Job) -> Iterator[tuple[subprocess.Popen | None, str]]:
    """(the process of a scheduler with two workers, its address) where that is what dies; else nothing and where the
    shards are computed: in processes, or in the main process where that is the one to die.
    """
    if kill.victim != "scheduler":
        yield None, "inline" if kill.victim == "kedro main" else "local"
        return
    told, log = job.folder / "scheduler.json", job.folder / "cluster.log"
    plain = ["--no-dashboard", "--scheduler-file", str(told)]
    serve = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *plain]
    with _process(serve, job.folder, job.repository, log) as scheduler:
        _await(lambda: told.exists() and told.read_text().endswith("}"), "a scheduler")
        work = ["-m", "distributed.cli.dask_worker", "--nworkers", str(chaos_work.WORKERS), "--nthreads", "1", *plain]
        with _process(work, job.folder, job.repository, log):
            yield scheduler, json.loads(told.read_text())["address"]


@contextmanager
def _process(arguments: list[str], folder: Path, repository: Path, log: Path) -> Iterator[subprocess.Popen]:
    root = Path(__file__).resolve().parents[2]
    environment = {
        **os.environ, "PYTHONPATH": f"{repository / 'src'}:{root}", "KEDRO_RELEASE": "0001", "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    environment.pop("DVC_STAGE", None)
    with log.open("w") as words:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=words, stderr=words,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            for member in _group(process.pid):
                member.kill()
            process.wait()


def _alone(pid: int) -> bool:
    return not [member for member in _group(pid) if member.pid != pid]


def _group(pid: int) -> list[psutil.Process]:
    """Processes of the group that ``pid`` leads, or led."""
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            mine = os.getpgid(process.pid) == pid
        except ProcessLookupError:
            continue
        if mine and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def _workers(pid: int) -> list[psutil.Process]:
    """Dask's worker processes below the main process."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return sorted((child for child in children if "spawn_main" in " ".join(child.cmdline())), key=lambda c: c.pid)
    except psutil.Error:
        return []


def _await(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {LIMIT_S:g} s for {what}")
        time.sleep(0.002)


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:  # a temporary file whose writer has just renamed it
        return ""
