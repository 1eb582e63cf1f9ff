"""Lensed light added to real hosts: only the light, and only its own photon noise.

The host's pixels carry their sky and photon noise already. Light beyond ``confine_radius_px`` is cut off, so that the
pixels of the background annulus, and with them the host's cached statistics, are provably those of the host alone; the
fraction cut off is reported. Arc S/N is the integrated one of ``arcs``, in r, of the injected light alone, with the
half-maximum width of the PSF.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import OptionError, PixelError, check_between, check_whole
from skytrace.imaging.noise import photon_noise
from skytrace.imaging.photometry import band_columns, mag_depth
from skytrace.imaging.preprocessing import PreprocessOptions, annulus_statistics, preprocess
from skytrace.imaging.psf import (
    ImagePsf,
    MoffatPsf,
    moffat_fwhm_from_psfsize,
    neff_pixels,
    sky_sigma_nmgy,
    stamp_fwhm_arcsec,
)
from skytrace.imaging.sky_noise import NOISE_PAD
from skytrace.selection.arcs import arc_annulus_snr
from skytrace.selection.degrade import degrade_cutouts, degraded_sky
from skytrace.sky import galaxy_hash
from skytrace.statistics.streams import standard_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.lensing.population import LensDraw
    from skytrace.selection.condition_sky import ConditionSky
    from skytrace.selection.degrade import DegradedSky
    from skytrace.surveys.interface import CutoutBatch

__all__ = ["HostStamps", "InjectionOptions", "Injections", "inject_lenses", "prepare_hosts"]

_BANDS = ("g", "r", "z")
_DEGRADE_PAD = 27
_DEGRADED_AT_ONCE = 8


@dataclass(frozen=True)
class InjectionOptions:
    """seed: of every injection's stream. batch_size: injections rendered and scored together; part of the result's
    last bits, so it belongs to the fingerprint. shard_injections: of one condition computed in one piece by one
    worker, rounded up to whole batches; results do not depend on it. confine_radius_px: injected light is cut off
    beyond. photon_noise: of the added light. saddle_images: false leaves out images of turned parity (the counter-
    image of a double, the two inner ones of a quad), an ablation. psf_beta: Moffat index of degraded hosts, and of
    the half-maximum width that arc annuli are drawn with. electrons_per_nmgy_*: of one exposure; the coadd's are
    nobs times that (DECam, see surveys.mock.conditions). n_stamps: composites kept as pictures.
    composites_per_anchor: injections near each real lens that the realism gates measure.
    """

    seed: int = 20260401
    batch_size: int = 128
    score_batch: int = 64
    shard_injections: int = 20_000
    confine_radius_px: float = 36.0
    photon_noise: bool = True
    saddle_images: bool = True
    psf_beta: float = 3.5
    electrons_per_nmgy_g: float = 5600.0
    electrons_per_nmgy_r: float = 3600.0
    electrons_per_nmgy_z: float = 4200.0
    n_stamps: int = 600
    composites_per_anchor: int = 48

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, 0, 2**63 - 1)
        check_whole("batch_size", self.batch_size, 1, 65_536)
        check_whole("score_batch", self.score_batch, 1, 65_536)
        check_whole("shard_injections", self.shard_injections, 1, 10_000_000)
        check_between("confine_radius_px", self.confine_radius_px, 8.0, 200.0)
        check_between("psf_beta", self.psf_beta, 1.0, 10.0, include_low=False)
        check_whole("n_stamps", self.n_stamps, 1, 100_000)
        check_whole("composites_per_anchor", self.composites_per_anchor, 1, 10_000)
        for band in _BANDS:
            check_between(f"electrons_per_nmgy_{band}", getattr(self, f"electrons_per_nmgy_{band}"), 1.0, 1e9)


@dataclass(frozen=True)
class HostStamps:
    """n hosts ready to be injected into; the first axis of everything is the host.

    table: catalogue rows. image, invvar: (n, band, crop, crop). psf: n PSFs. statistics: (median, scale) of the *whole*
    cutouts, each (n, band). psfsize_r, depth_r_mag: (n,) as they are
    now. fwhm_r_arcsec: (n,) half-maximum width of the PSF, measured where it is an image. sigma_nmgy: (n, band) sky
    noise of a pixel. electrons_per_nmgy: (n, band).
    """

    table: pd.DataFrame
    image: NDArray[np.float32]
    invvar: NDArray[np.float32]
    psf: MoffatPsf | ImagePsf
    statistics: tuple[NDArray[np.float64], NDArray[np.float64]]
    psfsize_r: NDArray[np.float64]
    depth_r_mag: NDArray[np.float64]
    fwhm_r_arcsec: NDArray[np.float64]
    sigma_nmgy: NDArray[np.float64]
    electrons_per_nmgy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class Injections:
    """stamps: (n, band, crop, crop) as the detector sees them. image: the same before preprocessing [nanomaggies].
    added: injected light and its noise. measured: one row an injection.
    """

    stamps: NDArray[np.float32]
    image: NDArray[np.float32]
    added: NDArray[np.float32]
    measured: pd.DataFrame


def prepare_hosts(
    batch: CutoutBatch,
    table: pd.DataFrame,
    *,
    mode: str,
    target: ConditionSky | None = None,
    depth_column: str = "psfdepth_r",
    options: InjectionOptions,
    preprocessing: PreprocessOptions,
) -> HostStamps:
    """Hosts of one condition: as they are (``matched``), or degraded to its sky ``target`` (``degraded``).

    table: the catalogue rows of ``batch``, in its order. The noise of degrading comes from the host's own id and the
    target, so a host looks the same whoever recomputes it.
    """
    if list(table["galaxy_id"].astype(str)) != list(batch.galaxy_id.astype(str)):
        raise PixelError("the host table and the cutouts are not of the same galaxies in the same order")
    if options.confine_radius_px > preprocessing.annulus_px[0]:  # light in the annulus: cached statistics were stale
        raise OptionError(
            f"confine_radius_px = {options.confine_radius_px} must be at most the inner radius of annulus_px = "
            f"{tuple(preprocessing.annulus_px)}, where the background of a stamp is measured"
        )
    image, invvar, psf = batch.image, batch.invvar, batch.psf
    psfsize, psfdepth = band_columns(table, "psfsize"), band_columns(table, "psfdepth")
    electrons = _electrons(table, options)
    depth = table[depth_column].to_numpy(dtype=float)
    if mode == "degraded":
        if target is None:
            raise OptionError("degraded hosts need the sky that they are degraded to")
        own_fwhm = stamp_fwhm_arcsec(psf, psfsize, beta=options.psf_beta)
        reached = target.reached_by(*_sky_of_width(psf, psfsize, psfdepth, own_fwhm, options.psf_beta))
        sky = degraded_sky(psfsize, psfdepth, target_psfsize=reached.psfsize, target_psfdepth=reached.psfdepth)
        depth_mag = float(mag_depth(target.psfdepth[1]))
        seed = options.seed + round(1000 * float(target.psfsize[1])) + 100_000 * round(100 * depth_mag)
        ids = _host_ids(table, options.seed)
        image, invvar = _degraded(image, invvar, sky, electrons, own_fwhm, ids, seed=seed, beta=options.psf_beta)
        electrons = electrons * (sky.sigma / sky.target_sigma) ** 2
        psfsize, psfdepth = sky.target_psfsize, sky.target_psfdepth
        depth = psfdepth[:, 1]
        psf = MoffatPsf(moffat_fwhm_from_psfsize(psfsize, beta=options.psf_beta), options.psf_beta)
    statistics = annulus_statistics(image, invvar, options=preprocessing)
    low = image.shape[-1] // 2 - preprocessing.crop // 2
    window = (slice(None), slice(None), slice(low, low + preprocessing.crop), slice(low, low + preprocessing.crop))
    return HostStamps(
        table=table.reset_index(drop=True),
        image=image[window].copy(),
        invvar=invvar[window].copy(),
        psf=psf,
        statistics=statistics,
        psfsize_r=psfsize[:, 1],
        depth_r_mag=np.broadcast_to(mag_depth(depth), (len(table),)),
        fwhm_r_arcsec=stamp_fwhm_arcsec(psf, psfsize, beta=options.psf_beta)[:, 1],
        sigma_nmgy=sky_sigma_nmgy(psfdepth, psfsize),
        electrons_per_nmgy=electrons,
    )


def _degraded(
    image: NDArray[np.float32],
    invvar: NDArray[np.float32],
    sky: DegradedSky,
    electrons_per_nmgy: NDArray[np.float64],
    own_fwhm_arcsec: NDArray[np.float64],
    ids: NDArray[np.uint64],
    *,
    seed: int,
    beta: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``degrade_cutouts`` of a few hosts at a time, each with the noise of its id."""
    size = image.shape[-1] + 2 * _DEGRADE_PAD
    new_image, new_invvar = np.empty_like(image), np.empty_like(invvar)
    for start in range(0, len(image), _DEGRADED_AT_ONCE):
        rows = slice(start, start + _DEGRADED_AT_ONCE)
        normals = standard_normals(ids[rows], (2, len(_BANDS), size, size), seed=seed)
        new_image[rows], new_invvar[rows] = degrade_cutouts(
            image[rows], invvar[rows], sky=sky.take(rows), electrons_per_nmgy=electrons_per_nmgy[rows],
            normals=normals, beta=beta, own_fwhm_arcsec=own_fwhm_arcsec[rows],
        )  # fmt: skip
    return new_image, new_invvar


def inject_lenses(
    hosts: HostStamps,
    rows: NDArray[np.integer],
    draw: LensDraw,
    *,
    options: InjectionOptions,
    preprocessing: PreprocessOptions,
    flux_scale: float = 1.0,
) -> Injections:
    """Inject lens i of ``draw`` into host ``rows[i]``. ``flux_scale`` 0 takes the same road with no light at all."""
    from skytrace.lensing import flux_magnification, render_lenses

    sources = draw.sources
    if flux_scale != 1.0:
        sources = replace(sources, flux_nmgy=sources.flux_nmgy * flux_scale)
    psf = hosts.psf.take(rows)
    pixels = preprocessing.crop
    light = render_lenses(draw.lenses, sources, psf, pixels=pixels, saddle_images=options.saddle_images)
    rendered = light[:, 1].sum(axis=(1, 2), dtype=np.float64)
    y, x = np.indices((pixels, pixels)) - pixels // 2
    inside = (x * x + y * y < options.confine_radius_px**2) & (hosts.invvar[rows] > 0)  # no data: stays the host's
    light *= inside
    added = light
    if options.photon_noise:
        padded = (light.shape[1], pixels + 2 * NOISE_PAD, pixels + 2 * NOISE_PAD)
        normals = standard_normals(draw.table["injection_id"].to_numpy(), padded, seed=options.seed + 1)
        added = light + photon_noise(light, hosts.electrons_per_nmgy[rows], normals=normals) * inside
    image = hosts.image[rows] + added
    median, scale = (values[rows] for values in hosts.statistics)
    stamps = preprocess(image, options=preprocessing, statistics=(median, scale))
    magnification = flux_magnification(draw.lenses, sources)
    measured = _measure(
        light[:, 1], rendered, magnification, draw, hosts.fwhm_r_arcsec[rows], hosts.sigma_nmgy[rows, 1]
    )
    return Injections(stamps, image, added, measured)


def _measure(
    light_r: NDArray[np.float32],
    rendered: NDArray[np.float64],
    magnification: NDArray[np.float64],
    draw: LensDraw,
    fwhm_arcsec: NDArray[np.float64],
    sigma_pix_nmgy: NDArray[np.float64],
) -> pd.DataFrame:
    """Numbers of the injected light alone."""
    unlensed = draw.sources.flux_nmgy[:, 1]
    kept = light_r.sum(axis=(1, 2), dtype=np.float64)
    snr = arc_annulus_snr(light_r[:, None], draw.lenses.theta_e_arcsec, fwhm_arcsec, sigma_pix_nmgy).integrated[:, 0]
    total = magnification * unlensed
    return pd.DataFrame(
        {
            "magnification": magnification,
            "lensed_flux_r_nmgy": total,
            "flux_cut_fraction": np.clip(1.0 - kept / np.where(total > 0, total, 1.0), 0.0, 1.0),
            "flux_rendered_fraction": rendered / np.where(total > 0, total, 1.0),
            "arc_snr": snr,
        }
    )


def _sky_of_width(
    psf: MoffatPsf | ImagePsf,
    psfsize: NDArray[np.float64],
    psfdepth: NDArray[np.float64],
    fwhm_arcsec: NDArray[np.float64],
    beta: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """psfsize and psfdepth (n, band) of a host's sky for the choice of its target: the noise of its pixels, and a
    psfsize no smaller than that of the Moffat as broad as its PSF image, which could not be reached by convolving.
    """
    if not isinstance(psf, ImagePsf):
        return psfsize, psfdepth
    per_psfsize = moffat_fwhm_from_psfsize(1.0, beta=beta)
    broad = np.maximum(psfsize, fwhm_arcsec / per_psfsize * (1.0 + 1e-9))
    return broad, psfdepth * neff_pixels(psfsize) / neff_pixels(broad)


def _electrons(table: pd.DataFrame, options: InjectionOptions) -> NDArray[np.float64]:
    per_exposure = np.array([getattr(options, f"electrons_per_nmgy_{band}") for band in _BANDS])
    return np.maximum(band_columns(table, "nobs"), 1.0) * per_exposure


def _host_ids(table: pd.DataFrame, seed: int) -> NDArray[np.uint64]:
    return galaxy_hash(table["galaxy_id"].astype(str).to_numpy(), seed=seed).astype(np.uint64)
