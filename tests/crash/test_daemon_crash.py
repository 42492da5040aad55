"""The real daemon through kill -9 and a failing disk, at points of its whole way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_crash_case import failures, kills, tenant, whole_way
from journal_case import in_memory
from strace_case import Call, asked_points, can_trace, need_trace, say_untraced

from shipper.exit_status import IO_FAILED
from shipper.simulator.server import Running


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with tenant() as running:
        yield running


@pytest.fixture(scope="module")
def way(running: Running) -> Iterator[dict[str, list[Call]]]:
    with in_memory() as place:
        yield whole_way(Path(place), running) if can_trace() else {}


def test_kill_9_of_the_daemon_loses_nothing(
    in_memory_path: Path, running: Running, way: dict[str, list[Call]], capsys: pytest.CaptureFixture[str]
) -> None:
    say_untraced(capsys)
    count = asked_points(10)
    outcomes = kills(in_memory_path, running, way, count)
    assert len(outcomes) == count
    assert [outcome for outcome in outcomes if outcome.problem or outcome.status != -9] == []
    assert not way or sum(outcome.reached for outcome in outcomes) >= count * 0.7


def test_a_failing_disk_ends_the_daemon_with_74_and_nothing_is_lost(
    in_memory_path: Path, running: Running, way: dict[str, list[Call]]
) -> None:
    need_trace()
    outcomes = failures(in_memory_path, running, way, asked_points(4))
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.problem or outcome.status != IO_FAILED] == []
