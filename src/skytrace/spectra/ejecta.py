"""Fifteen parameters of a supernova's ejecta, and the zones of density and composition that they mean.

The ejecta expand homologously (r = v t), with a density of two power laws and three layers of composition: an iron-rich
core, a silicon wall and the outer layers; or with velocity zones of composition in their place (``composition``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole
from skytrace.spectra.abundance_profiles import with_zone_abundances
from skytrace.spectra.composition import (
    COMPOSITION_Z,
    LAYERS,
    SHARED_PARAMETERS,
    mass_fractions,
    nickel_decay,
    zone_columns,
    zone_edges_km_s,
    zones_in,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "COMPOSITION_Z",
    "EJECTA_PARAMETERS",
    "Ejecta",
    "ejecta_zones",
    "nickel_decay",
    "physical_problems",
    "unphysical_masks",
]

EJECTA_PARAMETERS = (
    "log_L", "v_inner", "log_rho_0", "density_exp", "T_e_ratio", "v_core", "v_wall", "X_Fe_core", "X_Si_wall",
    "v_break", "density_exp_outer", "t_exp", "X_Fe_wall", "X_Ni", "X_Fe_outer",
)  # fmt: skip
_OXYGEN = COMPOSITION_Z.index(8)
_NUMBER_BEHIND = " ({})"
#: What a value may be at all: wider than any prior.
_RANGES = {
    "log_L": (40.0, 45.0), "v_inner": (1000.0, 40_000.0), "log_rho_0": (-20.0, -8.0), "density_exp": (-30.0, 5.0),
    "T_e_ratio": (0.3, 1.5), "v_core": (1000.0, 60_000.0), "v_wall": (1000.0, 60_000.0), "X_Fe_core": (0.0, 1.0),
    "X_Si_wall": (0.0, 1.0), "v_break": (1000.0, 60_000.0), "density_exp_outer": (-30.0, 5.0), "t_exp": (1.0, 200.0),
    "X_Fe_wall": (0.0, 1.0), "X_Ni": (0.0, 1.0), "X_Fe_outer": (0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Ejecta:
    """Zones of n models: velocity_edges_km_s (n, z + 1), density_g_cm3 (n, z) and mass_fraction (n, z, 11), elements
    in the order of COMPOSITION_Z, both at time_s (n,) after explosion.
    """

    velocity_edges_km_s: NDArray[np.float64]
    density_g_cm3: NDArray[np.float64]
    mass_fraction: NDArray[np.float64]
    time_s: NDArray[np.float64]


def physical_problems(parameters: pd.DataFrame, *, outer_velocity_km_s: float = 30_000.0) -> list[str]:
    """What is unphysical about each row, in words; "" where nothing is.

    Raises CatalogueError if a column is missing: those of EJECTA_PARAMETERS or, where abundances of zones or modes
    of their profiles take the place of the five X_*, of these.
    """
    values, zones = _columns(parameters)
    problems: list[list[str]] = [[] for _ in range(len(parameters))]
    for reason, wrong, numbers in _findings(values, zones, outer_velocity_km_s):
        for row in np.flatnonzero(wrong):
            problems[row].append(reason.format(*(f"{name} = {value[row]:.6g}" for name, value in numbers.items())))
    return ["; ".join(words) for words in problems]


def unphysical_masks(
    parameters: pd.DataFrame, *, outer_velocity_km_s: float = 30_000.0
) -> dict[str, NDArray[np.bool_]]:
    """Rows (n,) that are unphysical, by reason: the findings of ``physical_problems`` without their numbers."""
    values, zones = _columns(parameters)
    found = _findings(values, zones, outer_velocity_km_s)
    return {reason.removesuffix(_NUMBER_BEHIND).format(*numbers): wrong for reason, wrong, numbers in found}


def _findings(
    values: dict[str, NDArray[np.float64]], zones: int, outer_velocity_km_s: float
) -> list[tuple[str, NDArray[np.bool_], dict[str, NDArray[np.float64]]]]:
    """Each reason with places for its numbers, the rows (n,) that it holds for, and the numbers by name."""
    out = []
    for name, value in values.items():
        low, high = _RANGES.get(name, (0.0, 1.0))
        out.append((f"{{}} is outside [{low:g}, {high:g}]", ~((value >= low) & (value <= high)), {name: value}))
    inner, core, wall = (values[name] for name in ("v_inner", "v_core", "v_wall"))
    out.append(("{} lies below {}", core < inner, {"v_core": core, "v_inner": inner}))
    out.append(("{} lies below {}", wall < core, {"v_wall": wall, "v_core": core}))
    outside = inner >= 0.95 * outer_velocity_km_s
    out.append((f"{{}} is not inside {outer_velocity_km_s:g} km/s", outside, {"v_inner": inner}))
    oxygen = mass_fractions(values, zones=zones)[:, :, _OXYGEN]
    places = [f"zone {zone}" for zone in range(1, zones + 1)] if zones else [f"the {layer}" for layer in LAYERS]
    for place, left in zip(places, oxygen.T, strict=True):
        out.append(
            (f"mass fractions of {place} add up to more than 1{_NUMBER_BEHIND}", left < 0.0, {"sum": 1.0 - left})
        )
    return out


def ejecta_zones(
    parameters: pd.DataFrame, *, zones: int = 30, outer_velocity_km_s: float = 30_000.0, shared_borders: bool = False
) -> Ejecta:
    """Density and composition of ``zones`` equal in velocity from v_inner outwards; velocities are in km/s.

    shared_borders: whether a zone that a border of composition crosses mixes both sides by their volumes, so that
    spectra follow the border continuously; else it has the composition at its middle, as a table of shells would.

    parameters: one row a model with the columns EJECTA_PARAMETERS, or with abundances of zones (``zone_columns``) or
    modes of their profiles (``mode_columns``) in place of the five X_*; log_L is log10 of erg/s, log_rho_0 of g/cm^3 at
    v_inner and t_exp [d]. Raises CatalogueError if a column is missing, OptionError naming the first unphysical rows.
    """
    check_whole("zones", zones, 2, 10_000)
    check_between("outer_velocity_km_s", outer_velocity_km_s, 1000.0, 100_000.0)
    problems = physical_problems(parameters, outer_velocity_km_s=outer_velocity_km_s)
    wrong = [f"row {row}: {words}" for row, words in enumerate(problems) if words]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise OptionError(f"unphysical ejecta in {len(wrong)} of {len(problems)} rows: {'; '.join(wrong[:3])}{more}")
    values, own_zones = _columns(parameters)
    inner = values["v_inner"][:, None]
    edges = inner + (outer_velocity_km_s - inner) * np.linspace(0.0, 1.0, zones + 1)
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    break_at = np.maximum(values["v_break"][:, None], inner)  # beneath the photosphere: one power law, the outer one
    slope = values["density_exp"][:, None]
    outer_slope = values["density_exp_outer"][:, None]
    log_density = values["log_rho_0"][:, None] + np.where(
        middle < break_at,
        slope * np.log10(middle / inner),
        slope * np.log10(break_at / inner) + outer_slope * np.log10(middle / break_at),
    )
    bounds = zone_edges_km_s(
        values["v_inner"], values["v_core"], values["v_wall"], zones=own_zones or len(LAYERS),
        outer_velocity_km_s=outer_velocity_km_s,
    )[:, 1:-1]  # fmt: skip
    given = mass_fractions(values, zones=own_zones)
    if shared_borders:
        fraction = np.einsum("nzk,nkx->nzx", _volume_shares(edges, bounds), given)
    else:
        place = (middle[:, :, None] >= bounds[:, None, :]).sum(axis=2)
        fraction = given[np.arange(len(edges))[:, None], place]
    fraction /= fraction.sum(axis=2, keepdims=True)
    return Ejecta(edges, 10.0**log_density, fraction, values["t_exp"] * 86_400.0)


def _volume_shares(edges: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, z, k) shares of the volume of zones between ``edges`` (n, z + 1) that lie in each of the k layers parted by
    ``bounds`` (n, k - 1), which ascend.
    """
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    below = (np.clip(bounds[:, None, :], low, high) ** 3 - low**3) / (high**3 - low**3)
    ends = np.ones_like(below[:, :, :1])
    return np.diff(np.concatenate([np.zeros_like(ends), below, ends], axis=2), axis=2)


def _columns(parameters: pd.DataFrame) -> tuple[dict[str, NDArray[np.float64]], int]:
    """The columns that the ejecta are made from, as float64, and the number of zones with abundances (0: layers).

    Raises CatalogueError for one that is missing.
    """
    table = with_zone_abundances(parameters)
    zones = zones_in(table.columns)
    names = (*SHARED_PARAMETERS, *zone_columns(zones)) if zones else EJECTA_PARAMETERS
    missing = [name for name in names if name not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns))
        raise CatalogueError(f"parameters lack the column(s) {', '.join(missing)}; there are {there}")
    return {name: table[name].to_numpy(dtype=float) for name in names}, zones
