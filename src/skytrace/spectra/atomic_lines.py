"""From the files of the Atomic Line List to the tables of a simulation: levels matched, strengths in place, lines cut.

A line's level is the one of its ion, term number and g that is nearest in energy; wavelengths (vacuum) are those of the
level energies. One line is kept for each pair of levels, the strongest.

Metastable levels are those that TARDIS's atomic files (Carsus) mark so: no line with log gf above a threshold (-3)
leads down from them; all E1 lines of the list count, of any wavelength and before any cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.atomic_cut import bound_levels, largest_sobolev_depth
from skytrace.spectra.atomic_data import F_LU_PER_A_UL, AtomicData, select_lines
from skytrace.spectra.atomic_files import atomic_constants, line_list_folder, read_levels, read_lines
from skytrace.spectra.atomic_options import AtomicOptions
from skytrace.spectra.gf_overrides import override_f_lu

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["EV_CM", "cut_tables", "load_atomic_data"]

EV_CM = 1.0 / 8065.543937  # hc in eV cm, CODATA 2018
_DEFAULT = AtomicOptions()
_FARTHEST_PER_CM = 2.0**22  # above every level energy of the list


def load_atomic_data(*, options: AtomicOptions = _DEFAULT, folder: Path | None = None) -> AtomicData:
    """Ions, levels and lines of the Atomic Line List, cut as ``options`` say.

    folder: of the two files; None is that of the installed package. Raises SurveyError if a file is missing or
    damaged, CatalogueError if the tables contradict each other.
    """
    folder = line_list_folder() if folder is None else folder
    chosen = {"atomic_numbers": options.atomic_numbers, "highest_stage": options.highest_stage}
    levels = {name: column.to_numpy() for name, column in read_levels(folder, **chosen).items()}
    lines = read_lines(folder, **chosen)
    lines["lower"] = match_levels(levels, lines, "lower")
    lines["upper"] = match_levels(levels, lines, "upper")
    for end in ("lower", "upper"):
        lines[f"energy_{end}_per_cm"] = levels["energy_per_cm"][lines[end]]
    lines = {name: column[_strongest_of_pair(lines)] for name, column in lines.items()}
    masses, ionization = atomic_constants(options.atomic_numbers, highest_stage=options.highest_stage)
    return cut_tables(_tables(levels, lines, options, masses, ionization), options)


def match_levels(levels: Mapping[str, NDArray], lines: Mapping[str, NDArray], end: str) -> NDArray[np.int64]:
    """(l,) index into the levels of the ``end`` (lower, upper) of each line: same ion, term and g, nearest in energy.

    Raises CatalogueError if a line has no level.
    """
    keys = _key(levels["z"], levels["stage"], levels["term"], levels["g"])
    wanted = _key(lines["z"], lines["stage"], lines[f"term_{end}"], lines[f"g_{end}"])
    order = np.lexsort((levels["energy_per_cm"], keys))
    keys, energies = keys[order], levels["energy_per_cm"][order]
    known, number = np.unique(keys, return_inverse=True)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    unknown = known[at] != wanted
    if unknown.any():
        first = {name: lines[name][unknown][0] for name in ("z", "stage", f"term_{end}", f"g_{end}")}
        raise CatalogueError(f"{unknown.sum()} lines have no {end} level in the level file, the first with {first}")
    # one ascending axis for all: the number of (ion, term, g), then the energy within it
    target = lines[f"energy_{end}_per_cm"]
    right = np.searchsorted(number * _FARTHEST_PER_CM + energies, at * _FARTHEST_PER_CM + target)
    candidates = np.clip(np.stack([right - 1, right]), 0, len(keys) - 1)
    distance = np.where(keys[candidates] == wanted, np.abs(energies[candidates] - target), np.inf)
    return order[np.take_along_axis(candidates, np.argmin(distance, axis=0)[None], axis=0)[0]]


def cut_tables(atomic: AtomicData, options: AtomicOptions) -> AtomicData:
    """The lines in the wavelength range that are strong enough, and the levels that are bound or that these use."""
    wavelength = atomic.line_wavelength_angstrom
    kept = (wavelength > options.wavelength_low_angstrom) & (wavelength < options.wavelength_high_angstrom)
    kept &= atomic.line_f_lu > options.f_lu_least
    if options.sobolev_depth_least > 0.0:
        kept &= largest_sobolev_depth(atomic) > options.sobolev_depth_least
    return select_lines(atomic, kept, bound_levels(atomic))


def _key(z: NDArray, stage: NDArray, term: NDArray, g: NDArray) -> NDArray[np.int64]:
    """One whole number for ion, term and g."""
    return ((z.astype(np.int64) * 64 + stage) * 8192 + term) * 1024 + g


def _strongest_of_pair(lines: Mapping[str, NDArray]) -> NDArray[np.int64]:
    """Indices of the line with the largest A of each pair of levels."""
    order = np.lexsort((-lines["a_ul_per_s"], lines["upper"], lines["lower"]))
    lower, upper = lines["lower"][order], lines["upper"][order]
    return order[np.r_[True, (np.diff(lower) != 0) | (np.diff(upper) != 0)]]


def _tables(
    levels: Mapping[str, NDArray], lines: dict[str, NDArray], options: AtomicOptions, masses: NDArray,
    ionization: Mapping[int, NDArray],
) -> AtomicData:  # fmt: skip
    """All levels and lines as AtomicData, with the bare ion that ends each element and its one level."""
    numbers = options.atomic_numbers
    last = {z: min(options.highest_stage, z) for z in numbers}
    ion_z = np.array([z for z in numbers for _ in range(last[z] + 1)])
    ion_stage = np.array([stage for z in numbers for stage in range(1, last[z] + 2)])
    bare = np.flatnonzero(np.r_[ion_z[1:] != ion_z[:-1], True])

    f_lu, a_ul, wavelength = _strengths(lines, overrides=options.overrides)
    decays = np.log10(lines["g_lower"] * f_lu) > options.metastable_log_gf
    metastable = np.ones(len(levels["z"]), bool)
    metastable[lines["upper"][decays]] = False

    ion = np.searchsorted(ion_z * 64 + ion_stage, levels["z"] * 64 + levels["stage"])
    all_ions = np.r_[ion, bare]
    order = np.argsort(all_ions, kind="stable")
    place = np.argsort(order)  # where each level of the file has gone
    by_wavelength = np.lexsort((lines["upper"], lines["lower"], wavelength))
    lower, upper = lines["lower"][by_wavelength], lines["upper"][by_wavelength]
    return AtomicData(
        ion_z=ion_z,
        ion_stage=ion_stage,
        ionization_ev=np.concatenate([np.r_[ionization[z], np.nan] for z in numbers]),
        level_ion=all_ions[order],
        level_energy_ev=np.r_[levels["energy_per_cm"] * EV_CM, np.zeros(len(bare))][order],
        level_g=np.r_[levels["g"], np.ones(len(bare), np.int64)][order],
        level_metastable=np.r_[metastable, np.ones(len(bare), bool)][order],
        line_wavelength_angstrom=wavelength[by_wavelength],
        line_f_lu=f_lu[by_wavelength],
        line_lower=place[lower],
        line_upper=place[upper],
        line_ion=ion[lower],
        line_a_ul_per_s=a_ul[by_wavelength],
        element_z=np.array(numbers),
        atomic_mass_u=masses,
    )


def _strengths(lines: dict[str, NDArray], *, overrides: bool) -> tuple[NDArray, NDArray, NDArray]:
    """f_lu, A_ul [1/s] and vacuum wavelengths [A], each (l,)."""
    wavelength = 1e8 / (lines["energy_upper_per_cm"] - lines["energy_lower_per_cm"])
    per_a = F_LU_PER_A_UL * wavelength**2 * lines["g_upper"] / lines["g_lower"]
    f_lu = per_a * lines["a_ul_per_s"]
    if overrides:
        f_lu = override_f_lu(lines, f_lu)
    return f_lu, f_lu / per_a, wavelength
