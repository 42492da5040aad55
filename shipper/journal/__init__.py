"""The durable middle: what a journal promises to sources and to delivery.

The journal is the only durable state. A page and the checkpoint behind it commit together; so do a lane's position and
its dead letters. Events are numbered 1, 2, 3 … per source; a position is the number of the last settled event, so lag
and delivered events are differences. `sqlite.py` is the journal that we ship.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from shipper.event import Event, Page
from shipper.reasons import Reason


class JournalError(Exception):
    """The journal can't do what was asked. `reason` is one of the closed list; the text names file and cause."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class JournalBrokenError(JournalError):
    """The disk or the file fails: nothing more may be promised, the process ends (74)."""


class JournalDamagedError(JournalBrokenError):
    """The file is not what was written: it is moved aside, and `run --recover` goes on from what all lanes settled."""


class NoRoomError(JournalError):
    """The disk is full or read-only, or the dead letters are at their limit: nothing was changed, try again later."""


class JournalInUseError(JournalError):
    """Another process holds the state directory (75)."""


class UnknownNameError(JournalError):
    """The journal has no source or sink of this name, or the name is taken (2)."""


class WrongTenantError(JournalError):
    """The configuration and the journal disagree about who a source is (78)."""


def expect_tenant(known: Mapping[str, str], name: str, tenant: str) -> None:
    """Raises WrongTenantError where a name belongs to another tenant. known: the journal's tenants, by name."""
    if known.get(name, tenant) != tenant:
        raise WrongTenantError(
            "operator",
            f"sources.{name}: the journal knows this name as {known[name]}, but the configuration says {tenant}: "
            "give the new tenant a name of its own",
        )


class Limits(msgspec.Struct, frozen=True):
    """How much goes into one batch.

    overhead: bytes that each event takes beyond its own. timeout_secs: how long the oldest waiting event may wait for
    a fuller batch.
    """

    max_events: int
    max_bytes: int
    overhead: int = 0
    timeout_secs: float = 0.0


class Stretch(msgspec.Struct, frozen=True):
    """Consecutive events as they stand in the journal; `first` is the number of the first one.

    left_out: the numbers, in order, of those that the lane's filter leaves out; they are not among `events`.
    """

    first: int
    events: Sequence[Event]
    left_out: Sequence[range] = ()

    @property
    def last(self) -> int:
        """The number of the last event, left out or not."""
        return self.first + len(self.events) + sum(map(len, self.left_out)) - 1

    def chosen(self, numbers: Sequence[int]) -> list[Event]:
        """The events with these numbers, none of which is left out."""
        if not self.left_out:
            return [self.events[n - self.first] for n in numbers]
        of = dict(zip(outside(self.left_out, self.first, self.last), self.events, strict=True))
        return [of[n] for n in numbers]


def outside(left_out: Sequence[range], first: int, last: int) -> Iterator[int]:
    """The numbers from first to last without these, which are in order."""
    for hole in left_out:
        if hole.stop > first:
            yield from range(first, min(hole.start, last + 1))
            first = hole.stop
    yield from range(first, last + 1)


class Burial(msgspec.Struct, frozen=True):
    """An event that a sink will never take: its number, why, and the destination's own words."""

    number: int
    reason: Reason
    detail: str = ""


class DeadLetter(msgspec.Struct, frozen=True):
    """A buried event with its reason.

    at: milliseconds since 1970 UTC when it was given up. queued: it is to go out again.
    """

    id: int
    source: str
    sink: str
    number: int
    event_id: str
    time: int
    type: str
    reason: Reason
    detail: str
    at: int
    raw: bytes
    queued: bool = False

    def listed(self) -> dict[str, str | int]:
        """For a list: everything but the event and the destination's words about it, which may quote it."""
        hidden = ("raw", "detail")
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in hidden}


class LaneFigures(msgspec.Struct, frozen=True):
    """Where a lane stands.

    oldest: the time (ms) of its oldest unsettled event, None where none waits. given_up: by `forget`. dead_removed:
    dead letters that were removed for their age.
    """

    sink: str
    began: int
    position: int
    lag: int
    oldest: int | None
    filtered: int
    dead: Mapping[Reason, int]
    dead_kept: int
    given_up: int = 0
    dead_removed: int = 0
    requeued: int = 0
    replayed: int = 0
    queue_position: int = 0
    queue_last: int = 0

    @property
    def delivered(self) -> int:
        """Events delivered since the lane began, over restarts."""
        return self.position - self.began - self.filtered - self.given_up - sum(self.dead.values())


class SourceFigures(msgspec.Struct, frozen=True):
    """Where a source stands.

    stored: events ever stored. horizon: milliseconds since 1970 UTC up to which everything is held, None before the
    first answer. bytes: what its pages take. paused: why it must not poll: journal_full, where it uses its share of a
    full journal, or disk_full. gaps: how often its retention ran out before we came; last_gap: from when to when (ms)
    the last time, and whether it may be empty. began: the time (ms) from which on everything was read, since its first
    poll or since someone set its checkpoint; 0 for the very beginning.
    """

    name: str
    tenant: str
    stored: int
    checkpoint: bytes | None
    start: str
    horizon: int | None
    bytes: int
    paused: Reason | None
    lanes: Mapping[str, LaneFigures]
    gaps: int = 0
    last_gap: tuple[int, int, bool] | None = None
    began: int = 0


class Settled(msgspec.Struct, frozen=True):
    """The place up to which every lane of a source has settled everything: where `--recover` goes on.

    checkpoint: opaque to everyone but the source. horizon: milliseconds since 1970 UTC up to which all was settled.
    """

    name: str
    tenant: str
    checkpoint: bytes
    horizon: int


class Figures(msgspec.Struct, frozen=True):
    """All figures as of the last commit."""

    sources: Mapping[str, SourceFigures]
    used_bytes: int
    max_bytes: int
    full: bool
    dead_bytes: int


class Appended(msgspec.Struct, frozen=True):
    """What became of a page: so many events were new, so many were stored already."""

    stored: int
    duplicates: int


class SourceHandle(Protocol):
    """One source's side of the journal."""

    @property
    def figures(self) -> SourceFigures:
        """As of the last commit."""

    async def begin(self, start: str, checkpoint: bytes, horizon: int) -> None:
        """Commits the resolved start, before the first poll."""

    async def append(self, page: Page) -> Appended:
        """Stores the page's new events together with its checkpoint. Raises JournalError."""

    async def caught_up(self, horizon: int) -> None:
        """An empty answer: everything up to the horizon is held. Durable at most every minute."""

    async def room(self) -> None:
        """Returns once this source may poll."""

    async def gap(self, since: int, until: int, *, may_be_empty: bool) -> None:
        """Records durably that events of this time (ms) are gone at the source; the horizon moves behind it."""

    async def known_since(self, back: int) -> str | None:
        """The id of the event that stands so many before the newest, or of the oldest whose id is still known."""


class LaneHandle(Protocol):
    """One lane's side of the journal."""

    @property
    def figures(self) -> LaneFigures:
        """As of the last commit."""

    async def waiting(self, after: int, limits: Limits, *, eager: bool = False) -> None:
        """Returns once a batch waits behind this number; eager: however small."""

    async def read(
        self, after: int, limits: Limits, upto: int | None = None, without: Sequence[range] = ()
    ) -> Stretch | None:
        """The events behind this number, up to the limits; None where none waits.

        upto: exactly up to this number, and `without` is left out, whatever the filter says by now: what a batch holds
        is decided once. Where the first event is left out, only that one and those behind it that are, too.
        """

    async def reserve(self, first: int, last: int, left_out: Sequence[range] = ()) -> bool:
        """Records that exactly this range is about to be written, without some, and would be again after a crash.

        True: it was recorded already, so that an earlier write may have brought it to the destination.
        """

    async def ack(self, upto: int, dead: Sequence[Burial] = (), left_out: Sequence[range] = ()) -> None:
        """Moves the position; all events up to it are settled: dead letters, left out, or else delivered.

        One transaction.
        """
