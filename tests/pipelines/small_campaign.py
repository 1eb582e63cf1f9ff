"""A small campaign over a small sky: two PSF sizes, two depths, two Einstein radii, 24 injections a cell."""

from pathlib import Path

import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.quality import QualityOptions
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.nodes import choose_hosts
from skytrace.pipelines.injection_recovery.shards import Campaign, run_campaign
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.sky import SelectionOptions

from ..selection.fake_sky import FakeSky, random_detector

GRID = GridOptions((0.75, 1.5), (1.2, 1.5), (23.5, 24.0), injections_per_cell=24)
HOSTS = HostOptions(min_matched_hosts=4, max_hosts_per_cell=8)
INJECTION = InjectionOptions(batch_size=16, score_batch=16, n_stamps=10)


def split_of(sky: FakeSky, name: str = "test") -> pd.DataFrame:
    return sky.galaxies()[["galaxy_id", "ra", "dec"]].assign(split=name)


def campaign_of(sky: FakeSky) -> Campaign:
    hosts, conditions, _ = choose_hosts(
        sky, split_of(sky), SelectionOptions(), HOSTS, GRID, PreprocessOptions(), QualityOptions()
    )
    return Campaign(GRID, PopulationOptions(), INJECTION, PreprocessOptions(), hosts, conditions)


def run(folder: Path, *, workers: int = 1) -> pd.DataFrame:
    sky = FakeSky()
    return run_campaign(
        campaign_of(sky), random_detector(), sky, folder=folder, cluster=ClusterOptions(workers=workers)
    )
