"""A classification problem whose densities are known: what the best possible classifier attains, and at which prior.

Two Gaussians in d dimensions, the positives' shifted, and correlated where the negatives' are not, so that the exact
log-ratio of the densities is quadratic with products of features. Nothing else can rank better (Neyman & Pearson 1933).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import check_between, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["GaussianProblem"]


@dataclass(frozen=True)
class GaussianProblem:
    """Negatives ~ N(0, I); positives ~ N(m, C) in ``n_features`` dimensions, m and C in the first ``n_informative``.

    separation: Euclidean norm of m, the same in every informative feature. correlation: between any two informative
    features of the positives, whose variances are 1.
    """

    n_features: int = 6
    n_informative: int = 4
    separation: float = 2.5
    correlation: float = 0.3

    def __post_init__(self) -> None:
        check_whole("n_features", self.n_features, 1, 10_000)
        check_whole("n_informative", self.n_informative, 1, self.n_features)
        check_between("separation", self.separation, 0.0, 100.0)
        check_between("correlation", self.correlation, 0.0, 1.0, include_high=False)

    def positives(self, n: int, *, rng: np.random.Generator) -> NDArray[np.float64]:
        """Features (n, n_features) of positives."""
        features = rng.standard_normal((n, self.n_features))
        k = self.n_informative
        features[:, :k] = features[:, :k] @ np.linalg.cholesky(self._covariance()).T + self.separation / np.sqrt(k)
        return features

    def negatives(self, n: int, *, rng: np.random.Generator) -> NDArray[np.float64]:
        """Features (n, n_features) of negatives."""
        return rng.standard_normal((n, self.n_features))

    def unlabelled(
        self, n: int, *, prior: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(features (n, n_features), truth (n,)) of a field sample: every row is positive with probability prior."""
        check_between("prior", prior, 0.0, 1.0)
        truth = (rng.random(n) < prior).astype(np.int64)
        features = self.negatives(n, rng=rng)
        features[truth == 1] = self.positives(int(truth.sum()), rng=rng)
        return features, truth

    def log_ratio(self, features: ArrayLike) -> NDArray[np.float64]:
        """ln p(x | positive) / p(x | negative), (n,): exact."""
        k = self.n_informative
        x = np.asarray(features, dtype=np.float64)[:, :k]
        covariance = self._covariance()
        from_mean = x - self.separation / np.sqrt(k)
        positive = np.einsum("ni,ij,nj->n", from_mean, np.linalg.inv(covariance), from_mean)
        return 0.5 * (np.sum(x**2, axis=1) - positive - np.linalg.slogdet(covariance)[1])

    def logits(self, features: ArrayLike, *, prior: float) -> NDArray[np.float64]:
        """Exact log-odds (n,) of being positive where a share ``prior`` is."""
        check_between("prior", prior, 0.0, 1.0, include_low=False, include_high=False)
        return self.log_ratio(features) + np.log(prior / (1.0 - prior))

    def _covariance(self) -> NDArray[np.float64]:
        k = self.n_informative
        return (1.0 - self.correlation) * np.eye(k) + self.correlation
