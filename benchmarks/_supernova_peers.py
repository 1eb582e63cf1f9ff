"""The light curves of benchmarks/supernova.py, and the usual way to fit them: scipy's L-BFGS-B, one supernova after
another, with a jitted gradient.

Two gradients: JAX's of the model written anew (automatic differentiation, jitted; each supernova padded to a multiple
of 32 observations, so that it compiles for few shapes), and our own compiled analytic one. Both start from the truth
and in parameters scaled to their errors, which is kinder than what a user has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from skytrace.supernovae import model_flux_jy
from skytrace.supernovae._fit_kernels import objective_gradient
from skytrace.supernovae.light_curve_fit import PARAMETERS
from skytrace.supernovae.light_curve_model import alpha_from_mu

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytrace.supernovae.light_curve_packing import PackedLightCurves

__all__ = ["CompiledGradient", "JaxGradient", "minima", "simulate"]

WAVELENGTH_NM = np.array([480.94, 642.04, 781.6, 917.11])
SCALE = np.array([1.0, 0.1, 0.3, 0.1])
SETTINGS = {"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8}
_PAD = 32


def simulate(n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Light curves of n supernovae with the cadence (5 to 7 d) and errors of DES, and the truth by snid."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 1.2, n)
    mu = 5.0 * np.log10(299_792.458 / 70.0 * z * (1.0 + 0.775 * z) / (1.0 + 0.3 * z) * 1e5)
    t0 = rng.uniform(57_000.0, 57_100.0, n)
    a, beta = np.abs(rng.normal(0.0, 0.3, n)), np.clip(rng.normal(1.2, 0.3, n), 0.0, 4.0)
    alpha = alpha_from_mu(mu) + rng.normal(0.0, 0.1, n)
    step, first = rng.uniform(5.0, 7.0, n), t0 - rng.uniform(5.0, 30.0, n)
    nights = np.ceil((t0 + 75.0 * (1.0 + z) - first) / step).astype(int)
    owner = np.repeat(np.arange(n), 4 * nights)
    place = np.arange(len(owner)) - np.repeat(4 * (np.cumsum(nights) - nights), 4 * nights)
    mjd, wavelength = first[owner] + place // 4 * step[owner], WAVELENGTH_NM[place % 4]
    flux = model_flux_jy(mjd, wavelength, z[owner], t0[owner], a[owner], beta[owner], alpha[owner])
    error = 0.27e-6 * np.exp(rng.normal(0.0, 0.67, len(owner)))
    table = pd.DataFrame(
        {
            "snid": np.char.zfill(owner.astype(str), 6), "mjd": mjd,
            "flux_jy": flux + np.hypot(error, 0.03 * flux) * rng.normal(size=len(owner)), "flux_err_jy": error,
            "wavelength_nm": wavelength, "band": np.array(list("griz"))[place % 4], "z_hel": z[owner],
            "survey": "simulation",
        }
    )  # fmt: skip
    return table, pd.DataFrame({"t0": t0, "a_plasma": a, "beta": beta, "alpha": alpha})[list(PARAMETERS)]


def minima(
    gradients: list[Callable[[np.ndarray], tuple[float, np.ndarray]]], packed: PackedLightCurves, truth: pd.DataFrame
) -> np.ndarray:
    """Least objective of each supernova by L-BFGS-B; gradients: of one supernova each, by its parameters."""
    found = np.empty(len(gradients))
    starts = np.maximum(truth.to_numpy(), [-np.inf, 0.02, 0.0, -np.inf])
    for i, value in enumerate(gradients):
        bounds = np.stack([(packed.low[i] - starts[i]) / SCALE, (packed.high[i] - starts[i]) / SCALE], axis=1)

        def scaled(u: np.ndarray, value: Any = value, start: np.ndarray = starts[i]) -> tuple[float, np.ndarray]:
            objective, gradient = value(start + SCALE * u)
            return objective, gradient * SCALE

        found[i] = minimize(scaled, np.zeros(4), jac=True, method="L-BFGS-B", bounds=bounds, options=SETTINGS).fun
    return found


class CompiledGradient:
    """Objective and gradient of supernova i by our compiled kernel."""

    def __init__(self, packed: PackedLightCurves, i: int) -> None:
        self.arguments = (packed.observations_of(i), packed.stretch[i], *packed.model)
        self.work = np.empty((7, self.arguments[0].shape[1])), np.empty((4, 4)), np.empty(4)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        objective = objective_gradient(theta, *self.arguments, *self.work)
        return objective, self.work[2].copy()


class JaxGradient:
    """The same by JAX: jit(value_and_grad) of the model; use it inside ``with jax.enable_x64(True)``."""

    _compiled: Any = None

    def __init__(self, packed: PackedLightCurves, i: int) -> None:
        import jax
        import jax.numpy as jnp

        if JaxGradient._compiled is None:
            JaxGradient._compiled = jax.jit(jax.value_and_grad(_objective))
        obs = packed.observations_of(i)
        padding = -obs.shape[1] % _PAD
        blank = np.tile(np.array([[-1e9], [0.0], [0.0], [1.0], [1e4], [0.0], [0.0], [0.0]]), padding)
        self.arguments = (
            jnp.asarray(np.concatenate([obs, blank], axis=1)), float(packed.stretch[i]), jnp.asarray(packed.constants)
        )  # fmt: skip

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        objective, gradient = JaxGradient._compiled(theta, *self.arguments)
        return float(objective), np.asarray(gradient)


def _objective(theta: Any, obs: Any, stretch: Any, c: Any) -> Any:
    """2 x the negative log posterior of a blackbody without FDR; c: CONSTANTS of the kernel."""
    import jax.numpy as jnp

    mjd, flux, inverse_sigma, front, x0, ln_colour = obs[:6]
    rest = (mjd - theta[0]) / stretch
    t = jnp.where(rest > 0.0, rest, 1.0)
    ln_rise = c[2] * jnp.log(t / c[1])
    ln_radius = ln_rise + (jnp.log(2.0) - jnp.logaddexp(0.0, c[3] * ln_rise)) / c[3] - (t - c[1]) / c[4]
    x = x0 / (c[5] + c[6] * jnp.exp(-t / c[7]))
    tau = theta[1] * -jnp.expm1(-t / c[8]) * jnp.exp(theta[2] * ln_colour)
    model = jnp.where(rest > 0.0, front * jnp.exp(2.0 * ln_radius + theta[3] - tau) / jnp.expm1(x), 0.0)
    chi2 = jnp.sum(((flux - model) * inverse_sigma) ** 2)
    return chi2 + c[11] * theta[1] ** 2 + c[13] * (theta[2] - c[12]) ** 2
