"""What is asked next and what is new, decided without a tenant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logto_case import NOW

from shipper.event import Event
from shipper.sources.logto_pages import Pages, Walk
from shipper.sources.logto_window import (
    MAX_IDS,
    MOST,
    OVERLAP_MS,
    Checkpoint,
    Held,
    Stretch,
    TimePlaces,
    Windows,
    found_in,
)


def row(id_: str, time: int) -> Event:
    return Event(id_, time, "", "Unknown", b"{}")


def stretch(*rows: tuple[str, int], upto: int, surely: int = 0, since: int = 0) -> Stretch:
    """Rows oldest first; an answer has them the other way round."""
    return Stretch(since, upto, [row(*one) for one in reversed(rows)], surely, OVERLAP_MS)


def test_what_is_new_is_oldest_first_and_what_is_held_ends_at_its_newest() -> None:
    found = found_in(stretch(("a", 5_000), ("b", 7_000), ("c", 7_000), upto=9_000), Held(0, 0, 0))
    assert [event.id for event in found.fresh] == ["a", "b", "c"]
    assert found.held == Held(7_000, 6_000, 7_000, {"b": 7_000, "c": 7_000})


def test_what_is_held_already_is_not_new() -> None:
    held = Held(7_000, 6_000, 7_000, {"b": 7_000})
    found = found_in(stretch(("b", 7_000), ("c", 7_000), upto=9_000, since=6_000), held)
    assert ([event.id for event in found.fresh], found.late) == (["c"], [])


def test_what_is_older_than_the_newest_that_was_stored_is_late_and_moves_nothing() -> None:
    held = Held(7_000, 6_000, 7_000, {"b": 7_000})
    found = found_in(stretch(("late", 6_500), ("b", 7_000), upto=9_000, since=6_000), held)
    assert ([event.id for event in found.late], found.fresh) == (["late"], [])
    assert found.held == Held(7_000, 6_000, 7_000, {"b": 7_000, "late": 6_500})


def test_an_empty_stretch_goes_on_only_as_far_as_newer_events_prove_that_time_has_passed() -> None:
    held = Held(7_000, 6_000, 7_000, {"b": 7_000})
    assert found_in(stretch(upto=50_000, since=6_000), held).held == held
    proven = found_in(stretch(upto=50_000, surely=40_000, since=6_000), held).held
    assert (proven.until, proven.since, proven.upto, proven.known) == (7_000, 39_000, 40_000, {})


def test_where_reading_stands_never_goes_back() -> None:
    held = Held(7_000, 6_000, 7_000, {"b": 7_000})
    assert found_in(stretch(("b", 7_000), upto=6_500, since=6_000), held).held == held


def test_a_checkpoint_is_bounded_and_keeps_the_newest_ids() -> None:
    held = Held(NOW, NOW - 1000, NOW, {f"n{number:020d}": NOW - number for number in range(2 * MAX_IDS)})
    checkpoint = held.checkpoint
    assert len(checkpoint.ids) == MAX_IDS
    assert checkpoint.ids[-1] == f"n{0:020d}"
    assert len(checkpoint.encode()) < 200_000
    again = Held.of(Checkpoint.decode(checkpoint.encode()))
    assert (again.until, again.since, set(again.known)) == (NOW, NOW - 1000, set(checkpoint.ids))


# -- windows -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=3_000), st.integers(1, 50))
def test_windows_come_to_the_end_and_hold_few_events_unless_one_time_has_many(times: list[int], scale: int) -> None:
    times = sorted(time * scale for time in times)
    limit = times[-1] + 5
    windows, begin, asked = Windows(), 0, 0
    while begin < limit:
        asked += 1
        assert asked < 500
        end = windows.end(begin, limit)
        assert begin < end <= limit
        count = sum(begin < time <= end for time in times)
        if windows.crowded(begin, end, count):
            continue
        assert count <= MOST or end == begin + 1
        windows.read(end, count)
        assert not windows.more(end) or any(time > end for time in times)
        begin = end


@given(st.integers(1, 1 << 41), st.integers(0, 1 << 41))
def test_an_event_that_can_not_be_read_is_closed_in_on_from_before_it(bad: int, behind: int) -> None:
    windows, begin, limit = Windows(), 0, bad + behind
    for _ in range(100):
        end = windows.end(begin, limit)
        if begin < bad <= end:
            if not windows.unreadable(begin, end):
                break
        else:
            windows.read(end, 0)
            begin = end
    assert (begin, end) == (bad - 1, bad)
    assert windows.searching(begin)
    windows.read(end, 0)
    assert not windows.searching(begin)


def test_a_window_that_takes_the_server_too_long_gets_shorter_to_a_limit() -> None:
    windows = Windows()
    windows.too_long(0, 40_000_000)
    assert windows.end(0, 40_000_000) == 10_000_000
    windows.too_long(0, 10_000_000)
    assert windows.end(0, 40_000_000) == 3_600_000
    windows.too_long(0, 3_600_000)
    assert windows.end(0, 40_000_000) == 3_600_000


def test_a_failure_makes_no_window_wider_and_one_on_the_way_halves_it() -> None:
    windows = Windows()
    assert windows.crowded(0, 1_000_000, 2 * MOST)
    narrow = windows.end(0, 1_000_000)
    windows.too_long(0, narrow)
    assert windows.end(0, 1_000_000) == narrow
    windows.broken_off(0, narrow)
    assert windows.end(0, 1_000_000) == narrow // 2
    windows.broken_off(0, 1)
    assert windows.end(0, 1_000_000) == 1


# -- pages -------------------------------------------------------------------------------------------------------------


@given(
    total=st.integers(1, 5_000),
    edge=st.integers(0, 5_000),
    growth=st.lists(st.integers(0, 4), min_size=1, max_size=5),
)
def test_a_walk_finds_the_edge_in_a_list_that_grows(total: int, edge: int, growth: list[int]) -> None:
    # Rows are their own times; what is newer than `since` lies before the edge.
    rows = list(range(total, 0, -1))
    since = max(1, total - edge + 1)
    walk, asked = Walk(), 0
    while True:
        asked += 1
        assert asked < 60
        for _ in range(growth[asked % len(growth)]):
            rows.insert(0, rows[0] + 1)
        pages = walk.aim()
        assert 1 <= pages.size <= 100
        assert pages.first >= 1
        answer = [row(str(time), time) for time in rows[pages.begin : pages.size * pages.last]]
        if pages.first > 1 and (not answer or answer[0].time < since):
            walk.too_far(min(pages.begin, len(rows)))
        elif answer and len(answer) == pages.size and answer[-1].time >= since:
            walk.missed(pages.begin, len(answer), len(rows))
        else:
            break
    assert answer[-1].time < since or rows[-1] == answer[-1].time


def test_a_page_that_holds_the_edge_holds_as_much_as_it_can_that_is_newer() -> None:
    walk = Walk()
    assert walk.aim() == Pages(100, 1, 1)
    walk.missed(0, 100, 10_000)
    for _ in range(200):
        pages = walk.aim()
        if pages.first == 1:
            break
        edge = walk._edge
        assert pages.begin <= edge < pages.size * pages.last - 2
        assert edge - pages.begin >= 40
        # All that is newer of this page was stored: the edge is now right behind it.
        walk.found(pages.begin, [row("new", 9)] * 0, 5)
    else:
        pytest.fail("never came to the front")


def test_smaller_pages_are_asked_for_down_to_one_event_and_larger_ones_again() -> None:
    walk = Walk()
    for size in (50, 25, 12, 6, 3, 1):
        assert walk.shrink()
        assert walk.aim().size == size
    assert not walk.shrink()
    for _ in range(8):
        walk.grow()
    assert walk.aim().size == 100


# -- places ------------------------------------------------------------------------------------------------------------


def test_a_place_is_a_time_both_ways() -> None:
    places = TimePlaces()
    place = places.at("2026-11-01T01:00:00.250+01:00")
    assert (place.shown, place.since_ms) == ("2026-11-01T00:00:00.250Z", 1_793_491_200_250)
    assert places.shown(place.checkpoint) == place.shown
    assert places.at(place.shown) == place
    assert Checkpoint.decode(place.checkpoint) == Checkpoint(1_793_491_200_250, 1_793_491_200_250, [])
    assert places.at_time(-5) == places.at_time(0)


@pytest.mark.parametrize("text", ["", "earliest", "2026-11-01T00:00:00", "9" * 56, "0999-01-01T00:00:00Z"])
def test_what_is_no_time_with_its_zone_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="no time with its zone"):
        TimePlaces().at(text)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"last":"9"}', b'{"until":1e300,"since":0}', b'{"until":%d,"since":0}' % 10**17]
)
def test_what_is_no_checkpoint_of_ours_is_shown_as_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        TimePlaces().shown(data)
