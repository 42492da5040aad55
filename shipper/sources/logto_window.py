"""Tailing a list that has no chain: what is asked next, and what of an answer is new. Pure.

Logto's log is pages of a list, newest first, without anything that tells rows of one millisecond apart. So it is read
in stretches: times from one to another of which every event is known, each overlapping the one before, whose last ids
tell what is known already. Where reading stands is measured by the events' own times alone: no clock that is wrong, the
server's or ours, can carry it past events that were not read.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from shipper.event import Event
from shipper.sources.places import Place
from shipper.sources.start import time_in

OVERLAP_MS = 1_000
"""Rows are stored by the microsecond and shown by the millisecond, rounded: bounds may miss a neighbour."""
LIVE_OVERLAP_MS = 2_000
"""So much is read again where events come in just now: one that was committed after its margin may be found then."""
MAX_IDS = 5_000
"""In a checkpoint; what lies beyond is found among the journal's own ids."""
WANTED = 700
"""New events that a window should hold: some pages, and not more than is easily held in memory."""
MOST = 1_000
FASTEST, SLOWEST = 1024, 2
"""How much narrower a crowded window becomes at once."""


WIDEST = 1 << 50
TOO_SLOW_MS = 3_600_000
"""No window gets narrower than this because the server fails: counting its events is not why, then."""


class Checkpoint(msgspec.Struct, frozen=True):
    """until: createdAt of the newest stored event. since: where the next stretch begins. Milliseconds since 1970.

    ids: of the stored events that are not older than `since`.
    """

    until: int
    since: int
    ids: Sequence[str] = ()

    def encode(self) -> bytes:
        """As the journal keeps it."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(data: bytes) -> "Checkpoint":
        """What `encode` made."""
        return msgspec.json.decode(data, type=Checkpoint)


class Stretch(msgspec.Struct, frozen=True):
    """Every event from `since` to `upto`, as they were served, newest first.

    surely: up to this time nothing can come in any more, by the times of events that are newer. overlap_ms: how much of
    it the next one should hold again.
    """

    since: int
    upto: int
    events: Sequence[Event]
    surely: int
    overlap_ms: int


class Held(msgspec.Struct, frozen=True):
    """What is known: as in the checkpoint, with the time of each id. upto: everything is known up to this time."""

    until: int
    since: int
    upto: int
    known: Mapping[str, int] = {}

    @staticmethod
    def of(checkpoint: Checkpoint) -> "Held":
        """As a start finds it. An id's own time is not kept; none is newer than `until`."""
        until, since = checkpoint.until, checkpoint.since
        return Held(until, since, max(until, since), dict.fromkeys(checkpoint.ids, until))

    @property
    def checkpoint(self) -> Checkpoint:
        """For the journal."""
        ids = sorted(self.known, key=self.known.__getitem__)
        return Checkpoint(self.until, self.since, ids[-MAX_IDS:])


class Found(msgspec.Struct, frozen=True):
    """What is new in a stretch, oldest first, and what is held once it is stored. late: older than what was stored."""

    late: Sequence[Event]
    fresh: Sequence[Event]
    held: Held


def found_in(stretch: Stretch, held: Held) -> Found:
    """What a stretch that begins where `held` ends brings."""
    new = sorted((event for event in reversed(stretch.events) if event.id not in held.known), key=lambda e: e.time)
    late = [event for event in new if event.time < held.until]
    fresh = new[len(late) :]
    until = fresh[-1].time if fresh else held.until
    position = min(stretch.upto, max(until, stretch.surely))
    since = max(held.since, position - stretch.overlap_ms)
    times = [(event.id, event.time) for event in new]
    known = {id_: time for id_, time in (*held.known.items(), *times) if time >= since}
    return Found(late, fresh, Held(until, since, max(held.upto, position), known))


class Windows:
    """How wide the next window is: narrower where it is crowded, wider where there is little in it."""

    def __init__(self) -> None:
        self._width = WIDEST
        self._left = self._until = self._unreadable = 0

    def more(self, end: int) -> bool:
        """Whether events are known to lie behind this window, which was read."""
        return self._left > 0 and end < self._until

    def end(self, begin: int, limit: int) -> int:
        """The end of a window of which everything up to `begin` is known. Both in milliseconds since 1970."""
        width = self._width
        if self._left > MOST and begin < self._until:
            # That there are too many up to there need not be asked again.
            width = min(width, max(1, (self._until - begin) // 2))
        if self.searching(begin):
            width = min(width, max(1, (self._unreadable - begin) // 2))
        return min(limit, begin + width)

    def searching(self, begin: int) -> bool:
        """Whether an event that can't be read is known to lie behind this time, and where is being found out."""
        return begin < self._unreadable

    def crowded(self, begin: int, end: int, new: int) -> bool:
        """Whether a window with so many new events should be a narrower one. It remembers that."""
        if new <= MOST or end <= begin + 1:
            return False
        part = min(max(new // WANTED, SLOWEST), FASTEST)
        self._width = max(1, (end - begin) // part)
        self._left, self._until = new, end
        return True

    def unreadable(self, begin: int, end: int) -> bool:
        """Something in a window could not be read: the next one is half of it. False where it can't be narrower."""
        self._unreadable = end
        return end - begin > 1

    def too_long(self, begin: int, end: int) -> None:
        """The server could not answer in time for so long a window: the next one is a quarter of it."""
        self._width = min(self._width, max(TOO_SLOW_MS, (end - begin) // 4))

    def broken_off(self, begin: int, end: int) -> None:
        """Some of a window's pages came and the others did not: the next one is half of it, and needs fewer."""
        self._width = max(1, (end - begin) // 2)

    def read(self, end: int, new: int) -> None:
        """A window with so many new events was read up to its end."""
        self._left = max(0, self._left - new)
        if end >= self._unreadable:
            self._unreadable = 0
        if new < WANTED // 2:
            self._width = min(self._width * 4, WIDEST)


class TimePlaces:
    """A checkpoint as people write it: the time from which on."""

    def shown(self, checkpoint: bytes) -> str:
        """Raises ValueError where it is no checkpoint of ours."""
        try:
            return _written(Checkpoint.decode(checkpoint).until)
        except (OverflowError, OSError):
            raise ValueError("holds no time") from None

    def at(self, text: str) -> Place:
        """Raises ValueError where this is no time with its zone."""
        try:
            return self.at_time(time_in(text))
        except ValueError:
            raise ValueError("no time with its zone, like 2026-11-01T00:00:00Z") from None

    def at_time(self, at_ms: int) -> Place:
        """At everything of this moment or later."""
        at_ms = max(0, at_ms)
        return Place(Checkpoint(at_ms, at_ms).encode(), _written(at_ms), at_ms)


def _written(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def unique(pages: Iterable[Sequence[Event]]) -> dict[str, Event]:
    """By id, in the order in which they were served first."""
    found: dict[str, Event] = {}
    for events in pages:
        for event in events:
            found.setdefault(event.id, event)
    return found
