"""One small network in place of an ensemble: it learns what the ensemble predicts, and how far its members disagree.

The ensemble costs nothing to ask, so that the small network learns from as many models as it needs (Hinton, Vinyals &
Dean 2015, arXiv:1503.02531). What it gets wrong beside the ensemble's own error is measured with that error, on models
of the simulator that neither saw.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytrace.compute.progress import ProgressBar, progress
from skytrace.spectra.emulator import member_spread
from skytrace.spectra.emulator_networks import LearningTask, stacked_layers, train_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.emulator import SpectrumEmulator
    from skytrace.spectra.emulator_options import EmulatorOptions

__all__ = ["distil"]

#: Weight of ln(spread), in units of its scatter, in the loss: the spectrum is what counts.
_SPREAD_WEIGHT = 0.05
_BATCH, _WEIGHT_DECAY, _STOPPING = 256, 1e-5, 0.02
_SMALLEST_SPREAD = 1e-6
#: Models that are asked together; threads of the training, always as many: the last bits depend on them.
_ROWS, _THREADS = 4096, 2


def distil(
    ensemble: SpectrumEmulator, inputs: NDArray[np.float32], metric: NDArray[np.float32], options: EmulatorOptions
) -> SpectrumEmulator:
    """The emulator whose one network, of ``options.distilled``, stands for the members of ``ensemble``; its error is
    still the ensemble's. None there gives the ensemble back.

    inputs (n, q): standardised, of the models on which it learns; metric (k + 1, k + 1): of the loss.
    """
    if options.distilled is None:
        return ensemble
    from skytrace.learning.threads import deterministic_torch, resolve_device

    parts = [ensemble.members(inputs[first : first + _ROWS]) for first in range(0, len(inputs), _ROWS)]
    raw = np.concatenate(parts, axis=1)
    scaled = raw.astype(np.float64) * ensemble.output_scale
    spread = np.log(np.maximum(member_spread(scaled, len(ensemble.wavelength_angstrom)), _SMALLEST_SPREAD))
    middle, width = spread.mean(), spread.std() or 1.0
    targets = np.column_stack([raw.mean(axis=0), (spread - middle) / width]).astype(np.float32)
    wider = np.zeros((len(metric) + 1,) * 2, dtype=np.float32)
    wider[:-1, :-1], wider[-1, -1] = metric, _SPREAD_WEIGHT
    small = replace(
        options, hidden=options.distilled, batch=_BATCH, weight_decay=_WEIGHT_DECAY,
        epochs=options.distilled_epochs, patience=options.distilled_epochs,
    )  # fmt: skip
    stop = np.arange(max(2, round(_STOPPING * len(inputs))))
    device = resolve_device(options.device)
    bar: ProgressBar[int] = progress(small.epochs, "distilled network")
    with bar, deterministic_torch(_THREADS, device=device):
        state = train_network(
            LearningTask(inputs, targets, wider), np.arange(len(stop), len(inputs)), stop, small, device,
            options.members, bar,
        )  # fmt: skip
    layers = len(small.hidden) + 1
    weights, biases = zip(*(stacked_layers([state], layer) for layer in range(layers)), strict=True)
    return replace(
        ensemble, weights=weights, biases=biases, distilled=True,
        output_mean=np.append(ensemble.output_mean, middle), output_scale=np.append(ensemble.output_scale, width),
    )  # fmt: skip
