"""What the transformer sees of every field, in shards on disk: as observed, training fields under worse skies of their
own, test fields under the shifted skies of the features. Resumable, a shard in memory at a time.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from skytrace.clusters.field_inputs import InputOptions
from skytrace.compute import ClusterOptions, fingerprint, load_npz, map_shards, save_npz
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.errors import ShardError
from skytrace.learning.store import StampStore
from skytrace.pipelines.cluster_pu.features import AS_OBSERVED, worse_cutouts
from skytrace.pipelines.cluster_pu.fields import read_fields
from skytrace.pipelines.cluster_pu.options import FeatureOptions, FieldOptions
from skytrace.pipelines.cluster_pu.transformer_options import TransformerTrackOptions
from skytrace.surveys.clusters.interface import ClusterCutouts

Table = pd.DataFrame

__all__ = ["inputs_of", "prepare_inputs", "view_name"]

_INPUTS_BY = (
    __name__, "skytrace.clusters.field_inputs", "skytrace.clusters.worse_sky", "skytrace.selection.degrade",
    "skytrace.imaging.psf", "skytrace.pipelines.cluster_pu.features",
)  # fmt: skip


@dataclass(frozen=True)
class InputShard:
    """The file of the inputs of the cutouts in ``pixels``; which of them are learnt from and which are judged."""

    path: Path
    pixels: Path
    learnt: frozenset[str]
    judged: frozenset[str]


def view_name(number: int) -> str:
    """Condition of a training field's pictures: the first is the field as observed."""
    return AS_OBSERVED if number == 0 else f"view_{number}"


def prepare_inputs(
    fields: Table,
    split: Table,
    track: TransformerTrackOptions,
    features: FeatureOptions,
    shards: FieldOptions,
    cluster: ClusterOptions,
) -> Table:
    """One row a field and condition: cluster_id, condition, shard (the file of its inputs), row (in the file)."""
    by_split = {name: set(split.loc[split["split"] == name, "cluster_id"]) for name in ("train", "test")}
    shifts = [dataclasses.asdict(shift) for shift in features.shifts]
    key = fingerprint(
        source_fingerprint(*_INPUTS_BY), dataclasses.asdict(track.inputs), shifts, features.seed, fields,
        sorted(by_split["train"]), sorted(by_split["test"]),
    )  # fmt: skip
    folder = Path(shards.folder) / f"inputs-{key}"
    todo = [
        InputShard(
            folder / Path(path).name, Path(path), *(frozenset(by_split[name].intersection(mine)) for name in by_split)
        )
        for path, mine in fields.groupby("shard", sort=False)["cluster_id"]
    ]
    for shard in todo:
        if shard.path.exists() and not _is_whole(shard.path):
            shard.path.unlink()
    paths = map_shards(
        partial(_prepare_shard, inputs=track.inputs, features=features), todo, cluster=cluster,
        description="transformer inputs",
    )  # fmt: skip
    return pd.concat([_index_of(path) for path in paths], ignore_index=True)


def inputs_of(index: Table, cluster_ids: pd.Series, *, condition: str = AS_OBSERVED) -> StampStore:
    """Inputs of these fields in this order under one condition; they stay on disk. Raises ShardError naming a field
    without inputs.
    """
    there = index[index["condition"] == condition].reset_index(drop=True)
    paths = list(there["shard"].drop_duplicates())
    place = there.set_index("cluster_id").index.get_indexer(pd.Index(cluster_ids))
    if (place < 0).any():
        name = pd.Index(cluster_ids)[place < 0][0]
        raise ShardError(f"there are no inputs of field {name!r} under the condition {condition!r}; run prepare_inputs")
    # rows of a shard follow one another in the index as in the file
    return StampStore.open(paths, member=condition).select(place)


def _prepare_shard(shard: InputShard, *, inputs: InputOptions, features: FeatureOptions) -> Path:
    from skytrace.clusters.field_inputs import network_inputs, worse_view

    cutouts = read_fields(shard.pixels)
    scale, ids = cutouts.pixel_scale_arcsec, cutouts.cluster_id.astype(str)
    size, arrays = cutouts.image.shape[-1] // inputs.bin_px, {}

    def keep(condition: str, some: ClusterCutouts | None) -> None:
        shape = (0, inputs.n_channels, size, size)
        seen = np.zeros(shape, np.float32)
        if some is not None and len(some):
            seen = network_inputs(some.image, some.psf, pixel_scale_arcsec=scale, options=inputs)
        arrays[condition] = seen.astype(np.float16)
        arrays[f"{condition}.ids"] = ids[:0] if some is None else some.cluster_id.astype(str)

    keep(AS_OBSERVED, cutouts)
    learnt = [k for k, name in enumerate(ids) if name in shard.learnt]
    for number in range(1, inputs.views):
        some = cutouts.take(learnt) if learnt else None
        if some is not None:
            image, psf = worse_view(
                some.image, some.noise, some.psf, view=number, pixel_scale_arcsec=scale, options=inputs,
                seeds=[int(fingerprint(str(name), length=12), 16) for name in some.cluster_id],
            )  # fmt: skip
            some = dataclasses.replace(some, image=image, psf=psf)
        keep(view_name(number), some)
    judged = [k for k, name in enumerate(ids) if name in shard.judged]
    for number, shift in enumerate(features.shifts):
        some = worse_cutouts(cutouts.take(judged), number, shift, features.seed) if judged else None
        keep(shift.name, some)
    return save_npz(shard.path, **arrays)


def _index_of(path: Path) -> Table:
    held = load_npz(path)
    parts = [
        pd.DataFrame(
            {
                "cluster_id": held[f"{condition}.ids"].astype(str), "condition": condition, "shard": path.as_posix(),
                "row": np.arange(len(held[condition])),
            }
        )
        for condition in held if not condition.endswith(".ids")
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _is_whole(path: Path) -> bool:
    try:
        return AS_OBSERVED in load_npz(path)
    except ShardError:
        return False
