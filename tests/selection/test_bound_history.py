"""How bounds and population came about is told of the run that it is true of, and of no other."""

import dataclasses

from skytrace.selection.bound_history import BOUNDS, bound_words, registration
from skytrace.selection.realism import ClassifierTestOptions, ComparisonSettings, GateOptions


def report(options: GateOptions | None = None, settings: ComparisonSettings | None = None, **more) -> dict:
    judged = {"options": options or GateOptions(), "settings": settings or ComparisonSettings()}
    return {**{name: dataclasses.asdict(value) for name, value in judged.items()}, **more}


def gate_1(low: float, high: float, status: str = "pass") -> dict:
    ends = {"ratio_low68": {"p10": 0.7, "median": low}, "ratio_high68": {"p10": 0.8, "median": high}}
    return {"name": "1 arc S/N", "status": status, "statistics": ends, "bound": {"ratio_low": 0.5, "ratio_high": 2.0}}


def test_every_registered_bound_is_the_default_that_gates_are_judged_by():
    found = registration(report())
    assert [entry["value"] for entry in found] == [bound.value for bound in BOUNDS]
    assert [entry["gate"] for entry in found] == [1, 1, 2, 3, 5, 8]
    late = [entry for entry in found if entry["registered"] != "fixed before any run"]
    assert [entry["bound"] for entry in late] == ["classifier_test.auc_max"]
    assert late[0]["registered"].startswith("set 2026-11-21 after a run of the built-in sky")


def test_a_bound_that_a_run_changed_is_not_called_registered():
    settings = ComparisonSettings(classifier_test=ClassifierTestOptions(auc_max=0.95))
    words = bound_words(report(GateOptions(snr_ratio_low=0.3), settings))
    changed = [sentence for sentence in words if "changed by the parameters of this run" in sentence]
    assert len(changed) == 2
    assert any("0.5 is the registered value" in s and s.endswith("gate 1 snr_ratio_low = 0.3.") for s in changed)
    assert any("0.85 is the registered value" in s and "classifier_test.auc_max = 0.95" in s for s in changed)
    before = next(sentence for sentence in words if sentence.startswith("Bounds fixed before any run"))
    assert "snr_ratio_high = 2" in before and "snr_ratio_low" not in before


def test_the_change_of_the_population_after_a_fallen_gate_is_told_where_it_holds():
    told = [words for words in bound_words(report(), {"mag_r_min": 21.5}) if "after a gate had fallen" in words]
    assert len(told) == 1
    for figure in ("0.49", "0.53", "0.49 to 0.60", "89d6b45", "interval that holds the bound"):
        assert figure in told[0]
    assert not any("after a gate had fallen" in words for words in bound_words(report(), {"mag_r_min": 22.0}))
    assert not any("after a gate had fallen" in words for words in bound_words(report()))


def test_a_pass_whose_interval_holds_the_bound_is_called_narrow():
    def narrow(gate: dict) -> list[str]:
        return [words for words in bound_words(report(gates=[gate])) if "narrowly" in words]

    assert narrow(gate_1(0.49, 0.60)) == [
        "Gate 1 passes narrowly: the 68 % interval holds the bound in median (0.49 to 0.60 holds 0.5)."
    ]
    assert not narrow(gate_1(0.51, 0.60))
    assert not narrow(gate_1(0.40, 0.60, status="fail"))
    assert len(narrow(gate_1(1.8, 2.1))) == 1


def test_a_report_without_its_options_says_that_nothing_is_known():
    assert bound_words({"gates": []}) == ["How its bounds came about is not known: the report does not hold them."]
