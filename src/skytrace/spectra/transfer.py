"""Transfer of light through homologous ejecta by a march in comoving wavelength.

Along any ray a photon's comoving wavelength only grows, by one and the same rate everywhere: d ln(lambda) =
d(-ln(1 - z/c)), with z = r mu / t. It therefore plays time. The photons of one wavelength bin stand on rays (annuli of
impact parameter, cut into cells that a bin's photons cross in one step) and all of them move one cell a bin; lines,
which act where and when their wavelength is reached, scatter a share 1 - exp(-tau) of each zone's photons (Sobolev),
and electrons with them, to all directions of the same zone. Scattering is coherent in the comoving frame: photons are
neither made nor lost, no source function is iterated, and nothing is drawn at random.

Three details carry the accuracy. Scattered photons keep their mean radius in the zone (a linear profile), which gives
diffusion its due rate in zones that are optically thick. Bins are merged while their optical depth is small. Where N
lines crowd in one bin, a photon scatters N times where the march lets it scatter once, and would diffuse N times too
fast: the way across the border of two zones is narrowed, alike in both directions so that an even field stays even,
by 1 / (1 + 1.5 (w/d) (N - 1)), w being a zone's and d a cell's width (a comb of N lines: diffusion d / 6N).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.spectra.wavelengths import SPEED_OF_LIGHT_KM_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.plasma import LineOpacity

__all__ = ["Emission", "Rays", "bin_edges_angstrom", "carry_light", "draw_rays", "planck_luminosity"]

PLANCK_ERG_S, BOLTZMANN_ERG_K, LIGHT_CM_S = 6.62607015e-27, 1.380649e-16, 2.99792458e10
STEFAN_BOLTZMANN = 5.670374419e-5
THOMSON_CM2 = 6.6524587321e-25
#: Mean photon energy of a black body is k T / TEMPERATURE_OF_MEAN: pi^4 / (360 zeta(5)), energy-weighted.
TEMPERATURE_OF_MEAN = np.pi**4 / 15.0 / (24.0 * 1.0369277551433699)
LOWEST_ANGSTROM, HIGHEST_ANGSTROM = 400.0, 30_000.0
_LONGEST_BINS = 16
#: Length of a ray's row of photons over the most cells of a ray.
_ROOM = 5


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays through one model's zones, cut into cells and segments; what the march reads (``_transfer_kernels``)."""

    edges_km_s: NDArray[np.float64]
    cell_km_s: float
    rays: tuple[NDArray, NDArray, NDArray]
    cells_of: tuple[tuple[NDArray, ...], tuple[NDArray, ...], int]
    crossings: tuple[NDArray, ...]
    shells: tuple[NDArray, NDArray, NDArray, NDArray]


@dataclass(frozen=True, eq=False)
class Emission:
    """Light of one march: spectrum [erg/s/A] at wavelength_angstrom (observer at rest), luminosity [erg/s] over all of
    it, T_rad [K] and W (z,) of the zones' mean intensity, and the shares of the core's photons that got out and that
    fell back on the core.
    """

    wavelength_angstrom: NDArray[np.float64]
    spectrum_erg_s_angstrom: NDArray[np.float64]
    luminosity_erg_s: float
    t_rad_k: NDArray[np.float64]
    dilution: NDArray[np.float64]
    escaped: float
    returned: float


def bin_edges_angstrom(cell_km_s: float) -> NDArray[np.float64]:
    """(b + 1,) edges of the bins of comoving wavelength, each ``cell_km_s`` wide, from 400 to 30,000 A."""
    n_bins = int(np.ceil(np.log(HIGHEST_ANGSTROM / LOWEST_ANGSTROM) * SPEED_OF_LIGHT_KM_S / cell_km_s))
    return LOWEST_ANGSTROM * np.exp(np.arange(n_bins + 1) * cell_km_s / SPEED_OF_LIGHT_KM_S)


def draw_rays(edges_km_s: NDArray[np.float64], *, cell_km_s: float, core_rays: int) -> Rays:
    """Rays through zones between ``edges_km_s`` (z + 1,): ``core_rays`` that meet the core, and one tangent a zone."""
    from skytrace.spectra._transfer_kernels import trace_rays

    impact = np.concatenate([np.linspace(0.0, edges_km_s[0], core_rays, endpoint=False), edges_km_s])
    area, cells, leaves, static, segments = trace_rays(impact, edges_km_s, SPEED_OF_LIGHT_KM_S, cell_km_s)
    stretch, radius = static.T
    n_zones = len(edges_km_s) - 1
    shell = np.searchsorted(edges_km_s, radius, side="right") - 1
    weight = np.repeat(area, cells[:, 1]) * stretch
    path = np.bincount(shell, weight, n_zones)
    mean = np.bincount(shell, weight * radius, n_zones) / path
    width = np.diff(edges_km_s)
    position = (radius - mean[shell]) / (0.5 * width[shell])
    spread = np.bincount(shell, weight * position**2, n_zones)
    farthest = np.zeros(n_zones)
    np.maximum.at(farthest, shell, np.abs(position))
    # a row of photons: the ray's cells, and room for the origin to move before they are copied
    row = _ROOM * int(cells[:, 1].max())
    ray = np.repeat(np.arange(len(area)), cells[:, 1])
    place = ray * row + np.arange(len(ray)) - cells[ray, 0]
    order = np.argsort(shell, kind="stable")
    of_cell = np.repeat(area, cells[:, 1])
    by_zone = (
        place[order].astype(np.uint32),
        *((of_cell * factor)[order].astype(np.float32) for factor in (np.ones_like(position), position, stretch)),
        np.searchsorted(shell[order], np.arange(n_zones + 1)),
    )
    by_ray = (shell.astype(np.uint32), stretch.astype(np.float32), (stretch * position).astype(np.float32))
    return Rays(
        edges_km_s=edges_km_s,
        cell_km_s=cell_km_s,
        rays=(area, cells, leaves),
        cells_of=(by_ray, by_zone, row),
        crossings=_crossings(area, cells, segments, row, n_zones),
        shells=(path.astype(np.float32), spread.astype(np.float32), farthest.astype(np.float32), width / cell_km_s),
    )


def _crossings(
    area: NDArray[np.float64], cells: NDArray[np.int64], segments: NDArray[np.int64], row: int, n_zones: int
) -> tuple[NDArray, ...]:
    """What ``march`` reads of the segments (g, 2), first cell and zone, that begin at a border between zones."""
    ray = np.repeat(np.arange(len(area)), cells[:, 3])
    first, zone = segments.T
    begins = np.arange(len(ray)) == cells[ray, 2]
    ends = np.append(begins[1:], True)
    length = np.where(ends, cells[ray, 1], np.append(first[1:], 0)) - first
    before = np.append(0, zone[:-1])
    border = np.maximum(zone, before)
    order = np.argsort(border, kind="stable")
    order = order[~begins[order]]
    return (
        (ray * row + first)[order],
        length[order],
        area[ray[order]].astype(np.float32),
        before[order],
        np.where(zone > before, 1.0, -1.0)[order].astype(np.float32),
        np.searchsorted(border[order], np.arange(n_zones + 1)),
    )


def planck_luminosity(wavelength_angstrom: NDArray, t_k: float, radius_cm: float) -> NDArray[np.float64]:
    """Black body's luminosity per wavelength [erg/s/A], 4 pi R^2 pi B_lambda."""
    cm = wavelength_angstrom * 1e-8
    exponent = PLANCK_ERG_S * LIGHT_CM_S / (cm * BOLTZMANN_ERG_K * t_k)
    planck = 2.0 * PLANCK_ERG_S * LIGHT_CM_S**2 / (cm**5 * np.expm1(np.minimum(exponent, 500.0)))
    return 4.0 * np.pi**2 * radius_cm**2 * planck * 1e-8


def carry_light(
    rays: Rays,
    opacity: LineOpacity,
    electron_density_cm3: NDArray[np.float64],
    *,
    t_inner_k: float,
    time_s: float,
    merged_depth: float = 0.6,
) -> Emission:
    """The light of a core of temperature ``t_inner_k`` after its way through zones with ``opacity`` (b, z) in the bins
    of ``bin_edges_angstrom(rays.cell_km_s)`` and free electrons (z,), at ``time_s`` after explosion.

    merged_depth: optical depth up to which neighbouring bins scatter together.
    """
    from skytrace.spectra._transfer_kernels import group_bins, march

    area, cells, _ = rays.rays
    cell = rays.cell_km_s
    electron_depth = THOMSON_CM2 * electron_density_cm3 * time_s * cell * 1e5
    edges = bin_edges_angstrom(cell)
    middle = np.sqrt(edges[1:] * edges[:-1])
    energy = PLANCK_ERG_S * LIGHT_CM_S / (middle * 1e-8)
    core_cm = rays.edges_km_s[0] * 1e5 * time_s
    core_area = area[cells[:, 4] == 1].sum()
    photons = planck_luminosity(middle, t_inner_k, core_cm) * np.diff(edges) / energy / core_area
    unit = float(photons.max())
    reach = int(cells[:, 1].max())
    emergent = np.zeros(len(middle) + 2 * reach + 4)
    estimators = np.zeros((len(electron_depth), 2))
    events = group_bins(opacity.depth, electron_depth, merged_depth, _LONGEST_BINS)
    fallen = march(
        rays.rays, rays.cells_of, rays.crossings, rays.shells, events,
        (opacity.depth, opacity.crowd, electron_depth.astype(np.float32)),
        (photons / unit).astype(np.float32), energy, (emergent, estimators),
    )  # fmt: skip
    wavelength = LOWEST_ANGSTROM * np.exp((np.arange(len(emergent)) - reach) * cell / SPEED_OF_LIGHT_KM_S)
    bin_width = wavelength * 2.0 * np.sinh(0.5 * cell / SPEED_OF_LIGHT_KM_S)
    light = emergent * unit * PLANCK_ERG_S * LIGHT_CM_S / (wavelength * 1e-8)
    fed = float((photons / unit).sum() * core_area)
    t_rad, dilution = _field_moments(estimators * unit * time_s * cell * 1e5, rays.edges_km_s * 1e5 * time_s)
    return Emission(
        wavelength_angstrom=wavelength,
        spectrum_erg_s_angstrom=light / bin_width,
        luminosity_erg_s=float(light.sum()),
        t_rad_k=t_rad,
        dilution=dilution,
        escaped=float(emergent.sum()) / fed,
        returned=fallen / fed,
    )


def _field_moments(sums: NDArray, radii_cm: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T_rad [K] and W (z,) from zones' sums (z, 2) of photons' energies, and of their squares, times path [cm].

    The black body of T_rad has the mean photon energy, and W times it the mean intensity (Mazzali & Lucy 1993, 4.2).
    """
    volume = 4.0 / 3.0 * np.pi * np.diff(radii_cm**3)
    intensity = sums[:, 0] / (4.0 * np.pi * volume)
    t_rad = TEMPERATURE_OF_MEAN * sums[:, 1] / sums[:, 0] / BOLTZMANN_ERG_K
    return t_rad, np.pi * intensity / (STEFAN_BOLTZMANN * t_rad**4)
