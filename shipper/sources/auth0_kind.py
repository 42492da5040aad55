"""How an Auth0 tenant is read, by everyone who does: the daemon, and the commands beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from shipper.event import Event, Origin
from shipper.health import Health
from shipper.journal import SourceHandle
from shipper.metrics import Metrics, SourceMetrics
from shipper.sources.auth0 import Auth0Source
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.auth0_search import Auth0Search
from shipper.sources.auth0_selection import expect_offered
from shipper.sources.chain import TAKE, Checkpoint
from shipper.sources.first import position_of
from shipper.sources.pace import pause_secs
from shipper.sources.patience import PATIENCE_SECS, patiently
from shipper.sources.selection import ALL, EVER, Selection
from shipper.sources.split import UnreadableError, events_in, time_of
from shipper.sources.start import embedded_time, is_log_id
from shipper.sources.survey import check_tenant
from shipper.sources.trouble import Trouble
from shipper.sources.walk import Window

INDEXED_LATE_MS = 60_000
"""An event whose id holds no time stands where it was indexed, a little after its own date."""


class Auth0Kind:
    """One tenant, by its settings."""

    def __init__(self, config: Auth0Config) -> None:
        self._config = config

    def origin(self, name: str) -> Origin:
        """Whose events these are."""
        return Auth0Source.origin(name, self._config)

    def source(
        self,
        name: str,
        journal: SourceHandle,
        *,
        health: Health,
        metrics: SourceMetrics,
        log: Any,
        sleep: Callable[[float], Awaitable[None]],
    ) -> Auth0Source:
        """For the daemon."""
        return Auth0Source(name, self._config, journal, health=health, metrics=metrics, log=log, sleep=sleep)

    async def check(self, name: str, log: Any) -> str:
        """Token, scopes, one page, and how much there is. Raises Trouble."""
        async with self._api(name, log) as api:
            return await check_tenant(api, self._config.start)

    async def event(
        self, name: str, id_: str, log: Any, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> bytes:
        """One event as the tenant sends it. Raises Trouble."""
        async with self._api(name, log) as api:
            return await patiently(lambda: api.event(id_), PATIENCE_SECS, log, sleep=sleep)

    def reread(
        self, name: str, since_ms: int, until_ms: int, after: str, log: Any, selection: Selection = ALL
    ) -> "Auth0Reread | Auth0Search":
        """Along the chain, from a position made of the time, or by search."""
        api = Auth0Api(self._config, Metrics().source(name), log)
        if selection.query is None and not selection.user:
            return Auth0Reread(api, since_ms, until_ms, after)
        earliest, latest = EVER
        bounds = Window(None if since_ms <= earliest else since_ms, None if until_ms >= latest else until_ms)
        return Auth0Search(api, selection, bounds, after, log)

    def expect_offered(self, selection: Selection) -> None:
        """Raises SelectionError."""
        expect_offered(selection)

    @asynccontextmanager
    async def _api(self, name: str, log: Any) -> AsyncIterator[Auth0Api]:
        api = Auth0Api(self._config, Metrics().source(name), log)
        try:
            yield api
        finally:
            await api.close()


class Auth0Reread:
    """A range of time in the order of the chain.

    A place is the position of an event, or before one without any; behind a page it is the chain's own checkpoint. A
    range without an end goes up to now, by the tenant's clock: a chain that is written to may never have an empty page.
    """

    missing, unknown = 0, False

    def __init__(self, api: Auth0Api, since_ms: int, until_ms: int, after: str) -> None:
        self._api, self._since, self._until = api, since_ms, until_ms
        self._here: Checkpoint | None = None
        if after:
            self._here = Checkpoint.decode(after.encode()) if after.startswith("{") else Checkpoint(after)
        self.done = False
        self.pause_secs = 0.0

    async def next(self) -> tuple[list[Event], list[str]]:
        """One page's. Raises Trouble."""
        here = self._here = self._here or await self._begin()
        answer = await self._api.get(here.target(TAKE))
        now = self._api.server.now()
        try:
            events, _ = events_in(answer.body, now)
        except UnreadableError:
            raise Trouble("bad_answer", "a page can't be read") from None
        self.pause_secs = pause_secs(answer.headers, now)
        self._until = now if self._until >= EVER[1] else self._until
        if not events:
            self.done = True
            return [], []
        link = here.by_link(answer.headers.getall("Link", []), self._api.hosts)
        following = link.behind(events) if link else here.by_last_event(events)
        if following == here or following.before(here):
            raise Trouble("bad_answer", "a page with events does not lead on: the tenant's chain makes no progress")
        self.done = _beyond(events, self._until)
        self._here = following
        wanted, places = self._within(events, here.last)
        if wanted and wanted[-1].raw is events[-1].raw:
            places[-1] = following.encode().decode()
        return wanted, places

    async def _begin(self) -> Checkpoint:
        """Before everything that may lie in the range, checked as at a first start. Raises Trouble."""
        since_ms = max(0, self._since - INDEXED_LATE_MS)
        return Checkpoint(await position_of(self._api, datetime.fromtimestamp(since_ms / 1000, UTC)))

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    def _within(self, events: Sequence[Event], position: str) -> tuple[list[Event], list[str]]:
        """Those of a page that lie in the range, with their places."""
        wanted, places = [], []
        for event in _timed(events, position):
            position = event.id if is_log_id(event.id) else position
            if self._since <= event.time < self._until:
                wanted.append(event)
                places.append(position)
        return wanted, places


def _timed(events: Sequence[Event], position: str) -> Iterator[Event]:
    """An event that tells no time has that of the one before it, not that of this reading."""
    times = [embedded_time(event.id) for event in events]
    last = next((time for time in times if time is not None), embedded_time(position))
    for event, time in zip(events, times, strict=True):
        last = last if time is None else time
        if time is None and last is not None and time_of(event.date) is None:
            event = msgspec.structs.replace(event, time=last)
        yield event


def _beyond(events: Sequence[Event], until_ms: int) -> bool:
    """Whether nothing of the range can follow. A time that is only an event's date proves nothing."""
    times = [time_ms for event in events if (time_ms := embedded_time(event.id)) is not None]
    return bool(times) and times[-1] >= until_ms
