"""Ions, excited levels and Sobolev optical depths of expanding ejecta in a diluted radiation field.

Ionisation is the nebular approximation (Mazzali & Lucy 1993, A&A 279, 447), excitation dilute LTE with metastable
levels undiluted (Lucy 1999, A&A 345, 211), and a line's optical depth that of Sobolev in homologous expansion, where
it has no direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.atomic_cut import ATOMIC_MASS_G

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.atomic_data import AtomicData

__all__ = ["LineOpacity", "PlasmaState", "PlasmaTables", "bin_opacity", "plasma_tables", "solve_plasma"]

_STAGES = 4
_CALCIUM = 20


@dataclass(frozen=True, eq=False)
class PlasmaTables:
    """Atomic tables as the kernels take them: levels of each element's four ions, ionisation energies (e, 4) with the
    threshold of the radiation field's correction (Ca II), lines, and atomic masses [g] of element_z.
    """

    levels: tuple[NDArray, NDArray, NDArray, NDArray]
    ionization_ev: NDArray[np.float64]
    threshold_ev: float
    wavelength_angstrom: NDArray[np.float64]
    lines: tuple[NDArray, NDArray, NDArray, NDArray]
    element_z: NDArray[np.int64]
    atomic_mass_g: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlasmaState:
    """Of z zones, per cm^3: free electrons (z,), ions (e, 5, z), the fifth stage bare, and levels (k, z)."""

    electron_density_cm3: NDArray[np.float64]
    ion_density_cm3: NDArray[np.float64]
    level_density_cm3: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LineOpacity:
    """Lines in bins (b, z): depth, the sum of their optical depths, and crowd, that of 1 - exp(-tau)."""

    depth: NDArray[np.float32]
    crowd: NDArray[np.float32]


def plasma_tables(atomic: AtomicData) -> PlasmaTables:
    """The tables of ``atomic``; raises CatalogueError unless each element has stages I to IV and the bare ion above."""
    n_elements = len(atomic.element_z)
    expected = np.tile(np.arange(1, _STAGES + 2), n_elements)
    if not np.array_equal(atomic.ion_stage, expected) or not np.array_equal(
        atomic.ion_z, np.repeat(atomic.element_z, _STAGES + 1)
    ):
        raise CatalogueError(
            "the plasma needs stages I to IV of each element and the bare ion above (highest_stage = 4)"
        )
    bare = np.arange(_STAGES, len(atomic.ion_z), _STAGES + 1)
    first = np.append(atomic.ion_first_level, len(atomic.level_ion)).reshape(-1)
    start = np.stack([first[:-1], first[1:]], axis=1).reshape(n_elements, _STAGES + 1, 2)[:, :_STAGES].reshape(-1, 2)
    ionization = np.delete(atomic.ionization_ev, bare).reshape(n_elements, _STAGES)
    calcium = np.flatnonzero(atomic.element_z == _CALCIUM)
    if not len(calcium):
        raise CatalogueError("the radiation field's correction needs calcium (the threshold of Ca II) in the elements")
    g = atomic.level_g.astype(float)
    strength = (atomic.line_f_lu * atomic.line_wavelength_angstrom * 1e-8).astype(np.float32)
    ratio = (g[atomic.line_lower] / g[atomic.line_upper]).astype(np.float32)
    return PlasmaTables(
        levels=(atomic.level_energy_ev, g, atomic.level_metastable, np.ascontiguousarray(start)),
        ionization_ev=ionization,
        threshold_ev=float(ionization[calcium[0], 1]),
        wavelength_angstrom=atomic.line_wavelength_angstrom,
        lines=(strength, atomic.line_lower, atomic.line_upper, ratio),
        element_z=atomic.element_z,
        atomic_mass_g=atomic.atomic_mass_u * ATOMIC_MASS_G,
    )


def solve_plasma(
    tables: PlasmaTables,
    t_rad_k: NDArray[np.float64],
    dilution: NDArray[np.float64],
    element_density_cm3: NDArray[np.float64],
    *,
    t_electron_ratio: float,
    zeta: float = 0.5,
) -> PlasmaState:
    """Electrons, ions and levels of zones (z,) with T_rad [K], dilution factor W and elements (e, z) [cm^-3].

    t_electron_ratio: T_e / T_rad. The electron density is the root of charge conservation, found by bisection.
    """
    from skytrace.spectra._plasma_kernels import level_populations

    n_elements, n_zones = element_density_cm3.shape
    levels = np.zeros((len(tables.levels[0]), n_zones), dtype=np.float32)
    ions = np.zeros((n_elements, _STAGES + 1, n_zones))
    electrons = level_populations(
        (t_rad_k, t_electron_ratio * t_rad_k, dilution),
        np.ascontiguousarray(element_density_cm3),
        tables.levels,
        (tables.ionization_ev, tables.threshold_ev),
        zeta,
        levels,
        ions,
    )
    return PlasmaState(electrons, ions, levels)


def bin_opacity(tables: PlasmaTables, state: PlasmaState, edges_angstrom: NDArray, *, time_s: float) -> LineOpacity:
    """Sobolev optical depths of the lines in bins between ``edges_angstrom`` (b + 1,), equal in log wavelength."""
    from skytrace.spectra._plasma_kernels import bin_optical_depths

    n_bins, n_zones = len(edges_angstrom) - 1, state.level_density_cm3.shape[1]
    scale = n_bins / np.log(edges_angstrom[-1] / edges_angstrom[0])
    bins = np.floor(scale * np.log(tables.wavelength_angstrom / edges_angstrom[0])).astype(np.int64)
    bins[(bins < 0) | (bins >= n_bins)] = -1
    opacity = LineOpacity(*(np.zeros((n_bins, n_zones), dtype=np.float32) for _ in range(2)))
    bin_optical_depths(state.level_density_cm3, tables.lines, bins, time_s, opacity.depth, opacity.crowd)
    return opacity
