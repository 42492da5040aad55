"""What delivery sees of a replay: a lane whose events come from a supply instead of the journal."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from itertools import islice

import msgspec

from shipper.event import Event
from shipper.journal import Burial, LaneFigures, Limits, Stretch
from shipper.reasons import Reason
from shipper.replay.supply import Portion


class Settled(msgspec.Struct, frozen=True):
    """One ack: the place behind its last event and its time, how many were delivered, and those that were refused."""

    place: str
    time: int
    delivered: int
    refused: Sequence[tuple[Event, Burial]]


class ReplayLane:
    """A LaneHandle. Its numbers count the events of this replay only, from 1.

    portions: what is to be delivered, in order. settled: called with each ack, before the position moves. rate: the
    most events a second, 0 for no limit. ends: ids behind which a batch ends, however small. over: set once delivery
    has read and settled everything there is to settle.
    """

    def __init__(
        self,
        sink: str,
        portions: AsyncGenerator[Portion, None],
        settled: Callable[[Settled], Awaitable[None]],
        *,
        rate: float = 0.0,
        ends: Collection[str] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink, self._portions, self._settled = sink, portions, settled
        self._rate, self._ends, self._sleep, self._clock = rate, ends, sleep, clock
        self._held: deque[tuple[Event, str]] = deque()
        self._position = 0
        self._dead: Counter[Reason] = Counter()
        self._handed_out = 0
        self._not_before = clock()
        self.over = asyncio.Event()

    @property
    def figures(self) -> LaneFigures:
        """As of the last ack; lag is what is in memory."""
        return LaneFigures(
            sink=self._sink,
            began=0,
            position=self._position,
            lag=len(self._held),
            oldest=self._held[0][0].time if self._held else None,
            filtered=0,
            dead=self._dead,
            dead_kept=self._dead.total(),
        )

    async def waiting(self, after: int, limits: Limits, *, eager: bool = False) -> None:
        """Returns once a batch waits; never, and with `over` set, where nothing will come any more."""
        del eager
        await self._fetch(after - self._position, limits)
        if len(self._held) == after - self._position:
            self.over.set()
            await asyncio.Event().wait()
        if self._not_before > (now := self._clock()):
            await self._sleep(self._not_before - now)

    async def _fetch(self, first: int, limits: Limits) -> None:
        """Until a whole batch lies behind this index, or there is no more."""
        size = sum(len(event.raw) + limits.overhead for event, _ in islice(self._held, first, None))
        while len(self._held) - first < self._most(limits) and size < limits.max_bytes:
            portion = await anext(self._portions, None)
            if portion is None:
                return
            self._held.extend(zip(portion.events, portion.places, strict=True))
            size += sum(len(event.raw) + limits.overhead for event in portion.events)

    async def read(
        self, after: int, limits: Limits, upto: int | None = None, without: Sequence[range] = ()
    ) -> Stretch | None:
        """The events behind this number; those that were read before are still in memory. Filtered they are already."""
        del without
        first = after - self._position
        most = self._most(limits) if upto is None else upto - after
        events: list[Event] = []
        size = 0
        for event, _ in islice(self._held, first, first + most):
            size += len(event.raw) + limits.overhead
            if upto is None and events and size > limits.max_bytes:
                break
            events.append(event)
            if upto is None and event.id in self._ends:
                break
        if not events:
            return None
        self._count(after + len(events))
        return Stretch(after + 1, events)

    async def reserve(self, first: int, last: int, left_out: Sequence[range] = ()) -> bool:
        """Keeps nothing: what an earlier replay wrote is known from the archive itself."""
        del first, last, left_out
        return False

    async def ack(self, upto: int, dead: Sequence[Burial] = (), left_out: Sequence[range] = ()) -> None:
        """Tells what is settled and lets go of it."""
        del left_out
        settled = list(islice(self._held, upto - self._position))
        refused = [(settled[burial.number - self._position - 1][0], burial) for burial in dead]
        await self._settled(Settled(settled[-1][1], settled[-1][0].time, len(settled) - len(refused), refused))
        for _ in settled:
            self._held.popleft()
        self._position = upto
        self._dead.update(burial.reason for burial in dead)

    def _most(self, limits: Limits) -> int:
        """With a rate, a batch is at most one second's events: a larger one would go out as one blow."""
        return max(1, min(limits.max_events, int(self._rate))) if self._rate else limits.max_events

    def _count(self, upto: int) -> None:
        """What goes out for the first time takes its share of the rate; what goes out again costs nothing."""
        if self._rate and upto > self._handed_out:
            self._not_before = max(self._not_before, self._clock()) + (upto - self._handed_out) / self._rate
        self._handed_out = max(self._handed_out, upto)
