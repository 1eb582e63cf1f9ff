"""Better-known gf values of strong lines that the Atomic Line List has wrong.

Fe II multiplet 42 (a6S-z6Po), the strongest iron lines of an optical supernova spectrum: the list's values, which are
theoretical, are 0.24, 0.18 and 0.43 dex below those of R. L. Kurucz's line lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OVERRIDES", "GfOverride", "override_f_lu"]

_TOLERANCE_PER_CM = 0.5


@dataclass(frozen=True)
class GfOverride:
    """A line by its ion and levels (g, energy in cm^-1), its log gf, and who says so."""

    name: str
    z: int
    stage: int
    g_lower: int
    energy_lower_per_cm: float
    g_upper: int
    energy_upper_per_cm: float
    log_gf: float
    source: str


_KURUCZ = "Kurucz line lists"
OVERRIDES = (
    GfOverride("Fe II 4924", 26, 2, 6, 23317.64, 4, 43620.98, -1.32, _KURUCZ),
    GfOverride("Fe II 5018", 26, 2, 6, 23317.64, 6, 43238.61, -1.22, _KURUCZ),
    GfOverride("Fe II 5169", 26, 2, 6, 23317.64, 8, 42658.24, -0.87, _KURUCZ),
)


def override_f_lu(lines: dict[str, NDArray], f_lu: NDArray[np.float64]) -> NDArray[np.float64]:
    """``f_lu`` (l,) with the values of the overridden lines in their place.

    lines: z, stage, g_lower, g_upper and the level energies energy_lower_per_cm, energy_upper_per_cm, each (l,).
    Overrides of ions that are not among the lines are passed over; raises CatalogueError if the ion is there but its
    line is not exactly one.
    """
    f_lu = f_lu.copy()
    for known in OVERRIDES:
        of_ion = (lines["z"] == known.z) & (lines["stage"] == known.stage)
        if not of_ion.any():
            continue
        same = of_ion & (lines["g_lower"] == known.g_lower) & (lines["g_upper"] == known.g_upper)
        for end in ("energy_lower_per_cm", "energy_upper_per_cm"):
            same &= np.abs(lines[end] - getattr(known, end)) < _TOLERANCE_PER_CM
        if same.sum() != 1:
            raise CatalogueError(f"the gf override of {known.name} fits {same.sum()} lines of the list instead of one")
        f_lu[same] = 10.0**known.log_gf / known.g_lower
    return f_lu
