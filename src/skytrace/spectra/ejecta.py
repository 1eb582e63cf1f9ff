"""Fifteen parameters of a supernova's ejecta, and the zones of density and composition that they mean.

The ejecta expand homologously (r = v t), with a density of two power laws and three zones of composition: an iron-rich
core, a silicon wall and the outer layers. Ni56 decays to Co56 and on to Fe56 (half-lives of Junde 2011, Nuclear Data
Sheets 112, 1513); oxygen fills up what the other elements leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COMPOSITION_Z",
    "EJECTA_PARAMETERS",
    "Ejecta",
    "ejecta_zones",
    "nickel_decay",
    "physical_problems",
]

EJECTA_PARAMETERS = (
    "log_L", "v_inner", "log_rho_0", "density_exp", "T_e_ratio", "v_core", "v_wall", "X_Fe_core", "X_Si_wall",
    "v_break", "density_exp_outer", "t_exp", "X_Fe_wall", "X_Ni", "X_Fe_outer",
)  # fmt: skip
#: C O Mg Si S Ca Ti Cr Fe Co Ni.
COMPOSITION_Z = (6, 8, 12, 14, 16, 20, 22, 24, 26, 27, 28)
NI56_HALF_LIFE_DAY, CO56_HALF_LIFE_DAY = 6.075, 77.24
_OXYGEN = COMPOSITION_Z.index(8)
#: Mass fractions that no parameter sets, in the core, the wall and the outer layers.
_FIXED = {6: (0.02,) * 3, 12: (0.02,) * 3, 16: (0.03, 0.08, 0.01), 20: (0.01, 0.02, 0.002), 22: (5e-4,) * 3,
          24: (5e-4,) * 3}  # fmt: skip
_SILICON_CORE, _SILICON_OUTER = 0.10, 0.05
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


def nickel_decay(time_day: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fractions of initial Ni56 that are Ni56, Co56 and Fe56 after a time [d] (Bateman 1910)."""
    time = np.asarray(time_day, float)
    nickel_rate, cobalt_rate = np.log(2.0) / NI56_HALF_LIFE_DAY, np.log(2.0) / CO56_HALF_LIFE_DAY
    nickel = np.exp(-nickel_rate * time)
    cobalt = nickel_rate / (cobalt_rate - nickel_rate) * (nickel - np.exp(-cobalt_rate * time))
    return nickel, cobalt, 1.0 - nickel - cobalt


def physical_problems(parameters: pd.DataFrame, *, outer_velocity_km_s: float = 30_000.0) -> list[str]:
    """What is unphysical about each row, in words; "" where nothing is.

    Raises CatalogueError if one of the fifteen columns is missing.
    """
    values = _columns(parameters)
    n = len(parameters)
    problems: list[list[str]] = [[] for _ in range(n)]

    def add(wrong: NDArray[np.bool_], words: str, *names: str) -> None:
        for row in np.flatnonzero(wrong):
            problems[row].append(words.format(*(f"{name} = {values[name][row]:g}" for name in names)))

    for name, (low, high) in _RANGES.items():
        wrong = ~((values[name] >= low) & (values[name] <= high))
        add(wrong, f"{{}} is outside [{low:g}, {high:g}]", name)
    add(values["v_core"] < values["v_inner"], "{} lies below {}", "v_core", "v_inner")
    add(values["v_wall"] < values["v_core"], "{} lies below {}", "v_wall", "v_core")
    add(values["v_inner"] >= 0.95 * outer_velocity_km_s, f"{{}} is not inside {outer_velocity_km_s:g} km/s", "v_inner")
    oxygen = _layers(values)[:, :, _OXYGEN]
    for layer, name in enumerate(("core", "wall", "outer layers")):
        for row in np.flatnonzero(oxygen[:, layer] < 0.0):
            problems[row].append(f"mass fractions of the {name} add up to {1.0 - oxygen[row, layer]:.4g} > 1")
    return ["; ".join(words) for words in problems]


def ejecta_zones(parameters: pd.DataFrame, *, zones: int = 30, outer_velocity_km_s: float = 30_000.0) -> Ejecta:
    """Density and composition of ``zones`` equal in velocity from v_inner outwards; velocities are in km/s.

    parameters: one row a model with the columns EJECTA_PARAMETERS; log_L is log10 of erg/s, log_rho_0 of g/cm^3 at
    v_inner and t_exp [d]. Raises CatalogueError if a column is missing, OptionError naming the first unphysical rows.
    """
    check_whole("zones", zones, 2, 10_000)
    check_between("outer_velocity_km_s", outer_velocity_km_s, 1000.0, 100_000.0)
    problems = physical_problems(parameters, outer_velocity_km_s=outer_velocity_km_s)
    wrong = [f"row {row}: {words}" for row, words in enumerate(problems) if words]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise OptionError(f"unphysical ejecta in {len(wrong)} of {len(problems)} rows: {'; '.join(wrong[:3])}{more}")
    values = _columns(parameters)
    inner = values["v_inner"][:, None]
    edges = inner + (outer_velocity_km_s - inner) * np.linspace(0.0, 1.0, zones + 1)
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    break_at, slope = values["v_break"][:, None], values["density_exp"][:, None]
    outer_slope = values["density_exp_outer"][:, None]
    log_density = values["log_rho_0"][:, None] + np.where(
        middle < break_at,
        slope * np.log10(middle / inner),
        slope * np.log10(break_at / inner) + outer_slope * np.log10(middle / break_at),
    )
    layer = (middle >= values["v_core"][:, None]).astype(int) + (middle >= values["v_wall"][:, None])
    fraction = _layers(values)[np.arange(len(edges))[:, None], layer]
    fraction /= fraction.sum(axis=2, keepdims=True)
    return Ejecta(edges, 10.0**log_density, fraction, values["t_exp"] * 86_400.0)


def _layers(values: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """(n, 3, 11) mass fractions of core, wall and outer layers; oxygen's is negative where the others exceed 1."""
    n = len(values["X_Ni"])
    fraction = np.zeros((n, 3, len(COMPOSITION_Z)))
    index = {z: k for k, z in enumerate(COMPOSITION_Z)}
    for z, shares in _FIXED.items():
        fraction[:, :, index[z]] = shares
    fraction[:, 0, index[14]], fraction[:, 1, index[14]] = _SILICON_CORE, values["X_Si_wall"]
    fraction[:, 2, index[14]] = _SILICON_OUTER
    nickel, cobalt, iron = nickel_decay(values["t_exp"])
    for layer, name in enumerate(("X_Fe_core", "X_Fe_wall", "X_Fe_outer")):
        fraction[:, layer, index[26]] = values[name] + values["X_Ni"] * iron
    fraction[:, :, index[27]] = (values["X_Ni"] * cobalt)[:, None]
    fraction[:, :, index[28]] = (values["X_Ni"] * nickel)[:, None]
    fraction[:, :, _OXYGEN] = 1.0 - fraction.sum(axis=2)
    return fraction


def _columns(parameters: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The fifteen columns as float64; raises CatalogueError for one that is missing."""
    missing = [name for name in EJECTA_PARAMETERS if name not in parameters.columns]
    if missing:
        there = ", ".join(map(str, parameters.columns))
        raise CatalogueError(f"parameters lack the column(s) {', '.join(missing)}; there are {there}")
    return {name: parameters[name].to_numpy(dtype=float) for name in EJECTA_PARAMETERS}
