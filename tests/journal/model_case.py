"""What the journal should hold, in plain Python: lists and counters, without a file, a page or a transaction."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from journal_case import EPOCH_MS

from shipper.event import Event
from shipper.journal.ledger import Entry
from shipper.tally import Tally

HOUR_MS = 3_600_000
EVENT_EVERY_MS = 600_000
"""Six events an hour, so that the ledger has more than one line."""


def event(number: int, size: int = 0) -> Event:
    """An event with an ordered id and a time of its own; `size` bytes longer than it needs to be."""
    raw = b'{"n":%d,"pad":"%s"}' % (number, b"x" * size)
    type_ = "sfw"[number * 7 // 5 % 3]
    return Event(str(9 * 10**55 + number), EPOCH_MS + number * EVENT_EVERY_MS, f"day {number}", type_, raw)


@lru_cache(4096)
def _digest(id_: str) -> int:
    return int(sha256(id_.encode()).hexdigest(), 16)


class Line:
    """One line of the ledger, counted event by event."""

    def __init__(self) -> None:
        self.events, self.first, self.last, self.sum = 0, "", "", 0

    def add(self, id_: str) -> None:
        rank = (len(id_), id_)
        if not self.events or rank < (len(self.first), self.first):
            self.first = id_
        if not self.events or rank > (len(self.last), self.last):
            self.last = id_
        self.events += 1
        self.sum = (self.sum + _digest(id_)) % 2**256


class Ledger:
    """All lines of a source."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str, int], Line] = {}

    def add(self, sink: str, outcome: str, events: Iterable[Event]) -> None:
        for one in events:
            self.lines.setdefault((sink, outcome, one.time // HOUR_MS), Line()).add(one.id)

    def rename(self, old: str, new: str) -> None:
        self.lines = {
            (new if sink == old else sink, outcome, hour): line for (sink, outcome, hour), line in self.lines.items()
        }

    def entries(self) -> list[Entry]:
        """As the journal should tell them."""
        return [
            Entry(sink, outcome, hour, Tally(line.events, line.first, line.last, line.sum))
            for (sink, outcome, hour), line in sorted(self.lines.items())
        ]


@dataclass
class Lane:
    pending: str
    began: int
    position: int
    dead: Counter[str] = field(default_factory=Counter)
    reserved: tuple[int, int] = (0, 0)
    without: frozenset[int] = frozenset()
    filtered: int = 0
    forgotten: bool = False
    given_up: int = 0
    removed: int = 0
    requeued: int = 0
    replayed: int = 0
    queue_position: int = 0
    queue_last: int = 0

    def begin(self, start: str, began: int) -> None:
        """Anew, after it was forgotten: what was counted for its queue and of replays goes on."""
        self.pending, self.began, self.position = start, began, began
        self.dead, self.reserved, self.forgotten = Counter(), (0, 0), False
        self.given_up = self.removed = self.filtered = 0

    def forget(self, last: int) -> int:
        """Returns how many events waited."""
        waiting = last - self.position
        self.given_up += waiting
        self.position, self.pending, self.reserved, self.forgotten = last, "", (0, 0), True
        self.queue_position = self.queue_last
        return waiting


@dataclass
class Letter:
    source: str
    sink: str
    number: int
    event: Event
    reason: str
    detail: str
    at: int
    queued: int | None = None


@dataclass
class Source:
    """places: for each event the page of the chain that brought it, or before which it was found late.

    ends: up to which time each page of the chain has brought everything.
    """

    name: str
    tenant: str
    events: list[Event] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    known_from: int = 0
    given_up: int = 0
    trimmed: int = 0
    ends: list[int] = field(default_factory=list)
    start: str = ""
    checkpoint: bytes | None = None
    horizon: int | None = None
    durable_horizon: int | None = None
    gaps: list[tuple[int, int, int, bool]] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)
    made: int = 0

    @property
    def chain(self) -> int:
        """How many pages there were."""
        return len(self.ends)

    def place_before(self, time: int) -> int:
        """The last page of the chain that lies wholly before this time."""
        return bisect_left(self.ends, time)

    def seek(self, lane: Lane) -> None:
        """Up to its start, as far as that is stored."""
        kind, _, value = lane.pending.partition(":")
        while lane.pending and lane.position < len(self.events):
            following = self.events[lane.position]
            above = len(following.id) == len(value) and following.id > value
            if (kind == "time" and following.time >= int(value)) or (kind == "id" and above):
                lane.pending = ""
            else:
                lane.position += 1
                lane.began = lane.position

    def fresh(self, events: Sequence[Event]) -> list[Event]:
        """Those that are not known, each once."""
        known = {e.id for e in self.events[self.known_from :]}
        return [e for n, e in enumerate(events) if e.id not in known and e.id not in [f.id for f in events[:n]]]

    def store(self, fresh: Sequence[Event], place: int, now: int) -> None:
        self.events += fresh
        self.places += [place] * len(fresh)
        self.arrived += [now] * len(fresh)
        self.ledger.add("", "stored", fresh)

    def held_up_to(self, horizon: int) -> None:
        self.horizon = max(self.horizon or 0, horizon)

    def settled(self) -> int:
        """The number up to which every lane that is not forgotten has settled everything."""
        return min((lane.position for lane in self.lanes.values() if not lane.forgotten), default=len(self.events))

    def forget(self) -> None:
        """Everything but its numbers, its lanes' counts and the ledger."""
        last = len(self.events)
        self.known_from = self.trimmed = self.given_up = last
        self.checkpoint = self.horizon = self.durable_horizon = None
        self.start = "forgotten"
