"""HST images of real lenses of the Legacy Surveys, read and brought to the survey's sky."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import SurveyError
from skytrace.selection.realism.outside_lenses import as_seen_by_survey, light_centre_and_shape, measure_outside
from skytrace.surveys.hst_lenses import read_hst_lenses


@pytest.fixture(scope="module")
def lenses(real_data):
    folder = real_data / "imaging" / "hst_f140w_desi_lenses"
    if not folder.is_dir():
        pytest.skip(f"no HST lenses in {folder}")
    return read_hst_lenses(folder)


def test_systems_are_read_with_their_models(lenses):
    assert len(lenses) == 15 and sum(np.isfinite(lens.theta_e_arcsec) for lens in lenses) == 12
    by_name = {lens.name: lens for lens in lenses}
    assert by_name["DESIJ2158+0257"].theta_e_arcsec == pytest.approx(3.319, abs=1e-3)
    assert [lens.pixel_scale_arcsec for lens in lenses] == pytest.approx([0.08] * 15, rel=1e-9)
    # H-band magnitudes of massive galaxies at z = 0.4 to 1 with all that is around them
    magnitudes = [26.45 - 2.5 * np.log10(lens.image.sum()) for lens in lenses]
    assert min(magnitudes) > 15.5 and max(magnitudes) < 20.0


def test_flux_within_three_arcsec_is_kept_on_the_way_to_the_survey(lenses):
    for lens in lenses[:4]:
        row, column, _, _ = light_centre_and_shape(lens.image, pixel_scale_arcsec=0.08, within_arcsec=0.8)
        stamps, covered = as_seen_by_survey(
            lens.image, pixel_scale_arcsec=0.08, own_fwhm_arcsec=0.13, target_fwhm_arcsec=[0.75], centre=(row, column)
        )
        y, x = np.indices(lens.image.shape)
        there = lens.image[np.hypot(y - row, x - column) * 0.08 < 3.0].sum()
        y, x = np.indices((64, 64)) - 32
        disc = np.hypot(x, y) * 0.262 < 3.0
        assert covered[disc].all()
        assert stamps[0][disc].sum() == pytest.approx(there, rel=0.05)  # the wider PSF carries some light across 3"


def test_every_modelled_lens_is_measured_in_every_condition(lenses):
    sky = pd.DataFrame({"psf_fwhm": [0.9, 1.35], "depth": [24.5, 23.0]})
    table, stamps = measure_outside(lenses, sky)
    assert len(table) == 24 and stamps.shape == (24, 64, 64)
    assert table["arc_coverage"].min() > 0.99 and table["own_fwhm_arcsec"].between(0.11, 0.20).all()
    good, poor = (table[table["psf_fwhm"] == size].set_index("name") for size in (0.9, 1.35))
    assert np.median(good["arc_snr"] - poor["arc_snr"]) > 1.0
    again, _ = measure_outside(lenses, sky)
    pd.testing.assert_frame_equal(table, again)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SurveyError, match=r"systems\.parquet"):
        read_hst_lenses(tmp_path / "nothing")
    with pytest.raises(SurveyError, match=r"lacks images\.npz"):
        read_hst_lenses(tmp_path)
