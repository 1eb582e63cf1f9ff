"""The emulator of spectra: parameters of ejecta to a spectrum with the emulator's own error, in numpy and in JAX.

What is emulated is y = asinh(L / (softening x level_erg_s_a)): one fixed level for all models, so that an observed
spectrum has one transform, whatever the parameters, and y keeps the absolute luminosity. Within, the networks know the
spectrum's shape (its stretched flux over its own mean, as principal components) apart from its mean flux; y follows
from both exactly. Errors are Gaussian in y; their covariance is that of ``EmulatorError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.emulator_error import EmulatorError, error_scale
from skytrace.spectra.emulator_inputs import emulator_inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SpectraPrediction", "SpectrumEmulator", "emulator_from_arrays", "emulator_to_arrays", "jax_predict"]

#: Rows that pass the networks together, so that a layer's output stays in the processor's cache.
_ROWS = 256


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

    names, low, high, logarithmic: the parameters (d,), in order, the box within which it was trained, and whether they
    are read as logarithms. wavelength_angstrom (m,). softening, level_erg_s_a: of y. shape_mean (m,), shape_components
    (k, m), orthonormal: of the stretched flux over its mean. input_mean, input_scale (q,); weights (a, in, out) and
    biases (a, 1, out) a layer, of the a members: single precision. Their k + 1 outputs, times output_scale and with
    output_mean added, are the scores and ln of mean flux over level_erg_s_a, of which level_slope (d,) x parameters is
    taken out before. error: of y, measured on models that no member saw. distilled: whether one network stands for an
    ensemble (``emulator_distillation``); its last output is ln of the members' spread.
    """

    names: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    logarithmic: NDArray[np.bool_]
    wavelength_angstrom: NDArray[np.float64]
    softening: float
    level_erg_s_a: float
    shape_mean: NDArray[np.float64]
    shape_components: NDArray[np.float64]
    input_mean: NDArray[np.float64]
    input_scale: NDArray[np.float64]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    output_mean: NDArray[np.float64]
    output_scale: NDArray[np.float64]
    level_slope: NDArray[np.float64]
    error: EmulatorError
    distilled: bool = False

    def predict(self, parameters: ArrayLike) -> SpectraPrediction:
        """Spectra of parameters (n, d), in the order of ``names`` and in their own units.

        Raises CatalogueError for another shape. Outside the box the networks extrapolate, and nothing says how badly.
        """
        y, scale = self.predict_stretched(parameters)
        stretched = y.astype(np.float64)
        return SpectraPrediction(stretched, scale[:, None] * self.sigma, scale, self.unstretch(stretched))

    def predict_stretched(self, parameters: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """y (n, m) in single precision and scale (n,): what ``predict`` gives, without the rest, for many models."""
        values = np.asarray(parameters, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise CatalogueError(f"parameters of shape {values.shape}: (n, {len(self.names)}) is asked")
        stretched = np.empty((len(values), len(self.wavelength_angstrom)), dtype=np.float32)
        scale = np.empty(len(values))
        components, mean = self.shape_components.astype(np.float32), self.shape_mean.astype(np.float32)
        for first in range(0, len(values), _ROWS):
            rows = slice(first, first + _ROWS)
            outputs, spread = self.outputs(values[rows])
            flux = np.sinh(outputs[:, :-1] @ components + mean)
            flux *= np.exp(outputs[:, -1:])
            np.arcsinh(flux, out=stretched[rows])
            scale[rows] = error_scale(spread, self.error.share, self.error.typical_spread)
        return stretched, scale

    def outputs(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Mean over the members of scores and ln(mean flux / level), (n, k + 1), and the members' spread (n,): standard
        deviation in stretched flux, rms over wavelength.
        """
        box = (self.low, self.high, self.logarithmic)
        inputs = (emulator_inputs(parameters, self.names, box) - self.input_mean) / self.input_scale
        x = self.members(inputs.astype(np.float32))
        x *= self.output_scale.astype(np.float32)
        mean = x.mean(axis=0) + self.output_mean.astype(np.float32)
        if self.distilled:
            spread, mean = np.exp(mean[:, -1].astype(np.float64)), mean[:, :-1]
        else:
            spread = member_spread(x, len(self.wavelength_angstrom))
        mean[:, -1] += (parameters @ self.level_slope).astype(np.float32)
        return mean, spread

    def members(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (a, n, k + 1) of every network, in units of their scale, of standardised inputs (n, q)."""
        x = inputs[None]
        with np.errstate(over="ignore"):  # e^-x of a unit that is off
            for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
                x = x @ weight
                x += bias
                gate = np.exp(-x)
                gate += np.float32(1.0)
                x /= gate
        return x @ self.weights[-1] + self.biases[-1]

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Standard deviation (m,) of y for a model of scale 1, on average over the box."""
        return self.error.sigma

    def stretch(self, luminosity: ArrayLike) -> NDArray[np.float64]:
        """y of spectra (n, m) [erg/s/A]."""
        return np.arcsinh(np.asarray(luminosity, dtype=np.float64) / (self.softening * self.level_erg_s_a))

    def unstretch(self, stretched: ArrayLike) -> NDArray[np.float64]:
        """The inverse of ``stretch``."""
        return np.sinh(np.asarray(stretched, dtype=np.float64)) * (self.softening * self.level_erg_s_a)


def member_spread(outputs: NDArray, pixels: int) -> NDArray[np.float64]:
    """Standard deviation (n,) of members' outputs (a, n, k + 1), scores and ln mean flux, in stretched flux: rms over
    ``pixels`` wavelengths.
    """
    apart = (outputs - outputs.mean(axis=0)).astype(np.float64)
    power = (apart[..., :-1] ** 2).sum(axis=2) / pixels + apart[..., -1] ** 2
    return np.sqrt(power.sum(axis=0) / max(1, len(outputs) - 1))


def jax_predict(emulator: SpectrumEmulator, parameters: Any) -> tuple[Any, Any]:
    """(y (n, m), scale (n,)) of parameters (n, d) in JAX: differentiable, may be jitted; equal to ``predict`` to 1e-5.

    Networks are computed in the precision of ``emulator.input_mean``, their inputs in that of the parameters.
    """
    import jax
    import jax.numpy as jnp

    theta = jnp.asarray(parameters)
    box = (emulator.low, emulator.high, emulator.logarithmic)
    # a box's ends are double: without this cast the networks would be, too
    precision = jax.dtypes.canonicalize_dtype(emulator.input_mean.dtype)
    x = (emulator_inputs(theta, emulator.names, box, jnp) - emulator.input_mean) / emulator.input_scale
    x = x[None].astype(precision)
    for weight, bias in zip(emulator.weights[:-1], emulator.biases[:-1], strict=True):
        x = jax.nn.silu(x @ weight + bias)
    x = (x @ emulator.weights[-1] + emulator.biases[-1]) * emulator.output_scale
    out = x.mean(axis=0) + emulator.output_mean
    if emulator.distilled:
        square, out = jnp.exp(2.0 * out[:, -1]), out[:, :-1]
    else:
        apart = x - x.mean(axis=0)
        power = (apart[..., :-1] ** 2).sum(axis=2) / len(emulator.wavelength_angstrom) + apart[..., -1] ** 2
        square = power.sum(axis=0) / max(1, len(emulator.weights[0]) - 1)
    square = square / emulator.error.typical_spread**2
    scale = jnp.sqrt(1.0 - emulator.error.share + emulator.error.share * square)
    shape = out[:, :-1] @ emulator.shape_components + emulator.shape_mean
    level = out[:, -1] + (theta @ emulator.level_slope).astype(precision)
    return jnp.arcsinh(jnp.sinh(shape) * jnp.exp(level)[:, None]), scale


_PLAIN = (
    "low", "high", "logarithmic", "wavelength_angstrom", "shape_mean", "shape_components", "input_mean", "input_scale",
    "output_mean", "output_scale", "level_slope",
)  # fmt: skip
_SCALARS = ("softening", "level_erg_s_a")


def emulator_to_arrays(emulator: SpectrumEmulator) -> dict[str, NDArray]:
    """The emulator as named arrays without Python objects, for an npz."""
    arrays = {name: np.asarray(getattr(emulator, name)) for name in (*_PLAIN, *_SCALARS)}
    arrays["names"] = np.array(emulator.names)
    arrays["distilled"] = np.array(emulator.distilled)
    for layer, (weight, bias) in enumerate(zip(emulator.weights, emulator.biases, strict=True)):
        arrays[f"weight_{layer}"], arrays[f"bias_{layer}"] = weight, bias
    return arrays | {f"error_{name}": np.asarray(value) for name, value in emulator.error._asdict().items()}


def emulator_from_arrays(arrays: dict[str, NDArray]) -> SpectrumEmulator:
    """The inverse of ``emulator_to_arrays``. Raises CatalogueError naming arrays that are missing."""
    layers = sum(name.startswith("weight_") for name in arrays)
    wanted = [*_PLAIN, *_SCALARS, "names", "distilled", "weight_0"]
    wanted += [f"error_{name}" for name in EmulatorError._fields]
    wanted += [f"bias_{layer}" for layer in range(layers)]
    if missing := [name for name in wanted if name not in arrays]:
        raise CatalogueError(f"arrays of an emulator lack {', '.join(missing)}; there are {', '.join(arrays)}")
    error = EmulatorError(
        np.asarray(arrays["error_components"]), np.asarray(arrays["error_variance"]),
        float(arrays["error_share"]), float(arrays["error_typical_spread"]),
        np.asarray(arrays["error_displacement"]), np.asarray(arrays["error_sigma"]),
    )  # fmt: skip
    parts: dict[str, Any] = {name: np.asarray(arrays[name]) for name in _PLAIN}
    parts |= {name: float(arrays[name]) for name in _SCALARS}
    return SpectrumEmulator(
        names=tuple(str(name) for name in arrays["names"]),
        weights=tuple(np.asarray(arrays[f"weight_{layer}"]) for layer in range(layers)),
        biases=tuple(np.asarray(arrays[f"bias_{layer}"]) for layer in range(layers)),
        error=error,
        distilled=bool(arrays["distilled"]),
        **parts,
    )
