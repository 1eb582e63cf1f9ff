"""Shards come out with the same bytes however, and however often, they are computed."""

import dataclasses
import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skytrace.compute import ClusterOptions, load_npz, map_shards
from skytrace.errors import OptionError, ShardError
from tests.compute import shard_work
from tests.compute.shard_work import Counted, Shard, draw, draw_or_die, shards_in


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("one_thread")
    map_shards(draw, shards_in(folder), workers=1)
    return _bytes(folder)


def test_two_threads_give_the_bytes_of_one(tmp_path, reference):
    paths = map_shards(draw, shards_in(tmp_path), workers=2)
    assert [path.name for path in paths] == sorted(reference)
    assert _bytes(tmp_path) == reference


def test_two_processes_give_the_bytes_of_one_thread(tmp_path, reference):
    environment = dict(os.environ)
    map_shards(draw, shards_in(tmp_path), cluster="local", workers=2)
    assert not logging.getLogger("distributed").isEnabledFor(logging.INFO)  # no line for every connection
    assert _bytes(tmp_path) == reference
    assert dict(os.environ) == environment, "the workers' settings stayed behind in this process"


def test_what_the_function_holds_travels_once_to_a_worker_and_not_with_every_shard(tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    map_shards(Counted(notes), shards_in(tmp_path / "shards", 40), cluster="local", workers=2)
    assert len(list((tmp_path / "shards").glob("*.npz"))) == 40
    assert 1 <= len(list(notes.glob("unpacked-*"))) <= 4  # where it is first needed, and by the other worker
    assert len(list(notes.glob("packed-*"))) <= 4


def test_killing_a_worker_process_changes_no_byte(tmp_path, reference):
    map_shards(draw_or_die, shards_in(tmp_path), cluster="local", workers=2)
    assert (tmp_path / "killed").exists()
    assert _bytes(tmp_path) == reference


def test_a_scheduler_is_reached_by_its_address(tmp_path, reference):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp"
    ) as running:
        map_shards(draw, shards_in(tmp_path), cluster=running.scheduler_address)
    assert _bytes(tmp_path) == reference


def test_kill_9_of_the_program_is_resumed_to_the_same_bytes(tmp_path, reference, repository):
    environment = {**os.environ, "PYTHONPATH": f"{repository / 'src'}:{repository}"}
    killed = subprocess.run([sys.executable, shard_work.__file__, tmp_path], env=environment, check=False)
    assert killed.returncode == -9
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*.npz")}
    assert sorted(before) == [f"{number:03d}.npz" for number in range(5)]
    map_shards(draw, shards_in(tmp_path))
    assert _bytes(tmp_path) == reference
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before, "finished shards were redone"
    assert list(tmp_path.glob(".*")) == [], "the half-written file of the killed program is still there"


def test_a_full_disk_names_the_file_keeps_what_is_whole_and_resumes(tmp_path, reference, monkeypatch):
    import zipfile

    opened = zipfile.ZipFile.open
    room = {"members": 7}

    def open_on_a_small_disk(self, name, mode="r", **kwargs):
        if mode == "w":
            room["members"] -= 1
            if room["members"] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, name, mode, **kwargs)

    monkeypatch.setattr(zipfile.ZipFile, "open", open_on_a_small_disk)
    with pytest.raises(ShardError, match=r"no space left on the disk while writing .*003\.npz.* 3 of 12 shards"):
        map_shards(draw, shards_in(tmp_path), workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.npz", "001.npz", "002.npz"]
    monkeypatch.undo()
    map_shards(draw, shards_in(tmp_path), workers=1)
    assert _bytes(tmp_path) == reference


def test_a_really_exhausted_file_size_is_reported_as_a_full_disk(tmp_path, repository):
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "from skytrace.compute import map_shards; from tests.compute.shard_work import draw, shards_in\n"
        "map_shards(draw, shards_in(Path(sys.argv[1])), workers=1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{repository / 'src'}:{repository}"}
    command = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "ShardError: no space left on the disk while writing" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_error_says_in_which_shard_and_what_is_kept(tmp_path):
    def fail_on_three(shard: Shard) -> Path:
        if shard.number == 3:
            raise ValueError("a star in the way")
        return draw(shard)

    with pytest.raises(ValueError, match="a star in the way") as caught:
        map_shards(fail_on_three, shards_in(tmp_path), workers=1)
    assert "003.npz" in caught.value.__notes__[0]
    assert "3 of 12 shards are complete and kept" in caught.value.__notes__[0]


def test_an_error_in_a_worker_process_comes_back_as_itself(tmp_path):
    with pytest.raises(ZeroDivisionError):
        map_shards(divide, shards_in(tmp_path, 3), cluster="local", workers=1)


def divide(shard: Shard) -> Path:
    return shard.path / str(1 // 0)


def test_nothing_is_computed_where_everything_is_there(tmp_path, caplog):
    map_shards(draw, shards_in(tmp_path, 3))
    with caplog.at_level(logging.INFO):
        paths = map_shards(divide, shards_in(tmp_path, 3), cluster="tcp://127.0.0.1:1")
    assert load_npz(paths[2])["mask"].sum() == 0


def test_two_shards_of_one_path_are_refused(tmp_path):
    with pytest.raises(ShardError, match="more than one shard"):
        map_shards(draw, [Shard(tmp_path / "a.npz", 0), Shard(tmp_path / "a.npz", 1)])


def test_a_function_that_writes_nothing_is_found_out(tmp_path):
    with pytest.raises(ShardError, match="left no file"):
        map_shards(lambda shard: shard.path, shards_in(tmp_path, 1))


@pytest.mark.parametrize("cluster", ["locl", "tcp://host", "http://host:80", ""])
def test_a_misspelt_cluster_is_named(cluster):
    with pytest.raises(OptionError, match=r"cluster = .* is not one of inline, local, slurm"):
        ClusterOptions(cluster=cluster)


def test_slurm_jobs_ask_for_what_the_options_say_and_run_one_thread_a_worker():
    from skytrace.compute.clusters import slurm_cluster

    options = ClusterOptions(
        cluster="slurm", workers=64, workers_per_job=8, memory_per_job="16GB", walltime="00:30:00",
        queue="regular", account="m1234", job_directives=("-C cpu",), job_prologue=("module load python",),
    )  # fmt: skip
    with slurm_cluster(options) as cluster:
        script = cluster.job_script()
    for line in (
        "#SBATCH -J skytrace", "#SBATCH -p regular", "#SBATCH -A m1234", "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=15G", "#SBATCH -t 00:30:00", "#SBATCH -C cpu", "module load python", "export OMP_NUM_THREADS=1",
    ):  # fmt: skip
        assert line in script.splitlines(), script
    assert "--nworkers 8 " in script
    assert "--nthreads 1 " in script
    assert script.index("module load python") < script.index("export OMP_NUM_THREADS=1") < script.index(sys.executable)


def test_a_users_own_jobqueue_file_gives_what_the_options_leave_open_and_nothing_else():
    import dask

    from skytrace.compute.clusters import slurm_cluster

    theirs = {"queue": "debug", "account": "a1", "memory": "99GB", "walltime": "09:09:09", "cores": 99, "processes": 9}
    with (
        dask.config.set({f"jobqueue.slurm.{key}": value for key, value in theirs.items()}),
        slurm_cluster(ClusterOptions(cluster="slurm")) as cluster,
    ):
        lines = cluster.job_script().splitlines()
    for line in ("#SBATCH -p debug", "#SBATCH -A a1", "#SBATCH --cpus-per-task=1", "#SBATCH --mem=4G",
                 "#SBATCH -t 02:00:00"):  # fmt: skip
        assert line in lines, lines


def test_the_page_on_scale_names_every_option_of_a_cluster_with_its_default(repository):
    page = (repository / "docs/scale.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    told = {name.strip("` "): default.strip("` ") for names, default in rows for name in names.split(",")}
    for field in dataclasses.fields(ClusterOptions):
        if field.name != "cluster":
            words = {None: "null", (): "none"}
            assert told[field.name] == words.get(field.default, str(field.default)), field.name
    assert {"local", "slurm", "inline` (default)"} <= set(told)
