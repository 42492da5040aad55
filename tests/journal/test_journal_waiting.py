"""Waiting: whatever is stored while a lane looks, wakes it; and nothing else does."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from journal_case import Clock, loud, numbers, page

from shipper.event import Page
from shipper.journal import Figures, Limits
from shipper.journal.sqlite import SqliteJournal, SqliteLane, SqliteSource

T = TypeVar("T")
AT_ONCE = Limits(500, 1_000_000)
FULLER = Limits(2, 1_000_000, timeout_secs=3600.0)
SOON_SECS = 10.0


class Interrupted(SqliteJournal):
    """Does something at the worst moment, once; counts the operations."""

    between_look_and_wait: Callable[[], None] | None = None
    before_caller_resumes: Callable[[], Awaitable[object]] | None = None

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.operations: list[str] = []

    @property
    def figures(self) -> Figures:
        seen = super().figures
        interrupt, self.between_look_and_wait = self.between_look_and_wait, None
        if interrupt:
            interrupt()
        return seen

    async def run(self, operation: Callable[..., T], *args: object) -> T:
        self.operations.append(operation.__name__)
        result = await super().run(operation, *args)
        interrupt, self.before_caller_resumes = self.before_caller_resumes, None
        if interrupt:
            await interrupt()
        return result

    def append_at_once(self, new: Page) -> None:
        """Stores a page on the journal's thread before the loop gets to do anything else; nobody awaits it."""
        abandoned = self.run(self._store.append, "acme", new)
        abandoned.send(None)
        abandoned.close()
        self.settle()

    def settle(self) -> None:
        """Blocks until the journal's thread has done everything that it was asked for."""
        reached = threading.Event()
        self.ask(reached.set)
        assert reached.wait(SOON_SECS)

    def ask(self, operation: Callable[[], object]) -> None:
        """Puts an operation before the thread that nobody waits for."""
        abandoned = self._thread.run(operation)
        abandoned.send(None)
        abandoned.close()

    async def calm(self) -> None:
        """Everything that was going to happen by itself has happened."""
        for _ in range(5):
            await self.alive()

    @property
    def looks(self) -> int:
        return self.operations.count("ready_in")


@asynccontextmanager
async def opened(directory: Path, **settings: Any) -> AsyncIterator[tuple[Interrupted, SqliteSource, SqliteLane]]:
    journal = await Interrupted.open(directory, **{"max_bytes": 1 << 30, **settings})
    assert isinstance(journal, Interrupted)
    source, _ = await journal.source("acme", "acme.example")
    lane, _ = await journal.lane("acme", "siem")
    try:
        yield journal, source, lane
    finally:
        await journal.close()


async def test_an_append_between_look_and_wait_wakes_the_lane(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, _, lane):
        journal.between_look_and_wait = lambda: journal.append_at_once(page(numbers(1, 1)))
        async with asyncio.timeout(SOON_SECS):
            await lane.waiting(0, AT_ONCE)
        assert lane.figures.lag == 1


async def test_an_append_while_the_lane_is_told_to_wait_for_a_fuller_batch_wakes_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, source, lane):
        await source.append(page(numbers(1, 1)))
        journal.before_caller_resumes = lambda: source.append(page(numbers(2, 2)))
        async with asyncio.timeout(SOON_SECS):
            await lane.waiting(0, FULLER)
        assert lane.figures.lag == 2


async def test_an_append_while_an_empty_lane_reads_wakes_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, source, lane):
        journal.before_caller_resumes = lambda: source.append(page(numbers(1, 1)))
        assert await lane.read(0, AT_ONCE) is None
        async with asyncio.timeout(SOON_SECS):
            await lane.waiting(0, AT_ONCE)


async def test_room_that_comes_between_look_and_wait_lets_the_source_poll(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=400_000, keep_days=0) as (journal, source, lane):
        while not source.figures.paused:
            stored = source.figures.stored
            await source.append(page([loud(n, 5_000) for n in range(stored + 1, stored + 11)]))

        def trim_at_once() -> None:
            abandoned = journal.run(journal._store.trim)
            abandoned.send(None)
            abandoned.close()
            journal.settle()

        await lane.ack(source.figures.stored - 1)
        assert source.figures.paused, "one event still waits, and nothing is trimmed yet"
        journal.between_look_and_wait = trim_at_once
        async with asyncio.timeout(SOON_SECS):
            await source.room()
        assert not source.figures.paused


async def test_lanes_that_wait_side_by_side_look_once_for_each_append(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, source, lane):
        other, _ = await journal.lane("acme", "archive")
        busy, _ = await journal.lane("acme", "console")
        await source.append(page(numbers(1, 3)))
        patient = Limits(100, 1_000_000, timeout_secs=3600.0)
        waiters = [asyncio.create_task(each.waiting(0, patient)) for each in (lane, other)]
        await journal.calm()
        assert journal.looks == 2
        await busy.reserve(1, 1)
        await busy.ack(1)
        await source.caught_up(5)
        await journal.trim()
        await journal.calm()
        assert journal.looks == 2, "nothing was stored, so nobody has a reason to look"
        await source.append(page(numbers(4, 4)))
        await journal.calm()
        assert journal.looks == 4
        await source.append(page(numbers(5, 100)))
        async with asyncio.timeout(SOON_SECS):
            await asyncio.gather(*waiters)
        assert journal.looks == 6


async def test_another_sources_events_wake_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, source, lane):
        globex, _ = await journal.source("globex", "globex.example")
        await source.append(page(numbers(1, 1)))
        waiter = asyncio.create_task(lane.waiting(0, FULLER))
        await journal.calm()
        await globex.append(page(numbers(1, 10)))
        await journal.calm()
        assert (journal.looks, waiter.done()) == (1, False)
        waiter.cancel()


async def test_the_oldest_event_waits_no_longer_than_the_batch_timeout(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, source, lane):
        await source.append(page(numbers(1, 1)))
        async with asyncio.timeout(SOON_SECS):
            await lane.waiting(0, Limits(2, 1_000_000, timeout_secs=0.01))
            await lane.waiting(0, FULLER, eager=True)


async def test_a_batch_is_ready_once_full_or_old_enough_and_at_once_where_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with opened(tmp_path, clock=clock) as (journal, source, _):
        store = journal._store
        limits = Limits(10, 10_000, overhead=100, timeout_secs=60.0)
        await source.append(page(numbers(1, 60)))
        await source.append(page([loud(61, 4_000), *numbers(62, 63)]))
        assert store.ready_in("acme", "siem", 63, limits) is None
        assert store.ready_in("acme", "siem", 53, limits) == 0.0
        assert store.ready_in("acme", "siem", 60, limits) == 60.0
        clock.now += 45.0
        assert store.ready_in("acme", "siem", 60, limits) == 15.0
        await source.append(page(numbers(64, 64)))
        assert store.ready_in("acme", "siem", 60, limits) == 15.0, "the oldest one counts"
        assert store.ready_in("acme", "siem", 63, limits) == 60.0
        size = sum(len(e.raw) + 100 for e in [loud(61, 4_000), *numbers(62, 64)])
        assert store.ready_in("acme", "siem", 60, Limits(10, size, 100, 60.0)) == 0.0
        assert store.ready_in("acme", "siem", 60, Limits(10, size + 1, 100, 60.0)) == 15.0
        clock.now -= 3600.0
        assert store.ready_in("acme", "siem", 60, limits) == 0.0


async def test_a_cancelled_waiter_leaves_the_others_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, source, lane):
        gone, stays = (asyncio.create_task(lane.waiting(0, FULLER)) for _ in range(2))
        await journal.calm()
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
        await source.append(page(numbers(1, 2)))
        async with asyncio.timeout(SOON_SECS):
            await stays


async def test_an_append_cancelled_while_it_runs_is_stored_whole_and_wakes_lanes(tmp_path: Path) -> None:
    committed, go_on = threading.Event(), threading.Event()

    def observe(_secs: float) -> None:
        committed.set()
        go_on.wait(SOON_SECS)

    go_on.set()
    async with opened(tmp_path, observe=observe) as (_, source, lane):
        committed.clear()
        go_on.clear()
        waiter = asyncio.create_task(lane.waiting(0, AT_ONCE))
        append = asyncio.create_task(source.append(page(numbers(1, 3), b"behind 3")))
        await asyncio.to_thread(committed.wait, SOON_SECS)
        append.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await append
        async with asyncio.timeout(SOON_SECS):
            await waiter
        assert (source.figures.stored, source.figures.checkpoint) == (3, b"behind 3")


async def test_an_append_cancelled_before_its_turn_is_stored_whole_and_wakes_its_lanes(tmp_path: Path) -> None:
    go_on = threading.Event()
    async with opened(tmp_path) as (journal, source, lane):
        waiter = asyncio.create_task(lane.waiting(0, AT_ONCE))
        journal.ask(partial(go_on.wait, SOON_SECS))
        append = asyncio.create_task(source.append(page(numbers(1, 3), b"behind 3")))
        await asyncio.sleep(0)
        append.cancel()
        with pytest.raises(asyncio.CancelledError):
            await append
        go_on.set()
        async with asyncio.timeout(SOON_SECS):
            await waiter
        assert (source.figures.stored, source.figures.checkpoint) == (3, b"behind 3")


async def test_a_lane_before_its_start_waits_without_looking_and_begins_exactly_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, source, _):
        later, new = await journal.lane("acme", "later", f"id:{numbers(4, 4)[0].id}")
        assert new
        await source.append(page(numbers(1, 3)))
        assert await later.read(0, AT_ONCE) is None
        assert later.figures.position == 3
        waiter = asyncio.create_task(later.waiting(later.figures.position, FULLER))
        await source.append(page(numbers(4, 6)))
        async with asyncio.timeout(SOON_SECS):
            await waiter
        stretch = await later.read(3, FULLER)
        assert stretch is not None
        assert (stretch.first, [e.id for e in stretch.events]) == (5, [e.id for e in numbers(5, 6)])
        assert (later.figures.began, later.figures.lag) == (4, 2)
