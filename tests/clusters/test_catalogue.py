"""Einstein radii from catalogues: known values, limits, and 74,649 real clusters."""

import numpy as np
import pandas as pd
import pytest

from skytrace.clusters import catalogue_features, theta_e_from_l_x, theta_e_from_richness, theta_e_from_sigma_v
from skytrace.clusters.catalogue import CATALOGUE_SCHEMA, comoving_distance_mpc, sigma_v_from_l_x
from skytrace.errors import CatalogueError


def test_a_cluster_of_fifty_at_z_04_has_ten_arcsec():
    assert theta_e_from_richness(50.0, 0.4) == pytest.approx(10.0)
    assert theta_e_from_richness(50.0 * 2**2.5, 0.4) == pytest.approx(20.0)
    assert theta_e_from_richness(50.0, 1.8) == pytest.approx(10.0 * np.sqrt(2.0))


def test_distances_are_astropys():
    from astropy.cosmology import FlatLambdaCDM

    z = np.array([0.01, 0.3, 1.1, 5.0])
    expected = FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0).comoving_distance(z).value
    np.testing.assert_allclose(comoving_distance_mpc(z), expected, rtol=3e-6)


def test_an_isothermal_sphere_of_1000_km_s_bends_by_28_8_arcsec_times_the_distance_ratio():
    ratio = 1.0 - comoving_distance_mpc(0.3) / comoving_distance_mpc(2.0)
    assert theta_e_from_sigma_v(1000.0, 0.3) == pytest.approx(28.84 * ratio, rel=1e-3)
    assert theta_e_from_sigma_v(1000.0, 2.5) == 0.0


def test_x_ray_luminosity_gives_the_dispersion_of_its_mass():
    # L500 of M500 = 3e14 Msun at z = 0 is 10^0.274 1e44 erg/s; its M200 (c = 5) is 4.2e14, sigma 720 km/s
    assert sigma_v_from_l_x(10**44.274, 0.0) == pytest.approx(1082.9 * (0.7 * 0.3 / 0.7225) ** 0.3361, rel=0.01)
    assert theta_e_from_l_x(1e45, 0.3) > theta_e_from_l_x(1e44, 0.3) > 0.0


def test_what_a_catalogue_does_not_know_is_nan_and_what_it_cannot_mean_is_refused():
    table = pd.DataFrame({"richness": [30.0, 60.0], "redshift": [0.3, 0.5], "sigma_v_km_s": [800.0, np.nan]})
    found = catalogue_features(table)
    assert list(found) == list(CATALOGUE_SCHEMA)
    assert np.isfinite(found["theta_e_sigma_v_arcsec"][0]) and np.isnan(found["theta_e_sigma_v_arcsec"][1])
    assert found["theta_e_l_x_arcsec"].isna().all()
    with pytest.raises(CatalogueError, match=r"richness = .*-1\.0.* in row 1 is outside its allowed range \[0, 1000\]"):
        catalogue_features(table.assign(richness=[30.0, -1.0]))
    with pytest.raises(CatalogueError, match="lacks redshift"):
        catalogue_features(table.drop(columns="redshift"))


def test_real_clusters_have_proxies_of_a_few_to_a_few_tens_of_arcsec(real_data):
    table = pd.read_parquet(real_data / "imaging/catalogs/cluster_catalog.parquet").rename(columns={"z_cl": "redshift"})
    found = catalogue_features(table)["theta_e_richness_arcsec"]
    assert len(found) == 74_649 and found.notna().all()
    assert found.min() > 5.0 and found.max() < 20.0 and 7.0 < found.median() < 9.0
