"""How fast a tenant may be asked, by its own clock."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.sources.pace import LONGEST_WAIT_SECS, ServerClock, pause_secs, until_next_token

NOW = 1_790_000_000


def limits(limit: object, remaining: object, reset: object) -> dict[str, str]:
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    return {name: str(value) for name, value in zip(names, (limit, remaining, reset), strict=True)}


@pytest.mark.parametrize(
    ("reset", "secs"),
    [(NOW + 7, 7.0), (NOW, 0.0), (NOW - 5, 0.0), (NOW - 10**9, 0.0), (NOW + 61, 60.0), (NOW + 315_360_000, 60.0)],
)
def test_the_wait_for_the_next_token_is_judged_by_the_servers_time_and_capped(reset: int, secs: float) -> None:
    assert until_next_token({"x-ratelimit-reset": str(reset)}, NOW * 1000) == secs


@pytest.mark.parametrize("reset", ["", "soon", "-5", "1e9", "9" * 400, "٣", "1.5", " 7"])
def test_a_reset_that_is_no_time_says_nothing(reset: str) -> None:
    assert until_next_token({"x-ratelimit-reset": reset}, NOW * 1000) is None
    assert until_next_token({}, NOW * 1000) is None


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "secs"),
    [
        (50, 49, NOW + 3, 0.0),
        (50, 11, NOW + 3, 0.0),
        (50, 10, NOW + 3, 3.0),
        (50, 10, NOW - 3, 0.0),
        (50, 9, NOW - 3, 1.0),
        (50, 0, NOW + 3, 3.0),
        (10, 3, NOW + 3, 0.0),
        (10, 2, NOW + 1, 1.0),
        (2, 1, NOW + 1, 0.0),
        (2, 0, NOW + 1, 1.0),
        (50, 5, NOW + 10**9, LONGEST_WAIT_SECS),
        (50, 5, "", 1.0),
        ("", 5, NOW + 3, 0.0),
        (50, "", NOW + 3, 0.0),
        ("many", "some", "later", 0.0),
    ],
)
def test_a_fifth_of_the_bucket_stays_for_the_tenants_other_readers(
    limit: object, remaining: object, reset: object, secs: float
) -> None:
    assert pause_secs(limits(limit, remaining, reset), NOW * 1000) == secs


@given(st.dictionaries(st.sampled_from(list(limits(1, 1, 1))), st.text(max_size=20)), st.integers(0, 10**15))
def test_no_header_makes_the_pause_fail_or_long(headers: dict[str, str], now: int) -> None:
    assert 0.0 <= pause_secs(headers, now) <= LONGEST_WAIT_SECS


def test_the_servers_time_is_ours_until_it_said_its_own() -> None:
    clock = ServerClock(clock=lambda: 5.0, wall=lambda: 1_000.0)
    assert clock.now() == 1_000_000


def test_the_servers_time_runs_on_by_the_monotonic_clock_whatever_ours_does() -> None:
    secs, wall = 100.0, 1.0
    clock = ServerClock(clock=lambda: secs, wall=lambda: wall)
    clock.read({"Date": formatdate(NOW, usegmt=True)})
    secs, wall = 107.5, 4e9
    assert clock.now() == NOW * 1000 + 7_500


@pytest.mark.parametrize(
    "date", ["", "now", "Fri, 31 Feb 2026 00:00:00 GMT", "Mon, 01 Jan 99999 00:00:00 GMT", "\x00", "1, 2, 3"]
)
def test_a_date_that_can_not_be_read_changes_nothing(date: str) -> None:
    clock = ServerClock(clock=lambda: 0.0, wall=lambda: 0.0)
    clock.read({"Date": formatdate(NOW, usegmt=True)})
    clock.read({"Date": date})
    clock.read({})
    assert clock.now() == NOW * 1000


def test_a_date_without_a_zone_is_utc_and_not_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        clock = ServerClock(clock=lambda: 0.0, wall=lambda: 0.0)
        clock.read({"Date": formatdate(NOW)})
        assert formatdate(NOW).endswith("-0000")
        assert clock.now() == NOW * 1000
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(max_size=40))
def test_no_date_makes_the_clock_fail(date: str) -> None:
    clock = ServerClock(clock=lambda: 0.0, wall=lambda: 7.0)
    clock.read({"Date": date})
    assert isinstance(clock.now(), int)
