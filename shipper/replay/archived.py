"""Events out of an archive: its objects in order, and the events in their lines."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import msgspec

from shipper.archive import Archive, Damaged, Found, Stored
from shipper.event import Event
from shipper.replay.supply import PATIENCE_SECS, Portion, SupplyError, Using, moment
from shipper.retry import Backoff
from shipper.shape.formats import parts
from shipper.sink import Rejected, Unavailable
from shipper.sources import logto_events, split
from shipper.sources.start import embedded_time
from shipper.tally import HOUR_MS, Tally, order

T = TypeVar("T")
DAY_MS = 24 * HOUR_MS


class _Place(msgspec.Struct, array_like=True, order=True):
    """Behind a line of an object."""

    hour: int
    first: tuple[int, str]
    key: str
    line: int


class ArchiveSupply:
    """What an archive holds of a source. stored: what the source ever brought, by hour, as far as the ledger knows."""

    using: Using = "archive"

    def __init__(
        self,
        archive: Archive,
        source: str,
        stored: Mapping[int, Tally],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._archive, self._source, self._stored, self._sleep = archive, source, stored, sleep

    async def lacks(self, since_ms: int, until_ms: int) -> str:
        """By the objects' metadata: every hour has at least as many events as the source had."""
        held: dict[int, int] = {}
        async for found in self._found(since_ms, until_ms):
            for stored in found.objects:
                held[stored.hour] = held.get(stored.hour, 0) + stored.events
        if not held:
            return "the archive has nothing of it"
        hours = sorted(hour for hour in self._stored if since_ms // HOUR_MS <= hour < until_ms / HOUR_MS)
        lacking = [hour for hour in hours if held.get(hour, 0) < self._stored[hour].events]
        if not lacking:
            return ""
        return f"the archive lacks events of {len(lacking)} hours, the first of them {moment(lacking[0] * HOUR_MS)}"

    async def events(self, since_ms: int, until_ms: int, after: str = "") -> AsyncGenerator[Portion, None]:
        """Hour by hour, in each by the objects' first ids. Raises SupplyError, also for a damaged object."""
        behind = msgspec.json.decode(after, type=_Place) if after else None
        begin = since_ms if behind is None else max(since_ms, behind.hour * HOUR_MS)
        async for found in self._found(begin, until_ms):
            for stored in sorted(found.objects, key=lambda one: _place(one, 0)):
                if behind is None or _place(stored, stored.events) > behind:
                    yield await self._portion(stored, since_ms, until_ms, behind)

    async def _portion(self, stored: Stored, since_ms: int, until_ms: int, behind: _Place | None) -> Portion:
        events, places = [], []
        try:
            lines = await patiently(partial(self._archive.lines, stored.key), self._sleep)
        except Damaged as damaged:
            raise SupplyError(str(damaged)) from None
        for number, line in enumerate(lines, 1):
            place = _place(stored, number)
            event = event_in(line, stored.hour)
            if since_ms <= event.time < until_ms and (behind is None or place > behind):
                events.append(event)
                places.append(msgspec.json.encode(place).decode())
        return Portion(events, places)

    async def _found(self, since_ms: int, until_ms: int) -> AsyncIterator[Found]:
        for since, until in days_of(since_ms, until_ms):
            yield await patiently(partial(self._archive.objects, self._source, since, until), self._sleep)


def days_of(since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """The range in parts that lie in one day (UTC) each."""
    while since_ms < until_ms:
        end = min((since_ms // DAY_MS + 1) * DAY_MS, until_ms)
        yield since_ms, end
        since_ms = end


async def patiently(ask: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> T:
    """What an archive answers, asked again for a minute where it does not. Raises SupplyError."""
    backoff, failures, waited = Backoff(), 0, 0.0
    while True:
        try:
            return await ask()
        except Unavailable as later:
            failures += 1
            wait = max(backoff.delay(failures), later.retry_after or 0.0)
            waited += wait
            if waited > PATIENCE_SECS or later.reason in ("forbidden", "auth", "not_found"):
                raise SupplyError(f"the archive: {later.reason}: {later.note}") from None
            await sleep(wait)
        except Rejected as never:
            raise SupplyError(f"the archive: {never.reason}: {never.note}") from None


def event_in(line: bytes, hour: int) -> Event:
    """The event in an object's line. hour: the object's, since 1970; it holds where the event tells no time."""
    id_, raw = parts(line)
    event = _event_of(raw, hour * HOUR_MS)
    id_ = id_ or event.id
    time = embedded_time(id_)
    if time is None:
        time = event.time if event.time // HOUR_MS == hour else hour * HOUR_MS
    return Event(id_, time, event.date, event.type, raw)


def id_in(line: bytes) -> str:
    """The id of the event in an object's line."""
    id_, raw = parts(line)
    return id_ or _event_of(raw, 0).id


def _event_of(raw: bytes, arrived: int) -> Event:
    """Whichever kind of source it is from: their ids have different names."""
    event = split.event_of(raw, arrived)
    return event if not event.id.startswith(split.HASHED) else logto_events.event_of(raw, arrived)


def _place(stored: Stored, line: int) -> _Place:
    return _Place(stored.hour, order(stored.first), stored.key, line)
