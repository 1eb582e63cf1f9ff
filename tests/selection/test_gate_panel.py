"""Gate 6: a panel whose key stands apart, the same for the same seed; answers judged where there are any."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.selection.realism.blind_panel import blind_panel_key, gate_blind_panel
from skytrace.selection.realism.options import BlindPanelOptions, GateOptions
from tests.selection.gate_arcs import cheap, sample_of

SAMPLE = sample_of(cheap(60, seed=1, n_features=1), cheap(500, seed=2, n_features=1))


def key_of(seed=1, sample=SAMPLE):
    return blind_panel_key(sample, gates=GateOptions(), options=BlindPanelOptions(seed=seed))


def test_half_the_panel_are_anchors_each_with_an_injection_of_its_kind_and_no_stamp_twice():
    key = key_of()
    assert list(key["stamp"]) == list(range(1, 51)) and key["is_anchor"].sum() == 25
    assert not key.duplicated(["is_anchor", "row"]).any()
    assert (key.groupby("pair")["is_anchor"].agg(["sum", "size"]) == [1, 2]).all().all()
    real, fake = (key[key["is_anchor"] == one].sort_values("pair")["row"].to_numpy() for one in (True, False))
    apart = SAMPLE.anchors["theta_e"].to_numpy()[real] - SAMPLE.injections["theta_e"].to_numpy()[fake]
    assert np.abs(apart).max() <= 0.25 * (1 + 1e-9)
    snr = np.log10(SAMPLE.anchors["arc_snr"].to_numpy()[real] / SAMPLE.injections["arc_snr"].to_numpy()[fake])
    assert np.abs(snr).max() <= 0.15 * (1 + 1e-9)


def test_no_host_is_shown_twice_and_none_is_an_anchors_own_galaxy():
    injections = cheap(500, seed=2, n_features=1)
    few = injections.assign(galaxy_id=[f"host-{k % 60}" for k in range(len(injections))])
    own = SAMPLE.anchors["galaxy_id"].iloc[:30].to_numpy()
    few.loc[:29, "galaxy_id"] = own  # as if thirty anchors had been injected into
    sample = sample_of(SAMPLE.anchors, few)
    for seed in range(5):
        key = key_of(seed, sample)
        assert len(key) == 50
        real, fake = (key[key["is_anchor"] == one]["row"].to_numpy() for one in (True, False))
        hosts = pd.concat([sample.anchors["galaxy_id"].iloc[real], sample.injections["galaxy_id"].iloc[fake]])
        assert not hosts.duplicated().any(), "a stamp whose host is seen twice is an injection"
        assert not set(sample.injections["galaxy_id"].iloc[fake]) & set(own)
    with pytest.raises(CatalogueError, match="injections lack the column galaxy_id"):
        key_of(sample=sample_of(SAMPLE.anchors, few.drop(columns="galaxy_id")))


def test_the_order_follows_from_the_seed_and_tells_nothing():
    pd.testing.assert_frame_equal(key_of(1), key_of(1))
    assert not key_of(1).equals(key_of(2))
    places = np.array([key_of(seed)["is_anchor"].to_numpy() for seed in range(12)])
    assert 0.3 < places[:, :25].mean() < 0.7


def test_without_answers_the_gate_says_that_nobody_was_asked():
    gate = gate_blind_panel(key_of())
    assert gate.status == "reported" and gate.statistics["answers"] == 0 and "Nobody was asked" in gate.sentence


@pytest.mark.parametrize("right", [25, 40, 49])
def test_answers_are_counted_and_no_machine_judges_them(right):
    key = key_of()
    called = key["is_anchor"].to_numpy().copy()
    called[right:] = ~called[right:]
    gate = gate_blind_panel(key, answers=pd.DataFrame({"stamp": key["stamp"], "called_anchor": called}))
    assert gate.status == "reported" and gate.statistics["right"] == right
    assert gate.statistics["low95"] < right / 50 < gate.statistics["high95"]
    with pytest.raises(CatalogueError, match="99"):
        gate_blind_panel(key, answers=pd.DataFrame({"stamp": [99], "called_anchor": [True]}))


def test_too_few_anchors_give_no_panel():
    few = key_of(sample=sample_of(cheap(12, seed=1), cheap(500, seed=2)))
    assert len(few) == 0 and gate_blind_panel(few).status == "insufficient"
    small = dataclasses.replace(BlindPanelOptions(), stamps=10)
    assert gate_blind_panel(key_of(), options=small).status == "reported"
