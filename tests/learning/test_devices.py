"""Choice of the device, and half precision; the last test needs a graphics processor and skips where there is none."""

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.learning import TrainingOptions, score_stamps
from skytrace.learning.threads import deterministic_torch, resolve_device
from skytrace.learning.training import train_detector
from tests.learning.test_scoring import untrained
from tests.learning.test_training import TINY


@pytest.fixture(params=[False, True], ids=["no processor", "a processor"])
def graphics_processor(request, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    return request.param


def test_auto_takes_a_graphics_processor_where_there_is_one(graphics_processor):
    assert resolve_device("auto") == ("cuda" if graphics_processor else "cpu")
    assert resolve_device("cpu") == "cpu"
    if graphics_processor:
        assert resolve_device("cuda") == "cuda"
    else:
        with pytest.raises(OptionError, match="no graphics processor"):
            resolve_device("cuda")


def test_a_processor_that_is_not_there_is_refused_before_any_work(training, validation, monkeypatch):
    import dataclasses

    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="device = 'cuda'"):
        train_detector(training, validation, options=dataclasses.replace(TINY, device="cuda"))
    with pytest.raises(OptionError, match="device = 'cuda'"):
        score_stamps(untrained("resnet18"), np.zeros((1, 3, 64, 64), np.float32), device="cuda")
    with pytest.raises(OptionError, match="device = 'tpu' is not one of auto, cpu, cuda"):
        TrainingOptions(device="tpu")


def test_only_the_cpu_is_held_to_deterministic_kernels():
    import torch

    for device, expected in (("cpu", True), ("cuda", False)):
        with deterministic_torch(1, device=device):
            assert torch.are_deterministic_algorithms_enabled() is expected
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_loss_is_not_scaled_on_a_cpu():
    """Scaling by powers of two would be exact, but a disabled scaler must not even be asked: same bytes as without."""
    import torch

    scaler = torch.amp.GradScaler("cuda", enabled=False)
    loss = torch.tensor(0.3)
    assert scaler.scale(loss) is loss
    assert scaler.state_dict() == {}


def test_mixed_precision_survives_an_overflow_and_resumes_with_its_loss_scale(tmp_path, monkeypatch):
    """The half-precision path, emulated on the CPU, from a scale so large that the first gradients overflow."""
    import dataclasses

    import torch

    from skytrace.learning.checkpoint import Checkpoint
    from tests.learning.conftest import ring_stamps
    from tests.learning.test_training import Interrupted, same_bytes

    real, save, records = torch.amp.GradScaler, Checkpoint.save, []
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: real(device, enabled=True, init_scale=2.0**30))
    samples = ring_stamps(60, seed=1, size=16), ring_stamps(30, seed=2, size=16)
    options = dataclasses.replace(TINY, epochs=2, images_per_epoch=64, batch_size=16)
    expected, history = train_detector(*samples, options=options)
    assert all(np.isfinite(record["training_loss"]) for record in history)

    def save_and_stop(self, tensors, record):
        save(self, tensors, record)
        records.append(record)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        with pytest.raises(Interrupted):
            train_detector(*samples, options=options, checkpoint_folder=tmp_path)
    assert records[0]["loss_scale"]["scale"] < 2.0**30, "an overflow halves the scale"
    resumed, again = train_detector(*samples, options=options, checkpoint_folder=tmp_path)
    assert same_bytes(resumed, expected)
    assert again == history


def test_training_runs_unchanged_on_a_graphics_processor_and_resumes_there(training, validation, tmp_path, monkeypatch):
    import dataclasses

    import torch

    if not torch.cuda.is_available():
        pytest.skip("no graphics processor on this machine")
    from skytrace.learning.checkpoint import Checkpoint
    from skytrace.learning.metrics import roc_auc
    from tests.learning.test_training import Interrupted

    options, save = dataclasses.replace(TINY, device="cuda"), Checkpoint.save

    def save_and_stop(self, *args):
        save(self, *args)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        with pytest.raises(Interrupted):
            train_detector(training, validation, options=options, checkpoint_folder=tmp_path)
    detector, history = train_detector(training, validation, options=options, checkpoint_folder=tmp_path)
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert detector.card["device"] == "cuda"
    scores = score_stamps(detector, validation.stamps)
    assert roc_auc(scores, validation.labels) > 0.9
    np.testing.assert_allclose(score_stamps(detector, validation.stamps, device="cuda"), scores, atol=0.02)
