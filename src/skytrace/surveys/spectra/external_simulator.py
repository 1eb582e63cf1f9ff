"""Spectra from an external simulator: one process a model, in a folder of its own, watched, and not believed blindly.

No shell is involved, the environment is small, and the process and its children are killed when they take too long or
write too much (external_process). A
model that fails in every attempt raises SimulatorError with the reason of each, and costs nobody else's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from skytrace.errors import OptionError, SimulatorError, SurveyError
from skytrace.spectra.ejecta import Ejecta, ejecta_zones
from skytrace.spectra.simulate import SimulatedSpectra
from skytrace.surveys.data_root import require_folder, under_data_root
from skytrace.surveys.spectra.external_files import WRITTEN_FILES, Spectrum, count_lines, read_result, write_model
from skytrace.surveys.spectra.external_process import run_watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from skytrace.surveys.spectra.external_options import ExternalSimulatorOptions

__all__ = ["external_fingerprint", "simulate_externally"]

_REFERENCE_FILES = "an external simulator's atomic files (LUMINA's reference folder)"
_STDERR = "stderr.txt"
_TAIL_LINES, _TAIL_BYTES = 3, 2000
_MODEL, _RUN = "model", "run"


def simulate_externally(parameters: pd.DataFrame, seed: int, *, options: ExternalSimulatorOptions) -> SimulatedSpectra:
    """The spectrum of the one model in ``parameters`` (columns as ``simulate_spectra``), on the simulator's own grid.

    Its state by zone, T_inner and the escaped share are NaN, for the contract does not give them back; converged says
    whether the spectrum holds the luminosity that was asked for. Raises SimulatorError where all attempts failed,
    OptionError for an unphysical model and a number of rows that is not 1, CatalogueError for missing columns, and
    SurveyError for an executable or a reference folder that is not there.
    """
    if len(parameters) != 1:
        raise OptionError(f"an external simulator takes one model at a time, not {len(parameters)}")
    executable, reference = _executable(options), _reference(options)
    ejecta = ejecta_zones(parameters, zones=options.zones, outer_velocity_km_s=options.outer_velocity_km_s)
    log_luminosity, ratio = (float(parameters[name].iloc[0]) for name in ("log_L", "T_e_ratio"))
    lines = count_lines(reference) if options.lines is None else int(options.lines)
    reasons = []
    for _ in range(options.attempts):
        try:
            with _own_folder(options) as folder:
                write_model(
                    folder / _MODEL, ejecta, log_luminosity=log_luminosity, t_electron_ratio=ratio, seed=seed,
                    lines=lines, options=options,
                )  # fmt: skip
                _link_reference(reference, folder / _MODEL)
                _run(executable, folder, options)
                found = read_result(folder / _RUN, max_mb=options.max_result_mb)
            return _as_spectra(found, ejecta, log_luminosity, options)
        except SimulatorError as error:
            reasons.append(str(error))
    same = f" in each of {len(reasons)} attempts" if len(reasons) > 1 else ""
    raise SimulatorError(reasons[0] + same if len(set(reasons)) == 1 else "; then ".join(reasons))


def external_fingerprint(options: ExternalSimulatorOptions) -> str:
    """64 hexadecimal digits of the SHA-256 of the executable's content and of the reference folder's files and names.

    Where they lie is no part of it. Raises SurveyError for an executable or a folder that is not there.
    """
    digest = hashlib.sha256()
    reference = _reference(options)
    for name, path in [("", _executable(options)), *((name, reference / name) for name in _linked(reference))]:
        with path.open("rb") as stream:
            digest.update(f"{name}:{hashlib.file_digest(stream, 'sha256').hexdigest()};".encode())
    return digest.hexdigest()


def _executable(options: ExternalSimulatorOptions) -> Path:
    path = Path(options.executable).expanduser().absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        raise SurveyError(f"executable = {options.executable!r} is not a program that can be run")
    return path


def _reference(options: ExternalSimulatorOptions) -> Path:
    return require_folder(under_data_root(options.reference_folder), files=_REFERENCE_FILES).resolve()


def _linked(reference: Path) -> list[str]:
    """Names of the files that models' folders link to: all of the reference folder's that are not written anew."""
    return sorted(path.name for path in reference.iterdir() if path.is_file() and path.name not in WRITTEN_FILES)


def _link_reference(reference: Path, folder: Path) -> None:
    for name in _linked(reference):
        try:
            (folder / name).symlink_to(reference / name)
        except OSError:  # Windows lets only some accounts make links
            shutil.copyfile(reference / name, folder / name)


@contextlib.contextmanager
def _own_folder(options: ExternalSimulatorOptions) -> Iterator[Path]:
    """A new folder with one for the model and one to run in, removed afterwards; kept, if so asked, on failure."""
    parent = Path(options.work_folder).expanduser().absolute()
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="model-", dir=parent))
    failed = True
    try:
        (folder / _MODEL).mkdir()
        (folder / _RUN).mkdir()
        yield folder
        failed = False
    finally:
        if not (failed and options.keep_failed):
            shutil.rmtree(folder, ignore_errors=True)


def _run(executable: Path, folder: Path, options: ExternalSimulatorOptions) -> None:
    """Run the program in the folder; SimulatorError for a timeout and for an exit status other than 0."""
    arguments = [
        str(executable),
        str(folder / _MODEL),
        str(int(options.packets)),
        str(int(options.iterations)),
        *options.mode.split(),
    ]
    home = str(folder / _RUN)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
        "HOME": home,
        "TMPDIR": home,
    }
    environment |= {name: os.environ[name] for name in options.environment if name in os.environ}
    with (folder / _STDERR).open("w+b") as stderr:
        status = run_watched(
            arguments, folder=folder, run_in=folder / _RUN, environment=environment, stderr=stderr,
            timeout_s=options.timeout_s, max_output_mb=options.max_output_mb,
        )  # fmt: skip
        if status:
            words = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
            raise SimulatorError(f"{words}: {_tail(stderr, folder)}")


def _tail(stderr: BinaryIO, folder: Path) -> str:
    """The last lines that it wrote to stderr, without the folder's own name, which differs from run to run. They are
    read from the file that was opened for it: what may lie at its name by now is the program's affair.
    """
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _TAIL_BYTES))
    text = stderr.read(_TAIL_BYTES).decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.replace(str(folder), "").splitlines() if line.strip()]
    printable = " | ".join(lines[-_TAIL_LINES:])
    return "".join(letter if letter.isprintable() else "?" for letter in printable) or "nothing on stderr"


def _as_spectra(
    found: Spectrum, ejecta: Ejecta, log_luminosity: float, options: ExternalSimulatorOptions
) -> SimulatedSpectra:
    """The result as the built-in simulator gives it, what is not known being NaN."""
    luminosity = found.flux * options.flux_to_erg_s_angstrom
    change = abs(float(np.trapezoid(luminosity, found.wavelength_angstrom)) / 10.0**log_luminosity - 1.0)
    zones, unknown = ejecta.density_g_cm3.shape[1], np.full(1, np.nan)
    return SimulatedSpectra(
        wavelength_angstrom=found.wavelength_angstrom,
        luminosity=luminosity[None],
        t_rad_k=np.full((1, zones), np.nan),
        w=np.full((1, zones), np.nan),
        electron_density_cm3=np.full((1, zones), np.nan),
        velocity_edges_km_s=ejecta.velocity_edges_km_s,
        t_inner_k=unknown,
        escaped=unknown,
        luminosity_change=np.array([change]),
        t_rad_change=unknown,
        converged=np.array([change <= options.tolerance]),
    )
