"""The redshift basis: orthogonal after QR, and its back-transform a solve, not a product."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytrace.errors import CatalogueError
from skytrace.supernovae.distance_basis import basis_diagnostics, distance_basis, qfd_basis


@pytest.fixture(scope="module")
def z():
    return np.random.default_rng(1).uniform(0.02, 1.2, 2000)


def test_columns_have_unit_rms_and_no_correlation(z):
    basis = distance_basis(z)
    assert basis.q.T @ basis.q / len(z) == pytest.approx(np.eye(3), abs=1e-12)
    assert basis.q.mean(axis=0) == pytest.approx(0.0, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(5, 400), st.integers(1, 3), st.booleans(), st.integers(0, 2**31))
def test_coefficients_come_back_and_predict_the_same(n, n_terms, centred, seed):
    rng = np.random.default_rng(seed)
    z = np.sort(rng.uniform(0.01, 1.5, n))
    basis, c = distance_basis(z, n_terms=n_terms, centred=centred), rng.normal(size=(7, n_terms))
    p = basis.physical(c)
    assert basis.orthogonal(p) == pytest.approx(c, abs=1e-7 * np.abs(p).max() + 1e-9)
    phi = qfd_basis(z, n_terms=n_terms) - basis.mean
    assert p @ phi.T == pytest.approx(c @ basis.q.T, abs=1e-8)


def test_the_product_of_the_rival_pipeline_is_not_the_back_transform(z):
    basis = distance_basis(z)
    c = np.array([1.78, -0.55, 0.26])  # of DES distances
    phi = qfd_basis(z) - basis.mean
    wrong = np.std(phi @ (basis.r @ c) - basis.q @ c)
    assert wrong > 1.0, "in units of alpha, whose whole spread is 1.9"
    assert np.std(phi @ basis.physical(c) - basis.q @ c) < 1e-11


def test_a_basis_predicts_other_redshifts_as_its_own(z):
    basis = distance_basis(z)
    assert basis.rows(z[:50]) == pytest.approx(basis.q[:50], abs=1e-10)
    p = np.array([3.0, -1.0, 2.0])
    other = np.array([0.005, 2.3])
    assert basis.rows(other) @ basis.orthogonal(p) == pytest.approx((qfd_basis(other) - basis.mean) @ p, abs=1e-9)


def test_coefficients_mean_the_same_for_more_supernovae(z):
    few, many = distance_basis(z), distance_basis(np.repeat(z, 5))
    p = np.array([10.0, -4.0, -7.0])
    assert many.orthogonal(p) == pytest.approx(few.orthogonal(p), rel=1e-9)


def test_conditioning_is_counted_once_and_its_square_as_such(z):
    figures = basis_diagnostics(z)
    phi = qfd_basis(z)
    eigenvalues = np.linalg.eigvalsh(phi.T @ phi)
    assert figures["kappa_normal"] == pytest.approx(eigenvalues[-1] / eigenvalues[0], rel=1e-6)
    assert figures["kappa_raw"] == pytest.approx(np.sqrt(figures["kappa_normal"]), rel=1e-12)
    assert figures["kappa_orthogonal"] == pytest.approx(1.0, abs=1e-9)
    assert figures["correlation"]["ln(1+z), z"] == pytest.approx(np.corrcoef(np.log1p(z), z)[0, 1])


def test_too_few_redshifts_are_refused():
    with pytest.raises(CatalogueError, match="3 distinct redshifts"):
        distance_basis([0.1, 0.2, 0.3, 0.3])
    with pytest.raises(CatalogueError, match="finite"):
        distance_basis([0.1, np.nan, 0.3, 0.4, 0.5])


def test_three_anchored_terms_imitate_flat_lambdacdm_far_below_any_supernovas_error():
    """What docs/supernova.md says of them: to a few 1e-4 mag up to z = 1, which no sample of today can see."""
    from skytrace.supernovae.cosmology import flat_lcdm_distance_modulus, low_redshift_distance_modulus

    redshift = np.linspace(0.05, 1.0, 2000)
    beyond = flat_lcdm_distance_modulus(redshift, omega_m=0.31) - low_redshift_distance_modulus(redshift)
    terms = np.column_stack([np.ones_like(redshift), qfd_basis(redshift)])
    residual = beyond - terms @ np.linalg.lstsq(terms, beyond, rcond=None)[0]
    assert residual.std() == pytest.approx(1.3e-4, rel=0.05) and np.abs(residual).max() == pytest.approx(
        4.4e-4, rel=0.05
    )
