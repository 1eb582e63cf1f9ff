"""Injections come out with the same bytes on one process and two, in any order or pieces, and if a worker dies."""

import hashlib
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions, map_shards
from skytrace.compute.table_shards import join_shards, save_shard
from skytrace.errors import CatalogueError, ShardError
from skytrace.pipelines.injection_recovery.shards import (
    Campaign,
    Shard,
    compute_shard,
    load_inputs,
    run_campaign,
    shards_of,
    stage,
)

from ..selection.fake_sky import FakeSky, random_detector
from .small_campaign import campaign_of


def compute_or_die(shard: Shard, *, campaign) -> Path:
    """Kill this process the first time that a shard of the second condition is seen."""
    marker = shard.path.parent / "killed"
    if shard.condition == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return compute_shard(shard, campaign=campaign)


def injected(folder: Path, fn=compute_shard, *, order: int, **cluster) -> dict[str, str]:
    """Hash of every shard's file, in shards of 32 injections of a plan of 48 a condition."""
    sky = FakeSky()
    campaign = in_pieces(campaign_of(sky), 20)  # rounded up to two batches
    staged = stage(campaign, random_detector(), sky, folder=folder)
    shards = shards_of(campaign, staged)
    shards = [shards[k] for k in np.random.default_rng(order).permutation(len(shards))]
    load_inputs.cache_clear()
    map_shards(partial(fn, campaign=campaign), shards, **cluster)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(staged.glob("*.parquet"))}


def in_pieces(campaign: Campaign, size: int) -> Campaign:
    return replace(campaign, injection=replace(campaign.injection, shard_injections=size))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("reference")
    found = injected(folder, order=3, workers=1)
    assert len(set(found.values())) == 8
    return folder, found


def test_two_processes_one_of_them_killed_give_the_bytes_of_one_in_another_order(tmp_path, reference):
    assert injected(tmp_path, compute_or_die, order=5, cluster="local", workers=2) == reference[1]
    assert list(tmp_path.glob("*/killed")), "no worker was killed"


@pytest.mark.parametrize("name", ["hosts.npz", "weights.npz", "card.json"])
@pytest.mark.parametrize("damage", ["gone", "truncated", "flipped"])
def test_what_the_shards_read_is_written_again_where_it_is_lost_or_damaged(tmp_path, name, damage):
    sky = FakeSky()
    staged = stage(campaign_of(sky), random_detector(), sky, folder=tmp_path)
    content = (staged / name).read_bytes()
    if damage == "gone":
        (staged / name).unlink()
    else:
        changed = bytearray(content)
        changed[len(content) // 2] ^= 4
        (staged / name).write_bytes(changed if damage == "flipped" else content[:-20])
    assert stage(campaign_of(sky), random_detector(), sky, folder=tmp_path) == staged
    assert (staged / name).read_bytes() == content


def test_the_table_is_the_same_whatever_the_size_of_a_shard(reference):
    folder, found = reference
    sky, detector, cluster = FakeSky(), random_detector(), ClusterOptions(workers=1)
    whole = run_campaign(campaign_of(sky), detector, sky, folder=folder, cluster=cluster)
    staged = next(folder.glob("*/condition-0000-00000000-00000048.parquet")).parent
    assert found.keys() < {path.name for path in staged.glob("*.parquet")}  # one folder: the inputs are the same
    pieces = run_campaign(in_pieces(campaign_of(sky), 20), detector, sky, folder=folder, cluster=cluster)
    pd.testing.assert_frame_equal(pieces, whole, check_exact=True)
    assert whole["injection_id"].is_monotonic_increasing
    assert len(whole) == whole["injection_id"].nunique() == 4 * 48


def test_joined_shards_are_their_rows_in_order_of_id(tmp_path):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"injection_id": rng.permutation(60), "x": rng.random(60), "family": np.int8(1)})
    table["galaxy_id"] = [f"g{k % 7}" for k in table["injection_id"]]
    paths = [tmp_path / f"{k}.parquet" for k in range(4)]
    for k, path in enumerate(paths):
        save_shard(table.iloc[k::4], path)
    pd.testing.assert_frame_equal(
        join_shards(paths, by="injection_id"), table.sort_values("injection_id", ignore_index=True)
    )
    save_shard(table.iloc[:3].drop(columns="x"), paths[2])
    with pytest.raises(ShardError, match="other columns"):
        join_shards(paths, by="injection_id")


def test_a_missing_text_stays_missing_and_numbers_of_a_wider_kind_are_kept(tmp_path):
    first = pd.DataFrame({"injection_id": [2, 0], "why": ["a", "b"], "n": [1, 2], "flag": [True, False]})
    second = pd.DataFrame({"injection_id": [1, 3], "why": [None, "c"], "n": [np.nan, 4.5], "flag": [False, True]})
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for table, path in zip((first, second.astype({"why": "str"})), paths, strict=True):
        save_shard(table, path)
    joined = join_shards(paths, by="injection_id")
    assert joined["why"].isna().tolist() == [False, True, False, False]
    assert joined["why"].dropna().tolist() == ["b", "a", "c"]
    np.testing.assert_array_equal(joined["n"], [2.0, np.nan, 1.0, 4.5])
    assert joined["flag"].tolist() == [False, False, True, True] and joined["flag"].dtype == bool


def test_hosts_without_what_injecting_reads_are_refused_by_column():
    campaign = campaign_of(FakeSky())
    with pytest.raises(CatalogueError, match="the table of hosts lacks the columns psfsize_r, ebv; node"):
        Campaign(**{**vars(campaign), "hosts": campaign.hosts.drop(columns=["ebv", "psfsize_r"])})
