"""Which element makes which feature: the spectrum without the lines of one element, its plasma left as it is.

Lines are taken from the light alone: temperatures, ionisation and electrons stay those of the full model, so that what
changes is what the element's lines do to passing light, and not what its absence would do to the ejecta.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.ejecta import ejecta_zones
from skytrace.spectra.plasma import bin_opacity, plasma_tables, solve_plasma
from skytrace.spectra.simulate import _on_grid, _zones, simulate_spectra
from skytrace.spectra.simulation_options import SimulationOptions
from skytrace.spectra.transfer import bin_edges_angstrom, carry_light, draw_rays

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.spectra.atomic_data import AtomicData

__all__ = ["KnockOut", "knock_out"]

_DEFAULT = SimulationOptions()


@dataclass(frozen=True, eq=False)
class KnockOut:
    """One model, at wavelength_angstrom (m,): luminosity (m,) [erg/s/A] with all lines, and without (e, m) those of
    each element of atomic_number (e,). taken (e, m): luminosity that an element's lines take away (positive) or send
    to us (negative).
    """

    wavelength_angstrom: NDArray[np.float64]
    luminosity: NDArray[np.float64]
    atomic_number: NDArray[np.int64]
    without: NDArray[np.float64]

    @property
    def taken(self) -> NDArray[np.float64]:
        """without - luminosity (e, m)."""
        return self.without - self.luminosity


def knock_out(
    parameters: pd.DataFrame, elements: Sequence[int], *, atomic: AtomicData, options: SimulationOptions = _DEFAULT
) -> KnockOut:
    """Spectra of the one model in ``parameters`` without the lines of each of ``elements`` (atomic numbers).

    Raises CatalogueError for more than one row and elements that the tables lack, and what ``simulate_spectra`` raises.
    """
    if len(parameters) != 1:
        raise CatalogueError(f"parameters have {len(parameters)} rows: lines are knocked out of one model")
    lacking = [str(z) for z in elements if z not in atomic.element_z]
    if lacking:
        raise CatalogueError(f"atomic tables lack the elements Z = {', '.join(lacking)}")
    full = simulate_spectra(parameters, options=options, atomic=atomic)
    tables = plasma_tables(atomic)
    ejecta = ejecta_zones(
        parameters, zones=options.zones, outer_velocity_km_s=options.outer_velocity_km_s,
        shared_borders=options.shared_borders,
    )  # fmt: skip
    first = parameters.iloc[0]
    model = _zones(ejecta, 0, tables, 10.0 ** float(first["log_L"]), float(first["T_e_ratio"]))
    state = solve_plasma(
        tables, full.t_rad_k[0], full.w[0], model.element_density_cm3,
        t_electron_ratio=model.t_electron_ratio, zeta=options.zeta,
    )  # fmt: skip
    rays = draw_rays(model.edges_km_s, cell_km_s=options.fine_km_s, core_rays=options.core_rays)
    edges = bin_edges_angstrom(options.fine_km_s)

    def seen(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The spectrum with these lines alone; plasma and core as they are."""
        strength, lower, upper, ratio = tables.lines
        some = replace(tables, lines=(np.where(kept, strength, np.float32(0.0)), lower, upper, ratio))
        opacity = bin_opacity(some, state, edges, time_s=model.time_s)
        light = carry_light(
            rays, opacity, state.electron_density_cm3,
            t_inner_k=float(full.t_inner_k[0]), time_s=model.time_s, merged_depth=options.merged_depth,
        )  # fmt: skip
        return _on_grid(light, full.wavelength_angstrom)

    element = atomic.ion_z[atomic.line_ion]
    whole = seen(element > 0)
    scale = full.luminosity[0].sum() / whole.sum()  # to the luminosity asked for, within the tolerance
    without = np.array([seen(element != z) for z in elements]).reshape(len(elements), -1) * scale
    return KnockOut(full.wavelength_angstrom, whole * scale, np.array(elements, dtype=np.int64), without)
