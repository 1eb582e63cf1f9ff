"""Stamps as lensed sources: what a stamp's galaxy has, the library and the injections drawn from it still have."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import OptionError, PixelError, ShardError
from skytrace.lensing import flux_magnification
from skytrace.lensing.population import PopulationOptions, draw_lenses
from skytrace.lensing.source_library import build_library, load_library, prepare_stamp
from skytrace.lensing.sources import ImageSource, SourceModel, source_surface_brightness

SIZE, SCALE = 121, 0.03


def sersic_stamp(*, radius=0.30, index=1.0, q=0.7, phi=0.6, x=0.0, y=0.0, size=SIZE, over=3):
    """Unit-flux Sersic on pixels of 0.03", averaged over 3 x 3 points of a pixel."""
    source = SourceModel(np.ones((1, 1)), x, y, radius, index, q, phi)
    axis = (np.arange(size * over) - (size * over - 1) / 2) * SCALE / over
    yy, xx = np.meshgrid(axis, axis, indexing="ij")
    light = source_surface_brightness(xx[None], yy[None], source)[0]
    return light.reshape(size, over, size, over).mean(axis=(1, 3)) * SCALE**2


def noisy(light, *, snr=150.0, seed=0, level=0.02):
    """With sky: total flux 1 at this S/N within the half-light ellipse of 0.3"."""
    sigma = 0.5 / (snr * np.sqrt(np.pi * (0.3 / SCALE) ** 2))
    return light + level + sigma * np.random.default_rng(seed).normal(size=light.shape)


def half_light_radius(stamp):
    return build_library({"it": stamp}).half_light_radius_px[0] * SCALE


@pytest.mark.parametrize(("index", "radius"), [(0.6, 0.25), (1.0, 0.30), (1.5, 0.2)])
def test_half_light_radius_of_a_noisy_stamp_is_that_of_its_galaxy(index, radius):
    assert half_light_radius(noisy(sersic_stamp(index=index, radius=radius))) == pytest.approx(radius, rel=0.08)


def test_flux_of_the_object_is_kept_and_sky_and_neighbour_go():
    alone = sersic_stamp()
    neighbour = sersic_stamp(radius=0.12, x=1.2, y=-0.6, q=0.9) * 0.5
    prepared = prepare_stamp(noisy(alone + neighbour))
    assert prepared.sum() == pytest.approx(1.0, abs=1e-9)
    y, x = np.indices(alone.shape) - 60
    for radius in (0.2, 0.4, 0.8):  # light inside, of a total of 1
        inside = np.hypot(x, y) * SCALE < radius
        assert prepared[inside].sum() == pytest.approx(alone[inside].sum(), abs=0.05)
    row, column = 60 - round(0.6 / SCALE), 60 + round(1.2 / SCALE)
    there = (slice(row - 4, row + 5), slice(column - 4, column + 5))
    assert np.abs(prepared[there]).sum() < 0.03 < neighbour[there].sum()
    assert np.abs(prepared[:5]).max() == 0.0 and np.abs(prepared[:, -5:]).max() == 0.0


def test_a_stamp_without_an_object_is_refused_by_name():
    with pytest.raises(PixelError, match="blank has no object"):
        build_library({"blank": np.random.default_rng(1).normal(size=(60, 60))})
    with pytest.raises(PixelError, match="at least one"):
        build_library({})


def test_a_saved_library_is_read_back_and_a_changed_one_is_not(tmp_path):
    library = build_library({"a": noisy(sersic_stamp()), "b": noisy(sersic_stamp(index=0.7, size=91))})
    path = library.save(tmp_path / "library.npz")
    again = load_library(path, checksum=library.checksum)
    assert again.checksum == library.checksum and list(again.names) == ["a", "b"] and len(again) == 2
    with pytest.raises(ShardError, match="not the configured"):
        load_library(path, checksum="0" * 64)
    from skytrace.compute import load_npz, save_npz

    arrays = load_npz(path)
    arrays["images"][0, 40, 40] += 0.1
    changed = save_npz(tmp_path / "changed.npz", **arrays)
    with pytest.raises(ShardError, match="not what was saved"):
        load_library(changed)
    with pytest.raises(ShardError, match="no source library"):
        load_library(tmp_path / "absent.npz")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The same injections as Sersic galaxies and as stamps, with the library."""
    library = build_library({"disc": sersic_stamp() + 1e-9 * np.random.default_rng(0).normal(size=(SIZE, SIZE)),
                             "round": noisy(sersic_stamp(q=0.95, index=0.8))})  # fmt: skip
    path = library.save(tmp_path_factory.mktemp("library") / "library.npz")
    n = 400
    hosts = pd.DataFrame({"shape_e1": np.zeros(n), "shape_e2": 0.1, "ebv": 0.02})
    options = {"image_share": 1.0, "source_library": str(path), "source_library_checksum": library.checksum}

    def draw(ids, **changes):
        return draw_lenses(
            ids, np.full(len(ids), 1.3), hosts.iloc[: len(ids)], options=PopulationOptions(**changes), seed=4
        )

    return draw(np.arange(n)), draw(np.arange(n), **options), lambda ids: draw(ids, **options), library


def test_stamps_have_the_drawn_magnitude_colours_size_and_place(drawn):
    plain, images, _, _ = drawn
    assert isinstance(images.sources, ImageSource)
    assert np.array_equal(images.sources.flux_nmgy, plain.sources.flux_nmgy)
    wanted = plain.table["source_half_light_radius_arcsec"]
    assert images.sources.half_light_radius_arcsec == pytest.approx(wanted, rel=1e-9)
    same = ["source_mag_g", "source_mag_r", "source_mag_z", "source_x_arcsec", "source_y_arcsec", "lens_q"]
    pd.testing.assert_frame_equal(images.table[same], plain.table[same])
    assert (images.table["source_family"] == 3).all() and images.table["source_sersic_index"].isna().all()


def test_every_stamp_is_used_and_turned_by_any_angle(drawn):
    _, images, again, _ = drawn
    share = np.bincount(images.table["source_stamp"], minlength=2) / len(images)
    assert share == pytest.approx([0.5, 0.5], abs=0.1)
    quarter = np.bincount((images.sources.phi_rad // (np.pi / 2)).astype(int), minlength=4) / len(images)
    assert quarter == pytest.approx([0.25] * 4, abs=0.09)
    alone = again(np.array([17]))
    assert alone.table["source_stamp"][0] == images.table["source_stamp"][17]
    assert alone.sources.pixel_scale_arcsec[0] == images.sources.pixel_scale_arcsec[17]


def test_magnification_of_a_stamp_is_that_of_the_sersic_it_was_rendered_from(drawn):
    plain, _, _, _ = drawn
    rows = np.arange(60)
    lenses, radius = plain.lenses.take(rows), 0.30
    flux, x, y = np.ones((60, 1)), plain.sources.x_arcsec[rows], plain.sources.y_arcsec[rows]
    body = SourceModel(flux, x, y, radius, 1.0, 0.7, 0.6)
    stamp = sersic_stamp(size=241)[None]
    image = ImageSource(flux, x, y, stamp.astype(np.float32), 0, SCALE, 0.0)
    assert flux_magnification(lenses, image) == pytest.approx(flux_magnification(lenses, body), rel=0.01)


def test_family_three_without_its_library_is_refused():
    with pytest.raises(OptionError, match="source_library_checksum"):
        PopulationOptions(image_share=1.0, source_library="library.npz")
    with pytest.raises(OptionError, match="image_share"):
        PopulationOptions(image_share=0.5)
