"""Injected lenses: a lens is its id's own, and the populations are those asked for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.lensing.population import PopulationOptions, draw_lenses, host_light_shape
from skytrace.statistics.streams import standard_normals, stream_uniforms


def hosts(n: int, *, e1: float = 0.2, e2: float = 0.0, ebv: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"shape_e1": np.full(n, e1), "shape_e2": np.full(n, e2), "ebv": np.full(n, ebv)})


def test_a_lens_is_the_same_alone_and_in_any_order():
    ids = np.arange(40, 80)
    together = draw_lenses(ids, np.full(40, 1.5), hosts(40), seed=7).table
    backwards = draw_lenses(ids[::-1], np.full(40, 1.5), hosts(40), seed=7).table
    alone = draw_lenses(ids[13:14], np.full(1, 1.5), hosts(1), seed=7).table
    pd.testing.assert_frame_equal(backwards.iloc[::-1].reset_index(drop=True), together)
    pd.testing.assert_frame_equal(alone, together.iloc[13:14].reset_index(drop=True))
    other = draw_lenses(ids, np.full(40, 1.5), hosts(40), seed=8).table
    assert not np.isclose(other["lens_q"], together["lens_q"]).any()


def test_number_counts_rise_with_the_slope_asked_for():
    draw = draw_lenses(np.arange(20_000), np.full(20_000, 1.0), hosts(20_000), seed=1)
    mag = draw.table["source_mag_r"]
    assert mag.between(22, 26).all()
    counts, _ = np.histogram(mag, bins=[24, 25, 26])
    assert np.log10(counts[1] / counts[0]) == pytest.approx(0.33, abs=0.02)


def test_mass_follows_light_with_scatter():
    n = 20_000
    table = draw_lenses(np.arange(n), np.full(n, 1.0), hosts(n, e1=0.2, e2=0.1), seed=1).table
    q, phi = (value[0] for value in host_light_shape(hosts(1, e1=0.2, e2=0.1)))
    assert table["lens_q"].mean() == pytest.approx(q, abs=0.01)
    assert table["lens_q"].std() == pytest.approx(0.11, abs=0.01)
    turned = np.angle(np.exp(2j * (table["lens_phi_rad"] - phi))) / 2
    assert np.degrees(turned.std()) == pytest.approx(10.0, abs=0.3)
    assert np.degrees(turned.mean()) == pytest.approx(0.0, abs=0.3)


def test_a_host_elongated_north_south_has_its_major_axis_along_y():
    q, phi = host_light_shape(hosts(1, e1=1 / 3, e2=0.0))  # Tractor: position angle 0 = north
    assert q[0] == pytest.approx(0.5)
    assert abs(np.cos(phi[0])) == pytest.approx(0.0, abs=1e-12)


def test_extinction_dims_the_flux_and_leaves_the_drawn_magnitude():
    clear = draw_lenses(np.arange(5), np.full(5, 1.0), hosts(5), seed=1)
    dusty = draw_lenses(np.arange(5), np.full(5, 1.0), hosts(5, ebv=0.1), seed=1)
    assert (clear.table["source_mag_r"] == dusty.table["source_mag_r"]).all()
    ratio = dusty.sources.flux_nmgy / clear.sources.flux_nmgy
    assert -2.5 * np.log10(ratio[0]) == pytest.approx([0.3214, 0.2165, 0.1211])


def test_families_come_in_the_share_asked_for_and_clumps_keep_the_flux():
    draw = draw_lenses(
        np.arange(4000), np.full(4000, 1.0), hosts(4000), options=PopulationOptions(clumpy_share=0.3), seed=2
    )
    family = draw.table["source_family"]
    assert (family == 2).mean() == pytest.approx(0.3, abs=0.03)
    fraction = draw.sources.clumps.flux_fraction.sum(axis=1)
    assert (fraction[family == 1] == 0).all()
    assert fraction[family == 2].min() >= 0.1
    assert fraction.max() <= 0.5 + 1e-9


def test_slopes_are_those_of_auger_2010_and_move_no_other_number():
    isothermal = PopulationOptions(clumpy_share=0.0)
    sloped = replace(isothermal, slope_mean=2.08, slope_sigma=0.16)
    arguments = (np.arange(4000), np.full(4000, 1.0), hosts(4000))
    plain, drawn = (draw_lenses(*arguments, options=options, seed=2) for options in (isothermal, sloped))
    assert (plain.lenses.gamma_epl == 2.0).all() and "gamma_epl" not in plain.table
    slope = drawn.table["gamma_epl"].to_numpy()
    assert (slope == drawn.lenses.gamma_epl).all()
    assert slope.mean() == pytest.approx(2.08, abs=0.01)
    assert slope.std() == pytest.approx(0.16, abs=0.01)
    for other in ("lens_q", "lens_phi_rad", "gamma1", "source_mag_r", "source_half_light_radius_arcsec"):
        assert abs(np.corrcoef(slope, plain.table[other])[0, 1]) < 0.06
    moved = ["source_x_arcsec", "source_y_arcsec"]  # the region of two images depends on the slope
    pd.testing.assert_frame_equal(drawn.table.drop(columns=["gamma_epl", *moved]), plain.table.drop(columns=moved))


def test_the_magnification_rule_refuses_slopes_that_it_does_not_know():
    with pytest.raises(OptionError, match=r"position_rule = magnification .* slope_mean = 2\.1 with slope_sigma = 0"):
        PopulationOptions(slope_mean=2.1, position_rule="magnification")
    with pytest.raises(OptionError, match="slope_sigma"):
        PopulationOptions(slope_sigma=0.1, position_rule="magnification")


def test_repeated_ids_and_unequal_tables_are_refused():
    with pytest.raises(CatalogueError, match="injection_id 3 is repeated"):
        draw_lenses([3, 3], [1.0, 1.0], hosts(2), seed=1)
    with pytest.raises(CatalogueError, match="differ"):
        draw_lenses([3, 4], [1.0], hosts(2), seed=1)


@pytest.mark.parametrize(
    "bad", [{"q_min": 0.1}, {"mag_r_max": 21.0}, {"position_rule": "anywhere"}, {"clumpy_share": 2}]
)
def test_impossible_populations_are_refused_by_key(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        PopulationOptions(**bad)


def test_streams_are_uniform_normal_and_uncorrelated_between_neighbouring_ids():
    u = stream_uniforms(np.arange(50_000), 3, seed=0)
    assert u.mean(axis=0) == pytest.approx([0.5] * 3, abs=5e-3)
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.015
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 0.015
    z = standard_normals([1, 2], (3, 64, 64), seed=0).astype(np.float64)
    assert z.std() == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(z[0].ravel(), z[1].ravel())[0, 1]) < 0.03
    assert (z[1] == standard_normals([2], (3, 64, 64), seed=0)[0]).all()
