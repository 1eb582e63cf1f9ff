"""The built-in survey keeps its word: same bytes from the same options, honest noise, sound tables, clear refusals."""

import json

import numpy as np
import pytest

from skytrace.errors import OptionError, SurveyError
from skytrace.imaging.photometry import mag_ab
from skytrace.imaging.psf import MoffatPsf
from skytrace.imaging.sky_noise import noise_autocorrelation, pixel_variance_share
from skytrace.surveys.interface import BANDS, GALAXY_COLUMNS, LENS_COLUMNS, ImagingSurvey, check_galaxies
from skytrace.surveys.mock import MockSurvey, MockSurveyOptions

OPTIONS = MockSurveyOptions(n_galaxies=240, shard_size=80, threads=2)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    made = MockSurvey(tmp_path_factory.mktemp("mock") / "sky", OPTIONS)
    made.make()
    return made


def test_survey_is_an_imaging_survey_with_sound_tables(survey):
    assert isinstance(survey, ImagingSurvey)
    galaxies, lenses = survey.galaxies(), survey.lenses()
    assert tuple(galaxies.columns) == GALAXY_COLUMNS and len(galaxies) == 240
    check_galaxies(galaxies, source="mock")
    assert tuple(lenses.columns) == LENS_COLUMNS and len(lenses) == round(0.18 * 240)
    assert set(lenses["tier"]) == {"confirmed", "A", "B"}
    assert np.isfinite(lenses["theta_e_arcsec"]).equals(lenses["tier"] == "confirmed")
    assert not (lenses["is_anchor"] & (lenses["tier"] == "B")).any()
    assert set(lenses["galaxy_id"]) == set(survey.truth().query("category == 'lens'")["galaxy_id"])


def test_same_options_give_the_same_bytes_for_any_threads_and_the_same_pixels_for_any_shards(survey, tmp_path):
    again = MockSurvey(tmp_path / "again", MockSurveyOptions(n_galaxies=240, shard_size=80, threads=1))
    again.make()
    for path in sorted(p for p in survey.folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again.folder / path.relative_to(survey.folder)).read_bytes(), path.name
    other = MockSurvey(tmp_path / "other", MockSurveyOptions(n_galaxies=240, shard_size=37, threads=2))
    ids = survey.galaxies()["galaxy_id"].to_numpy()[::7]
    ours, theirs = survey.cutouts(ids), other.cutouts(ids)
    assert np.array_equal(ours.image, theirs.image) and np.array_equal(ours.invvar, theirs.invvar)
    assert survey.galaxies().equals(other.galaxies())


def test_cutouts_come_in_the_order_asked_for_and_cropped_about_the_galaxy(survey):
    ids = survey.galaxies()["galaxy_id"].to_numpy()[[200, 3, 90, 3]]
    batch = survey.cutouts(ids)
    assert list(batch.galaxy_id) == list(ids) and batch.image.shape == (4, 3, 101, 101)
    assert np.array_equal(batch.image[1], batch.image[3])
    crop = survey.cutouts(ids, size=64)
    assert np.array_equal(crop.image, batch.image[:, :, 18:82, 18:82])
    centre = batch.image[:, 1, 48:53, 48:53].mean(axis=(1, 2))
    assert (centre > 5 * np.median(np.abs(batch.image[:, 1]), axis=(1, 2))).all()


FAR_OUT = np.hypot(*(np.indices((101, 101)) - 50)) > 46


def test_background_noise_matches_invvar(survey):
    batch = survey.cutouts(survey.galaxies()["galaxy_id"].to_numpy())
    pull = batch.image * np.sqrt(batch.invvar)
    for band in range(3):
        scale = []
        for stamp, weight in zip(pull[:, band], batch.invvar[:, band], strict=True):
            sky = stamp[weight > 0]
            if len(sky) > 5000:  # differences of pixels three apart: blind to the light of galaxies' wings
                faint = (weight > 0) & FAR_OUT
                steps = (stamp[:, 3:] - stamp[:, :-3])[faint[:, 3:] & faint[:, :-3]]
                scale.append(1.4826 * np.median(np.abs(steps)) / np.sqrt(2))
        expected = np.sqrt(pixel_variance_share() * (1.0 - noise_autocorrelation(3)))
        assert np.median(scale) == pytest.approx(expected, abs=0.03)


def test_central_aperture_of_an_isolated_galaxy_agrees_with_its_catalogue_flux():
    from skytrace.imaging.profiles import render_profiles
    from skytrace.surveys.mock.rendering import noiseless_stamps
    from skytrace.surveys.mock.sky import draw_sky

    sky = draw_sky(OPTIONS)
    plain = sky.truth.index[(sky.truth["category"] == "disk") & (sky.truth["mag_z"] < 19.5)]
    ratios = []
    for i in plain:
        own = np.flatnonzero(sky.sersic.stamp == i)[:1]
        alone = sky.sersic.take(own)
        object.__setattr__(alone, "stamp", np.zeros(1, dtype=int))
        none = sky.gaussians.take(np.empty(0, dtype=int))
        image = render_profiles(alone, none, sky.psf.take([i]))[0]
        true = 10 ** (0.4 * (22.5 - sky.truth["mag_z"][i]))
        assert image[2].sum() == pytest.approx(true, rel=0.03)
        assert (noiseless_stamps(sky, i, i + 1)[0] >= image - 1e-4 * image.max()).all()
        ratios.append(sky.galaxies["flux_z"][i] / true)
    assert np.median(ratios) == pytest.approx(1.0, abs=0.03)


def test_arcs_lie_at_the_einstein_radius():
    from skytrace.surveys.mock.sky import draw_sky

    sky = draw_sky(OPTIONS)
    rows = np.flatnonzero(sky.lens_row >= 0)
    sharp = MoffatPsf(np.full((len(rows), 3), 0.4), 3.5)  # seeing alone would push the mean radius outwards
    arcs = sky.systems.render(sharp)[:, 1]
    axis = (np.arange(64) - 32) * 0.262
    radius = np.hypot(axis[:, None], axis[None, :])
    mean = (arcs * radius).sum(axis=(1, 2)) / arcs.sum(axis=(1, 2))
    table = sky.systems.table
    theta_e = table["theta_e_arcsec"].to_numpy()
    # the two images of an isothermal sphere have the flux-weighted mean radius theta_E (1 + (beta / theta_E)^2)
    offset = np.hypot(table["source_x_arcsec"], table["source_y_arcsec"]).to_numpy() / theta_e
    assert np.median(mean / theta_e / (1 + offset**2)) == pytest.approx(1.0, abs=0.06)
    assert np.corrcoef(mean, theta_e)[0, 1] > 0.8


def test_no_stamps_overlap_and_pointings_stay_in_one_healpix_cell(survey):
    from astropy import units
    from astropy_healpix import HEALPix

    galaxies, truth = survey.galaxies(), survey.truth()
    cells = HEALPix(nside=128, order="nested").lonlat_to_healpix(
        galaxies["ra"].to_numpy() * units.deg, galaxies["dec"].to_numpy() * units.deg
    )
    for _, members in galaxies.groupby(truth["pointing"]):
        assert len(np.unique(cells[members.index])) == 1
        east = (members["ra"].to_numpy()[:, None] - members["ra"].to_numpy()) * 3600
        east = np.abs(east * np.cos(np.radians(members["dec"].to_numpy())))
        north = np.abs(members["dec"].to_numpy()[:, None] - members["dec"].to_numpy()) * 3600
        apart = np.maximum(east, north)[~np.eye(len(members), dtype=bool)]
        assert (apart > 101 * 0.262).all()
        assert members["psfsize_r"][members["psfsize_r"] > 0].nunique() == 1


def test_partial_or_changed_folder_is_made_anew_and_a_foreign_one_refused(survey, tmp_path):
    small = MockSurveyOptions(n_galaxies=30, shard_size=15, threads=1)
    folder = tmp_path / "sky"
    first = MockSurvey(folder, small)
    pixels = first.cutouts(["mock-0000004"]).image
    (folder / "shards" / "shard-00000.npz").write_bytes(b"torn")
    assert np.array_equal(MockSurvey(folder, small).cutouts(["mock-0000004"]).image, pixels)
    marker = json.loads((folder / "survey.json").read_text())
    assert marker["options"]["n_galaxies"] == 30
    (folder / "survey.json").unlink()
    assert np.array_equal(MockSurvey(folder, small).cutouts(["mock-0000004"]).image, pixels)
    other = MockSurvey(folder, MockSurveyOptions(n_galaxies=30, shard_size=15, threads=1, seed=5))
    assert not np.array_equal(other.cutouts(["mock-0000004"]).image, pixels)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(SurveyError, match=r"thesis\.tex"):
        MockSurvey(tmp_path / "mine", small).make()
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_unknown_galaxy_and_bad_options_are_named(survey):
    with pytest.raises(SurveyError, match="mock-9999999"):
        survey.cutouts(["mock-0000001", "mock-9999999"])
    with pytest.raises(OptionError, match=r"n_galaxys.*did you mean n_galaxies"):
        MockSurveyOptions.from_mapping({"n_galaxys": 10})
    with pytest.raises(OptionError, match=r"lens_fraction = 1\.5"):
        MockSurveyOptions(lens_fraction=1.5)


def test_each_selection_filter_has_something_to_remove():
    from skytrace.surveys.mock.sky import draw_sky

    galaxies = draw_sky(MockSurveyOptions(n_galaxies=1500, lens_fraction=0.02)).galaxies
    assert 0.03 < (galaxies["type"] == "EXP").mean() < 0.25
    assert 0.03 < (mag_ab(galaxies["flux_z"]) > 20).mean() < 0.25
    assert 0.03 < (galaxies[[f"nobs_{b}" for b in BANDS]].min(axis=1) < 3).mean() < 0.35
    assert (galaxies["flux_g"] <= 0).any()
