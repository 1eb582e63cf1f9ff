"""The emulator of spectra: parameters of ejecta to a spectrum with the emulator's own error, in numpy and in JAX.

What is emulated is y = asinh(L / (softening x level_erg_s_a)): one fixed level for all models, so that an observed
spectrum has one transform, whatever the parameters, and y keeps the absolute luminosity. Errors are Gaussian in y:
Cov[y](theta) = scale(theta)^2 (error_components^T error_components + diag(error_variance)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SpectraPrediction", "SpectrumEmulator", "jax_predict"]


class SpectraPrediction(NamedTuple):
    """stretched: y (n, m); sigma (n, m): its standard deviation, by wavelength; scale (n,): the factor on the errors of
    the mean model; luminosity (n, m) [erg/s/A].
    """

    stretched: NDArray[np.float64]
    sigma: NDArray[np.float64]
    scale: NDArray[np.float64]
    luminosity: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpectrumEmulator:
    """A trained emulator as a value of plain arrays.

    names, low, high: the parameters (d,), in order, and the box within which it was trained. wavelength_angstrom (m,).
    softening, level_erg_s_a: of y. error_components (k, m), error_variance (m,): covariance of y's error, measured on
    models that no member of the ensemble saw, for models of scale 1.
    """

    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    wavelength_angstrom: NDArray[np.float64]
    softening: float
    level_erg_s_a: float
    error_components: NDArray[np.float64]
    error_variance: NDArray[np.float64]

    def predict(self, parameters: ArrayLike) -> SpectraPrediction:
        """Spectra of parameters (n, d), in the order of ``names`` and their natural units."""
        raise NotImplementedError

    def stretch(self, luminosity: ArrayLike) -> NDArray[np.float64]:
        """y of spectra (n, m) [erg/s/A]."""
        return np.arcsinh(np.asarray(luminosity, dtype=np.float64) / (self.softening * self.level_erg_s_a))

    def unstretch(self, stretched: ArrayLike) -> NDArray[np.float64]:
        """The inverse of ``stretch``."""
        return np.sinh(np.asarray(stretched, dtype=np.float64)) * (self.softening * self.level_erg_s_a)

    def covariance(self, scale: float = 1.0) -> NDArray[np.float64]:
        """Covariance (m, m) of the error of y for a model of this scale."""
        low_rank = self.error_components.T @ self.error_components
        return scale**2 * (low_rank + np.diag(self.error_variance))


def jax_predict(emulator: SpectrumEmulator, parameters: Any) -> tuple[Any, Any]:
    """(y (n, m), scale (n,)) of parameters (n, d) in JAX: differentiable, may be jitted; equal to ``predict`` to 1e-5.

    With 64-bit JAX it computes in float64.
    """
    raise NotImplementedError
