"""Boxes of parameters: the axes, the stages, narrowing, and hypercubes without unphysical models."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skytrace.errors import OptionError
from skytrace.spectra.composition import LAYER_PARAMETERS, SHARED_PARAMETERS
from skytrace.spectra.ejecta import EJECTA_PARAMETERS, physical_problems
from skytrace.spectra.parameter_space import (
    ParameterSpace,
    draw_latin_hypercube,
    log10_compression,
    narrowed,
    stage_one_space,
    stage_space,
)

CENTRE = {
    "log_L": 43.1, "v_inner": 11_000.0, "log_rho_0": -13.0, "density_exp": -9.9, "T_e_ratio": 0.95,
    "v_core": 13_000.0, "v_wall": 17_000.0, "v_break": 15_000.0, "density_exp_outer": -10.0, "t_exp": 18.0,
}  # fmt: skip


def space(**changes):
    fields = {"names": ("a", "b"), "low": (1.0, 0.01), "high": (3.0, 1.0), "unit": ("km/s", ""),
              "relaxed_by_width": (False, True), "logarithmic": (False, True)}  # fmt: skip
    return ParameterSpace(**(fields | changes))


def test_the_unit_cube_is_linear_or_logarithmic_by_parameter():
    values = [[1.0, 0.01], [2.0, 0.1], [3.0, 1.0]]
    unit = [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
    np.testing.assert_allclose(space().to_unit(values), unit, atol=1e-14)
    np.testing.assert_allclose(space().from_unit(unit), values, rtol=1e-14)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": (1.0, 1.0)}, "b: low = 1, high = 1 are no ascending pair"),
        ({"high": (float("nan"), 1.0)}, "a: low = 1, high = nan"),
        ({"names": ("a", "a")}, "names repeats a"),
        ({"unit": ("",)}, "unit has 1 values for 2 names"),
        ({"low": (1.0, -0.1)}, "low = -0.1 of a logarithmic parameter is not above 0"),
    ],
)
def test_a_box_that_is_none_is_refused(changes, words):
    with pytest.raises(OptionError, match=words):
        space(**changes)


def test_a_table_of_other_width_is_refused():
    with pytest.raises(OptionError, match=r"shape \(3,\) is not \(n, 2\)"):
        space().to_unit([1.0, 2.0, 3.0])


def test_stage_one_is_the_ejectas_fifteen_parameters():
    first = stage_one_space()
    assert first.names == EJECTA_PARAMETERS
    by_width = {name for name, flag in zip(first.names, first.relaxed_by_width, strict=True) if flag}
    assert by_width == {"log_L", "log_rho_0", "density_exp", "density_exp_outer"}


def test_inherited_ranges_are_ten_percent_of_value_or_of_width_within_the_prior():
    second = stage_space(2, CENTRE)
    bounds = dict(zip(second.names, zip(second.low, second.high, strict=True), strict=True))
    np.testing.assert_allclose(bounds["v_inner"], (9900.0, 12_100.0))
    np.testing.assert_allclose(bounds["log_rho_0"], (-13.17, -12.83))
    np.testing.assert_allclose(bounds["density_exp_outer"], (-11.0, -9.0))
    np.testing.assert_allclose(bounds["density_exp"], (-10.0, -9.3))  # clipped
    np.testing.assert_allclose(bounds["T_e_ratio"], (0.855, 1.0))  # clipped
    assert bounds["X_Si_zone_6"] == (0.001, 0.75)


def test_a_wide_posterior_is_not_cut_by_the_box_that_inherits_it():
    spread = {"v_inner": 600.0, "t_exp": 0.1, "density_exp_outer": 2.0}
    second = stage_space(2, CENTRE, spread)
    bounds = dict(zip(second.names, zip(second.low, second.high, strict=True), strict=True))
    np.testing.assert_allclose(bounds["v_inner"], (9200.0, 12_800.0))
    np.testing.assert_allclose(bounds["density_exp_outer"], (-14.0, -4.0))  # clipped on both sides
    at, tight = second.names.index("t_exp"), stage_space(2, CENTRE)
    assert (second.low[at], second.high[at]) == (tight.low[at], tight.high[at])  # three deviations are less than 10 %
    with pytest.raises(OptionError, match="deviation's t_exp = -1"):
        stage_space(2, CENTRE, {"t_exp": -1.0})


def test_stage_two_has_ten_parameters_and_six_zones_of_eight_species():
    second = stage_space(2, CENTRE)
    assert second.size == 10 + 6 * 8
    assert set(SHARED_PARAMETERS) < set(second.names)
    assert not set(LAYER_PARAMETERS) & set(second.names)


def test_stage_three_has_eight_profiles_of_six_modes():
    assert stage_space(3, CENTRE).size == 10 + 8 * 6


def test_a_centre_outside_the_prior_or_incomplete_is_refused():
    with pytest.raises(OptionError, match="centre's t_exp = 30"):
        stage_space(2, CENTRE | {"t_exp": 30.0})
    with pytest.raises(OptionError, match="centre lacks v_wall, v_break"):
        stage_space(2, {name: value for name, value in CENTRE.items() if name not in ("v_wall", "v_break")})
    with pytest.raises(OptionError, match="stage = 4 is not one of 2, 3"):
        stage_space(4, CENTRE)


def test_narrowing_takes_the_inner_98_percent_and_30_percent_more_on_either_side():
    unit = np.linspace(0.4, 0.6, 10_001)
    box = narrowed(space(), space().from_unit(np.stack([unit, unit], axis=1)))
    reach = 0.098 + 0.3 * 0.196
    ends = space().to_unit([box.low, box.high])
    np.testing.assert_allclose(ends, [[0.5 - reach] * 2, [0.5 + reach] * 2], atol=1e-12)
    assert log10_compression(space(), box) == pytest.approx(-2.0 * np.log10(2.0 * reach))


def test_narrowing_never_leaves_the_space():
    unit = np.random.default_rng(1).uniform(size=(5000, 2))
    assert narrowed(space(), space().from_unit(unit)) == space()


def test_samples_that_cannot_narrow_are_refused():
    with pytest.raises(OptionError, match="samples of a do not vary"):
        narrowed(space(), np.stack([np.full(200, 2.0), np.linspace(0.1, 0.9, 200)], axis=1))
    with pytest.raises(OptionError, match="samples of b are not finite"):
        narrowed(space(), np.stack([np.linspace(1.0, 3.0, 200), np.full(200, np.nan)], axis=1))
    with pytest.raises(OptionError, match="99 samples"):
        narrowed(space(), np.ones((99, 2)))


def test_without_rejection_every_parameter_has_one_draw_in_each_of_n_strata():
    table, counts = draw_latin_hypercube(space(), 50, seed=3, rejected=lambda table: {})
    strata = np.sort(np.floor(50 * space().to_unit(table.to_numpy())).astype(int), axis=0)
    np.testing.assert_array_equal(strata, np.arange(50)[:, None] * np.ones(2, int))
    assert counts == {"drawn": 50, "rejected": 0}


def test_rejected_draws_are_replaced_and_counted_by_reason():
    def too_large(table):
        return {"a is large": table["a"].to_numpy() > 2.5, "b is large": table["b"].to_numpy() > 0.1}

    table, counts = draw_latin_hypercube(space(), 4000, seed=3, rejected=too_large)
    assert (table["a"] <= 2.5).all()
    assert (table["b"] <= 0.1).all()
    assert counts["drawn"] == 4000 + counts["rejected"]
    assert counts["rejected"] == pytest.approx(0.625 * counts["drawn"], rel=0.05)
    assert counts["a is large"] == pytest.approx(0.25 * counts["drawn"], rel=0.05)
    assert counts["a is large"] + counts["b is large"] > counts["rejected"]  # some are both
    flat = stats.kstest(space().to_unit(table.to_numpy())[:, 1] / 0.5, "uniform")
    assert flat.pvalue > 0.01


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_each_stage_draws_physical_models_only_and_the_same_ones_again(stage):
    box = stage_one_space() if stage == 1 else stage_space(stage, CENTRE)
    table, counts = draw_latin_hypercube(box, 200, seed=8)
    assert not any(physical_problems(table))
    assert counts["rejected"] > 0
    unit = box.to_unit(table.to_numpy())
    assert unit.min() > -1e-12
    assert unit.max() < 1.0 + 1e-12
    pd.testing.assert_frame_equal(table, draw_latin_hypercube(box, 200, seed=8)[0])
    assert not table.equals(draw_latin_hypercube(box, 200, seed=9)[0])


def test_a_space_without_physical_models_is_reported():
    with pytest.raises(OptionError, match=r"3 of 3 models are still unphysical .*'never': 1500"):
        draw_latin_hypercube(space(), 3, seed=1, rejected=lambda table: {"never": np.ones(len(table), bool)})
