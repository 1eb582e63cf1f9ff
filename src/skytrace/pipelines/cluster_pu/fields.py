"""Cutouts of every cluster in shards on disk, and their features: resumable, a shard in memory at a time.

A folder of shards is named by the survey, its clusters, the options and the sources, so one of another run is never
taken for this one's. Cutouts stay for whoever needs pixels: networks, lens models, the triage page.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint, load_npz, map_shards, save_npz
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.errors import CatalogueError, ShardError
from skytrace.pipelines.cluster_pu.options import FeatureOptions, FieldOptions
from skytrace.surveys.clusters.interface import ClusterCutouts, ClusterSurvey

Table = pd.DataFrame

__all__ = ["AS_OBSERVED", "cut_fields", "fields_in_order", "measure_features", "read_clusters", "read_fields"]

#: The condition of features measured on the survey's own pixels.
AS_OBSERVED = "as_observed"
#: Everything that decides the pixels of a shard, and its features.
_PIXELS_BY = (
    __name__, "skytrace.surveys.clusters", "skytrace.clusters.catalogue", "skytrace.imaging", "skytrace.lensing",
    "skytrace.statistics.streams", "skytrace.compute.arrays",
)  # fmt: skip
_FEATURES_BY = (
    __name__, "skytrace.clusters.patches", "skytrace.clusters.patch_kernels", "skytrace.clusters.colours",
    "skytrace.clusters.peak_colours", "skytrace.clusters.worse_sky", "skytrace.selection.degrade",
    "skytrace.imaging.profiles", "skytrace.compute.table_shards",
)  # fmt: skip


@dataclass(frozen=True)
class FieldShard:
    """The file of the cutouts of these clusters."""

    path: Path
    cluster_ids: tuple[str, ...]


@dataclass(frozen=True)
class FeatureShard:
    """The file of the features of the cutouts in ``pixels``; those ``shifted`` are measured under worse skies too."""

    path: Path
    pixels: Path
    shifted: frozenset[str]


def read_clusters(survey: ClusterSurvey) -> Table:
    """The catalogue of the clusters: CLUSTER_COLUMNS, no truth."""
    return survey.clusters()


def cut_fields(survey: ClusterSurvey, clusters: Table, options: FieldOptions, cluster: ClusterOptions) -> Table:
    """One row a cluster: cluster_id, shard (the file of its cutouts), row (in the file), padded_fraction and
    missing_fraction (of the worst band).
    """
    told = getattr(survey, "options", None)
    key = fingerprint(
        source_fingerprint(*_PIXELS_BY), survey.name, told if dataclasses.is_dataclass(told) else None, clusters,
        options.fields,
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
    """The cutouts of one shard. Raises ShardError where the file is damaged."""
    from skytrace.imaging.psf import MoffatPsf

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


def measure_features(
    fields: Table, clusters: Table, split: Table, options: FeatureOptions, shards: FieldOptions, cluster: ClusterOptions
) -> tuple[Table, Table]:
    """(features of every cluster; of those in the test cells under every shifted sky, named in ``condition``), a row a
    cluster in the order of ``clusters``: cluster_id, patch features, colours of peaks, catalogue. NaN: not known.
    """
    from skytrace.clusters.catalogue import catalogue_features

    pixels = [Path(path) for path in fields["shard"].drop_duplicates()]
    measured_by = dataclasses.asdict(options)
    shifted = split.loc[split["split"] == "test", "cluster_id"]
    key = fingerprint(source_fingerprint(*_FEATURES_BY), measured_by, fields, sorted(shifted))
    folder = Path(shards.folder) / f"features-{key}"
    todo = [FeatureShard(folder / f"{path.stem}.parquet", path, frozenset(shifted)) for path in pixels]
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


def _cut_shard(shard: FieldShard, *, survey: ClusterSurvey) -> Path:
    cutouts = survey.cutouts(shard.cluster_ids)
    return save_npz(
        shard.path,
        cluster_id=cutouts.cluster_id, image=cutouts.image, noise=cutouts.noise,
        fwhm_arcsec=cutouts.psf.fwhm_arcsec, psf_beta=np.float64(cutouts.psf.beta),
        padded_fraction=cutouts.padded_fraction, missing_fraction=cutouts.missing_fraction,
        pixel_scale_arcsec=np.float64(cutouts.pixel_scale_arcsec),
    )  # fmt: skip


def _measure_shard(shard: FeatureShard, *, options: FeatureOptions) -> Path:
    from skytrace.clusters.worse_sky import worsened_fields

    cutouts = read_fields(shard.pixels)
    tables = [_features(cutouts, options).assign(condition=AS_OBSERVED)]
    rows = [k for k, name in enumerate(cutouts.cluster_id) if str(name) in shard.shifted]
    ids, psf = cutouts.cluster_id[rows], cutouts.psf.take(rows) if rows else cutouts.psf
    for number, shift in enumerate(options.shifts if rows else ()):
        normals = np.stack([_normals(name, number, options.seed, cutouts.image.shape[1:]) for name in ids])
        image, noise, wider = worsened_fields(
            cutouts.image[rows], cutouts.noise[rows], psf, shift=shift, normals=normals,
            pixel_scale_arcsec=cutouts.pixel_scale_arcsec,
        )  # fmt: skip
        worse = dataclasses.replace(
            cutouts, cluster_id=ids, image=image, noise=noise, psf=wider,
            padded_fraction=cutouts.padded_fraction[rows], missing_fraction=cutouts.missing_fraction[rows],
        )  # fmt: skip
        tables.append(_features(worse, options).assign(condition=shift.name))
    save_shard(pd.concat(tables, ignore_index=True), shard.path)
    return shard.path


def _features(cutouts: ClusterCutouts, options: FeatureOptions) -> Table:
    from skytrace.clusters.patches import patch_features
    from skytrace.clusters.peak_colours import peak_colour_features

    patches = patch_features(cutouts.image, cutouts.noise, options=options.patches)
    colours = peak_colour_features(
        cutouts.image, cutouts.noise, cutouts.psf, pixel_scale_arcsec=cutouts.pixel_scale_arcsec,
        patches=options.patches, colours=options.colours,
    )  # fmt: skip
    ids = pd.DataFrame({"cluster_id": cutouts.cluster_id.astype(str)})
    return pd.concat([ids, patches, colours], axis=1)


def _normals(name: str, number: int, seed: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Standard normals of one cluster and condition: its own stream, whatever shard it lies in."""
    own = int(fingerprint(str(name), length=12), 16)
    return np.random.default_rng([seed, number, own]).standard_normal(shape, dtype=np.float32)


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
