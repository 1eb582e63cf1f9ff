"""The backstop for what no positive looked like: distance from known non-lenses in the space of learnt features.

Mahalanobis distance with the covariance shrunk towards a multiple of the identity (Ledoit & Wolf 2004, J. Multivar.
Anal. 88, 365). Features are standardised first, because the identity of shrinkage has the features' units. The
threshold is a quantile of distances of non-lenses that the covariance was *not* fitted to: a fitted row lies nearer.
Features are skewed, so a distance is no number of Gaussian standard deviations: what counts is the share of non-lenses
as far or farther.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, check_between, check_whole
from skytrace.statistics import LEVELS, beta_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["AnomalyDetector", "anomalies_over_chance", "fit_anomaly_detector"]


_ARRAYS = ("location", "scale", "precision", "reference_distances")


@dataclass(frozen=True)
class AnomalyDetector:
    """location, scale (d,): of the standardised features. precision (d, d): inverse of their shrunk covariance.

    threshold: distance above which an object is anomalous, the ``quantile`` of n_reference held-out non-lenses.
    shrinkage: Ledoit and Wolf's, in [0, 1]. reference_distances (n_reference,): of these non-lenses, rising.
    """

    location: NDArray[np.float64]
    scale: NDArray[np.float64]
    precision: NDArray[np.float64]
    threshold: float
    quantile: float
    n_reference: int
    shrinkage: float
    reference_distances: NDArray[np.float64]

    def distances(self, features: ArrayLike) -> NDArray[np.float64]:
        """Mahalanobis distance (n,) of features (n, d) from the non-lenses; in units of their scatter."""
        x = (_features(features, width=len(self.location)) - self.location) / self.scale
        return np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", x, self.precision, x), 0.0))

    def is_anomalous(self, features: ArrayLike) -> NDArray[np.bool_]:
        """(n,): farther than the threshold."""
        return self.distances(features) > self.threshold

    def tail_shares(self, features: ArrayLike) -> NDArray[np.float64]:
        """(n,): share of non-lenses at least as far, (1 + those of the reference) / (1 + n_reference): never 0."""
        nearer = np.searchsorted(self.reference_distances, self.distances(features), side="left")
        return (1.0 + len(self.reference_distances) - nearer) / (1.0 + len(self.reference_distances))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; ``AnomalyDetector.from_dict`` reads it."""
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> AnomalyDetector:
        """The detector that ``as_dict`` wrote."""
        arrays = {key: np.asarray(stored[key], dtype=np.float64) for key in _ARRAYS}
        return cls(**{**stored, **arrays})


def fit_anomaly_detector(
    features: ArrayLike, *, quantile: float = 0.99, folds: int = 5, seed: int = 20260101
) -> AnomalyDetector:
    """Detector from features (n, d) of known non-lenses; about 1 - quantile of such objects will be called anomalous.

    The threshold is the ceil((n + 1) quantile)-th of n distances, each from a covariance of the other folds: new
    non-lenses exceed it with probability 1 - quantile or less (split conformal; Vovk 2015 for folds).
    Raises OptionError where n < 2 folds or the quantile asks for more rows than there are, CatalogueError on NaN rows.
    """
    x = _features(features)
    check_between("quantile", quantile, 0.0, 1.0, include_low=False, include_high=False)
    check_whole("folds", folds, 2, 1000)
    check_whole("n_reference", len(x), max(2 * folds, int(np.ceil(quantile / (1.0 - quantile) - 1e-9))), 2**53)
    fold = np.random.default_rng(seed).permutation(len(x)) % folds
    held_out = np.empty(len(x))
    for number in range(folds):
        held = fold == number
        held_out[held] = _fitted(x[~held], quantile=quantile).distances(x[held])
    rank = int(np.ceil((len(x) + 1) * quantile - 1e-9))
    return _fitted(x, quantile=quantile, threshold=float(np.sort(held_out)[rank - 1]), reference=np.sort(held_out))


def anomalies_over_chance(anomalous: ArrayLike, labels: ArrayLike, *, level: float = LEVELS["95"]) -> dict[str, Any]:
    """What a backstop finds against what as many objects drawn blindly would hold: called, found (positives among
    them), by_chance, ratio, low_95, high_95.

    anomalous, labels (n,): called or not, positive or not. The interval is Jeffreys' of the positives' share of the
    called over their share of all (n), which is taken as known; ratio is NaN where nothing is called, and 1 is chance.
    Raises CatalogueError without a positive.
    """
    called, positive = np.asarray(anomalous, dtype=bool), np.asarray(labels) == 1
    if called.shape != positive.shape or not positive.any():
        raise CatalogueError(
            f"{int(positive.sum())} positives in {positive.shape}, anomalies {called.shape}: none to find"
        )
    n, found, share = int(called.sum()), int((called & positive).sum()), float(positive.mean())
    low, high = beta_interval(found, n, level)
    ratio = found / (n * share) if n else float("nan")
    return {
        "called": n, "found": found, "by_chance": n * share, "ratio": ratio,
        "low_95": float(low) / share, "high_95": float(high) / share,
    }  # fmt: skip


def _fitted(
    x: NDArray[np.float64], *, quantile: float, threshold: float = np.inf, reference: ArrayLike = ()
) -> AnomalyDetector:
    from sklearn.covariance import ledoit_wolf

    location, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(location), 1.0), scale, 1.0)  # a constant feature says nothing
    covariance, shrinkage = ledoit_wolf((x - location) / scale, assume_centered=True)
    precision = np.linalg.pinv(covariance, hermitian=True)
    reference = np.asarray(reference, dtype=np.float64)
    return AnomalyDetector(location, scale, precision, threshold, quantile, len(x), float(shrinkage), reference)


def _features(features: ArrayLike, *, width: int | None = None) -> NDArray[np.float64]:
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or not x.size or (width is not None and x.shape[1] != width):
        wanted = "(n, d)" if width is None else f"(n, {width})"
        raise CatalogueError(f"features have shape {x.shape}; {wanted} is wanted, with n > 0")
    wrong = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(wrong):
        raise CatalogueError(f"{len(wrong)} of {len(x)} rows of features hold NaN or inf, the first is row {wrong[0]}")
    return x
