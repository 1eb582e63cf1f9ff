"""A second source of lines: three parquet tables of any origin, to see what another line list changes.

``levels.parquet``: atomic_number, ion_charge (0 = neutral), level_number (by energy, from 0), energy_ev, g.
``lines.parquet``: atomic_number, ion_charge, wavelength_angstrom (vacuum), f_lu, g_lower, level_lower, level_upper
(level_number). ``ionization.parquet``: atomic_number, ion_charge, ionization_energy_ev, mass_u.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skytrace.compute.parquet import read_parquet
from skytrace.errors import CatalogueError, SurveyError
from skytrace.spectra.atomic_lines import assemble, cut_tables
from skytrace.spectra.atomic_options import AtomicOptions

if TYPE_CHECKING:
    import os

    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.spectra.atomic_data import AtomicData

__all__ = ["COLUMNS", "read_line_list"]

_ION = ["atomic_number", "ion_charge"]
COLUMNS = {
    "lines": (*_ION, "wavelength_angstrom", "f_lu", "g_lower", "level_lower", "level_upper"),
    "levels": (*_ION, "level_number", "energy_ev", "g"),
    "ionization": (*_ION, "ionization_energy_ev", "mass_u"),
}
_POSITIVE = ("wavelength_angstrom", "f_lu", "g_lower", "g", "ionization_energy_ev", "mass_u")
_DEFAULT = AtomicOptions(overrides=False)


def read_line_list(folder: str | os.PathLike, *, options: AtomicOptions = _DEFAULT) -> AtomicData:
    """Ions, levels and lines of the three tables in ``folder``, cut as ``options`` say, whose overrides are not used.

    A line keeps its gf where its lower level has another g than the line says. Raises SurveyError if a file is missing
    or unreadable, CatalogueError if a column is missing, a value is not a positive number, an ion has no level or a
    line's level does not exist; all problems of a table in one message.
    """
    tables = {name: _read(Path(folder) / f"{name}.parquet", columns) for name, columns in COLUMNS.items()}
    tables = {name: _chosen(table, options) for name, table in tables.items()}
    levels, lines = tables["levels"], tables["lines"]
    levels = levels.sort_values([*_ION, "energy_ev", "level_number"], kind="stable", ignore_index=True)
    masses, ionization = _constants(tables["ionization"], levels, options)
    whole = {
        "z": levels["atomic_number"].to_numpy(np.int64), "stage": levels["ion_charge"].to_numpy(np.int64) + 1,
        "g": np.rint(levels["g"].to_numpy(float)).astype(np.int64), "energy_ev": levels["energy_ev"].to_numpy(float),
    }  # fmt: skip
    ends = {end: _level_index(levels, lines, f"level_{end}") for end in ("lower", "upper")}
    gf = lines["f_lu"].to_numpy(float) * lines["g_lower"].to_numpy(float)
    columns = {
        "wavelength_angstrom": lines["wavelength_angstrom"].to_numpy(float),
        "f_lu": gf / whole["g"][ends["lower"]],
    }
    return cut_tables(
        assemble(whole, {**columns, **ends}, options=options, masses=masses, ionization=ionization), options
    )


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The columns of one table, checked."""
    if not path.is_file():
        raise SurveyError(
            f"the line list has no file {path}; it needs {', '.join(f'{name}.parquet' for name in COLUMNS)}"
        )
    table = read_parquet(path)
    missing = [name for name in columns if name not in table]
    if missing:
        raise CatalogueError(f"{path} lacks the columns {', '.join(missing)}; there are {', '.join(map(str, table))}")
    table = table[list(columns)]
    wrong = [
        f"{name} is not a positive number in {count:,} rows"
        for name in columns
        if name in _POSITIVE and (count := int((~((table[name] > 0) & np.isfinite(table[name]))).sum()))
    ]
    wrong += [f"{name} is missing in {count:,} rows" for name in columns if (count := int(table[name].isna().sum()))
              and name not in _POSITIVE]  # fmt: skip
    if wrong:
        raise CatalogueError(f"{path}: {'; '.join(wrong)}")
    return table


def _chosen(table: pd.DataFrame, options: AtomicOptions) -> pd.DataFrame:
    """The rows of the elements and stages that are asked for."""
    kept = table["atomic_number"].isin(options.atomic_numbers) & (table["ion_charge"] < options.highest_stage)
    return table[kept]


def _constants(
    table: pd.DataFrame, levels: pd.DataFrame, options: AtomicOptions
) -> tuple[NDArray[np.float64], dict[int, NDArray[np.float64]]]:
    """Masses (e,) and, by Z, the ionisation energies of the stages that have levels."""
    energy = {(z, q): value for z, q, value in table[[*_ION, "ionization_energy_ev"]].itertuples(index=False)}
    mass = dict(table[["atomic_number", "mass_u"]].itertuples(index=False, name=None))
    there = set(levels[_ION].itertuples(index=False, name=None))
    asked = [(z, q) for z in options.atomic_numbers for q in range(min(options.highest_stage, z))]
    wrong = [f"no level of Z = {z} charge {q}" for z, q in asked if (z, q) not in there]
    wrong += [f"no ionisation energy of Z = {z} charge {q}" for z, q in asked if (z, q) not in energy]
    if wrong:
        raise CatalogueError(f"the line list has {'; '.join(wrong)}; leave out the element or lower highest_stage")
    ionization = {
        z: np.array([energy[z, q] for q in range(min(options.highest_stage, z))]) for z in options.atomic_numbers
    }
    return np.array([mass[z] for z in options.atomic_numbers]), ionization


def _level_index(levels: pd.DataFrame, lines: pd.DataFrame, end: str) -> NDArray[np.int64]:
    """(l,) rows of ``levels`` that the lines' ``end`` names by ion and level_number."""
    import pandas as pd

    names = pd.MultiIndex.from_frame(levels[[*_ION, "level_number"]])
    if not names.is_unique:
        raise CatalogueError(f"the line list repeats {names.duplicated().sum():,} level numbers of an ion")
    index = names.get_indexer(pd.MultiIndex.from_frame(lines[[*_ION, end]]))
    if (index < 0).any():
        raise CatalogueError(f"the line list has {(index < 0).sum():,} lines whose {end} is not among the levels")
    return index
