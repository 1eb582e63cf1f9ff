"""After SIGKILL of any process of a run at any moment, running again gives the bytes of a run that nobody killed.

Plain pytest carries out the short form, whose last kill is of a ``kedro run``. ``make chaos`` sets SKYTRACE_CHAOS_KILLS
(how many) and SKYTRACE_CHAOS_SEED (which moments), and prints the table.
"""

import os
from pathlib import Path

import pytest

from tests.chaos.harness import Job, Kill, Outcome, PipelineJob, carry_out, plan_kills, undisturbed

KILLS = int(os.environ.get("SKYTRACE_CHAOS_KILLS", "4"))
SEED = int(os.environ.get("SKYTRACE_CHAOS_SEED", "1"))


@pytest.fixture(scope="module")
def references(tmp_path_factory, repository) -> dict[type[Job], dict[str, str]]:
    """Of each kind of job, made when first asked for."""
    made: dict[type[Job], dict[str, str]] = {}

    class References(dict):
        def __missing__(self, kind: type[Job]) -> dict[str, str]:
            self[kind] = undisturbed(kind(tmp_path_factory.mktemp("undisturbed") / "job", repository))
            return self[kind]

    return References(made)


@pytest.fixture(scope="module")
def table():
    """Outcomes so far; all are printed at the end."""
    outcomes: list[Outcome] = []
    yield outcomes
    print(f"\nkill  victim        done     on disk                 the run                 run again (seed {SEED})")
    print("\n".join(outcome.row() for outcome in outcomes))


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kill", plan_kills(KILLS, SEED), ids=lambda kill: f"{kill.number}-{kill.victim}")
def test_a_kill_changes_no_byte(kill: Kill, references, table, tmp_path: Path, repository: Path):
    kind = PipelineJob if kill.victim.startswith("kedro") else Job
    reference = references[kind]
    shards = [name for name in reference if kind is Job or "/shards/" in name]
    assert len(shards) == kind.total
    outcome = carry_out(kill, lambda attempt: kind(tmp_path / str(attempt), repository), reference)
    table.append(outcome)
    assert outcome.whole < kind.total
    assert not outcome.faults, outcome.row()


def test_a_seed_names_the_kills_and_a_longer_plan_begins_with_the_shorter():
    plan = plan_kills(24, seed=5)
    assert plan[:4] == plan_kills(4, seed=5)
    assert plan != plan_kills(24, seed=6)
    assert {kill.victim for kill in plan} == {"main", "worker", "scheduler", "kedro main", "kedro worker"}
    assert [kill.victim for kill in plan[:4]] == ["main", "worker", "scheduler", "kedro main"]
