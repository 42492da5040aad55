"""Reads a Logto tenant's audit log, `GET /api/logs`: stretch by stretch, each whole and older than a margin.

Facts that this rests on (Logto's source, routes/log.ts and queries/log.ts): the list is newest first with nothing that
tells rows of one time apart, pages are offsets into it, and rows of one moment may be committed one after another.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shipper.event import Event, Origin, Page
from shipper.health import Health
from shipper.http import HttpClient
from shipper.journal import SourceHandle
from shipper.metrics import SourceMetrics
from shipper.retry import Backoff
from shipper.sources.logto_api import LogtoApi
from shipper.sources.logto_config import LogtoConfig
from shipper.sources.logto_stretches import FAILING, Stretches
from shipper.sources.logto_survey import first_start_line
from shipper.sources.logto_window import Checkpoint, Held, Stretch, found_in
from shipper.sources.reading import Reading
from shipper.sources.retention import RetentionWatch, is_time
from shipper.sources.start import time_in
from shipper.sources.trouble import Trouble, stored

CLOCK_EVERY_SECS = 3600.0
"""Between two looks at whether events are ahead of the server's clock."""
AHEAD_MS = 2_000
"""A `Date` is cut to seconds."""


class LogtoSource(Reading):
    """One tenant. sleep, clock (monotonic) and wall (since 1970) are in seconds, for tests."""

    def __init__(
        self,
        name: str,
        config: LogtoConfig,
        journal: SourceHandle,
        *,
        health: Health,
        metrics: SourceMetrics,
        log: Any,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
        http: HttpClient | None = None,
    ) -> None:
        self.api = LogtoApi(config, metrics, log, clock=clock, wall=wall, http=http)
        super().__init__(self.api, journal, health=health, metrics=metrics, sleep=sleep, backoff=backoff)
        self._config, self._log, self._clock, self._wall = config, log, clock, wall
        self._margin_ms = int(config.window_margin_secs * 1000)
        self._stretches = Stretches(name, self.api, self._margin_ms, metrics, log)
        self._retention = RetentionWatch(config.retention_days, self.api.server.now, journal, log)
        self._held: Held | None = None
        self._ahead_ms = 0
        self._clock_due = clock()
        self._told_ahead = self._told_late = False

    @staticmethod
    def origin(name: str, config: LogtoConfig) -> Origin:
        """Whose events these are."""
        return Origin(name, "logto", config.host, config.tenant)

    # -- one stretch ---------------------------------------------------------------------------------------------------

    async def _step(self) -> tuple[bool, float]:
        """One stretch, from its requests to the journal. Returns whether it was the last; seconds. Raises Trouble."""
        held = self._held = self._held or await self._begin()
        await self._look_at_clocks(held)
        limit = self.server_now() + self._ahead_ms - self._margin_ms
        stretch = await self._stretches.next(held, limit)
        if stretch is None:
            return False, 0.0
        caught_up = stretch.upto >= limit
        await self._look_for_gap(held, stretch)
        self._held = await self._store(held, stretch, caught_up=caught_up)
        return caught_up, self._config.poll_interval_secs if caught_up else 0.0

    async def _store(self, held: Held, stretch: Stretch, *, caught_up: bool) -> Held:
        """Appends what is new, oldest first, together with the place behind it. Returns that. Raises Trouble."""
        found = found_in(stretch, held)
        if found.late:
            before = Checkpoint(found.late[0].time, found.late[0].time).encode()
            late = await stored(self._journal.append(Page(found.late, before, horizon=0, late=True)))
            self._metrics.late(late.stored)
            self._tell_late(found.late)
        if found.fresh:
            page = Page(found.fresh, found.held.checkpoint.encode(), horizon=max(0, stretch.upto))
            appended = await stored(self._journal.append(page))
            self._metrics.duplicates(appended.duplicates)
        if caught_up:
            await stored(self._journal.caught_up(max(0, stretch.upto)))
        return found.held

    def _tell_late(self, late: Sequence[Event]) -> None:
        if not self._told_late:
            self._told_late = True
            self._log.warning(
                "events were committed later than window_margin_secs; they are delivered late",
                events=len(late),
                do="If this goes on, raise window_margin_secs: an event may come too late to be seen at all.",
            )

    async def _look_for_gap(self, held: Held, stretch: Stretch) -> None:
        async def known_came_back(_edge: int) -> bool:
            # The newest of what is stored is in every stretch, while the tenant has it.
            return any(event.id in held.known for event in stretch.events)

        figures = self._journal.figures
        first = next((event.time for event in reversed(stretch.events) if event.id not in held.known), None)
        nothing_read = figures.stored == 0 and figures.horizon == held.since
        asked_for_all = nothing_read and (held.since == 0 or is_time(figures.start))
        await self._retention.look(first, asked_for_all=asked_for_all, whole=known_came_back)

    async def _drop(self) -> None:
        await self._stretches.drop()

    def _interrupted(self) -> None:
        self._retention.interrupted()

    async def _between_polls(self) -> None:
        """Nothing: every poll reads the last seconds again."""

    # -- clocks --------------------------------------------------------------------------------------------------------

    async def _look_at_clocks(self, held: Held) -> None:
        """Now and then: a server whose clock is behind its own events would keep us from reading them. Raises Trouble.

        Then ours is believed, and no event: one from the future must not let everything younger be read at once.
        """
        if self._clock() < self._clock_due:
            return
        try:
            newest = await self._stretches.look_for_newest(held, self.server_now())
        except Trouble as trouble:
            # Counting may be what takes too long: then the next look has time, and reading goes on.
            if trouble.reason in FAILING:
                self._clock_due = self._clock() + CLOCK_EVERY_SECS
            raise
        self._clock_due = self._clock() + CLOCK_EVERY_SECS
        ahead = int(self._wall() * 1000) - self.server_now()
        self._ahead_ms = ahead if ahead > AHEAD_MS and newest > self.server_now() + AHEAD_MS else 0
        if self._ahead_ms and not self._told_ahead:
            self._told_ahead = True
            self._log.warning(
                "the server's clock is behind its own events; reading goes by this machine's",
                behind_secs=round(ahead / 1000),
                do="Set the clocks of Logto's host and of its database.",
            )

    # -- the first start -----------------------------------------------------------------------------------------------

    async def _begin(self) -> Held:
        """Where the journal says, else at `start`, which is committed before anything is read. Raises Trouble."""
        known = self._journal.figures.checkpoint
        if known is not None:
            return Held.of(Checkpoint.decode(known))
        start = self._config.start
        begin = await self._first_moment(start)
        checkpoint = Checkpoint(begin, begin)
        await stored(self._journal.begin(start, checkpoint.encode(), begin))
        self._log.info("first start", start=start, resolved=begin)
        return Held.of(checkpoint)

    async def _first_moment(self, start: str) -> int:
        if start == "earliest":
            return 0
        if start != "latest":
            return time_in(start)
        # The server's own time, which an answer tells, and that of its newest event, where that is ahead of it.
        newest = await self._stretches.look_for_newest(Held(0, 0, 0), int(self._wall() * 1000))
        return max(self.server_now(), min(newest + 1, int(self._wall() * 1000)))

    async def _tell_first_start(self) -> None:
        await first_start_line(self.api, self._log)
