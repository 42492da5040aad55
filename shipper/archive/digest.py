"""The digest of a source's day in an archive: what was there when the day was closed, in a chain that can be checked.

Each digest lists every object of its day and holds the SHA-256 of the digest of the day before, so whoever takes away,
adds or alters an object or a digest afterwards has to rewrite all digests since. A day is closed once, and events may
still come for it: the digests of the following days list the objects that came late. So the chain accounts for every
object, from the bucket alone. Pure functions; `closing.py` writes digests, `chain.py` reads them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from shipper.archive import Stored
from shipper.tally import HOUR_MS, Tally, sum_to_hex

DAY_MS = 24 * HOUR_MS
LATE_DAYS = 35
"""So many days after its own can an object still come into the chain: longer than any source keeps its events."""

_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Listed(msgspec.Struct, frozen=True):
    """An object as a digest names it."""

    key: str
    events: _Count
    first: str
    last: str
    sha256: _Hash = msgspec.field(name="content-sha256")


class Late(msgspec.Struct, frozen=True):
    """Objects of an earlier day that no digest has listed yet, and what the lane had delivered of that day by then."""

    day: date
    events: _Count
    sum: _Hash
    objects: list[Listed]


class Gap(msgspec.Struct, frozen=True):
    """A time of which the source could not give us everything any more."""

    since: datetime
    until: datetime
    may_be_empty: bool


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """A closed day.

    previous: SHA-256 of the digest of the day before, "" for the first one of a source.
    closed_at: when we looked, by our clock.
    events, sum: what the lane had delivered of the day by its journal's ledger: how many events, and the sum of
        SHA-256(log_id) modulo 2^256.
    filtered: how many its filter held back. dead_lettered: how many the destination refused, ever.
    dead_letters: how many of those were still waiting for a decision, by reason.
    """

    version: Literal[1] = 1
    source: str
    day: date
    previous: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
    closed_at: datetime
    events: _Count
    sum: _Hash
    filtered: _Count = 0
    dead_lettered: _Count = 0
    dead_letters: dict[str, _Count] = {}
    gaps: list[Gap] = []
    objects: list[Listed]
    late: list[Late] = []


class Account(msgspec.Struct, frozen=True):
    """A day by the journal: what the lane delivered of it, and what became of the rest."""

    delivered: Tally
    filtered: int = 0
    dead_lettered: int = 0
    dead_letters: Mapping[str, int] = {}
    gaps: Sequence[Gap] = ()


def make(
    source: str,
    day: date,
    objects: Iterable[Stored],
    account: Account,
    late: Sequence[Late],
    *,
    previous: str,
    closed_at_ms: int,
) -> bytes:
    """A day's digest. The same facts give the same bytes."""
    digest = Digest(
        source=source,
        day=day,
        previous=previous,
        closed_at=moment(closed_at_ms),
        events=account.delivered.events,
        sum=sum_to_hex(account.delivered.sum),
        filtered=account.filtered,
        dead_lettered=account.dead_lettered,
        dead_letters=dict(sorted(account.dead_letters.items())),
        gaps=sorted(account.gaps, key=lambda gap: (gap.since, gap.until)),
        objects=listed(objects),
        late=sorted(late, key=lambda part: part.day),
    )
    return msgspec.json.format(msgspec.json.encode(digest), indent=1) + b"\n"


def parse(body: bytes) -> Digest:
    """Reads a digest. Raises ValueError where it is none, or of a later version."""
    try:
        return msgspec.json.decode(body, type=Digest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is no digest that this version reads ({type(error).__name__})") from None


def listed(objects: Iterable[Stored]) -> list[Listed]:
    """Objects as a digest names them, by key."""
    return sorted(
        (Listed(one.key, one.events, one.first, one.last, one.sha256) for one in objects), key=lambda one: one.key
    )


def sha256(body: bytes) -> str:
    """What the next digest says of this one."""
    return hashlib.sha256(body).hexdigest()


# -- where digests stand, and days -------------------------------------------------------------------------------------


def folder_of(source: str) -> str:
    """Where a source's digests stand, below the prefix."""
    return f"_digest/source={source}/"


def path_of(source: str, day: date) -> str:
    """Where a day's digest stands, below the prefix."""
    return f"{folder_of(source)}dt={day}.json"


def days_in(source: str, paths: Iterable[str]) -> list[date]:
    """The days whose digests these paths are, oldest first; whatever else stands there is left out."""
    days = []
    for path in paths:
        name = path.removeprefix(f"{folder_of(source)}dt=").removesuffix(".json")
        try:
            day = date.fromisoformat(name)
        except ValueError:
            continue
        if path == path_of(source, day):
            days.append(day)
    return sorted(days)


def day_of(at_ms: int) -> date:
    """The day (UTC) of a time in ms since 1970 UTC."""
    return date(1970, 1, 1) + timedelta(days=at_ms // DAY_MS)


def begin_of(day: date) -> int:
    """When a day (UTC) begins, in ms since 1970 UTC."""
    return (day - date(1970, 1, 1)).days * DAY_MS


def days_from(first: date, last: date) -> list[date]:
    """All days from one to another, both included; none where the last is before the first."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def moment(at_ms: int) -> datetime:
    """A time in ms since 1970 UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
