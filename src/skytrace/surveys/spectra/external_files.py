"""The files by which an external simulator is told a model, and those in which it answers (LUMINA's contract).

LUMINA (github.com/kjhan0606/Lumina-sn) reads a folder of small tables in cgs units beside its atomic files, which stay
as they are, and writes a spectrum into its working directory.
"""

from __future__ import annotations

import csv
import json
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytrace.errors import SimulatorError, SurveyError
from skytrace.spectra.atomic_cut import ATOMIC_MASS_G
from skytrace.spectra.composition import COMPOSITION_Z
from skytrace.spectra.transfer import STEFAN_BOLTZMANN

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from skytrace.spectra.ejecta import Ejecta
    from skytrace.surveys.spectra.external_options import ExternalSimulatorOptions

__all__ = ["RESULT_FILES", "WRITTEN_FILES", "Spectrum", "count_lines", "read_result", "write_model"]

WRITTEN_FILES = ("config.json", "geometry.csv", "density.csv", "abundances.csv", "electron_densities.csv",
                 "plasma_state.csv")  # fmt: skip
#: The first of them that is there is the result.
RESULT_FILES = ("lumina_spectrum_rotation.csv", "lumina_spectrum.csv")
_LINE_FILE = "line_list.csv"
_COLUMNS = ("wavelength_angstrom", "flux")
_FEWEST_WAVELENGTHS = 50
#: First guess: free electrons per nucleon, those of singly ionised silicon and iron.
_ELECTRONS_PER_NUCLEON = 0.03
_T_RAD_SLOPE = 0.45


class Spectrum(NamedTuple):
    """wavelength_angstrom (m,), ascending, and flux (m,) in the simulator's own unit."""

    wavelength_angstrom: NDArray[np.float64]
    flux: NDArray[np.float64]


def write_model(
    folder: Path, ejecta: Ejecta, *, log_luminosity: float, t_electron_ratio: float, seed: int, lines: int,
    options: ExternalSimulatorOptions,
) -> None:  # fmt: skip
    """Write the tables of the one model in ``ejecta`` into the folder, with first guesses of T_inner, W and T_rad.

    T_inner is that of a black body of this luminosity at the innermost radius; W and T_rad are those of
    ``first_guesses``.
    """
    edges_cm_s = ejecta.velocity_edges_km_s[0] * 1e5
    time_s, luminosity = float(ejecta.time_s[0]), 10.0**log_luminosity
    t_inner = (luminosity / (4.0 * np.pi * (edges_cm_s[0] * time_s) ** 2 * STEFAN_BOLTZMANN)) ** 0.25
    configuration = {
        "time_explosion_s": time_s, "T_inner_K": float(t_inner), "luminosity_inner_erg_s": luminosity,
        "n_shells": len(edges_cm_s) - 1, "n_lines": lines, "n_packets": int(options.packets),
        "n_iterations": int(options.iterations), "seed": seed, "v_inner_min_cm_s": float(edges_cm_s[0]),
        "v_outer_max_cm_s": float(edges_cm_s[-1]), "T_e_T_rad_ratio": t_electron_ratio,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")
    inner, outer, density = edges_cm_s[:-1], edges_cm_s[1:], ejecta.density_g_cm3[0]
    w, t_rad = first_guesses(edges_cm_s, float(t_inner))
    electrons = density / ATOMIC_MASS_G * _ELECTRONS_PER_NUCLEON
    _write_shells(folder / "geometry.csv", "r_inner,r_outer,v_inner,v_outer", inner * time_s, outer * time_s, inner,
                  outer)  # fmt: skip
    _write_shells(folder / "density.csv", "rho", density)
    _write_shells(folder / "electron_densities.csv", "n_e", electrons)
    _write_shells(folder / "plasma_state.csv", "W,T_rad", w, t_rad)
    rows = [",".join(["atomic_number", *map(str, range(len(density)))])]
    for z, fraction in zip(COMPOSITION_Z, ejecta.mass_fraction[0].T, strict=True):
        rows.append(",".join([str(z), *(repr(float(value)) for value in fraction)]))
    (folder / "abundances.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def first_guesses(edges: NDArray[np.float64], t_inner_k: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W and T_rad [K] (z,) in the middle of shells between ``edges`` (z + 1,) of velocity.

    W = (1 - sqrt(1 - (v_in/v)^2)) / 2 (geometrical dilution), T_rad = T_inner (v_in/v)^0.45, as LUMINA's own scripts.
    """
    inverse = edges[0] / (0.5 * (edges[1:] + edges[:-1]))
    return 0.5 * (1.0 - np.sqrt(1.0 - inverse**2)), t_inner_k * inverse**_T_RAD_SLOPE


def count_lines(reference: Path) -> int:
    """n_lines of the reference folder: of its config.json, else the rows of its line_list.csv below the header.

    Raises SurveyError where there is neither, or the number is none.
    """
    configuration, lines = reference / "config.json", reference / _LINE_FILE
    try:
        if configuration.is_file():
            number = json.loads(configuration.read_text(encoding="utf-8"))["n_lines"]
            if not isinstance(number, int) or number < 1:
                raise SurveyError(f"{configuration} says n_lines = {number!r}, which is no count")
            return number
        with lines.open("rb") as stream:
            return sum(1 for _ in stream) - 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SurveyError(
            f"{reference} has no config.json with n_lines and no {_LINE_FILE} to count ({error}); set the option lines"
        ) from error


def read_result(folder: Path, *, max_mb: float) -> Spectrum:
    """The spectrum in the working directory. Raises SimulatorError naming what is wrong with it: no result file, one
    that is a link or too large, no such columns, something that is no number, NaN, negative flux or none at all, fewer
    than 50 wavelengths, wavelengths that do not ascend.
    """
    name, content = _result(folder, max_mb)
    try:
        rows = list(csv.reader(content.decode("ascii").splitlines()))
        header = [column.strip() for column in rows[0]]
        places = [header.index(column) for column in _COLUMNS]
        numbers = np.array([[float(row[at]) for at in places] for row in rows[1:] if row])
    except (ValueError, IndexError, csv.Error) as error:
        raise SimulatorError(f"{name} is garbled: {error}") from error
    if len(numbers) < _FEWEST_WAVELENGTHS:
        raise SimulatorError(f"{name} is short: {len(numbers)} wavelengths, {_FEWEST_WAVELENGTHS} at least expected")
    wavelength, flux = np.ascontiguousarray(numbers.T)
    for wrong, words in (
        (~np.isfinite(numbers).all(), "has values that are not finite"),
        (
            not (np.diff(wavelength) > 0.0).all() or wavelength[0] <= 0.0,
            "has wavelengths that do not ascend from above 0",
        ),
        ((flux < 0.0).any(), "has negative flux"),
        (not (flux > 0.0).any(), "has no flux"),
    ):
        if wrong:
            raise SimulatorError(f"{name} {words}")
    return Spectrum(wavelength, flux)


def _result(folder: Path, max_mb: float) -> tuple[str, bytes]:
    """(name, content) of the result. It is looked for in the folder itself and opened without following links, and what
    was opened is what is checked: a program that left something running cannot exchange it in between.
    """
    try:
        inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise SimulatorError(f"the program has done away with its folder: {error.strerror}") from error
    try:
        name = next((name for name in RESULT_FILES if name in os.listdir(inside)), None)  # noqa: PTH208  the opened one
        if name is None:
            raise SimulatorError(f"no result: neither {' nor '.join(RESULT_FILES)}")
        try:  # not blocking: a pipe of this name would wait for ever
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
        except OSError as error:
            raise SimulatorError(f"{name} is not a file of its own") from error
    finally:
        os.close(inside)
    with os.fdopen(opened, "rb") as stream:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise SimulatorError(f"{name} is not a file of its own")
        if found.st_size > max_mb * 1e6:
            raise SimulatorError(f"{name} has {found.st_size / 1e6:.0f} MB, more than max_result_mb = {max_mb:g}")
        return name, stream.read(int(max_mb * 1e6) + 1)


def _write_shells(path: Path, names: str, *columns: NDArray[np.float64]) -> None:
    """One row a shell: its number, then the columns, each to the last bit."""
    rows = [f"shell_id,{names}"]
    rows += [
        ",".join([str(shell), *(repr(float(value)) for value in row)])
        for shell, row in enumerate(zip(*columns, strict=True))
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
