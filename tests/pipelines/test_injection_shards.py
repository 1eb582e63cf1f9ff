"""Injections come out with the same bytes on one process and two, in any order, and after a worker was killed."""

import hashlib
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from skytrace.compute import map_shards
from skytrace.pipelines.injection_recovery.shards import Shard, compute_shard, load_inputs, stage

from ..selection.fake_sky import FakeSky, random_detector
from .small_campaign import campaign_of


def compute_or_die(shard: Shard, *, campaign) -> Path:
    """Kill this process the first time that the second condition is seen."""
    marker = shard.path.parent / "killed"
    if shard.condition == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return compute_shard(shard, campaign=campaign)


def injected(folder: Path, fn=compute_shard, *, order: int | None = None, **cluster) -> dict[str, str]:
    sky = FakeSky()
    campaign = campaign_of(sky)
    staged = stage(campaign, random_detector(), sky, folder=folder)
    shards = [Shard(staged / f"{k:04d}.parquet", k) for k in campaign.conditions["condition"].astype(int)]
    if order is not None:
        shards = [shards[k] for k in np.random.default_rng(order).permutation(len(shards))]
    load_inputs.cache_clear()
    map_shards(partial(fn, campaign=campaign), shards, **cluster)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(staged.glob("*.parquet"))}


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, str]:
    found = injected(tmp_path_factory.mktemp("reference"), workers=1)
    assert len(set(found.values())) == 4
    return found


def test_shuffled_shards_have_the_same_bytes(tmp_path, reference):
    assert injected(tmp_path, order=3, workers=1) == reference


def test_two_processes_one_of_them_killed_give_the_bytes_of_one(tmp_path, reference):
    assert injected(tmp_path, compute_or_die, order=5, cluster="local", workers=2) == reference
    assert list(tmp_path.glob("*/killed")), "no worker was killed"
