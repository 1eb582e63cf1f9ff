"""The emulator's own error, from residuals of models that it has not seen: a covariance over wavelength, of low rank
and a diagonal, and a scale of each model by how far the members of the ensemble disagree about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["EmulatorError", "error_scale", "fit_error"]

#: Shares of the mean square error that spread may explain, which are tried.
_SHARES = np.linspace(0.0, 0.98, 50)


class EmulatorError(NamedTuple):
    """Cov = scale^2 (components^T components + diag(variance)): components (k, m), variance (m,). scale^2 = 1 - share +
    share x (spread / typical_spread)^2.
    """

    components: NDArray[np.float64]
    variance: NDArray[np.float64]
    share: float
    typical_spread: float


def error_scale(spread: ArrayLike, share: float, typical_spread: float) -> NDArray[np.float64]:
    """Factor (n,) on the errors of models whose members have a standard deviation ``spread`` (n,) about their mean."""
    relative = np.asarray(spread, dtype=np.float64) / typical_spread
    return np.sqrt(1.0 - share + share * relative**2)


def fit_error(residual: ArrayLike, spread: ArrayLike, *, components: int) -> EmulatorError:
    """The error of an emulator with residuals (h, m) on models that it has not seen, and spreads (h,) of its members.

    The share is that of highest Gaussian likelihood, with the spectrum's errors taken as one (they correlate over
    wavelength). The covariance is the mean of the outer products of the scaled residuals, bias included; its diagonal
    is kept whole, beyond the leading components. Raises CatalogueError for fewer than two models.
    """
    left, spread = np.asarray(residual, dtype=np.float64), np.asarray(spread, dtype=np.float64)
    if left.ndim != 2 or len(left) < 2 or spread.shape != (len(left),):
        raise CatalogueError(
            f"residuals of shape {left.shape} with spreads of shape {spread.shape}: at least two models are asked"
        )
    typical = float(np.sqrt((spread**2).mean())) or 1.0
    power = (left**2 / np.maximum((left**2).mean(axis=0), np.finfo(float).tiny)).mean(axis=1)
    squares = [error_scale(spread, share, typical) ** 2 for share in _SHARES]
    likelihood = [-0.5 * (np.log(s).mean() + np.log((power / s).mean())) for s in squares]
    share = float(_SHARES[int(np.argmax(likelihood))]) if spread.any() else 0.0
    scaled = left / error_scale(spread, share, typical)[:, None]
    _, singular, vectors = np.linalg.svd(scaled / np.sqrt(len(left)), full_matrices=False)
    leading = singular[:components, None] * vectors[:components]
    variance = (scaled**2).mean(axis=0) - (leading**2).sum(axis=0)
    return EmulatorError(leading, np.maximum(variance, 0.0), share, typical)
