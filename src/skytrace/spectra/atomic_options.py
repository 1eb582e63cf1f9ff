"""Which elements, ions and lines the spectra are made of (``spectral_emulator``). Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_whole, unknown_name

__all__ = ["ELEMENTS", "AtomicOptions"]

#: Elements of the Atomic Line List, by atomic number from 1.
ELEMENTS = (
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar",
    "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr",
)  # fmt: skip
_SUPERNOVA_IA = ("C", "O", "Mg", "Si", "S", "Ca", "Ti", "Cr", "Fe", "Co", "Ni")


@dataclass(frozen=True)
class AtomicOptions:
    """The lines and levels that are kept.

    elements: their symbols (the list's lines of hydrogen-like ions are of whole shells and are refused).
    highest_stage: last ion with levels and lines (1 = neutral, 4 = IV); the next one is kept bare.
    wavelength_low_angstrom, wavelength_high_angstrom: vacuum; the list itself begins at 1000 A. f_lu_least: absorption
    oscillator strength that a line must exceed. sobolev_depth_least: Sobolev optical depth that it must
    exceed somewhere in the conditions of ``atomic_cut`` (0 keeps all). metastable_log_gf: a level is metastable unless
    an E1 line with a larger log gf leads down from it. overrides: put the better-known gf values of ``gf_overrides`` in
    the place of the list's; off for comparisons with spectra that were computed from the list as it stands.
    """

    elements: tuple[str, ...] = _SUPERNOVA_IA
    highest_stage: int = 4
    wavelength_low_angstrom: float = 1000.0
    wavelength_high_angstrom: float = 20_000.0
    f_lu_least: float = 1e-9
    sobolev_depth_least: float = 0.01
    metastable_log_gf: float = -3.0
    overrides: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.elements, str) or not self.elements:
            raise OptionError(f"elements = {self.elements!r} is not a list of symbols such as [C, O, Si, Fe]")
        object.__setattr__(self, "elements", tuple(self.elements))  # YAML gives a list
        wrong = [
            unknown_name(f"elements: {name!r} is not an element of the Atomic Line List", name, ELEMENTS)
            for name in self.elements
            if name not in ELEMENTS
        ]
        if wrong:
            raise OptionError("; ".join(wrong))
        if len(set(self.elements)) < len(self.elements):
            raise OptionError(f"elements = {', '.join(self.elements)} names one of them twice")
        check_whole("highest_stage", self.highest_stage, 1, 7)
        check_between("wavelength_low_angstrom", self.wavelength_low_angstrom, 100.0, 1e6)
        check_between(
            "wavelength_high_angstrom", self.wavelength_high_angstrom, self.wavelength_low_angstrom, 1e7,
            include_low=False,
        )  # fmt: skip
        check_between("f_lu_least", self.f_lu_least, 0.0, 1.0)
        check_between("sobolev_depth_least", self.sobolev_depth_least, 0.0, 1e6)
        check_between("metastable_log_gf", self.metastable_log_gf, -20.0, 2.0)

    @property
    def atomic_numbers(self) -> tuple[int, ...]:
        """Z of the elements, ascending."""
        return tuple(sorted(ELEMENTS.index(name) + 1 for name in self.elements))
