"""Recovery that was cut off half-way, or left a source out, is noticed; a full disk lets delivered events go."""

from pathlib import Path

import pytest
from journal_case import Clock, loud, page

from shipper.journal import JournalBrokenError, NoRoomError, Settled
from shipper.journal.database import LOG_BYTES
from shipper.journal.files import Ballast
from shipper.journal.sqlite import SqliteJournal
from shipper.journal.store import Store
from shipper.recovery import SettledFile, expect_begun, recover, unknown_sources

SOURCES = {"acme": "auth0:acme", "globex": "auth0:globex"}


async def with_places(place: Path) -> SqliteJournal:
    """A new journal beside the places of an earlier one."""
    journal = await SqliteJournal.open(place, max_bytes=1 << 30)
    SettledFile(place).write([Settled(name, tenant, b"behind", 5) for name, tenant in SOURCES.items()])
    return journal


async def test_a_recovery_that_was_cut_off_goes_on_with_the_sources_that_are_left(tmp_path: Path) -> None:
    journal = await with_places(tmp_path)
    assert list(await recover(journal, tmp_path, {"acme": SOURCES["acme"]})) == ["acme"]
    with pytest.raises(JournalBrokenError, match="a place for globex, and this one has none"):
        expect_begun(journal, tmp_path, SOURCES)
    left = unknown_sources(journal, SOURCES)
    assert list(left) == ["globex"]
    await recover(journal, tmp_path, left)
    expect_begun(journal, tmp_path, SOURCES)
    assert [source.checkpoint for source in journal.figures.sources.values()] == [b"behind", b"behind"]
    await journal.close()


async def test_a_source_that_someone_forgot_may_begin_anew(tmp_path: Path) -> None:
    journal = await with_places(tmp_path)
    await recover(journal, tmp_path, SOURCES)
    await journal.forget("source", "globex", "someone")
    expect_begun(journal, tmp_path, SOURCES)
    settled = SettledFile(tmp_path)
    settled.write([], [SOURCES["globex"]])
    assert list(settled.read()) == [SOURCES["acme"]]
    await journal.close()


def test_delivered_events_go_at_once_when_the_disk_has_no_room_for_new_ones(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal.sqlite", max_bytes=1 << 30, keep_days=1000, clock=Clock())
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    for at in range(0, 2_000, 100):
        store.append("acme", page([loud(n, 300) for n in range(at + 1, at + 101)]))
    store.ack("acme", "siem", 2_000, [])
    store._db.rows(f"PRAGMA max_page_count={store._db.value('PRAGMA page_count')}")
    more = page([loud(n, 300) for n in range(2_001, 2_101)])
    with pytest.raises(NoRoomError):
        store.append("acme", more)
    store.trim()
    assert store.append("acme", more).stored == 100
    store.close()


def test_the_ballast_is_larger_than_the_write_ahead_log_gets() -> None:
    assert Ballast.BYTES > LOG_BYTES
