"""Counts and sums of ids: what goes in, in whatever order and parts, comes out the same."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.tally import (
    HOUR_MS,
    merged,
    sum_from_bytes,
    sum_from_hex,
    sum_to_bytes,
    sum_to_hex,
    tallies,
    tally,
)

ids = st.lists(st.text(min_size=1, max_size=60), max_size=20)


def plainly(some: list[str]) -> int:
    return sum(int(hashlib.sha256(one.encode("utf-8", "surrogatepass")).hexdigest(), 16) for one in some) % 2**256


@given(ids)
def test_a_tally_is_what_its_definition_says(some: list[str]) -> None:
    made = tally(some)
    assert (made.events, made.sum) == (len(some), plainly(some))
    if some:
        by_age = sorted(some, key=lambda one: (len(one), one))
        assert (made.first, made.last) == (by_age[0], by_age[-1])


@given(ids, ids)
def test_parts_make_the_whole(some: list[str], others: list[str]) -> None:
    assert tally(some).merge(tally(others)) == tally([*others, *some])


@given(st.lists(st.tuples(st.text(min_size=1), st.integers(-(10**13), 10**14)), max_size=30))
def test_each_event_counts_in_its_hour(events: list[tuple[str, int]]) -> None:
    found = tallies([one for one, _ in events], [time for _, time in events])
    assert found == {hour: tally([one for one, t in events if t // HOUR_MS == hour])
                     for hour in {time // HOUR_MS for _, time in events}}  # fmt: skip


def test_half_of_a_surrogate_pair_counts_too() -> None:
    assert tally(["\ud83d", "a"]).sum == plainly(["\ud83d", "a"])


def test_the_same_count_of_other_ids_is_not_the_same() -> None:
    assert not tally(["a", "b"]).same(tally(["a", "c"]))
    assert not tally(["a", "a"]).same(tally(["a"]))


def test_tallies_of_many_lanes_go_together_by_hour() -> None:
    assert merged([{1: tally(["a"])}, {1: tally(["b"]), 2: tally(["c"])}]) == {1: tally(["a", "b"]), 2: tally(["c"])}


@given(st.integers(0, 2**256 - 1))
def test_a_sum_survives_bytes_and_hex(total: int) -> None:
    assert sum_from_bytes(sum_to_bytes(total)) == total
    assert len(sum_to_hex(total)) == 64
    assert sum_from_hex(sum_to_hex(total)) == total


def test_what_is_no_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        sum_from_bytes(b"x" * 31)
    with pytest.raises(ValueError, match="hex"):
        sum_from_hex("no hex at all")
