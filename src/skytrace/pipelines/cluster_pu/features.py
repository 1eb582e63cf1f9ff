"""Features of every cluster field, from the shards of cutouts: resumable, a shard in memory at a time.

A folder of shards is named by the options, the fields and the sources, so one of another run is never taken for this
one's. Nothing learns from the fields measured under a worse sky.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.clusters.worse_sky import SkyShift
from skytrace.compute import ClusterOptions, fingerprint, map_shards
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.pipelines.cluster_pu.fields import read_fields
from skytrace.pipelines.cluster_pu.options import FeatureOptions, FieldOptions
from skytrace.surveys.clusters.interface import ClusterCutouts

Table = pd.DataFrame

__all__ = ["AS_OBSERVED", "field_features", "measure_features", "worse_cutouts"]

#: The condition of features measured on the survey's own pixels.
AS_OBSERVED = "as_observed"
#: Everything that decides the features of a shard.
_FEATURES_BY = (
    __name__, "skytrace.clusters.patches", "skytrace.clusters.patch_kernels", "skytrace.clusters.colours",
    "skytrace.clusters.colour_kernels", "skytrace.clusters.peak_colours", "skytrace.clusters.worse_sky",
    "skytrace.selection.degrade", "skytrace.imaging.profiles", "skytrace.imaging.psf", "skytrace.compute.table_shards",
)  # fmt: skip


@dataclass(frozen=True)
class FeatureShard:
    """The file of the features of the cutouts in ``pixels``; those ``shifted`` are measured under worse skies too."""

    path: Path
    pixels: Path
    shifted: frozenset[str]


def measure_features(
    fields: Table, clusters: Table, split: Table, options: FeatureOptions, shards: FieldOptions, cluster: ClusterOptions
) -> tuple[Table, Table]:
    """(features of every cluster; of those in the test cells under every shifted sky, named in ``condition``), a row a
    cluster in the order of ``clusters``: cluster_id, patch features, colours of peaks, catalogue. NaN: not known.
    """
    from skytrace.clusters.catalogue import catalogue_features

    measured_by = dataclasses.asdict(options)
    shifted = split.loc[split["split"] == "test", "cluster_id"]
    key = fingerprint(source_fingerprint(*_FEATURES_BY), measured_by, fields, sorted(shifted))
    folder = Path(shards.folder) / f"features-{key}"
    todo = [
        FeatureShard(folder / f"{Path(path).stem}.parquet", Path(path), frozenset(mine[mine.isin(shifted)]))
        for path, mine in fields.groupby("shard", sort=False)["cluster_id"]
    ]
    for shard in todo:
        if shard.path.exists() and not is_whole(shard.path):
            shard.path.unlink()
    paths = map_shards(partial(_measure_shard, options=options), todo, cluster=cluster, description="cluster features")
    table = pd.concat([read_shard(path) for path in paths], ignore_index=True)
    known = pd.concat([clusters[["cluster_id"]], catalogue_features(clusters, options=options.catalogue)], axis=1)
    table = known[["cluster_id"]].merge(table, on="cluster_id", validate="1:m").merge(known, on="cluster_id")
    own = table["condition"] == AS_OBSERVED
    return (
        table[own].drop(columns="condition").reset_index(drop=True),
        table[~own].sort_values("condition", kind="stable").reset_index(drop=True),
    )


def field_features(cutouts: ClusterCutouts, options: FeatureOptions) -> Table:
    """cluster_id and every feature of the pixels, a row a cutout: one way for every field, wherever it comes from."""
    from skytrace.clusters.patches import patch_features_and_peaks
    from skytrace.clusters.peak_colours import peak_colour_features

    patches, peaks = patch_features_and_peaks(cutouts.image, cutouts.noise, options=options.patches)
    colours = peak_colour_features(
        cutouts.image, cutouts.noise, cutouts.psf, pixel_scale_arcsec=cutouts.pixel_scale_arcsec,
        patches=options.patches, colours=options.colours, peaks=peaks,
    )  # fmt: skip
    ids = pd.DataFrame({"cluster_id": cutouts.cluster_id.astype(str)})
    return pd.concat([ids, patches, colours], axis=1)


def worse_cutouts(cutouts: ClusterCutouts, number: int, shift: SkyShift, seed: int) -> ClusterCutouts:
    """The cutouts under a shifted sky, the number-th condition: noise of each cluster's own, the same for every use."""
    from skytrace.clusters.worse_sky import worsened_fields

    shape = cutouts.image.shape[1:]
    normals = np.stack([_normals(name, number, seed, shape) for name in cutouts.cluster_id])
    image, noise, psf = worsened_fields(
        cutouts.image, cutouts.noise, cutouts.psf, shift=shift, normals=normals,
        pixel_scale_arcsec=cutouts.pixel_scale_arcsec,
    )  # fmt: skip
    return dataclasses.replace(cutouts, image=image, noise=noise, psf=psf)


def _measure_shard(shard: FeatureShard, *, options: FeatureOptions) -> Path:
    cutouts = read_fields(shard.pixels)
    tables = [field_features(cutouts, options).assign(condition=AS_OBSERVED)]
    rows = [k for k, name in enumerate(cutouts.cluster_id) if str(name) in shard.shifted]
    for number, shift in enumerate(options.shifts if rows else ()):
        worse = worse_cutouts(cutouts.take(rows), number, shift, options.seed)
        tables.append(field_features(worse, options).assign(condition=shift.name))
    save_shard(pd.concat(tables, ignore_index=True), shard.path)
    return shard.path


def _normals(name: str, number: int, seed: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Standard normals of one cluster and condition: its own stream, whatever shard it lies in."""
    own = int(fingerprint(str(name), length=12), 16)
    return np.random.default_rng([seed, number, own]).standard_normal(shape, dtype=np.float32)
