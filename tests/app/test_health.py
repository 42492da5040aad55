"""When a state is worth a line in the log."""

from typing import Any

from structlog.testing import CapturingLogger

from shipper.health import Health


def lines(log: CapturingLogger) -> list[str]:
    return [str(call.args[0]) for call in log.calls]


def test_trouble_is_logged_at_its_edge_then_after_1_10_and_60_minutes_then_hourly() -> None:
    log, now = CapturingLogger(), [0.0]
    health = Health(log, lambda: now[0])
    logged_at: list[int] = []
    for second in range(0, 4 * 3600 + 1, 5):
        now[0] = second
        health.trouble("waiting", "server_error", "HTTP 503")
        if len(log.calls) > len(logged_at):
            logged_at.append(second)
    assert logged_at == [0, 60, 600, 3600, 7200, 10800, 14400]
    assert log.calls[-1].kwargs["failures"] == 4 * 720 + 1


def test_another_reason_is_an_edge_but_the_trouble_is_as_old_as_before() -> None:
    log, now = CapturingLogger(), [0.0]
    health = Health(log, lambda: now[0])
    health.trouble("waiting", "timeout", "no answer")
    now[0] = 30.0
    health.trouble("held", "auth", "HTTP 401")
    assert lines(log) == ["waiting", "held"]
    assert health.troubled_secs == 30.0
    assert log.calls[1].kwargs["for_secs"] == 30.0
    assert "token" in log.calls[1].kwargs["do"]


def test_recovery_says_once_how_long_it_lasted() -> None:
    log, now = CapturingLogger(), [0.0]
    health = Health(log, lambda: now[0])
    health.fine()
    health.trouble("waiting", "timeout", "no answer")
    now[0] = 90.0
    health.fine(lag=7)
    health.fine(lag=0)
    assert lines(log) == ["waiting", "recovered"]
    recovered: dict[str, Any] = log.calls[1].kwargs
    assert (recovered["for_secs"], recovered["lag"], recovered["reason"]) == (90.0, 7, "timeout")
    assert (health.state, health.troubled_secs) == ("running", 0.0)
