"""Where to look in a list that can only be asked for pages, newest first, while it grows at its front. Pure.

Logto before 1.40 ignores `start_time`, so a page is all that can be asked for. One answer holds a part of the list as
it was at one moment: of the times strictly between its oldest and its newest event it has every one. So an answer that
reaches below what is known is complete up to its newest time, and the next one has to reach below that. How far the
list moved meanwhile need not be known: an answer that does not reach down is asked for again, further back.
"""

from collections.abc import Sequence

import msgspec

from shipper.event import Event
from shipper.sources.logto_api import PAGE_SIZE

SPARE = 3
"""So many events may come in between two answers without a miss."""
MOST_PAGES = 64
"""Read together, at the most: while they are, the list has to stand still."""


class Pages(msgspec.Struct, frozen=True):
    """Consecutive pages of a size, from `first` (the newest) to `last`, pages beginning at 1."""

    size: int
    first: int
    last: int

    @property
    def begin(self) -> int:
        """How many events of the list are newer than these."""
        return self.size * (self.first - 1)


class Walk:
    """Looks for the edge: the place in the list where what is known begins. It decides only what is asked next."""

    def __init__(self) -> None:
        self._edge = 0
        self._above = -1
        self._below: int | None = None
        self._size = PAGE_SIZE
        self._pages = 1

    def aim(self) -> Pages:
        """What to ask for: the edge, and as many newer events as one answer can hold."""
        spare = min(SPARE, self._size // 4)
        if self._edge + spare < self._size:
            return Pages(self._size, 1, 1)
        size = self._size
        if self._pages == 1:
            size = max(range(1, size + 1), key=lambda size: _newer(self._edge, size, spare))
        last = self._edge // size + 1
        return Pages(size, max(1, last - self._pages + 1), last)

    def missed(self, begin: int, events: int, total: int) -> None:
        """All of these were newer than what is known: the edge lies further back, or has moved there."""
        self._above = begin + events - 1
        if self._below is None:
            self._edge = min(max(self._above + 1 + SPARE, 2 * self._above), max(total - 1, 0))
        else:
            self._close_in(self._above, self._below)

    def too_far(self, begin: int) -> None:
        """All of these were older than what is known, or there was nothing so far back: the edge lies before them."""
        self._below = begin
        self._close_in(self._above, self._below)

    def _close_in(self, above: int, below: int) -> None:
        """The edge lies between these, or has moved. Where one follows the other, both have to be in one answer."""
        self._edge = (above + below) // 2
        if above >= below - 1:
            self._edge, self._above, self._below = below, -1, None
            self._pages = min(self._pages * 2, MOST_PAGES)

    def found(self, begin: int, events: Sequence[Event], since: int) -> None:
        """The edge is the first of these that is older than `since`, where the next stretch begins."""
        self._above, self._below, self._pages = -1, None, 1
        self._edge = begin + sum(event.time >= since for event in events)

    def stuck(self, begin: int, events: Sequence[Event], since: int) -> None:
        """Behind the edge these hold nothing but events of one time: more pages together may hold more."""
        pages = min(self._pages * 2, MOST_PAGES)
        self.found(begin, events, since)
        self._pages = pages

    def moved(self) -> None:
        """The list moved between two of several pages. A single one has the edge at another place of it now."""
        self._pages = 1

    def shrink(self) -> bool:
        """A page could not be read: the next ones hold half as much. False where one holds a single event."""
        if self._size == 1:
            return False
        self._size, self._pages = self._size // 2, 1
        return True

    def grow(self) -> None:
        """Pages can be read."""
        self._size = min(PAGE_SIZE, self._size * 2)


def _newer(edge: int, size: int, spare: int) -> int:
    """How many events newer than the edge a page of this size holds that also holds the edge, and some to spare."""
    newer = edge % size
    return newer if size - 1 - newer >= spare else -1
