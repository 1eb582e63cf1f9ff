"""The emulator of spectra on an analytic family: what it predicts, in numpy, in JAX and from stored arrays."""

import dataclasses

import jax
import numpy as np
import pytest

from skytrace.compute.arrays import load_npz, save_npz
from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.emulator import emulator_from_arrays, emulator_to_arrays, jax_predict
from skytrace.spectra.emulator_options import EmulatorOptions
from skytrace.spectra.emulator_training import loss_weights, split_rows, train_emulator, train_ensemble
from skytrace.spectra.inference_model import inference_model
from skytrace.spectra.preprocessing import mean_flux
from tests.spectra.emulated_family import WAVELENGTH, Box, draw, luminosity

OPTIONS = EmulatorOptions(
    hidden=(48, 48), members=2, epochs=60, batch=32, learning_rate=5e-3, patience=60, error_components=10,
    weight_decay=1e-4, distilled=None,
)  # fmt: skip
DISTILLED = dataclasses.replace(OPTIONS, distilled=(48, 48), distilled_models=8000, distilled_epochs=30)


@pytest.fixture(scope="module")
def emulator():
    """Trained on 500 models of the family."""
    theta = draw(500, seed=1)
    return train_emulator(theta, WAVELENGTH, luminosity(theta), space=Box(), options=OPTIONS)


@pytest.fixture(scope="module")
def small():
    """The same, distilled: the ensemble is the same to the bit."""
    theta = draw(500, seed=1)
    return train_emulator(theta, WAVELENGTH, luminosity(theta), space=Box(), options=DISTILLED, draw=None)


def test_distilled_network_says_what_the_ensemble_says_and_how_sure_that_is(emulator, small):
    theta = draw(300, seed=2)
    assert [len(weight) for weight in small.weights] == [1, 1, 1]
    ensemble, one = emulator.predict(theta), small.predict(theta)
    apart = np.sqrt(np.mean((one.stretched - ensemble.stretched) ** 2))
    wrong = np.sqrt(np.mean((ensemble.stretched - emulator.stretch(luminosity(theta))) ** 2))
    assert apart < wrong  # what distilling adds is less than what was wrong before
    spread, learnt = emulator.outputs(theta)[1], small.outputs(theta)[1]
    assert np.corrcoef(np.log(spread), np.log(learnt))[0, 1] > 0.7
    assert np.median(learnt / spread) == pytest.approx(1.0, abs=0.1)
    assert np.median(np.abs(one.luminosity / luminosity(theta) - 1.0)) < 0.006


def test_distilled_network_is_the_same_in_jax_and_from_its_file(small, tmp_path):
    theta = draw(300, seed=5)
    found = small.predict(theta)
    y, scale = jax_predict(small, theta)
    assert np.abs(np.asarray(y) - found.stretched).max() < 2e-5
    np.testing.assert_allclose(np.asarray(scale), found.scale, atol=5e-5)
    back = emulator_from_arrays(load_npz(save_npz(tmp_path / "emulator.npz", **emulator_to_arrays(small))))
    assert back.distilled
    np.testing.assert_array_equal(back.predict(theta).scale, found.scale)


def test_error_of_a_distilled_network_is_measured_on_itself(emulator, small):
    """Its covariance holds what distilling added: on models of its own it is as large as its misses."""
    theta = draw(400, seed=9)
    found = small.predict(theta)
    pull = (small.stretch(luminosity(theta)) - found.stretched) / found.sigma
    assert 0.6 < np.sqrt(np.mean(pull**2)) < 1.6


def test_spectra_of_unseen_models_are_right_to_two_per_cent(emulator):
    theta = draw(300, seed=2)
    error = np.abs(emulator.predict(theta).luminosity / luminosity(theta) - 1.0)
    assert np.median(error) < 0.005
    assert np.percentile(error, 95.0) < 0.02


def test_luminosity_scales_with_log_l(emulator):
    theta = draw(50, seed=3)
    theta[:, 0] = 42.7
    brighter = theta.copy()
    brighter[:, 0] = 43.2
    ratio = emulator.predict(brighter).luminosity / emulator.predict(theta).luminosity
    assert np.median(ratio) == pytest.approx(10.0**0.5, rel=0.005)


def test_y_is_asinh_of_luminosity_over_one_fixed_level(emulator):
    theta = draw(20, seed=4)
    found = emulator.predict(theta)
    assert emulator.softening == 0.05
    np.testing.assert_allclose(found.luminosity, np.sinh(found.stretched) * 0.05 * emulator.level_erg_s_a, rtol=1e-12)
    np.testing.assert_allclose(emulator.stretch(found.luminosity), found.stretched, rtol=1e-12)
    level = mean_flux(WAVELENGTH, luminosity(draw(500, seed=1)), (4000.0, 7000.0))
    assert emulator.level_erg_s_a == pytest.approx(np.exp(np.log(level).mean()), rel=0.05)


def test_jax_gives_what_numpy_gives(emulator):
    theta = draw(300, seed=5)
    found = emulator.predict(theta)
    y, scale = jax_predict(emulator, theta)
    assert np.abs(np.asarray(y) - found.stretched).max() < 2e-5  # single precision on both sides
    np.testing.assert_allclose(np.asarray(scale), found.scale, atol=5e-5)


def test_gradient_in_jax_is_the_slope_of_numpy(emulator):
    import jax

    theta = draw(1, seed=6)
    slope = jax.jacfwd(lambda t: jax_predict(emulator, t[None])[0][0])(theta[0].astype(np.float32))
    step = np.array([0.02, 60.0, 60.0, 0.006])
    for k in range(4):
        ends = np.repeat(theta, 2, axis=0)
        ends[:, k] += step[k] * np.array([-1.0, 1.0])
        low, high = emulator.predict(ends).stretched
        np.testing.assert_allclose(np.asarray(slope)[:, k] * step[k], (high - low) / 2.0, atol=3e-4)


@pytest.mark.parametrize(("single", "precision"), [(True, "float32"), (False, "float64")])
def test_networks_of_a_likelihood_are_computed_in_the_precision_asked_for(emulator, single, precision):
    model = inference_model(emulator, single=single)
    middle = 0.5 * (model.low + model.high)[None]
    with jax.enable_x64(True):
        traced = jax.make_jaxpr(model.forward)(model.network, middle)
    products = [one for one in traced.jaxpr.eqns if one.primitive.name == "dot_general"]
    of_networks = [one for one in products if min(one.invars[1].aval.shape[-2:]) > 1 and one.invars[1].aval.ndim > 1]
    assert len(of_networks) == len(emulator.weights) + 1  # the layers, and the principal components
    assert {str(part.aval.dtype) for one in of_networks for part in one.invars} == {precision}


def test_training_is_the_same_bit_for_bit():
    theta = draw(120, seed=7)
    few = dataclasses.replace(OPTIONS, epochs=5, members=2)
    one, two = (train_emulator(theta, WAVELENGTH, luminosity(theta), space=Box(), options=few) for _ in range(2))
    ours, theirs = emulator_to_arrays(one), emulator_to_arrays(two)
    assert list(ours) == list(theirs)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_members_trained_side_by_side_are_the_same_to_the_bit():
    theta = draw(120, seed=7)
    few = dataclasses.replace(OPTIONS, epochs=5, members=3)
    one, two = (
        train_ensemble(
            theta, WAVELENGTH, luminosity(theta), space=Box(), options=dataclasses.replace(few, processes=n)
        ).emulator
        for n in (1, 2)
    )
    for ours, theirs in zip(one.weights, two.weights, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_models_from_beyond_the_space_teach_but_do_not_judge():
    """Of a small part of the box: with models of the whole box the error there is smaller, on models of it alone."""
    whole = Box()
    low, high = np.array(whole.low), np.array(whole.high)
    part = Box(low=tuple(0.6 * low + 0.4 * high), high=tuple(0.4 * low + 0.6 * high))
    inside = np.array(part.low) + np.random.default_rng(11).random((60, 4)) * 0.2 * (high - low)
    everywhere = draw(400, seed=12)
    given = {"space": part, "options": OPTIONS}
    alone = train_ensemble(inside, WAVELENGTH, luminosity(inside), **given)
    taught = train_ensemble(
        inside, WAVELENGTH, luminosity(inside), **given, further=(everywhere, luminosity(everywhere))
    )
    np.testing.assert_array_equal(alone.parameters, taught.parameters)
    assert {tuple(row) for row in taught.parameters} <= {tuple(row) for row in inside}
    unseen = np.array(part.low) + np.random.default_rng(13).random((300, 4)) * 0.2 * (high - low)
    errors = [
        np.median(np.abs(one.emulator.predict(unseen).luminosity / luminosity(unseen) - 1.0)) for one in (alone, taught)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_an_emulator_comes_back_from_its_file_whole(emulator, tmp_path):
    path = save_npz(tmp_path / "emulator.npz", **emulator_to_arrays(emulator))
    back, theta = emulator_from_arrays(load_npz(path)), draw(10, seed=8)
    for ours, theirs in zip(emulator.predict(theta), back.predict(theta), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert back.names == emulator.names
    for name, value in emulator.error._asdict().items():
        np.testing.assert_array_equal(getattr(back.error, name), value)


def test_arrays_without_a_bias_are_refused_by_its_name(emulator):
    arrays = emulator_to_arrays(emulator)
    del arrays["bias_1"]
    with pytest.raises(CatalogueError, match="bias_1"):
        emulator_from_arrays(arrays)


def test_rows_for_the_error_are_apart_from_all_others_and_stops_from_each_other():
    learn, stops, apart = split_rows(200, EmulatorOptions(members=3, stop_share=0.1, error_share=0.15))
    assert len(apart) == 30
    assert sorted([*learn, *apart]) == list(range(200))
    assert [len(stop) for stop in stops] == [20, 20, 20]
    assert len(set(np.concatenate(stops))) == 60
    assert set(np.concatenate(stops)) <= set(learn)


def test_windows_weigh_what_they_say_and_the_mean_is_one():
    options = EmulatorOptions(windows={"line": (6000.0, 6300.0, 4.0)})
    weights = loss_weights(WAVELENGTH, options)
    inside = (WAVELENGTH >= 6000.0) & (WAVELENGTH <= 6300.0)
    np.testing.assert_allclose(weights[inside], 4.0 * weights[~inside][0], rtol=1e-12)
    assert weights.mean() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"hidden": ()}, "no layer"), ({"distilled": ()}, "None keeps"), ({"softening": 0.0}, "softening"),
     ({"members": 0}, "members"), ({"windows": {"line": (6300.0, 6000.0, 2.0)}}, "windows")],
)  # fmt: skip
def test_options_out_of_range_are_named(change, words):
    with pytest.raises(OptionError, match=words):
        EmulatorOptions(**change)


def test_what_cannot_be_learnt_from_is_refused():
    theta = draw(120, seed=9)
    flux = luminosity(theta)
    flux[7, 3] = np.inf
    with pytest.raises(CatalogueError, match="row 7"):
        train_emulator(theta, WAVELENGTH, flux, space=Box(), options=OPTIONS)
    theta[5, 1] = 20_000.0
    with pytest.raises(CatalogueError, match=r"temperature = 20000 of row 5"):
        train_emulator(theta, WAVELENGTH, luminosity(theta), space=Box(), options=OPTIONS)
