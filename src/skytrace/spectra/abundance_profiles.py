"""Smooth abundance profiles over fifteen velocity zones, from six modes a species (stage 3 of the inference).

In each zone a species' ln X is low + (high - low) Phi(g), with its range in ``composition.ZONE_SPECIES`` and Phi the
normal distribution function. g is a Gaussian process over the zones, of unit variance and a squared exponential
covariance of length 0.3 layers (1.5 zones), cut to its six strongest principal components (Karhunen-Loeve) and scaled
back to unit variance. So before a spectrum is seen each zone's X is flat in ln X over its range, as in stage 2, but
neighbours resemble each other. A parameter is the quantile of a component's weight, so that it, too, is flat.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.composition import LAYERS, ZONE_SPECIES, zone_columns, zones_in

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "MODE_RANGE",
    "PROFILE_ZONES",
    "mode_columns",
    "modes_of_zones",
    "profile_abundances",
    "with_zone_abundances",
]

PROFILE_ZONES = 15
#: Of a mode's quantile: weights within 2.58 standard deviations.
MODE_RANGE = (0.005, 0.995)
_MODES = 6
_LENGTH_LAYERS = 0.3


def mode_columns() -> tuple[str, ...]:
    """mode_Fe_1 to mode_Cr_6: species by species, the strongest mode first."""
    return tuple(f"mode_{species}_{mode}" for species in ZONE_SPECIES for mode in range(1, _MODES + 1))


def with_zone_abundances(parameters: pd.DataFrame) -> pd.DataFrame:
    """The table with X_<species>_zone_1 to _15 in place of the modes; one without modes is given back as it is.

    Raises CatalogueError where some of the modes are missing or stand beside abundances of zones.
    """
    import pandas as pd
    from scipy import special

    wanted = mode_columns()
    there = [name for name in parameters.columns if str(name).startswith("mode_")]
    if not there:
        return parameters
    wrong = sorted(set(wanted).symmetric_difference(there))
    if wrong:
        raise CatalogueError(f"modes of abundance profiles are missing or unknown: {', '.join(wrong[:5])}")
    if zones_in([name for name in parameters.columns if "_zone_" in str(name)]):
        raise CatalogueError("abundances of zones and modes of their profiles in one table: drop one of them")
    share = profile_abundances(parameters[list(wanted)].to_numpy(dtype=float), np, special)
    zones = pd.DataFrame(
        share.reshape(len(parameters), -1), columns=list(zone_columns(PROFILE_ZONES)), index=parameters.index
    )
    return pd.concat([parameters.drop(columns=there), zones], axis=1)


def profile_abundances(quantiles: Any, xp: Any, special: Any) -> Any:
    """Mass fractions (n, 8, 15) of the species in the zones, of quantiles (n, 48) in the order of ``mode_columns``.

    xp, special: numpy and scipy.special, or jax.numpy and jax.scipy.special.
    """
    weights = special.ndtri(quantiles).reshape(len(quantiles), -1, _MODES)
    low, width = _log_range()
    return xp.exp(low[:, None] + width[:, None] * special.ndtr(weights @ _basis().T))


def modes_of_zones(parameters: pd.DataFrame) -> pd.DataFrame:
    """The table with modes in place of the abundances of its 6 or 15 zones: those whose profile comes nearest.

    Nearest in g (its mean over each of the 6 zones) by least squares, the modes within MODE_RANGE; abundances outside
    their range count as its ends. A profile without any likeness between zones is met within 0.15 of the range of ln X
    in its worst zone in 95 % of the cases (in half of them exactly), a smooth one better. Raises CatalogueError for
    another number of zones.
    """
    import pandas as pd
    from scipy.optimize import lsq_linear
    from scipy.special import ndtr, ndtri

    zones = zones_in(parameters.columns)
    if zones not in (2 * len(LAYERS), PROFILE_ZONES):
        raise CatalogueError(f"modes are found for the abundances of 6 or {PROFILE_ZONES} zones, not of {zones}")
    names = list(zone_columns(zones))
    low, width = _log_range()
    share = parameters[names].to_numpy(dtype=float).reshape(len(parameters), len(ZONE_SPECIES), zones)
    height = (np.log(np.maximum(share, 1e-300)) - low[:, None]) / width[:, None]
    wanted = ndtri(np.clip(height, *MODE_RANGE)).reshape(-1, zones)
    design = _zone_means(zones) @ _basis()
    bounds = tuple(ndtri(MODE_RANGE))
    weights = np.array([lsq_linear(design, row, bounds, method="bvls").x for row in wanted])
    modes = pd.DataFrame(
        np.clip(ndtr(weights), *MODE_RANGE).reshape(len(parameters), -1),
        columns=list(mode_columns()), index=parameters.index,
    )  # fmt: skip
    return pd.concat([parameters.drop(columns=names), modes], axis=1)


def _log_range() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest ln X and the width of its range, by species."""
    low, high = np.log(np.array(list(ZONE_SPECIES.values()))).T
    return low, high - low


@lru_cache(maxsize=1)
def _basis() -> NDArray[np.float64]:
    """(15, 6): g in each zone per mode of unit weight."""
    position = (np.arange(PROFILE_ZONES) + 0.5) * len(LAYERS) / PROFILE_ZONES
    covariance = np.exp(-0.5 * ((position[:, None] - position) / _LENGTH_LAYERS) ** 2)
    variance, vector = np.linalg.eigh(covariance)
    basis = vector[:, ::-1][:, :_MODES] * np.sqrt(variance[::-1][:_MODES])
    basis *= np.where(basis[0] < 0.0, -1.0, 1.0)
    return basis / np.sqrt((basis**2).sum(axis=1, keepdims=True))


def _zone_means(zones: int) -> NDArray[np.float64]:
    """(zones, 15): shares of the fifteen zones in each of ``zones``, both equal in velocity within the layers."""
    fine = np.linspace(0.0, zones, PROFILE_ZONES + 1)
    coarse = np.arange(zones)[:, None]
    shared = np.clip(np.minimum(fine[1:], coarse + 1) - np.maximum(fine[:-1], coarse), 0.0, None)
    return shared / shared.sum(axis=1, keepdims=True)
