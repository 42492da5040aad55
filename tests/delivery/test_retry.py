"""How long to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.retry import Backoff, retry_after_secs

NOON = 1_767_268_800.0
"""2026-01-01T12:00:00Z."""


def test_backoff_doubles_up_to_its_cap() -> None:
    backoff = Backoff(1.0, 60.0, draw=lambda: 1.0)
    assert [backoff.delay(failures) for failures in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.delay(10_000) == 60


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.floats(0, 300))
def test_backoff_jitters_over_the_whole_range_and_never_undercuts_what_was_asked(
    failures: int, drawn: float, at_least: float
) -> None:
    delay = Backoff(1.0, 60.0, draw=lambda: drawn).delay(failures, at_least)
    assert at_least <= delay <= max(60.0, at_least)


@pytest.mark.parametrize(
    ("header", "secs"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1000000000", 300.0),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2027 12:00:00 GMT", 300.0),
        ("Thu, 99 Jan 2026 12:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_clamped(header: str | None, secs: float | None) -> None:
    assert retry_after_secs(header, NOON) == secs
