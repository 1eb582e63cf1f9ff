"""The one log density of a spectrum's parameters, in JAX: batched for emcee and dynesty, differentiable for NUTS.

Coordinates: unit (n, D) in [0, 1], the d parameters and, where inadequacy is fitted, its ln amplitude; or z = Phi^-1 of
them, in which the flat prior of the box is a standard normal one. The box's unphysical part and the date of the
explosion are factors of the density; ``log_prior_mass`` is what they leave of the box, by which evidences are divided.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from skytrace.compute.compiled import compiled_by_one
from skytrace.spectra.boxes import box_values
from skytrace.spectra.inference_model import profile_room

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions
    from skytrace.spectra.inference_target import SpectrumTarget

__all__ = [
    "INADEQUACY",
    "PriorPart",
    "coordinate_names",
    "from_unit",
    "log_densities",
    "log_density",
    "log_likelihood",
    "log_posteriors",
    "log_prior",
    "log_prior_mass",
    "misfits",
    "prior_draws",
]

INADEQUACY = "inadequacy"
_LOG_2PI = float(np.log(2.0 * np.pi))


class PriorPart(NamedTuple):
    """Part of the prior: z = axes @ u, axes (D, D) orthonormal, with low <= u <= high (D,). u has the prior's own
    standard normal distribution there.
    """

    axes: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def coordinate_names(model: InferenceModel, options: LikelihoodOptions) -> tuple[str, ...]:
    """Names (D,) of what is sampled: the parameters, and ``inadequacy`` where its amplitude is fitted."""
    return (*model.names, INADEQUACY) if options.inadequacy else tuple(model.names)


def from_unit(unit: Any, model: InferenceModel, options: LikelihoodOptions, *, xp: Any = jnp) -> tuple[Any, Any]:
    """Parameters (..., d) in their natural units, and the amplitude of the inadequacy (...) in y."""
    d = len(model.names)
    parameters = box_values(unit[..., :d], model.box, xp)
    if not options.inadequacy:
        return parameters, xp.zeros(parameters.shape[:-1])
    low, high = np.log(options.amplitude_low), np.log(options.amplitude_high)
    return parameters, xp.exp(low + unit[..., d] * (high - low))


def log_prior(unit: Any, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions) -> Any:
    """Log of the prior's density over that of the flat box, not normalised, (n,) at unit (n, D): what is unphysical is
    cut at a softened edge, and t_exp has the explosion's date.
    """
    parameters, _ = from_unit(unit, model, options)
    room = (model.limits - parameters @ model.limit_rows.T) / model.softness
    value = jax.nn.log_sigmoid(room).sum(axis=-1)
    if model.profile_columns:
        modes = parameters[..., list(model.profile_columns)]
        value = value + jax.nn.log_sigmoid(profile_room(modes, jnp, jax.scipy.special)).sum(axis=-1)
    if options.explosion is not None and "t_exp" in model.names:
        time = parameters[..., model.names.index("t_exp")]
        low, high, soft = target.explosion_day
        value = value - 0.5 * ((jnp.maximum(low - time, 0.0) + jnp.maximum(time - high, 0.0)) / soft) ** 2
    return value


def log_likelihood(unit: Any, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions) -> Any:
    """Log likelihood (n,) at unit (n, D); the mean over the lengths of ``options.lengths_km_s``."""
    parameters, amplitude = from_unit(unit, model, options)
    square, log_determinant = _misfit(parameters, amplitude, target, model)
    each = -0.5 * (square + log_determinant + len(target.rows) * _LOG_2PI)
    return jax.scipy.special.logsumexp(each, axis=1) - np.log(target.whitening.shape[0])


def log_density(z: Any, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions) -> Any:
    """Log of the posterior's density (n,), not normalised, in z (n, D) = Phi^-1(unit)."""
    unit = jax.scipy.special.ndtr(z)
    value = log_likelihood(unit, target, model=model, options=options)
    value = value + log_prior(unit, target, model=model, options=options)
    return value - 0.5 * (z**2).sum(axis=-1) - 0.5 * z.shape[-1] * _LOG_2PI


def _misfit(parameters: Any, amplitude: Any, target: SpectrumTarget, model: InferenceModel) -> tuple[Any, Any]:
    """Squared Mahalanobis distance and log determinant (n, l) by length.

    Between the nodes of the emulator's scale both are interpolated by Lagrange's polynomial in ln(scale), the first in
    its logarithm; at the nodes they are exact. The common factor moves y along dy / dln L = tanh(y) of the model, not
    of the observation, whose noise would then pull luminosities to one side (by 0.4 sigma, where the emulator errs by
    0.1); it is marginalised by Sherman, Morrison & Woodbury's formula.
    """
    stretched, scale = model.forward(target.network, parameters)
    residual = target.observed - (stretched[:, target.rows] * target.weights).sum(axis=-1)
    factor = target.factor_sigma * (jnp.tanh(stretched)[:, target.rows] * target.weights).sum(axis=-1)
    white = jnp.einsum("ljab,nb->nlja", target.whitening, residual * target.root_weights)
    along = jnp.einsum("ljab,nb->nlja", target.whitening, factor)
    grown = 1.0 + amplitude[:, None, None, None] ** 2 * target.eigenvalues
    size = 1.0 + (along**2 / grown).sum(axis=-1)
    squares = (white**2 / grown).sum(axis=-1) - (white * along / grown).sum(axis=-1) ** 2 / size
    log_determinants = target.log_determinant + jnp.log(grown).sum(axis=-1) + jnp.log(size)
    nodes = target.log_scales
    at = jnp.clip(jnp.log(scale), nodes[0], nodes[-1])[:, None]
    others = nodes[:, None] - nodes[None, :] + jnp.eye(len(nodes))
    factors = (at[:, :, None] - nodes[None, None, :]) / others[None]
    share = jnp.prod(jnp.where(jnp.eye(len(nodes), dtype=bool), 1.0, factors), axis=-1)[:, None, :]
    log_squares = jnp.log(jnp.maximum(squares, 1e-300))
    return jnp.exp((share * log_squares).sum(axis=-1)), (share * log_determinants).sum(axis=-1)


def prior_draws(
    n: int, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, rng: np.random.Generator,
    within: PriorPart | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """unit (n, D) drawn from the prior by rejection from the box, or from a part of it."""
    kept: list[NDArray[np.float64]] = []
    while sum(map(len, kept)) < n:
        drawn = rng.uniform(size=(max(4 * n, 1024), len(coordinate_names(model, options))))
        if within is not None:
            drawn = ndtr(_truncated_normal(drawn, within.low, within.high) @ within.axes.T)
        chance = np.exp(_log_priors(drawn, target, model, options))
        kept.append(drawn[rng.uniform(size=len(drawn)) < chance])
    return np.concatenate(kept)[:n]


def _truncated_normal(
    share: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles at share (n, D) of standard normal variables between low and high (D,), mirrored where both are mostly
    positive: the lower tail is where Phi is exact.
    """
    sign = np.where(low > -high, -1.0, 1.0)
    below, above = ndtr(np.minimum(sign * low, sign * high)), ndtr(np.maximum(sign * low, sign * high))
    return sign * ndtri(below + share * (above - below))


def log_prior_mass(target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions) -> float:
    """Log of the mean of exp(``log_prior``) over the box, by 2^15 points of a scrambled Sobol sequence."""
    from scipy.stats import qmc

    points = qmc.Sobol(len(coordinate_names(model, options)), rng=np.random.default_rng(0)).random_base2(15)
    return float(np.log(np.exp(_log_priors(points, target, model, options)).mean()))


def _log_priors(
    unit: NDArray[np.float64], target: SpectrumTarget, model: InferenceModel, options: LikelihoodOptions
) -> NDArray[np.float64]:
    with jax.enable_x64(True):
        return np.asarray(log_prior(jnp.asarray(unit), target, model=model, options=options))


@compiled_by_one
@partial(jax.jit, static_argnames=("model", "options"))
def _densities(z: Any, target: Any, *, model: Any, options: Any) -> Any:
    return log_density(z, target, model=model, options=options)


@compiled_by_one
@partial(jax.jit, static_argnames=("model", "options"))
def _posteriors(unit: Any, target: Any, *, model: Any, options: Any) -> Any:
    value = log_likelihood(unit, target, model=model, options=options)
    return value + log_prior(unit, target, model=model, options=options)


@compiled_by_one
@partial(jax.jit, static_argnames=("model", "options"))
def _misfits(unit: Any, target: Any, *, model: Any, options: Any) -> Any:
    parameters, amplitude = from_unit(unit, model, options)
    with_it, log_determinant = _misfit(parameters, amplitude, target, model)
    without, _ = _misfit(parameters, jnp.zeros_like(amplitude), target, model)
    return with_it, without, jax.nn.softmax(-0.5 * (with_it + log_determinant), axis=1)


def log_densities(z: Any, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions) -> Any:
    """``log_density``, compiled. Call inside ``with jax.enable_x64(True)``."""
    return _densities(z, target, model=model, options=options)


def log_posteriors(unit: Any, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions) -> Any:
    """``log_likelihood`` plus ``log_prior`` (n,) at unit (n, D), compiled: the density that nested sampling needs."""
    return _posteriors(unit, target, model=model, options=options)


def misfits(
    unit: Any, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions
) -> tuple[Any, Any, Any]:
    """Squared Mahalanobis distances (n, l) with the inadequacy of each row, and without any; and each length's share
    of the row's likelihood; compiled.
    """
    return _misfits(unit, target, model=model, options=options)
