"""Spectra of supernova models: fifteen parameters a model to a spectrum and the state of its zones.

A model's plasma and light are solved in turn until they agree: transfer gives each zone's T_rad and W, these the ions
and levels, and the core's temperature is the one that lets the requested luminosity out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.ejecta import COMPOSITION_Z, EJECTA_PARAMETERS, Ejecta, ejecta_zones
from skytrace.spectra.plasma import PlasmaTables, bin_opacity, plasma_tables, solve_plasma
from skytrace.spectra.simulation_options import SimulationOptions
from skytrace.spectra.transfer import (
    STEFAN_BOLTZMANN,
    Emission,
    bin_edges_angstrom,
    carry_light,
    draw_rays,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.spectra.atomic_data import AtomicData
    from skytrace.spectra.atomic_options import AtomicOptions

__all__ = ["SimulatedSpectra", "simulate_spectra"]

_DEFAULT = SimulationOptions()
#: Share of the core's light that is taken to escape before the first transfer has said so.
_FIRST_ESCAPE = 0.25
_PER_ZONE = ("t_rad_k", "w", "electron_density_cm3")
_PER_MODEL = ("t_inner_k", "escaped", "luminosity_change", "t_rad_change")


@dataclass(frozen=True, eq=False)
class SimulatedSpectra:
    """Spectra of n models: luminosity (n, m) [erg/s/A] at wavelength_angstrom (m,), vacuum, observer at rest.

    Per zone (n, z): t_rad_k, w (dilution factor), electron_density_cm3, between velocity_edges_km_s (n, z + 1). Per
    model: t_inner_k; escaped, the share of the core's photons that got out (the others fell back on it);
    luminosity_change and t_rad_change, relative, of the last iteration (the median zone's), and converged: both below
    the tolerance.
    """

    wavelength_angstrom: NDArray[np.float64]
    luminosity: NDArray[np.float64]
    t_rad_k: NDArray[np.float64]
    w: NDArray[np.float64]
    electron_density_cm3: NDArray[np.float64]
    velocity_edges_km_s: NDArray[np.float64]
    t_inner_k: NDArray[np.float64]
    escaped: NDArray[np.float64]
    luminosity_change: NDArray[np.float64]
    t_rad_change: NDArray[np.float64]
    converged: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Zones:
    """One model's zones."""

    edges_km_s: NDArray[np.float64]
    element_density_cm3: NDArray[np.float64]
    time_s: float
    luminosity_erg_s: float
    t_electron_ratio: float


def simulate_spectra(
    parameters: pd.DataFrame, *, options: SimulationOptions = _DEFAULT, atomic: AtomicData | None = None
) -> SimulatedSpectra:
    """Spectra of the models in the rows of ``parameters``, a table with the columns of ``ejecta.EJECTA_PARAMETERS``.

    Velocities are in km/s, t_exp in days, log_L in log10 erg/s, log_rho_0 in log10 g/cm^3 at v_inner and t_exp.
    atomic: lines and levels; None loads those of ``options.atomic`` once per process. A model's numbers do not depend
    on the others. Raises CatalogueError for no rows, missing columns or elements, and values that are no numbers,
    OptionError for unphysical rows.
    """
    if not len(parameters):
        raise CatalogueError("parameters has no row: there is no model to simulate")
    for name in set(EJECTA_PARAMETERS) & set(parameters.columns):
        try:
            parameters[name].to_numpy(dtype=float)
        except (TypeError, ValueError) as error:
            raise CatalogueError(f"the column {name} of parameters holds what is no number: {error}") from error
    tables = _loaded_tables(options.atomic) if atomic is None else plasma_tables(atomic)
    ejecta = ejecta_zones(
        parameters, zones=options.zones, outer_velocity_km_s=options.outer_velocity_km_s,
        shared_borders=options.shared_borders,
    )  # fmt: skip
    grid = bin_edges_angstrom(options.fine_km_s)
    wavelength = grid[(grid >= options.wavelength_low_angstrom) & (grid <= options.wavelength_high_angstrom)]
    n, zones = len(parameters), options.zones
    out = SimulatedSpectra(
        wavelength_angstrom=wavelength,
        luminosity=np.empty((n, len(wavelength))),
        velocity_edges_km_s=ejecta.velocity_edges_km_s,
        converged=np.zeros(n, dtype=bool),
        **{name: np.empty((n, zones)) for name in _PER_ZONE},
        **{name: np.empty(n) for name in _PER_MODEL},
    )
    log_luminosity = parameters["log_L"].to_numpy(dtype=float)
    ratio = parameters["T_e_ratio"].to_numpy(dtype=float)
    for row in range(n):
        model = _zones(ejecta, row, tables, 10.0 ** log_luminosity[row], ratio[row])
        _fill(out, row, model, tables, options)
    return out


@lru_cache(maxsize=2)
def _loaded_tables(options: AtomicOptions) -> PlasmaTables:
    """The kernels' tables of the packaged line list."""
    from skytrace.spectra.atomic_lines import load_atomic_data

    return plasma_tables(load_atomic_data(options=options))


def _zones(ejecta: Ejecta, row: int, tables: PlasmaTables, luminosity_erg_s: float, t_ratio: float) -> _Zones:
    """Zones of one model, its elements in the order of the tables; CatalogueError if one of the ejecta's is missing."""
    missing = [str(z) for z in COMPOSITION_Z if z not in tables.element_z]
    if missing:
        raise CatalogueError(f"atomic tables lack the ejecta's elements Z = {', '.join(missing)}")
    fraction = np.zeros((len(tables.element_z), ejecta.density_g_cm3.shape[1]))
    fraction[np.searchsorted(tables.element_z, COMPOSITION_Z)] = ejecta.mass_fraction[row].T
    density = ejecta.density_g_cm3[row] * fraction / tables.atomic_mass_g[:, None]
    return _Zones(ejecta.velocity_edges_km_s[row], density, float(ejecta.time_s[row]), luminosity_erg_s, float(t_ratio))


def _first_guess(model: _Zones) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """T_inner [K], T_rad (z,) [K] and W (z,): geometrical dilution, and a temperature that falls as v^-0.45."""
    core_cm = model.edges_km_s[0] * 1e5 * model.time_s
    t_inner = (model.luminosity_erg_s / (_FIRST_ESCAPE * 4.0 * np.pi * core_cm**2 * STEFAN_BOLTZMANN)) ** 0.25
    inverse = model.edges_km_s[0] / (0.5 * (model.edges_km_s[1:] + model.edges_km_s[:-1]))
    return t_inner, t_inner * inverse**0.45, 0.5 * (1.0 - np.sqrt(1.0 - inverse**2))


def _fill(out: SimulatedSpectra, row: int, model: _Zones, tables: PlasmaTables, options: SimulationOptions) -> None:
    """Iterate one model and write it into its row."""
    t_inner, t_rad, dilution = _first_guess(model)
    cells = [options.coarse_km_s] * options.coarse_iterations + [options.fine_km_s] * options.fine_iterations
    rays = {
        cell: draw_rays(model.edges_km_s, cell_km_s=cell, core_rays=options.core_rays) for cell in dict.fromkeys(cells)
    }
    for step, cell in enumerate(cells):
        state = solve_plasma(
            tables, t_rad, dilution, model.element_density_cm3,
            t_electron_ratio=model.t_electron_ratio, zeta=options.zeta,
        )  # fmt: skip
        opacity = bin_opacity(tables, state, bin_edges_angstrom(cell), time_s=model.time_s)
        light = carry_light(
            rays[cell], opacity, state.electron_density_cm3,
            t_inner_k=t_inner, time_s=model.time_s, merged_depth=options.merged_depth,
        )  # fmt: skip
        excess = model.luminosity_erg_s / light.luminosity_erg_s
        if step + 1 < len(cells):
            t_inner, t_rad, dilution = t_inner * excess**0.25, light.t_rad_k * excess**0.25, light.dilution
    out.luminosity[row] = _on_grid(light, out.wavelength_angstrom) * excess
    out.t_rad_k[row], out.w[row], out.electron_density_cm3[row] = t_rad, dilution, state.electron_density_cm3
    out.t_inner_k[row], out.escaped[row] = t_inner, light.escaped
    out.luminosity_change[row] = abs(excess - 1.0)
    out.t_rad_change[row] = np.median(np.abs(light.t_rad_k * excess**0.25 / t_rad - 1.0))
    out.converged[row] = max(out.luminosity_change[row], out.t_rad_change[row]) <= options.tolerance


def _on_grid(light: Emission, wavelength_angstrom: NDArray) -> NDArray[np.float64]:
    """The spectrum at ``wavelength_angstrom``, which are among its own."""
    first = int(np.argmin(np.abs(light.wavelength_angstrom - wavelength_angstrom[0])))
    return light.spectrum_erg_s_angstrom[first : first + len(wavelength_angstrom)]
