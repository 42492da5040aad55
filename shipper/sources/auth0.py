"""Reads a tenant's log along its chain of pages: `GET /api/v2/logs?from=…&take=…`, then whatever `Link` says.

Facts that this rests on (Auth0 docs, "Retrieve Log Events Using the Management API", and recorded traffic): pages
ascend by log_id and begin behind `from`; only `[]` means caught up, and its Link leads to itself; without `from` the
page is the newest 50, newest first, so no request of the chain goes without.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from multidict import CIMultiDictProxy

from shipper.event import Event, Origin, Page
from shipper.health import Health
from shipper.http import Answer, HttpClient
from shipper.journal import SourceFigures, SourceHandle
from shipper.metrics import SourceMetrics
from shipper.retry import Backoff
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.chain import TAKE, Checkpoint, from_of, highest_id, horizon_behind
from shipper.sources.first import first_behind, first_position
from shipper.sources.overlap import OverlapCheck
from shipper.sources.pace import pause_secs
from shipper.sources.reading import Reading
from shipper.sources.retention import AT_THE_EDGE_MS, RetentionWatch, is_time
from shipper.sources.split import UnreadableError, events_in
from shipper.sources.start import EARLIEST, embedded_time, is_log_id, synthetic_id
from shipper.sources.survey import tell_first_start
from shipper.sources.tenant_api import Fetch
from shipper.sources.trouble import Trouble, stored

SMALLER_PAGE_SECS = 1.0
"""Before a smaller part of an unreadable page: that is another question, so there is no cause to back off further."""


class Auth0Source(Reading):
    """One tenant. sleep, clock (monotonic) and wall (since 1970) are in seconds, for tests."""

    def __init__(
        self,
        name: str,
        config: Auth0Config,
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
        self.api = Auth0Api(config, metrics, log, clock=clock, wall=wall, http=http)
        super().__init__(self.api, journal, health=health, metrics=metrics, sleep=sleep, backoff=backoff)
        self._name, self._config, self._log = name, config, log
        self._retention = RetentionWatch(config.retention_days, self.api.server.now, journal, log)
        self._overlap = OverlapCheck(config, self.api, journal, metrics=metrics, log=log, sleep=sleep, clock=clock)
        self._fetch: Fetch | None = None
        self._ahead: Fetch | None = None
        self._take = TAKE
        self._unreadable = 0
        self._links_complained = False

    @staticmethod
    def origin(name: str, config: Auth0Config) -> Origin:
        """Whose events these are. A tenant's name is the first label of its domain."""
        return Origin(name, "auth0", config.domain, config.domain.split(".")[0])

    async def _tell_first_start(self) -> None:
        await tell_first_start(self.api, self._config.start, self._log)

    def _interrupted(self) -> None:
        self._retention.interrupted()

    async def _between_polls(self) -> None:
        if self._overlap.due:
            await self._overlap.run()

    # -- one page ------------------------------------------------------------------------------------------------------

    async def _step(self) -> tuple[bool, float]:
        """One page from request to journal. Returns whether it was empty, and the seconds to wait. Raises Trouble."""
        known = self._journal.figures.checkpoint
        checkpoint = await self._first_checkpoint() if known is None else Checkpoint.decode(known)
        fetch = self._fetch = await self._request(checkpoint.target(self._take))
        following = self._look_ahead(checkpoint, await self._headers(fetch, checkpoint))
        # Where this page is here already, the next request shall leave before its events are split.
        await asyncio.sleep(0)
        answer = await fetch.answer
        self._fetch = None
        pause = pause_secs(answer.headers, self.api.server.now())
        events = self._events(answer, checkpoint)
        await self._look_for_gap(checkpoint, events)
        if not events:
            await stored(self._journal.caught_up(self.api.server.now()))
            return True, max(pause, self._config.poll_interval_secs)
        following = following.behind(events) if following else self._without_link(events, checkpoint)
        page = Page(events, following.encode(), horizon_behind(events), highest_id(events))
        appended = await stored(self._journal.append(page))
        self._metrics.duplicates(appended.duplicates)
        # Going back without anything new could go round for ever, and without a rest.
        goes_round = appended.stored == 0 and following.before(checkpoint)
        if goes_round or following.target(self._take) == fetch.target:
            self._metrics.no_progress()
            raise Trouble("bad_answer", "a page with events does not lead on: the tenant's chain makes no progress")
        self._take = min(TAKE, self._take * 2)
        return False, pause

    async def _request(self, target: str) -> Fetch:
        """The request that was started ahead, where it is the right one; else a new one."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.target == target:
            return ahead
        if ahead is not None:
            await ahead.drop()
        return self.api.start(target)

    async def _headers(self, fetch: Fetch, checkpoint: Checkpoint) -> CIMultiDictProxy[str]:
        """Those of the page. Raises Trouble; whatever is refused there is our checkpoint."""
        try:
            return await fetch.headers
        except Trouble as trouble:
            if trouble.reason != "refused":
                raise
            raise self._rejected(checkpoint) from None

    def _rejected(self, checkpoint: Checkpoint) -> Trouble:
        time = embedded_time(checkpoint.last)
        place = synthetic_id(self.api.server.now() if time is None else time)
        return Trouble(
            "refused",
            f"checkpoint rejected: HTTP 400 for from={checkpoint.last}; nothing is skipped unless you say so. "
            f"Check that {self._config.origin} is the tenant; then stop the daemon and name the log_id to go on "
            f"behind: `shipper checkpoint set {self._name} LOG_ID --yes`. In place of an event's it may be made of a "
            f"time in UTC, 900YYYYMMDDhhmmss and 39 zeros, like {place}",
        )

    def _look_ahead(self, checkpoint: Checkpoint, headers: CIMultiDictProxy[str]) -> Checkpoint | None:
        """Where the Link leads, None where nowhere; the next page's request starts before this body is read."""
        following = checkpoint.by_link(headers.getall("Link", []), self.api.hosts)
        if following is None:
            return None
        target, take = following.target(self._take), self._take
        at_the_reserve = pause_secs(headers, self.api.server.now()) > 0
        waits = at_the_reserve or self._journal.figures.paused or take < TAKE
        if target != checkpoint.target(take) and not waits:
            self._ahead = self.api.start(target)
        return following

    def _without_link(self, events: list[Event], checkpoint: Checkpoint) -> Checkpoint:
        self._metrics.link_refused()
        if not self._links_complained:
            self._links_complained = True
            self._log.warning(
                "a page's Link is missing or leads elsewhere: going on by its last log_id",
                do="Look at what stands between us and the tenant.",
            )
        return checkpoint.by_last_event(events)

    def _events(self, answer: Answer, checkpoint: Checkpoint) -> list[Event]:
        """The page's events. Raises Trouble, and asks for less the next time, where they can't be told apart."""
        try:
            events, odd = events_in(answer.body, self.api.server.now())
        except UnreadableError:
            raise self._cannot_read(answer, checkpoint) from None
        self._unreadable = 0
        if odd:
            self._metrics.odd_page()
        return events

    def _cannot_read(self, answer: Answer, checkpoint: Checkpoint) -> Trouble:
        if not answer.body.lstrip().startswith(b"["):
            return Trouble("bad_answer", f"HTTP 200 but no JSON array: is {self._config.origin} the tenant's address?")
        # The first time it may have been cut off on its way. A page that stays unreadable is asked for in halves.
        self._unreadable += 1
        if self._unreadable == 1 and self._take == TAKE:
            return Trouble("bad_answer", "the page can't be split into events: fetching it again")
        if self._take > 1:
            self._take //= 2
            note = f"the page stays unreadable: asking for {self._take} of its events"
            return Trouble("bad_answer", note, retry_after=SMALLER_PAGE_SECS)
        beyond = checkpoint.by_link(answer.headers.getall("Link", []), self.api.hosts)
        id_ = from_of(beyond.link) if beyond is not None else ""
        return Trouble(
            "undecodable",
            f"the event behind from={checkpoint.last} can't be read; to step over it, stop the daemon and run "
            f"`shipper checkpoint set {self._name} {id_ if is_log_id(id_) else 'LOG_ID'} --yes`",
        )

    async def _look_for_gap(self, checkpoint: Checkpoint, events: list[Event]) -> None:
        async def reaches_back(edge: int) -> bool:
            if first is None or first >= edge - AT_THE_EDGE_MS:
                return False
            oldest = await first_behind(self.api, EARLIEST)
            return oldest is not None and len(oldest.id) == len(checkpoint.last) and oldest.id <= checkpoint.last

        first = next((time for event in events if (time := embedded_time(event.id)) is not None), None)
        all_of_it = _asks_for_what_there_is(self._journal.figures, checkpoint)
        await self._retention.look(first, asked_for_all=all_of_it, whole=reaches_back)

    async def _drop(self) -> None:
        for fetch in (self._fetch, self._ahead):
            if fetch is not None:
                await fetch.drop()
        self._fetch = self._ahead = None

    # -- the first start -----------------------------------------------------------------------------------------------

    async def _first_checkpoint(self) -> Checkpoint:
        """Resolves `start` and commits it before anything is polled. Raises Trouble."""
        start = self._config.start
        last = await first_position(self.api, start)
        checkpoint = Checkpoint(last)
        await stored(self._journal.begin(start, checkpoint.encode(), embedded_time(last) or 0))
        self._log.info("first start", start=start, resolved=last)
        return checkpoint


def _asks_for_what_there_is(figures: SourceFigures, checkpoint: Checkpoint) -> bool:
    """Whether this is a first start at the beginning, or at a time: whatever the tenant has is all that was asked for.

    Behind a log_id or "latest", on the other hand, someone counts on everything.
    """
    nothing_read = figures.stored == 0 and figures.horizon == embedded_time(checkpoint.last)
    return nothing_read and (checkpoint.last == EARLIEST or is_time(figures.start))
