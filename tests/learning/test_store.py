import subprocess
import sys

import numpy as np
import pytest

from skytrace.compute import fingerprint, save_npz
from skytrace.errors import PixelError, ShardError
from skytrace.learning import score_stamps
from skytrace.learning.labelled import LabelledStamps
from skytrace.learning.store import StampStore, write_stamp_shards
from skytrace.learning.training import train_detector
from tests.learning.test_training import TINY, same_bytes


@pytest.fixture(scope="module")
def stamps():
    return np.random.default_rng(0).normal(size=(103, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def store(stamps, tmp_path):
    return write_stamp_shards(tmp_path, np.array_split(stamps, [5, 60, 61]), rows_per_shard=20)


def test_a_store_is_indexed_like_the_array_it_was_written_from(store, stamps):
    assert len(store.shards) == 6
    assert (store.shape, len(store), store.dtype) == (stamps.shape, 103, np.float32)
    rows = np.random.default_rng(1).integers(0, 103, 64)  # with repetitions
    np.testing.assert_array_equal(store.take(rows), stamps[rows])
    for index in (slice(15, 47), slice(90, 500), np.arange(103) % 3 == 0, np.array([-1, 0]), slice(0, 0), 41):
        np.testing.assert_array_equal(store[index], stamps[index])


def test_a_selection_of_a_selection_reads_the_rows_that_were_meant(store, stamps):
    rows = np.random.default_rng(2).permutation(103)[:70]
    chosen = store.select(rows).select(np.arange(70)[::-3])
    np.testing.assert_array_equal(chosen[:], stamps[rows][::-3])
    assert chosen.sha256 == fingerprint(stamps[rows][::-3].copy(), length=64)


def test_the_hash_is_that_of_the_array(store, stamps):
    assert store.sha256 == fingerprint(stamps, length=64)


def test_shards_repeat_their_bytes(store, stamps, tmp_path):
    write_stamp_shards(tmp_path / "again", [stamps], rows_per_shard=20)
    for shard in store.shards:
        assert shard.path.read_bytes() == (tmp_path / "again" / shard.path.name).read_bytes()


def test_half_precision_takes_half_the_space_and_rounds_by_a_two_thousandth(stamps, tmp_path):
    half = write_stamp_shards(tmp_path / "half", [stamps], rows_per_shard=103, dtype="float16")
    assert half.shards[0].path.stat().st_size < stamps.nbytes / 2 + 500
    np.testing.assert_array_equal(half[:], stamps.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(half[:], stamps, rtol=2**-11, atol=1e-7)
    with pytest.raises(PixelError, match="float16"):
        write_stamp_shards(tmp_path / "x", [stamps * 1e6], dtype="float16")


def test_an_array_inside_any_npz_or_npy_is_read_in_place(stamps, tmp_path):
    ids = np.arange(103).astype(str)
    save_npz(tmp_path / "stamps.npz", galaxy_id=ids, stamps=stamps, later=ids)
    np.save(tmp_path / "stamps.npy", stamps)
    both = StampStore.open([tmp_path / "stamps.npz", tmp_path / "stamps.npy"])
    np.testing.assert_array_equal(both[:], np.concatenate([stamps, stamps]))


def test_unusable_shards_are_named(store, stamps, tmp_path):
    path = store.shards[1].path
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ShardError, match=r"shard-00001\.npz"):
        StampStore.open([path])
    with pytest.raises(ShardError, match="ends before"):
        store[:]
    save_npz(tmp_path / "deflated.npz", stamps=stamps, compress=["stamps"])
    with pytest.raises(ShardError, match="compressed"):
        StampStore.open([tmp_path / "deflated.npz"])
    save_npz(tmp_path / "ids.npz", galaxy_id=np.arange(3))
    with pytest.raises(ShardError, match="stamps"):
        StampStore.open([tmp_path / "ids.npz"])
    np.save(tmp_path / "flat.npy", stamps[0])
    with pytest.raises(PixelError, match="band, y, x"):
        StampStore.open([tmp_path / "flat.npy"])
    with pytest.raises(ShardError, match="missing"):
        StampStore.open([tmp_path / "nothing.npz"])
    with pytest.raises(PixelError, match="store of 103"):
        store.take(np.array([103]))


def test_training_and_scoring_from_disk_give_the_bytes_that_they_give_from_memory(training, validation, tmp_path):
    stores = [
        write_stamp_shards(tmp_path / name, [sample.stamps], rows_per_shard=32)
        for name, sample in (("t", training), ("v", validation))
    ]
    on_disk = [
        LabelledStamps(store, sample.labels, is_confuser=sample.is_confuser)
        for store, sample in zip(stores, (training, validation), strict=True)
    ]
    from_disk, history = train_detector(*on_disk, options=TINY, checkpoint_folder=tmp_path / "checkpoints")
    from_memory, expected = train_detector(training, validation, options=TINY)
    assert same_bytes(from_disk, from_memory)
    assert history == expected
    assert from_disk.card == from_memory.card
    np.testing.assert_array_equal(score_stamps(from_disk, stores[1]), score_stamps(from_disk, validation.stamps))


def test_a_pixel_that_is_not_finite_is_found_before_training(training, validation, tmp_path):
    broken = training.stamps.copy()
    broken[77, 1, 5, 5] = np.inf
    store = write_stamp_shards(tmp_path, [broken], rows_per_shard=50)
    with pytest.raises(PixelError, match="stamp 77"):
        train_detector(LabelledStamps(store, training.labels), validation, options=TINY)


SURVEY = """
import sys
import numpy as np
from skytrace.learning import TrainingOptions, score_stamps
from skytrace.learning.labelled import LabelledStamps
from skytrace.learning.stream import BalancedStream
from skytrace.learning.store import StampStore
from skytrace.learning.training import train_detector
labels = (np.arange(416_449) % 101 == 0).astype(np.int64)
survey = LabelledStamps(StampStore.open([sys.argv[1]]), labels)
stream = BalancedStream(survey.labels, survey.is_confuser, 32, 0.5, 0.15, 1)
for step in range(50):
    assert survey.stamps[stream.batch(step)].shape == (32, 3, 101, 101)
options = TrainingOptions(epochs=1, images_per_epoch=16, batch_size=8, threads=1)
few = LabelledStamps(survey.stamps.select(np.arange(32)), np.arange(32) % 2)
peaks = []
for rows in (np.arange(32), np.arange(0, 416_449, 70)):
    training = LabelledStamps(survey.stamps.select(rows), np.arange(len(rows)) % 2)
    detector, _ = train_detector(training, few, options=options)
    score_stamps(detector, training.stamps.select(np.arange(32)))
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peaks.append(int(status["VmHWM"].split()[0]) / 1024)  # ru_maxrss would be the parent's, if that is larger
print(len(rows) * 3 * 101 * 101 * 4 / 2**20, *peaks)
"""


def test_memory_does_not_grow_with_the_sample(tmp_path, repository):
    """416,449 stamps of 101 px are 47 GiB as float32: here a sparse file, of which training goes through 0.7 GiB."""
    path = tmp_path / "survey.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(416_449, 3, 101, 101))
    environment = {"PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1", "PATH": ""}
    environment["MALLOC_MMAP_THRESHOLD_"] = "1048576"  # large blocks go back at once: the peak is of what was held
    done = subprocess.run(
        [sys.executable, "-c", SURVEY, str(path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    gone_through_mb, few_mb, many_mb = map(float, done.stdout.split())
    assert gone_through_mb > 690
    # Held in memory, the sample alone would be gone_through_mb; allocators vary by 160 MB between machines.
    assert many_mb - few_mb < 0.4 * gone_through_mb, f"peak {many_mb:.0f} MB, after 32 stamps {few_mb:.0f} MB"
    assert many_mb < 2000
