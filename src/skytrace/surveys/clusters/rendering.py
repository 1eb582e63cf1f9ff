"""Pixels of one mock cluster: its galaxies, the light behind it traced through its mass, stars, sky and noise.

Light behind is traced on a grid of half pixels through halo (NFW), BCG (SIE) and subhalos, then convolved with the PSF
in Fourier space and read off at pixel centres: the PSF includes the pixel, as survey PSFs do. Galaxy-galaxy lenses are
rendered by ``lensing.render_lenses``, galaxies by ``imaging.render_profiles``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.photometry import flux_nmgy, psfdepth_from_mag
from skytrace.imaging.profiles import (
    GaussianComponents,
    SersicComponents,
    moffat_transfer,
    point_sources,
    render_profiles,
)
from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing.deflection import LensModel, sie_deflection
from skytrace.lensing.nfw import nfw_deflection
from skytrace.lensing.rendering import render_lenses
from skytrace.lensing.sources import SourceModel, sersic_b, sersic_flux
from skytrace.surveys.clusters.galaxies import draw_field, kpc_per_arcsec
from skytrace.surveys.clusters.population import MAIN_SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from skytrace.surveys.clusters.galaxies import Field, Galaxies
    from skytrace.surveys.clusters.options import MockClusterOptions

__all__ = [
    "FIELD_STREAM",
    "field_psf",
    "lensed_light",
    "noiseless_cluster",
    "observed_field",
    "render_cluster",
    "sky_noise_nmgy",
]

FIELD_STREAM = 61
PSF_BETA = 3.5
_MARGIN, _FINE = 16, 2
#: Electrons of one nanomaggy in g, r, i coadds of some ten exposures.
_ELECTRONS = np.array([3300.0, 4200.0, 4200.0])
_BANDS = ("g", "r", "i")


def field_psf(row: Mapping) -> MoffatPsf:
    """The PSF of one field, (1, band)."""
    return MoffatPsf(np.array([[row[f"psf_fwhm_{band}_arcsec"] for band in _BANDS]]), PSF_BETA)


def sky_noise_nmgy(row: Mapping, pixel_scale_arcsec: float) -> NDArray[np.float64]:
    """(band,) sky sigma of a pixel [nanomaggies] of which the PSF's matched filter makes the stated depth."""
    alpha2 = field_psf(row).fwhm_arcsec[0] ** 2 / (4.0 * (2.0 ** (1.0 / PSF_BETA) - 1.0))
    neff = np.pi * alpha2 * (2 * PSF_BETA - 1) / (PSF_BETA - 1) ** 2 / pixel_scale_arcsec**2
    depth = np.array([psfdepth_from_mag(row[f"depth_{band}_mag"]) for band in _BANDS])
    return 1.0 / np.sqrt(depth * neff)


def render_cluster(row: Mapping, *, options: MockClusterOptions) -> NDArray[np.float32]:
    """(band, y, x) [nanomaggies] of one row of ``simulate_clusters``; depends on its number and the seed alone."""
    rng = np.random.default_rng([options.seed, FIELD_STREAM, int(row["number"])])
    half = 0.5 * options.pixels * options.pixel_scale_arcsec
    field = draw_field(row, half, rng, red_projection_share=options.red_projection_share)
    return observed_field(row, field, options=options, rng=rng)


def observed_field(
    row: Mapping, field: Field, *, options: MockClusterOptions, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(band, y, x) [nanomaggies] of a field under the row's PSF, depth and zero points; rng: of the noise."""
    light = noiseless_cluster(row, field, options=options)
    sky = sky_noise_nmgy(row, options.pixel_scale_arcsec)
    variance = sky[:, None, None] ** 2 + np.maximum(light, 0.0) / _ELECTRONS[:, None, None]
    image = light + np.sqrt(variance) * rng.standard_normal(light.shape)
    # a zero point that is off makes every flux wrong by the same factor
    zero_point = np.array([row[f"zero_point_{band}_mag"] for band in _BANDS])
    return (image * 10.0 ** (0.4 * (zero_point - 22.5))[:, None, None]).astype(np.float32)


def noiseless_cluster(row: Mapping, field: Field, *, options: MockClusterOptions) -> NDArray[np.float64]:
    """Light of the field (band, y, x) [nanomaggies a pixel], no noise."""
    psf, pixels, scale = field_psf(row), options.pixels, options.pixel_scale_arcsec
    galaxies = field.foreground
    shape = galaxies.radius, galaxies.sersic, galaxies.q, galaxies.phi
    stamp = np.zeros(len(galaxies), dtype=np.int64)
    sersic = SersicComponents(stamp, galaxies.flux, galaxies.x, galaxies.y, *shape)
    nothing = GaussianComponents(np.zeros(0, dtype=np.int64), np.zeros((0, 3)), *np.zeros((3, 0)))
    light = render_profiles(sersic, nothing, psf, pixels=pixels, pixel_scale_arcsec=scale)[0].astype(np.float64)
    light += lensed_light(row, field, options=options)
    light += _intracluster(row, field, options)
    if field.arc is not None:
        light += _galaxy_arc(field.arc, psf, options)
    if field.star is not None:
        light += _star(field.star, psf, options)
    return light


def lensed_light(row: Mapping, field: Field, *, options: MockClusterOptions) -> NDArray[np.float64]:
    """What lies behind, traced through the cluster's mass and seen through the PSF, (band, y, x)."""
    from skytrace.surveys.clusters.ray_kernels import add_sources, subtract_subhalos

    scale = options.pixel_scale_arcsec / _FINE
    middle = _FINE * (options.pixels // 2 + _MARGIN)
    cells = _FINE * (options.pixels + 2 * _MARGIN)
    axis = (np.arange(cells) - middle) * scale
    x, y = np.meshgrid(axis, axis)
    share = MAIN_SHARE if np.isfinite(field.second[0]) else 1.0
    halo = (row["scale_arcsec"], row["epsilon"], row["phi_rad"])
    alpha_x, alpha_y = nfw_deflection(x, y, share * row["kappa_s"], *halo)
    bcg_x, bcg_y = _bcg_deflection(x, y, row["theta_e_bcg_arcsec"], max(field.foreground.q[0], 0.6), row["phi_rad"])
    beta_x, beta_y = x - alpha_x - bcg_x, y - alpha_y - bcg_y
    if share < 1.0:
        second = nfw_deflection(x - field.second[0], y - field.second[1], (1.0 - share) * row["kappa_s"], *halo)
        beta_x, beta_y = beta_x - second[0], beta_y - second[1]
    subtract_subhalos(axis, field.subhalos, beta_x, beta_y)
    light = np.zeros((3, cells, cells))
    sources, brightness = _source_columns(field.behind)
    add_sources(beta_x, beta_y, sources, brightness, light)
    k = np.hypot(2 * np.pi * np.fft.fftfreq(cells, scale)[:, None], 2 * np.pi * np.fft.rfftfreq(cells, scale)[None])
    transfer = np.stack([moffat_transfer(k, fwhm, beta=PSF_BETA) for fwhm in field_psf(row).fwhm_arcsec[0]])
    seen = np.fft.irfft2(np.fft.rfft2(light) * transfer, s=(cells, cells))
    inside = slice(_FINE * _MARGIN, _FINE * (_MARGIN + options.pixels), _FINE)
    return seen[:, inside, inside] * options.pixel_scale_arcsec**2


def _bcg_deflection(
    x: NDArray[np.float64], y: NDArray[np.float64], theta_e: float, q: float, phi: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``sie_deflection``, which depends on the direction alone, from a table of 4097 directions (good to 1e-6)."""
    angle = np.linspace(-np.pi, np.pi, 4097)
    table = sie_deflection(np.cos(angle), np.sin(angle), theta_e, q, phi)
    place = (np.arctan2(y, x) + np.pi) * (4096 / (2.0 * np.pi))
    low = np.minimum(place.astype(np.int64), 4095)
    part = place - low
    along, across = (values[low] + part * (values[low + 1] - values[low]) for values in table)
    centre = (x == 0) & (y == 0)
    return np.where(centre, 0.0, along), np.where(centre, 0.0, across)


def _source_columns(galaxies: Galaxies) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns of ``add_sources``."""
    b = sersic_b(galaxies.sersic)
    columns = (
        galaxies.x, galaxies.y, galaxies.radius, 1.0 / galaxies.sersic, galaxies.q, np.cos(galaxies.phi),
        np.sin(galaxies.phi), b,
    )  # fmt: skip
    unit = sersic_flux(galaxies.sersic, galaxies.radius)
    return np.ascontiguousarray(np.stack(columns, axis=1)), galaxies.flux / unit[:, None]


def _intracluster(row: Mapping, field: Field, options: MockClusterOptions) -> NDArray[np.float64]:
    """An exponential of 60 kpc half-light radius about the BCG; far wider than the PSF."""
    axis = (np.arange(options.pixels) - options.pixels // 2) * options.pixel_scale_arcsec
    x, y = np.meshgrid(axis, axis)
    cos, sin, q = np.cos(row["phi_rad"]), np.sin(row["phi_rad"]), 0.75
    along, across = cos * x + sin * y, cos * y - sin * x
    half_light = 60.0 / kpc_per_arcsec(row["z_lens"])
    length = half_light / 1.67835
    profile = np.exp(-np.sqrt(q * along**2 + across**2 / q) / length) / (2.0 * np.pi * length**2)
    return field.icl_flux[:, None, None] * profile * options.pixel_scale_arcsec**2


def _galaxy_arc(arc: tuple[float, ...], psf: MoffatPsf, options: MockClusterOptions) -> NDArray[np.float64]:
    """A blue source lensed by one galaxy."""
    x, y, theta_e, source_x, source_y, mag_r = arc
    lens = LensModel(
        np.array([theta_e]),
        np.array([0.8]),
        np.array([0.6]),
        center_x_arcsec=np.array([x]),
        center_y_arcsec=np.array([y]),
    )
    flux = flux_nmgy(np.array([[mag_r + 0.4, mag_r, mag_r - 0.2]]))
    one = np.ones(1)
    source = SourceModel(flux, source_x * one, source_y * one, 0.35 * one, one, 0.7 * one, 0.3 * one)
    return render_lenses(lens, source, psf, pixels=options.pixels, pixel_scale_arcsec=options.pixel_scale_arcsec)[
        0
    ].astype(np.float64)


def _star(star: tuple[float, ...], psf: MoffatPsf, options: MockClusterOptions) -> NDArray[np.float64]:
    """A star with four diffraction spikes that hold 2 % of its light, falling as r^-2 beyond 1"."""
    x, y, mag_i = star
    flux = flux_nmgy(np.array([[mag_i + 0.9, mag_i + 0.25, mag_i]]))
    scale, pixels = options.pixel_scale_arcsec, options.pixels
    image = point_sources(x, y, flux, psf.fwhm_arcsec[0], beta=PSF_BETA, pixels=pixels, pixel_scale_arcsec=scale)
    axis = (np.arange(pixels) - pixels // 2) * scale
    dx, dy = axis[None, :] - x, axis[:, None] - y
    u, v = (dx + dy) / np.sqrt(2.0), (dy - dx) / np.sqrt(2.0)  # an equatorial mount's vanes, at 45 degrees
    width = 0.5
    spikes = sum(
        np.exp(-0.5 * (across / width) ** 2) / (1.0 + along**2) / (np.sqrt(2.0 * np.pi) * width * np.pi)
        for along, across in ((u, v), (v, u))
    )
    return image.astype(np.float64) + 0.01 * flux[0][:, None, None] * spikes * scale**2
