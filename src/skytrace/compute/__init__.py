"""Long computations: a pure function mapped over shards, files written whole or not at all, one progress bar."""

from skytrace.compute.arrays import load_npz, save_npz
from skytrace.compute.clusters import ClusterOptions
from skytrace.compute.files import atomic_path
from skytrace.compute.fingerprint import fingerprint
from skytrace.compute.progress import progress
from skytrace.compute.shards import map_shards
from skytrace.compute.threads import single_threaded

__all__ = [
    "ClusterOptions",
    "atomic_path",
    "fingerprint",
    "load_npz",
    "map_shards",
    "progress",
    "save_npz",
    "single_threaded",
]
