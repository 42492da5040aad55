"""How an Auth0 tenant is read, by everyone who does: the daemon, and the commands beside it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shipper.event import Event, Origin
from shipper.health import Health
from shipper.journal import SourceHandle
from shipper.metrics import Metrics, SourceMetrics
from shipper.sources.auth0 import Auth0Source
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.chain import TAKE, Checkpoint
from shipper.sources.pace import pause_secs
from shipper.sources.split import UnreadableError, events_in
from shipper.sources.start import embedded_time, is_log_id, synthetic_id
from shipper.sources.survey import check_tenant
from shipper.sources.trouble import Trouble

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

    async def event(self, name: str, id_: str, log: Any) -> bytes:
        """One event as the tenant sends it. Raises Trouble."""
        async with self._api(name, log) as api:
            return await api.event(id_)

    def reread(self, name: str, since_ms: int, until_ms: int, after: str, log: Any) -> "Auth0Reread":
        """Along the chain, from a position made of the time, or from one that was handed out."""
        api = Auth0Api(self._config, Metrics().source(name), log)
        return Auth0Reread(api, Checkpoint(after or synthetic_id(since_ms - INDEXED_LATE_MS)), since_ms, until_ms)

    @asynccontextmanager
    async def _api(self, name: str, log: Any) -> AsyncIterator[Auth0Api]:
        api = Auth0Api(self._config, Metrics().source(name), log)
        try:
            yield api
        finally:
            await api.close()


class Auth0Reread:
    """A range of time in the order of the chain. A place is the position of an event, or before one without any."""

    def __init__(self, api: Auth0Api, begin: Checkpoint, since_ms: int, until_ms: int) -> None:
        self._api, self._here, self._since, self._until = api, begin, since_ms, until_ms
        self.done = False
        self.pause_secs = 0.0

    async def next(self) -> tuple[list[Event], list[str]]:
        """One page's. Raises Trouble."""
        answer = await self._api.get(self._here.target(TAKE))
        now = self._api.server.now()
        try:
            events, _ = events_in(answer.body, now)
        except UnreadableError:
            raise Trouble("bad_answer", "a page can't be read") from None
        self.pause_secs = pause_secs(answer.headers, now)
        link = self._here.by_link(answer.headers.getall("Link", []), self._api.hosts)
        following = link.behind(events) if link else self._here.by_last_event(events)
        if not events or following == self._here:
            self.done = True
            return [], []
        self.done = _beyond(events, self._until)
        before, self._here = self._here.last, following
        return self._within(events, before)

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    def _within(self, events: Sequence[Event], position: str) -> tuple[list[Event], list[str]]:
        """Those of a page that lie in the range, with their places."""
        wanted, places = [], []
        for event in events:
            position = event.id if is_log_id(event.id) else position
            if self._since <= event.time < self._until:
                wanted.append(event)
                places.append(position)
        return wanted, places


def _beyond(events: Sequence[Event], until_ms: int) -> bool:
    """Whether nothing of the range can follow. A time that is only an event's date proves nothing."""
    times = [time_ms for event in events if (time_ms := embedded_time(event.id)) is not None]
    return bool(times) and times[-1] >= until_ms
