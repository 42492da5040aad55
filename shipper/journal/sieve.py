"""What a lane's filter leaves of the journal. Only lanes with a filter come here."""

from collections.abc import Sequence

import msgspec

from shipper.event import Event
from shipper.journal import Limits, Stretch
from shipper.journal.stored_pages import StoredPages
from shipper.shape.filter import Wants

LOOK = 20_000
"""So many events are looked at for one batch, so that a lane that wants few of them holds up nobody."""


class Sieve:
    """One lane's filter, and what it has looked at since the lane's last batch."""

    def __init__(self, wants: Wants) -> None:
        self.wants = wants
        self._after = self._upto = -1
        self._events = self._bytes = 0

    def waiting(self, pages: StoredPages, source: int, after: int) -> tuple[int, int]:
        """How many wanted events stand behind a number, and their bytes. Each is looked at once, while they wait."""
        if after != self._after:
            self._after = self._upto = after
            self._events = self._bytes = 0
        for type_, length in pages.kinds(source, self._upto):
            self._upto += 1
            if self.wants(type_):
                self._events += 1
                self._bytes += length
        return self._events, self._bytes


class Cut:
    """One stretch in the making. after: it begins behind this number."""

    def __init__(self, after: int) -> None:
        self._first = after + 1
        self._events: list[Event] = []
        self._left_out: list[range] = []
        self.number = after

    def take(self, event: Event) -> None:
        """The next event belongs to it."""
        self._events.append(event)
        self.number += 1

    def leave_out(self) -> None:
        """The next event does not."""
        self.number += 1
        if self._left_out and self._left_out[-1].stop == self.number:
            self._left_out[-1] = range(self._left_out[-1].start, self.number + 1)
        else:
            self._left_out.append(range(self.number, self.number + 1))

    def stretch(self) -> Stretch | None:
        """What it has become."""
        return Stretch(self._first, self._events, self._left_out) if self.number >= self._first else None


def exactly(pages: StoredPages, source: int, after: int, upto: int, without: Sequence[range]) -> Stretch | None:
    """What stands behind a number up to another one, but for what is left out."""
    cut, holes = Cut(after), iter([*without, range(upto + 1, upto + 2)])
    hole = next(holes)
    while cut.number < upto:
        for event in pages.behind(source, cut.number, upto - cut.number):
            while hole.stop <= cut.number + 1:
                hole = next(holes)
            if cut.number + 1 in hole:
                cut.leave_out()
            else:
                cut.take(event)
    return cut.stretch()


def next_batch(pages: StoredPages, source: int, after: int, last: int, limits: Limits, wants: Wants) -> Stretch | None:
    """The next that are wanted, up to the limits, with all between them and behind the last one that are not.

    Where the first one is not, those alone that come before the first that is: they are settled at once, and a batch's
    oldest event has waited as long as the batch.
    """
    cut, room, events = Cut(after), limits.max_bytes, 0
    last = min(last, after + LOOK)
    while cut.number < last:
        for event in pages.behind(source, cut.number, last - cut.number):
            if not wants(event.type):
                cut.leave_out()
                continue
            room -= len(event.raw) + limits.overhead
            full = events and (room < 0 or events >= limits.max_events)
            if full or (not events and cut.number > after):
                return cut.stretch()
            events += 1
            cut.take(event)
    return cut.stretch()


def encoded(left_out: Sequence[range]) -> bytes | None:
    """For the lane's row; None for nothing."""
    return msgspec.msgpack.encode([(hole.start, hole.stop) for hole in left_out]) if left_out else None


def decoded(data: bytes | None) -> list[range]:
    """The reverse."""
    return [range(*hole) for hole in msgspec.msgpack.decode(data, type=list[tuple[int, int]])] if data else []
