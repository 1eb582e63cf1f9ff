"""Identified images of the mock solve the lens equation that its pixels are traced by."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skytrace.clusters.modelling_images import critical_mass_per_arcsec2
from skytrace.clusters.modelling_options import ClusterLensOptions
from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.surveys.clusters.galaxies import draw_field
from skytrace.surveys.clusters.identified import (
    IDENTIFIED_COLUMNS,
    MEMBER_COLUMNS,
    IdentifyOptions,
    ImageTables,
    MockClusterImages,
    deflection,
)
from skytrace.surveys.clusters.options import MockClusterOptions
from skytrace.surveys.clusters.population import simulate_clusters
from skytrace.surveys.clusters.rendering import FIELD_STREAM

OPTIONS = MockClusterOptions(n_clusters=60, lens_fraction=1.0)
RULE = IdentifyOptions(position_err_arcsec=1e-3, log_flux_err=1e-3)


@pytest.fixture(scope="module")
def found():
    names = [f"mock-{k:07d}" for k in range(8)]
    return names, MockClusterImages(OPTIONS, RULE).images(names)


def _field(row):
    rng = np.random.default_rng([OPTIONS.seed, FIELD_STREAM, int(row["number"])])
    half = 0.5 * OPTIONS.pixels * OPTIONS.pixel_scale_arcsec
    return draw_field(row, half, rng, red_projection_share=OPTIONS.red_projection_share)


def test_the_images_of_a_family_come_from_one_place_behind(found):
    _, images = found
    assert len(images) >= 12 and set(images.columns) == set(IDENTIFIED_COLUMNS)
    rows = simulate_clusters(np.arange(8), options=OPTIONS).set_index("cluster_id", drop=False)
    for (name, _), mine in images.groupby(["cluster_id", "family"]):
        x, y = mine["x_arcsec"].to_numpy(), mine["y_arcsec"].to_numpy()
        field = _field(rows.loc[name])
        alpha_x, alpha_y = deflection(x, y, rows.loc[name], field)
        behind = np.stack([x - alpha_x, y - alpha_y])
        assert len(mine) >= RULE.least_images
        np.testing.assert_allclose(behind, behind.mean(axis=1, keepdims=True) + 0 * behind, atol=0.02)
        gaps = np.hypot(field.behind.x - behind[0].mean(), field.behind.y - behind[1].mean())
        assert gaps.min() < 0.02
        assert (mine["z_source"] == rows.loc[name, "z_source"]).all()


def test_the_deflection_is_that_of_the_pixels():
    from skytrace.surveys.clusters import rendering
    from skytrace.surveys.clusters.ray_kernels import subtract_subhalos

    row = simulate_clusters(np.array([3]), options=OPTIONS).to_dict("records")[0]
    field = _field(row)
    axis = np.linspace(-12.0, 12.3, 25)
    x, y = np.meshgrid(axis, axis)
    halo = rendering.nfw_deflection(x, y, row["kappa_s"], row["scale_arcsec"], row["epsilon"], row["phi_rad"])
    galaxy = rendering._bcg_deflection(x, y, row["theta_e_bcg_arcsec"], max(field.foreground.q[0], 0.6), row["phi_rad"])
    beta_x, beta_y = x - halo[0] - galaxy[0], y - halo[1] - galaxy[1]
    subtract_subhalos(axis, field.subhalos, beta_x, beta_y)
    alpha_x, alpha_y = deflection(x, y, row, field)
    np.testing.assert_allclose(x - alpha_x, beta_x, atol=1e-5)
    np.testing.assert_allclose(y - alpha_y, beta_y, atol=1e-5)


class RoundImages(MockClusterImages):
    """The mock's clusters made round, without galaxies but the BCG."""

    def _rows(self, cluster_ids):
        return [{**row, "epsilon": 0.0} for row in super()._rows(cluster_ids)]

    def _field(self, row):
        field = super()._field(row)
        galaxies = replace(field.foreground, q=np.ones_like(field.foreground.q))
        return replace(field, foreground=galaxies, subhalos=np.zeros((0, 4)))


def test_the_true_radius_of_a_round_cluster_is_the_mocks_own_and_its_galaxies_only_add_to_it():
    table = simulate_clusters(np.arange(8), options=OPTIONS)
    for row in table[table["confuser"] != "merger"].head(3).to_dict("records"):  # a second halo widens the curve
        options = ClusterLensOptions(z_reference=row["z_source"])
        name = [row["cluster_id"]]
        bare = RoundImages(OPTIONS, RULE).truth(name, options=options).iloc[0]
        assert bare["einstein_radius_arcsec"] == pytest.approx(row["theta_e_arcsec"], rel=3e-3)
        inside = np.pi * row["theta_e_arcsec"] ** 2 * critical_mass_per_arcsec2(
            row["z_lens"], row["z_source"], options=options
        )  # fmt: skip
        assert bare["mass_msun"] == pytest.approx(inside, rel=6e-3)  # mean convergence 1
        whole = MockClusterImages(OPTIONS, RULE).truth(name, options=options).iloc[0]
        assert 1.0 < whole["einstein_radius_arcsec"] / row["theta_e_arcsec"] < 1.35


def test_members_are_the_galaxies_of_the_cluster_brightest_first(found):
    names, _ = found
    members = MockClusterImages(OPTIONS, RULE).members(names)
    assert set(members.columns) == set(MEMBER_COLUMNS)
    first = members.groupby("cluster_id").first()
    np.testing.assert_allclose(first[["x_arcsec", "y_arcsec"]], 0.0)
    assert (first["luminosity"] > 1.5).all()
    assert (members["luminosity"] >= RULE.least_luminosity).all()


def test_images_do_not_depend_on_who_else_is_asked_for(found):
    names, images = found
    alone = MockClusterImages(OPTIONS, RULE).images(names[2:3])
    pd.testing.assert_frame_equal(alone, images[images["cluster_id"] == names[2]].reset_index(drop=True))


def test_unknown_clusters_options_and_columns_are_named(tmp_path):
    with pytest.raises(SurveyError, match="redmapper-17"):
        MockClusterImages(OPTIONS).images(["redmapper-17"])
    with pytest.raises(SurveyError, match="no cluster"):
        MockClusterImages(OPTIONS).images(["mock-0000060"])
    with pytest.raises(OptionError, match="most_family"):
        MockClusterImages.from_mappings({}, {"most_family": 3})
    pd.DataFrame({"cluster_id": ["a"], "x_arcsec": [1.0]}).to_csv(tmp_path / "images.csv", index=False)
    with pytest.raises(CatalogueError, match=r"images.csv lacks columns family, y_arcsec"):
        ImageTables(tmp_path).images(["a"])
    table = pd.DataFrame([["a", 1.0, 2.0, 0.5], ["b", 0, 0, 1.0], ["a", 0, 0, 4.0]], columns=list(MEMBER_COLUMNS))
    table.to_csv(tmp_path / "members.csv", index=False)
    assert ImageTables(tmp_path).members(["a"])["luminosity"].to_list() == [4.0, 0.5]
    assert not len(ImageTables(tmp_path).truth(["a"], options=ClusterLensOptions()))
