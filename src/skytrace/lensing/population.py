"""Which lenses are injected: every quantity of deflector and source, drawn from the injection's own random stream.

Numbers are hashes of (seed, injection id, channel) pushed through inverse distribution functions, so a lens is the same
alone, in any batch, in any order. Fluxes are unlensed nanomaggies, dimmed by the host's Galactic extinction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_choice
from skytrace.imaging.photometry import EXTINCTION_PER_EBV, flux_nmgy
from skytrace.lensing.deflection import LensModel
from skytrace.lensing.power_law import MAX_SLOPE, MIN_SLOPE
from skytrace.lensing.source_library import load_library
from skytrace.lensing.sources import Clumps, ImageSource, SourceModel
from skytrace.statistics.streams import normal_quantile, stream_uniforms

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LensDraw", "PopulationOptions", "draw_lenses", "host_light_shape"]

BANDS = ("g", "r", "z")
#: Channels of an injection's stream. A number belongs to its meaning for ever: append, never renumber.
_CHANNELS = (
    "q", "phi", "gamma1", "gamma2", "mag", "size", "g_r", "r_z", "sersic", "source_q", "source_phi",
    "position_a", "position_b", "family", "clump_share", "theta_e", "stamp", "slope",
)  # fmt: skip
_CLUMP_CHANNEL = 64  # clumps start here, five channels each


@dataclass(frozen=True)
class PopulationOptions:
    """Deflector: mass follows light in axis ratio and angle with the scatter that SLACS lenses show
    (Koopmans et al. 2006: rms 0.11 in q, 10 deg in angle); shear components are Gaussian. slope_mean, slope_sigma: of
    the mass density's Gaussian three-dimensional slope, cut at the slopes that the engine renders; 2 and 0 are the SIE
    (Auger et al. 2010 find 2.08 and 0.16).
    Source: r-band AB magnitudes with dN/dm ~ 10^(counts_slope m); log-normal sizes about a size-magnitude relation;
    Gaussian colours; Sersic (family 1), or Sersic with clumps (family 2) for ``clumpy_share`` of the sources.
    image_share: 1 for stamps of real galaxies (family 3) instead of both, 0 for none (a batch is of one kind).
    source_library: npz of their ``SourceLibrary``; source_library_checksum: its SHA-256, which names the stamps in
    everything that is computed with them. A stamp keeps its shape: it is turned, and scaled to the drawn size.
    position_rule: multiply_imaged (uniform inside the outer caustic or cut) or magnification (uniform where
    the total of a point source is at least minimum_magnification; Collett 2015 counts lenses from 3; slope 2 only).
    """

    q_scatter: float = 0.11
    q_min: float = 0.4
    q_max: float = 0.98
    angle_scatter_deg: float = 10.0
    shear_sigma: float = 0.035
    slope_mean: float = 2.0
    slope_sigma: float = 0.0
    mag_r_min: float = 22.0
    mag_r_max: float = 26.0
    counts_slope: float = 0.33
    size_at_mag24_arcsec: float = 0.28
    size_slope_dex_per_mag: float = -0.08
    size_scatter_dex: float = 0.20
    size_min_arcsec: float = 0.08
    size_max_arcsec: float = 0.90
    g_r_mean: float = 0.30
    g_r_sigma: float = 0.25
    r_z_mean: float = 0.40
    r_z_sigma: float = 0.30
    sersic_min: float = 0.6
    sersic_max: float = 2.5
    sersic_median: float = 1.0
    sersic_scatter_dex: float = 0.15
    source_q_min: float = 0.3
    clumpy_share: float = 0.5
    image_share: float = 0.0
    source_library: str | None = None
    source_library_checksum: str | None = None
    n_clumps: int = 5
    clump_share_min: float = 0.1
    clump_share_max: float = 0.5
    clump_sigma_min_arcsec: float = 0.03
    clump_sigma_max_arcsec: float = 0.07
    position_rule: str = "multiply_imaged"
    minimum_magnification: float = 3.0

    def __post_init__(self) -> None:
        check_between("q_min", self.q_min, 0.2, 1.0)
        check_between("q_max", self.q_max, self.q_min, 1.0)
        for key in ("q_scatter", "shear_sigma", "size_scatter_dex", "g_r_sigma", "r_z_sigma", "sersic_scatter_dex"):
            check_between(key, getattr(self, key), 0.0, 1.0)
        check_between("shear_sigma", self.shear_sigma, 0.0, 0.1)
        check_between("slope_mean", self.slope_mean, MIN_SLOPE, MAX_SLOPE)
        check_between("slope_sigma", self.slope_sigma, 0.0, 0.5)
        check_between("angle_scatter_deg", self.angle_scatter_deg, 0.0, 90.0)
        check_between("mag_r_min", self.mag_r_min, 15.0, 32.0)
        check_between("mag_r_max", self.mag_r_max, self.mag_r_min, 32.0, include_low=False)
        check_between("counts_slope", self.counts_slope, -1.0, 1.0)
        check_between("size_at_mag24_arcsec", self.size_at_mag24_arcsec, 0.02, 5.0)
        check_between("size_slope_dex_per_mag", self.size_slope_dex_per_mag, -1.0, 1.0)
        check_between("size_min_arcsec", self.size_min_arcsec, 0.01, 5.0)
        check_between("size_max_arcsec", self.size_max_arcsec, self.size_min_arcsec, 5.0)
        check_between("g_r_mean", self.g_r_mean, -2.0, 4.0)
        check_between("r_z_mean", self.r_z_mean, -2.0, 4.0)
        check_between("sersic_min", self.sersic_min, 0.3, 6.0)
        check_between("sersic_max", self.sersic_max, self.sersic_min, 6.0)
        check_between("sersic_median", self.sersic_median, self.sersic_min, self.sersic_max)
        check_between("source_q_min", self.source_q_min, 0.2, 1.0)
        check_between("clumpy_share", self.clumpy_share, 0.0, 1.0)
        check_between("n_clumps", self.n_clumps, 1, 50)
        check_between("clump_share_min", self.clump_share_min, 0.0, 1.0)
        check_between("clump_share_max", self.clump_share_max, self.clump_share_min, 1.0)
        check_between("clump_sigma_min_arcsec", self.clump_sigma_min_arcsec, 0.005, 2.0)
        check_between("clump_sigma_max_arcsec", self.clump_sigma_max_arcsec, self.clump_sigma_min_arcsec, 2.0)
        check_between("minimum_magnification", self.minimum_magnification, 1.5, 20.0)
        check_choice("image_share", self.image_share, (0.0, 1.0))
        if self.image_share and not (self.source_library and self.source_library_checksum):
            raise OptionError(
                f"image_share = {self.image_share} needs source_library, the npz of a SourceLibrary, and "
                "source_library_checksum, its checksum"
            )
        check_choice("position_rule", self.position_rule, ("multiply_imaged", "magnification"))
        if self.position_rule == "magnification" and (self.slope_mean != 2.0 or self.slope_sigma):
            raise OptionError(
                "position_rule = magnification knows isothermal deflectors only, not slope_mean = "
                f"{self.slope_mean:g} with slope_sigma = {self.slope_sigma:g}; choose position_rule = multiply_imaged"
            )


@dataclass(frozen=True)
class LensDraw:
    """n injections: what to render, and the same numbers as a table (one row an injection)."""

    lenses: LensModel
    sources: SourceModel | ImageSource
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)


def host_light_shape(hosts: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axis ratio and angle [rad, counter-clockwise from +x of the stamp] of the hosts' light, each (n,).

    Tractor: e = hypot(e1, e2), b/a = (1 - e)/(1 + e), position angle east of north = arctan2(e2, e1)/2. Stamps have
    north up and east left, so the angle from +x is 90 deg plus the position angle.
    """
    e1, e2 = hosts["shape_e1"].to_numpy(dtype=np.float64), hosts["shape_e2"].to_numpy(dtype=np.float64)
    e = np.clip(np.hypot(e1, e2), 0.0, 0.95)
    return (1.0 - e) / (1.0 + e), 0.5 * np.arctan2(e2, e1) + 0.5 * np.pi


def draw_lenses(
    injection_ids: ArrayLike,
    theta_e_arcsec: ArrayLike,
    hosts: pd.DataFrame,
    *,
    options: PopulationOptions | None = None,
    seed: int,
) -> LensDraw:
    """Deflectors and sources of n injections.

    injection_ids: (n,) whole numbers, no repeats. theta_e_arcsec: (n,). hosts: n rows, aligned (shape_e1, shape_e2,
    ebv).
    Raises CatalogueError on repeated ids and tables of another length.
    """
    from skytrace.lensing.caustics import sample_source_positions

    options = options or PopulationOptions()
    ids, theta_e = np.asarray(injection_ids), np.asarray(theta_e_arcsec, dtype=np.float64)
    _check_rows(ids, theta_e, hosts)
    u = dict(zip(_CHANNELS, stream_uniforms(ids, len(_CHANNELS), seed=seed).T, strict=True))
    light_q, light_phi = host_light_shape(hosts)
    lenses = LensModel(
        theta_e_arcsec=theta_e,
        q=np.clip(light_q + options.q_scatter * normal_quantile(u["q"]), options.q_min, options.q_max),
        phi_rad=np.mod(light_phi + np.radians(options.angle_scatter_deg) * normal_quantile(u["phi"]), np.pi),
        gamma1=options.shear_sigma * normal_quantile(u["gamma1"]),
        gamma2=options.shear_sigma * normal_quantile(u["gamma2"]),
        gamma_epl=np.clip(options.slope_mean + options.slope_sigma * normal_quantile(u["slope"]), MIN_SLOPE, MAX_SLOPE),
    )
    mags, size, sersic = _light(u, options)
    ebv = hosts["ebv"].to_numpy(dtype=np.float64)
    extinction = np.stack([EXTINCTION_PER_EBV[band] * ebv for band in BANDS], axis=1)
    x, y = sample_source_positions(
        lenses,
        rule=options.position_rule,
        uniforms=np.stack([u["position_a"], u["position_b"]], axis=1),
        minimum_magnification=options.minimum_magnification,
    )
    flux = flux_nmgy(mags + extinction)
    if options.image_share:
        images = _images(u, flux, x, y, size, options)
        return LensDraw(lenses, images, _table(ids, lenses, images, mags))
    clumpy = u["family"] < options.clumpy_share
    share = np.where(
        clumpy, options.clump_share_min + (options.clump_share_max - options.clump_share_min) * u["clump_share"], 0.0
    )
    sources = SourceModel(
        flux_nmgy=flux,
        x_arcsec=x,
        y_arcsec=y,
        half_light_radius_arcsec=size,
        sersic_index=sersic,
        q=options.source_q_min + (1.0 - options.source_q_min) * u["source_q"],
        phi_rad=np.pi * u["source_phi"],
        clumps=_clumps(ids, share, size, options, seed=seed),
    )
    return LensDraw(lenses, sources, _table(ids, lenses, sources, mags, clumpy, share))


def _images(
    u: dict[str, NDArray], flux: NDArray, x: NDArray, y: NDArray, size: NDArray, options: PopulationOptions
) -> ImageSource:
    """Each injection's stamp by its own number, turned by any angle and scaled to the drawn half-light radius."""
    library = load_library(str(options.source_library), checksum=options.source_library_checksum)
    index = np.minimum((u["stamp"] * len(library)).astype(np.int64), len(library) - 1)
    scale = size / library.half_light_radius_px[index]
    return ImageSource(flux, x, y, library.images, index, scale, 2.0 * np.pi * u["source_phi"])


def _light(u: dict[str, NDArray], options: PopulationOptions) -> tuple[NDArray, NDArray, NDArray]:
    """Unlensed AB magnitudes (n, band), half-light radii [arcsec] and Sersic indices, each (n,)."""
    mag = _magnitudes(u["mag"], options)
    size = 10.0 ** (
        np.log10(options.size_at_mag24_arcsec)
        + options.size_slope_dex_per_mag * (mag - 24.0)
        + options.size_scatter_dex * normal_quantile(u["size"])
    )
    sersic = options.sersic_median * 10.0 ** (options.sersic_scatter_dex * normal_quantile(u["sersic"]))
    g_r = options.g_r_mean + options.g_r_sigma * normal_quantile(u["g_r"])
    r_z = options.r_z_mean + options.r_z_sigma * normal_quantile(u["r_z"])
    return (
        np.stack([mag + g_r, mag, mag - r_z], axis=1),
        np.clip(size, options.size_min_arcsec, options.size_max_arcsec),
        np.clip(sersic, options.sersic_min, options.sersic_max),
    )


def _check_rows(ids: NDArray, theta_e: NDArray, hosts: pd.DataFrame) -> None:
    if len(ids) != len(theta_e) or len(ids) != len(hosts):
        raise CatalogueError(
            f"{len(ids)} injection ids, {len(theta_e)} Einstein radii and {len(hosts)} host rows differ"
        )
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise CatalogueError(f"injection_id {values[counts > 1][0]} is repeated ({int((counts > 1).sum())} such ids)")


def _magnitudes(u: NDArray, options: PopulationOptions) -> NDArray[np.float64]:
    """Inverse distribution function of dN/dm ~ 10^(s m) between the limits."""
    low, high, slope = options.mag_r_min, options.mag_r_max, options.counts_slope * np.log(10.0)
    if abs(slope) < 1e-9:
        return low + (high - low) * u
    return low + np.log1p(u * np.expm1(slope * (high - low))) / slope


def _clumps(ids: NDArray, share: NDArray, size: NDArray, options: PopulationOptions, *, seed: int) -> Clumps | None:
    """Clumps inside the source: exponential fluxes that sum to ``share``, offsets Gaussian in the source's size."""
    if not (share > 0).any():
        return None
    k = options.n_clumps
    u = stream_uniforms(ids, 4 * k, seed=seed, first_channel=_CLUMP_CHANNEL).reshape(len(ids), 4, k)
    weight = -np.log(u[:, 0])
    weight /= weight.sum(axis=1, keepdims=True)
    radius = size[:, None]
    offset = 0.5 * radius * np.clip(normal_quantile(u[:, 1:3]).transpose(1, 0, 2), -2.0, 2.0)
    low, high = options.clump_sigma_min_arcsec, options.clump_sigma_max_arcsec
    return Clumps(share[:, None] * weight, offset[0], offset[1], low + (high - low) * u[:, 3])


def _table(
    ids: NDArray,
    lenses: LensModel,
    sources: SourceModel | ImageSource,
    mags: NDArray,
    clumpy: NDArray | None = None,
    share: NDArray | None = None,
) -> pd.DataFrame:
    """The drawn numbers; a stamp (clumpy, share None) has neither Sersic index nor axis ratio, but a number."""
    columns: dict[str, NDArray] = {"injection_id": ids.astype(np.int64)}
    sloped = ("gamma_epl",) if (np.asarray(lenses.gamma_epl) != 2.0).any() else ()  # isothermal: no such column
    for name in ("theta_e_arcsec", "q", "phi_rad", "gamma1", "gamma2", *sloped):
        columns[f"lens_{name}" if name in ("q", "phi_rad") else name] = getattr(lenses, name)
    columns.update({f"source_mag_{band}": mags[:, b] for b, band in enumerate(BANDS)})
    for name in ("x_arcsec", "y_arcsec", "half_light_radius_arcsec", "sersic_index", "q", "phi_rad"):
        columns[f"source_{name}"] = getattr(sources, name, np.full(len(ids), np.nan))
    if clumpy is None:
        columns["source_family"] = np.full(len(ids), 3, dtype=np.int8)
        columns["source_stamp"] = np.asarray(getattr(sources, "image_index"))  # noqa: B009  of an ImageSource
    else:
        columns["source_family"] = np.where(clumpy, 2, 1).astype(np.int8)
    columns["source_clump_fraction"] = np.zeros(len(ids)) if share is None else share
    return pd.DataFrame(columns)
