"""A disk that fails, is full or read-only at any call: a clean end or a wait, and nothing lost either way."""

from pathlib import Path

import pytest
from strace_case import asked_points, need_trace
from victim_case import refuse_victim

from shipper.exit_status import IO_FAILED


@pytest.mark.parametrize("error", ["EIO", "EROFS"])
def test_a_failing_disk_ends_the_run_cleanly_and_the_next_one_delivers_everything(
    in_memory_path: Path, error: str
) -> None:
    need_trace()
    outcomes = refuse_victim(in_memory_path, error, asked_points(6))
    assert not [outcome for outcome in outcomes if outcome.problem]
    # 0: what failed was of no consequence, such as moving the log while closing.
    assert {outcome.status for outcome in outcomes} <= {0, IO_FAILED}
    assert [outcome.status for outcome in outcomes].count(IO_FAILED) > len(outcomes) / 2


def test_a_full_disk_is_waited_out_without_a_restart(in_memory_path: Path) -> None:
    need_trace()
    outcomes = refuse_victim(in_memory_path, "ENOSPC", asked_points(6))
    assert not [outcome for outcome in outcomes if outcome.problem]
    assert sum(outcome.reached for outcome in outcomes) >= len(outcomes) * 0.9
    statuses = [outcome.status for outcome in outcomes]
    # Only while there is no journal yet it can't wait.
    assert statuses.count(IO_FAILED) <= len(statuses) / 4
    assert statuses == sorted(statuses, reverse=True)
    assert set(statuses) <= {IO_FAILED, 0}
