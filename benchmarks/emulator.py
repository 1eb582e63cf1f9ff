"""Spectra a second from the emulator, on one core in batches, beside scikit-learn's network of the same layers.

ours: the distilled network of the default options, from parameters to stretched spectra with their scale, in numpy;
ours_ensemble: the ensemble that it learnt from. The peer is sklearn.neural_network.MLPRegressor with the same layers
(ReLU), fitted to the same scores and level, with the same way from these to spectra. All learn from spectra that the
built-in simulator makes here; cost_simulated: what one of them takes, over what ours takes. The errors are of models
apart from the few that were trained on, and say how they compare and not how good an emulator of 2,000 models is.
--quick: 24 models, four epochs; else 400, and 60 epochs. --check fails below 20,000 spectra/s, or where ours is slower
than the peer, whose units cost no exponential, by more than a third. There is no engine for an accelerator:
--gpu measures the same.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import dataclasses
import sys
import time
import warnings
from pathlib import Path
from typing import Any

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

BATCH = 8192
BOUNDS = {"ours": (2e4, float("inf")), "ratio": (0.67, float("inf"))}


def simulated(n: int) -> tuple[Any, Any, Any, float]:
    """(parameters (n, 15), wavelength (m,), luminosity (n, m) [erg/s/A] on it, CPU seconds a model)."""
    import numpy as np

    from skytrace.spectra import simulate_spectra
    from skytrace.spectra.parameter_space import draw_latin_hypercube, stage_one_space
    from skytrace.spectra.resampling import resample
    from skytrace.spectra.training_options import TrainingSetOptions
    from skytrace.spectra.training_set import training_wavelengths

    table, _ = draw_latin_hypercube(stage_one_space(), n, seed=1)
    simulate_spectra(table.iloc[:1])
    start = time.process_time()
    spectra = simulate_spectra(table)
    seconds = (time.process_time() - start) / n
    grid = training_wavelengths(TrainingSetOptions())
    flux = resample(spectra.wavelength_angstrom, spectra.luminosity, None, grid).flux
    good = spectra.converged & np.isfinite(flux).all(axis=1)
    return table.to_numpy(dtype=float)[good], grid, flux[good], seconds


def sklearn_peer(emulator: Any, theta: Any, flux: Any, options: Any) -> Any:
    """A function from parameters to stretched spectra by scikit-learn's network, fitted here."""
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    from skytrace.spectra.emulator_inputs import emulator_inputs
    from skytrace.spectra.preprocessing import mean_flux

    box = (emulator.low, emulator.high, emulator.logarithmic)
    components, mean = emulator.shape_components.astype(np.float32), emulator.shape_mean.astype(np.float32)
    level = mean_flux(emulator.wavelength_angstrom, flux, options.normalise_angstrom)
    scores = (
        np.arcsinh(flux / level[:, None] / emulator.softening) - emulator.shape_mean
    ) @ emulator.shape_components.T
    targets = np.column_stack([scores, np.log(level / emulator.level_erg_s_a) - theta @ emulator.level_slope])
    offset, scale = targets.mean(axis=0), targets.std(axis=0)

    def inputs(parameters: Any) -> Any:
        raw = emulator_inputs(parameters, emulator.names, box)
        return ((raw - emulator.input_mean) / emulator.input_scale).astype(np.float32)

    network = MLPRegressor(
        hidden_layer_sizes=options.distilled, batch_size=min(options.batch, len(theta)), max_iter=options.epochs,
        random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(inputs(theta), ((targets - offset) / scale).astype(np.float32))

    def predict(parameters: Any) -> Any:
        found = network.predict(inputs(parameters)) * scale.astype(np.float32) + offset.astype(np.float32)
        brightness = found[:, -1:] + (parameters @ emulator.level_slope).astype(np.float32)[:, None]
        return np.arcsinh(np.sinh(found[:, :-1] @ components + mean) * np.exp(brightness))

    return predict


def rms_errors(emulator: Any, stretched: Any, flux: Any) -> Any:
    """Rms error of each model over its peak."""
    from skytrace.spectra.emulator_validation import spectrum_rms

    return spectrum_rms(emulator.unstretch(stretched), flux)["rms_of_peak"].to_numpy()


def main() -> None:
    chosen = measure.arguments(__doc__)
    device = measure.one_thread()
    import numpy as np

    from skytrace.spectra.emulator_options import EmulatorOptions
    from skytrace.spectra.emulator_training import train_emulator
    from skytrace.spectra.parameter_space import stage_one_space

    n, epochs = (24, 4) if chosen.quick else (400, 60)
    theta, grid, flux, simulator_s = simulated(n)
    measure.note(f"{len(theta)} models, {simulator_s:.2f} CPU-s each")
    learn = np.arange(len(theta)) < 0.75 * len(theta)
    options = EmulatorOptions(
        epochs=epochs, stop_share=0.12, error_share=0.12, distilled_models=500 if chosen.quick else 60_000
    )
    given: Any = {"space": stage_one_space(), "options": options}
    ensemble = train_emulator(
        theta[learn], grid, flux[learn], **given | {"options": dataclasses.replace(options, distilled=None)}
    )
    start = time.process_time()
    emulator = train_emulator(theta[learn], grid, flux[learn], **given)
    training_s = time.process_time() - start
    measure.note(f"trained in {training_s:.1f} CPU-s")
    peer = sklearn_peer(emulator, theta[learn], flux[learn], options)
    measure.note("the peer is trained")
    many = theta[np.random.default_rng(0).integers(len(theta), size=BATCH)]
    ours, ours_ensemble, theirs = (
        BATCH / seconds
        for seconds in measure.best_seconds(
            lambda: emulator.predict_stretched(many), lambda: ensemble.predict_stretched(many), lambda: peer(many),
            repeats=2 if chosen.quick else 7,
        )
    )  # fmt: skip
    row = measure.print_line(
        name="emulator of spectra", unit="spectra/s", ours=ours, peer=theirs, ratio=ours / theirs,
        peer_name="scikit-learn MLPRegressor, same layers, one network", threads=1, device=device,
        members=options.members, ours_ensemble=ours_ensemble, pixels=len(grid),
        simulator_cpu_s=simulator_s, cost_simulated=simulator_s * ours, models=int(learn.sum()),
        training_cpu_s=training_s,
        error_of=f"rms over the peak, {int((~learn).sum())} models apart; trained on {int(learn.sum())} alone",
        **measure.error_figures(rms_errors(emulator, emulator.predict_stretched(theta[~learn])[0], flux[~learn])),
        **measure.error_figures(
            rms_errors(ensemble, ensemble.predict_stretched(theta[~learn])[0], flux[~learn]), "ensemble_error"
        ),
        **measure.error_figures(rms_errors(emulator, peer(theta[~learn]), flux[~learn]), "peer_error"),
    )  # fmt: skip
    if chosen.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.emulator: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
