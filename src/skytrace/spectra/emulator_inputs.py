"""What the emulator's network reads: the parameters on [-1, 1] and, of ejecta, quantities on which a spectrum hangs
more directly: the core's temperature, ratios of velocities, density times time at fixed velocities, cobalt and iron.

The same formulas serve numpy and JAX; all of them are smooth or continuous in the parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.spectra.boxes import box_shares
from skytrace.spectra.composition import nickel_decay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["EJECTA_SHAPE", "EMULATED_OUTER_KM_S", "emulator_inputs"]

#: Parameters without which no quantity is derived.
EJECTA_SHAPE = (
    "log_L", "v_inner", "log_rho_0", "density_exp", "v_core", "v_wall", "v_break", "density_exp_outer", "t_exp",
)  # fmt: skip
_LAYER_IRON = ("X_Fe_core", "X_Fe_wall", "X_Fe_outer")
#: Where the density is looked at [km/s].
_PLACES_KM_S = (12_000.0, 15_000.0, 18_000.0, 21_000.0, 25_000.0)
EMULATED_OUTER_KM_S = 30_000.0
_SMALLEST = 1e-6


def emulator_inputs(
    parameters: Any,
    names: Sequence[str],
    box: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]],
    xp: Any = np,
) -> Any:
    """Inputs (n, q) of parameters (n, d) in the order of ``names``: each on [-1, 1] between the box's low and high
    (d,), on a logarithmic axis where its third array says so, and derived quantities where ``EJECTA_SHAPE`` is there.

    xp: numpy or jax.numpy.
    """
    unit = 2.0 * box_shares(parameters, box, xp) - 1.0
    if not set(EJECTA_SHAPE) <= set(names):
        return unit
    columns = {name: parameters[:, k] for k, name in enumerate(names)}
    derived = [*_shape(columns, xp), *_composition(columns, xp)]
    return xp.concatenate([unit, xp.stack(derived, axis=1)], axis=1)


def _shape(columns: Mapping[str, Any], xp: Any) -> list[Any]:
    """Core temperature, ratios of velocities, density x time (as a Sobolev depth has them) at places and as a column;
    all as log10.
    """
    inner, time = columns["v_inner"], columns["t_exp"]
    log_inner, log_time = xp.log10(inner), xp.log10(time)
    core, wall, broken = columns["v_core"], columns["v_wall"], xp.maximum(columns["v_break"], inner)

    def log_depth(velocity: Any) -> Any:
        within = columns["density_exp"] * (xp.log10(xp.minimum(velocity, broken)) - log_inner)
        beyond = columns["density_exp_outer"] * xp.log10(xp.maximum(velocity, broken) / broken)
        return columns["log_rho_0"] + within + beyond + log_time

    column = _column(inner, broken, columns["density_exp"], columns["density_exp_outer"], xp)
    return [
        0.25 * columns["log_L"] - 0.5 * (log_inner + log_time),
        log_inner, log_time, xp.log10(core) - log_inner, xp.log10(wall) - log_inner, xp.log10(wall) - xp.log10(core),
        xp.log10(broken) - log_inner,
        *(log_depth(place) for place in _PLACES_KM_S), log_depth(core), log_depth(wall),
        columns["log_rho_0"] + log_time + xp.log10(column),
    ]  # fmt: skip


def _column(inner: Any, broken: Any, slope: Any, outer_slope: Any, xp: Any) -> Any:
    """Integral [km/s] of the density over that at ``inner``, out to 30,000 km/s."""
    edge = xp.clip(broken, inner, EMULATED_OUTER_KM_S)
    low, high = _not_zero(slope + 1.0, xp), _not_zero(outer_slope + 1.0, xp)
    within = inner * ((edge / inner) ** low - 1.0) / low
    rise = (EMULATED_OUTER_KM_S / broken) ** high - (edge / broken) ** high
    return within + (broken / inner) ** slope * broken * rise / high


def _not_zero(values: Any, xp: Any) -> Any:
    return xp.where(xp.abs(values) < _SMALLEST, _SMALLEST, values)


def _composition(columns: Mapping[str, Any], xp: Any) -> list[Any]:
    """log10 of the layers' abundances, and of cobalt, nickel and iron at the spectrum's time (``nickel_decay``)."""
    layers = [name for name in (*_LAYER_IRON, "X_Si_wall", "X_Ni") if name in columns]
    if len(layers) < len(_LAYER_IRON) + 2:
        return []
    nickel, cobalt, iron = nickel_decay(columns["t_exp"], xp)
    amount = columns["X_Ni"]
    return [
        *(xp.log10(columns[name]) for name in layers),
        xp.log10(amount * cobalt), xp.log10(amount * nickel),
        *(xp.log10(columns[name] + amount * iron + _SMALLEST) for name in _LAYER_IRON),
    ]  # fmt: skip
