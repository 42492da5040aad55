"""A dead letter: what is counted where there is no room for it, and when a requeued one leaves."""

from pathlib import Path

import pytest
from journal_case import EPOCH_MS, EVERYTHING, crashed, numbers, page

from shipper.journal import Burial, NoRoomError
from shipper.journal.letters import Chosen
from shipper.journal.store import Store
from shipper.tally import Tally, tallies

HOUR = EPOCH_MS // 3_600_000


def opened(path: Path, dead_letters_max_bytes: int = 1 << 30) -> Store:
    store = Store(path, max_bytes=1 << 30, dead_letters_max_bytes=dead_letters_max_bytes)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    return store


def of(*wanted: int) -> Tally:
    events = [event for number in wanted for event in numbers(number, number)]
    return tallies([event.id for event in events], [event.time for event in events])[HOUR]


def ledger(store: Store) -> dict[tuple[str, str], Tally]:
    return {(entry.sink, entry.outcome): entry.tally for entry in store.ledger("acme", HOUR, HOUR + 1)}


def test_an_ack_that_finds_no_room_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    store = opened(tmp_path / "journal.sqlite", dead_letters_max_bytes=1)
    store.append("acme", page(numbers(1, 6)))
    for _ in range(2):
        with pytest.raises(NoRoomError):
            store.ack("acme", "siem", 4, [Burial(2, "refused")])
        assert ledger(store) == {("", "stored"): of(1, 2, 3, 4, 5, 6)}
    store.close()


def test_a_requeued_dead_letter_waits_through_failures_and_crashes_until_it_is_acked(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    store = opened(tmp_path / "first" / "journal.sqlite")
    store.append("acme", page(numbers(1, 3)))
    store.ack("acme", "siem", 3, [Burial(1, "refused"), Burial(3, "refused")])
    assert store.requeue(Chosen(), "nobody") == 2
    for _ in range(2):
        stretch = store.read_queue("acme", "siem", 0, EVERYTHING)
        assert stretch is not None
        assert list(stretch.events) == [*numbers(1, 1), *numbers(3, 3)]
    again = opened(crashed(tmp_path / "first", tmp_path / "second"))
    store.close()
    assert [letter.queued for letter in again.dead_letters()] == [True, True]
    assert again.read_queue("acme", "siem", 0, EVERYTHING) == stretch
    again.ack_queue("acme", "siem", 2, [Burial(2, "too_large")])
    assert [(letter.number, letter.reason, letter.queued) for letter in again.dead_letters()] == [
        (3, "too_large", False)
    ]
    assert ledger(again)["siem", "requeued"] == of(1)
    again.close()
