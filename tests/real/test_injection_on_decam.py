"""Injection on real DECam pixels: what goes in comes out, on hosts that no detector was trained on.

The known host is subtracted again, so this tests the injection alone. Blind photometry of injections on blank real sky
is in tests/real/test_decam_fields_real.py.
"""

import numpy as np
import pytest

from skytrace.imaging import PreprocessOptions
from skytrace.lensing import flux_magnification
from skytrace.lensing.population import draw_lenses
from skytrace.selection.injection import InjectionOptions, inject_lenses, prepare_hosts


@pytest.fixture(scope="module")
def survey(real_data):
    from skytrace.surveys.decam_fields import DecamFieldsSurvey

    return DecamFieldsSurvey(real_data / "imaging" / "decam_grz_fields")


def test_injected_flux_is_recovered_within_two_percent_where_nothing_else_is(survey):
    galaxies = survey.galaxies()
    batch = survey.cutouts(list(galaxies["galaxy_id"].astype(str)))
    whole = (batch.invvar[:, :, 18:82, 18:82] > 0).all(axis=(1, 2, 3))
    table = galaxies[whole].reset_index(drop=True)
    assert len(table) >= 3, "too few hosts with a whole centre to show anything"
    batch = survey.cutouts(list(table["galaxy_id"].astype(str)))
    options, preprocessing = InjectionOptions(), PreprocessOptions()
    hosts = prepare_hosts(batch, table, mode="matched", options=options, preprocessing=preprocessing)
    n = 40 * len(table)
    rows = np.arange(n) % len(table)
    draw = draw_lenses(np.arange(n), np.full(n, 1.5), table.iloc[rows], seed=3)
    injected = inject_lenses(hosts, rows, draw, options=options, preprocessing=preprocessing)
    y, x = np.indices((64, 64)) - 32
    aperture = np.hypot(x, y) < 30
    # the real host and its neighbours are known here, so what is left is the injected light and its photon noise
    measured = (injected.image - hosts.image[rows])[:, :, aperture].sum(axis=2, dtype=np.float64)
    expected = flux_magnification(draw.lenses, draw.sources)[:, None] * draw.sources.flux_nmgy
    bright = expected[:, 1] > 0.5
    assert bright.sum() >= 20
    assert np.abs(np.median(measured[bright] / expected[bright], axis=0) - 1.0).max() < 0.01
    assert np.abs(measured[bright].sum(axis=0) / expected[bright].sum(axis=0) - 1.0).max() < 0.02
