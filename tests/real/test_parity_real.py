"""Two independent extractions of real DECam pixels agree; what is planted into one of them is found."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import shift

from skytrace.audit.detectability import arc_evidence
from skytrace.audit.parity import ParityOptions, compare_routes, route_test
from skytrace.surveys.decam_fields import DecamFieldsSurvey
from skytrace.surveys.stamps import paste_window

#: 64 px stamps: the background lies closer in.
OPTIONS = ParityOptions(background_px=(20.0, 31.0), n_resamples=500)


@pytest.fixture(scope="module")
def routes(real_data):
    """(first, second, invvar of the first, of the second): the collection's stamps, and ours of the same positions."""
    folder = real_data / "imaging" / "decam_grz_cutouts"
    manifest = pd.read_parquet(folder / "manifest.parquet")
    stamps = np.load(folder / "cutouts.npz", allow_pickle=False)
    assert stamps["id"].tolist() == manifest["cutout_id"].tolist()
    fields = DecamFieldsSurvey(real_data / "imaging" / "decam_grz_fields").fields
    image, invvar = np.zeros_like(stamps["image"]), np.zeros_like(stamps["invvar"])
    for row, entry in enumerate(manifest.itertuples()):
        field = fields[entry.field]
        # by position on the sky, not by the pixel that the manifest names
        x, y = (round(float(value)) for value in field.wcs.all_world2pix(entry.ra, entry.dec, 0))
        paste_window(image[row], field.image, centre=(x, y))
        paste_window(invvar[row], field.invvar, centre=(x, y))
    return stamps["image"], image, np.maximum(stamps["invvar"], 0), np.maximum(invvar, 0)


def compared(first, second, first_invvar, second_invvar):
    return compare_routes(first, second, first_invvar=first_invvar, second_invvar=second_invvar, options=OPTIONS)


def test_the_same_positions_through_two_extractions_are_the_same_pixels(routes):
    test = route_test(compared(*routes), options=OPTIONS)
    assert test["state"] == "inside" and test["n_objects"] >= 6


def test_a_gain_planted_into_real_pixels_is_found(routes):
    first, second, *invvar = routes
    test = route_test(compared(first, 1.1 * second, *invvar), options=OPTIONS)
    assert test["measures"]["r"]["central_ratio"]["state"] == "outside"
    assert test["measures"]["r"]["central_ratio"]["value"] == pytest.approx(1.1, rel=1e-3)


def test_a_half_pixel_shift_of_real_pixels_is_found(routes):
    first, second, *invvar = routes
    moved = shift(np.nan_to_num(second), (0, 0, 0.0, 0.5), order=3, mode="nearest").astype(np.float32)
    test = route_test(compared(first, moved, *invvar), options=OPTIONS)
    assert test["measures"]["r"]["shift_x_px"]["state"] == "outside"
    assert test["measures"]["r"]["shift_x_px"]["value"] == pytest.approx(0.5, abs=0.1)


def test_most_ordinary_real_sources_show_no_shared_energy(real_data):
    survey = DecamFieldsSurvey(real_data / "imaging" / "decam_grz_fields")
    batch = survey.cutouts(survey.galaxies()["galaxy_id"])
    evidence = arc_evidence(batch.image, batch.invvar)
    score = evidence["score"].dropna()
    assert len(score) >= 25  # the rest lies at the border of its field
    assert abs(score.median()) < 2.0 and (score < 5.0).mean() > 0.6
    assert abs(evidence["coherence"].median()) < 0.1
