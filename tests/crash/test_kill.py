"""kill -9 at any I/O call: nothing lost, nothing invented, nothing altered, in order, few repeats."""

from pathlib import Path

import pytest
from strace_case import asked_points, can_trace, need_trace, say_untraced
from victim_case import first_release, kill_victim, kill_victim_at_random

MIGRATION_CALLS = 60
"""By then the journal is migrated, and the first events are on their way."""


def test_kill_9_at_any_io_call_loses_nothing(in_memory_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say_untraced(capsys)
    points = asked_points(60)
    outcomes = kill_victim(in_memory_path, points) if can_trace() else kill_victim_at_random(in_memory_path, points)
    assert not [outcome for outcome in outcomes if outcome.problem]
    statuses = [outcome.status for outcome in outcomes]
    assert set(statuses) <= {0, -9}
    assert statuses.count(-9) >= points * 0.9, "a point that a run does not come to kills nobody"


def test_kill_9_while_an_older_journal_is_migrated_loses_nothing(in_memory_path: Path) -> None:
    need_trace()
    points = asked_points(8)
    outcomes = kill_victim(in_memory_path, points, before=first_release, upto=MIGRATION_CALLS)
    assert len(outcomes) == min(points, MIGRATION_CALLS)
    assert not [outcome for outcome in outcomes if outcome.problem or outcome.status != -9]
