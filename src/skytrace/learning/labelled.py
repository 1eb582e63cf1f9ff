"""What a detector is trained on: stamps in memory or on disk, with labels, weights, pools and observing conditions."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute import fingerprint
from skytrace.errors import CatalogueError, PixelError
from skytrace.learning.scoring import check_stamps
from skytrace.learning.store import StampStore

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["LabelledStamps"]


@dataclass(frozen=True)
class LabelledStamps:
    """stamps: (n, band, y, x) float32, preprocessed. labels: (n,) 1 lens, 0 galaxy. weights: (n,) of the loss.

    stamps: an array, or a StampStore whose pixels are checked when they are read. is_confuser: (n,) true for galaxies
    of pool N2; None means none. metadata: one row a stamp, with the columns that ``TrainingOptions.metadata`` and the
    domains of an ensemble name; a network sees those of the former alone. in_domain: (n,) rows to be drawn more often.
    """

    stamps: NDArray[np.float32] | StampStore
    labels: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None
    is_confuser: NDArray[np.bool_] | None = None
    metadata: pd.DataFrame | None = None
    in_domain: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.stamps)
        if not isinstance(self.stamps, StampStore):
            check_stamps(self.stamps, shape=self.stamps.shape[1:])
        labels = np.asarray(self.labels, dtype=np.int64)
        weights = np.ones(n) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        is_confuser = np.zeros(n, bool) if self.is_confuser is None else np.asarray(self.is_confuser, dtype=bool)
        for name, values in (("labels", labels), ("weights", weights), ("is_confuser", is_confuser)):
            if values.shape != (n,):
                raise PixelError(f"{name} have shape {values.shape} for {n} stamps")
            object.__setattr__(self, name, values)
        if self.in_domain is not None:
            object.__setattr__(self, "in_domain", np.asarray(self.in_domain, dtype=bool))
            if np.shape(self.in_domain) != (n,):
                raise PixelError(f"in_domain has shape {np.shape(self.in_domain)} for {n} stamps")
        if self.metadata is not None and len(self.metadata) != n:
            raise CatalogueError(f"metadata has {len(self.metadata)} rows for {n} stamps")
        if not np.isin(labels, (0, 1)).all():
            raise CatalogueError(f"labels are {np.unique(labels)[:5]}; a label is 1 (lens) or 0 (galaxy)")
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise CatalogueError("sample weights must be finite and not negative")

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """What a model card says of a sample: counts and hashes, the same for an array and a store of its pixels.

        A store is read once from end to end; PixelError where a pixel is not finite.
        """
        assert self.is_confuser is not None
        stored = isinstance(self.stamps, StampStore)
        return {
            "lenses": int(self.labels.sum()),
            "galaxies": int((self.labels == 0).sum()),
            "confusers": int((self.is_confuser & (self.labels == 0)).sum()),
            "stamps_sha256": self.stamps.sha256 if stored else fingerprint(self.stamps, length=64),  # type: ignore[union-attr]
            "labels_sha256": fingerprint(self.labels, length=64),
        }

    def fingerprint(self) -> str:
        """64 hexadecimal digits that name everything in the sample."""
        return fingerprint(self.summary, self.weights, self.is_confuser, self.metadata, self.in_domain, length=64)
