"""Reads a Logto tenant's log in stretches that are whole, oldest first, whatever its release can be asked for."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shipper.event import Event
from shipper.metrics import SourceMetrics
from shipper.sources.logto_api import PAGE_SIZE, LogtoApi, total_of
from shipper.sources.logto_events import events_in
from shipper.sources.logto_pages import Pages, Walk
from shipper.sources.logto_window import LIVE_OVERLAP_MS, OVERLAP_MS, Held, Stretch, TimePlaces, Windows, unique
from shipper.sources.split import UnreadableError
from shipper.sources.tenant_api import Fetch
from shipper.sources.trouble import Trouble

PASSES = 5
"""So often a window is read again without an event that was not seen before, until its events add up."""
MOST_IN_VAIN = 100
"""Questions in a row that were wrong. Each halves what is left of a list, or follows it as it grows."""
FAR = 1 << 40
SMALLER_SECS = 1.0
"""Before a smaller part is asked for: that is another question, so there is no cause to back off further."""
FAILING = ("server_error", "timeout")
SLOW = 3
"""So often in a row may that happen, before a window is taken for too long: anything fails now and then."""


class _IgnoredError(Exception):
    """The server answers with what was not asked for."""


class _UnreadableError(Exception):
    """A page is no JSON array. note: what it is instead, or "" where an event in it can't be told from the others."""

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


class Stretches:
    """One tenant's log, from wherever its caller stands. newest: the time of the newest event that was ever shown."""

    def __init__(self, name: str, api: LogtoApi, margin_ms: int, metrics: SourceMetrics, log: Any) -> None:
        self._name, self._api, self._margin_ms, self._metrics, self._log = name, api, margin_ms, metrics, log
        self._windows, self._walk = Windows(), Walk()
        self._under_way: list[Fetch] = []
        self._unreadable = self._vain = self._failed = 0
        self.newest = 0
        self.ignored = False
        """The server does not know `start_time`: the list is walked instead."""

    async def next(self, held: Held, limit: int) -> Stretch | None:
        """The stretch behind what is held, up to `limit` at the most. None: the question was wrong; ask again at once.

        Raises Trouble.
        """
        try:
            return self._led_on(await (self._walked(held, limit) if self.ignored else self._window(held, limit)))
        except _IgnoredError:
            self.ignored = True
            self._log.warning(
                "the server does not know start_time: the log is read by its pages, which takes more requests",
                do="Logto 1.40 and later can be asked for a time.",
            )
            return None
        finally:
            await self.drop()

    def _led_on(self, stretch: Stretch | None) -> Stretch | None:
        """Raises Trouble where a question was wrong too often."""
        self._vain = 0 if stretch is not None else self._vain + 1
        if self._vain >= MOST_IN_VAIN:
            self._vain = 0
            self._metrics.no_progress()
            raise Trouble("bad_answer", "the pages of the log lead nowhere: is it another list each time?")
        return stretch

    async def drop(self) -> None:
        """Ends the requests that are under way."""
        under_way, self._under_way = self._under_way, []
        for fetch in under_way:
            await fetch.drop()

    # -- by time -------------------------------------------------------------------------------------------------------

    async def _window(self, held: Held, limit: int) -> Stretch | None:
        begin = held.upto
        end = max(held.since, self._windows.end(begin, limit))
        try:
            found = await self._added_up(held, begin, end)
        except _UnreadableError as error:
            await self._expect_times_known(held.since, end)
            raise self._cannot_read(error, held, lambda: self._windows.unreadable(begin, end), end + 3) from None
        except Trouble as trouble:
            # Every answer counts the whole window's events, which may be what takes too long.
            self._failed = self._failed + 1 if trouble.reason in FAILING else 0
            if self._failed >= SLOW:
                self._windows.too_long(begin, end)
            raise
        self._failed = 0
        if found is None:
            return None
        self._seen(found)
        events = [event for event in found if held.since <= event.time <= end]
        self._windows.read(end, sum(event.id not in held.known for event in events))
        if not self._windows.searching(end):
            self._unreadable = 0
        surely = end if self._windows.more(end) else self.newest - self._margin_ms
        return Stretch(held.since, end, events, surely, LIVE_OVERLAP_MS if end >= limit else OVERLAP_MS)

    async def _added_up(self, held: Held, begin: int, end: int) -> Sequence[Event] | None:
        """All events of a window; None where there are more than one should hold. Raises Trouble.

        Nothing tells rows of one time apart, so they may change places between two pages: only where as many ids were
        seen as there are events, by a number that did not change meanwhile, none was passed over.
        """
        found: dict[str, Event] = {}
        counted, in_vain = -1, 0
        while in_vain < PASSES:
            fetch = self._ask_for(held.since, end, 1)
            total = total_of(await fetch.headers)
            if self._windows.crowded(begin, end, total - len(held.known)):
                await self._events(fetch, held.since, end)
                return None
            before = len(found) if total == counted else total
            if total != counted:
                found, counted = {}, total
            try:
                pages = await self._all_pages(fetch, held.since, end, total)
            except Trouble:
                # All of a window or nothing: where a rate limit or failures let fewer requests through than it has
                # pages, it would never be had.
                if total > PAGE_SIZE:
                    self._windows.broken_off(begin, end)
                raise
            await self.drop()
            if pages is not None:
                found = unique([list(found.values()), *pages])
                if len(found) == total:
                    return list(found.values())
            in_vain = 0 if len(found) > before else in_vain + 1
        raise Trouble("bad_answer", "the pages of a window do not add up to its Total-Number: reading them again")

    async def _all_pages(self, fetch: Fetch, since: int, end: int, total: int) -> list[list[Event]] | None:
        """Each page's events, the first one's request being made; None where Total-Number changed on the way."""
        pages = []
        for page in range(1, max(1, -(-total // PAGE_SIZE)) + 1):
            following = self._ask_for(since, end, page + 1) if page * PAGE_SIZE < total else fetch
            pages.append(await self._events(fetch, since, end))
            if total_of(await fetch.headers) != total:
                return None
            fetch = following
        return pages

    async def _expect_times_known(self, since: int, end: int) -> None:
        """Raises _IgnoredError where the window's newest event is none of it: a narrower one would be no other."""
        with contextlib.suppress(_UnreadableError):
            await self._events(self._ask_for(since, end, 1, 1), since, end)

    def _ask_for(self, since: int, end: int, page: int, size: int = PAGE_SIZE) -> Fetch:
        # Releases differ in whether the bounds themselves are within: a millisecond more on both sides is in all.
        return self._ask(page, size, max(0, since - 1), end + 1)

    # -- by pages ------------------------------------------------------------------------------------------------------

    async def _walked(self, held: Held, limit: int) -> Stretch | None:
        pages = self._walk.aim()
        try:
            events, total, short = await self._pages(pages)
        except _UnreadableError as error:
            if pages.size == 1 and not error.note and await self._is_newer(pages.last + 1, held):
                self._walk.missed(pages.begin, 1, FAR)
                return None
            raise self._cannot_read(error, held, self._walk.shrink, None) from None
        if events is None:
            self._walk.moved()
            return None
        self._seen(events)
        if pages.first > 1 and (not events or events[0].time < held.since):
            self._walk.too_far(min(pages.begin, total))
            return None
        if not short and events[-1].time >= held.since:
            self._walk.missed(pages.begin, len(events), total)
            return None
        front = pages.first == 1
        upto = limit if front else min(limit, events[0].time - 1)
        if not front and upto <= held.since:
            self._walk.stuck(pages.begin, events, held.since)
            return None
        self._walk.found(pages.begin, events, held.since if front else upto)
        # Not before something new was had: what can't be read might be met again and again on the way to it.
        self._walk.grow()
        self._unreadable = 0
        wanted = [event for event in events if held.since <= event.time <= upto]
        surely = self.newest - self._margin_ms if front else upto
        return Stretch(held.since, upto, wanted, surely, LIVE_OVERLAP_MS if front else 0)

    async def _is_newer(self, page: int, held: Held) -> bool:
        """Whether this single event is newer than what is held; one that can't be read may be."""
        try:
            return any(event.time >= held.since for event in await self._events(self._ask(page, 1)))
        except _UnreadableError:
            return True

    async def _pages(self, pages: Pages) -> tuple[Sequence[Event] | None, int, bool]:
        """The events of these pages, how many there are in all, and whether the oldest of all is among them.

        No events where the list moved between two of several pages, or its events of one time changed places.
        """
        answers: list[list[Event]] = []
        totals: set[int] = set()
        for page in range(pages.first, pages.last + 1):
            fetch = self._ask(page, pages.size)
            answers.append(await self._events(fetch))
            totals.add(total_of(await fetch.headers))
        events = list(unique(answers).values())
        total = max(totals)
        short = len(answers[-1]) < pages.size
        whole = len(answers) == 1 or (len(totals) == 1 and len(events) == sum(map(len, answers)))
        return events if whole else None, total, short

    # -- one page ------------------------------------------------------------------------------------------------------

    async def look_for_newest(self, held: Held, now: int) -> int:
        """The time of the newest event of all, 0 where there is none behind what is held. Raises Trouble.

        An answer counts everything that was asked for, so a short time is asked for first.
        """
        try:
            for span_ms in (3_600_000, 86_400_000, 30 * 86_400_000, now):
                since = None if self.ignored else max(held.upto, now - span_ms)
                events = await self._events(self._ask(1, 1, since))
                if events or since is None or since <= held.upto:
                    self._seen(events)
                    return events[0].time if events else 0
        except _UnreadableError:
            pass  # whoever reads it comes to it
        finally:
            await self.drop()
        return 0

    def _ask(self, page: int, size: int, since: int | None = None, upto: int | None = None) -> Fetch:
        fetch = self._api.page(page, size, since, upto)
        self._under_way.append(fetch)
        return fetch

    async def _events(self, fetch: Fetch, since: int = 0, end: int | None = None) -> list[Event]:
        """A page's. Raises Trouble, _UnreadableError, and _IgnoredError for an event that was not asked for."""
        answer = await fetch.answer
        try:
            events, odd = events_in(answer.body, self._api.server.now() if end is None else end)
        except UnreadableError:
            note = "" if answer.body.lstrip().startswith(b"[") else "HTTP 200 but no JSON array"
            raise _UnreadableError(note) from None
        if odd:
            self._metrics.odd_page()
        # One millisecond was asked for in addition, and one is what rounding may add to that.
        if end is not None and any(not since - 2 <= event.time <= end + 2 for event in events):
            raise _IgnoredError
        return events

    def _cannot_read(
        self, error: _UnreadableError, held: Held, narrow: Callable[[], bool], beyond: int | None
    ) -> Trouble:
        """beyond: a time from which on what can't be read is not asked for any more, where that is known."""
        if error.note:
            return Trouble("bad_answer", f"{error.note}: is endpoint the address of a Logto?")
        # The first time it may have been cut off on its way. What stays unreadable is asked for in smaller parts.
        self._unreadable += 1
        if self._unreadable == 1:
            return Trouble("bad_answer", "the page can't be split into events: fetching it again")
        if narrow():
            note = "the page stays unreadable: asking for a smaller part of its events"
            return Trouble("bad_answer", note, retry_after=SMALLER_SECS)
        place = "TIME" if beyond is None else TimePlaces().at_time(beyond).shown
        return Trouble(
            "undecodable",
            f"an event behind {TimePlaces().at_time(held.until).shown} can't be read; to step over it, stop the daemon "
            f"and run `shipper checkpoint set {self._name} {place} --yes`",
        )

    def _seen(self, events: Iterable[Event]) -> None:
        self.newest = max(self.newest, max((event.time for event in events), default=0))
