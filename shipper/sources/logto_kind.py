"""How a Logto tenant is read, by everyone who does: the daemon, and the commands beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from shipper.event import Event, Origin
from shipper.health import Health
from shipper.journal import SourceHandle
from shipper.metrics import Metrics, SourceMetrics
from shipper.sources.logto import LogtoSource
from shipper.sources.logto_api import LogtoApi
from shipper.sources.logto_config import LogtoConfig
from shipper.sources.logto_stretches import Stretches
from shipper.sources.logto_survey import check_tenant
from shipper.sources.logto_window import Held, found_in
from shipper.sources.patience import PATIENCE_SECS, patiently
from shipper.sources.selection import ALL, EVER, Selection, SelectionError


class LogtoKind:
    """One tenant, by its settings."""

    def __init__(self, config: LogtoConfig) -> None:
        self._config = config

    def origin(self, name: str) -> Origin:
        """Whose events these are."""
        return LogtoSource.origin(name, self._config)

    def source(
        self,
        name: str,
        journal: SourceHandle,
        *,
        health: Health,
        metrics: SourceMetrics,
        log: Any,
        sleep: Callable[[float], Awaitable[None]],
    ) -> LogtoSource:
        """For the daemon."""
        return LogtoSource(name, self._config, journal, health=health, metrics=metrics, log=log, sleep=sleep)

    async def check(self, name: str, log: Any) -> str:
        """Token, scopes, one page, and how much there is. Raises Trouble."""
        async with self._api(name, log) as api:
            return await check_tenant(api)

    async def event(
        self, name: str, id_: str, log: Any, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> bytes:
        """One event as the tenant sends it. Raises Trouble."""
        async with self._api(name, log) as api:
            return await patiently(lambda: api.event(id_), PATIENCE_SECS, log, sleep=sleep)

    def reread(
        self, name: str, since_ms: int, until_ms: int, after: str, log: Any, selection: Selection = ALL
    ) -> "LogtoReread":
        """Stretch by stretch. A place is a time from which on."""
        chosen = {"log_key": selection.key, "application_id": selection.application, "user_id": selection.user}
        config = self._config.model_copy(update={field: value for field, value in chosen.items() if value})
        metrics = Metrics().source(name)
        api = LogtoApi(config, metrics, log)
        margin_ms = int(config.window_margin_secs * 1000)
        begin = max(since_ms, int(after or 0))
        return LogtoReread(api, Stretches(name, api, margin_ms, metrics, log), begin, until_ms, margin_ms, log)

    def expect_offered(self, selection: Selection) -> None:
        """Raises SelectionError for what Logto does not offer, and for what this source's own filters leave out."""
        if selection.query is not None:
            raise SelectionError("--query is Auth0's: for Logto say --user, --application or --key")
        if selection != Selection(user=selection.user, application=selection.application, key=selection.key):
            raise SelectionError(
                "--sort, --fields, --exclude-fields, --page, --per-page and --include-totals are Auth0's: Logto gives "
                "whole events, here the oldest first"
            )
        config = self._config
        for own, chosen, option in (
            (config.user_id, selection.user, "--user"),
            (config.application_id, selection.application, "--application"),
            (config.log_key, selection.key, "--key"),
        ):
            if own and chosen and own != chosen:
                raise SelectionError(f"{option}: the source itself is only for {own!a}")

    @asynccontextmanager
    async def _api(self, name: str, log: Any) -> AsyncIterator[LogtoApi]:
        api = LogtoApi(self._config, Metrics().source(name), log)
        try:
            yield api
        finally:
            await api.close()


class LogtoReread:
    """A range of time, oldest first. What is younger than the margin is left to the daemon.

    The place behind a stretch is exact, since everything up to it was handed out; within one it is an event's time, so
    that others of the same time come again.
    """

    missing, unknown = 0, False

    def __init__(
        self, api: LogtoApi, stretches: Stretches, since_ms: int, until_ms: int, margin_ms: int, log: Any
    ) -> None:
        self._api, self._stretches, self._until, self._margin_ms, self._log = api, stretches, until_ms, margin_ms, log
        self._held = Held(since_ms, since_ms, since_ms)
        self.done = since_ms >= until_ms
        self.pause_secs = 0.0

    async def next(self) -> tuple[list[Event], list[str]]:
        """One stretch's. Raises Trouble."""
        # The token's answer tells the tenant's time, where no other has come before.
        await self._api.token.get()
        limit = min(self._until - 1, self._api.server.now() - self._margin_ms)
        stretch = await self._stretches.next(self._held, limit)
        if stretch is None:
            return [], []
        self.done = stretch.upto >= limit
        if self.done and limit < self._until - 1 and self._until < EVER[1]:
            self._log.warning("what is younger than window_margin_secs is left out: more of that time may still come")
        events = list(found_in(stretch, self._held).fresh)
        behind = max(stretch.upto + 1, self._held.since)
        self._held = Held(behind, behind, behind)
        places = [str(event.time) for event in events]
        return events, [*places[:-1], str(behind)] if places else []

    async def close(self) -> None:
        """Ends what is under way and closes the connections."""
        await self._stretches.drop()
        await self._api.close()
