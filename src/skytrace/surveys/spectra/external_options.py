"""Where an external simulator lies and how it is run. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice, check_whole

__all__ = ["ExternalSimulatorOptions"]


@dataclass(frozen=True)
class ExternalSimulatorOptions:
    """An executable that keeps LUMINA's contract.

    executable: its path. reference_folder: the atomic files that every model's folder links to, absolute or under the
    data root. work_folder: where models' folders are made, and removed; keep_failed leaves those of failed models.
    mode: "rotation", or "rotation nlte". packets, iterations: of its Monte Carlo. zones: equal in velocity out to
    outer_velocity_km_s. lines: n_lines of its configuration; None takes it from the reference folder's own
    configuration (config.json), else counts the rows of its line_list.csv. timeout_s: of one attempt; attempts: runs
    of a model before it is given up. flux_to_erg_s_angstrom: factor of the result's flux (LUMINA writes erg/s/cm).
    tolerance: relative difference of the spectrum's whole luminosity from log_L above which a model is not called
    converged. max_result_mb: larger results are refused unread. max_output_mb: a program that writes a larger file, or
    more than this in all, is killed. environment: names of variables that it is given from
    ours, beside PATH, LC_ALL, OMP_NUM_THREADS, HOME and TMPDIR, which are set.
    """

    executable: str
    reference_folder: str
    work_folder: str
    mode: str = "rotation"
    packets: int = 40_000
    iterations: int = 20
    zones: int = 30
    outer_velocity_km_s: float = 30_000.0
    lines: int | None = None
    timeout_s: float = 600.0
    attempts: int = 2
    flux_to_erg_s_angstrom: float = 1e-8
    tolerance: float = 0.1
    max_result_mb: float = 50.0
    max_output_mb: float = 1000.0
    keep_failed: bool = False
    environment: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key in ("executable", "reference_folder", "work_folder"):
            value = getattr(self, key)
            if not (isinstance(value, str) and value.strip() and "\0" not in value):
                raise OptionError(f"{key} = {value!r} is not a path")
        check_choice("mode", self.mode, ("rotation", "rotation nlte"))
        check_whole("packets", self.packets, 1, 10**12)
        check_whole("iterations", self.iterations, 1, 10_000)
        check_whole("zones", self.zones, 2, 1000)
        check_between("outer_velocity_km_s", self.outer_velocity_km_s, 5000.0, 60_000.0)
        if self.lines is not None:
            check_whole("lines", self.lines, 1, 10**9)
        check_between("timeout_s", self.timeout_s, 0.0, 1e6, include_low=False)
        check_whole("attempts", self.attempts, 1, 100)
        check_between("flux_to_erg_s_angstrom", self.flux_to_erg_s_angstrom, 0.0, 1e60, include_low=False)
        check_between("tolerance", self.tolerance, 0.0, 1.0, include_low=False)
        for key in ("max_result_mb", "max_output_mb"):
            check_between(key, getattr(self, key), 0.0, 1e5, include_low=False)
        object.__setattr__(self, "environment", tuple(self.environment))
        wrong = [name for name in self.environment if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name))]
        if wrong:
            raise OptionError(f"environment = {self.environment!r}: {wrong[0]!r} is no name of a variable")
