"""A search read page by page to its end: what is asked next, and what came of it. Pure.

A search has a thousand results at most, in pages by number, over a list that may change between two of them: an event
that comes in or leaves pushes others over a page's edge, and events of one moment have no order among them. So a search
is read newest first, where what the retention takes away moves nothing, and its events are counted: as many different
ones as there were places, or it is read again.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from shipper.event import Event
from shipper.sources.split import HASHED
from shipper.sources.trouble import Trouble

CAP = 1_000
"""Results that can be reached in one search (Auth0 docs, "Retrieve Log Events Using the Management API")."""
READS, READS_TOGETHER = 3, 10
"""So often is a search read that does not add up, before a smaller one is asked for, or what came is all."""


class Window(NamedTuple):
    """since <= date < before, in milliseconds since 1970 UTC; None where there is no bound."""

    since: int | None
    before: int | None

    def holds(self, at_ms: int) -> bool:
        """Whether this moment lies in it."""
        return (self.since is None or self.since <= at_ms) and (self.before is None or at_ms < self.before)

    def halves(self) -> tuple["Window", "Window"] | None:
        """The earlier and the later half; None for one that can't be parted. Both bounds are there."""
        assert self.since is not None and self.before is not None, "it was given bounds before"  # noqa: S101, PT018
        middle = (self.since + self.before) // 2
        return (Window(self.since, middle), Window(middle, self.before)) if middle > self.since else None


class Came(Enum):
    """What a whole read of a search was."""

    WHOLE = "whole"
    TOO_MANY = "too many"
    UNSTEADY = "unsteady"


class Walk:
    """The pages of one search, newest first.

    together: several reads may make up the whole, where no smaller search can be asked for: events without an order
    among them change places, but none leaves. to_the_end: take what can be had, though there be too many.

    Once it has ended: `events` are those in hand, as they were served, and `short` is how many more places there were.
    """

    def __init__(self, per_page: int, *, together: bool = False, to_the_end: bool = False) -> None:
        self._per_page, self._together, self.to_the_end = per_page, together or to_the_end, to_the_end
        self._last = CAP // per_page - 1
        self._known: dict[str, Event] = {}
        self._counts: list[int] = []
        self._begin()

    def _begin(self) -> None:
        self._next, self._end = 0, self._last + 1
        self._looks_ahead = False
        self._read: dict[str, Event] = {}
        self._page_before: list[str] = []
        self._places = 0

    @property
    def page(self) -> int:
        """The one to ask for."""
        return self._last if self._looks_ahead else self._next

    @property
    def events(self) -> list[Event]:
        """Each once."""
        return list(self._known.values())

    @property
    def short(self) -> int:
        """By the read that found most."""
        return max(0, max(self._counts) - len(self._known))

    def take(self, events: Sequence[Event]) -> Came | None:
        """The page that was asked for. Returns what the search was, once it has ended. Raises Trouble for nonsense."""
        if len(events) > self._per_page:
            raise Trouble("bad_answer", "the tenant sends more events than a page was to have")
        if self._looks_ahead:
            self._looks_ahead = False
            self._end = self._last
            return Came.TOO_MANY if events else None
        keys = self._keys(events)
        if len(keys) > 1 and keys == self._page_before:
            raise Trouble("bad_answer", "the tenant sends the same events for two pages")
        self._page_before = keys
        self._read.update(zip(keys, events, strict=True))
        self._places += len(events)
        self._next += 1
        if events and self._next < self._end:
            # One full page may be the first of many: the last that can be had tells whether there are too many.
            self._looks_ahead = self._next == 1 < self._last and len(events) == self._per_page and not self.to_the_end
            return None
        # Behind the last page that can be had nothing can be asked for: there a short one has to do.
        short = self.to_the_end and len(events) < self._per_page
        return self._ended(reached=not events or self._end == self._last or short)

    def _ended(self, *, reached: bool) -> Came | None:
        self._counts.append(self._places)
        self._known = self._read | self._known if self._together else self._read
        if not reached:
            return Came.TOO_MANY
        if len(self._read) == self._places or (len(self._known) == self._places == max(self._counts)):
            return Came.WHOLE
        if len(self._counts) == (READS_TOGETHER if self._together else READS):
            return Came.UNSTEADY
        self._begin()
        return None

    def _keys(self, events: Sequence[Event]) -> list[str]:
        """Events without an id of their own are all different: their bytes may well be alike."""
        return [f"{self._next}/{number}" if e.id.startswith(HASHED) else e.id for number, e in enumerate(events)]
