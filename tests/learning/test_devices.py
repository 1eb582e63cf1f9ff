"""Choice of the device. No test here runs on a graphics processor: it is replaced by what torch would say of one."""

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
