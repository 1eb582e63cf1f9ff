"""The table at a run's end: its counts, places and times are the run's; escape codes only where they are wanted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skytrace.provenance import summary
from skytrace.provenance.results import Results
from skytrace.provenance.summary import RunSummary, duration


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(summary.time, "perf_counter", lambda: Clock.now)
    return Clock


def _run(project: Path, clock) -> RunSummary:
    made = RunSummary(project)
    data = project / "data"
    for start, end, node, pipeline, paths in (
        (0, 4, "lens_finder.cut", "lens_finder", [data / "03_primary/mock/lens_finder/stamps.npz"]),
        (4, 9, "injection_recovery.inject", "injection_recovery", [
            data / "07_model_output/des/injection_recovery/shards.parquet",
            data / "08_reporting/des/injection_recovery/report.json"]),
        (9, 150, "injection_recovery.fit", "injection_recovery", [
            data / "08_reporting/des/injection_recovery/report.json", None]),
    ):  # fmt: skip
        clock.now = float(start)
        made.node_begins(node, pipeline)
        clock.now = start + 1.0
        made.node_begins(node, pipeline)  # by loading, then by running: the clock starts once
        for path in paths:
            clock.now = float(end)
            made.node_ends(node, path)
    return made


def test_a_row_counts_nodes_and_datasets_once_and_adds_up_the_time_of_its_nodes(tmp_path, clock):
    assert _run(tmp_path, clock).rows() == [
        ("lens_finder", "1", "1", "4.0 s", "data/03_primary/mock/lens_finder"),
        ("injection_recovery", "2", "2", "2 min", "data/*/des/injection_recovery"),
    ]


def test_the_table_has_no_frame_no_folded_path_and_no_blanks_at_its_ends(tmp_path, clock, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    made = _run(tmp_path, clock)
    long = tmp_path / f"data/08_reporting/des/injection_recovery/{'x' * 90}.json"
    paths = {
        "injection_recovery.realism_report": tmp_path / "data/08_reporting/des/injection_recovery/report.json",
        "lens_finder.evaluation": long,
    }
    made.show(Results("GO", None, paths, notes=("note: run 1 failed",)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "pipeline            nodes  datasets   time  where (150 s in all)".replace("150 s", "2 min"),
        "lens_finder             1         1  4.0 s  data/03_primary/mock/lens_finder",
        "injection_recovery      2         2  2 min  data/*/des/injection_recovery",
    ]
    assert lines[4] == "verdict: GO"
    assert lines[5].split("  ")[0] == "data/08_reporting/des/injection_recovery/report.json"
    assert lines[5].endswith("the realism gates")
    assert lines[6] == f"{long.relative_to(tmp_path)}  the detector on sky it never saw (of an earlier run)"
    assert lines[7:] == ["note: run 1 failed"]


def test_results_that_this_run_did_not_make_are_told_as_such(tmp_path, clock, capsys):
    made = _run(tmp_path, clock)
    path = tmp_path / "data/08_reporting/mock/lens_finder/evaluation.json"
    made.show(Results("NO-GO", None, {"lens_finder.evaluation": path}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("of earlier runs:") + 1] == "verdict: NO-GO"


def test_a_version_of_what_was_made_is_of_this_run(tmp_path):
    made = RunSummary(tmp_path)
    made.node_begins("n", "p")
    made.node_ends("n", tmp_path / "a.npz")
    assert made._is_new(tmp_path / "a.npz/2026/a.npz")
    assert not made._is_new(tmp_path / "b.npz/2026/b.npz")


def test_nothing_run_is_said_and_not_where_other_processes_ran_it(tmp_path, capsys):
    RunSummary(tmp_path).show(Results(None, None))
    assert "nothing was run" in capsys.readouterr().out
    RunSummary(tmp_path, in_other_processes=True).show(Results(None, None))
    assert "nothing was run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (74.2, "74 s"), (121.0, "2 min"), (12240.0, "3.4 h")]
)
def test_times_have_a_unit_that_can_be_read(seconds, words):
    assert duration(seconds) == words


PROGRAM = """
from pathlib import Path
from skytrace.provenance.results import Results
from skytrace.provenance.summary import RunSummary
made = RunSummary(Path("/p"))
made.node_begins("a", "lens_finder")
made.node_ends("a", Path("/p/data/08_reporting/mock/lens_finder/evaluation.json"))
found = {"lens_finder.evaluation": Path("/p/data/08_reporting/mock/lens_finder/evaluation.json")}
made.show(Results("GO", None, found, notes=("note: x",)))
"""


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False), ({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
    ids=["piped", "FORCE_COLOR", "NO_COLOR", "both"],
)  # fmt: skip
def test_escape_codes_follow_no_color_and_force_color(variables, coloured):
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment = {**clean, "TERM": "xterm-256color", **variables}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert ("\x1b[" in done.stdout) == coloured
    assert "verdict: GO" in done.stdout
