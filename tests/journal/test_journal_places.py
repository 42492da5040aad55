"""Who a source is, where it and its lanes stand, and what they remember."""

from pathlib import Path

import msgspec
import pytest
from journal_case import EPOCH_MS, EVERYTHING, Clock, event, hashed, numbers, page

from shipper.journal import Burial, JournalError, Limits, WrongTenantError
from shipper.journal.store import Store
from shipper.journal.upkeep import KNOWN_IDS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return opened(tmp_path)


def opened(directory: Path, clock: Clock | None = None) -> Store:
    return Store(directory / "journal.sqlite", max_bytes=1 << 40, clock=clock or Clock())


def read(store: Store, name: str, sink: str, after: int) -> list[str]:
    stretch = store.read(name, sink, after, EVERYTHING)
    return [e.id for e in stretch.events] if stretch else []


def ids(first: int, last: int) -> list[str]:
    return [e.id for e in numbers(first, last)]


# -- sources ---------------------------------------------------------------------------------------------------------


def test_a_tenant_under_a_new_name_goes_on_where_it_stood(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.open_source("acme", "acme.example") == "acme"
    store.begin("acme", "earliest", b"start", 5)
    store.open_lane("acme", "siem", "earliest")
    store.append("acme", page(numbers(1, 10), b"behind 10", 7))
    store.ack("acme", "siem", 4, [Burial(2, "refused")])
    before = store.figures.sources["acme"]
    store.close()
    store = opened(tmp_path)
    assert store.open_source("emea", "acme.example") == "acme"
    after = store.figures.sources["emea"]
    assert set(store.figures.sources) == {"emea"}
    assert (after.stored, after.checkpoint, after.start, after.horizon) == (10, b"behind 10", "earliest", 7)
    assert after.lanes == before.lanes
    assert store.open_lane("emea", "siem", "latest") is False
    assert read(store, "emea", "siem", 4) == ids(5, 10)
    assert store.append("emea", page(numbers(8, 12))).duplicates == 3
    assert [letter.source for letter in store.dead_letters(source="emea")] == ["emea"]
    store.close()


def test_a_name_that_belongs_to_another_tenant_is_refused(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.open_source("globex", "globex.example")
    before = store.figures
    for tenant in ("other.example", "globex.example"):
        with pytest.raises(WrongTenantError, match=f"sources.acme: .*acme.example.*{tenant}"):
            store.open_source("acme", tenant)
    assert store.figures is before
    store.close()


def test_a_start_is_resolved_once(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.begin("acme", "earliest", b"first", 5)
    store.begin("acme", "latest", b"second", 9)
    figures = store.figures.sources["acme"]
    assert (figures.start, figures.checkpoint, figures.horizon) == ("earliest", b"first", 5)
    store.close()


def test_an_empty_answer_is_durable_at_most_each_minute(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.open_source("acme", "acme.example")

    def durable() -> int:
        return int(store._db.value("SELECT horizon FROM source"))

    store.caught_up("acme", EPOCH_MS)
    commits = store._db._commits
    for secs in range(1, 60):
        store.caught_up("acme", EPOCH_MS + 1000 * secs)
        assert store.figures.sources["acme"].horizon == EPOCH_MS + 1000 * secs
    assert (durable(), store._db._commits) == (EPOCH_MS, commits)
    store.caught_up("acme", EPOCH_MS + 60_000)
    assert durable() == EPOCH_MS + 60_000
    store.caught_up("acme", EPOCH_MS)
    store.append("acme", page(numbers(1, 1), horizon=3))
    assert store.figures.sources["acme"].horizon == EPOCH_MS + 60_000, "never goes back"
    store.close()


def test_the_last_10000_ids_are_known_and_no_more(in_memory_path: Path) -> None:
    store = opened(in_memory_path)
    store.open_source("acme", "acme.example")
    for first in range(1, KNOWN_IDS + 2, 77):
        store.append("acme", page([hashed(n) for n in range(first, min(first + 77, KNOWN_IDS + 2))]))
    assert store.append("acme", page([hashed(2), hashed(5_000), hashed(KNOWN_IDS + 1)])).stored == 0
    assert store.append("acme", page([hashed(1)])).stored == 1
    assert store.figures.sources["acme"].stored == KNOWN_IDS + 2
    store.close()


def test_known_ids_outlive_their_events(in_memory_path: Path) -> None:
    store = Store(in_memory_path / "journal.sqlite", max_bytes=1 << 40, keep_days=0, clock=Clock())
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    for first in range(1, 2 * KNOWN_IDS, 100):
        store.append("acme", page(numbers(first, first + 99)))
        store.ack("acme", "siem", first + 99, ())
        store.trim()
    assert store.append("acme", page(numbers(KNOWN_IDS + 1, 2 * KNOWN_IDS))).stored == 0
    assert store.append("acme", page(numbers(KNOWN_IDS, KNOWN_IDS))).stored == 1
    store.close()


def test_a_forgotten_sources_numbers_are_not_used_again(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    store.append("acme", page(numbers(1, 10)))
    store.ack("acme", "siem", 4, [Burial(2, "refused")])
    store.forget_source("acme", "nobody")
    store.open_lane("acme", "siem", "earliest")
    assert store.append("acme", page(numbers(1, 3))).stored == 3
    stretch = store.read("acme", "siem", 10, EVERYTHING)
    assert stretch is not None
    assert (stretch.first, list(stretch.events)) == (11, numbers(1, 3))
    assert [letter.number for letter in store.dead_letters()] == [2]
    store.close()


def test_an_id_outside_the_sources_order_is_not_taken_for_new_twice(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.append("acme", page(numbers(1, 3)))
    # As long as the others and above them, but the source does not count it in.
    odd = msgspec.structs.replace(event(8), id="z" * 56)
    known = page(numbers(4, 5))
    with_odd = msgspec.structs.replace(known, events=[*known.events, odd])
    assert store.append("acme", with_odd).stored == 3
    assert store.append("acme", with_odd).stored == 0
    again = msgspec.structs.replace(page(numbers(6, 7)), events=[*numbers(6, 7), odd])
    assert store.append("acme", again).stored == 2
    store.close()


def test_ids_of_another_length_do_not_make_the_source_forget_its_order(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.append("acme", page(numbers(1, 9)))
    short = msgspec.structs.replace(event(0), id="f" * 24)
    store.append("acme", page([short]))
    store.append("acme", page([event(4)]))
    assert store.append("acme", page(numbers(5, 9))).stored == 0
    assert store.append("acme", page([short])).stored == 0
    store.close()


def test_a_checkpoint_that_was_set_forgets_known_ids_and_is_in_the_audit_list(tmp_path: Path) -> None:
    clock = Clock()
    store = opened(tmp_path, clock)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    store.append("acme", page(numbers(1, 10)))
    store.set_checkpoint("acme", b"again", "from 5, by hand", "root")
    assert store.figures.sources["acme"].checkpoint == b"again"
    assert store._db.rows("SELECT at, who, what FROM audit") == [(EPOCH_MS, "root", "from 5, by hand")]
    assert store.append("acme", page(numbers(5, 12))).stored == 8
    assert store.append("acme", page(numbers(5, 12))).stored == 0
    assert read(store, "acme", "siem", 0) == [*ids(1, 10), *ids(5, 12)]
    store.close()


def test_what_is_settled_is_never_ahead_of_a_lane_that_lags_far_behind_a_late_event(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.begin("acme", "earliest", b"start", 5)
    store.open_lane("acme", "siem", "earliest")
    for first, last in ((1, 60), (61, 120), (122, 180)):
        store.append("acme", page(numbers(first, last), b"behind %d" % last))
    store.ack("acme", "siem", 70, ())
    late = msgspec.structs.replace(page(numbers(121, 121), b"behind 120"), late=True)
    assert store.append("acme", late).stored == 1
    assert [place.checkpoint for place in store.settled()] == [b"behind 60"]
    store.ack("acme", "siem", 179, ())
    assert [place.checkpoint for place in store.settled()] == [b"behind 120"]
    store.close()


# -- lanes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "began"),
    [
        ("earliest", 0),
        ("latest", 120),
        (f"time:{EPOCH_MS + 1}", 0),
        (f"time:{EPOCH_MS + 70}", 69),
        (f"id:{event(69).id}", 69),
        (f"id:{event(0).id}", 0),
        (f"id:{event(119).id}", 119),
    ],
)
def test_a_new_lane_begins_where_its_start_says(store: Store, start: str, began: int) -> None:
    store.open_source("acme", "acme.example")
    for first in (1, 51, 101):
        store.append("acme", page(numbers(first, min(first + 49, 120))))
    assert store.open_lane("acme", "siem", start) is True
    lane = store.figures.sources["acme"].lanes["siem"]
    assert (lane.began, lane.position, lane.lag, lane.delivered) == (began, began, 120 - began, 0)
    assert read(store, "acme", "siem", began) == ids(began + 1, 120)
    store.close()


def test_a_lane_waits_for_a_start_that_is_not_stored_yet_and_skips_what_comes_before(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.append("acme", page(numbers(1, 60)))
    store.open_lane("acme", "siem", f"time:{EPOCH_MS + 200}")
    soon = Limits(1000, 1 << 30, timeout_secs=60.0)
    for first in range(61, 180, 60):
        assert store.ready_in("acme", "siem", 0, soon) is None
        assert read(store, "acme", "siem", 0) == []
        assert store.figures.sources["acme"].lanes["siem"].lag == 0
        store.append("acme", page(numbers(first, first + 59)))
    store.append("acme", page(numbers(181, 230)))
    assert store.ready_in("acme", "siem", 0, soon) == 60.0
    lane = store.figures.sources["acme"].lanes["siem"]
    assert (lane.began, lane.position, lane.lag) == (199, 199, 31)
    stretch = store.read("acme", "siem", 180, EVERYTHING)
    assert stretch is not None
    assert (stretch.first, [e.id for e in stretch.events]) == (200, ids(200, 230))
    store.ack("acme", "siem", 230, ())
    assert store.figures.sources["acme"].lanes["siem"].delivered == 31
    store.close()


def test_a_lane_that_looks_for_its_start_in_vain_writes_nothing(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.append("acme", page(numbers(1, 60)))
    store.open_lane("acme", "siem", f"time:{EPOCH_MS + 200}")
    commits = store._db._commits
    assert read(store, "acme", "siem", 60) == []
    assert store._db._commits == commits
    store.close()


def test_a_reserved_range_is_handed_out_again_exactly_and_nothing_overlaps_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "archive", "earliest")
    store.append("acme", page(numbers(1, 90)))
    store.reserve("acme", "archive", 11, 70)
    store.close()
    store = opened(tmp_path)
    few, many = Limits(3, 1 << 30), Limits(1000, 1 << 30)
    for limits, first, last in ((many, 1, 10), (few, 1, 3)):
        stretch = store.read("acme", "archive", 0, limits)
        assert stretch is not None
        assert (stretch.first, stretch.last) == (first, last)
    assert store.ready_in("acme", "archive", 10, Limits(1000, 1 << 30, timeout_secs=60.0)) == 0.0
    for limits in (few, many):
        stretch = store.read("acme", "archive", 10, limits)
        assert stretch is not None
        assert (stretch.first, stretch.last) == (11, 70)
    half = store.read("acme", "archive", 10, few, 40)
    assert half is not None
    assert (half.first, half.last) == (11, 40)
    store.ack("acme", "archive", 70, ())
    rest = store.read("acme", "archive", 70, many)
    assert rest is not None
    assert (rest.first, rest.last) == (71, 90)
    store.close()


@pytest.mark.parametrize(("upto", "dead"), [(11, []), (7, [8]), (7, [3]), (7, [4, 5, 11])])
def test_an_ack_of_what_does_not_wait_is_a_bug_and_changes_nothing(store: Store, upto: int, dead: list[int]) -> None:
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    store.append("acme", page(numbers(1, 10)))
    store.ack("acme", "siem", 3, ())
    before = store.figures
    with pytest.raises(JournalError) as caught:
        store.ack("acme", "siem", upto, [Burial(n, "refused") for n in dead])
    assert caught.value.reason == "bug"
    assert store.figures is before
    store.close()


def test_a_lane_never_goes_back(store: Store) -> None:
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    store.append("acme", page(numbers(1, 10)))
    store.ack("acme", "siem", 8, ())
    store.ack("acme", "siem", 5, ())
    assert store.figures.sources["acme"].lanes["siem"].position == 8
    store.close()
