"""Files appear whole or not at all, and their bytes depend on their content alone."""

import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions, atomic_path, fingerprint, load_npz, progress, save_npz
from skytrace.compute.files import atomic_folder, remove_abandoned
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.errors import ShardError


def test_an_error_leaves_the_older_file_as_it_was(tmp_path):
    target = tmp_path / "deep" / "table.csv"
    with atomic_path(target) as partial:
        partial.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as partial:
        partial.write_text("ne")
        assert partial.suffix == ".csv"
        assert partial.parent == target.parent
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["table.csv"]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "crate"
    with pytest.raises(RuntimeError), atomic_folder(target) as partial:
        (partial / "inner").mkdir()
        (partial / "inner/a.txt").write_text("half")
        assert partial.parent == target.parent and partial.name.startswith(".")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with atomic_folder(target) as partial:
        (partial / "a.txt").write_text("whole")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["crate"]
    with pytest.raises(OSError, match="crate"), atomic_folder(target) as partial:
        (partial / "a.txt").write_text("another")
    assert (target / "a.txt").read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["crate"]


_KILLED = """
import os, pathlib, sys
from skytrace.compute.files import atomic_folder
with atomic_folder(pathlib.Path(sys.argv[1]) / "crate") as partial:
    (partial / "a.txt").write_text("half")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_folder_of_a_killed_process_is_no_folder_and_is_swept(tmp_path):
    subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".crate.") and (left / "a.txt").read_text() == "half"
    (tmp_path / "kept").mkdir()
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_npz_bytes_do_not_depend_on_the_clock(tmp_path):
    arrays = {"image": np.arange(12.0).reshape(3, 4).T, "invvar": np.ones((50, 50), np.float32)}
    first = save_npz(tmp_path / "a.npz", compress=("invvar",), **arrays).read_bytes()
    time.sleep(2.1)  # a zip member's time has a resolution of two seconds
    assert save_npz(tmp_path / "b.npz", compress=("invvar",), **arrays).read_bytes() == first
    assert len(first) < 2000, "invvar was not deflated"


def test_npz_gives_back_what_it_was_given(tmp_path):
    arrays = {
        "galaxy_id": pd.Series(["mock-1", "møck-22"]).to_numpy(),
        "stamps": np.random.default_rng(1).normal(size=(2, 3, 5, 5)).astype(np.float32),
        "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "scalar": np.float64(2.5),
    }
    loaded = load_npz(save_npz(tmp_path / "a.npz", **arrays))
    assert list(loaded) == list(arrays)
    assert loaded["galaxy_id"].tolist() == ["mock-1", "møck-22"]
    for name in ("stamps", "transposed", "scalar"):
        assert loaded[name].dtype == arrays[name].dtype
        np.testing.assert_array_equal(loaded[name], arrays[name])


def test_npz_never_pickles(tmp_path):
    with pytest.raises(ShardError, match="array 'psf' holds Python objects"):
        save_npz(tmp_path / "a.npz", psf=np.array([{"beta": 2.5}], object))
    np.savez(tmp_path / "evil.npz", a=np.array([{"beta": 2.5}], object))
    with pytest.raises(ShardError, match="not a whole npz of plain arrays"):
        load_npz(tmp_path / "evil.npz")


def test_a_truncated_npz_is_named(tmp_path):
    path = save_npz(tmp_path / "a.npz", a=np.ones(1000))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ShardError, match=r"a\.npz is not a whole npz"):
        load_npz(path)


def test_fingerprints_agree_between_processes_and_differ_between_inputs():
    values = [1, 1.0, "1", None, True, (1, 2), {"a": 1}, np.arange(3), np.arange(3.0), ClusterOptions(),
              ClusterOptions(workers=3), pd.DataFrame({"id": ["a"]}), pd.DataFrame({"id": ["b"]})]  # fmt: skip
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    program = "from skytrace.compute import fingerprint; print(fingerprint('a', (1, 2.5), {'k': None}))"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == fingerprint("a", (1, 2.5), {"k": None})


ONE_THREAD = """
import threading, time
import numpy, scipy.linalg
from threadpoolctl import threadpool_info
from skytrace.compute import single_threaded

def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

before, inside = blas_threads(), []

def work(seconds):
    with single_threaded():
        time.sleep(seconds)
        inside.append(blas_threads())

workers = [threading.Thread(target=work, args=(0.05 * k,)) for k in range(1, 4)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
assert before and inside == [[1] * len(before)] * 3, inside
assert blas_threads() == before
"""


def test_one_thread_inside_and_the_former_number_after_from_several_threads_at_once():
    # in a process of its own: what other tests have loaded or limited must not matter
    done = subprocess.run([sys.executable, "-c", ONE_THREAD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_progress_counts_and_passes_items_on():
    bar = progress(["a", "b", "c"], "letters")
    assert list(bar) == ["a", "b", "c"]
    assert bar.done == len(bar) == 3
    with progress(10, "cells") as outer:
        outer.advance(4)
        list(progress(iter("xy"), "unknown length"))
        assert outer.done == 4


def test_a_changed_source_gives_another_fingerprint(tmp_path, monkeypatch):
    package = tmp_path / "measured_here" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_fingerprint("measured_here")
    assert source_fingerprint("measured_here") == before
    (package / "__init__.py").write_text("x = 1")
    assert source_fingerprint("measured_here") != before
    with pytest.raises(ModuleNotFoundError, match="not_a_package_at_all"):
        source_fingerprint("not_a_package_at_all")
