"""What the ejecta are made of: three layers of five parameters, or velocity zones with abundances of their own.

Ni56 decays to Co56 and on to Fe56 (half-lives of Junde 2011, Nuclear Data Sheets 112, 1513); X_Ni is Ni56 at the
explosion, X_Fe iron that was there from the start. Carbon is 0.02 everywhere, and oxygen fills up what the other
elements leave. Zones are equal in velocity within each of the three layers: core (v_inner to v_core), wall (v_core to
v_wall) and the outer layers (v_wall to the outermost velocity).
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COMPOSITION_Z",
    "LAYERS",
    "LAYER_PARAMETERS",
    "SHARED_PARAMETERS",
    "ZONE_SPECIES",
    "layers_as_zones",
    "mass_fractions",
    "nickel_decay",
    "zone_columns",
    "zone_edges_km_s",
    "zones_in",
]

#: C O Mg Si S Ca Ti Cr Fe Co Ni.
COMPOSITION_Z = (6, 8, 12, 14, 16, 20, 22, 24, 26, 27, 28)
#: The parameters of every stage, and the abundances of stage 1.
SHARED_PARAMETERS = (
    "log_L", "v_inner", "log_rho_0", "density_exp", "T_e_ratio", "v_core", "v_wall", "v_break", "density_exp_outer",
    "t_exp",
)  # fmt: skip
LAYER_PARAMETERS = ("X_Fe_core", "X_Si_wall", "X_Fe_wall", "X_Ni", "X_Fe_outer")
LAYERS = ("core", "wall", "outer layers")
#: Species that a zone has a mass fraction of, and its range.
ZONE_SPECIES = {
    "Fe": (0.001, 0.85), "Si": (0.001, 0.75), "S": (0.001, 0.10), "Ca": (0.001, 0.10), "Ni": (0.001, 0.40),
    "Mg": (0.001, 0.10), "Ti": (1e-4, 0.02), "Cr": (1e-4, 0.02),
}  # fmt: skip
NI56_HALF_LIFE_DAY, CO56_HALF_LIFE_DAY = 6.075, 77.24
_INDEX = {z: k for k, z in enumerate(COMPOSITION_Z)}
_OXYGEN = _INDEX[8]
_SPECIES_Z = {"Fe": 26, "Si": 14, "S": 16, "Ca": 20, "Ni": 28, "Mg": 12, "Ti": 22, "Cr": 24}
_CARBON = 0.02
#: Mass fractions of stage 1 that no parameter sets, in the core, the wall and the outer layers.
_FIXED = {"Mg": (0.02,) * 3, "S": (0.03, 0.08, 0.01), "Ca": (0.01, 0.02, 0.002), "Ti": (5e-4,) * 3, "Cr": (5e-4,) * 3}
_SILICON_CORE, _SILICON_OUTER = 0.10, 0.05
_ZONE_COLUMN = re.compile(r"X_([A-Z][a-z]?)_zone_([1-9][0-9]*)")


def nickel_decay(time_day: Any, xp: Any = np) -> tuple[Any, Any, Any]:
    """Fractions of initial Ni56 that are Ni56, Co56 and Fe56 after a time [d] (Bateman 1910); xp: numpy or JAX."""
    time = xp.asarray(time_day)
    nickel_rate, cobalt_rate = np.log(2.0) / NI56_HALF_LIFE_DAY, np.log(2.0) / CO56_HALF_LIFE_DAY
    nickel = xp.exp(-nickel_rate * time)
    cobalt = nickel_rate / (cobalt_rate - nickel_rate) * (nickel - xp.exp(-cobalt_rate * time))
    return nickel, cobalt, 1.0 - nickel - cobalt


def zone_columns(zones: int) -> tuple[str, ...]:
    """X_Fe_zone_1 to X_Cr_zone_<zones>: species by species, zones counted from 1 outwards."""
    return tuple(f"X_{species}_zone_{zone}" for species in ZONE_SPECIES for zone in range(1, zones + 1))


def zones_in(columns: Iterable[str]) -> int:
    """How many zones a table with these columns has abundances for; 0 where it has those of stage 1.

    Raises CatalogueError for zones of which columns are missing, that cannot be shared out among three layers, and
    beside abundances of stage 1, which nothing would read.
    """
    names = [str(name) for name in columns]
    matched = [match for match in map(_ZONE_COLUMN.fullmatch, names) if match]
    if not matched:
        return 0
    zones = max(int(match[2]) for match in matched)
    wanted = zone_columns(zones)
    missing = [name for name in wanted if name not in names]
    unknown = [match[0] for match in matched if match[0] not in wanted]
    both = [name for name in LAYER_PARAMETERS if name in names]
    for problem, which in (("lack", missing), ("have the unknown", unknown)):
        if which:
            more = f" and {len(which) - 5} more" if len(which) > 5 else ""
            raise CatalogueError(f"abundances of {zones} zones {problem} column(s) {', '.join(which[:5])}{more}")
    if both:
        raise CatalogueError(f"abundances of zones and of layers ({', '.join(both)}) in one table: drop one of them")
    if zones % len(LAYERS):
        raise CatalogueError(f"{zones} zones cannot be shared out equally among core, wall and outer layers")
    return zones


def zone_edges_km_s(
    v_inner: ArrayLike, v_core: ArrayLike, v_wall: ArrayLike, *, zones: int, outer_velocity_km_s: float
) -> NDArray[np.float64]:
    """(n, zones + 1) bounds of the zones, equal in velocity within each layer, of n models (velocities in km/s)."""
    inner, core, wall = (np.asarray(value, float)[:, None] for value in (v_inner, v_core, v_wall))
    step = np.linspace(0.0, 1.0, zones // len(LAYERS) + 1)
    bounds = (inner, core, wall, np.full_like(inner, outer_velocity_km_s))
    parts = [low + (high - low) * step[:-1] for low, high in itertools.pairwise(bounds)]
    return np.concatenate([*parts, bounds[-1]], axis=1)


def mass_fractions(values: Mapping[str, NDArray[np.float64]], *, zones: int) -> NDArray[np.float64]:
    """(n, k, 11) at time t_exp, elements in the order of COMPOSITION_Z, of k = 3 layers (zones = 0) or k = zones.

    values: columns (n,) of the table. Oxygen's is negative where the others add up to more than 1.
    """
    given = _zone_shares(values, zones) if zones else _layer_shares(values)
    fraction = np.zeros((*given["Ni"].shape, len(COMPOSITION_Z)))
    fraction[:, :, _INDEX[6]] = _CARBON
    for species, share in given.items():
        fraction[:, :, _INDEX[_SPECIES_Z[species]]] = share
    nickel, cobalt, iron = (part[:, None] for part in nickel_decay(values["t_exp"]))
    fraction[:, :, _INDEX[26]] += given["Ni"] * iron
    fraction[:, :, _INDEX[27]] = given["Ni"] * cobalt
    fraction[:, :, _INDEX[28]] = given["Ni"] * nickel
    fraction[:, :, _OXYGEN] = 1.0 - fraction.sum(axis=2)
    return fraction


def layers_as_zones(parameters: pd.DataFrame, *, zones: int = 6) -> pd.DataFrame:
    """Models of stage 1 as a table with abundances of ``zones`` zones that means the same ejecta.

    Raises CatalogueError for columns of stage 1 that are missing, OptionError for zones that three does not divide.
    """
    import pandas as pd

    check_whole("zones", zones, len(LAYERS), 300)
    if zones % len(LAYERS):
        raise OptionError(f"zones = {zones} cannot be shared out equally among core, wall and outer layers")
    missing = [name for name in (*SHARED_PARAMETERS, *LAYER_PARAMETERS) if name not in parameters.columns]
    if missing:
        raise CatalogueError(f"parameters lack the column(s) {', '.join(missing)}")
    shares = _layer_shares({name: parameters[name].to_numpy(dtype=float) for name in LAYER_PARAMETERS})
    layer = np.arange(zones) // (zones // len(LAYERS))
    new = np.concatenate([shares[species][:, layer] for species in ZONE_SPECIES], axis=1)
    table = pd.DataFrame(new, columns=list(zone_columns(zones)), index=parameters.index)
    return pd.concat([parameters.drop(columns=list(LAYER_PARAMETERS)), table], axis=1)


def _zone_shares(values: Mapping[str, NDArray[np.float64]], zones: int) -> dict[str, NDArray[np.float64]]:
    """(n, zones) mass fractions at the explosion by species."""
    return {
        species: np.stack([values[f"X_{species}_zone_{zone}"] for zone in range(1, zones + 1)], axis=1)
        for species in ZONE_SPECIES
    }


def _layer_shares(values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """(n, 3) mass fractions at the explosion by species, of core, wall and outer layers."""
    n = len(values["X_Ni"])
    shares = {species: np.broadcast_to(fixed, (n, 3)) for species, fixed in _FIXED.items()}
    silicon = (np.full(n, _SILICON_CORE), values["X_Si_wall"], np.full(n, _SILICON_OUTER))
    shares["Si"] = np.stack(silicon, axis=1)
    shares["Fe"] = np.stack([values[name] for name in ("X_Fe_core", "X_Fe_wall", "X_Fe_outer")], axis=1)
    shares["Ni"] = np.repeat(values["X_Ni"][:, None], 3, axis=1)
    return shares
