"""From a manifest of cutouts to what training takes: who is in which split, with which label and weight.

A manifest has one row a cutout; ``stamp_row`` is its place among the stamps, -1 where quality control rejected it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute import fingerprint
from skytrace.errors import CatalogueError, LeakageError
from skytrace.learning.labelled import LabelledStamps
from skytrace.learning.store import StampStore

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MANIFEST_COLUMNS",
    "NEVER_TRAINED_ON",
    "check_split_certificate",
    "labelled_stamps",
    "rows_of",
    "sample_weights",
    "split_certificate",
    "stamps_at",
]

#: Splits with galaxies that no network was trained on, beside the withheld anchors.
NEVER_TRAINED_ON = ("val", "test")
#: Columns of a manifest, before those of quality control (design page ``lens_finder``, Outputs).
MANIFEST_COLUMNS = (
    "galaxy_id", "stamp_row", "label", "tier", "split", "sample_weight", "pool", "confuser_category", "is_anchor",
    "nobs_z_bin", "type_bin", "healpix_128", "psfsize_r", "psfdepth_r", "galdepth_r", "ebv",
)  # fmt: skip

#: Weight of a lens in the loss, by tier; galaxies count 1.
_TIER_WEIGHTS = {"confirmed": 1.0, "A": 1.0, "B": 0.5, "": 1.0}


def sample_weights(tiers: ArrayLike) -> NDArray[np.float64]:
    """Weight (n,) in the loss: confirmed and A 1, B 0.5, galaxies ("") 1. Raises CatalogueError on another tier."""
    tiers = np.asarray(tiers, dtype=str)
    unknown = sorted(set(tiers) - set(_TIER_WEIGHTS))
    if unknown:
        raise CatalogueError(f"tier {str(unknown[0])!r} is not one of confirmed, A, B, or '' for a galaxy")
    return np.array([_TIER_WEIGHTS[tier] for tier in tiers], dtype=np.float64)


def rows_of(manifest: pd.DataFrame, *splits: str) -> pd.DataFrame:
    """Rows of the manifest in these splits that have a stamp, in order of stamp_row."""
    chosen = manifest["split"].isin(splits) & (manifest["stamp_row"] >= 0)
    return manifest[chosen].sort_values("stamp_row", kind="stable")


def stamps_at(stamps: NDArray[np.float32] | StampStore, rows: pd.DataFrame) -> NDArray[np.float32] | StampStore:
    """The stamps of manifest rows that have one; of a StampStore nothing is read."""
    stamp_rows = rows["stamp_row"].to_numpy()
    return stamps.select(stamp_rows) if isinstance(stamps, StampStore) else stamps[stamp_rows]


def labelled_stamps(stamps: NDArray[np.float32] | StampStore, manifest: pd.DataFrame, *, split: str) -> LabelledStamps:
    """The stamps (n, band, y, x) of one split with labels, weights, pools and the manifest's columns as metadata.

    Of a StampStore nothing is read. Raises CatalogueError where the split has no stamps.
    """
    rows = rows_of(manifest, split)
    if rows.empty:
        raise CatalogueError(f"split {split!r} has no stamps: the sample is too small, or quality control rejected all")
    return LabelledStamps(
        stamps=stamps_at(stamps, rows),
        labels=rows["label"].to_numpy(dtype=np.int64),
        weights=rows["sample_weight"].to_numpy(dtype=np.float64),
        is_confuser=(rows["pool"] == "N2").to_numpy(),
        metadata=rows.reset_index(drop=True),
    )


def check_split_certificate(card: dict[str, Any], manifest: pd.DataFrame) -> None:
    """Raise LeakageError unless ``manifest`` holds the very sample that the detector's card says it was trained with.

    Without it nothing proves that a galaxy of another split table was not trained on.
    """
    trained = card.get("split", {}).get("splits")
    if not trained:
        raise LeakageError("the detector's card has no split certificate: nothing says what it was trained on")
    now = split_certificate(manifest)
    changed = [
        name for name in ("train", "val")
        if trained.get(name, {}).get("galaxy_ids_sha256") != now.get(name, {}).get("galaxy_ids_sha256")
    ]  # fmt: skip
    if changed:
        raise LeakageError(
            f"the {' and '.join(changed)} sample of lens_finder.manifest is not the one that the detector was trained "
            "with (the certificate in its card differs): run lens_finder again, or load versions that belong together"
        )


def split_certificate(manifest: pd.DataFrame) -> dict[str, Any]:
    """Number of stamps and SHA-256 of the sorted galaxy ids of each split (JSON-ready), for the model card."""
    return {
        str(split): {
            "stamps": len(rows),
            "lenses": int(rows["label"].sum()),
            "galaxy_ids_sha256": fingerprint(np.sort(rows["galaxy_id"].to_numpy(dtype=str)), length=64),
        }
        for split, rows in manifest[manifest["stamp_row"] >= 0].groupby("split")
    }
