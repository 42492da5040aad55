"""What an event costs: bytes on the disk, and work that doesn't grow with the journal."""

from collections.abc import Callable
from pathlib import Path

import pytest
from journal_case import event, numbers, page

from shipper.event import Event
from shipper.journal import Limits
from shipper.journal.store import Store
from shipper.simulator.tenant import Tenant
from shipper.sources.split import event_of


@pytest.fixture(scope="module")
def tenants_events() -> list[Event]:
    return [event_of(raw, 0) for _, raw in Tenant(count=4_000).issued()]


def bytes_an_event(directory: Path, events: list[Event], together: int) -> float:
    store = Store(directory / "journal.sqlite", max_bytes=1 << 40)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    for at in range(0, len(events), together):
        store.append("acme", page(events[at : at + together], b"x" * 200))
    used = store.figures.used_bytes
    store.close()
    return used / len(events)


def test_an_event_of_full_pages_takes_300_bytes_at_most(tmp_path: Path, tenants_events: list[Event]) -> None:
    assert sum(len(e.raw) for e in tenants_events) / len(tenants_events) > 1_400
    assert bytes_an_event(tmp_path, tenants_events, 100) <= 300


@pytest.mark.parametrize("together", [1, 2])
def test_an_event_of_a_live_tail_takes_400_bytes_at_most(
    in_memory_path: Path, tenants_events: list[Event], together: int
) -> None:
    assert bytes_an_event(in_memory_path, tenants_events[:1_000], together) <= 400


def steps(store: Store, pages: int) -> list[int]:
    """SQLite's own steps for an append, an ack, a look whether a batch is ready, and a trim, behind so many pages."""
    counted, each = 0, []
    patient = Limits(1 << 30, 1 << 40, timeout_secs=60.0)
    operations: list[Callable[[], object]] = [
        lambda: store.append("source 1", page(numbers(60 * pages + 1, 60 * pages + 60))),
        lambda: store.ack("source 1", "sink 1", 30 * pages, ()),
        lambda: store.ready_in("source 1", "sink 2", 0, patient),
        lambda: store._upkeep.trim("source 1", 0, 500),
    ]
    for sink in (2, 3, 4):
        store.ack("source 1", f"sink {sink}", 30 * pages, ())
    store.ack("source 1", "sink 1", 30 * pages - 60, ())

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    store._db._db.set_progress_handler(count, 1)
    for operation in operations:
        counted = 0
        operation()
        each.append(counted)
    store._db._db.set_progress_handler(None, 1)
    return each


def filled(directory: Path, *, sources: int, pages: int) -> Store:
    directory.mkdir()
    store = Store(directory / "journal.sqlite", max_bytes=1 << 40)
    for source in range(1, sources + 1):
        store.open_source(f"source {source}", f"{source}.example")
        for sink in range(1, 5):
            store.open_lane(f"source {source}", f"sink {sink}", "earliest")
    for at in range(pages):
        store.append("source 1", page([event(60 * at + n) for n in range(1, 61)]))
    return store


def test_no_operation_costs_more_in_a_large_journal(in_memory_path: Path) -> None:
    small = filled(in_memory_path / "small", sources=1, pages=4)
    large = filled(in_memory_path / "large", sources=50, pages=400)
    few, many = steps(small, 4), steps(large, 400)
    assert all(each > 5 for each in few)
    assert all(much <= 1.2 * little for little, much in zip(few, many, strict=True)), (few, many)
    small.close()
    large.close()
