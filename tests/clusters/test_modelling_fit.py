"""A cluster made by lenstronomy is recovered: NUTS and emcee agree, and what follows is the peer's truth."""

import numpy as np
import pytest

from benchmarks.cluster_modelling import mock_cluster
from skytrace.clusters import modelling_derived
from skytrace.clusters.modelling_derived import critical_curves, derived_quantities, interval_68
from skytrace.clusters.modelling_fit import fit_emcee, fit_nuts
from skytrace.clusters.modelling_options import ClusterLensOptions, LensSamplerOptions
from skytrace.errors import CatalogueError

pytestmark = pytest.mark.slow  # a minute, nearly all of it compilation

OPTIONS = ClusterLensOptions()
SAMPLER = LensSamplerOptions(n_starts=12, n_chains=2, n_warmup=150, n_samples=250, ess_min=100.0, r_hat_max=1.05)


@pytest.fixture(scope="module")
def fitted():
    images, truth = mock_cluster(1, options=OPTIONS, n_members=6)
    posterior = fit_nuts(images, options=OPTIONS, sampler=SAMPLER)
    return truth, posterior, derived_quantities(posterior, n_draws=60, cells=80)


def test_nuts_converges_on_the_truth(fitted):
    truth, posterior, derived = fitted
    assert posterior.converged, posterior.failures
    figures = derived.figures()
    assert figures["einstein_radius_arcsec"] == pytest.approx(truth.einstein_radius_arcsec, rel=0.03)
    assert figures["mass_msun"] == pytest.approx(truth.mass_msun, rel=0.06)
    assert figures["draws_without_curve"] == 0.0
    for name, draws in posterior.values.items():
        assert abs(draws.mean() - truth.parameters[name]) < 4.0 * draws.std(), name
    # two coordinates of 0.3 arcsec each, less what the fit absorbs
    assert 0.15 < figures["image_rms_arcsec"] < 0.55


def test_a_curve_that_leaves_the_grid_is_found_on_a_wider_one(fitted, monkeypatch):
    _, posterior, derived = fitted
    monkeypatch.setattr(modelling_derived, "_GRID_OVER_IMAGES", 0.6)
    again = derived_quantities(posterior, n_draws=60, cells=80)
    assert not np.isnan(again.einstein_radius_arcsec).any()
    np.testing.assert_allclose(again.einstein_radius_arcsec, derived.einstein_radius_arcsec, rtol=3e-3)
    monkeypatch.setattr(modelling_derived, "_WIDENINGS", 1)
    lost = derived_quantities(posterior, n_draws=60, cells=80).figures()
    assert lost["draws_without_curve"] == 1.0
    assert np.isnan([lost["einstein_radius_arcsec"], lost["mass_msun_low"]]).all()
    assert lost["image_rms_arcsec"] > 0.0


def test_magnifications_and_delays_are_the_peers(fitted):
    truth, _, derived = fitted
    low, median, high = interval_68(derived.magnification)
    plain = np.abs(truth.magnification) < 5.0
    assert (np.sign(median) == np.sign(truth.magnification))[plain].all()
    assert (np.abs(median - truth.magnification) < 4.0 * (high - low))[plain].all()
    delays, scatter = np.median(derived.time_delay_days, axis=0), derived.time_delay_days.std(axis=0)
    late = truth.time_delay_days > 0
    assert (np.abs(delays - truth.time_delay_days)[late] < 4.0 * scatter[late]).all()


def test_emcee_samples_the_same_density(fitted):
    _, posterior, _ = fitted
    other = fit_emcee(posterior.images, options=OPTIONS, sampler=SAMPLER, n_steps=450, mode=posterior.mode)
    for name, draws in posterior.values.items():
        assert abs(other.values[name].mean() - draws.mean()) < 0.35 * draws.std(), name
        assert other.values[name].std() == pytest.approx(draws.std(), rel=0.35), name


def test_a_larger_redshift_has_a_larger_critical_curve_and_no_source_is_before_the_lens(fitted):
    _, posterior, _ = fitted
    near, far = (critical_curves(posterior, z_source=z, cells=60) for z in (1.0, 3.0))
    reach = [max(np.hypot(*line.T).max() for line in curves.tangential) for curves in (near, far)]
    assert reach[0] < reach[1]
    assert len(far.tangential_caustics) == len(far.tangential)
    with pytest.raises(CatalogueError, match="not behind the lens"):
        critical_curves(posterior, z_source=0.2)
