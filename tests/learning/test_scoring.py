import numpy as np
import pytest

from skytrace.errors import OptionError, PixelError
from skytrace.learning import ARCHITECTURES, Detector, score_stamps
from skytrace.learning.networks import build_network, network_state


def untrained(architecture: str, seed: int = 0) -> Detector:
    """Random weights with batch statistics of real inputs, so that scores differ between stamps."""
    import torch

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        network = build_network(architecture).train()
        network(torch.randn(32, 3, 64, 64))
    return Detector(architecture, network_state(network), {})


@pytest.fixture(scope="module")
def stamps():
    return np.random.default_rng(0).normal(size=(150, 3, 64, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return untrained("resnet18")


@pytest.fixture(scope="module")
def scores(detector, stamps):
    return score_stamps(detector, stamps)


def test_scores_are_bit_identical_however_the_stamps_are_grouped(detector, stamps, scores):
    assert len(np.unique(scores)) == len(scores)
    order = np.random.default_rng(1).permutation(len(stamps))
    np.testing.assert_array_equal(score_stamps(detector, stamps[order]), scores[order])
    np.testing.assert_array_equal(score_stamps(detector, stamps[70:73]), scores[70:73])
    pieces = np.concatenate([score_stamps(detector, part) for part in np.array_split(stamps, [1, 64, 90])])
    np.testing.assert_array_equal(pieces, scores)


def test_threads_of_a_pool_score_alike(detector, stamps, scores):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda part: score_stamps(detector, part), np.array_split(stamps, 2)))
    np.testing.assert_array_equal(np.concatenate(halves), scores)


def test_threads_that_start_together_build_a_network_once(stamps, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier
    from time import sleep

    from skytrace.learning import scoring

    built = []

    def slowly(detector, build=scoring.frozen_network):
        built.append(detector)
        sleep(0.2)
        return build(detector)

    def score(part):
        together.wait()
        return score_stamps(fresh, part)

    monkeypatch.setattr(scoring, "frozen_network", slowly)
    fresh, together = untrained("resnet18", seed=3), Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(score, [stamps[:16]] * 4))
    assert len(built) == 1
    assert all(np.array_equal(part, parts[0]) for part in parts)


def test_scoring_leaves_the_number_of_threads_as_it_was(detector, stamps):
    import torch

    before = torch.get_num_threads()
    score_stamps(detector, stamps[:2], threads=before + 1)
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_scores_match_a_plain_forward_pass(detector, stamps, scores):
    import torch

    from skytrace.learning.networks import load_state

    network = load_state(build_network("resnet18"), detector.state).eval()
    with torch.no_grad():
        expected = torch.sigmoid(network(torch.from_numpy(stamps[:8]))[:, 0]).numpy()
    np.testing.assert_allclose(scores[:8], expected, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
def test_other_architectures_score_the_same_in_any_order(architecture, stamps):
    detector = untrained(architecture)
    scores = score_stamps(detector, stamps[:40], batch_size=16)
    np.testing.assert_array_equal(score_stamps(detector, stamps[:40][::-1], batch_size=16)[::-1], scores)


def test_no_stamps_give_no_scores(detector):
    assert score_stamps(detector, np.empty((0, 3, 64, 64), np.float32)).shape == (0,)


def test_unusable_stamps_are_refused(detector, stamps):
    with pytest.raises(PixelError, match=r"\(n, 3, 64, 64\)"):
        score_stamps(detector, stamps[:, :, :32, :32])
    with pytest.raises(PixelError, match=r"\(n, 3, 64, 64\)"):
        score_stamps(detector, stamps[:, :2])
    with pytest.raises(PixelError, match="float64"):
        score_stamps(detector, stamps.astype(np.float64))
    broken = stamps[:4].copy()
    broken[2, 0, 32, 32] = np.nan
    with pytest.raises(PixelError, match="stamp 2"):
        score_stamps(detector, broken)
    with pytest.raises(OptionError, match="batch_size"):
        score_stamps(detector, stamps, batch_size=0)


def test_unknown_architecture_is_refused():
    with pytest.raises(OptionError, match="not one of resnet18"):
        build_network("vit_b_16")
    with pytest.raises(OptionError, match="not one of resnet18"):
        Detector("vit_b_16", {}, {})


def test_the_first_layer_takes_any_number_of_bands():
    import torch

    for architecture in ARCHITECTURES:
        assert build_network(architecture, in_channels=5).eval()(torch.zeros(1, 5, 64, 64)).shape == (1, 1)


@pytest.mark.parametrize("value", [0.0, 1.0, 1.5, float("nan")])
def test_a_threshold_outside_zero_and_one_is_refused(detector, value):
    with pytest.raises(OptionError, match="threshold"):
        detector.with_card(threshold={"value": value})


def test_a_detector_without_a_threshold_says_so(detector):
    with pytest.raises(OptionError, match="no threshold"):
        _ = detector.threshold
    assert detector.with_card(threshold={"value": 0.3}).threshold == 0.3


def test_stamps_prepared_otherwise_than_in_training_are_refused(detector):
    trained = detector.with_card(preprocessing={"checksum": "ab" * 32})
    trained.check_preprocessing("ab" * 32)
    with pytest.raises(PixelError, match="preprocessing"):
        trained.check_preprocessing("cd" * 32)


def test_weights_that_are_not_finite_are_refused(detector):
    name = next(iter(detector.state))
    with pytest.raises(OptionError, match="not finite"):
        Detector("resnet18", detector.state | {name: detector.state[name] * np.nan})
