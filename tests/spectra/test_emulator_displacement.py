"""Errors that look like other parameters: displacements and the rest are found again from residuals of both."""

import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.spectra.boxes import box_shares, box_values
from skytrace.spectra.emulator_covariance import likely_covariance
from skytrace.spectra.emulator_displacement import fit_displacement, unit_derivatives

BINS = 80
PLACE = np.linspace(0.0, 1.0, BINS)
TRUE = np.array([0.02, 0.06, 0.01])
REST = 0.002**2 * np.exp(-np.abs(PLACE[:, None] - PLACE) / 0.05)


def family(n, seed):
    """(residuals, derivatives) of lines whose place, depth and slope differ from model to model."""
    rng = np.random.default_rng(seed)
    place, width = rng.uniform(0.2, 0.8, (n, 1)), rng.uniform(0.03, 0.08, (n, 1))
    line = np.exp(-0.5 * ((PLACE - place) / width) ** 2)
    slopes = np.stack([(PLACE - place) / width * line, 0.5 * line, 0.4 * np.cos(3.0 * np.pi * (PLACE - place))], axis=2)
    moved = np.einsum("hmd,hd->hm", slopes, TRUE * rng.standard_normal((n, 3)))
    return moved + rng.standard_normal((n, BINS)) @ np.linalg.cholesky(REST).T, slopes


def along(residual, slopes, covariance, displacement):
    """Residuals along their own derivatives, in sigma."""
    pulls = []
    for left, slope in zip(residual, slopes, strict=True):
        whole = covariance + (slope * displacement**2) @ slope.T
        weighted = np.linalg.solve(whole, np.column_stack([slope, left]))
        size, vectors = np.linalg.eigh(slope.T @ weighted[:, :-1])
        pulls.append(vectors.T @ (slope.T @ weighted[:, -1]) / np.sqrt(size))
    return np.array(pulls)


def test_displacement_and_the_rest_are_found_again():
    found = fit_displacement(*family(2000, seed=1))
    np.testing.assert_allclose(found.displacement / np.sqrt(found.inflation), TRUE, rtol=0.06)
    np.testing.assert_allclose(
        np.sqrt(np.diag(found.covariance) / found.inflation), np.sqrt(np.diag(REST)), rtol=0.1
    )  # fmt: skip
    assert found.inflation == pytest.approx(1.0, abs=0.05)


def test_models_left_out_scatter_as_it_says_where_a_covariance_alone_is_too_sure():
    learnt, unseen = family(150, seed=2), family(1000, seed=3)
    found = fit_displacement(*learnt)
    ours = along(*unseen, found.covariance, found.displacement)
    assert np.sqrt((ours**2).mean()) == pytest.approx(1.0, abs=0.12)
    theirs = along(*unseen, likely_covariance(learnt[0]), np.zeros(3))
    assert np.sqrt((theirs**2).mean()) > 1.5


def test_derivatives_are_by_shares_of_the_box_on_its_axes():
    box = (np.array([1.0, -2.0]), np.array([100.0, 2.0]), np.array([True, False]))

    def predict(values):
        return np.stack([np.log(values[:, 0]), values[:, 1] ** 2, values[:, 0] * 0.0 + 3.0], axis=1)

    values = np.array([[10.0, 1.0], [1.0, -0.4]])
    found = unit_derivatives(predict, values, box)
    wanted = np.zeros((2, 3, 2))
    wanted[:, 0, 0], wanted[:, 1, 1] = np.log(100.0), 2.0 * values[:, 1] * 4.0
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_places_in_a_box_come_back():
    box = (np.array([1.0, -2.0]), np.array([100.0, 2.0]), np.array([True, False]))
    shares = np.array([[0.0, 1.0], [0.5, 0.25]])
    values = box_values(shares, box)
    np.testing.assert_allclose(values, [[1.0, 2.0], [10.0, -1.0]])
    np.testing.assert_allclose(box_shares(values, box), shares, atol=1e-12)


def test_too_few_models_and_shapes_that_do_not_fit_are_refused():
    residual, slopes = family(9, seed=4)
    with pytest.raises(CatalogueError, match="9 models are too few"):
        fit_displacement(residual, slopes)
    with pytest.raises(CatalogueError, match="do not fit"):
        fit_displacement(residual[:, :-1], slopes)
