"""The injection loop of a study: the first injections of every cell, scored by one detector or by several.

The draws, the hosts and the pixels are those of ``injection_recovery.shards``: an injection has the same random
numbers, and the same host, as in the published campaign. Shards are named by what they depend on, so that a rerun goes
on where the last one stopped.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint, map_shards, single_threaded
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import join_shards, save_shard
from skytrace.errors import CatalogueError, OptionError
from skytrace.imaging.preprocessing import preprocessing_checksum
from skytrace.pipelines.injection_recovery.shards import (
    Campaign,
    Shard,
    forget_damaged,
    hosts_and_plan,
    inject_rows,
    load_inputs,
    shards_of,
)

__all__ = ["run_study", "stage_detectors"]


def run_study(
    campaign: Campaign,
    *,
    staged: Path,
    injections_per_cell: int,
    others: Mapping[str, Path] | None = None,
    cluster: ClusterOptions,
) -> pd.DataFrame:
    """The first ``injections_per_cell`` injections of every cell of ``campaign``, in order of injection_id.

    staged: of ``injection_recovery.shards.stage``, whose detector gives the column score. others: further detectors
    (``stage_detectors``) by name; theirs are score_<name>. A shard that is there already is not computed again.
    """
    others = dict(others or {})
    key = fingerprint(
        source_fingerprint(__name__), campaign.grid, campaign.population,
        replace(campaign.injection, shard_injections=1),  # the block is in a shard's name
        campaign.preprocessing, campaign.hosts, campaign.conditions, injections_per_cell,
        {name: path.name for name, path in others.items()},
    )  # fmt: skip
    shards = shards_of(campaign, staged / f"study-{key}", first=injections_per_cell)
    if not shards:
        raise CatalogueError("no (PSF, depth) condition of the study has a host")
    forget_damaged(shards)
    if cluster.cluster == "inline":
        import skytrace.learning.scoring  # noqa: F401  torch must be loaded before threads limit it

        load_inputs(staged)
    compute = partial(
        compute_study_shard, campaign=campaign, injections_per_cell=injections_per_cell, others=tuple(others.items())
    )
    paths = map_shards(compute, shards, cluster=cluster, description="injections")
    return join_shards(paths, by="injection_id")


def stage_detectors(detectors: Mapping[str, Any], campaign: Campaign, *, folder: Path) -> dict[str, Path]:
    """Write detectors where shards on any machine can read them; name -> folder named by the weights.

    Raises PixelError for a detector of other preprocessing than the campaign's, OptionError for one that needs
    observing conditions beside the pixels.
    """
    from kedro.io import DatasetError

    from skytrace.datasets import DetectorDataset

    staged = {}
    for name, detector in detectors.items():
        detector.check_preprocessing(preprocessing_checksum(campaign.preprocessing))
        if detector.metadata_columns:
            raise OptionError(f"detector {name!r} needs {', '.join(detector.metadata_columns)}; injections have pixels")
        staged[name] = folder / f"detector-{fingerprint(detector.architecture, detector.state)}"
        kept = DetectorDataset(filepath=str(staged[name].resolve() / "detector.safetensors"))
        try:
            kept.load()
        except DatasetError:  # not there, or damaged
            kept.save(detector)
    return staged


@lru_cache(maxsize=8)
def load_detector(folder: Path) -> Any:
    """A detector of ``stage_detectors``, once a process."""
    from skytrace.datasets import DetectorDataset

    return DetectorDataset(filepath=str(folder.resolve() / "detector.safetensors")).load()


def compute_study_shard(
    shard: Shard, *, campaign: Campaign, injections_per_cell: int, others: tuple[tuple[str, Path], ...]
) -> Path:
    """Inject and score one shard of the first injections of all cells; its folder lies in that of ``stage``."""
    from skytrace.learning.scoring import score_stamps

    batch, detector = load_inputs(shard.path.parents[1])
    detectors = {"score": detector, **{f"score_{name}": load_detector(folder) for name, folder in others}}
    parts = []
    with single_threaded():
        hosts, plan = hosts_and_plan(campaign, batch, shard, first=injections_per_cell)
        for start in range(0, len(plan), campaign.injection.batch_size):
            rows = plan.iloc[start : start + campaign.injection.batch_size].reset_index(drop=True)
            injected, draw = inject_rows(hosts, rows, campaign)
            columns = [rows.drop(columns="host_row"), draw.table.drop(columns="injection_id"), injected.measured]
            table = pd.concat([part.reset_index(drop=True) for part in columns], axis=1)
            scores = {
                name: score_stamps(one, injected.stamps, batch_size=campaign.injection.score_batch, threads=1)
                for name, one in detectors.items()
            }
            parts.append(table.assign(**scores))
    save_shard(pd.concat(parts, ignore_index=True), shard.path)
    return shard.path
