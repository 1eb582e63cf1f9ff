"""How many threads torch uses, and the same answer each time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deterministic_torch"]


@contextlib.contextmanager
def deterministic_torch(threads: int) -> Iterator[None]:
    """Run the body with ``threads`` torch threads and deterministic kernels, then restore both settings.

    The number of threads belongs to the calling thread, so that shards in a thread pool may each ask for one.
    """
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
