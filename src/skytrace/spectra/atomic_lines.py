"""From the files of the Atomic Line List to the tables of a simulation: levels matched, strengths in place, lines cut.

A line's level is the one of its ion, term number and g that is nearest in energy; wavelengths (vacuum) are those of the
level energies. One line is kept for each pair of levels, the strongest.

Metastable levels are those that TARDIS's atomic files (Carsus) mark so: no line with log gf above a threshold (-3)
leads down from them; all E1 lines of the list count, of any wavelength and before any cut. The list begins at 1000 A,
so a level whose decays are all of shorter wavelength counts as metastable too. Such levels lie at 12.7 eV or more,
and hold no population that matters to a type Ia supernova.
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

__all__ = ["EV_CM", "assemble", "cut_tables", "f_lu_per_a_ul", "load_atomic_data", "match_levels"]

EV_CM = 1.0 / 8065.543937  # hc in eV cm, CODATA 2018
_DEFAULT = AtomicOptions()
_FARTHEST_PER_CM = 2.0**22  # above every level energy of the list


def load_atomic_data(*, options: AtomicOptions = _DEFAULT, folder: Path | None = None) -> AtomicData:
    """Ions, levels and lines of the Atomic Line List, cut as ``options`` say.

    folder: of the two files; None is that of the installed package. Raises SurveyError if a file is missing or
    damaged, CatalogueError if the tables contradict each other.
    """
    folder = line_list_folder() if folder is None else folder
    numbers, highest = options.atomic_numbers, options.highest_stage
    table = read_levels(folder, atomic_numbers=numbers, highest_stage=highest)
    levels = {str(name): column.to_numpy() for name, column in table.items()}
    levels["energy_ev"] = levels["energy_per_cm"] * EV_CM
    lines = read_lines(folder, atomic_numbers=numbers, highest_stage=highest)
    lines["lower"] = match_levels(levels, lines, "lower")
    lines["upper"] = match_levels(levels, lines, "upper")
    for end in ("lower", "upper"):
        lines[f"energy_{end}_per_cm"] = levels["energy_per_cm"][lines[end]]
    lines = {name: column[_strongest_of_pair(lines)] for name, column in lines.items()}
    lines["wavelength_angstrom"] = 1e8 / (lines["energy_upper_per_cm"] - lines["energy_lower_per_cm"])
    lines["f_lu"] = lines["a_ul_per_s"] * f_lu_per_a_ul(levels, lines)
    if options.overrides:
        lines["f_lu"] = override_f_lu(lines, lines["f_lu"])
    masses, ionization = atomic_constants(numbers, highest_stage=highest)
    return cut_tables(assemble(levels, lines, options=options, masses=masses, ionization=ionization), options)


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
        first = {name: int(lines[name][unknown][0]) for name in ("z", "stage", f"term_{end}", f"g_{end}")}
        raise CatalogueError(
            f"{unknown.sum()} lines have no {end} level in the level file, the first with {first}; the list has "
            "lines of hydrogen-like ions (H I, He II, Li III, Be IV) by whole shells: leave these out"
        )
    # one ascending axis for all: the number of (ion, term, g), then the energy within it
    target = lines[f"energy_{end}_per_cm"]
    right = np.searchsorted(number * _FARTHEST_PER_CM + energies, at * _FARTHEST_PER_CM + target)
    candidates = np.clip(np.stack([right - 1, right]), 0, len(keys) - 1)
    distance = np.where(keys[candidates] == wanted, np.abs(energies[candidates] - target), np.inf)
    return order[np.take_along_axis(candidates, np.argmin(distance, axis=0)[None], axis=0)[0]]


def f_lu_per_a_ul(levels: Mapping[str, NDArray], lines: Mapping[str, NDArray]) -> NDArray[np.float64]:
    """(l,) absorption oscillator strength for A_ul = 1/s, of lines whose ends and wavelength are known."""
    return F_LU_PER_A_UL * lines["wavelength_angstrom"] ** 2 * levels["g"][lines["upper"]] / levels["g"][lines["lower"]]


def assemble(
    levels: Mapping[str, NDArray], lines: Mapping[str, NDArray], *, options: AtomicOptions, masses: NDArray,
    ionization: Mapping[int, NDArray],
) -> AtomicData:  # fmt: skip
    """All levels and lines as AtomicData, with the bare ion that ends each element and its one level.

    levels: z, stage, g, energy_ev, sorted by ion and energy. lines: lower and upper (levels), wavelength_angstrom,
    f_lu. masses: (e,) in u. ionization: by Z, energies in eV of the stages from 1 to the last that has levels.
    """
    numbers = options.atomic_numbers
    ion_z = np.array([z for z in numbers for _ in range(len(ionization[z]) + 1)])
    ion_stage = np.array([stage for z in numbers for stage in range(1, len(ionization[z]) + 2)])
    bare = np.flatnonzero(np.r_[ion_z[1:] != ion_z[:-1], True])

    decays = np.log10(levels["g"][lines["lower"]] * lines["f_lu"]) > options.metastable_log_gf
    metastable = np.ones(len(levels["z"]), bool)
    metastable[lines["upper"][decays]] = False

    ion = np.searchsorted(ion_z * 64 + ion_stage, levels["z"].astype(np.int64) * 64 + levels["stage"])
    all_ions = np.r_[ion, bare]
    order = np.argsort(all_ions, kind="stable")
    place = np.argsort(order)  # where each level has gone
    by_wavelength = np.lexsort((lines["upper"], lines["lower"], lines["wavelength_angstrom"]))
    sorted_lines = {name: lines[name][by_wavelength] for name in ("wavelength_angstrom", "f_lu", "lower", "upper")}
    return AtomicData(
        ion_z=ion_z,
        ion_stage=ion_stage,
        ionization_ev=np.concatenate([np.r_[ionization[z], np.nan] for z in numbers]),
        level_ion=all_ions[order],
        level_energy_ev=np.r_[levels["energy_ev"], np.zeros(len(bare))][order],
        level_g=np.r_[levels["g"], np.ones(len(bare), np.int64)][order],
        level_metastable=np.r_[metastable, np.ones(len(bare), bool)][order],
        line_wavelength_angstrom=sorted_lines["wavelength_angstrom"],
        line_f_lu=sorted_lines["f_lu"],
        line_lower=place[sorted_lines["lower"]],
        line_upper=place[sorted_lines["upper"]],
        line_ion=ion[sorted_lines["lower"]],
        line_a_ul_per_s=sorted_lines["f_lu"] / f_lu_per_a_ul(levels, sorted_lines),
        element_z=np.array(numbers),
        atomic_mass_u=masses,
    )


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
