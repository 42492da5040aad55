"""The overlap check: are events ever indexed behind the place up to which we have read?

Auth0 orders by log_id so that nothing is skipped, and promises nothing of it. So the last events before the checkpoint
are read again now and then, and what is not known is appended late. The journal knows a source's last ids only, and
whatever lies before them would look new: so the check begins at a known event, never before it, and never before what
the tenant still has.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shipper.event import Event, Page
from shipper.journal import SourceHandle
from shipper.metrics import SourceMetrics
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.chain import TAKE, Checkpoint
from shipper.sources.pace import pause_secs
from shipper.sources.split import UnreadableError, events_in
from shipper.sources.start import embedded_time, synthetic_id
from shipper.sources.trouble import Trouble, stored

PAGES = 10
"""At the most, in one check: a tenant's limit is shared."""
BACK = (PAGES - 1) * TAKE
"""So many of the last events are read again: a page less than the limit, which is room for what came late."""
RETENTION_MARGIN_MS = 3_600_000


class OverlapCheck:
    """One source's check; its task runs it between two polls. sleep, clock (monotonic): seconds, for tests."""

    def __init__(
        self,
        config: Auth0Config,
        api: Auth0Api,
        journal: SourceHandle,
        *,
        metrics: SourceMetrics,
        log: Any,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._api, self._journal = config, api, journal
        self._metrics, self._log, self._sleep, self._clock = metrics, log, sleep, clock
        self._last = clock()

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        every = self._config.overlap_check_secs
        return every > 0 and self._clock() - self._last >= every

    async def run(self) -> None:
        """Reads the last events again and appends what came late. Trouble ends it; the next one tries again."""
        self._last = self._clock()
        after, upto = await self._stretch()
        if not after < upto:
            return
        here, late = Checkpoint(after), 0
        try:
            for _ in range(PAGES):
                events, following = await self._page(here)
                late += await self._append(here, [event for event in events if _within(event, after, upto)])
                if not events or events[-1].id >= upto:
                    break
                here = following
        except Trouble as trouble:
            self._log.info("overlap check given up", reason=trouble.reason, note=trouble.note)
        if late:
            self._log.warning(
                "events were indexed behind the checkpoint; they are delivered late",
                events=late,
                behind=after,
                upto=upto,
                do="If this goes on, lower overlap_check_secs, and tell Auth0: a log_id behind one already served.",
            )

    async def _stretch(self) -> tuple[str, str]:
        """The positions behind which, and up to which, everything that the tenant has is known; "" without any."""
        figures = self._journal.figures
        if figures.checkpoint is None or figures.paused:
            return "", ""
        known, upto = await self._journal.known_since(BACK), Checkpoint.decode(figures.checkpoint).last
        # Positions of the present form compare as text, and those of an older one say nothing of their time.
        if known is None or embedded_time(known) is None or embedded_time(upto) is None:
            return "", ""
        retained = self._api.server.now() - int(self._config.retention_days * 86_400_000) + RETENTION_MARGIN_MS
        return max(known, synthetic_id(retained)), upto

    async def _page(self, here: Checkpoint) -> tuple[list[Event], Checkpoint]:
        """The page behind this place, and where it leads. Rests as the tenant's limit asks. Raises Trouble."""
        answer = await self._api.get(here.target(TAKE))
        now = self._api.server.now()
        pause = pause_secs(answer.headers, now)
        if pause:
            await self._sleep(pause)
        try:
            events, _ = events_in(answer.body, now)
        except UnreadableError:
            raise Trouble("bad_answer", "HTTP 200 but no page that can be split into events") from None
        following = here.by_link(answer.headers.getall("Link", []), self._api.hosts)
        return events, following.behind(events) if following else here.by_last_event(events)

    async def _append(self, before: Checkpoint, events: Sequence[Event]) -> int:
        """Stores what is not known of these. Returns how many that were. Raises Trouble."""
        if not events:
            return 0
        appended = await stored(self._journal.append(Page(events, before.encode(), horizon=0, late=True)))
        self._metrics.late(appended.stored)
        return appended.stored


def _within(event: Event, after: str, upto: str) -> bool:
    """Whether the event's place in the chain lies there; one without a place is left to the chain."""
    return embedded_time(event.id) is not None and after < event.id <= upto
