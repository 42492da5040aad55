"""A lane on the real journal, with a destination that plays a script, and time that passes only in waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from structlog.testing import CapturingLogger

from shipper import Batch, Event, Origin, Sink, SinkConfig
from shipper.delivery import Delivery
from shipper.event import Page
from shipper.health import Health
from shipper.journal import DeadLetter, LaneFigures
from shipper.journal.sqlite import SqliteJournal, SqliteLane, SqliteSource
from shipper.metrics import Metrics
from shipper.retry import Backoff

Step = Callable[[Batch], float | None]


def event(number: int, type_: str = "s") -> Event:
    """An event whose id tells its number."""
    return Event(str(9 * 10**55 + number), 1_700_000_000_000 + number, "", type_, b'{"n":%d}' % number)


def number_of(event: Event) -> int:
    """The number of an event of ours."""
    return int(event.id) - 9 * 10**55


class Destination(Sink):
    """Takes everything, unless the script or else a rule says otherwise; knows what it holds and what it was asked."""

    def __init__(self, script: Iterable[Step | None] = (), rule: Step | None = None, **settings: Any) -> None:
        super().__init__(SinkConfig.model_validate({"type": "scripted", **settings}))
        self.overhead = 0
        self.script = list(script)
        self.rule = rule
        self.asked: list[list[int]] = []
        self.attempts: list[int] = []
        self.held: list[int] = []

    async def write(self, batch: Batch) -> float | None:
        numbers = [number_of(event) for event in batch.events]
        self.asked.append(numbers)
        self.attempts.append(batch.attempt)
        step = self.script.pop(0) if self.script else self.rule
        rest = step(batch) if step else None
        self.held += numbers
        return rest


class Lane:
    """One lane of the source `acme` into the sink `siem`."""

    def __init__(self, journal: SqliteJournal, source: SqliteSource, lane: SqliteLane, sink: Sink) -> None:
        self.journal, self.source, self.lane, self.sink = journal, source, lane, sink
        self.waits: list[float] = []
        self.during_wait: Callable[[], None] = lambda: None
        self.now = 0.0
        self.log = CapturingLogger()
        self.metrics = Metrics()
        self.slots = asyncio.Semaphore(1)
        self.restart()

    def restart(self, *, alone: bool = True) -> None:
        """What a new process would have: the journal's place, and no memory."""
        self.delivery = Delivery(
            self.lane,
            self.sink,
            Origin("acme", "auth0", "acme.us.auth0.com", "acme"),
            slots=self.slots,
            health=Health(structlog.wrap_logger(self.log, processors=[]), lambda: self.now),
            metrics=self.metrics.lane("acme", "siem"),
            alone=alone,
            clock=lambda: 1_700_000_500.0 + self.now,
            sleep=self._sleep,
            backoff=Backoff(1.0, 60.0, draw=lambda: 1.0),
        )

    async def _sleep(self, secs: float) -> None:
        self.waits.append(secs)
        self.now += secs
        self.during_wait()
        await asyncio.sleep(0)

    async def store(self, first: int, last: int, failed: Collection[int] = ()) -> None:
        """Stores events as their source would: logins, some of them failed."""
        events = [event(n, "fp" if n in failed else "s") for n in range(first, last + 1)]
        await self.source.append(Page(events, b"checkpoint", 1, events[-1].id))

    async def deliver(self) -> None:
        """Works until the lane is idle, or has been in trouble for a minute."""
        task = asyncio.create_task(self.delivery.run())
        self.delivery.finish(task)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    @property
    def figures(self) -> LaneFigures:
        return self.lane.figures

    async def dead(self) -> list[DeadLetter]:
        return await self.journal.dead_letters()

    def written(self, outcome: str) -> float:
        """shipper_writes_total of this lane."""
        labels = {"source": "acme", "sink": "siem", "outcome": outcome}
        return self.metrics.registry.get_sample_value("shipper_writes_total", labels) or 0.0

    def logged(self) -> list[str]:
        return [call.args[0] if call.args else call.kwargs["event"] for call in self.log.calls]


@asynccontextmanager
async def lane_of(
    place: Path, sink: Sink, events: int, failed: Collection[int] = (), **journal: Any
) -> AsyncIterator[Lane]:
    """A lane in front of which so many events wait, some of them failed logins."""
    opened = await SqliteJournal.open(place, max_bytes=10**9, **journal)
    source, _ = await opened.source("acme", "auth0:acme.us.auth0.com")
    handle, _ = await opened.lane("acme", "siem", wants=sink.config.filter.wants())
    lane = Lane(opened, source, handle, sink)
    for first in range(1, events + 1, 100):
        await lane.store(first, min(first + 99, events), failed)
    try:
        yield lane
    finally:
        await opened.close()
