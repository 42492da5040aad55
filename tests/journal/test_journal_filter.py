"""What a filter leaves out, in the journal: batches are cut and replayed exactly, whatever the filter says by then."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_case import EPOCH_MS, Clock, check_file, page

from shipper.event import Event
from shipper.journal import Burial, JournalError, Limits, Stretch
from shipper.journal.sieve import LOOK, Sieve
from shipper.journal.store import Store

EVERYTHING = Limits(1_000_000, 1 << 30)
MINUTE = Limits(3, 1 << 30, timeout_secs=60.0)


def event(number: int, every: int) -> Event:
    """Each so-many-th is a failure."""
    return Event(
        str(9 * 10**55 + number), EPOCH_MS + number, "", "f" if number % every == 0 else "s", b'{"n":%d}' % number
    )


def failures() -> Sieve:
    return Sieve(lambda type_: type_ == "f")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = opened(tmp_path, clock)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "archive", "earliest")
    yield store
    check_file(store)
    store.close()


def opened(place: Path, clock: Clock) -> Store:
    return Store(place / "journal.sqlite", max_bytes=1 << 30, clock=clock)


def fill(store: Store, first: int, last: int, every: int = 10) -> None:
    for start in range(first, last + 1, 100):
        store.append("acme", page([event(n, every) for n in range(start, min(start + 99, last) + 1)]))


def read(store: Store, after: int, limits: Limits = EVERYTHING, sieve: Sieve | None = None) -> Stretch:
    stretch = store.read("acme", "archive", after, limits, None, (), sieve)
    assert stretch is not None
    return stretch


def held(stretch: Stretch) -> list[int]:
    return [int(one.id) - 9 * 10**55 for one in stretch.events]


def without(stretch: Stretch) -> list[int]:
    return [number for hole in stretch.left_out for number in hole]


def test_a_batch_begins_with_what_is_wanted_and_what_comes_before_that_is_alone(store: Store) -> None:
    fill(store, 1, 95)
    first = read(store, 0, Limits(2, 1 << 30), failures())
    assert (held(first), first.left_out, first.last) == ([], [range(1, 10)], 9)
    second = read(store, 9, Limits(2, 1 << 30), failures())
    # What is left out behind the last one that fits is settled with it.
    assert (held(second), second.last, without(second)) == ([10, 20], 29, [*range(11, 20), *range(21, 30)])
    assert second.chosen([20, 10]) == [event(20, 10), event(10, 10)]
    last = read(store, 89, EVERYTHING, failures())
    assert (held(last), last.last) == ([90], 95)


def test_one_batch_looks_at_so_many_events_and_no_more(store: Store) -> None:
    fill(store, 1, LOOK + 150, every=LOOK + 100)
    first = read(store, 0, EVERYTHING, failures())
    assert (held(first), first.last) == ([], LOOK)
    assert store.ready_in("acme", "archive", 0, MINUTE, failures()) == 0.0
    assert read(store, LOOK, EVERYTHING, failures()).left_out == [range(LOOK + 1, LOOK + 100)]


def test_a_reserved_range_comes_again_as_it_was_although_the_filter_is_another_one(
    tmp_path: Path, clock: Clock
) -> None:
    store = opened(tmp_path, clock)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "archive", "earliest")
    fill(store, 1, 90)
    batch = read(store, 9, Limits(3, 1 << 30), failures())
    assert not store.reserve("acme", "archive", batch.first, batch.last, batch.left_out)
    store.close()
    for sieve in (None, Sieve(lambda type_: type_ == "s"), Sieve(lambda type_: False)):
        again = opened(tmp_path, clock)
        assert again.read("acme", "archive", 9, Limits(1, 1), None, (), sieve) == batch
        assert again.ready_in("acme", "archive", 9, MINUTE, sieve) == 0.0
        assert again.reserve("acme", "archive", batch.first, batch.last, batch.left_out)
        again.close()
    store = opened(tmp_path, clock)
    assert not store.reserve("acme", "archive", batch.first, batch.last), (
        "the same range, with other events, is another"
    )
    assert read(store, 9, Limits(1, 1), failures()).left_out == ()
    store.reserve("acme", "archive", batch.first, batch.last, batch.left_out)
    store.ack("acme", "archive", batch.last, (), [range(1, 10), *batch.left_out])
    # Behind it the filter of now counts.
    assert held(read(store, 40, EVERYTHING, Sieve(lambda type_: type_ == "s")))[:2] == [41, 42]
    assert store.figures.sources["acme"].lanes["archive"].filtered == 9 + 27
    store.close()


def test_what_stands_before_a_reserved_range_does_not_reach_into_it(store: Store) -> None:
    fill(store, 1, 90)
    store.reserve("acme", "archive", 30, 50, [range(31, 40)])
    assert read(store, 9, EVERYTHING, failures()).last == 29


def test_a_part_of_a_batch_leaves_out_what_it_is_told(store: Store) -> None:
    fill(store, 1, 90)
    half = store.read(
        "acme", "archive", 9, Limits(1, 1), 25, [range(11, 20), range(22, 24)], Sieve(lambda type_: False)
    )
    assert half is not None
    assert (held(half), half.left_out) == ([10, 20, 21, 24, 25], [range(11, 20), range(22, 24)])


def test_a_batch_waits_for_events_that_are_wanted_and_each_is_looked_at_once(store: Store, clock: Clock) -> None:
    looked: list[str] = []

    def wants(type_: str) -> bool:
        looked.append(type_)
        return type_ == "f"

    sieve = Sieve(wants)
    fill(store, 10, 29)
    clock.now += 20
    assert store.ready_in("acme", "archive", 0, MINUTE, sieve) == 40.0
    assert store.ready_in("acme", "archive", 0, Limits(2, 1 << 30, timeout_secs=60.0), sieve) == 0.0
    assert store.ready_in("acme", "archive", 0, Limits(9, 17, overhead=1, timeout_secs=60.0), sieve) == 0.0
    seen = len(looked)
    fill(store, 31, 39)
    assert store.ready_in("acme", "archive", 0, MINUTE, sieve) == 40.0
    assert len(looked) - seen <= 9 + 1
    fill(store, 40, 41)
    assert store.ready_in("acme", "archive", 0, MINUTE, sieve) == 0.0
    # One that is left out waits for nobody.
    assert store.ready_in("acme", "archive", 1, MINUTE, sieve) == 0.0
    assert store.ready_in("acme", "archive", 10, MINUTE, sieve) == 40.0, "behind another number it counts anew"


@pytest.mark.parametrize("left_out", [[range(3, 5)], [range(9, 12)], [range(11, 12)]])
def test_an_ack_of_what_does_not_wait_counts_nothing(store: Store, left_out: list[range]) -> None:
    fill(store, 1, 20)
    store.ack("acme", "archive", 3, ())
    before = store.figures
    with pytest.raises(JournalError) as caught:
        store.ack("acme", "archive", 10, [Burial(5, "refused")], left_out)
    assert caught.value.reason == "bug"
    assert store.figures is before


def test_the_ledger_has_what_was_left_out_in_its_own_line(store: Store) -> None:
    fill(store, 1, 250)
    store.ack("acme", "archive", 9, (), [range(1, 10)])
    store.ack("acme", "archive", 220, [Burial(200, "refused")], [range(11, 200), range(201, 210)])
    lines = {(one.sink, one.outcome): one.tally for one in store.ledger("acme", 0, 1 << 40)}
    assert {key: tally.events for key, tally in lines.items()} == {
        ("", "stored"): 250,
        ("archive", "delivered"): 220 - 207 - 1,
        ("archive", "filtered"): 207,
        ("archive", "dead"): 1,
    }
    assert (lines["archive", "filtered"].first, lines["archive", "filtered"].last) == (
        event(1, 10).id,
        event(209, 10).id,
    )
    figures = store.figures.sources["acme"].lanes["archive"]
    assert (figures.filtered, figures.delivered, figures.lag) == (207, 12, 30)
