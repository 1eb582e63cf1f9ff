"""Cutting stamps: killed and resumed to the same bytes, refused cutouts set aside, never another sky's shards."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import CatalogueError, OptionError, PixelError, SurveyError
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.quality import QualityOptions
from skytrace.pipelines.lens_finder.cutouts import Cutting, cut
from skytrace.pipelines.lens_finder.options import CutoutOptions
from skytrace.surveys.mock import MockSurvey, MockSurveyOptions

N, CHUNK = 130, 10


def survey_in(folder: Path) -> MockSurvey:
    return MockSurvey(folder, MockSurveyOptions(n_galaxies=N, threads=1))


def cutting_of(survey, scratch: Path, *, rows: int = N, **options) -> Cutting:
    sample = survey_in(survey.folder).galaxies().iloc[:rows]
    cutouts = CutoutOptions(chunk=CHUNK, scratch_folder=str(scratch), **options)
    return Cutting(survey, sample, PreprocessOptions(), QualityOptions(), cutouts)


def digests(scratch: Path) -> dict[str, str]:
    files = sorted(path for path in scratch.glob("*/shard-*") if path.suffix in (".npz", ".parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Altered:
    """A survey that refuses some galaxies, or gives other pixels, and counts what it was asked for."""

    name = "altered"

    def __init__(self, survey, refused=(), gain=1.0):
        self.survey, self.folder, self.refused, self.gain, self.asked = survey, survey.folder, set(refused), gain, 0

    def cutouts(self, ids, *, size=101):
        for name in ids:
            if name in self.refused:
                raise SurveyError(f"cutout of galaxy {name}: no overlap with the survey")
        self.asked += len(ids)
        batch = self.survey.cutouts(ids, size=size)
        batch.image[:] *= np.float32(self.gain)
        return batch


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    sky = survey_in(tmp_path_factory.mktemp("sky"))
    sky.make()
    return sky


@pytest.fixture(scope="module")
def whole(survey, tmp_path_factory):
    """(digests of the shards, stamps, table) of a run that nothing stopped."""
    scratch = tmp_path_factory.mktemp("whole")
    store, table = cut(cutting_of(survey, scratch))
    return digests(scratch), store[:], table


def test_a_kill_is_resumed_to_the_same_bytes_without_cutting_again_what_is_there(survey, whole, tmp_path):
    code = (
        "import sys, pathlib, tests.pipelines.test_lens_finder_cutouts as t\n"
        "t.cut(t.cutting_of(t.survey_in(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])))"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(survey.folder), str(tmp_path)], cwd=root, env=environment
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*/shard-*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = list(tmp_path.glob("*/shard-*.parquet"))
    assert 2 <= len(done) < N // CHUNK
    times = {path: path.stat().st_mtime_ns for path in done}
    store, table = cut(cutting_of(survey, tmp_path))
    assert times == {path: path.stat().st_mtime_ns for path in done}
    expected, stamps, whole_table = whole
    assert digests(tmp_path) == expected
    assert store[:].tobytes() == stamps.tobytes()
    pd.testing.assert_frame_equal(table, whole_table)


def test_a_refused_cutout_is_set_aside_with_its_error_and_the_others_are_untouched(survey, whole, tmp_path):
    _, stamps, before = whole
    name = str(before["galaxy_id"][before["accepted"]].iloc[12])
    store, table = cut(cutting_of(Altered(survey, [name]), tmp_path, refused_share_max=0.01))
    refused = table["galaxy_id"] == name
    assert table.loc[refused, "reject_reasons"].tolist() == [
        f"refused: cutout of galaxy {name}: no overlap with the survey"
    ]
    assert not table.loc[refused, "accepted"].any()
    pd.testing.assert_frame_equal(table[~refused], before[~refused])
    kept = np.flatnonzero(before["accepted"]) != np.flatnonzero(refused)[0]
    np.testing.assert_array_equal(store[:], stamps[kept])


def test_more_refusals_than_allowed_are_an_error_that_counts_them_and_the_next_run_asks_again(survey, whole, tmp_path):
    names = whole[2]["galaxy_id"].astype(str).tolist()
    with pytest.raises(CatalogueError, match=r"refused 2 cutouts, and 1 of 130 may be missing .*0\.01"):
        cut(cutting_of(Altered(survey, [names[3], names[25]]), tmp_path))
    kept = {path.name for path in tmp_path.glob("*/shard-*.parquet")}
    assert kept == {"shard-00001.parquet"}  # the first holds a refusal and is asked for again, the third never was
    store, _ = cut(cutting_of(Altered(survey), tmp_path))
    np.testing.assert_array_equal(store[:], whole[1])


def test_another_unit_is_refused_after_the_first_chunk(survey, tmp_path):
    counts = Altered(survey, gain=300.0)
    with pytest.raises(PixelError, match="nanomaggies"):
        cut(cutting_of(counts, tmp_path))
    assert counts.asked == CHUNK


def test_shards_of_pixels_that_have_changed_since_are_not_believed(survey, whole, tmp_path):
    first, _ = cut(cutting_of(Altered(survey), tmp_path))
    again = Altered(survey)
    cut(cutting_of(again, tmp_path))
    assert again.asked == N // CHUNK  # one witness a shard, and nothing else
    brighter, _ = cut(cutting_of(Altered(survey, gain=1.5), tmp_path))
    assert not np.array_equal(brighter[:], whole[1])
    del first  # it owned the folder of the shards until now


def test_shards_that_the_survey_cannot_confirm_are_kept_and_the_error_names_their_folder(survey, whole, tmp_path):
    first, table = cut(cutting_of(Altered(survey), tmp_path))
    before, gone = digests(tmp_path), str(table["galaxy_id"].iloc[0])
    with pytest.raises(SurveyError) as caught:
        cut(cutting_of(Altered(survey, [gone]), tmp_path))
    (folder,) = tmp_path.glob("stamps-*")
    assert f"{folder} holds cutouts of an earlier run, and altered no longer gives {gone}" in str(caught.value)
    assert "no overlap with the survey. Run again when the survey answers, or" in str(caught.value)
    assert f"delete {folder}" in str(caught.value)
    assert digests(tmp_path) == before
    del first  # it owned the folder of the shards until now


@pytest.mark.parametrize("damage", ["a truncated end", "a flipped bit of a stamp", "a flipped bit of the table"])
def test_a_damaged_shard_is_cut_again(survey, whole, tmp_path, damage):
    first, table = cut(cutting_of(survey, tmp_path))
    shard = next(tmp_path.glob("*/shard-00002.parquet" if damage.endswith("table") else "*/shard-00002.npz"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 16
    shard.write_bytes(content[:-5000] if damage == "a truncated end" else content)
    again, table_again = cut(cutting_of(survey, tmp_path))
    np.testing.assert_array_equal(again[:], whole[1])
    pd.testing.assert_frame_equal(table_again, table, check_exact=True)
    del first  # it owned the folder of the shards until now


def test_the_folder_is_named_by_sample_and_options(survey, tmp_path):
    def key(**change):
        return cutting_of(survey, tmp_path, **change).key()

    assert len({key(), key(rows=N - 1), key(size=91)}) == 3
    assert key() == key(refused_share_max=0.5), "how many may be missing changes no shard"


def test_two_processes_give_the_bytes_of_one(survey, whole, tmp_path):
    expected, stamps, whole_table = whole
    store, table = cut(cutting_of(survey, tmp_path), ClusterOptions(cluster="local", workers=2))
    assert digests(tmp_path) == expected
    assert store[:].tobytes() == stamps.tobytes()
    pd.testing.assert_frame_equal(table, whole_table)


def test_refusals_of_several_workers_are_counted_together(survey, whole, tmp_path):
    names = whole[2]["galaxy_id"].astype(str).tolist()
    here = ClusterOptions(cluster="local", workers=2)
    with pytest.raises(CatalogueError, match=r"refused 2 cutouts, and 1 of 130 may be missing .*; the last: refused: "):
        cut(cutting_of(Altered(survey, [names[3], names[25]]), tmp_path), here)
    assert not {path.name for path in tmp_path.glob("*/shard-*.parquet")} & {
        "shard-00000.parquet",
        "shard-00002.parquet",
    }


def test_a_survey_that_fetches_its_cutouts_is_asked_by_one_worker_alone(survey, tmp_path):
    remote = Altered(survey)
    remote.fetches = True
    for cluster in (ClusterOptions(cluster="local", workers=1), ClusterOptions(workers=2)):
        with pytest.raises(
            OptionError, match=r"altered fetches cutouts at a rate .* allowed is inline with workers: 1"
        ):
            cut(cutting_of(remote, tmp_path), cluster)
    assert remote.asked == 0
