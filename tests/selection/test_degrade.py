"""A degraded host has the target's PSF, the target's noise and its own flux."""

from dataclasses import replace

import numpy as np
import pytest

from skytrace.errors import PixelError
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.imaging.preprocessing import PreprocessOptions
from skytrace.imaging.psf import (
    PIXEL_SCALE_ARCSEC,
    ImagePsf,
    MoffatPsf,
    half_maximum_fwhm_arcsec,
    moffat_fwhm_from_psfsize,
)
from skytrace.imaging.sky_noise import draw_correlated_noise, noise_autocorrelation, pixel_variance_share
from skytrace.lensing import LensModel, SourceModel, render_lenses
from skytrace.lensing.population import draw_lenses
from skytrace.selection.arcs import arc_annulus_snr
from skytrace.selection.condition_sky import ConditionSky
from skytrace.selection.degrade import degrade_cutouts, degraded_sky, transfer_ratio
from skytrace.selection.injection import InjectionOptions, inject_lenses, prepare_hosts
from skytrace.statistics.streams import standard_normals

from .fake_sky import FakeSky

BANDS = 3
SIZE = 101


def sky_of(n: int, *, ratio: float = 1.5, magnitudes: float = 1.2):
    psfsize = np.full((n, BANDS), 1.0)
    depth = np.full((n, BANDS), psfdepth_from_mag(24.8))
    return degraded_sky(
        psfsize, depth, target_psfsize=psfsize * ratio, target_psfdepth=depth * 10.0 ** (-0.8 * magnitudes)
    )


def degrade(image, sky, *, silent: bool = False, electrons: float = 1e12):
    n = len(image)
    normals = standard_normals(np.arange(n), (2, BANDS, SIZE + 54, SIZE + 54), seed=5)
    invvar = np.broadcast_to(1.0 / sky.sigma[..., None, None] ** 2, image.shape).astype(np.float32)
    return degrade_cutouts(
        image, invvar, sky=sky, electrons_per_nmgy=np.full((n, BANDS), electrons), normals=normals * (not silent)
    )


def test_blank_sky_gets_the_target_noise_and_the_coadds_correlation():
    sky = sky_of(12)
    rng = np.random.default_rng(1)
    image = draw_correlated_noise(sky.sigma[..., None, None], shape=(12, BANDS, SIZE, SIZE), rng=rng)
    out, invvar = degrade(image, sky)
    inner = out[..., 5:-5, 5:-5].astype(np.float64)
    assert inner.std() == pytest.approx(sky.target_sigma[0, 0] * np.sqrt(pixel_variance_share()), rel=0.02)
    neighbours = (inner[..., 1:] * inner[..., :-1]).mean() / inner.var()
    assert neighbours == pytest.approx(noise_autocorrelation(1), abs=0.02)
    assert 1.0 / np.sqrt(np.median(invvar)) == pytest.approx(sky.target_sigma[0, 0], rel=0.005)


def star(psfsize: float) -> np.ndarray:
    point = SourceModel(np.full((1, BANDS), 100.0), 0.0, 0.0, 0.02, 1.0, 1.0, 0.0)
    psf = MoffatPsf(moffat_fwhm_from_psfsize(np.full((1, BANDS), psfsize)))
    return render_lenses(LensModel(np.zeros(1), 0.9, 0.0), point, psf, pixels=SIZE)


def test_a_star_gets_the_target_psf_and_keeps_its_flux():
    sky = sky_of(1)
    own, target = star(1.0), star(1.5)
    out, _ = degrade(own, sky, silent=True)
    assert out.sum() == pytest.approx(own.sum(), rel=1e-3)
    assert np.abs(out - target).max() < 5e-3 * target.max()


def test_the_kernel_is_a_kernel():
    ratio = transfer_ratio(np.array(0.9), np.array(1.3), size=129)
    kernel = np.fft.irfft2(ratio, s=(129, 129))
    assert ratio.max() == ratio[0, 0] == 1.0
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel.min() > -0.02 * kernel.max()


def test_pixels_without_data_stay_so_and_do_not_darken_their_neighbours():
    sky = sky_of(1)
    image = np.ones((1, BANDS, SIZE, SIZE), dtype=np.float32)
    invvar = np.full(image.shape, 100.0, dtype=np.float32)
    image[:, :, 40:45, 40:45], invvar[:, :, 40:45, 40:45] = np.nan, 0.0
    normals = np.zeros((1, 2, BANDS, SIZE + 54, SIZE + 54), dtype=np.float32)
    out, weight = degrade_cutouts(image, invvar, sky=sky, electrons_per_nmgy=np.full((1, BANDS), 1e9), normals=normals)
    assert (weight[:, :, 40:45, 40:45] == 0).all()
    assert np.isfinite(out[weight > 0]).all()
    assert out[weight > 0] == pytest.approx(1.0, abs=1e-5)


def test_a_host_has_the_same_bytes_in_any_company():
    sky = sky_of(11)
    image = np.random.default_rng(3).normal(0.0, sky.sigma[0, 0], (11, BANDS, SIZE, SIZE)).astype(np.float32)
    invvar = np.full(image.shape, sky.sigma[0, 0] ** -2, dtype=np.float32)
    normals = standard_normals(np.arange(11), (2, BANDS, SIZE + 54, SIZE + 54), seed=5)

    def degraded(rows: slice):
        electrons = np.full((len(image[rows]), BANDS), 1e4)
        return degrade_cutouts(
            image[rows], invvar[rows], sky=sky.take(rows), electrons_per_nmgy=electrons, normals=normals[rows]
        )

    whole = degraded(slice(None))
    for rows in (slice(0, 1), slice(1, 8), slice(8, 11)):
        for part, all_of_it in zip(degraded(rows), whole, strict=True):
            assert part.tobytes() == all_of_it[rows].tobytes()


def test_the_reverse_is_refused():
    with pytest.raises(PixelError, match="never sharpened"):
        sky_of(1, ratio=0.9)
    with pytest.raises(PixelError, match="never sharpened or deepened"):
        sky_of(1, magnitudes=-0.1)
    with pytest.raises(PixelError, match="quieter per pixel"):
        sky_of(1, ratio=2.0, magnitudes=0.3)


class ImageSky(FakeSky):
    """The same pixels, seen through PSF images of another shape than the Moffat of their psfsize: a Gaussian core of
    ``core`` times that width and a broad halo, as DECam's PSFs have.
    """

    def __init__(self, n: int, core: float) -> None:
        super().__init__(n)
        self.core = core

    def cutouts(self, galaxy_ids, **others):
        batch = super().cutouts(galaxy_ids, **others)
        y, x = (np.indices((63, 63)) - 31) * PIXEL_SCALE_ARCSEC
        sigma = (self.core * batch.psf.fwhm_arcsec / 2.3548)[..., None, None]
        images = 0.8 * gaussian(x, y, sigma) + 0.2 * gaussian(x, y, 3.0 * sigma)
        images = (images / images.sum(axis=(2, 3), keepdims=True)).astype(np.float32)
        return replace(batch, psf=ImagePsf(images))


def gaussian(x, y, sigma):
    return np.exp(-0.5 * (x**2 + y**2) / sigma**2) / sigma**2


def degraded_hosts(sky, target):
    table = sky.galaxies().query("psfsize_r < 1.3 and psfdepth_r > 400")
    return prepare_hosts(
        sky.cutouts(list(table["galaxy_id"])), table, mode="degraded", target=target,
        options=InjectionOptions(), preprocessing=PreprocessOptions(),
    )  # fmt: skip


@pytest.mark.parametrize("core", [0.9, 1.1])
def test_hosts_with_psf_images_are_degraded_from_the_width_that_the_images_have(monkeypatch, core):
    """A delta function in a host's place shows the kernel: image through it must be as broad as the target says."""
    from skytrace.selection import injection

    seen: dict[str, np.ndarray] = {}

    def kernel(image, invvar, *, sky, own_fwhm_arcsec, **others):
        size = 117
        target = moffat_fwhm_from_psfsize(sky.target_psfsize)
        part = {"ratio": transfer_ratio(own_fwhm_arcsec, target, size=size), "own": own_fwhm_arcsec, "target": target}
        for name, values in part.items():  # hosts come a few at a time
            seen[name] = np.concatenate([seen[name], values]) if name in seen else values
        return image, invvar

    monkeypatch.setattr(injection, "degrade_cutouts", kernel)
    sky = ImageSky(24, core)
    hosts = degraded_hosts(sky, ConditionSky(1.6 * np.array([1.1, 1.0, 0.95]), psfdepth_from_mag([23.0, 22.5, 21.5])))
    images = sky.cutouts(list(hosts.table["galaxy_id"])).psf.images
    assert len(images) >= 5
    assert seen["own"] == pytest.approx(half_maximum_fwhm_arcsec(images))
    padded = np.pad(images, ((0, 0), (0, 0), (27, 27), (27, 27)))
    broad = half_maximum_fwhm_arcsec(np.fft.irfft2(np.fft.rfft2(padded) * seen["ratio"], s=(117, 117)))
    assert broad == pytest.approx(seen["target"], rel=0.05)
    # the PSF that arcs are rendered through is the one that is claimed
    assert hosts.psf.fwhm_arcsec == pytest.approx(seen["target"])
    assert hosts.fwhm_r_arcsec == pytest.approx(seen["target"][:, 1])


def test_a_host_whose_psf_image_is_broader_than_the_condition_keeps_its_own_width():
    sky = ImageSky(24, 1.25)
    barely = ConditionSky(1.32 * np.array([1.1, 1.0, 0.95]), psfdepth_from_mag([23.0, 22.5, 21.5]))
    hosts = degraded_hosts(sky, barely)
    own = sky.cutouts(list(hosts.table["galaxy_id"])).psf.fwhm_arcsec
    condition = moffat_fwhm_from_psfsize(1.32)
    too_broad = own[:, 1] > condition
    assert 0 < too_broad.sum() < len(own)
    assert hosts.psf.fwhm_arcsec[too_broad, 1] == pytest.approx(own[too_broad, 1], rel=1e-6)
    assert hosts.psf.fwhm_arcsec[~too_broad, 1] == pytest.approx(condition)
    assert hosts.psfsize_r[too_broad] == pytest.approx(own[too_broad, 1] / 0.8113, rel=1e-4)


def test_matched_hosts_with_psf_images_have_their_arcs_measured_in_the_images_width():
    sky = ImageSky(12, 0.9)
    table = sky.galaxies()
    batch = sky.cutouts(list(table["galaxy_id"]))
    options, preprocessing = InjectionOptions(photon_noise=False), PreprocessOptions()
    hosts = prepare_hosts(batch, table, mode="matched", options=options, preprocessing=preprocessing)
    rows = np.arange(len(table))
    draw = draw_lenses(rows, np.full(len(rows), 1.5), table, seed=1)
    injected = inject_lenses(hosts, rows, draw, options=options, preprocessing=preprocessing)
    fwhm = batch.psf.fwhm_arcsec[:, 1]
    assert abs(fwhm / moffat_fwhm_from_psfsize(hosts.psfsize_r) - 1).min() > 0.05
    alone = arc_annulus_snr(injected.added[:, 1:2], 1.5, fwhm, hosts.sigma_nmgy[:, 1]).integrated[:, 0]
    assert injected.measured["arc_snr"].to_numpy() == pytest.approx(alone, rel=1e-5)
