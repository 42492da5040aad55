"""What the journal knows beyond its events: counts and sums by hour, places that are settled, gaps, late events."""

from hashlib import sha256
from pathlib import Path

import msgspec
from journal_case import EPOCH_MS, EVERYTHING, Clock, check_file, event, numbers, page

from shipper.event import Event
from shipper.journal import Burial
from shipper.journal.store import Store
from shipper.tally import HOUR_MS


def opened(path: Path, *sinks: str, keep_days: float = 1000, clock: Clock | None = None) -> Store:
    store = Store(path / "journal.sqlite", max_bytes=1 << 30, keep_days=keep_days, clock=clock or Clock())
    store.open_source("acme", "acme.example")
    store.begin("acme", "earliest", b"begin", 5)
    for sink in sinks:
        store.open_lane("acme", sink, "earliest")
    return store


def later(number: int, hours: int) -> Event:
    """The event with this number, so many hours later."""
    one = event(number)
    return msgspec.structs.replace(one, time=one.time + hours * HOUR_MS)


def tally(*events: Event) -> tuple[int, str, str, int]:
    ids = sorted(one.id for one in events)
    total = sum(int.from_bytes(sha256(id_.encode()).digest(), "big") for id_ in ids)
    return len(ids), ids[0], ids[-1], total % 2**256


def ledger(store: Store) -> dict[tuple[str, str, int], tuple[int, str, str, int]]:
    hour = EPOCH_MS // HOUR_MS
    return {
        (entry.sink, entry.outcome, entry.hour - hour): (t.events, t.first, t.last, t.sum)
        for entry in store.ledger("acme", 0, 1 << 40)
        for t in [entry.tally]
    }


def test_the_ledger_counts_by_hour_what_was_stored_delivered_and_refused(tmp_path: Path) -> None:
    store = opened(tmp_path, "siem")
    first, second = numbers(1, 100), [later(n, 1) for n in range(101, 201)]
    store.append("acme", page(first))
    store.append("acme", page([*first[50:], *second]))
    assert ledger(store) == {("", "stored", 0): tally(*first), ("", "stored", 1): tally(*second)}
    store.ack("acme", "siem", 130, [])
    store.ack("acme", "siem", 150, [Burial(140, "refused")])
    delivered = [one for one in second[:50] if one is not second[39]]
    expected = {
        ("", "stored", 0): tally(*first),
        ("", "stored", 1): tally(*second),
        ("siem", "delivered", 0): tally(*first),
        ("siem", "delivered", 1): tally(*delivered),
        ("siem", "dead", 1): tally(second[39]),
    }
    assert ledger(store) == expected
    store.close()
    again = opened(tmp_path, "siem")
    assert ledger(again) == expected
    again.close()


def test_the_ledger_outlives_the_events(tmp_path: Path) -> None:
    clock = Clock()
    store = opened(tmp_path, "siem", keep_days=0, clock=clock)
    for at in range(0, 30_000, 1_000):
        store.append("acme", page([event(n) for n in range(at + 1, at + 1_001)]))
        store.ack("acme", "siem", at + 1_000, [])
        clock.now += 1
        while store.trim():
            pass
    assert store._db.value("SELECT min(first) FROM page") > 1, "something is forgotten"
    assert ledger(store)["", "stored", 0] == ledger(store)["siem", "delivered", 0] == tally(*numbers(1, 30_000))
    check_file(store)
    store.close()


def test_a_requeued_dead_letter_counts_as_delivered_after_all(tmp_path: Path) -> None:
    from shipper.journal.letters import Chosen

    store = opened(tmp_path, "siem")
    store.append("acme", page(numbers(1, 10)))
    store.ack("acme", "siem", 10, [Burial(3, "refused"), Burial(4, "refused")])
    assert store.requeue(Chosen(), "someone") == 2
    waiting = store.read_queue("acme", "siem", 0, EVERYTHING)
    assert waiting is not None
    assert [one.raw for one in waiting.events] == [event(3).raw, event(4).raw]
    store.ack_queue("acme", "siem", 2, [Burial(2, "too_large", "still")])
    lane = store.figures.sources["acme"].lanes["siem"]
    assert (lane.requeued, lane.dead_kept, lane.dead, lane.delivered) == (1, 1, {"refused": 2, "too_large": 0}, 8)
    (left,) = store.dead_letters()
    assert (left.number, left.reason, left.detail, left.queued) == (4, "too_large", "still", False)
    assert ledger(store)["siem", "requeued", 0] == tally(event(3))
    assert ledger(store)["siem", "dead", 0] == tally(event(3), event(4))
    store.close()


def test_settled_is_the_place_behind_the_last_page_that_every_lane_has_settled(tmp_path: Path) -> None:
    store = opened(tmp_path, "siem", "archive")

    def settled() -> list[tuple[bytes, int]]:
        return [(place.checkpoint, place.horizon) for place in store.settled()]

    store.append("acme", page(numbers(1, 100), b"one"))
    store.append("acme", page(numbers(101, 200), b"two"))
    assert settled() == [(b"begin", 5)], "nothing is settled, so where the first poll began"
    store.ack("acme", "siem", 200, [])
    assert settled() == [(b"begin", 5)]
    store.ack("acme", "archive", 150, [])
    assert settled() == [(b"one", event(100).time)]
    store.ack("acme", "archive", 200, [])
    store.caught_up("acme", EPOCH_MS + 10**9)
    assert settled() == [(b"two", EPOCH_MS + 10**9)]
    store.close()


def test_what_is_settled_stays_before_a_late_event_until_that_is_settled(tmp_path: Path) -> None:
    store = opened(tmp_path, "siem")
    store.append("acme", page(numbers(1, 100), b"one"))
    store.append("acme", page([event(n) for n in range(102, 200)], b"two"))
    store.ack("acme", "siem", 198, [])
    late = msgspec.structs.replace(page([event(90), event(101)], b"before them", 0), late=True)
    assert store.append("acme", late).stored == 1
    figures = store.figures.sources["acme"]
    assert (figures.checkpoint, figures.stored) == (b"two", 199)
    assert [place.checkpoint for place in store.settled()] == [b"before them"]
    store.ack("acme", "siem", 199, [])
    assert [place.checkpoint for place in store.settled()] == [b"two"]
    assert store.append("acme", late).stored == 0, "it is known now"
    store.close()


def test_what_is_settled_goes_back_with_a_checkpoint_that_someone_sets_back(tmp_path: Path) -> None:
    store = opened(tmp_path, "siem")
    store.append("acme", page(numbers(1, 100), b"one"))
    store.append("acme", page(numbers(101, 200), b"two"))
    store.ack("acme", "siem", 200, [])
    store.set_checkpoint("acme", b"back", "checkpoint set", "someone", 7)
    assert [place.checkpoint for place in store.settled()] == [b"back"]
    store.append("acme", page(numbers(1, 100), b"again"))
    assert [place.checkpoint for place in store.settled()] == [b"back"], "not what was behind it before"
    store.append("acme", page(numbers(101, 150), b"further"))
    store.ack("acme", "siem", 300, [])
    assert [place.checkpoint for place in store.settled()] == [b"again"]
    store.close()


def test_what_is_settled_stays_before_events_that_wait_when_someone_sets_the_checkpoint_ahead(tmp_path: Path) -> None:
    store = opened(tmp_path, "siem")
    store.append("acme", page(numbers(1, 100), b"one"))
    store.append("acme", page(numbers(101, 200), b"two"))
    store.ack("acme", "siem", 150, [])
    store.set_checkpoint("acme", b"ahead", "checkpoint set", "someone", EPOCH_MS * 2)
    assert [place.checkpoint for place in store.settled()] == [b"one"]
    store.set_checkpoint("acme", b"back", "checkpoint set", "someone", 7)
    assert [place.checkpoint for place in store.settled()] == [b"back"]
    store.close()


def test_a_gap_is_recorded_counted_and_moves_the_horizon_behind_it(tmp_path: Path) -> None:
    store = opened(tmp_path, "siem")
    store.gap("acme", 5, 90, may_be_empty=True)
    assert (store.figures.sources["acme"].gaps, store.figures.sources["acme"].horizon) == (1, 90)
    assert store.gaps("acme") == [(5, 90, EPOCH_MS, True)]
    assert store.figures.sources["acme"].last_gap == (5, 90, True)
    store.close()
    again = opened(tmp_path, "siem")
    assert (again.figures.sources["acme"].gaps, again.figures.sources["acme"].horizon) == (1, 90)
    again.close()


def test_events_of_a_time_are_found_page_by_page(tmp_path: Path) -> None:
    store = opened(tmp_path, "siem")
    for hour in range(4):
        store.append("acme", page([later(100 * hour + n, hour) for n in range(1, 101)]))
    since, until = later(101, 1).time, later(300, 2).time
    found, after = [], 0
    while True:
        some, following, whole_from, _ = store.events("acme", since, until, after, 60)
        found += some
        if following is None:
            break
        after = following
    assert [number for number, _ in found] == list(range(101, 300))
    assert [one.raw for _, one in found] == [event(n).raw for n in range(101, 300)]
    assert whole_from == event(1).time
    store.close()
