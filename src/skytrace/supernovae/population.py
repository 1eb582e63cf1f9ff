"""The population of supernovae as one log density: NUTS, the Laplace approximation and emcee all call this one.

alpha_i = law(z_i) + offset + noise of scale sqrt(sigma_int^2 + sigma_i^2), Student-t or a mixture of clean supernovae
and outliers. A law is linear in what is sampled, law = base - design w: w are the coefficients c of an orthogonal basis
(``distance_basis``), or, for flat LambdaCDM, Chebyshev polynomials of ln(Omega_M + 0.02), through which
alpha(z, Omega_M) is interpolated: within 1e-9 up to z = 2.5, 1e-6 up to z = 4.

theta (d,), in the order of ``parameter_names``, is unbounded, and the density is of theta: offset and c as they are,
logit of omega_m and of outlier_fraction, log of outlier_sigma, log(nu) or a soft 1/nu, and sigma_int with a sign that
means nothing. The sign makes the density smooth where sigma_int is consistent with 0. Functions are JAX, in theta's own
precision: call them with float64 inside ``with jax.enable_x64(True)``; nothing is switched on at import. Those with an
argument xp are the same formulas in numpy with xp=np, where nothing has to be compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skytrace.supernovae.cosmology import (
    ALPHA_PER_MAG,
    N_TERMS,
    HubbleData,
    fixed_distance_modulus,
    flat_lcdm_distance_modulus,
    hubble_data,
)
from skytrace.supernovae.distance_basis import DistanceBasis, distance_basis
from skytrace.supernovae.noise_tail import log_gamma, sample_tail, tail_and_log_prior, tail_parameter, tail_start

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.supernovae.population_options import PopulationOptions

__all__ = [
    "MEAN_MU_MAG",
    "PopulationData",
    "log_density",
    "log_likelihood",
    "log_prior",
    "mean_alpha",
    "n_terms",
    "outlier_probability",
    "parameter_names",
    "parameters",
    "population_data",
    "sample_prior",
    "simulate_alpha",
    "start",
]

#: alpha of this distance modulus is the zero point of the offset where a law has no distance term
MEAN_MU_MAG = 40.0
#: of the polynomial in ln(Omega_M + shift), in which the law's singularity at Omega_M = -1/((1+z)^3 - 1) is far away
_DEGREE, _OMEGA_M_SHIFT = 16, 0.02
_START_MADS = 20.0  # median absolute deviations
_HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


class PopulationData(NamedTuple):
    """What the density needs of n supernovae: alpha, alpha_err, base (n,), design (n, k). weight (n,): how often each
    counts, 0 for rows that only fill up a size (``compiled_density.padded``); None: all once.
    """

    alpha: Any
    alpha_err: Any
    base: Any
    design: Any
    weight: Any = None


def n_terms(options: PopulationOptions) -> int:
    """Number of coefficients c of the law: 3, 2, or 0 where it isn't a sum of terms."""
    return N_TERMS.get(options.model, 0)


def parameter_names(options: PopulationOptions) -> tuple[str, ...]:
    """Names of the d entries of theta, in order, by what ``parameters`` returns for them."""
    law = [f"c_{i + 1}" for i in range(n_terms(options))] or (["omega_m"] if options.model == "flat_lcdm" else [])
    offset = [] if options.model == "qfd_seed" else ["offset"]
    noise = ["nu"] if options.likelihood == "student_t" else ["outlier_fraction", "outlier_shift", "outlier_sigma"]
    return (*offset, *law, "sigma_int", *noise)


def population_data(
    table: pd.DataFrame | HubbleData, *, options: PopulationOptions, basis: DistanceBasis | None = None
) -> tuple[PopulationData, DistanceBasis | None]:
    """Data of a Hubble table (as ``hubble_data`` takes it) in float64 numpy, and the basis of its design.

    basis: that of the supernovae fitted, for the prediction of others; made from these where None; None is returned
    for laws that have none.
    """
    hubble = table if isinstance(table, HubbleData) else hubble_data(table)
    alpha, error = -ALPHA_PER_MAG * hubble.mu_mag, ALPHA_PER_MAG * hubble.mu_err_mag
    k = n_terms(options)
    if k and basis is None:
        basis = distance_basis(hubble.z_hd, n_terms=k, centred=options.model != "qfd_seed")
    design = basis.rows(hubble.z_hd) if k and basis is not None else np.zeros((len(alpha), 0))
    if options.model == "flat_lcdm":
        design = -_interpolated_lcdm(hubble, options)
    return PopulationData(alpha, error, _base(hubble, options), design), (basis if k else None)


def mean_alpha(theta: Any, data: PopulationData, *, options: PopulationOptions, xp: Any = jnp) -> Any:
    """Mean alpha (n,) of the law at theta (d,). xp: jax.numpy or numpy."""
    first = int(options.model != "qfd_seed")
    offset = theta[0] if first else 0.0
    if options.model == "flat_lcdm":
        span = float(np.log1p(1.0 / _OMEGA_M_SHIFT))
        x = 2.0 * xp.log1p(xp.exp(-xp.logaddexp(0.0, -theta[1])) / _OMEGA_M_SHIFT) / span - 1.0
        polynomials = [xp.ones_like(x), x]
        for _ in range(_DEGREE - 1):
            polynomials.append(2.0 * x * polynomials[-1] - polynomials[-2])
        weights = xp.stack(polynomials)
    else:
        weights = theta[first : first + n_terms(options)]
    return data.base + offset - data.design @ weights


def log_likelihood(theta: Any, data: PopulationData, *, options: PopulationOptions, xp: Any = jnp) -> Any:
    """Log likelihood (n,) of every supernova at theta (d,). xp: jax.numpy or numpy."""
    residual = data.alpha - mean_alpha(theta, data, options=options, xp=xp)
    variance = data.alpha_err**2 + theta[parameter_names(options).index("sigma_int")] ** 2
    if options.likelihood == "mixture":
        clean, outlier = _mixture_terms(theta, residual, variance, data.alpha_err, xp)
        return xp.logaddexp(clean, outlier)
    nu = tail_parameter(theta[-1], options=options, xp=xp)
    constant = log_gamma(0.5 * (nu + 1.0), xp) - log_gamma(0.5 * nu, xp) - 0.5 * xp.log(np.pi * nu)
    return constant - 0.5 * xp.log(variance) - 0.5 * (nu + 1.0) * xp.log1p(residual**2 / (nu * variance))


def log_prior(theta: Any, *, options: PopulationOptions) -> Any:
    """Log prior density of theta (d,), a number."""
    names, k = parameter_names(options), n_terms(options)
    sigma = theta[names.index("sigma_int")]
    total = _log_normal(sigma, options.sigma_int_scale)  # each sign has half of the half-normal
    first = int(options.model != "qfd_seed")
    if first:
        total = total + _log_normal(theta[0], options.offset_scale)
    if k:
        total = total + _log_normal(theta[first : first + k], options.c_scale).sum()
    if options.model == "flat_lcdm":
        total = total - jax.nn.softplus(theta[1]) - jax.nn.softplus(-theta[1])
    if options.likelihood == "student_t":
        return total + tail_and_log_prior(theta[-1], options=options)[1]
    logit, shift, log_scale = theta[-3], theta[-2], theta[-1]
    a, b = options.fraction_a, options.fraction_b
    total = total - a * jax.nn.softplus(-logit) - b * jax.nn.softplus(logit) - _log_beta(a, b)
    total = total + _log_normal(shift, options.shift_scale)
    return total + _log_normal(log_scale - np.log(options.outlier_scale), options.outlier_scale_spread)


def log_density(theta: Any, data: PopulationData, *, options: PopulationOptions) -> Any:
    """Log of prior times likelihood at theta (d,), a number: the density that every sampler samples."""
    each = log_likelihood(theta, data, options=options)
    return log_prior(theta, options=options) + (each if data.weight is None else data.weight * each).sum()


def outlier_probability(theta: Any, data: PopulationData, *, options: PopulationOptions) -> Any:
    """Probability (n,) that each supernova is an outlier of the mixture, at theta (d,)."""
    residual = data.alpha - mean_alpha(theta, data, options=options)
    variance = data.alpha_err**2 + theta[parameter_names(options).index("sigma_int")] ** 2
    clean, outlier = _mixture_terms(theta, residual, variance, data.alpha_err, jnp)
    return jax.nn.sigmoid(outlier - clean)


def parameters(theta: Any, *, options: PopulationOptions, xp: Any = jnp) -> dict[str, Any]:
    """The parameters by name of theta (..., d): (...,) each, with c as (..., k). xp: jax.numpy or numpy."""
    names, k = parameter_names(options), n_terms(options)
    values: dict[str, Any] = {}
    if k:
        first = names.index("c_1")
        values["c"] = theta[..., first : first + k]
    for i, name in enumerate(names):
        entry = theta[..., i]
        if name in ("omega_m", "outlier_fraction"):
            values[name] = 1.0 / (1.0 + xp.exp(-entry))
        elif name == "sigma_int":
            values[name] = xp.abs(entry)
        elif name == "outlier_sigma":
            values[name] = xp.exp(entry)
        elif name == "nu":
            values[name] = tail_parameter(entry, options=options, xp=xp)
        elif not name.startswith("c_"):
            values[name] = entry
    return values


def start(data: PopulationData, *, options: PopulationOptions) -> NDArray[np.float64]:
    """A theta (d,) to climb from, in numpy: weighted least squares of a linear law, and usual noise."""
    data = PopulationData(*(None if column is None else np.asarray(column) for column in data))
    names = parameter_names(options)
    fixed = {"omega_m": -0.85, "sigma_int": 0.15, "nu": tail_start(options), "outlier_fraction": -3.0}
    theta = np.array([fixed.get(name, 0.0) for name in names])
    first, k = int(options.model != "qfd_seed"), n_terms(options)
    weight = (1.0 if data.weight is None else data.weight) / (data.alpha_err**2 + 0.15**2)
    target = data.alpha - mean_alpha(theta, data, options=options, xp=np)
    middle = np.median(target)  # squares of a tail without a mean are no start: keep to _START_MADS of the median
    reach = _START_MADS * max(float(np.median(np.abs(target - middle))), 0.15)
    target = np.clip(target, middle - reach, middle + reach)
    terms = np.concatenate([np.ones((len(target), first)), -data.design[:, :k]], axis=1)
    ridge = 1e-6 * weight.sum() * np.eye(terms.shape[1])
    theta[: first + k] = np.linalg.solve((terms * weight[:, None]).T @ terms + ridge, terms.T @ (weight * target))
    return theta


def sample_prior(key: Any, n: int, *, options: PopulationOptions) -> Any:
    """Draws (n, d) of theta from the prior."""
    keys = dict(zip(parameter_names(options), jax.random.split(key, len(parameter_names(options))), strict=True))
    scale = {"offset": options.offset_scale, "sigma_int": options.sigma_int_scale, "outlier_shift": options.shift_scale}
    columns = []
    for name, own in keys.items():
        if name == "omega_m":
            value = jax.random.logistic(own, (n,))
        elif name == "nu":
            value = sample_tail(own, n, options=options)
        elif name == "outlier_fraction":
            fraction = jax.random.beta(own, options.fraction_a, options.fraction_b, (n,))
            value = jnp.log(fraction) - jnp.log1p(-fraction)
        elif name == "outlier_sigma":
            value = np.log(options.outlier_scale) + options.outlier_scale_spread * jax.random.normal(own, (n,))
        else:
            value = scale.get(name, options.c_scale) * jax.random.normal(own, (n,))
        columns.append(jnp.abs(value) if name == "sigma_int" else value)
    return jnp.stack(columns, axis=1)


def simulate_alpha(key: Any, theta: Any, data: PopulationData, *, options: PopulationOptions) -> Any:
    """alpha (n,) drawn from the likelihood at theta (d,), with the redshifts and errors of ``data``."""
    mean = mean_alpha(theta, data, options=options)
    sigma = jnp.sqrt(data.alpha_err**2 + theta[parameter_names(options).index("sigma_int")] ** 2)
    first, second, third = jax.random.split(key, 3)
    normal = jax.random.normal(first, mean.shape, dtype=mean.dtype)
    if options.likelihood == "student_t":
        nu = tail_parameter(theta[-1], options=options)
        chi2 = 2.0 * jax.random.gamma(second, 0.5 * nu, mean.shape, dtype=mean.dtype)
        return mean + sigma * normal * jnp.sqrt(nu / chi2)
    is_outlier = jax.random.uniform(second, mean.shape) < jax.nn.sigmoid(theta[-3])
    wide = jnp.sqrt(data.alpha_err**2 + jnp.exp(2.0 * theta[-1]))
    other = theta[-2] + wide * jax.random.normal(third, mean.shape, dtype=mean.dtype)
    return mean + jnp.where(is_outlier, other, sigma * normal)


def _base(hubble: HubbleData, options: PopulationOptions) -> np.ndarray:
    """The part of alpha (n,) that nothing sampled changes."""
    mu = fixed_distance_modulus(
        hubble.z_hd, options.model, h0_km_s_mpc=options.h0_km_s_mpc, redshift_power=options.log_distance_redshift_power
    )
    return -ALPHA_PER_MAG * (mu + (MEAN_MU_MAG if options.model == "qfd_no_distance" else 0.0))


def _interpolated_lcdm(hubble: HubbleData, options: PopulationOptions) -> np.ndarray:
    """Chebyshev coefficients (n, degree + 1) of alpha of flat LambdaCDM for Omega_M in [0, 1]."""
    nodes = np.polynomial.chebyshev.chebpts1(_DEGREE + 1)
    omega_m = _OMEGA_M_SHIFT * np.expm1(0.5 * (nodes + 1.0) * np.log1p(1.0 / _OMEGA_M_SHIFT))
    mu = flat_lcdm_distance_modulus(
        hubble.z_hd[:, None], hubble.z_hel[:, None], omega_m=omega_m, h0_km_s_mpc=options.h0_km_s_mpc
    )
    inverse = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, _DEGREE))
    return np.asarray(-ALPHA_PER_MAG * mu @ inverse.T)


def _log_normal(x: Any, scale: float) -> Any:
    return -0.5 * (x / scale) ** 2 - float(np.log(scale)) - _HALF_LOG_2PI


def _log_beta(a: float, b: float) -> float:
    from scipy.special import betaln

    return float(betaln(a, b))


def _mixture_terms(theta: Any, residual: Any, variance: Any, error: Any, xp: Any) -> tuple[Any, Any]:
    """Log of fraction times density (n,) of the clean and of the outlying component."""
    wide = error**2 + xp.exp(2.0 * theta[-1])
    clean = -0.5 * residual**2 / variance - 0.5 * xp.log(variance) - _HALF_LOG_2PI
    outlier = -0.5 * (residual - theta[-2]) ** 2 / wide - 0.5 * xp.log(wide) - _HALF_LOG_2PI
    return clean - xp.logaddexp(theta[-3], 0.0), outlier - xp.logaddexp(-theta[-3], 0.0)
