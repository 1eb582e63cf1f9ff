"""A full disk, a bit that flipped, a right that was taken away: named, nothing half under a final name, and mended.

The disk is a real one of 2 MB (a tmpfs in a mount namespace of its own, which needs no root where user namespaces are
allowed; else the test skips). Root may read and write everything, so a child process becomes another user first.
Truncated files and a killed writer are in test_files.py, test_shards.py and tests/pipelines.
"""

import logging
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.emoji import Emoji

from skytrace.compute import atomic_path, load_npz, map_shards, save_npz
from skytrace.compute.arrays import is_whole_npz
from skytrace.compute.files import remove_abandoned
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.errors import AccessError, ShardError
from tests.chaos.chaos_work import compute, shards_in

NOBODY = 65534
SMALL_DISK = """
import hashlib, sys
from pathlib import Path
from skytrace.compute import map_shards
from skytrace.errors import ShardError
from tests.chaos.chaos_work import compute, shards_in

disk, number = Path(sys.argv[1]), int(sys.argv[2])
shards = shards_in(disk / "out")[:number]
ballast = disk / "ballast"
ballast.write_bytes(bytes(int(sys.argv[3])))
try:
    map_shards(compute, shards, workers=1)
except ShardError as error:
    print("said", error)
print("left", *sorted(path.name for path in (disk / "out").iterdir()))
ballast.unlink()
for path in map_shards(compute, shards, workers=1):
    print("made", path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


# a pixel shard takes 263 kB, a table shard 171 kB or more: the ballast leaves room for 2 or for 3 of them and a bit
@pytest.mark.parametrize(("ballast", "left"), [(1_450_000, 2), (1_150_000, 3)], ids=["in an npz", "in a parquet"])
def test_a_full_disk_is_named_leaves_nothing_half_and_a_rerun_gives_the_same_bytes(tmp_path, repository, ballast, left):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=2m tmpfs "$1" && shift && exec "$@"'
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(disk)]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace of our own on this machine, so no small disk")
    environment = {**os.environ, "PYTHONPATH": f"{repository / 'src'}:{repository}"}
    command = [*namespace, sys.executable, "-c", SMALL_DISK, str(disk), "4", str(ballast)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = [shard.path.name for shard in shards_in(disk)][:4]
    said, kept, *made = done.stdout.splitlines()
    assert said.startswith(f"said no space left on the disk while writing {disk / 'out' / names[left]}")
    assert f"{left} of 4 shards are complete and kept; running again computes the rest" in said
    assert kept.split() == ["left", *names[:left]]
    undisturbed = map_shards(compute, shards_in(tmp_path / "whole")[:4], workers=1)
    assert made == [f"made {path.name} {_sha256(path)}" for path in undisturbed]


@pytest.mark.parametrize("compress", [(), ("mask",)], ids=["stored", "deflated"])
def test_no_flipped_bit_of_an_npz_is_read_as_other_arrays(tmp_path, compress):
    path = save_npz(
        tmp_path / "a.npz", pixels=np.arange(60.0).reshape(6, 10), mask=np.zeros((64, 64), np.int32), compress=compress
    )
    whole, content = load_npz(path), path.read_bytes()
    every = range(0, 8 * len(content), 1 if compress else 13)
    for place in every:
        _flip(path, content, place)
        try:
            found = load_npz(path)
        except ShardError as error:
            assert str(path) in str(error) and "delete it and run again" in str(error)
            continue
        assert list(found) == list(whole), f"bit {place}"
        for name in whole:
            assert found[name].dtype == whole[name].dtype and np.array_equal(found[name], whole[name]), f"bit {place}"


def test_no_flipped_bit_of_a_table_shard_is_read_as_another_table(tmp_path):
    table = pd.DataFrame({"id": ["a", "b", "c"], "flux": [1.5, np.nan, -2.0], "n": [1, 2, 3]})
    path = tmp_path / "a.parquet"
    save_shard(table, path)
    content = path.read_bytes()
    refused = 0
    for place in range(0, 8 * len(content), 37):
        _flip(path, content, place)
        try:
            found = read_shard(path)
        except ShardError as error:
            assert str(path) in str(error) and "delete it and run again" in str(error)
            refused += 1
            continue
        pd.testing.assert_frame_equal(found, table, check_exact=True, obj=f"bit {place}")
    assert refused > 100


def test_a_folder_that_may_not_be_written_to_is_named_and_the_rest_is_computed_once_it_may(tmp_path):
    undisturbed = {path.name: path.read_bytes() for path in map_shards(compute, shards_in(tmp_path / "whole")[:4])}
    assert _said_by_nobody(_write_to_a_locked_folder, undisturbed) == ""


def _write_to_a_locked_folder(folder: Path, undisturbed: dict[str, bytes]) -> None:
    shards = shards_in(folder / "out")[:4]
    map_shards(compute, shards[:2], workers=1)
    (folder / "out").chmod(0o555)
    with pytest.raises(AccessError, match=r"002\.npz may not be written.* give it that right and run again") as caught:
        map_shards(compute, shards, workers=1)
    assert "2 of 4 shards are complete and kept" in caught.value.__notes__[0]
    with pytest.raises(AccessError, match=r"x\.json may not be written"), atomic_path(folder / "out/deeper/x.json"):
        pass
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["000.npz", "001.npz"]
    (folder / "out").chmod(0o755)
    map_shards(compute, shards, workers=1)
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == undisturbed


def test_a_shard_that_may_not_be_read_is_no_damaged_one_and_is_not_computed_again():
    assert _said_by_nobody(_read_a_locked_file) == ""


def _read_a_locked_file(folder: Path) -> None:
    pixels, _, _, table = map_shards(compute, shards_in(folder)[:4], workers=1)
    for path, read, whole in ((pixels, load_npz, is_whole_npz), (table, read_shard, is_whole)):
        content, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
        path.chmod(0)
        asked: tuple[Callable, ...] = (read, whole)  # who finds a shard not whole deletes it
        for ask in asked:
            with pytest.raises(AccessError, match=rf"{path.name} may not be read by this user; give it that right"):
                ask(path)
        path.chmod(mode)
        assert whole(path) and path.read_bytes() == content


def test_what_a_killed_worker_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])  # nobody asks how it ended: its number stays taken
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    host = os.uname().nodename
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f".000.npz.{host}-{pid}-1.partial.npz").write_bytes(b"half")
    for name in (f".000.npz.elsewhere-{ended.pid}-1.partial.npz", f"000.npz.{host}-{ended.pid}-1.partial.npz"):
        (tmp_path / name).write_bytes(b"not ours")
    before = {path.name for path in tmp_path.iterdir()}
    remove_abandoned(tmp_path)
    assert before - {path.name for path in tmp_path.iterdir()} == {f".000.npz.{host}-{ended.pid}-1.partial.npz"}
    ended.wait()
    (gone := tmp_path / f".001.npz.{host}-{ended.pid}-1.partial.npz").write_bytes(b"half")
    map_shards(compute, shards_in(tmp_path)[:1], workers=1)  # 001 is not among them: all of the folder is swept
    assert not gone.exists()
    remove_abandoned(tmp_path / "no folder")


def _flip(path: Path, content: bytes, bit: int) -> None:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(changed)


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load_libraries(folder: Path) -> None:
    """Everything that the checks import when they first compute, write, read and refuse."""
    paths = map_shards(compute, shards_in(folder)[:4], workers=1)
    assert is_whole_npz(paths[0]) and is_whole(paths[3]) and load_npz(paths[0]) and len(read_shard(paths[3]))
    for path in paths:
        path.write_bytes(path.read_bytes()[:-10])
    assert not (is_whole_npz(paths[0]) or is_whole(paths[3]))
    (folder / "in the way").touch()
    with pytest.raises(OSError, match="in the way"), atomic_path(folder / "in the way" / "x.npz"):
        pass
    with pytest.raises(ShardError, match="belong to more than one shard"):
        map_shards(compute, [*shards_in(folder)[:1]] * 2, workers=1)
    shutil.rmtree(folder)
    Emoji.replace(":star:")  # what a line of the log needs, where a run has set up its handlers before
    logging.getLogger("skytrace").warning("the libraries of the checks are loaded")


def _said_by_nobody(check: Callable[..., None], *arguments: object) -> str:
    """Call check(folder, ...) in a process of a user whom modes bind; its error in words, "" where it has none."""
    folder = Path(tempfile.mkdtemp())
    told, tell = multiprocessing.Pipe(duplex=False)
    _load_libraries(folder / "loaded")  # while this process may read them: the other user sees none of our home

    def child() -> None:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        try:
            check(folder, *arguments)
            tell.send("")
        except BaseException as error:
            tell.send(f"{type(error).__name__}: {error}")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    try:
        assert told.poll(120), "the other user's process says nothing"
        return told.recv()
    finally:
        process.join()
        shutil.rmtree(folder, ignore_errors=True)
