"""Rows of a survey-sized cluster catalogue, their features and scores: what ``cluster_scale`` does in its workers.

A row's catalogue entry, field, orientation and noise follow from its number alone, so any shard can be made alone.
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["BATCH", "PREPARED", "RowShard", "batch_of", "score_shard"]

#: Fields in memory at once.
BATCH = 250
#: What ``cluster_scale`` prepares, by name: rendered fields, the catalogue to draw from, models and options.
PREPARED = ("image.npy", "noise.npy", "fwhm.npy", "catalogue.parquet", "models.json", "options.json")
#: Of every field's own noise, added to it: no two rows have the same pixels.
_MORE_NOISE = 0.3
_SEED, _POOL = 20261121, 2**22


@dataclass(frozen=True)
class RowShard:
    """Rows first to last - 1, and the file of their scores."""

    path: Path
    first: int
    last: int


def score_shard(shard: RowShard, *, prepared: Path) -> Path:
    """Catalogue entries, features and scores of the rows; CPU seconds by step and memory so far go into a file beside
    it, whose name begins with a dot: they are no result.
    """
    from skytrace.compute import atomic_path
    from skytrace.compute.table_shards import save_shard
    from skytrace.pipelines.cluster_pu.estimators import score_rows
    from skytrace.pipelines.cluster_pu.features import field_features

    held = _held(prepared)
    spent = dict.fromkeys(("fields", "features", "scores"), 0.0)
    parts = []
    for first in range(shard.first, shard.last, BATCH):
        start = time.thread_time()
        rows, cutouts = batch_of(np.arange(first, min(first + BATCH, shard.last)), prepared=prepared)
        spent["fields"] += (made := time.thread_time()) - start
        features = pd.concat([rows, field_features(cutouts, held["options"]).drop(columns="cluster_id")], axis=1)
        spent["features"] += (measured := time.thread_time()) - made
        scores = score_rows(features, held["models"], held["members"])
        spent["scores"] += time.thread_time() - measured
        parts.append(pd.concat([rows, scores], axis=1))
    save_shard(pd.concat(parts, ignore_index=True), shard.path)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    with atomic_path(shard.path.with_name(f"cost-{shard.first:09d}.json")) as path:
        path.write_text(json.dumps({"rows": shard.last - shard.first, "peak_mb": peak_mb, **spent}))
    return shard.path


def batch_of(numbers: np.ndarray, *, prepared: Path) -> tuple[pd.DataFrame, Any]:
    """(catalogue columns of these rows with their features, the cutouts)."""
    from skytrace.clusters.catalogue import catalogue_features
    from skytrace.imaging.psf import MoffatPsf
    from skytrace.statistics.streams import stream_uniforms
    from skytrace.surveys.clusters.interface import ClusterCutouts
    from skytrace.surveys.clusters.rendering import PSF_BETA

    held = _held(prepared)
    u = stream_uniforms(numbers, 4, seed=_SEED)
    entry, field, turn, place = (
        np.floor(u[:, k] * size).astype(np.int64)
        for k, size in enumerate((len(held["catalogue"]), len(held["image"]), 8, _POOL - held["image"][0].size))
    )
    image = np.array(held["image"][field])
    for code in range(1, 8):
        of = np.flatnonzero(turn == code)
        image[of] = _turned(image[of], code)
    own = held["noise"][field]
    for k, start in enumerate(place):
        normals = held["pool"][start : start + image[k].size].reshape(image[k].shape)
        image[k] += normals * (_MORE_NOISE * own[k]).astype(np.float32)[:, None, None]
    names = np.array([f"row-{number:09d}" for number in numbers])
    nothing = np.zeros(own.shape)
    cutouts = ClusterCutouts(
        names, image, own * np.hypot(1.0, _MORE_NOISE), MoffatPsf(held["fwhm"][field], PSF_BETA), nothing, nothing,
        held["scale"],
    )  # fmt: skip
    entries = held["catalogue"].iloc[entry].reset_index(drop=True)
    known = catalogue_features(entries, options=held["options"].catalogue)
    return pd.concat([pd.DataFrame({"cluster_id": names}), known], axis=1), cutouts


def _turned(image: np.ndarray, code: int) -> np.ndarray:
    """One of the seven flips and quarter turns that move something."""
    turned = np.rot90(image, code % 4, axes=(2, 3))
    return turned[..., ::-1] if code >= 4 else turned


@lru_cache(maxsize=2)
def _held(prepared: Path) -> dict[str, Any]:
    """What a worker reads once; the fields stay on disk and are mapped."""
    from skytrace.parameters import build_options
    from skytrace.pipelines.cluster_pu.estimators import loaded_members
    from skytrace.pipelines.cluster_pu.options import FeatureOptions
    from skytrace.statistics.streams import standard_normals

    models = json.loads((prepared / "models.json").read_text(encoding="utf-8"))
    options = json.loads((prepared / "options.json").read_text(encoding="utf-8"))
    return {
        "image": np.load(prepared / "image.npy", mmap_mode="r"),
        "noise": np.load(prepared / "noise.npy"),
        "fwhm": np.load(prepared / "fwhm.npy"),
        "catalogue": pd.read_parquet(prepared / "catalogue.parquet"),
        "models": models,
        "members": loaded_members(models),
        "options": build_options("features", options["features"], FeatureOptions),
        "scale": options["pixel_scale_arcsec"],
        "pool": standard_normals([0], (_POOL,), seed=_SEED)[0],
    }
