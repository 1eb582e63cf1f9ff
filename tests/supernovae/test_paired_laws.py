"""Differences of elpd by hand, and laws that cannot be paired."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.supernovae.paired_laws import paired_difference, paired_laws


def test_a_difference_and_its_error_by_hand():
    found = paired_difference(np.array([1.0, 2.0, 4.0]), np.array([0.0, 0.0, 1.0]))
    assert found["difference"] == 6.0
    assert found["se"] == pytest.approx(np.sqrt(3.0) * 1.0)
    assert found["standard_errors"] == pytest.approx(6.0 / np.sqrt(3.0))
    assert found["verdict"] == "better"
    assert found["indistinguishable"] is False


def test_four_standard_errors_of_a_difference_below_four_are_no_victory():
    found = paired_difference(np.array([1.0, 1.1, 1.2]), np.zeros(3))
    assert found["standard_errors"] > 4.0
    assert (found["verdict"], found["indistinguishable"]) == ("equal", True)


def test_equal_laws_have_no_distance():
    found = paired_difference(np.ones(4), np.ones(4))
    assert (found["difference"], found["standard_errors"], found["indistinguishable"]) == (0.0, None, True)


@pytest.fixture
def pointwise() -> pd.DataFrame:
    rows = {"flat_lcdm": 0.0, "log_distance": -1.0, "flat_lcdm_mixture": 5.0, "log_distance_mixture": 4.5}
    parts = [
        pd.DataFrame(
            {"snid": ["a", "b", "c"], "elpd_loo": value + np.array([0.0, 0.1, 0.2]) * value, "posterior": name}
        )
        for name, value in rows.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_laws_meet_the_reference_of_their_own_noise(pointwise):
    scores = pd.DataFrame(
        {"snid": ["a", "b", "a", "b"], "model": ["flat_lcdm"] * 2 + ["log_distance"] * 2,
         "elpd": [0.0, 0.0, -1.0, -2.0],
         "held_out": [False, True, False, True]}
    )  # fmt: skip
    scores = pd.concat([scores, scores.assign(snid=scores["snid"] + "2")], ignore_index=True)
    report = paired_laws(pointwise, scores)
    assert set(report["loo"]["student_t"]) == {"log_distance"}
    assert report["loo"]["student_t"]["log_distance"]["difference"] == pytest.approx(-3.3)
    assert report["loo"]["mixture"]["log_distance"]["difference"] == pytest.approx(-1.65)
    assert report["noise"]["flat_lcdm"]["difference"] == pytest.approx(16.5)
    assert report["noise"]["log_distance"]["difference"] == pytest.approx(3 * 4.5 + 0.3 * 4.5 + 3.3)
    assert report["folds"]["log_distance"]["difference"] == -2.0
    assert report["held_out"]["log_distance"]["difference"] == -4.0


def test_laws_of_other_supernovae_are_refused(pointwise):
    pointwise.loc[pointwise["posterior"] == "log_distance", "snid"] = ["a", "c", "b"]
    scores = pd.DataFrame({"snid": [], "model": [], "elpd": [], "held_out": []}).astype({"held_out": bool})
    with pytest.raises(CatalogueError, match="cannot be paired"):
        paired_laws(pointwise, scores)
