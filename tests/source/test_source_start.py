"""Where reading begins, as positions in the log."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.sources.start import EARLIEST, check_start, embedded_time, is_log_id, synthetic_id

RECORDED = "90020231110110819436518000000000000001223372060221941173"
"""The id of Auth0's own documentation, as of 2023-11-10T11:08:19.436Z."""


@pytest.mark.parametrize(
    "value",
    ["earliest", "latest", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00.5+01:00", RECORDED, "5f1e5a2b9d1c4e0017a0b1c2"],
)
def test_a_start_that_is_understood_is_taken_as_it_is(value: str) -> None:
    assert check_start(value) == value


@pytest.mark.parametrize("value", ["2026-11-01T00:00:00", "2026-11-01", "2026-11-01 12:00"])
def test_a_time_without_a_zone_is_refused_with_what_to_add(value: str) -> None:
    with pytest.raises(ValueError, match="time zone: add Z"):
        check_start(value)


@pytest.mark.parametrize("value", ["", "yesterday", "Earliest", RECORDED[:-1], RECORDED + "0", "5F1E", "1793491200"])
def test_anything_else_is_refused_with_what_is_possible(value: str) -> None:
    with pytest.raises(ValueError, match=r"must be|must say"):
        check_start(value)


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_no_tenant_can_mean_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="from 1970 to 9998"):
        check_start(value)


def test_earliest_is_a_position_before_every_retention() -> None:
    assert EARLIEST == "900" + "19700101000000" + "0" * 39
    assert is_log_id(EARLIEST)
    assert EARLIEST < RECORDED


def test_a_moment_becomes_the_id_of_an_event_indexed_then() -> None:
    at = int(datetime(2026, 11, 1, 13, 14, 15, 999_000, UTC).timestamp() * 1000)
    assert synthetic_id(at) == "900" + "20261101131415" + "0" * 39


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_every_moment_becomes_a_position_even_an_absurd_one(at: int) -> None:
    position = synthetic_id(at)
    assert is_log_id(position)
    assert embedded_time(position) is not None


@given(st.integers(min_value=0, max_value=253_402_300_799_999), st.integers(min_value=0, max_value=253_402_300_799_999))
def test_positions_are_in_the_order_of_their_times(one: int, other: int) -> None:
    assert embedded_time(synthetic_id(one)) == one // 1000 * 1000
    if one // 1000 < other // 1000:
        assert synthetic_id(one) < synthetic_id(other)


def test_an_ids_time_is_utc_to_the_millisecond() -> None:
    expected = datetime(2023, 11, 10, 11, 8, 19, 436_000, UTC)
    assert embedded_time(RECORDED) == int(expected.timestamp() * 1000)


@pytest.mark.parametrize(
    "id_",
    [
        "", "5f1e5a2b9d1c4e0017a0b1c2", RECORDED[:-1], "901" + RECORDED[3:], "900" + "20261301000000" + "0" * 39,
        "900" + "20260230000000" + "0" * 39, "900" + "20260101250000" + "0" * 39, "900" + "00000101000000" + "0" * 39,
        "900" + "20260101006000" + "0" * 39, "٩" * 56, "sha256-" + "0" * 49,
    ],
)  # fmt: skip
def test_an_id_without_a_time_says_nothing(id_: str) -> None:
    assert embedded_time(id_) is None


@given(st.text(max_size=60) | st.text(alphabet="0123456789", min_size=53, max_size=53).map("900".__add__))
def test_no_id_makes_reading_its_time_fail(id_: str) -> None:
    found = embedded_time(id_)
    assert found is None or found > -62_200_000_000_000
