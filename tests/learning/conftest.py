"""A small problem that a ResNet learns in seconds: a ring around half of the noisy blobs."""

import numpy as np
import pytest

from skytrace.learning.training import LabelledStamps


def ring_stamps(n: int, *, seed: int, size: int = 32) -> LabelledStamps:
    """Blobs in noise (n, 3, size, size); those with label 1 have a ring in g."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3 == 0).astype(np.int64)
    y, x = np.indices((size, size)) - size // 2
    radius = np.hypot(x, y)
    stamps = rng.normal(size=(n, 3, size, size)).astype(np.float32) + (6.0 * np.exp(-radius / 2.0)).astype(np.float32)
    stamps[:, 0] += (labels[:, None, None] * 2.5 * np.exp(-0.5 * ((radius - 8.0) / 1.5) ** 2)).astype(np.float32)
    return LabelledStamps(stamps, labels, is_confuser=(labels == 0) & (np.arange(n) % 5 == 0))


@pytest.fixture(scope="session")
def training() -> LabelledStamps:
    return ring_stamps(240, seed=1)


@pytest.fixture(scope="session")
def validation() -> LabelledStamps:
    return ring_stamps(90, seed=2)
