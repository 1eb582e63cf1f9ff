"""Training of the emulator of spectra: an ensemble of networks on the principal components of stretched spectra.

Every member is stopped on a part of the models of its own, so that the ensemble learns from all but the models kept
for the emulator's error, which no member sees. Same numbers bit for bit on a CPU.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from skytrace.compute.progress import ProgressBar, progress
from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.emulator import SpectrumEmulator
from skytrace.spectra.emulator_error import EmulatorError, fit_error
from skytrace.spectra.emulator_inputs import emulator_inputs
from skytrace.spectra.emulator_options import EmulatorOptions
from skytrace.spectra.preprocessing import SpectrumTransform, TransformOptions, fit_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["EmulatedSpace", "loss_weights", "split_rows", "train_emulator"]

_DEFAULT = EmulatorOptions()
#: Share of the steps in which the learning rate rises.
_WARM_UP = 0.05


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


@dataclass(frozen=True, eq=False)
class _Task:
    """What all members learn: inputs (n, q), targets (n, k + 1) about 0 in units of scale (k + 1,), and the loss: mean
    over models and wavelengths of the square of (difference of targets) @ metric, metric (k + 1, k + 1).
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    metric: NDArray[np.float32]


def train_emulator(
    parameters: ArrayLike,
    wavelength_angstrom: ArrayLike,
    luminosity: ArrayLike,
    *,
    space: EmulatedSpace,
    options: EmulatorOptions = _DEFAULT,
) -> SpectrumEmulator:
    """An emulator of spectra (n, m) [erg/s/A] on wavelength_angstrom (m,) as a function of parameters (n, d), in the
    order of ``space.names``.

    Raises CatalogueError for shapes that do not fit, flux that is not finite, parameters outside the space, and too few
    models for the parts that the options ask for.
    """
    theta, flux = _checked(parameters, wavelength_angstrom, luminosity, space)
    wavelength = np.asarray(wavelength_angstrom, dtype=np.float64)
    learn, stops, apart = split_rows(len(theta), options)
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
    states = _train_members(task, learn, stops, options)
    weights, biases = zip(*(_stacked(states, layer) for layer in range(len(options.hidden) + 1)), strict=True)
    pixels = len(wavelength)
    blank = EmulatorError(np.zeros((1, pixels)), np.ones(pixels), 0.0, 1.0)
    fields: dict[str, Any] = {
        "names": tuple(space.names), "low": box[0], "high": box[1], "logarithmic": box[2],
        "wavelength_angstrom": wavelength, "softening": options.softening, "level_erg_s_a": float(level),
        "shape_mean": transform.mean, "shape_components": transform.components,
        "input_mean": moments[0], "input_scale": moments[1], "output_mean": moments[2], "output_scale": moments[3],
        "level_slope": slope, "weights": weights, "biases": biases,
    }  # fmt: skip
    emulator = SpectrumEmulator(**fields, error=blank)
    predicted, _ = emulator.predict_stretched(theta[apart])
    _, spread = emulator.outputs(theta[apart])
    residual = emulator.stretch(flux[apart]) - predicted
    return SpectrumEmulator(**fields, error=fit_error(residual, spread, components=options.error_components))


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
    parameters: ArrayLike, wavelength_angstrom: ArrayLike, luminosity: ArrayLike, space: EmulatedSpace
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    theta, flux = np.asarray(parameters, dtype=np.float64), np.asarray(luminosity, dtype=np.float64)
    n, d, m = len(theta), len(space.names), np.size(wavelength_angstrom)
    if theta.shape != (n, d) or flux.shape != (n, m):
        raise CatalogueError(f"parameters {theta.shape} and luminosity {flux.shape}: ({n}, {d}) and ({n}, {m}) fit")
    bad = ~np.isfinite(flux).all(axis=1)
    if bad.any():
        raise CatalogueError(f"{bad.sum()} spectra are not finite, the first is row {np.flatnonzero(bad)[0]}")
    outside = ~((theta >= np.array(space.low)) & (theta <= np.array(space.high)))
    if outside.any():
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
) -> tuple[_Task, tuple[NDArray[np.float64], ...]]:
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
    task = _Task(
        ((inputs - input_mean) / input_scale).astype(np.float32),
        ((targets - output_mean) / output_scale).astype(np.float32),
        metric.astype(np.float32),
    )
    return task, (input_mean, input_scale, output_mean, output_scale)


def _train_members(
    task: _Task, learn: NDArray[np.int64], stops: list[NDArray[np.int64]], options: EmulatorOptions
) -> list[list[NDArray[np.float32]]]:
    """Weights and biases of each member, layer by layer."""
    from skytrace.learning.threads import deterministic_torch, resolve_device

    device = resolve_device(options.device)
    bar: ProgressBar[int] = progress(options.members * options.epochs, "emulator's networks")
    states = []
    with bar, deterministic_torch(1, device=device):
        for member, stop in enumerate(stops):
            states.append(_train_member(task, np.setdiff1d(learn, stop), stop, options, device, member, bar))
            bar.advance((member + 1) * options.epochs - bar.done)
    return states


def _train_member(
    task: _Task,
    rows: NDArray[np.int64],
    stop: NDArray[np.int64],
    options: EmulatorOptions,
    device: str,
    member: int,
    bar: ProgressBar[int],
) -> list[NDArray[np.float32]]:
    """One network: AdamW along a cosine, the weights of the epoch with the lowest loss on ``stop``."""
    import torch

    torch.manual_seed(int(np.random.SeedSequence([options.seed, member]).generate_state(1)[0]))
    widths = (task.inputs.shape[1], *options.hidden)
    layers: list[Any] = []
    for wide, narrow in itertools.pairwise(widths):
        layers += [torch.nn.Linear(wide, narrow), torch.nn.SiLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], task.targets.shape[1])).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    inputs, targets, metric = (
        torch.from_numpy(array).to(device) for array in (task.inputs, task.targets, task.metric)
    )  # fmt: skip
    batches = max(1, len(rows) // options.batch)
    rng, steps = np.random.default_rng([options.seed, member, 1]), options.epochs * batches
    best, best_epoch, state = np.inf, 0, network.state_dict()
    for epoch in range(options.epochs):
        for number, chosen in enumerate(np.array_split(rng.permutation(rows), batches)):
            _set_rate(optimizer, epoch * batches + number, steps, options.learning_rate)
            at = torch.from_numpy(chosen).to(device)
            loss = (((network(inputs[at]) - targets[at]) @ metric) ** 2).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        bar.advance()
        with torch.no_grad():
            left = (((network(inputs[stop]) - targets[stop]) @ metric) ** 2).sum(dim=1).mean().item()
        if left < best:
            best, best_epoch = left, epoch
            state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        if epoch - best_epoch >= options.patience:
            break
    if not np.isfinite(best):
        raise OptionError(
            f"training diverged; learning_rate = {options.learning_rate:g} is too high, choose one in (0, 2e-3]"
        )
    return [tensor.cpu().numpy() for tensor in state.values()]


def _set_rate(optimizer: Any, step: int, steps: int, peak: float) -> None:
    """Linear rise, then half a cosine to 0."""
    warm = max(1, round(_WARM_UP * steps))
    share = (step + 1) / warm if step < warm else 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    for group in optimizer.param_groups:
        group["lr"] = peak * share


def _stacked(states: list[list[NDArray[np.float32]]], layer: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(a, in, out) and (a, 1, out) of one layer of all members."""
    weight = np.stack([np.ascontiguousarray(state[2 * layer].T) for state in states])
    return weight, np.stack([state[2 * layer + 1][None] for state in states])
