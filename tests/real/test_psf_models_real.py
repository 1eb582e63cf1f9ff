"""PSFEx models of real exposures: which of their widths the arcs of an injection follow."""

import numpy as np
import pandas as pd
import pytest

from skytrace.imaging.psf import (
    PIXEL_SCALE_ARCSEC,
    ImagePsf,
    MoffatPsf,
    half_maximum_fwhm_arcsec,
    moffat_fwhm_from_psfsize,
    psfsize_of_images,
)


@pytest.fixture(scope="module")
def decam(real_data):
    """(table, images (n, 63, 63)) of the DECam models, whose pixels are those of the stamps."""
    folder = real_data / "imaging" / "psf"
    if not (folder / "psfex_models.npz").exists():
        pytest.skip(f"no PSFEx models in {folder}")
    table = pd.read_parquet(folder / "psfex_models.parquet")
    chosen = (table["camera"] == "decam").to_numpy()
    images = np.load(folder / "psfex_models.npz", allow_pickle=False)["psf"]
    return table[chosen].reset_index(drop=True), images[chosen]


def test_the_header_width_of_decam_models_is_far_above_the_half_maximum_width(decam):
    table, images = decam
    measured = half_maximum_fwhm_arcsec(images, pixel_scale_arcsec=1.0)
    ratio = table["psf_fwhm_pix_psfex"].to_numpy() / measured
    assert ratio.min() > 1.14 and ratio.max() < 1.40 and np.median(ratio) == pytest.approx(1.22, abs=0.03)
    # the snapshot's own measure of the same models
    assert measured == pytest.approx(table["fwhm_pix_measured"].to_numpy(), rel=0.03)


def test_psfsize_of_a_real_model_gives_its_half_maximum_width_within_some_per_cent(decam):
    """The Moffat of equal Neff (beta 3.5), which stands for the image where only psfsize is known."""
    _, images = decam
    ratio = moffat_fwhm_from_psfsize(psfsize_of_images(images)) / half_maximum_fwhm_arcsec(images)
    assert np.median(ratio) == pytest.approx(1.02, abs=0.02)
    assert ratio.min() > 0.93 and ratio.max() < 1.15


def test_arcs_through_a_real_psf_image_are_those_of_the_measured_width_not_of_the_header(decam):
    from skytrace.lensing import render_lenses
    from skytrace.lensing.population import draw_lenses

    table, images = decam
    n = len(images)
    hosts = pd.DataFrame({"shape_e1": np.zeros(n), "shape_e2": 0.1, "ebv": 0.0})
    draw = draw_lenses(np.arange(n), np.full(n, 1.5), hosts, seed=5)

    def peak(psf):
        stamps = render_lenses(draw.lenses, draw.sources, psf, pixels=64)
        return (stamps / stamps.sum(axis=(2, 3), keepdims=True)).max(axis=(2, 3))

    psf = ImagePsf(np.repeat(images[:, None], 3, axis=1))
    seen = peak(psf)
    measured = peak(MoffatPsf(psf.fwhm_arcsec)) / seen
    header = table["psf_fwhm_pix_psfex"].to_numpy() * PIXEL_SCALE_ARCSEC
    wrong = peak(MoffatPsf(np.repeat(header[:, None], 3, axis=1))) / seen
    assert abs(np.median(measured) - 1.0) < 0.06
    assert np.median(wrong) < 0.87  # arcs of the header's width are too faint at their peak by an eighth and more
    assert (np.abs(measured - 1.0) < np.abs(wrong - 1.0)).mean() > 0.9


def test_a_real_psf_image_degraded_from_its_measured_width_reaches_the_width_that_is_claimed(decam):
    from skytrace.selection.degrade import transfer_ratio

    _, images = decam
    target = moffat_fwhm_from_psfsize(1.8)

    def reached(own):
        sharp = own < 0.9 * target
        assert sharp.sum() >= 12
        padded = np.pad(images[sharp], ((0, 0), (32, 32), (32, 32)))
        size = padded.shape[-1]
        ratio = transfer_ratio(own[sharp], np.full(sharp.sum(), target), size=size)
        return half_maximum_fwhm_arcsec(np.fft.irfft2(np.fft.rfft2(padded) * ratio, s=(size, size)))

    assert reached(half_maximum_fwhm_arcsec(images)) == pytest.approx(target, rel=0.04)
    # from psfsize, where it is all there is, a PSF with strong wings stays up to a tenth too sharp
    assert reached(moffat_fwhm_from_psfsize(psfsize_of_images(images))) == pytest.approx(target, rel=0.10)
