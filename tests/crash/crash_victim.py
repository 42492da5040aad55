"""A program to be killed, refused by its disk and cut from power: a source, the journal, two lanes and their sinks.

The source is made up and the destinations are files to which it only appends, so that nothing but journal and delivery
is loaded. On stdout it tells of each commit once the journal has returned: `stored N` (events up to N with their
checkpoint), `siem N` and `archive N` (a lane's position).

Usage: crash_victim.py DIRECTORY EVENTS [SYNCHRONOUS]
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import structlog
from crash_events import number_of, page_behind
from structlog.testing import CapturingLogger

from shipper.delivery import Delivery
from shipper.event import Batch, Event, Origin
from shipper.exit_status import IO_FAILED
from shipper.health import Health
from shipper.journal import Burial, Figures, JournalError, LaneFigures, Limits, NoRoomError, Stretch
from shipper.journal.sqlite import SqliteJournal, SqliteLane, SqliteSource
from shipper.metrics import Metrics
from shipper.recovery import SettledFile
from shipper.sink import Rejected, Sink, SinkConfig

EVENTS = 150
BATCH = 10
REFUSED = 7
"""Every so-manieth event is one that the sink `siem` will never take."""
WAIT_SECS = 0.01

Tell = Callable[[str, int], None]


def line_of(event: Event) -> bytes:
    """What a destination keeps of an event."""
    return f"{number_of(event)} {sha256(event.raw).hexdigest()}\n".encode()


class Siem(Sink):
    """Appends a line an event, with one call a write; refuses some events for good."""

    def __init__(self, path: Path) -> None:
        limits = {"max_events": BATCH}, {"retry_initial_backoff_secs": WAIT_SECS, "retry_max_duration_secs": WAIT_SECS}
        super().__init__(SinkConfig.model_validate({"type": "file", "batch": limits[0], "request": limits[1]}))
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    async def close(self) -> None:
        os.close(self._file)

    async def write(self, batch: Batch) -> None:
        refused = {i: "its number" for i, event in enumerate(batch.events) if number_of(event) % REFUSED == 0}
        if refused:
            raise Rejected("refused", only=refused)
        self.accept(batch.events)

    def accept(self, events: Sequence[Event]) -> None:
        """What the destination has from now on."""
        os.write(self._file, b"".join(map(line_of, events)))


class Archive(Siem):
    """Appends a line a batch, as an object store would keep an object: it may come again, but then be the same."""

    replays_batches = True

    async def write(self, batch: Batch) -> None:
        self.accept(batch.events)

    def accept(self, events: Sequence[Event]) -> None:
        digest = sha256(b"".join(map(line_of, events))).hexdigest()
        os.write(self._file, f"{number_of(events[0])} {number_of(events[-1])} {digest}\n".encode())


class TellingLane:
    """A lane's side of the journal that tells of each ack."""

    def __init__(self, lane: SqliteLane, sink: str, tell: Tell) -> None:
        self._lane, self._sink, self._tell = lane, sink, tell

    @property
    def figures(self) -> LaneFigures:
        return self._lane.figures

    async def waiting(self, after: int, limits: Limits, *, eager: bool = False) -> None:
        await self._lane.waiting(after, limits, eager=eager)

    async def read(
        self, after: int, limits: Limits, upto: int | None = None, without: Sequence[range] = ()
    ) -> Stretch | None:
        return await self._lane.read(after, limits, upto, without)

    async def reserve(self, first: int, last: int, left_out: Sequence[range] = ()) -> bool:
        return await self._lane.reserve(first, last, left_out)

    async def ack(self, upto: int, dead: Sequence[Burial] = (), left_out: Sequence[range] = ()) -> None:
        await self._lane.ack(upto, dead, left_out)
        self._tell(self._sink, upto)


async def upkeep(journal: SqliteJournal, settled: SettledFile) -> None:
    """Trims, and keeps what is settled, as the daemon does every few seconds."""
    while True:
        await asyncio.sleep(WAIT_SECS)
        with suppress(NoRoomError, OSError):
            await journal.trim()
            await journal.run(settled.write, await journal.settled())


async def issue(source: SqliteSource, upto: int, tell: Tell) -> None:
    """The source's events behind its checkpoint, page for page."""
    while (stored := int(source.figures.checkpoint or b"0")) < upto:
        page = page_behind(stored, upto)
        try:
            await source.append(page)
            tell("stored", int(page.checkpoint))
        except NoRoomError:
            await asyncio.sleep(WAIT_SECS)
        await asyncio.sleep(0)


def delivery_of(lane: TellingLane, sink: Sink, name: str) -> Delivery:
    """One lane at work, as the daemon makes it."""
    log = structlog.wrap_logger(CapturingLogger(), processors=[])
    return Delivery(
        lane,
        sink,
        Origin("acme", "auth0", "acme.example", "acme"),
        slots=asyncio.Semaphore(1),
        health=Health(log, asyncio.get_running_loop().time),
        metrics=Metrics().lane("acme", name),
    )


async def work(
    place: Path,
    upto: int = EVENTS,
    *,
    tell: Tell = lambda _word, _number: None,
    opened: Callable[[Figures], None] = lambda _figures: None,
    synchronous: str = "",
) -> None:
    """From start to end: until the source's events up to this number are settled. Raises the journal's errors.

    opened: told the figures of the start. synchronous: SQLite's setting, where it shall be another than the journal's.
    """
    journal = await SqliteJournal.open(place / "state", max_bytes=1 << 30, keep_days=0)
    sinks: dict[str, Sink] = {"siem": Siem(place / "siem"), "archive": Archive(place / "archive")}
    try:
        opened(journal.figures)
        if synchronous:
            await journal.run(journal._store._db.execute, f"PRAGMA synchronous={synchronous}")
        source, _ = await journal.source("acme", "auth0:acme.example")
        async with asyncio.TaskGroup() as group:
            tasks = []
            for name, sink in sinks.items():
                lane, _ = await journal.lane("acme", name)
                delivery = delivery_of(TellingLane(lane, name, tell), sink, name)
                tasks.append((delivery, group.create_task(delivery.run())))
            keeping = group.create_task(upkeep(journal, SettledFile(place / "state")))
            await issue(source, upto, tell)
            for delivery, task in tasks:
                delivery.finish(task)
            await asyncio.wait([task for _, task in tasks])
            keeping.cancel()
    finally:
        for sink in sinks.values():
            await sink.close()
        with suppress(JournalError):
            await journal.close()


def say(word: str, number: int) -> None:
    """One line for whoever is going to kill us, with one call."""
    os.write(1, f"{word} {number}\n".encode())


def main() -> int:
    """The exit status that the daemon would have."""
    place, upto, *synchronous = sys.argv[1:]
    status = 0
    try:
        asyncio.run(work(Path(place), int(upto), tell=say, synchronous="".join(synchronous)))
    except* JournalError:
        status = IO_FAILED
    return status


if __name__ == "__main__":
    sys.exit(main())
