"""The files of the Atomic Line List v3.00b4 (van Hoof 2018, Galaxies 6, 63) as the package pyemili 1.2.0 brings them.

They are read by path, their content checked by its SHA-256, and nothing of that package is imported (Tu et al. 2025,
doi 10.3847/1538-4365/adae00). Ionisation energies and atomic masses: the package mendeleev (NIST values).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, SurveyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["LEVEL_FILE", "LINE_FILE", "SHA256", "atomic_constants", "line_list_folder", "read_levels", "read_lines"]

LINE_FILE = "Linedb_v1.2.npz"
LEVEL_FILE = "ionlevel.dat"
SHA256 = {
    LINE_FILE: "646a6f0e20809f0a5525a7213574b9caf617291af2cb7cc46494fd8f6c33b8bf",
    LEVEL_FILE: "5b6dc410ecb142c823dcc1908fe5cdeb6fe07ef2dbd604d48ecd0ebcc3692033",
}
_LINE_COLUMNS = {
    "z": 1, "stage": 2, "type": 3, "g_lower": 4, "g_upper": 5, "energy_lower_per_cm": 8, "energy_upper_per_cm": 9,
    "a_ul_per_s": 10, "term_lower": 12, "term_upper": 13,
}  # fmt: skip
_LEVEL_COLUMNS = {0: "z", 1: "stage", 7: "term", 14: "g", 20: "energy_per_cm"}
_E1 = (0, 1)  # allowed and intercombination; the other types are forbidden


def line_list_folder() -> Path:
    """The folder of the two files in the installed package; raises SurveyError if it is not installed."""
    found = importlib.util.find_spec("pyemili")
    if found is None or not found.submodule_search_locations:
        raise SurveyError(
            "the package pyemili, which brings the atomic line list, is not installed: pip install pyemili==1.2.0"
        )
    return Path(found.submodule_search_locations[0]) / "Line_dataset"


def read_lines(folder: Path, *, atomic_numbers: Sequence[int], highest_stage: int) -> dict[str, NDArray]:
    """E1 lines of known strength, as columns: ion, type, both ends (g, term number, energy in cm^-1) and A_ul.

    Raises SurveyError if the file is missing, or is not the one that the tables were checked with.
    """
    try:
        with np.load(io.BytesIO(_checked(folder / LINE_FILE)), allow_pickle=False) as archive:
            rows = archive["arr_0"]
    except (ValueError, KeyError, OSError) as error:
        raise SurveyError(f"{folder / LINE_FILE} has the right SHA-256 but no table arr_0: {error}") from error
    kept = np.isin(rows[:, 1], atomic_numbers) & (rows[:, 2] <= highest_stage)
    kept &= np.isin(rows[:, 3], _E1) & (rows[:, 10] > 0.0)
    rows = rows[kept]
    whole = ("z", "stage", "type", "g_lower", "g_upper", "term_lower", "term_upper")
    return {name: rows[:, at].astype(np.int64 if name in whole else float) for name, at in _LINE_COLUMNS.items()}


def read_levels(folder: Path, *, atomic_numbers: Sequence[int], highest_stage: int) -> pd.DataFrame:
    """Levels z, stage, term (number), g, energy_per_cm, sorted by ion and energy; series limits (g <= 0) are left out.

    Raises SurveyError as ``read_lines``, and CatalogueError if an ion has no level in the file.
    """
    import pandas as pd

    content = io.BytesIO(_checked(folder / LEVEL_FILE))
    table = pd.read_csv(content, header=None, usecols=list(_LEVEL_COLUMNS)).rename(columns=_LEVEL_COLUMNS)
    kept = table["z"].isin(atomic_numbers) & (table["stage"] <= highest_stage) & (table["g"] > 0)
    table = table[kept].sort_values(["z", "stage", "energy_per_cm"], kind="stable", ignore_index=True)
    there = set(zip(table["z"], table["stage"], strict=True))
    missing = [f"Z = {z} stage {stage}" for z in atomic_numbers for stage in range(1, min(highest_stage, z) + 1)
               if (z, stage) not in there]  # fmt: skip
    if missing:
        raise CatalogueError(f"{folder / LEVEL_FILE} has no level of {', '.join(missing)}; lower highest_stage")
    return table


def atomic_constants(
    atomic_numbers: Sequence[int], *, highest_stage: int
) -> tuple[NDArray[np.float64], dict[int, NDArray[np.float64]]]:
    """Atomic masses (e,) in u, and by Z the ionisation energies in eV of the stages 1 to ``highest_stage`` (at most Z).

    They are read from mendeleev's table itself: its Python objects take seconds to import and to make. Raises
    SurveyError if there is no such table, CatalogueError if a value is not known.
    """
    masses, energies = np.empty(len(atomic_numbers)), {}
    weights, known = _mendeleev()
    for at, z in enumerate(atomic_numbers):
        stages = range(1, min(highest_stage, z) + 1)
        missing = [f"ionisation energy of stage {stage}" for stage in stages if (z, stage) not in known]
        missing += ["atomic mass"] * (z not in weights)
        if missing:
            raise CatalogueError(f"mendeleev knows no {missing[0]} of Z = {z}")
        masses[at] = weights[z]
        energies[int(z)] = np.array([known[z, stage] for stage in stages])
    return masses, energies


def _mendeleev() -> tuple[dict[int, float], dict[tuple[int, int], float]]:
    """Atomic masses [u] by Z, and ionisation energies [eV] by Z and stage (1 = from neutral)."""
    found = importlib.util.find_spec("mendeleev")
    if found is None or not found.submodule_search_locations:
        raise SurveyError("the package mendeleev, which brings ionisation energies, is not installed")
    path = Path(found.submodule_search_locations[0]) / "elements.db"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as table:
            weights = table.execute("SELECT atomic_number, atomic_weight FROM elements").fetchall()
            energies = table.execute(
                "SELECT atomic_number, ion_charge + 1, ionization_energy FROM ionizationenergies"
            ).fetchall()
    except sqlite3.Error as error:
        raise SurveyError(f"cannot read masses and ionisation energies from {path}: {error}") from error
    return (
        {z: weight for z, weight in weights if weight is not None},
        {(z, stage): energy for z, stage, energy in energies if energy is not None},
    )


def _checked(path: Path) -> bytes:
    """The content of a file whose SHA-256 is the one on record."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SurveyError(f"cannot read the atomic file {path}: {error.strerror}; reinstall pyemili==1.2.0") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[path.name]:
        raise SurveyError(
            f"the atomic file {path} is not the one of pyemili 1.2.0: expected SHA-256 {SHA256[path.name]}, found "
            f"{found} in {len(content):,} bytes. It is damaged or of another release; reinstall pyemili==1.2.0"
        )
    return content
