"""A study in blocks of a condition is the study in whole conditions, and has work for more workers."""

from dataclasses import replace

import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.pipelines.injection_recovery.shards import stage
from skytrace.pipelines.injection_studies.shards import run_study

from ..selection.fake_sky import FakeSky, random_detector
from .small_campaign import GRID, INJECTION, campaign_of

PER_CELL, BATCH = 6, 4


def test_a_study_in_blocks_is_the_same_and_gives_work_to_more_workers(tmp_path):
    sky = FakeSky()
    campaign, detector = campaign_of(sky), random_detector()
    tables, names = [], []
    for block in (10**6, BATCH):
        one = replace(campaign, injection=replace(INJECTION, batch_size=BATCH, shard_injections=block))
        folder = tmp_path / str(block)
        staged = stage(one, detector, sky, folder=folder)
        inline = ClusterOptions(workers=1)
        tables.append(run_study(one, staged=staged, injections_per_cell=PER_CELL, cluster=inline))
        names.append(sorted(path.name for path in folder.rglob("study-*/condition-*.parquet")))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    per_condition = PER_CELL * len(GRID.theta_e_arcsec)
    assert len(tables[0]) == len(campaign.conditions) * per_condition
    assert len(names[0]) == len(campaign.conditions)
    assert len(names[1]) == len(campaign.conditions) * per_condition // BATCH
