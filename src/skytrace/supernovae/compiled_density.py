"""The population's log density as compiled programs: one for each law and size class, whatever the data set.

Compiling takes seconds, computing milliseconds, and a program is for one number of supernovae. So data are filled up to
the next of a few sizes with rows of weight 0 (the density is the same to rounding, a test says), programs take data as
arguments, and threads that need the same program at the same time wait for the one that compiles it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skytrace.compute.compiled import compiled_by_one
from skytrace.supernovae.population import PopulationData, log_density

if TYPE_CHECKING:
    from skytrace.supernovae.population_options import PopulationOptions

__all__ = ["compiled_by_one", "log_densities", "padded", "padded_size", "values_and_gradients"]

_SMALLEST = 256


def padded_size(n: int) -> int:
    """The next of 256, 320, 384, 448, 512, 640, ...: four sizes in a factor of 2, so that at most 1/4 is wasted."""
    size = _SMALLEST
    while 2 * size <= n:
        size *= 2
    return size if n <= size else size + -(-(n - size) * 4 // size) * size // 4


def padded(data: PopulationData) -> PopulationData:
    """``data`` (n rows) on the device in float64, filled up to ``padded_size(n)`` with rows of weight 0."""
    n = len(data.alpha)
    more = padded_size(n) - n

    def filled(column: Any, value: float) -> Any:
        column = np.asarray(column, dtype=np.float64)
        return jnp.asarray(np.concatenate([column, np.full((more, *column.shape[1:]), value)]))

    weight = np.ones(n) if data.weight is None else data.weight
    return PopulationData(
        filled(data.alpha, 0.0), filled(data.alpha_err, 1.0), filled(data.base, 0.0), filled(data.design, 0.0),
        filled(weight, 0.0),
    )  # fmt: skip


@compiled_by_one
@partial(jax.jit, static_argnames=("options",))
def log_densities(theta: Any, data: PopulationData, *, options: PopulationOptions) -> Any:
    """``log_density`` (m,) at each of theta (m, d)."""
    return jax.lax.map(lambda one: log_density(one, data, options=options), theta)


@compiled_by_one
@partial(jax.jit, static_argnames=("options",))
def values_and_gradients(theta: Any, data: PopulationData, *, options: PopulationOptions) -> tuple[Any, Any]:
    """``log_density`` (m,) and its gradients (m, d) at each of theta (m, d)."""
    return jax.lax.map(jax.value_and_grad(lambda one: log_density(one, data, options=options)), theta)
