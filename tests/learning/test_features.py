"""Features are the network's own activations, and belong to a stamp, not to its batch."""

import numpy as np
import pandas as pd
import pytest

from skytrace.audit.columns import METADATA_COLUMNS
from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.learning import ARCHITECTURES, Detector
from skytrace.learning.features import PENULTIMATE, detector_features, detector_layers
from skytrace.learning.networks import build_network, load_state, network_state
from skytrace.learning.scoring import score_stamps
from skytrace.learning.store import StampStore


def untrained(architecture, *, n_metadata=0, seed=0):
    """Random weights, with the batch statistics of real inputs so that activations differ between stamps."""
    import torch

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        network = build_network(architecture, n_metadata=n_metadata).train()
        network(torch.randn(32, 3, 64, 64), *([torch.randn(32, n_metadata)] if n_metadata else []))
    columns = list(METADATA_COLUMNS[:n_metadata])
    card = {"metadata": {"columns": columns, "mean": [1.0] * n_metadata, "sd": [2.0] * n_metadata}} if columns else {}
    return Detector(architecture, network_state(network), card)


@pytest.fixture(scope="module")
def stamps():
    return np.random.default_rng(0).normal(size=(40, 3, 64, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return untrained("resnet18")


def heard_by_a_hook(detector, module_name, stamps, *extra, entering=False):
    """What a plain forward pass of a network built here gives at a module: nothing of the code under test."""
    import torch

    network = load_state(
        build_network(detector.architecture, n_metadata=len(detector.metadata_columns)), detector.state
    ).eval()
    seen = []
    module = network.get_submodule(module_name)
    module.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0] if entering else output))
    with torch.no_grad():
        network(torch.from_numpy(stamps), *extra)
    return seen[0].numpy()


def test_penultimate_features_equal_what_a_hook_hears_before_the_last_layer(detector, stamps):
    features = detector_features(detector, stamps)[PENULTIMATE]
    assert features.shape == (40, 512) and features.dtype == np.float32
    expected = heard_by_a_hook(detector, "fc", stamps, entering=True)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)


def test_the_last_layer_applied_to_the_features_gives_the_score(detector, stamps):
    features = detector_features(detector, stamps)[PENULTIMATE].astype(float)
    logit = features @ detector.state["fc.weight"][0] + detector.state["fc.bias"][0]
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-logit)), score_stamps(detector, stamps), rtol=1e-5)


@pytest.mark.parametrize("place, width", [(1, 64), (2, 128), (3, 256), (4, 512)])
def test_a_stage_is_the_mean_of_its_activations_over_pixels(detector, stamps, place, width):
    name = f"layer{place}"
    features = detector_features(detector, stamps[:5], layers=(name,))
    assert list(features) == [name] and features[name].shape == (5, width)
    expected = heard_by_a_hook(detector, name, stamps[:5]).mean(axis=(2, 3))
    np.testing.assert_allclose(features[name], expected, rtol=1e-4, atol=1e-6)


def test_features_are_bit_identical_however_the_stamps_are_grouped(detector, stamps):
    layers = detector_layers(detector)
    assert layers == ("layer1", "layer2", "layer3", "layer4", PENULTIMATE)
    whole = detector_features(detector, stamps, layers=layers, batch_size=16)
    order = np.random.default_rng(1).permutation(len(stamps))
    shuffled = detector_features(detector, stamps[order], layers=layers, batch_size=16)
    parts = [
        detector_features(detector, part, layers=layers, batch_size=16) for part in np.array_split(stamps, [1, 17])
    ]
    for name in layers:
        np.testing.assert_array_equal(shuffled[name], whole[name][order])
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
def test_other_architectures_have_stages_and_penultimate_features(architecture, stamps):
    detector = untrained(architecture)
    layers = detector_layers(detector)
    features = detector_features(detector, stamps[:3], layers=(layers[1], PENULTIMATE), batch_size=16)
    last = list(build_network(architecture).named_modules())[-1][0]
    expected = heard_by_a_hook(detector, last, stamps[:3], entering=True)
    np.testing.assert_allclose(features[PENULTIMATE], expected, rtol=2e-3, atol=1e-4)
    stage = heard_by_a_hook(detector, layers[1], stamps[:3]).mean(axis=(2, 3))
    np.testing.assert_allclose(features[layers[1]], stage, rtol=2e-3, atol=1e-4)


def test_a_fused_detectors_features_hold_pixels_and_metadata(stamps):
    import torch

    detector = untrained("resnet18", n_metadata=2)
    values = np.random.default_rng(2).normal(size=(6, 2))
    table = pd.DataFrame(values, columns=list(detector.metadata_columns))
    features = detector_features(detector, stamps[:6], metadata=table)[PENULTIMATE]
    standardised = torch.from_numpy(((values - 1.0) / 2.0).astype(np.float32))
    expected = heard_by_a_hook(detector, "head", stamps[:6], standardised, entering=True)
    assert features.shape == (6, 512 + 32)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(CatalogueError):
        detector_features(detector, stamps[:6])


def test_a_store_on_disk_gives_the_same_features(detector, stamps, tmp_path):
    np.save(tmp_path / "stamps.npy", stamps)
    store = StampStore.open([tmp_path / "stamps.npy"])
    np.testing.assert_array_equal(
        detector_features(detector, store, batch_size=16)[PENULTIMATE],
        detector_features(detector, stamps, batch_size=16)[PENULTIMATE],
    )


def test_no_stamps_have_no_features_of_the_right_width(detector):
    nothing = np.empty((0, 3, 64, 64), np.float32)
    shapes = {
        name: part.shape for name, part in detector_features(detector, nothing, layers=("layer2", PENULTIMATE)).items()
    }
    assert shapes == {"layer2": (0, 128), PENULTIMATE: (0, 512)}


def test_an_unknown_layer_and_a_wrong_shape_are_named(detector, stamps):
    with pytest.raises(OptionError, match="layer9"):
        detector_features(detector, stamps, layers=("layer9",))
    with pytest.raises(PixelError):
        detector_features(detector, stamps[:, :2])
