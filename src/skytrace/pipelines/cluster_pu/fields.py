"""Cutouts of every cluster in shards on disk: resumable, a shard in memory at a time.

A folder of shards is named by the survey, its clusters, the options and the sources, so one of another run is never
taken for this one's. Cutouts stay for whoever needs pixels: networks, lens models, the triage page.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint, load_npz, map_shards, save_npz
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.errors import CatalogueError, ShardError
from skytrace.pipelines.cluster_pu.options import FieldOptions
from skytrace.surveys.clusters.interface import ClusterCutouts, ClusterSurvey

Table = pd.DataFrame

__all__ = ["cut_fields", "fields_in_order", "read_clusters", "read_fields"]

#: Everything that decides the pixels of a shard.
_PIXELS_BY = (
    __name__, "skytrace.surveys.clusters", "skytrace.clusters.catalogue", "skytrace.imaging", "skytrace.lensing",
    "skytrace.statistics.streams", "skytrace.compute.arrays",
)  # fmt: skip


@dataclass(frozen=True)
class FieldShard:
    """The file of the cutouts of these clusters."""

    path: Path
    cluster_ids: tuple[str, ...]


def read_clusters(survey: ClusterSurvey) -> Table:
    """The catalogue of the clusters: CLUSTER_COLUMNS, no truth."""
    return survey.clusters()


def cut_fields(survey: ClusterSurvey, clusters: Table, options: FieldOptions, cluster: ClusterOptions) -> Table:
    """One row a cluster: cluster_id, shard (the file of its cutouts), row (in the file), padded_fraction and
    missing_fraction (of the worst band).
    """
    told, content = getattr(survey, "options", None), getattr(survey, "content", None)
    key = fingerprint(
        source_fingerprint(*_PIXELS_BY), survey.name, told if dataclasses.is_dataclass(told) else None, clusters,
        options.fields, content() if content is not None else None,
    )  # fmt: skip
    folder = Path(options.folder) / f"fields-{key}"
    ids = clusters["cluster_id"].to_numpy(dtype=str)
    shards = [
        FieldShard(folder / f"fields-{start:07d}.npz", tuple(ids[start : start + options.fields]))
        for start in range(0, len(ids), options.fields)
    ]
    for shard in shards:
        if shard.path.exists() and not _holds(shard):
            shard.path.unlink()
    paths = map_shards(partial(_cut_shard, survey=survey), shards, cluster=cluster, description="cluster fields")
    return pd.concat([_index_of(path) for path in paths], ignore_index=True)


def read_fields(path: str | Path) -> ClusterCutouts:
    """The cutouts of one shard. Raises ShardError where the file is damaged, or gone."""
    from skytrace.imaging.psf import MoffatPsf

    if not Path(path).exists():
        raise ShardError(f"shard {path} is gone: run cluster_pu again from its node cluster_pu.cut_fields on")
    held = load_npz(path)
    try:
        psf = MoffatPsf(held["fwhm_arcsec"], float(held["psf_beta"]))
        return ClusterCutouts(
            held["cluster_id"], held["image"], held["noise"], psf, held["padded_fraction"], held["missing_fraction"],
            float(held["pixel_scale_arcsec"]),
        )  # fmt: skip
    except KeyError as error:
        raise ShardError(f"shard {path} has no array {error}; delete it and run again") from error


def fields_in_order(fields: Table, cluster_ids: Sequence[str]) -> Iterator[tuple[str, ClusterCutouts, int]]:
    """(cluster_id, cutouts of its shard, its row there) of each cluster asked for; a shard is read once for runs of
    clusters that it holds. Raises CatalogueError naming a cluster without a cutout.
    """
    by_id = fields.set_index("cluster_id")
    held: tuple[str, ClusterCutouts] | None = None
    for name in cluster_ids:
        if name not in by_id.index:
            raise CatalogueError(f"the table of fields has no cluster {name!r}")
        path, row = by_id.loc[name, ["shard", "row"]]
        if held is None or held[0] != path:
            held = path, read_fields(path)
        yield name, held[1], int(row)


def _cut_shard(shard: FieldShard, *, survey: ClusterSurvey) -> Path:
    cutouts = survey.cutouts(shard.cluster_ids)
    return save_npz(
        shard.path,
        cluster_id=cutouts.cluster_id, image=cutouts.image, noise=cutouts.noise,
        fwhm_arcsec=cutouts.psf.fwhm_arcsec, psf_beta=np.float64(cutouts.psf.beta),
        padded_fraction=cutouts.padded_fraction, missing_fraction=cutouts.missing_fraction,
        pixel_scale_arcsec=np.float64(cutouts.pixel_scale_arcsec),
    )  # fmt: skip


def _index_of(path: Path) -> Table:
    held = load_npz(path, leave=("image",))
    return pd.DataFrame(
        {
            "cluster_id": held["cluster_id"].astype(str),
            "shard": path.as_posix(),
            "row": np.arange(len(held["noise"])),
            "padded_fraction": held["padded_fraction"].max(axis=1),
            "missing_fraction": held["missing_fraction"].max(axis=1),
        }
    )  # fmt: skip


def _holds(shard: FieldShard) -> bool:
    try:
        return tuple(load_npz(shard.path, leave=("image",))["cluster_id"].astype(str)) == shard.cluster_ids
    except (ShardError, KeyError):
        return False
