"""Membership is pandas' own, at the cost of a set."""

import numpy as np
import pandas as pd

from skytrace.sky.identifiers import is_among


def test_membership_is_that_of_isin():
    rng = np.random.default_rng(1)
    names = pd.Series([f"g{k}" for k in rng.integers(0, 400, 900)], dtype="str")
    known = pd.Series([f"g{k}" for k in rng.integers(0, 400, 150)], dtype="str")
    expected = names.isin(known).to_numpy()
    assert 0 < expected.sum() < len(names)
    for given in (known, known.tolist(), known.to_numpy(object), pd.Index(known), set(known), known.astype(object)):
        np.testing.assert_array_equal(is_among(names, given), expected)
    assert is_among(names, []).sum() == 0 and is_among([], known).shape == (0,)
