"""Ions, levels and lines as flat arrays, their partition functions, and their way to and from one file of arrays.

Ions are sorted by atomic number and stage (1 = neutral), levels by ion and energy, lines by vacuum wavelength. Each
element ends with a bare ion, the one above the last that has levels of its own: one level, g = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, check_between

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BOLTZMANN_EV_PER_K",
    "F_LU_PER_A_UL",
    "AtomicData",
    "atomic_from_arrays",
    "atomic_to_arrays",
    "partition_function",
    "select_lines",
]

BOLTZMANN_EV_PER_K = 8.617333262e-5  # CODATA 2018
#: m_e c / (8 pi^2 e^2): f_lu = F_LU_PER_A_UL lambda_A^2 (g_u / g_l) A_ul (Hilborn 1982, Am. J. Phys. 50, 982).
F_LU_PER_A_UL = 1.49919e-16


@dataclass(frozen=True, eq=False)
class AtomicData:
    """Ions (i), their levels (k), the lines between these (l), and the elements (e).

    ionization_ev: energy from the ion's ground level to that of the next stage; nan for the bare ion that ends each
    element. level_metastable: not diluted in dilute LTE. line_wavelength_angstrom is of vacuum; line_lower and
    line_upper index the levels, level_ion and line_ion the ions.
    """

    ion_z: NDArray[np.int64]
    ion_stage: NDArray[np.int64]
    ionization_ev: NDArray[np.float64]
    level_ion: NDArray[np.int64]
    level_energy_ev: NDArray[np.float64]
    level_g: NDArray[np.int64]
    level_metastable: NDArray[np.bool_]
    line_wavelength_angstrom: NDArray[np.float64]
    line_f_lu: NDArray[np.float64]
    line_lower: NDArray[np.int64]
    line_upper: NDArray[np.int64]
    line_ion: NDArray[np.int64]
    line_a_ul_per_s: NDArray[np.float64]
    element_z: NDArray[np.int64]
    atomic_mass_u: NDArray[np.float64]

    def __post_init__(self) -> None:
        wrong = _contradictions(self)
        if wrong:
            raise CatalogueError(f"these are not atomic tables: {'; '.join(wrong)}")

    @property
    def ion_bare(self) -> NDArray[np.bool_]:
        """(i,) the ion that ends each element."""
        return np.isnan(self.ionization_ev)

    @property
    def ion_first_level(self) -> NDArray[np.int64]:
        """(i,) index of each ion's ground level."""
        return np.searchsorted(self.level_ion, np.arange(len(self.ion_z)))

    @property
    def ion_element(self) -> NDArray[np.int64]:
        """(i,) index of each ion's element."""
        return np.searchsorted(self.element_z, self.ion_z)


def partition_function(atomic: AtomicData, temperature_k: ArrayLike) -> NDArray[np.float64]:
    """(t, i) partition functions in LTE at temperatures (t,): sums of g exp(-E / kT) over all levels of each ion.

    Raises OptionError for a temperature outside 100 to 1e7 K. Takes 8 t k bytes of memory.
    """
    temperature = np.atleast_1d(np.asarray(temperature_k, float))
    for value in (temperature.min(), temperature.max()):
        check_between("temperature_k", float(value), 100.0, 1e7)
    weights = atomic.level_g * np.exp(-atomic.level_energy_ev / (BOLTZMANN_EV_PER_K * temperature[:, None]))
    return np.add.reduceat(weights, atomic.ion_first_level, axis=1)


def select_lines(atomic: AtomicData, lines: NDArray[np.bool_], levels: NDArray[np.bool_]) -> AtomicData:
    """The tables with the ``lines`` (l,) that are kept, and the ``levels`` (k,) that are, or that such a line uses."""
    levels = levels.copy()
    levels[atomic.line_lower[lines]] = True
    levels[atomic.line_upper[lines]] = True
    levels[atomic.ion_first_level] = True
    number = np.cumsum(levels) - 1
    arrays = atomic_to_arrays(atomic)
    for name, array in arrays.items():
        if name.startswith("line_"):
            arrays[name] = array[lines]
        elif name.startswith("level_"):
            arrays[name] = array[levels]
    arrays["line_lower"], arrays["line_upper"] = number[arrays["line_lower"]], number[arrays["line_upper"]]
    return atomic_from_arrays(arrays)


def atomic_to_arrays(atomic: AtomicData) -> dict[str, NDArray]:
    """The arrays by name, as ``numpy.savez`` takes them."""
    return {field.name: getattr(atomic, field.name) for field in fields(atomic)}


def atomic_from_arrays(arrays: Mapping[str, NDArray]) -> AtomicData:
    """The tables of ``atomic_to_arrays``; raises CatalogueError if an array is missing or contradicts another."""
    names = [field.name for field in fields(AtomicData)]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CatalogueError(f"atomic tables lack {', '.join(missing)}; there are {', '.join(sorted(arrays))}")
    return AtomicData(**{name: np.asarray(arrays[name]) for name in names})


def _contradictions(atomic: AtomicData) -> list[str]:
    """What is wrong with the tables, in words; empty if nothing is."""
    wrong = []
    for stem, first in (("ion_", "ion_z"), ("level_", "level_ion"), ("line_", "line_ion"), ("element_", "element_z")):
        names = [field.name for field in fields(atomic) if field.name.startswith(stem)]
        names += {"ion_": ["ionization_ev"], "element_": ["atomic_mass_u"]}.get(stem, [])
        shapes = {name: getattr(atomic, name).shape for name in names}
        if set(shapes.values()) != {(len(getattr(atomic, first)),)}:
            wrong.append(f"lengths differ: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}")
    if wrong:
        return wrong
    ions, levels = len(atomic.ion_z), len(atomic.level_ion)
    if not np.array_equal(np.unique(atomic.level_ion), np.arange(ions)):
        wrong.append("an ion has no level, or a level no ion")
    if not np.isin(atomic.ion_z, atomic.element_z).all():
        wrong.append("an ion has no element")
    if not _ascending(atomic.ion_z, atomic.ion_stage) or not _ascending(atomic.level_ion, atomic.level_energy_ev):
        wrong.append("ions are not sorted by Z and stage, or levels not by ion and energy")
    for name in ("line_lower", "line_upper"):
        index = getattr(atomic, name)
        if index.size and not (index.min() >= 0 and index.max() < levels):
            wrong.append(f"{name} is outside the {levels} levels")
        elif np.any(atomic.level_ion[index] != atomic.line_ion):
            wrong.append(f"{name} is a level of another ion")
    if np.any(np.diff(atomic.line_wavelength_angstrom) < 0.0):
        wrong.append("lines are not sorted by wavelength")
    for name in ("level_g", "line_wavelength_angstrom", "line_f_lu", "atomic_mass_u"):
        if not np.all(getattr(atomic, name) > 0):
            wrong.append(f"{name} holds a value that is not positive")
    return wrong


def _ascending(major: NDArray, minor: NDArray) -> bool:
    """Whether the rows are sorted by ``major``, then by ``minor``."""
    step = np.diff(major)
    return bool(np.all((step > 0) | ((step == 0) & (np.diff(minor) >= 0))))
