"""Glue of spectral_emulator: where the second round draws, what no emulator may see, and what depends on what."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from skytrace.errors import CatalogueError, OptionError
from skytrace.pipelines.spectral_emulator import stages
from skytrace.pipelines.spectral_emulator.graph import LABELS, LAYERED, NAME, STAGES
from skytrace.pipelines.spectral_emulator.options import KnockOutOptions, StageOptions
from skytrace.pipelines.spectral_emulator.pipeline import create_pipeline
from skytrace.spectra.ejecta import physical_problems
from skytrace.spectra.parameter_space import stage_one_space

OPTIONS = StageOptions(models=60, held_out=20, seed=3)


@pytest.fixture
def space():
    one = stage_one_space()
    return pd.DataFrame({name: list(getattr(one, name)) for name in stages._SPACE})


def posterior_between(low, high):
    """Two chains of 501 evenly spaced draws from low to high share of each parameter's range, within the limits."""
    one = stage_one_space()
    unit = np.linspace(low, high, 501)
    width = np.array(one.high) - np.array(one.low)
    values = {name: one.low[k] + width[k] * np.stack([unit, unit[::-1]]) for k, name in enumerate(one.names)}
    draws = xr.Dataset({name: (("chain", "draw"), value) for name, value in values.items()})
    return SimpleNamespace(posterior=draws.assign(inadequacy=(("chain", "draw"), np.full((2, 501), 0.1))))


def test_second_round_draws_where_the_posterior_is_and_says_how_much_smaller_that_is(space):
    models, narrow, report = stages.draw_narrowed_models(posterior_between(0.4, 0.6), space, OPTIONS)
    one = stage_one_space()
    width = np.array(one.high) - np.array(one.low)
    # 1st and 99th percentile of a flat spread from 0.4 to 0.6, and 30 % of their distance beyond
    ends = np.array([0.402 - 0.3 * 0.196, 0.598 + 0.3 * 0.196])
    np.testing.assert_allclose((narrow["low"] - one.low) / width, ends[0], atol=1e-6)
    np.testing.assert_allclose((narrow["high"] - one.low) / width, ends[1], atol=1e-6)
    assert report["log10_compression"] == pytest.approx(-15 * np.log10(ends[1] - ends[0]), rel=1e-6)
    assert len(models) == 80
    assert ((models >= list(narrow["low"])) & (models <= list(narrow["high"]))).all(axis=None)
    assert not any(physical_problems(models))


def test_a_posterior_that_does_not_vary_gives_no_second_round(space):
    with pytest.raises(OptionError, match="do not vary"):
        stages.draw_narrowed_models(posterior_between(0.5, 0.5), space, OPTIONS)


def test_held_out_models_are_of_another_hypercube_and_no_emulator_sees_them():
    models, _, report = stages.draw_first_models(OPTIONS)
    assert report["models"] == 60 and report["held_out"] == 20
    rng = np.random.default_rng(0)
    spectra = {
        "model_id": np.delete(np.arange(80), [7, 70]), "parameters": np.delete(models.to_numpy(), [7, 70], axis=0),
        "luminosity_1e38": rng.uniform(1.0, 2.0, size=(78, 5)).astype(np.float32),
    }  # fmt: skip
    (learn, flux), (unseen, truth) = stages.split_training(spectra, OPTIONS)
    assert (len(learn), len(unseen)) == (59, 19)
    np.testing.assert_array_equal(unseen, np.delete(models.to_numpy()[60:], 10, axis=0))
    np.testing.assert_allclose(np.concatenate([flux, truth]), spectra["luminosity_1e38"] * 1e38, rtol=1e-6)
    assert not {tuple(row) for row in learn} & {tuple(row) for row in unseen}


def test_the_truth_reaches_nothing_but_the_page():
    pipeline = create_pipeline()
    assert [node.short_name for node in pipeline.from_inputs(f"{NAME}.truth").nodes] == ["write_page"]


def test_each_step_begins_where_the_one_before_ended_and_learns_from_models_of_its_own_parameters():
    pipeline = create_pipeline()
    made_by = {name: node for node in pipeline.nodes for name in node.outputs}
    assert list(STAGES) == list(LABELS) and STAGES[LAYERED] == 1
    for before, stage in zip(list(STAGES)[:-1], list(STAGES)[1:], strict=True):
        drawn = {name for name in made_by[f"{NAME}.{stage}.models"].inputs if not name.startswith("params:")}
        assert drawn and all(name.startswith(f"{NAME}.{before}.") for name in drawn)
        trained = {name for name in made_by[f"{NAME}.{stage}.emulator"].inputs if not name.startswith("params:")}
        again = {f"{NAME}.{before}.spectra"} if STAGES[stage] == STAGES[before] else set()
        assert trained == {f"{NAME}.{stage}.spectra", f"{NAME}.{stage}.space"} | again


@pytest.mark.parametrize(("factor", "fits"), [(1.0, True), (30.0, True), (1e-5, False), (1e4, False)])
def test_a_spectrum_that_is_no_supernovas_by_far_is_refused_with_what_may_be_wrong(factor, fits):
    spectrum = SimpleNamespace(name="SN X", distance_modulus_mag=29.0)
    with contextlib.nullcontext() if fits else pytest.raises(CatalogueError, match="distance_modulus_mag = 29 right"):
        stages._check_brightness(spectrum, np.full(50, factor * 1e39), 1e39)


def test_an_element_that_is_not_in_the_ejecta_is_refused_before_the_run():
    with pytest.raises(OptionError, match="elements: Z = 1 is not in the ejecta; choose of 6, 8, 12"):
        KnockOutOptions(elements=(14, 1))
