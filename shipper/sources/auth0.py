"""Reads a tenant's log along its chain of pages: `GET /api/v2/logs?from=…&take=…`, then whatever `Link` says.

Facts that this rests on (Auth0 docs, "Retrieve Log Events Using the Management API", and recorded traffic): pages
ascend by log_id and begin behind `from`; only `[]` means caught up, and its Link leads to itself; without `from` the
page is the newest 50, newest first, so no request of the chain goes without.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from multidict import CIMultiDictProxy

from shipper.event import Event, Origin, Page
from shipper.health import Health
from shipper.http import Answer
from shipper.journal import NoRoomError, SourceHandle
from shipper.metrics import SourceMetrics
from shipper.reasons import HELD
from shipper.retry import Backoff
from shipper.sources.auth0_api import Auth0Api, Fetch
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.chain import PATH, TAKE, Checkpoint, from_of, highest_id, horizon_behind
from shipper.sources.pace import pause_secs
from shipper.sources.split import UnreadableError, event_of, events_in, split
from shipper.sources.start import EARLIEST, embedded_time, is_log_id, synthetic_id
from shipper.sources.survey import tell_first_start
from shipper.sources.trouble import Trouble

SEARCH_MARGINS = (timedelta(minutes=10), timedelta(hours=2), timedelta(days=1), timedelta(days=40))
SAFE_DISTANCE = timedelta(minutes=1)
"""How far before a wanted time a position that was found by search lies at least."""
SMALLER_PAGE_SECS = 1.0
"""Before a smaller part of an unreadable page: that is another question, so there is no cause to back off further."""
GIVE_UP_SECS = 60.0
"""So long may trouble last where the source is read only once."""

T = TypeVar("T")


class Auth0Source:
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
    ) -> None:
        self._name, self._config, self._journal = name, config, journal
        self.health, self._metrics, self._log, self._sleep = health, metrics, log, sleep
        self._backoff = backoff or Backoff()
        self.api = Auth0Api(config, metrics, log, clock=clock, wall=wall)
        self._fetch: Fetch | None = None
        self._ahead: Fetch | None = None
        self._take = TAKE
        self._unreadable = 0
        self._links_complained = False
        self._begun = asyncio.Event()

    @staticmethod
    def origin(name: str, config: Auth0Config) -> Origin:
        """Whose events these are. A tenant's name is the first label of its domain."""
        return Origin(name, "auth0", config.domain, config.domain.split(".")[0])

    async def close(self) -> None:
        """Ends what is under way and closes the connections."""
        await self._drop()
        await self.api.close()

    async def tell_first_start(self) -> None:
        """Logs how much there is to read, where nothing was read so far.

        To be started before `run`, whose first page it waits for, so that reading never waits for it.
        """
        if self._journal.figures.checkpoint is None:
            await self._begun.wait()
            await tell_first_start(self.api, self._config.start, self._log)

    async def run(self, *, once: bool = False) -> None:
        """Polls and stores, for ever or until the first empty page. Trouble is waited out: nothing is skipped.

        once: also ends, in trouble, when that has lasted for a minute.
        """
        try:
            await self._run(once=once)
        finally:
            self._begun.set()

    async def _run(self, *, once: bool) -> None:
        failures = 0
        while True:
            if not await self._room(once=once):
                return
            try:
                caught_up, wait = await self._step()
            except Trouble as trouble:
                await self._drop()
                failures += 1
                self._metrics.failed(trouble.reason)
                self.health.trouble("held" if trouble.reason in HELD else "waiting", trouble.reason, trouble.note)
                if once and self.health.troubled_secs >= GIVE_UP_SECS:
                    return
                await self._sleep(self._patience(trouble, failures))
                continue
            failures = 0
            self._begun.set()
            self.health.fine()
            if caught_up and once:
                return
            if wait:
                await self._sleep(wait)

    def _patience(self, trouble: Trouble, failures: int) -> float:
        # Whoever says when it is our turn is asked then: backing off further would leave all turns to others. The
        # jitter keeps several readers of one tenant from asking together.
        if trouble.retry_after:
            return trouble.retry_after + self._backoff.delay(1)
        return self._backoff.delay(failures)

    # -- one page ------------------------------------------------------------------------------------------------------

    async def _room(self, *, once: bool) -> bool:
        """Waits until this source may poll; False where a run that shall end has waited for a minute."""
        if not self._journal.figures.paused:
            return True
        await self._drop()
        self.health.trouble("paused", "journal_full", "the journal is full, and this source has its share of it")
        try:
            async with asyncio.timeout(GIVE_UP_SECS if once else None):
                await self._journal.room()
        except TimeoutError:
            return False
        return True

    async def _step(self) -> tuple[bool, float]:
        """One page from request to journal. Returns whether it was empty, and the seconds to wait. Raises Trouble."""
        stored = self._journal.figures.checkpoint
        checkpoint = await self._first_checkpoint() if stored is None else Checkpoint.decode(stored)
        fetch = self._fetch = await self._request(checkpoint.target(self._take))
        following = self._look_ahead(checkpoint, await fetch.headers)
        # Where this page is here already, the next request shall leave before its events are split.
        await asyncio.sleep(0)
        answer = await fetch.answer
        self._fetch = None
        pause = pause_secs(answer.headers, self.api.server.now())
        events = self._events(answer, checkpoint)
        if not events:
            await _stored(self._journal.caught_up(self.api.server.now()))
            return True, max(pause, self._config.poll_interval_secs)
        following = following.behind(events) if following else self._without_link(events, checkpoint)
        page = Page(events, following.encode(), horizon_behind(events), highest_id(events))
        appended = await _stored(self._journal.append(page))
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

    async def _drop(self) -> None:
        for fetch in (self._fetch, self._ahead):
            if fetch is not None:
                await fetch.drop()
        self._fetch = self._ahead = None

    # -- the first start -----------------------------------------------------------------------------------------------

    async def _first_checkpoint(self) -> Checkpoint:
        """Resolves `start` and commits it before anything is polled. Raises Trouble."""
        start = self._config.start
        if start == "earliest":
            last = EARLIEST
        elif start == "latest":
            await self.api.get(f"{PATH}?from={EARLIEST}&take=1")
            last = synthetic_id(self.api.server.now())
        elif is_log_id(start):
            last = start
        else:
            last = await self._position_of(datetime.fromisoformat(start))
        checkpoint = Checkpoint(last)
        await _stored(self._journal.begin(start, checkpoint.encode(), embedded_time(last) or 0))
        self._log.info("first start", start=start, resolved=last)
        return checkpoint

    async def _position_of(self, moment: datetime) -> str:
        """A position before every event of this moment or later. Raises Trouble."""
        position = synthetic_id(int(moment.timestamp() * 1000))
        try:
            first = first_event(await self.api.get(f"{PATH}?from={position}&take=1"), self.api.server.now())
        except Trouble as trouble:
            if trouble.reason != "refused":
                raise
            return await self._search_position(moment)
        # That a made-up id is a position is not documented, so it is checked: what follows may not lie before it,
        # and nothing may follow only where a search finds nothing either.
        if first is None:
            honoured = await self._first_dated(moment) is None
        else:
            honoured = embedded_time(first.id) is None or first.id > position
        return position if honoured else await self._search_position(moment)

    async def _search_position(self, moment: datetime) -> str:
        """The id of an event well before the moment, by search; where there is none, the very beginning."""
        before = (moment - SAFE_DISTANCE).timestamp() * 1000
        for margin in SEARCH_MARGINS:
            first = await self._first_dated(moment - margin)
            # The event's time is that of its id, where it has one: the first by date may have been indexed late.
            if first is not None and is_log_id(first.id) and first.time < before:
                return first.id
        return EARLIEST

    async def _first_dated(self, moment: datetime) -> Event | None:
        """The first event by date since the moment; its place among ids may be any. Raises Trouble."""
        query = quote(f"date:[{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.000Z} TO *]", safe="")
        answer = await self.api.get(f"{PATH}?q={query}&sort=date%3A1&per_page=1")
        return first_event(answer, self.api.server.now())


def first_event(answer: Answer, now: int) -> Event | None:
    """The first event of a page, None of an empty one. Raises Trouble where it is no page."""
    try:
        elements, _ = split(answer.body)
    except UnreadableError:
        raise Trouble("bad_answer", "HTTP 200 but no JSON array: is this the tenant's own address?") from None
    return event_of(elements[0], now) if elements else None


async def _stored(operation: Awaitable[T]) -> T:
    """The result of a journal operation; no room there is the source's trouble."""
    try:
        return await operation
    except NoRoomError as error:
        raise Trouble(error.reason, str(error)) from None
