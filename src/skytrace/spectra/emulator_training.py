"""Training of the emulator of spectra: an ensemble of networks on the principal components of stretched spectra.

Every member is stopped on a part of the models of its own, so that the ensemble learns from all but the models kept
for the emulator's error, which no member sees. One small network may then stand for the ensemble
(``emulator_distillation``). Same numbers bit for bit on a CPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.boxes import box_values
from skytrace.spectra.emulator import SpectrumEmulator
from skytrace.spectra.emulator_displacement import ENOUGH, unit_derivatives
from skytrace.spectra.emulator_distillation import distil
from skytrace.spectra.emulator_error import EmulatorError, fit_error
from skytrace.spectra.emulator_inputs import emulator_inputs
from skytrace.spectra.emulator_networks import LearningTask, stacked_layers, train_members
from skytrace.spectra.emulator_options import EmulatorOptions
from skytrace.spectra.preprocessing import SpectrumTransform, TransformOptions, fit_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "EmulatedSpace", "TrainedEnsemble", "distilled_emulator", "loss_weights", "split_rows", "train_emulator",
    "train_ensemble",
]  # fmt: skip

_DEFAULT = EmulatorOptions()


class EmulatedSpace(Protocol):
    """What training reads of a ``ParameterSpace``."""

    @property
    def names(self) -> Sequence[str]:
        """Of the parameters, in order."""
        ...

    @property
    def low(self) -> Sequence[float]:
        """Lower ends of the box."""
        ...

    @property
    def high(self) -> Sequence[float]:
        """Upper ends of the box."""
        ...

    @property
    def logarithmic(self) -> Sequence[bool]:
        """Whether a parameter is read as its logarithm."""
        ...


class TrainedEnsemble(NamedTuple):
    """emulator: the ensemble, its error not measured yet. metric (k + 1, k + 1): of the loss. parameters (h, d),
    luminosity (h, m): of the models by which the error will be measured.
    """

    emulator: SpectrumEmulator
    metric: NDArray[np.float32]
    parameters: NDArray[np.float64]
    luminosity: NDArray[np.float64]


def train_emulator(
    parameters: ArrayLike,
    wavelength_angstrom: ArrayLike,
    luminosity: ArrayLike,
    *,
    space: EmulatedSpace,
    options: EmulatorOptions = _DEFAULT,
    draw: Callable[[int], ArrayLike] | None = None,
) -> SpectrumEmulator:
    """``train_ensemble``, then ``distilled_emulator``."""
    ensemble = train_ensemble(parameters, wavelength_angstrom, luminosity, space=space, options=options)
    return distilled_emulator(ensemble, options=options, draw=draw)


def train_ensemble(
    parameters: ArrayLike,
    wavelength_angstrom: ArrayLike,
    luminosity: ArrayLike,
    *,
    space: EmulatedSpace,
    options: EmulatorOptions = _DEFAULT,
    further: tuple[ArrayLike, ArrayLike] | None = None,
) -> TrainedEnsemble:
    """An ensemble that learnt spectra (n, m) [erg/s/A] on wavelength_angstrom (m,) as a function of parameters (n, d),
    in the order of ``space.names``.

    further: parameters (f, d) and spectra (f, m) from beyond the space, from which all members learn and by which none
    is stopped or judged.
    Raises CatalogueError for shapes that do not fit, flux that is not finite, parameters outside the space, and too few
    models for the parts that the options ask for.
    """
    theta, flux = _checked(parameters, wavelength_angstrom, luminosity, space)
    wavelength = np.asarray(wavelength_angstrom, dtype=np.float64)
    learn, stops, apart = split_rows(len(theta), options)
    if further is not None:
        more = _checked(further[0], wavelength_angstrom, further[1], space, anywhere=True)
        learn = np.concatenate([learn, np.arange(len(theta), len(theta) + len(more[0]))])
        theta, flux = (np.concatenate(pair) for pair in zip((theta, flux), more, strict=True))
    shape_options = TransformOptions(options.normalise_angstrom, options.softening, options.variance)
    transform = fit_transform(wavelength, flux[learn], options=shape_options)
    stretched, log_level = transform.stretch(flux)
    level = 10.0 ** log_level[learn].mean()
    targets = np.column_stack([(stretched - transform.mean) @ transform.components.T, np.log(10.0) * log_level])
    targets[:, -1] -= np.log(level)
    slope = np.array([np.log(10.0) if name == "log_L" else 0.0 for name in space.names])
    targets[:, -1] -= theta @ slope
    box = (np.array(space.low), np.array(space.high), np.array(space.logarithmic, dtype=bool))
    inputs = emulator_inputs(theta, tuple(space.names), box)
    task, moments = _task(inputs, targets, learn, transform, loss_weights(wavelength, options))
    states = train_members(task, learn, stops, options)
    weights, biases = zip(*(stacked_layers(states, layer) for layer in range(len(options.hidden) + 1)), strict=True)
    pixels = len(wavelength)
    blank = EmulatorError(np.zeros((1, pixels)), np.ones(pixels), 0.0, 1.0, np.zeros(0), np.ones(pixels))
    fields: dict[str, Any] = {
        "names": tuple(space.names), "low": box[0], "high": box[1], "logarithmic": box[2],
        "wavelength_angstrom": wavelength, "softening": options.softening, "level_erg_s_a": float(level),
        "shape_mean": transform.mean, "shape_components": transform.components,
        "input_mean": moments[0], "input_scale": moments[1], "output_mean": moments[2], "output_scale": moments[3],
        "level_slope": slope, "weights": weights, "biases": biases,
    }  # fmt: skip
    return TrainedEnsemble(SpectrumEmulator(**fields, error=blank), task.metric, theta[apart], flux[apart])


def distilled_emulator(
    ensemble: TrainedEnsemble,
    *,
    options: EmulatorOptions = _DEFAULT,
    draw: Callable[[int], ArrayLike] | None = None,
) -> SpectrumEmulator:
    """The ensemble, or where ``options.distilled`` says so the one network in its place, with its error.

    draw: gives n models (n, d) at which the distilled network asks the ensemble; None: spread over the box.
    """
    emulator, metric, theta, flux = ensemble
    box = (emulator.low, emulator.high, emulator.logarithmic)
    if options.distilled is not None:
        asked = _spread_over(box, options) if draw is None else np.asarray(draw(options.distilled_models), dtype=float)
        standard = (emulator_inputs(asked, emulator.names, box) - emulator.input_mean) / emulator.input_scale
        emulator = distil(emulator, standard.astype(np.float32), metric, options)
    predicted, _ = emulator.predict_stretched(theta)
    _, spread = emulator.outputs(theta)
    residual = emulator.stretch(flux) - predicted
    steep = None
    if len(theta) >= ENOUGH:
        steep = unit_derivatives(lambda at: emulator.predict_stretched(at)[0], theta, box)
    error = fit_error(
        residual, spread, components=options.error_components, derivatives=steep, scaled=options.scaled_error
    )
    return replace(emulator, error=error)


def _spread_over(
    box: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]], options: EmulatorOptions
) -> NDArray[np.float64]:
    """Models (n, d) of a Latin hypercube in the box, on its logarithmic axes where it has them."""
    from scipy.stats import qmc

    sampler = qmc.LatinHypercube(len(box[0]), rng=np.random.default_rng([options.seed, 9]))
    return np.asarray(box_values(sampler.random(options.distilled_models), box))


def split_rows(
    n: int, options: EmulatorOptions
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], NDArray[np.int64]]:
    """(rows that the ensemble learns from, for each member those of them that stop it, rows kept for the error).

    Raises CatalogueError where a part has fewer than two rows.
    """
    order = np.random.default_rng([options.seed, n]).permutation(n)
    kept, stopping = round(options.error_share * n), round(options.stop_share * n)
    learn = np.sort(order[kept:])
    shuffled = order[kept:]
    stops = [np.sort(np.roll(shuffled, -k * stopping)[:stopping]) for k in range(options.members)]
    if min(kept, stopping, len(learn) - stopping) < 2:
        raise CatalogueError(
            f"{n} models are too few: error_share = {options.error_share:g} keeps {kept}, stop_share = "
            f"{options.stop_share:g} keeps {stopping}, {len(learn) - stopping} are left to learn from"
        )
    return learn, stops, np.sort(order[:kept])


def loss_weights(wavelength_angstrom: NDArray[np.float64], options: EmulatorOptions) -> NDArray[np.float64]:
    """Weights (m,) of the loss, of mean 1: 1, in a window its own, where windows overlap the largest."""
    weights = np.ones(len(wavelength_angstrom))
    for low, high, weight in options.windows.values():
        inside = (wavelength_angstrom >= low) & (wavelength_angstrom <= high)
        weights[inside] = np.maximum(weights[inside], weight)
    return weights / weights.mean()


def _checked(
    parameters: ArrayLike, wavelength_angstrom: ArrayLike, luminosity: ArrayLike, space: EmulatedSpace, *,
    anywhere: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    theta, flux = np.asarray(parameters, dtype=np.float64), np.asarray(luminosity, dtype=np.float64)
    n, d, m = len(theta), len(space.names), np.size(wavelength_angstrom)
    if theta.shape != (n, d) or flux.shape != (n, m):
        raise CatalogueError(f"parameters {theta.shape} and luminosity {flux.shape}: ({n}, {d}) and ({n}, {m}) fit")
    bad = ~np.isfinite(flux).all(axis=1)
    if bad.any():
        raise CatalogueError(f"{bad.sum()} spectra are not finite, the first is row {np.flatnonzero(bad)[0]}")
    outside = ~((theta >= np.array(space.low)) & (theta <= np.array(space.high)))
    if outside.any() and not anywhere:
        row, column = np.argwhere(outside)[0]
        raise CatalogueError(
            f"{space.names[column]} = {theta[row, column]:g} of row {row} is outside the space, "
            f"[{space.low[column]:g}, {space.high[column]:g}]"
        )
    return theta, flux


def _task(
    inputs: NDArray[np.float64],
    targets: NDArray[np.float64],
    learn: NDArray[np.int64],
    transform: SpectrumTransform,
    weights: NDArray[np.float64],
) -> tuple[LearningTask, tuple[NDArray[np.float64], ...]]:
    """The task, and mean and scale of inputs and of targets, of the models to learn from.

    All scores have one scale: with one each the small ones, noisier, are learnt at the others' expense.
    """
    input_mean, input_scale = inputs[learn].mean(axis=0), inputs[learn].std(axis=0)
    input_scale = np.where(input_scale > 0, input_scale, 1.0)
    pixels = len(weights)
    output_mean, spread = targets[learn].mean(axis=0), targets[learn].std(axis=0)
    power = (spread[:-1] ** 2).sum() + pixels * spread[-1] ** 2
    output_scale = np.full(len(spread), np.sqrt(power) if power > 0 else 1.0)
    output_scale[-1] /= np.sqrt(pixels)
    gram = np.eye(len(output_scale))  # the mean flux moves every pixel by about as much in y
    gram[:-1, :-1] = (transform.components * weights) @ transform.components.T / pixels
    metric = output_scale[:, None] * np.linalg.cholesky(gram)
    task = LearningTask(
        ((inputs - input_mean) / input_scale).astype(np.float32),
        ((targets - output_mean) / output_scale).astype(np.float32),
        metric.astype(np.float32),
    )
    return task, (input_mean, input_scale, output_mean, output_scale)
