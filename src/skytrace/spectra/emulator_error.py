"""The emulator's own error, from residuals of models that it has not seen: displacements of its parameters, a
covariance over wavelength of the rest, of low rank and a diagonal, and a scale of each model by how far the members of
the ensemble disagree about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.emulator_covariance import likely_covariance
from skytrace.spectra.emulator_displacement import fit_displacement

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["EmulatorError", "error_scale", "fit_error"]

#: Shares of the mean square error that spread may explain, which are tried.
_SHARES = np.linspace(0.0, 0.98, 50)


class EmulatorError(NamedTuple):
    """Cov(theta) = scale^2 (components^T components + diag(variance) + J diag(displacement^2) J^T): components (k, m),
    variance (m,); displacement (d,): of the parameters as shares of the emulator's box, and J (m, d) the spectrum's
    derivatives by these at theta; 0 where none was fitted. scale^2 = 1 - share + share x (spread / typical_spread)^2.
    sigma (m,): root of the diagonal at scale 1, the last term as it is on average.
    """

    components: NDArray[np.float64]
    variance: NDArray[np.float64]
    share: float
    typical_spread: float
    displacement: NDArray[np.float64]
    sigma: NDArray[np.float64]


def error_scale(spread: ArrayLike, share: float, typical_spread: float) -> NDArray[np.float64]:
    """Factor (n,) on the errors of models whose members have a standard deviation ``spread`` (n,) about their mean."""
    relative = np.asarray(spread, dtype=np.float64) / typical_spread
    return np.sqrt(1.0 - share + share * relative**2)


def fit_error(
    residual: ArrayLike, spread: ArrayLike, *, components: int, derivatives: ArrayLike | None = None,
    scaled: bool = True,
) -> EmulatorError:  # fmt: skip
    """The error of an emulator with residuals (h, m) on models that it has not seen, in bins that are equal in
    ln wavelength, and spreads (h,) of its members; derivatives (h, m, d) of these models' spectra by the parameters as
    shares of the box (``emulator_displacement``), None: no displacement is fitted.

    scaled: whether models differ in scale; the share is that of highest Gaussian likelihood, with the spectrum's errors
    taken as one (they correlate over wavelength). What of the covariance lies beyond its leading components is kept as
    a diagonal. Raises CatalogueError for fewer than two models.
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
    share = float(_SHARES[int(np.argmax(likelihood))]) if scaled and spread.any() else 0.0
    standard = left / error_scale(spread, share, typical)[:, None]
    displacement, displaced = np.zeros(0), np.zeros(left.shape[1])
    if derivatives is None:
        covariance = likely_covariance(standard)
    else:
        slopes = np.asarray(derivatives, dtype=np.float64)
        displacement, covariance, _ = fit_displacement(standard, slopes)
        displaced = ((slopes * displacement) ** 2).sum(axis=2).mean(axis=0)
    size, vectors = np.linalg.eigh(covariance)
    leading = np.sqrt(np.maximum(size[::-1][:components], 0.0))[:, None] * vectors.T[::-1][:components]
    variance = np.diag(covariance) - (leading**2).sum(axis=0)
    sigma = np.sqrt(np.diag(covariance) + displaced)
    return EmulatorError(leading, np.maximum(variance, 0.0), share, typical, displacement, sigma)
