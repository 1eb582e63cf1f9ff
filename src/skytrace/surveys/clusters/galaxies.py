"""The galaxies of one field: members, what lies behind, and what only looks like it. Drawn from the field's own stream.

Tables are arrays (k,) in arcsec from the BCG; magnitudes AB in g, r, i. Behind the cluster there are always blue field
galaxies, which the halo bends into arcs like anything else: giant arcs of single galaxies are among the confusers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.photometry import flux_nmgy
from skytrace.surveys.clusters.field_mass import place_of_several_images
from skytrace.surveys.clusters.population import MAIN_SHARE, angular_distance_mpc
from skytrace.surveys.clusters.red_sequence import (
    projected_nfw_radius,
    red_sequence_colours,
    schechter_count_ratio,
    schechter_mag,
    star_mag_i,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Field", "Galaxies", "draw_field", "kpc_per_arcsec"]


_FAINTEST_MEMBER, _FAINTEST_BACKGROUND = 4.0, 2.6  # [mag] from m*
#: Share of blue galaxies: of the members of one cluster and another (0.05 to 0.5: Butcher & Oemler 1984), of a
#: background cluster's brightest members (about half at z = 1 to 1.5: Brodwin et al. 2013), and of the galaxies of a
#: projection. And how many galaxies of M* - 2.6 and brighter a projection of no special shape has at most, fewest and
#: most, even in ln. As these stand the colour of a field tells lenses from the others hardly
#: (tests/surveys/clusters/test_mock_hardness.py).
_BLUE_MEMBERS, _BLUE_BACKGROUND, _BLUE_PROJECTED = (0.05, 0.5), 0.45, 0.4
_PROJECTED = (15.0, 250.0)


@dataclass(frozen=True)
class Galaxies:
    """k galaxies: position [arcsec], flux (k, band) [nanomaggies], half-light radius [arcsec], Sersic index, q, phi."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    radius: NDArray[np.float64]
    sersic: NDArray[np.float64]
    q: NDArray[np.float64]
    phi: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    def joined(self, other: Galaxies) -> Galaxies:
        """These and the others."""
        return Galaxies(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass(frozen=True)
class Field:
    """foreground: not lensed (members, BCG first, and projections). behind: lensed, in the source plane.

    subhalos (k, 4): x, y, theta_E, truncation [arcsec]. second: offset (x, y) [arcsec] of a merging halo, NaN for none.
    icl_flux (band,). arc: centre x, y, theta_E, source x, y [arcsec] and r magnitude of a galaxy-galaxy lens, or None.
    star: x, y [arcsec] and i magnitude, or None.
    """

    foreground: Galaxies
    behind: Galaxies
    subhalos: NDArray[np.float64]
    second: tuple[float, float]
    icl_flux: NDArray[np.float64]
    arc: tuple[float, ...] | None
    star: tuple[float, ...] | None


def draw_field(row: Mapping, half_arcsec: float, rng: np.random.Generator, *, red_projection_share: float) -> Field:
    """The field of one row of ``simulate_clusters``; half_arcsec: half the side of the cutout."""
    # what confuses stands before lenses as often as before other clusters, or its absence would give them away
    confuser, z = row["confuser"], row["z_lens"]
    share = MAIN_SHARE if confuser == "merger" else 1.0
    blue_share = rng.uniform(*_BLUE_MEMBERS)
    members = _members(row, share, blue_share, half_arcsec, rng)
    second = (np.nan, np.nan)
    if confuser == "merger":
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.8) * half_arcsec
        second = distance * np.cos(angle), distance * np.sin(angle)
        other = _members(row, 1.0 - share, blue_share, half_arcsec, rng)
        moved = Galaxies(other.x + second[0], other.y + second[1], *(getattr(other, f.name) for f in fields(other)[2:]))
        members = members.joined(moved)
    star_flux = flux_nmgy(star_mag_i(z))
    light = members.flux[1:, 2] / star_flux
    scale = float(row["theta_e_bcg_arcsec"]) * (180.0 / 290.0) ** 2
    subhalos = np.stack([members.x[1:], members.y[1:], scale * np.sqrt(light), 9.0 * np.sqrt(light) + 0.5], axis=1)
    behind = _field_galaxies(half_arcsec, rng)
    if row["is_lens"]:
        mass = Field(members, behind, subhalos, second, np.zeros(3), None, None)
        behind = behind.joined(_background_cluster(row, place_of_several_images(row, mass, half_arcsec, rng), rng))
    foreground = members
    if confuser == "projection":
        most = int(rng.integers(20, 51))
        foreground = foreground.joined(_projected(most, half_arcsec, rng, tangential_share=0.5))
    elif rng.random() < red_projection_share:
        most = int(np.exp(rng.uniform(*np.log(_PROJECTED))))
        foreground = foreground.joined(_projected(most, half_arcsec, rng, tangential_share=0.0))
    if confuser == "blue_aligned":
        foreground = foreground.joined(_blue(int(rng.integers(6, 16)), half_arcsec, rng))
    arc = _galaxy_arc(members, half_arcsec, rng) if confuser == "galaxy_arc" else None
    star = None
    if confuser == "star" or rng.random() < 0.05:
        star = (*rng.uniform(-0.9, 0.9, 2) * half_arcsec, rng.uniform(13.5, 18.0))
    icl = members.flux[0] * rng.uniform(0.15, 0.5)
    return Field(foreground, behind, subhalos, second, icl, arc, star)


def _fluxes(mag_i: NDArray, g_r: NDArray, r_i: NDArray) -> NDArray[np.float64]:
    return flux_nmgy(np.stack([mag_i + r_i + g_r, mag_i + r_i, mag_i], axis=-1))


def _members(row: Mapping, share: float, blue_share: float, half: float, rng: np.random.Generator) -> Galaxies:
    """BCG, then the members that fall on the cutout."""
    z = row["z_lens"]
    total = rng.poisson(share * row["richness_true"] * schechter_count_ratio(_FAINTEST_MEMBER))
    radius = (
        projected_nfw_radius(rng.random(total), concentration=4.0) * row["scale_arcsec"] * row["concentration"] / 4.0
    )
    angle = rng.uniform(0, 2 * np.pi, total)
    long, short = np.exp(row["epsilon"]), np.exp(-row["epsilon"])
    u, v = long * radius * np.cos(angle), short * radius * np.sin(angle)
    cos, sin = np.cos(row["phi_rad"]), np.sin(row["phi_rad"])
    x, y = cos * u - sin * v, sin * u + cos * v
    near = (np.abs(x) < 1.15 * half) & (np.abs(y) < 1.15 * half) & (radius > 1.0)
    x, y = np.append(0.0, x[near]), np.append(0.0, y[near])
    n = len(x)
    offset = np.append(row["bcg_mag_offset"], schechter_mag(rng.random(n - 1), faintest=_FAINTEST_MEMBER))
    colours = red_sequence_colours(z) + 0.05 * rng.standard_normal((n, 2)) - 0.02 * offset[:, None]
    blue = (rng.random(n) < blue_share) & (np.arange(n) > 0)
    colours -= np.where(blue[:, None], rng.uniform(0.2, 0.6, (n, 1)) * [1.0, 0.45], 0.0)
    size = _size(offset, z) * np.exp(0.25 * rng.standard_normal(n))
    size[0] = _size(offset[:1], z)[0] * rng.uniform(1.2, 2.0)
    sersic = np.where(blue, 1.0, np.clip(rng.normal(3.5, 0.7, n), 1.5, 5.5))
    q, phi = rng.uniform(0.4, 0.98, n), rng.uniform(0, np.pi, n)
    q[0], phi[0] = rng.uniform(0.6, 0.95), row["phi_rad"]
    return Galaxies(x, y, _fluxes(star_mag_i(z) + offset, *colours.T), size, sersic, q, phi)


def kpc_per_arcsec(redshift: float) -> float:
    """Proper kiloparsecs of an arcsecond."""
    return 1e3 * float(angular_distance_mpc(np.asarray(redshift))) / 206264.80625


def _size(offset: NDArray, z: float) -> NDArray[np.float64]:
    """Half-light radius [arcsec]: 4.5 kpc at L*, as L^0.6 above it and L^0.3 below."""
    luminosity = 10.0 ** (-0.4 * np.asarray(offset))
    kpc = 4.5 * luminosity ** np.where(luminosity > 1, 0.6, 0.3)
    return kpc / np.interp(
        z, [0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5], [3.30, 4.45, 5.37, 6.10, 6.69, 7.51, 8.01, 8.46]
    )


def _background_cluster(row: Mapping, centre: tuple[float, float], rng: np.random.Generator) -> Galaxies:
    """20-50 members on the red sequence of z_source about ``centre`` [arcsec], where their brightest lies."""
    n, z = int(row["n_background"]), row["z_source"]
    radius = projected_nfw_radius(rng.random(n), concentration=4.0) * 8.0
    turn = rng.uniform(0, 2 * np.pi, n)
    offset = schechter_mag(rng.random(n), faintest=_FAINTEST_BACKGROUND)
    offset[0] = rng.uniform(-1.6, -0.8)  # its own brightest galaxy, in the middle
    radius[0] = 0.0
    colours = red_sequence_colours(z) + 0.06 * rng.standard_normal((n, 2))
    colours -= _star_forming(n, _BLUE_BACKGROUND, rng)
    return Galaxies(
        centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn),
        _fluxes(star_mag_i(z) + offset, *colours.T), 0.7 * _size(offset, z) * np.exp(0.25 * rng.standard_normal(n)),
        rng.uniform(1.0, 2.0, n), rng.uniform(0.4, 0.95, n), rng.uniform(0, np.pi, n),
    )  # fmt: skip


def _star_forming(n: int, share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """By how much g-r and r-i (n, 2) of galaxies behind the cluster are bluer than the red sequence: 0 for most."""
    blue = rng.random(n) < share
    return np.where(blue[:, None], rng.uniform(0.2, 0.9, (n, 1)) * [1.0, 0.7], 0.0)


def _field_galaxies(half: float, rng: np.random.Generator) -> Galaxies:
    """Faint galaxies behind, 45 a square arcmin to i = 25.5 in the source plane, mostly blue."""
    wide = 1.1 * half
    n = int(rng.poisson(45.0 * (2.0 * wide / 60.0) ** 2))
    mag = 25.5 + np.log10(rng.uniform(10 ** (0.32 * -4.5), 1.0, n)) / 0.32
    red = rng.random(n) < 0.3
    colours = np.where(
        red[:, None], red_sequence_colours(rng.uniform(0.6, 1.5, n)), rng.normal([0.45, 0.3], [0.25, 0.2], (n, 2))
    )
    x, y = rng.uniform(-wide, wide, (2, n))
    size = np.clip(0.35 * 10.0 ** (-0.08 * (mag - 24.0)) * np.exp(0.3 * rng.standard_normal(n)), 0.1, 1.5)
    return Galaxies(
        x,
        y,
        _fluxes(mag, *colours.T),
        size,
        rng.uniform(0.8, 1.5, n),
        rng.uniform(0.3, 0.95, n),
        rng.uniform(0, np.pi, n),
    )


def _projected(most: int, half: float, rng: np.random.Generator, *, tangential_share: float) -> Galaxies:
    """Red galaxies of many redshifts along the line of sight, as many and as bright and long as lensed ones look."""
    n = max(int(most * rng.uniform(0.3, 0.8)), 4)
    z = rng.uniform(0.45, 1.6, n)
    offset = schechter_mag(rng.random(n), faintest=_FAINTEST_BACKGROUND) - rng.uniform(0.3, 1.7, n)
    radius, angle = half * rng.random(n) ** 0.8, rng.uniform(0, 2 * np.pi, n)
    colours = red_sequence_colours(z) + 0.08 * rng.standard_normal((n, 2)) - _star_forming(n, _BLUE_PROJECTED, rng)
    tangential = rng.random(n) < tangential_share
    phi = np.where(tangential, angle + np.pi / 2 + 0.3 * rng.standard_normal(n), rng.uniform(0, np.pi, n))
    q = np.where(tangential, rng.uniform(0.22, 0.5, n), rng.uniform(0.4, 0.95, n))
    return Galaxies(
        radius * np.cos(angle), radius * np.sin(angle), _fluxes(star_mag_i(z) + offset, *colours.T),
        np.clip(_size(offset, 1.0), 0.15, 1.5), rng.uniform(1.0, 2.5, n), q, np.mod(phi, np.pi),
    )  # fmt: skip


def _blue(n: int, half: float, rng: np.random.Generator) -> Galaxies:
    """Blue galaxies before or in the cluster, one after the other about a point: they can look like a broken arc."""
    start, step = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.35)
    angle = start + step * np.arange(n) + 0.05 * rng.standard_normal(n)
    radius = rng.uniform(0.3, 0.8) * half * np.exp(0.08 * rng.standard_normal(n))
    mag = rng.uniform(20.5, 24.0, n)
    colours = rng.normal([0.4, 0.25], [0.2, 0.12], (n, 2))
    return Galaxies(
        radius * np.cos(angle), radius * np.sin(angle), _fluxes(mag, *colours.T), rng.uniform(0.3, 0.9, n), np.ones(n),
        rng.uniform(0.25, 0.9, n), np.mod(angle + np.pi / 2 + 0.4 * rng.standard_normal(n), np.pi),
    )  # fmt: skip


def _galaxy_arc(members: Galaxies, half: float, rng: np.random.Generator) -> tuple[float, ...]:
    """A blue source behind the brightest member on the cutout other than the BCG (or behind a chance place)."""
    inside = np.flatnonzero((np.abs(members.x) < 0.8 * half) & (np.abs(members.y) < 0.8 * half))
    inside = inside[inside > 0]
    if len(inside):
        host = inside[np.argmax(members.flux[inside, 2])]
        x, y = members.x[host], members.y[host]
    else:
        x, y = rng.uniform(-0.6, 0.6, 2) * half
    theta_e = rng.uniform(0.9, 2.2)
    source = theta_e * rng.uniform(-0.25, 0.25, 2)
    return float(x), float(y), theta_e, float(x + source[0]), float(y + source[1]), rng.uniform(22.5, 24.5)
