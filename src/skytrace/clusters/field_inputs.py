"""What a network sees of a cluster field: fluxes on one fixed scale for all fields, so that brightness and colour stay.

Bands are summed in squares of pixels and scaled as asinh(flux / softening) with a declared softening a band; nothing is
normalised field by field. Further channels are differences of fluxes on the same scale: what is left after half a turn
about the BCG, and what is left of the redder band where everything of the BCG's colour is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytrace.clusters.worse_sky import SkyShift, filtered, worsened_fields
from skytrace.errors import OptionError, PixelError, check_between, check_choice, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.imaging.psf import MoffatPsf

__all__ = ["CHANNELS", "InputOptions", "network_inputs", "worse_view"]

#: Groups of channels and how many each has: the bands; bands minus themselves after half a turn about the BCG; the
#: redder of two neighbouring bands minus the bluer at the BCG's colour, both seen through the wider of their PSFs.
CHANNELS = {"bands": 3, "half_turn": 3, "off_sequence": 2}
_PAD = 24


@dataclass(frozen=True)
class InputOptions:
    """channels: names of CHANNELS. bin_px: side of the squares that are summed. softening_nmgy: of g, r and i, of such
    a square; about 1.5 times its sky noise at the survey's depth. bcg_radius_px: of the aperture of the BCG's colour.

    views: pictures of every training field: itself, and so many less one under a worse sky each, with a seeing wider by
    up to seeing_factor and a depth less by up to depth_loss_mag, drawn from (seed, field).
    """

    channels: tuple[str, ...] = ("bands", "off_sequence")
    bin_px: int = 2
    softening_nmgy: tuple[float, float, float] = (0.006, 0.012, 0.024)
    bcg_radius_px: float = 5.0
    views: int = 2
    seeing_factor: float = 1.15
    depth_loss_mag: float = 0.3
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "softening_nmgy", tuple(self.softening_nmgy))
        for name in self.channels:
            check_choice("channels", name, tuple(CHANNELS))
        if len(set(self.channels)) < len(self.channels) or "bands" not in self.channels:
            raise OptionError(f"channels = {self.channels} are not different names with 'bands' among them")
        check_whole("bin_px", self.bin_px, 1, 16)
        if len(self.softening_nmgy) != 3:
            raise OptionError(f"softening_nmgy = {self.softening_nmgy} is not three values, of g, r and i")
        for value in self.softening_nmgy:
            check_between("softening_nmgy", value, 0.0, 1e6, include_low=False)
        check_between("bcg_radius_px", self.bcg_radius_px, 1.0, 64.0)
        check_whole("views", self.views, 1, 16)
        check_between("seeing_factor", self.seeing_factor, 1.0, 3.0)
        check_between("depth_loss_mag", self.depth_loss_mag, 0.0, 3.0)
        check_whole("seed", self.seed, 0, 2**62)

    @property
    def n_channels(self) -> int:
        """Channels of a network's input."""
        return sum(CHANNELS[name] for name in self.channels)


def network_inputs(
    images: NDArray[np.float32], psf: MoffatPsf, *, pixel_scale_arcsec: float, options: InputOptions
) -> NDArray[np.float32]:
    """(n, channel, y / bin_px, x / bin_px) of images (n, band, y, x) [nanomaggies], the BCG on pixel size // 2.

    Pixels without data count as empty sky. Raises PixelError where the squares do not fill the image.
    """
    size = images.shape[-1]
    if images.ndim != 4 or images.shape[1:] != (3, size, size) or size % options.bin_px:
        raise PixelError(f"images {images.shape} are not (n, 3, y, x), square, of {options.bin_px} x k pixels")
    known = np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0)
    soft = np.array(options.softening_nmgy)
    parts = []
    for name in options.channels:
        if name == "bands":
            parts.append(_scaled(known, soft, options.bin_px))
        elif name == "half_turn":
            turned = np.roll(known[..., ::-1, ::-1], 1 - size % 2, axis=(-2, -1))
            parts.append(_scaled(known - turned, soft, options.bin_px))
        else:
            left = _off_sequence(known, psf, pixel_scale_arcsec, options)
            parts.append(_scaled(left, soft[1:], options.bin_px))
    return np.concatenate(parts, axis=1)


def worse_view(
    images: NDArray[np.float32],
    noise: ArrayLike,
    psf: MoffatPsf,
    *,
    seeds: ArrayLike,
    view: int,
    pixel_scale_arcsec: float,
    options: InputOptions,
) -> tuple[NDArray[np.float32], MoffatPsf]:
    """(images, PSFs) of the same fields under skies of their own, worse by draws from (options.seed, view, seeds (n,)).

    View 0 is the field itself. Noise and PSF are all that changes: fluxes, colours and radii stay (tested).
    """
    if view == 0:
        return images, psf
    worse, widths = np.empty_like(images), np.empty_like(psf.fwhm_arcsec)
    noise = np.asarray(noise)
    for k, own in enumerate(np.asarray(seeds, dtype=np.int64)):
        rng = np.random.default_rng([options.seed, view, int(own)])
        shift = SkyShift(
            "view", float(rng.uniform(1.0, options.seeing_factor)), float(rng.uniform(0.0, options.depth_loss_mag))
        )
        one = [k]
        normals = rng.standard_normal((1, *images.shape[1:]), dtype=np.float32)
        image, _, wider = worsened_fields(
            images[one], noise[one], psf.take(one), shift=shift, pixel_scale_arcsec=pixel_scale_arcsec, normals=normals
        )
        worse[k], widths[k] = image[0], wider.fwhm_arcsec[0]
    return worse, replace(psf, fwhm_arcsec=widths)


def _scaled(fluxes: NDArray, softening: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    n, channels, size, _ = fluxes.shape
    summed = fluxes.reshape(n, channels, size // side, side, size // side, side).sum(axis=(3, 5))
    return np.arcsinh(summed / softening[:, None, None]).astype(np.float32)


def _off_sequence(
    images: NDArray[np.float32], psf: MoffatPsf, scale: float, options: InputOptions
) -> NDArray[np.float64]:
    """(n, 2, y, x): r minus g and i minus r, the bluer band scaled to the BCG's flux in the redder one."""
    from skytrace.selection.degrade import transfer_ratio

    size = images.shape[-1]
    y, x = np.indices((size, size)) - size // 2
    aperture = np.hypot(y, x) < options.bcg_radius_px
    left = np.empty((len(images), 2, size, size))
    for k, fwhm in enumerate(psf.fwhm_arcsec):
        for pair in (0, 1):
            both = slice(pair, pair + 2)
            target = np.full(2, fwhm[both].max())
            ratio = transfer_ratio(fwhm[both], target, size=size + 2 * _PAD, beta=psf.beta, pixel_scale_arcsec=scale)
            bluer, redder = filtered(images[k, both], ratio)
            fluxes = bluer[aperture].sum(), redder[aperture].sum()
            colour = fluxes[1] / fluxes[0] if fluxes[0] > 0 else 1.0
            left[k, pair] = redder - np.clip(colour, 0.1, 30.0) * bluer
            if not images[k, both].any(axis=(1, 2)).all():
                left[k, pair] = 0.0  # a band without data takes nothing away: all of the cluster would be left
    return left
