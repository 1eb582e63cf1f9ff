"""Coverage in shards: resumed after a loss, the same to the bit."""

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import OptionError
from skytrace.pipelines.spectral_emulator.inference_shards import MockShardOptions, coverage_in_shards
from skytrace.spectra.emulator import SpectrumEmulator
from skytrace.spectra.emulator_error import EmulatorError
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.parameter_space import ParameterSpace

BINS = 64
SPACE = ParameterSpace(("first", "second"), (-1.0, -1.0), (1.0, 1.0), ("", ""), (False, False))


def _emulator():
    """A network of one layer without hidden units: y's shape is linear in the two parameters."""
    place = np.linspace(0.0, 1.0, BINS)
    components = np.linalg.qr(np.stack([np.sin(6 * place), np.cos(9 * place)], axis=1))[0].T
    return SpectrumEmulator(
        names=SPACE.names, low=np.array(SPACE.low), high=np.array(SPACE.high), logarithmic=np.zeros(2, dtype=bool),
        wavelength_angstrom=np.exp(np.linspace(np.log(3600.0), np.log(9000.0), BINS)), softening=0.05,
        level_erg_s_a=1e39, shape_mean=np.full(BINS, 3.0), shape_components=components, input_mean=np.zeros(2),
        input_scale=np.ones(2), output_mean=np.zeros(3), output_scale=np.ones(3), level_slope=np.zeros(2),
        weights=(np.array([[[2.0, 0.5, 0.1], [0.3, 2.0, 0.0]]], dtype=np.float32),),
        biases=(np.zeros((1, 1, 3), dtype=np.float32),),
        error=EmulatorError(np.zeros((1, BINS)), np.full(BINS, 4e-4), 0.0, 1.0, np.zeros(0), np.full(BINS, 0.02)),
    )  # fmt: skip


def test_a_lost_shard_is_computed_again_and_the_rest_is_not(tmp_path):
    emulator = _emulator()
    rng = np.random.default_rng(0)
    truth = rng.uniform(-0.5, 0.5, size=(4, 2))
    luminosity = emulator.predict(truth).luminosity
    error = 0.03 * luminosity
    luminosity = luminosity + error * rng.normal(size=luminosity.shape)
    luminosity[:, :3] = np.nan

    def run():
        return coverage_in_shards(
            luminosity, error, truth, emulator=emulator, space=SPACE,
            options=LikelihoodOptions(excluded={}, inadequacy=False, distance_modulus_err_mag=0.0),
            sampler=SpectrumSamplerOptions(n_prior_draws=64, n_starts=1, nuts_warmup=60, nuts_draws=60,
                                           max_tree_depth=4),
            shards=MockShardOptions(str(tmp_path), mocks=2), cluster=ClusterOptions(cluster="inline"),
        )  # fmt: skip

    first = run()
    assert list(first["mock"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert ((first["mean"] - first["truth"]).abs() < 5 * first["sd"]).all()
    assert (first["sd"] < 0.1).all()
    lost, kept = sorted(tmp_path.rglob("posteriors-*.parquet"))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    pd.testing.assert_frame_equal(run(), first)
    assert kept.stat().st_mtime_ns == before


def test_shards_need_a_folder():
    with pytest.raises(OptionError, match="folder = ''"):
        MockShardOptions("")
