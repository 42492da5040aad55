"""One lane of the real journal into a place, with time that passes only in waits; and the oracle over all of it."""

import asyncio
import re
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from place_case import CANARY, CULPRIT
from prometheus_client import generate_latest
from sink_faults_case import NOW
from structlog.testing import LogCapture

from shipper import Event, Origin, Sink
from shipper.delivery import Delivery
from shipper.event import Page
from shipper.health import Health
from shipper.journal import Limits
from shipper.journal.sqlite import SqliteJournal, SqliteLane
from shipper.metrics import Metrics
from shipper.retry import Backoff
from shipper.scripted import PERSON, make_event

EVERYTHING = Limits(100_000, 1 << 30)
MOST_WAITS = 20


def issued(count: int, culprit: int = 0, every_secs: int = 1) -> list[Event]:
    """What a source issued; one event may be such that a destination refuses it."""
    return [
        make_event(number * every_secs, **({"culprit": True} if number == culprit else {}))
        for number in range(1, count + 1)
    ]


class LaneUnderFault:
    """One lane. `heal_after`: after so many waits `heal` is called; `park`: waits don't end."""

    def __init__(self, journal: SqliteJournal, lane: SqliteLane, sink: Sink, state_dir: Path) -> None:
        self.journal, self.lane, self.sink, self.state_dir = journal, lane, sink, state_dir
        self.metrics, self.capture = Metrics(), LogCapture()
        self.waits: list[float] = []
        self.heal_after = 0
        self.heal: Callable[[], None] = lambda: None
        self.failed_until_healed = 0.0
        self.parked: asyncio.Event | None = None
        self._passed = 0.0
        self.restart()

    def restart(self) -> None:
        """A new process's delivery: it knows what the journal knows."""
        log = structlog.wrap_logger(None, processors=[self.capture])
        self.delivery = Delivery(
            self.lane,
            self.sink,
            Origin("acme", "auth0", "acme.us.auth0.com", "acme"),
            slots=asyncio.Semaphore(1),
            health=Health(log, lambda: 0.0),
            metrics=self.metrics.lane("acme", "siem"),
            clock=lambda: NOW + self._passed,
            sleep=self._sleep,
            backoff=Backoff(1.0, 60.0, draw=lambda: 1.0),
        )

    async def _sleep(self, secs: float) -> None:
        self.waits.append(secs)
        assert len(self.waits) < MOST_WAITS, f"no end of it: {self.capture.entries[-1]}"
        if self.parked is not None:
            self.parked.set()
            await asyncio.Event().wait()
        self._passed += secs
        if len(self.waits) == self.heal_after:
            await asyncio.to_thread(self.heal)
            self.failed_until_healed = self.failures()
        await asyncio.sleep(0)

    async def reopen(self) -> None:
        """The process ends, and another one begins."""
        sink = self.lane.figures.sink
        await self.journal.close()
        self.journal, self.lane = await _open(self.state_dir, sink)
        self.parked = None
        self.restart()

    async def store(self, events: Sequence[Event]) -> None:
        source, _ = await self.journal.source("acme", "auth0:acme.us.auth0.com")
        await source.append(Page(list(events), b"checkpoint", 1, events[-1].id))

    async def deliver(self) -> None:
        """Until nothing is left to hand out."""
        task = asyncio.create_task(self.delivery.run())
        self.delivery.finish(task)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    # -- what can be seen of it ----------------------------------------------------------------------------------------

    def writes(self) -> dict[str, float]:
        """shipper_writes_total by outcome, without zeros."""
        return self._counted("shipper_writes_total", "outcome")

    def failures_by_reason(self) -> dict[str, float]:
        """shipper_write_failures_total by reason, without zeros."""
        return self._counted("shipper_write_failures_total", "reason")

    def failures(self) -> float:
        """Writes that did not deliver."""
        return sum(count for outcome, count in self.writes().items() if outcome != "delivered")

    def _counted(self, name: str, label: str) -> dict[str, float]:
        samples = (one for family in self.metrics.registry.collect() for one in family.samples if one.name == name)
        return {one.labels[label]: one.value for one in samples if one.value}

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines that begin with this word."""
        return [dict(line) for line in self.capture.entries if line["event"] == event]

    async def waiting(self) -> list[bytes]:
        """What stands in the journal ahead of the lane's position."""
        found: list[bytes] = []
        at = self.lane.figures.position
        # A range that is reserved for its next write is handed out alone.
        while len(found) < self.lane.figures.lag:
            stretch = await self.lane.read(at, EVERYTHING)
            assert stretch is not None
            found += [event.raw for event in stretch.events]
            at = stretch.last
        return found

    async def assert_nothing_lost(self, events: Sequence[Event], taken: Sequence[Sequence[bytes]]) -> None:
        """The oracle: each event once at the destination, in a dead letter or in the journal; none else; in order."""
        raws = [event.raw for event in events]
        dead = [letter.raw for letter in await self.journal.dead_letters()]
        waiting = await self.waiting()
        at_the_destination = dict.fromkeys(raw for write in taken for raw in write)
        settled = [*at_the_destination, *dead]
        missing = [raw for raw in raws if raw not in {*settled, *waiting}]
        invented = [raw for raw in {*settled, *waiting} if raw not in raws]
        assert (missing, invented) == ([], []), "lost, or invented and altered"
        assert list(at_the_destination) == [raw for raw in raws if raw in at_the_destination], "out of order"
        assert not set(dead) & set(at_the_destination), "a dead letter was delivered"
        assert waiting == raws[len(raws) - len(waiting) :]
        figures = self.lane.figures
        assert figures.delivered + sum(figures.dead.values()) + figures.lag == len(raws)

    async def culprits_given_up(self) -> list[bool]:
        """Of each dead letter, whether it is the one that had to be."""
        return [CULPRIT in letter.raw for letter in await self.journal.dead_letters()]

    def assert_no_leak(self, printed: str) -> None:
        """No secret anywhere, and no event in what people read."""
        outcomes = getattr(self.sink, "raised", ())
        shown = [printed, str(self.capture.entries), generate_latest(self.metrics.registry).decode()]
        shown += ["".join(traceback.format_exception(outcome)) for outcome in outcomes]
        for text in shown:
            assert CANARY not in text
            assert PERSON not in text
        for path in self.state_dir.rglob("*"):
            assert not path.is_file() or CANARY.encode() not in path.read_bytes(), f"{path.name} holds the secret"


def repeats(taken: Sequence[Sequence[bytes]]) -> int:
    """How many events came once more than once."""
    counts = Counter(raw for write in taken for raw in write)
    return sum(counts.values()) - len(counts)


def assert_told(line: dict[str, Any], reason: str, words: str) -> None:
    """One line of the log: its reason, what it says about the fault, and what to do."""
    assert line["reason"] == reason
    assert re.search(words, line["note"]), line["note"]
    assert line["do"]


async def _open(state_dir: Path, sink: str, start: str = "earliest") -> tuple[SqliteJournal, SqliteLane]:
    journal = await SqliteJournal.open(state_dir, max_bytes=1 << 30)
    await journal.source("acme", "auth0:acme.us.auth0.com")
    lane, _ = await journal.lane("acme", sink, start)
    return journal, lane


@asynccontextmanager
async def lane_for(
    sink: Sink, state_dir: Path, name: str = "siem", start: str = "earliest"
) -> AsyncIterator[LaneUnderFault]:
    """The lane of a journal into this sink; both are new unless they are there."""
    journal, lane = await _open(state_dir, name, start)
    await sink.open()
    found = LaneUnderFault(journal, lane, sink, state_dir)
    try:
        yield found
    finally:
        await found.sink.close()
        await found.journal.close()
