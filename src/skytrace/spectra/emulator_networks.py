"""The networks of the emulator of spectra: how one is trained, and the layers of several stacked."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute.progress import ProgressBar, progress
from skytrace.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.emulator_options import EmulatorOptions

__all__ = ["LearningTask", "stacked_layers", "train_members", "train_network"]

#: Share of the steps in which the learning rate rises.
_WARM_UP = 0.05


@dataclass(frozen=True, eq=False)
class LearningTask:
    """What all members learn: inputs (n, q), targets (n, k + 1) about 0 in units of scale (k + 1,), and the loss: mean
    over models and wavelengths of the square of (difference of targets) @ metric, metric (k + 1, k + 1).
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    metric: NDArray[np.float32]


def train_members(
    task: LearningTask, learn: NDArray[np.int64], stops: list[NDArray[np.int64]], options: EmulatorOptions
) -> list[list[NDArray[np.float32]]]:
    """Weights and biases of each member, layer by layer."""
    from skytrace.learning.threads import deterministic_torch, resolve_device

    device = resolve_device(options.device)
    if options.processes > 1:
        return _trained_apart(task, learn, stops, options, device)
    bar: ProgressBar[int] = progress(options.members * options.epochs, "emulator's networks")
    states = []
    with bar, deterministic_torch(1, device=device):
        for member, stop in enumerate(stops):
            states.append(train_network(task, np.setdiff1d(learn, stop), stop, options, device, member, bar))
            bar.advance((member + 1) * options.epochs - bar.done)
    return states


def _trained_apart(
    task: LearningTask, learn: NDArray[np.int64], stops: list[NDArray[np.int64]], options: EmulatorOptions, device: str
) -> list[list[NDArray[np.float32]]]:
    """The members, several at a time, each in a process of its own: the same weights, since each has its own seeds."""
    import joblib

    work = (
        joblib.delayed(_member)(task, np.setdiff1d(learn, stop), stop, options, device, member)
        for member, stop in enumerate(stops)
    )
    trained = joblib.Parallel(n_jobs=min(options.processes, len(stops)), return_as="generator", max_nbytes=None)(work)
    return list(progress(trained, total=len(stops), description="emulator's networks"))


def _member(
    task: LearningTask, rows: NDArray[np.int64], stop: NDArray[np.int64], options: EmulatorOptions, device: str,
    member: int,
) -> list[NDArray[np.float32]]:  # fmt: skip
    from skytrace.learning.threads import deterministic_torch

    with deterministic_torch(1, device=device):
        return train_network(task, rows, stop, options, device, member)


def train_network(
    task: LearningTask,
    rows: NDArray[np.int64],
    stop: NDArray[np.int64],
    options: EmulatorOptions,
    device: str,
    member: int,
    bar: ProgressBar[int] | None = None,
) -> list[NDArray[np.float32]]:
    """One network: AdamW along a cosine, the weights of the epoch with the lowest loss on ``stop``."""
    import torch

    torch.manual_seed(int(np.random.SeedSequence([options.seed, member]).generate_state(1)[0]))
    widths = (task.inputs.shape[1], *options.hidden)
    layers: list[Any] = []
    for wide, narrow in itertools.pairwise(widths):
        layers += [torch.nn.Linear(wide, narrow), torch.nn.SiLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], task.targets.shape[1])).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
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
        if bar is not None:
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


def stacked_layers(
    states: list[list[NDArray[np.float32]]], layer: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(a, in, out) and (a, 1, out) of one layer of all members."""
    weight = np.stack([np.ascontiguousarray(state[2 * layer].T) for state in states])
    return weight, np.stack([state[2 * layer + 1][None] for state in states])
