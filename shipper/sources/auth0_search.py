"""A tenant's search, and a user's events, as a part of the log that is read like any other.

A thousand results can be reached (Auth0 docs, "Retrieve Log Events Using the Management API"), so a search is read in
parts; what is asked for each page of one is `auth0_results.py`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shipper.event import Event
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_results import Results, iso
from shipper.sources.selection import Selection
from shipper.sources.split import time_of
from shipper.sources.trouble import Trouble
from shipper.sources.walk import CAP, Came, Walk, Window

AHEAD_MS = 2_000
"""The tenant's `Date` header is cut to seconds, and an event's date lies before it is found. Behind that, nothing that
comes in moves a page.
"""
SLOW = 3
"""So often may a page take too long, before a smaller part is asked for: searches of large tenants are known to."""


class _Place(msgspec.Struct, frozen=True):
    """windows: those that are left, the next one last. missing: as of the reader. by_search: a user had too many."""

    windows: Sequence[tuple[int | None, int | None]]
    missing: int = 0
    unknown: bool = False
    by_search: bool = False


class Auth0Search:
    """What a selection asks for, oldest first unless it says otherwise.

    A search that has too many results is parted by date until each part fits. A place is between two parts: behind
    the last event of one, else before the part that an event is in.
    """

    def __init__(self, api: Auth0Api, selection: Selection, bounds: Window, after: str, log: Any) -> None:
        self._results, self._selection, self._bounds, self._log = Results(api, selection, log), selection, bounds, log
        place = msgspec.json.decode(after, type=_Place) if after else _Place([bounds])
        self._left = [Window(*window) for window in place.windows]
        self.missing, self.unknown = place.missing, place.unknown
        if place.by_search:
            self._results.go_by_search()
        field, _, way = selection.sort.partition(":")
        self._field, self._newest_first = field or "date", way == "-1"
        # By date the newest come first, whatever was asked for: see `walk.py`.
        whole_list = selection.page is None and self._field == "date"
        self._sort = "date:-1" if whole_list else selection.sort
        self._walk = self._new_walk()
        self._oldest_wanted = False
        self._slow = 0

    @property
    def pause_secs(self) -> float:
        """What the tenant's limits ask for before the next page."""
        return self._results.pause_secs

    @property
    def done(self) -> bool:
        """Everything was handed out that can be had."""
        return not self._left

    async def close(self) -> None:
        """Closes the connections."""
        await self._results.close()

    async def next(self) -> tuple[list[Event], list[str]]:
        """Asks for one page, and hands a part out once it is whole. Raises Trouble."""
        window = self._left[-1]
        if self._selection.page is not None:
            return self._hand_out(await self._results.page(window, self._selection.page, self._sort))
        try:
            if self._oldest_wanted:
                self._give_bounds(window, await self._oldest(window))
                return [], []
            events = await self._results.page(window, self._walk.page, self._sort)
        except Trouble as trouble:
            if not self._too_slow(window, trouble):
                raise
            self._make_smaller(window)
            return [], []
        self._slow = 0
        if not self._results.user:
            _expect_within(window, events)
        came = self._walk.take(events)
        if came is None:
            return [], []
        if came is Came.WHOLE:
            return self._hand_out(self._walk.events)
        if self._results.user:
            self._go_on_by_search()
            return [], []
        return await self._part(window, came)

    # -- parts ---------------------------------------------------------------------------------------------------------

    async def _part(self, window: Window, came: Came) -> tuple[list[Event], list[str]]:
        """A part that did not come whole becomes two, or what can be had of it. Raises Trouble."""
        if self._field != "date":
            self._walk = self._new_walk()
            if came is Came.UNSTEADY:
                raise Trouble("bad_answer", "the results of the search change while they are read")
            note = f"there are more than the {CAP:,} results that a search gives: sort them by date, or ask for fewer"
            raise Trouble("refused", note)
        if self._make_smaller(window):
            return [], []
        if not self._walk.to_the_end:
            self._walk = Walk(self._selection.per_page, to_the_end=True)
            return [], []
        await self._tell_missing(window, came)
        return self._hand_out(self._walk.events)

    def _make_smaller(self, window: Window) -> bool:
        """Whether this part becomes two. One without bounds gets some first."""
        if window.since is None or window.before is None:
            if self._oldest_wanted:
                # It did not come in time either; halves with nothing in them cost a request each.
                self._give_bounds(window, 0)
                return True
            self._oldest_wanted, self._slow = True, 0
            return True
        halves = window.halves()
        if halves is None:
            return False
        earlier, later = halves
        self._left[-1:] = [earlier, later] if self._newest_first else [later, earlier]
        self._walk, self._slow = self._new_walk(), 0
        return True

    async def _oldest(self, window: Window) -> int:
        """The date of the oldest event that is found. Raises Trouble."""
        if window.since is not None:
            return window.since
        found = await self._results.oldest(window)
        return min((at for event in found if (at := time_of(event.date)) is not None), default=0)

    def _give_bounds(self, window: Window, since: int) -> None:
        """To a little behind now; what has no date is found by no part."""
        before = self._results.now() + AHEAD_MS if window.before is None else window.before
        bounded = self._left[-1] = Window(since, before)
        self._oldest_wanted = False
        if not self._make_smaller(bounded):
            self._walk = self._new_walk()

    def _too_slow(self, window: Window, trouble: Trouble) -> bool:
        """A search that takes too long again and again may be done in time with a smaller part."""
        self._slow = self._slow + 1 if trouble.reason == "timeout" or trouble.status == 504 else 0
        bounded = window.since is not None and window.before is not None
        can_be_parted = self._field == "date" and not self._results.user and not (bounded and window.halves() is None)
        return self._slow >= SLOW and can_be_parted

    def _new_walk(self) -> Walk:
        return Walk(self._selection.per_page, together=self._field != "date")

    def _go_on_by_search(self) -> None:
        self._log.warning(
            "going on by a search for user_id, in parts",
            note=f"not all of the user's events come together, of which there are {CAP:,} at most",
        )
        self._results.go_by_search()
        self._walk = self._new_walk()

    async def _tell_missing(self, window: Window, came: Came) -> None:
        """Nothing is smaller than this part, and it did not come whole. Raises Trouble."""
        had, missing, by = len(self._walk.events), self._walk.short, ""
        if came is Came.TOO_MANY:
            missing, by = max(0, await self._results.total(window) - had), ", by the tenant's own count"
        self.missing += missing
        self.unknown = self.unknown or not missing
        assert window.since is not None, "parts have bounds"  # noqa: S101
        how_many = f"{missing:,} more can't be had{by}" if missing else "more can't be had, and nobody says how many"
        self._log.warning(
            f"too many events in the millisecond {iso(window.since)}",
            note=f"{had:,} of them came, which is what a search gives, and {how_many}",
            do="Say more in --query, so that it finds fewer; or export that time with --from and --until alone.",
        )

    def _hand_out(self, events: list[Event]) -> tuple[list[Event], list[str]]:
        before = self._place()
        self._left.pop()
        self._walk = self._new_walk()
        if self._results.user:
            events = [event for event in events if self._in_range(event)]
        if self._selection.page is None and self._field == "date":
            events = self._in_order(events)
        return events, [*[before] * (len(events) - 1), self._place()] if events else []

    def _in_range(self, event: Event) -> bool:
        at = time_of(event.date)
        return self._bounds.holds(event.time if at is None else at)

    def _in_order(self, events: list[Event]) -> list[Event]:
        """By date, as they were asked for newest first; where one has none, as they were served."""
        events = events if self._newest_first else events[::-1]
        dates = [time_of(event.date) for event in events]
        if None in dates:
            return events
        order = sorted(range(len(events)), key=lambda at: dates[at] or 0, reverse=self._newest_first)
        return [events[at] for at in order]

    def _place(self) -> str:
        by_search = bool(self._selection.user) and not self._results.user
        return msgspec.json.encode(_Place(self._left, self.missing, self.unknown, by_search)).decode()


def _expect_within(window: Window, events: Sequence[Event]) -> None:
    """A part that holds others' events can't be told from a search that ignores dates. Raises Trouble."""
    for event in events:
        at = time_of(event.date)
        if at is not None and not window.holds(at):
            raise Trouble("bad_answer", f"the tenant answers with an event of {iso(at)}, outside of the time asked for")
