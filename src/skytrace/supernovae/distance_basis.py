"""The redshift basis of the QFD distance law, and an orthogonal form of it that can be sampled.

Phi = [ln(1+z), z, z/(1+z)], with coefficients p = (k_J, eta', xi) in units of alpha = -(ln 10/2.5) mu. The columns are
all but parallel. With the (centred) Phi = Q R of N supernovae, Q' = sqrt(N) Q and R' = R / sqrt(N), Phi p = Q' c
where c = R' p; so p = solve_triangular(R', c) (not R' c). Columns of Q' have unit rms: c is the rms of alpha that a
component stands for, whatever N is, and a prior on it means something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import solve_triangular

from skytrace.errors import CatalogueError, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["COEFFICIENTS", "DistanceBasis", "basis_diagnostics", "distance_basis", "qfd_basis"]

COEFFICIENTS = ("k_j", "eta_prime", "xi")
_COLUMNS = ("ln(1+z)", "z", "z/(1+z)")


@dataclass(frozen=True)
class DistanceBasis:
    """One stored QR of Phi. mean (k,): subtracted from Phi (zero where not centred). q (n, k): Q'. r (k, k): R', upper
    triangular with a positive diagonal, so that the same redshifts always give the same c.
    """

    mean: NDArray[np.float64]
    q: NDArray[np.float64]
    r: NDArray[np.float64]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients p."""
        return COEFFICIENTS[: len(self.r)]

    def physical(self, c: ArrayLike) -> NDArray[np.float64]:
        """p (..., k) of c (..., k): the solution of R' p = c."""
        c = np.asarray(c, dtype=np.float64)
        flat = solve_triangular(self.r, c.reshape(-1, len(self.r)).T, lower=False)
        return np.ascontiguousarray(flat.T).reshape(c.shape)

    def orthogonal(self, p: ArrayLike) -> NDArray[np.float64]:
        """c (..., k) = R' p of p (..., k)."""
        return np.asarray(p, dtype=np.float64) @ self.r.T

    def rows(self, z: ArrayLike) -> NDArray[np.float64]:
        """Rows (m, k) of Q' at other redshifts: (Phi(z) - mean) R'^-1, for predictions and held-out supernovae."""
        centred = qfd_basis(z, n_terms=len(self.r)) - self.mean
        return np.ascontiguousarray(solve_triangular(self.r, centred.T, trans="T", lower=False).T)


def qfd_basis(z: ArrayLike, *, n_terms: int = 3) -> NDArray[np.float64]:
    """Phi (n, n_terms) of redshifts (n,), not centred: the first of ln(1+z), z, z/(1+z)."""
    check_whole("n_terms", n_terms, 1, 3)
    z = np.atleast_1d(np.asarray(z, dtype=np.float64))
    if not (z > -1.0).all():
        raise CatalogueError("redshifts of the distance basis must be finite and above -1")
    return np.stack([np.log1p(z), z, z / (1.0 + z)], axis=1)[:, :n_terms]


def distance_basis(z: ArrayLike, *, n_terms: int = 3, centred: bool = True) -> DistanceBasis:
    """Basis of redshifts (n,); centred: columns without their mean, so that an offset does not trade with them.

    Raises CatalogueError where there are too few distinct redshifts to tell the columns apart.
    """
    phi = qfd_basis(z, n_terms=n_terms)
    distinct = len(np.unique(phi[:, 0]))
    if distinct < n_terms + int(centred):
        raise CatalogueError(f"{distinct} distinct redshifts cannot determine a distance basis of {n_terms} terms")
    mean = phi.mean(axis=0) if centred else np.zeros(n_terms)
    q, r = np.linalg.qr(phi - mean)
    sign = np.where(np.diag(r) < 0.0, -1.0, 1.0)
    root = np.sqrt(len(phi))
    return DistanceBasis(mean, q * sign * root, r * sign[:, None] / root)


def basis_diagnostics(z: ArrayLike, *, n_terms: int = 3) -> dict[str, Any]:
    """Condition numbers (2-norm) before and after, and correlations of the columns.

    kappa_raw: Phi as written. kappa_centred: without the columns' means. kappa_scaled: also of unit variance.
    kappa_normal: of Phi^T Phi, the square of kappa_raw, which normal equations meet. kappa_orthogonal: of Q'.
    correlation: {"ln(1+z), z": r, ...}.
    """
    phi = qfd_basis(z, n_terms=n_terms)
    centred = phi - phi.mean(axis=0)
    raw = float(np.linalg.cond(phi))
    correlation = np.corrcoef(phi.T).reshape(n_terms, n_terms)
    return {
        "n": len(phi),
        "kappa_raw": raw,
        "kappa_normal": raw**2,
        "kappa_centred": float(np.linalg.cond(centred)),
        "kappa_scaled": float(np.linalg.cond(centred / centred.std(axis=0))),
        "kappa_orthogonal": float(np.linalg.cond(distance_basis(z, n_terms=n_terms).q)),
        "correlation": {
            f"{_COLUMNS[i]}, {_COLUMNS[j]}": float(correlation[i, j])
            for i in range(n_terms)
            for j in range(i + 1, n_terms)
        },
    }
