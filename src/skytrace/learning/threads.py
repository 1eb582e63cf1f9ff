"""Where torch runs and on how many threads, and the same answer each time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from skytrace.errors import OptionError, check_choice
from skytrace.learning.options import DEVICES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deterministic_torch", "resolve_device", "torch_threads"]


def resolve_device(device: str) -> str:
    """Return cpu or cuda: auto takes a graphics processor if there is one. OptionError for cuda where there is none."""
    check_choice("device", device, DEVICES)
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise OptionError("device = 'cuda', but torch finds no graphics processor here; use device = 'auto' or 'cpu'")
    return "cpu"


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Run the body with ``threads`` torch threads and restore the former number, which is the calling thread's own."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic_torch(threads: int, *, device: str = "cpu") -> Iterator[None]:
    """As ``torch_threads``, with deterministic kernels and the random state given back. One thread at a time.

    device "cuda": its kernels are left as they are, because some have no deterministic form.
    """
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(device == "cpu")
    devices = list(range(torch.cuda.device_count())) if device == "cuda" else []
    try:
        with torch_threads(threads), torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
