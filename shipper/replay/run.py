"""One replay from beginning to end: which supply, the real delivery over a lane of its own, and what became of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import structlog

from shipper.ask import Ask
from shipper.delivery import Delivery
from shipper.event import Event
from shipper.health import Health
from shipper.journal import Burial, UnknownNameError
from shipper.metrics import Metrics
from shipper.replay.lane import ReplayLane, Settled
from shipper.replay.missing import Missing
from shipper.replay.progress import Progress, done, load, note_refused, save
from shipper.replay.supply import Portion, Supply, SupplyError, Using, moment
from shipper.shape.filter import Wants
from shipper.sink import Sink
from shipper.sources import SourceConfig
from shipper.sources.kinds import kind_of


class Order(msgspec.Struct, frozen=True):
    """What is to be delivered. since, until: milliseconds since 1970 UTC, the latter not included.

    rate: the most events a second, 0 for no limit. file: where the progress is kept, None for nowhere. who: types it.
    accept_dead: so many refused events are right, also where they come one after another.
    what: in words, "" for a replay.
    """

    source: str
    sink: str
    since: int
    until: int
    rate: float = 0.0
    file: Path | None = None
    who: str = ""
    accept_dead: int = 0
    what: str = ""

    @property
    def words(self) -> str:
        """For audit, and to know a file of progress again."""
        return self.what or f"replay {self.source} to {self.sink} from {moment(self.since)} until {moment(self.until)}"


class Outcome(msgspec.Struct, frozen=True):
    """What became of a replay. skipped: the archive had them. refused: how many. note: where they are named.
    untold: how many of the delivered ones the journal could not be told, so that its counter lacks them.

    complete: False where it was stopped before its end.
    """

    using: Using
    delivered: int
    skipped: int
    refused: int
    listed: tuple[tuple[str, str], ...]
    note: str
    untold: int
    complete: bool


async def choose(supplies: list[Supply], order: Order, say: Callable[[str], None], *, forced: bool) -> Supply:
    """The first that has the whole range; a forced one may lack some of it. Raises SupplyError."""
    why = []
    for supply in supplies:
        try:
            lacking = await supply.lacks(order.since, order.until)
        except SupplyError as error:
            lacking = str(error)
        if forced and lacking:
            say(f"{supply.using}: {lacking}; it is used all the same")
        if forced or not lacking:
            return supply
        why.append(f"{supply.using}: {lacking}")
    raise SupplyError(f"nothing has all events of {order.source} in this time ({'; '.join(why) or 'no supply'})")


async def _wanted(portions: AsyncGenerator[Portion, None], wants: Wants) -> AsyncGenerator[Portion, None]:
    """What the sink's filter lets through, as it is today."""
    async with aclosing(portions):
        async for portion in portions:
            chosen = [pair for pair in zip(portion.events, portion.places, strict=True) if wants(pair[0].type)]
            yield Portion([event for event, _ in chosen], [place for _, place in chosen])


class Replay:
    """One source into one sink.

    missing: what lets through what is wanted, None for everything. ends: ids behind which a batch ends. tell: called
    after each ack with how many events are done and the time of the last one, for a progress bar. stop: ends it with
    manners once it is set.
    """

    def __init__(
        self,
        order: Order,
        config: SourceConfig,
        sink: Sink,
        ask: Ask,
        *,
        missing: Missing | None = None,
        ends: Collection[str] = (),
        tell: Callable[[int, int], None] = lambda _events, _at_ms: None,
        stop_within_secs: float = 20.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._order, self._config, self._sink, self._ask = order, config, sink, ask
        self._missing, self._ends, self._tell, self._stop_within, self._sleep = (
            missing,
            ends,
            tell,
            stop_within_secs,
            sleep,
        )
        self._listed: list[tuple[str, str]] = []
        self._note = ""
        self._untold = 0
        self._audited = False
        self.stop = asyncio.Event()

    @staticmethod
    def begun(order: Order) -> Progress | None:
        """What an interrupted replay of the same order left. Raises ValueError where the file is another one's."""
        return load(order.file, order.words) if order.file else None

    async def run(self, supply: Supply) -> Outcome:
        """Delivers all of it, waiting out whatever trouble the destination has. Raises SupplyError, Fatal, OSError."""
        progress = self.begun(self._order)
        if progress is None or progress.using != supply.using:
            order = self._order
            progress = Progress(order.words, supply.using, since=order.since, until=order.until)
        self._progress = progress
        portions = supply.events(self._order.since, self._order.until, progress.place)
        wants = self._sink.config.filter.wants()
        if wants is not None:
            portions = _wanted(portions, wants)
        if self._missing is not None:
            portions = self._missing.of(portions)
        try:
            async with aclosing(portions):
                complete = await self._deliver(portions)
        finally:
            await self._report(0)
        if complete and self._order.file is not None:
            done(self._order.file)
        skipped = self._missing.skipped if self._missing else 0
        return Outcome(
            using=supply.using,
            delivered=self._progress.delivered,
            skipped=skipped,
            refused=self._progress.refused,
            listed=tuple(self._listed),
            note=self._note,
            untold=self._untold,
            complete=complete,
        )

    async def _deliver(self, portions: AsyncGenerator[Portion, None]) -> bool:
        """Returns whether the end was reached."""
        order = self._order
        lane = ReplayLane(order.sink, portions, self._settled, rate=order.rate, ends=self._ends, sleep=self._sleep)
        log: Any = structlog.get_logger().bind(source=order.source, sink=order.sink, replay=True)
        delivery = Delivery(
            lane,
            self._sink,
            kind_of(self._config).origin(order.source),
            slots=asyncio.Semaphore(1),
            health=Health(log, asyncio.get_running_loop().time),
            metrics=Metrics().lane(order.source, order.sink),
            eager=True,
            sleep=self._sleep,
        )
        delivery.accept_dead(order.accept_dead)
        work = asyncio.create_task(delivery.run())
        ends = [asyncio.create_task(lane.over.wait()), asyncio.create_task(self.stop.wait())]
        try:
            await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                delivery.stop(work)
            await asyncio.wait([work], timeout=self._stop_within)
        finally:
            for task in (work, *ends):
                task.cancel()
            await asyncio.wait([work, *ends])
        if not work.cancelled() and (error := work.exception()) is not None:
            raise error
        if lane.over.is_set():
            await self._give_up(lane, delivery.held_back)
        return lane.over.is_set()

    async def _give_up(self, lane: ReplayLane, held_back: list[Burial]) -> None:
        """Refusals at the very end, which no later delivery will follow."""
        if held_back:
            await lane.ack(held_back[-1].number, held_back)

    async def _settled(self, settled: Settled) -> None:
        self._note_refused(settled.refused)
        progress = self._progress
        self._progress = msgspec.structs.replace(
            progress,
            place=settled.place,
            delivered=progress.delivered + settled.delivered,
            refused=progress.refused + len(settled.refused),
            time=settled.time,
        )
        if self._order.file is not None:
            save(self._order.file, self._progress)
        skipped = self._missing.skipped if self._missing else 0
        self._tell(self._progress.delivered + self._progress.refused + skipped, settled.time)
        await self._report(settled.delivered)

    def _note_refused(self, refused: "list[tuple[Event, Burial]] | Any") -> None:
        if not refused:
            return
        self._listed += [(event.id, burial.reason) for event, burial in refused]
        if self._order.file is not None:
            lines = [{"log_id": e.id, "reason": b.reason, "detail": b.detail} for e, b in refused]
            self._note = str(note_refused(self._order.file, lines))

    async def _report(self, delivered: int) -> None:
        """Counts them where all other counts are; the first time with a line for the audit list."""
        self._untold += delivered
        if not self._untold:
            return
        question: dict[str, Any] = {"source": self._order.source, "sink": self._order.sink, "events": self._untold}
        if not self._audited:
            question |= {"who": self._order.who, "audit": f"{self._order.words} using {self._progress.using}"}
        try:
            await self._ask("replayed", question)
        except UnknownNameError:
            return  # nobody answers just now: the next one tells these, too
        self._untold, self._audited = 0, True
