"""The source's light against vectors and integrals."""

import json
from pathlib import Path

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.lensing import Clumps, SourceModel, sersic_b, sersic_flux, source_surface_brightness

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


@pytest.mark.parametrize("case", VECTORS["sersic"]["cases"])
def test_b_and_total_flux_match_the_vectors(case):
    assert sersic_b(case["n"]) == pytest.approx(case["b_n_exact"], rel=1e-10)
    assert sersic_flux(case["n"], 0.3) == pytest.approx(case["total_flux_unit_Ie_Re_0p3"], rel=1e-10)


def plane(half_width=8.0, step=0.02):
    axis = np.arange(-half_width, half_width, step) + step / 2
    x, y = np.meshgrid(axis, axis)
    return x[None], y[None], step**2


def test_half_of_the_light_is_inside_the_product_average_ellipse():
    x, y, area = plane()
    source = SourceModel(np.ones((1, 1)), 0.0, 0.0, 0.5, 1.0, 0.6, 0.7)
    light = source_surface_brightness(x, y, source) * area
    u, v = np.cos(0.7) * x + np.sin(0.7) * y, -np.sin(0.7) * x + np.cos(0.7) * y
    inside = 0.6 * u**2 + v**2 / 0.6 < 0.25
    assert light.sum() == pytest.approx(1.0, abs=2e-4)
    assert light[inside].sum() == pytest.approx(0.5, abs=1e-3)


def test_clumps_take_their_light_from_the_total():
    x, y, area = plane()
    clumps = Clumps([[0.2, 0.1]], [[0.5, -0.4]], [[0.0, 0.3]], [[0.08, 0.1]])
    source = SourceModel(np.ones((1, 1)), 0.2, 0.1, 0.5, 1.0, 0.6, 0.7, clumps=clumps)
    smooth = SourceModel(np.ones((1, 1)), 0.2, 0.1, 0.5, 1.0, 0.6, 0.7)
    light, body = source_surface_brightness(x, y, source), source_surface_brightness(x, y, smooth)
    assert light.sum() * area == pytest.approx(1.0, abs=2e-4)
    excess = light - 0.7 * body
    assert (excess * (x > 0.4)).sum() * area == pytest.approx(0.2, abs=1e-3)
    assert (excess * x).sum() / excess.sum() == pytest.approx((0.2 * 0.7 - 0.1 * 0.2) / 0.3, abs=1e-3)


def test_clumps_brighter_than_their_source_are_refused():
    with pytest.raises(OptionError, match="flux_fraction"):
        Clumps([[0.8, 0.4]], [[0.0, 0.0]], [[0.0, 0.0]], [[0.1, 0.1]])


def test_source_index_out_of_range_is_refused_by_name():
    with pytest.raises(OptionError, match="sersic_index"):
        SourceModel(np.ones((1, 3)), 0.0, 0.0, 0.5, 9.0, 0.6, 0.7)
