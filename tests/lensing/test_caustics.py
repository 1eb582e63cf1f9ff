"""Regions of the source plane against closed forms and images counted by shooting rays."""

import numpy as np
import pytest
from scipy.optimize import brentq, root

from skytrace.errors import OptionError
from skytrace.lensing import LensModel, multiply_imaged_area, ray_shoot, sample_source_positions
from skytrace.lensing.caustics import FAINTEST_IMAGE, point_images, source_region_area


def counted_images(lens, cell=0.05, reach=2.0):
    """Images of every point of a source-plane grid: triangles of a polar mesh of the image plane are mapped, and the
    points inside counted. The mesh has a hole at the lens centre, where the deflection jumps."""
    radius = np.concatenate([np.geomspace(1e-4, 0.02, 20), np.arange(0.03, 6.0, 0.01)])
    angle = np.linspace(0.0, 2 * np.pi, 721)
    x, y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    bx, by = (value[0] for value in ray_shoot(x[None], y[None], lens))
    points = np.arange(-reach, reach, cell) + cell / 2 + 0.0031
    px, py = np.meshgrid(points, points)
    count = np.zeros(px.shape, dtype=int)
    corner = (slice(None, -1), slice(1, None))
    for vertices in (((0, 0), (0, 1), (1, 0)), ((1, 1), (1, 0), (0, 1))):
        tx, ty = (np.stack([b[corner[i], corner[j]].ravel() for i, j in vertices]) for b in (bx, by))
        keep = (np.abs(tx[0]) < reach) & (np.abs(ty[0]) < reach)
        tx, ty = tx[:, keep], ty[:, keep]
        for i in range(-1, 2):
            for j in range(-1, 2):
                column = np.floor((tx[0] + reach) / cell).astype(int) + i
                row = np.floor((ty[0] + reach) / cell).astype(int) + j
                good = (column >= 0) & (column < len(points)) & (row >= 0) & (row < len(points))
                qx, qy = points[column.clip(0, len(points) - 1)], points[row.clip(0, len(points) - 1)]
                turn = [(tx[k] - qx) * (ty[(k + 1) % 3] - qy) - (tx[(k + 1) % 3] - qx) * (ty[k] - qy) for k in range(3)]
                hit = good & (((turn[0] > 0) == (turn[1] > 0)) & ((turn[1] > 0) == (turn[2] > 0)))
                np.add.at(count, (row[hit], column[hit]), 1)
    return px, py, count


@pytest.mark.parametrize(("q", "gamma1", "gamma2"), [(1.0, 0, 0), (0.7, 0, 0), (0.4, 0, 0), (0.8, 0.06, -0.04)])
def test_multiply_imaged_area_and_counts_match_brute_force(q, gamma1, gamma2):
    lens = LensModel(1.0, q, 0.5, 0.0, 0.0, gamma1, gamma2)
    px, py, count = counted_images(lens)
    brute = (count >= 2).mean() * 16.0
    assert multiply_imaged_area(lens)[0] == pytest.approx(brute, rel=0.02)
    rows = np.random.default_rng(1).choice(px.size, 300, replace=False)
    many = lens.take(np.zeros(300, dtype=int))
    found, _ = point_images(many, px.ravel()[rows], py.ravel()[rows])
    assert (found == count.ravel()[rows]).mean() > 0.96  # the rest lie on a caustic's cell


def test_magnification_of_a_point_on_a_round_lens_is_the_closed_form():
    beta = np.geomspace(0.01, 4.0, 200)
    beta = beta[np.abs(beta - 1.3) > 0.01]
    lens = LensModel(np.full(len(beta), 1.3), 1.0, 0.3)
    count, total = point_images(lens, beta * np.cos(beta), beta * np.sin(beta))
    assert (count == np.where(beta < 1.3, 2, 1)).all()
    assert total == pytest.approx(np.where(beta < 1.3, 2.6 / beta, 1 + 1.3 / beta), rel=2e-6)


def test_magnification_of_a_point_on_a_sheared_ellipse_is_the_sum_over_its_images():
    lens, step = LensModel(1.2, 0.6, 0.4, gamma1=0.05, gamma2=-0.03), 1e-5

    def missed(p, x, y):
        return np.concatenate(ray_shoot(*p.reshape(2, 1, 1, 1), lens), axis=None) - (x, y)

    rng = np.random.default_rng(2)
    for source in rng.uniform(-0.7, 0.7, (12, 2)):
        found = [root(missed, start, args=tuple(source), tol=1e-12) for start in rng.uniform(-2.0, 2.0, (60, 2))]
        images = {tuple(np.round(one.x, 6)): one.x for one in found if one.success and np.hypot(*one.x) > 1e-6}
        total = 0.0
        for image in images.values():
            columns = [(missed(image + d, *source) - missed(image - d, *source)) / (2 * step) for d in np.eye(2) * step]
            total += 1.0 / abs(np.linalg.det(columns))
        count, ours = point_images(lens, *source)
        assert (count[0], ours[0]) == (len(images), pytest.approx(total, rel=1e-4))


def test_round_lens_region_is_the_einstein_disc_for_both_rules():
    lens = LensModel([0.5, 2.0], 1.0, 0.0)
    expected = np.pi * np.array([0.25, 4.0])
    assert np.allclose(multiply_imaged_area(lens), expected, rtol=2e-4)
    assert np.allclose(source_region_area(lens, rule="magnification"), expected, rtol=5e-3)  # mu = 2 theta_E / beta


def test_area_of_an_ellipse_without_naked_cusps_is_that_of_the_cut():
    # Kormann et al. (1994), eq. 30: the cut in closed form; its area by quadrature.
    q = 0.8
    angle = np.linspace(0, 2 * np.pi, 20001)
    f = np.sqrt(1 - q * q)
    psi = np.sqrt(q * q * np.cos(angle) ** 2 + np.sin(angle) ** 2)
    x, y = (np.sqrt(q) / f * part for part in (np.arctan(f * np.cos(angle) / psi), np.arctanh(f * np.sin(angle) / psi)))
    area = 0.5 * abs(np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x)))
    assert multiply_imaged_area(LensModel(1.0, q, 0.0))[0] == pytest.approx(area, rel=1e-3)


def test_draws_are_multiply_imaged_and_uniform():
    n = 4000
    lens = LensModel(np.full(n, 1.2), 0.7, 0.5, 0.1, -0.2, 0.04, 0.02)
    x, y = sample_source_positions(lens, rng=np.random.default_rng(8))
    count, _ = point_images(lens, x, y)
    assert (count >= 2).mean() > 0.99
    # Uniform: the mean squared radius is that of a far larger, independent rejection sample.
    rng = np.random.default_rng(9)
    bx, by = rng.uniform(-2, 2, (2, n))
    inside = point_images(lens, bx, by)[0] >= 2
    for ours, theirs in ((x, bx[inside]), (y, by[inside])):
        assert ours.mean() == pytest.approx(theirs.mean(), abs=5 * theirs.std() / np.sqrt(inside.sum()))
        assert ours.std() == pytest.approx(theirs.std(), rel=0.06)
    assert multiply_imaged_area(lens)[0] == pytest.approx(inside.mean() * 16.0, rel=0.08)


def test_magnification_rule_draws_exceed_the_minimum():
    n = 200
    lens = LensModel(np.full(n, 1.2), 0.7, 0.5, 0.1, -0.2, 0.04, 0.02)
    x, y = sample_source_positions(lens, rule="magnification", rng=np.random.default_rng(8))
    assert point_images(lens, x, y)[1].min() > 1.99


def test_a_position_depends_on_its_own_lens_and_uniforms_alone():
    uniforms = np.random.default_rng(4).random((50, 3))
    lens = LensModel(np.linspace(0.5, 3, 50), 0.7, 0.5)
    x, y = sample_source_positions(lens, uniforms=uniforms)
    one_x, one_y = sample_source_positions(lens.take([31]), uniforms=uniforms[31:32])
    assert (one_x[0], one_y[0]) == (x[31], y[31])


def test_neither_uniforms_nor_rng_and_unknown_rules_are_refused():
    lens = LensModel(1.0, 0.7, 0.5)
    with pytest.raises(OptionError, match="exactly one"):
        sample_source_positions(lens)
    with pytest.raises(OptionError, match="rule"):
        sample_source_positions(lens, rule="anywhere", uniforms=[[0.1, 0.2]])


@pytest.mark.parametrize("slope", [1.7, 1.9, 2.2])
def test_region_of_a_round_power_law_is_the_disc_of_its_closed_form(slope):
    # m = (theta_E/r)^t maps r to (m - 1) r inside the Einstein ring. t < 1: the radial caustic is at (1 - t) m = 1.
    # t > 1: the inner image has magnification 1 / ((m - 1)(1 + (t - 1) m)).
    t = slope - 1.0
    m = 1 / (1 - t)
    if t > 1:
        m = brentq(lambda m: (m - 1) * (1 + (t - 1) * m) - 1 / FAINTEST_IMAGE, 1.0, 1e6)
    expected = np.pi * (1.3 * (m - 1) * m ** (-1 / t)) ** 2
    assert multiply_imaged_area(LensModel(1.3, 1.0, 0.3, gamma_epl=slope))[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("q", "slope"), [(0.7, 1.6), (0.5, 1.9)])
def test_region_of_a_shallow_power_law_matches_brute_force(q, slope):
    lens = LensModel(1.0, q, 0.5, 0.0, 0.0, 0.05, -0.03, slope)
    _, _, count = counted_images(lens)
    assert multiply_imaged_area(lens)[0] == pytest.approx((count >= 2).mean() * 16.0, rel=0.03)


def test_region_tends_to_the_isothermal_one_and_other_rules_refuse_a_slope():
    areas = [multiply_imaged_area(LensModel(1.0, 0.7, 0.5, gamma_epl=slope))[0] for slope in (1.9999, 2.0)]
    assert areas[0] == pytest.approx(areas[1], rel=4e-3)
    sloped = LensModel(1.0, 0.7, 0.5, gamma_epl=2.1)
    with pytest.raises(OptionError, match="gamma_epl = 2 only"):
        sample_source_positions(sloped, rule="magnification", uniforms=[[0.1, 0.2]])
    with pytest.raises(OptionError, match="gamma_epl = 2 only"):
        point_images(sloped, 0.0, 0.0)
