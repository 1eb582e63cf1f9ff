"""Training models in shards: the same bytes on one process, on two and after a kill; either simulator."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from skytrace.errors import OptionError, SimulatorError
from skytrace.parameters import build_options
from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions, simulator_fingerprint
from skytrace.spectra.simulate import simulate_spectra
from skytrace.spectra.training_set import training_set_to_arrays
from skytrace.surveys.spectra.external_options import ExternalSimulatorOptions
from tests.pipelines import model_shard_work
from tests.pipelines.model_shard_work import COARSE, N_MODELS, TRAINING, models, train
from tests.surveys.spectra.test_external_simulator import DOUBLE


def _bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("models-*/[!.]*"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder)


def test_the_set_holds_the_simulators_spectra(whole):
    _, training = whole
    assert len(training.model_id) == N_MODELS
    np.testing.assert_array_equal(training.parameters, models().to_numpy())
    spectra = simulate_spectra(models().iloc[[4]], options=COARSE)
    np.testing.assert_array_equal(training.t_inner_k[4], spectra.t_inner_k[0])
    edges = np.sqrt(training.wavelength_angstrom[[0, -1]] * training.wavelength_angstrom[[1, -2]])
    fine = np.linspace(*edges, 100_000)
    theirs = np.trapezoid(np.interp(fine, spectra.wavelength_angstrom, spectra.luminosity[0]), fine) / 1e38
    ours = (training.luminosity_1e38[4, 1:-1] * np.gradient(training.wavelength_angstrom)[1:-1]).sum()
    assert ours == pytest.approx(theirs, rel=0.01)


def test_two_processes_give_the_bytes_of_one(whole, tmp_path):
    train(tmp_path, cluster="local", workers=2)
    assert _bytes(tmp_path) == _bytes(whole[0])


def test_kill_9_is_resumed_to_the_same_bytes(whole, tmp_path, repository):
    environment = {**os.environ, "PYTHONPATH": f"{repository / 'src'}:{repository}"}
    killed = subprocess.run([sys.executable, model_shard_work.__file__, tmp_path], env=environment, check=False)
    assert killed.returncode == -9
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("models-*/spectra*.npz")}
    assert len(before) == 2
    again = train(tmp_path)
    assert _bytes(tmp_path) == _bytes(whole[0])
    assert {path: path.stat().st_mtime_ns for path in before} == before, "finished shards were redone"
    assert list(tmp_path.glob("models-*/.*")) == [], "the half-written file of the killed program is still there"
    for name, values in training_set_to_arrays(whole[1]).items():
        np.testing.assert_array_equal(getattr(again, name), values)


def test_a_damaged_shard_is_computed_again(whole, tmp_path):
    train(tmp_path)
    (damaged,) = tmp_path.glob("models-*/spectra-0000002-0000004.npz")
    damaged.write_bytes(damaged.read_bytes()[:5000])
    train(tmp_path)
    assert _bytes(tmp_path) == _bytes(whole[0])


def test_other_options_have_other_shards_and_quarantine_needs_none(tmp_path):
    train(tmp_path)
    strict = replace(TRAINING, quarantine_unconverged=True, max_quarantined=1.0)
    unconverged = ~train(tmp_path).converged
    assert unconverged.sum() < N_MODELS
    assert len(train(tmp_path, training=strict).quarantine) == unconverged.sum()
    assert len(list(tmp_path.iterdir())) == 1
    train(tmp_path, seed=4)
    train(tmp_path, simulator=SimulatorOptions(built_in=replace(COARSE, zeta=0.4)))
    assert len(list(tmp_path.iterdir())) == 3


def test_an_external_program_takes_the_place_of_the_built_in_simulator(tmp_path):
    reference, log = tmp_path / "reference", tmp_path / "log"
    reference.mkdir()
    (reference / "behaviour.json").write_text(json.dumps({"kind": "good", "log": str(log)}))
    external = ExternalSimulatorOptions(
        str(DOUBLE), str(reference), str(tmp_path / "work"), lines=1, attempts=1, timeout_s=60.0
    )
    simulator = SimulatorOptions("external", external=external)
    training = train(tmp_path / "shards", simulator=simulator, workers=2)
    assert len(training.model_id) == N_MODELS
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    told = {json.loads(call["files"]["config.json"])["seed"] for call in calls}
    assert told == set(training.seed.tolist())
    train(tmp_path / "shards", simulator=simulator)
    assert len(log.read_text().splitlines()) == N_MODELS, "finished models were run again"
    before = simulator_fingerprint(simulator, {})
    (reference / "behaviour.json").write_text(json.dumps({"kind": "crash"}))
    assert simulator_fingerprint(simulator, {}) != before
    with pytest.raises(SimulatorError, match=r"7 of 7 models are in quarantine.* 7 exit status 3"):
        train(tmp_path / "shards", simulator=simulator)


def test_a_grid_beyond_the_simulators_wavelengths_is_refused(tmp_path):
    with pytest.raises(OptionError, match="training wavelengths 1000 to 10500 A do not lie"):
        train(tmp_path, training=replace(TRAINING, wavelength_low_angstrom=1000.0))


def test_options_come_from_yaml():
    program = {"executable": "lumina", "reference_folder": "r", "work_folder": "w", "environment": ["A"]}
    values = {"simulator": "external", "built_in": {"zones": 20}, "external": program}
    options = build_options("spectral_emulator.simulator", values, SimulatorOptions)
    assert options.built_in.zones == 20
    assert options.external.environment == ("A",)
    with pytest.raises(OptionError, match="simulator = 'external' needs the options external"):
        SimulatorOptions("external")
    with pytest.raises(OptionError, match=r"built_in\.outer_velocity_km_s = 25000: .* made for 30000 km/s alone"):
        SimulatorOptions(built_in=replace(COARSE, outer_velocity_km_s=25_000.0))
