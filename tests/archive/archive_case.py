"""A lane into a real bucket, with a real journal behind it, and days to move through."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import structlog
from s3_case import Bucket, event_at, make_sink

from shipper import Batch, Event, Found, Origin, Stored
from shipper.archive.closing import MARGIN_MS, Closing
from shipper.archive.digest import DAY_MS, Digest, begin_of, moment, parse, path_of
from shipper.desk import Desk
from shipper.event import Page
from shipper.journal import Burial, Limits
from shipper.journal.sqlite import SqliteJournal
from shipper.testing import Received, Reply
from sinks.s3 import S3

NEW_YEAR = date(2026, 1, 1)
EPOCH = begin_of(NEW_YEAR)
ALL = Limits(100_000, 1 << 30)
ORIGIN = Origin(name="acme", type="auth0", host="acme.us.auth0.com", tenant="acme")


def day(number: int) -> date:
    """1 is the first of January 2026."""
    return date(2026, 1, number)


def over(number: int) -> int:
    """The horizon by which this day may be closed, in ms."""
    return begin_of(day(number)) + DAY_MS + MARGIN_MS


def event(day_number: int, hour: int, number: int) -> Event:
    """An event of this hour of a day, by whose number ids are ordered."""
    return event_at(24 * (day_number - 1) + hour, number)


def stored(number: int, events: int = 2, *, day_number: int = 1, hour: int = 0, written: int = EPOCH) -> Stored:
    """What an object's metadata tell, of a made-up one."""
    first, last = event(day_number, hour, 100 * number).id, event(day_number, hour, 100 * number + 99).id
    key = f"source=acme/dt={day(day_number)}/hour={hour:02}/{first}-{last}.jsonl"
    return Stored(key, begin_of(day(day_number)) // 3_600_000 + hour, events, first, last, f"{number:064x}", written)


def shelf(objects: Sequence[Stored], notes: Sequence[str] = ()) -> Callable[[Received], Reply]:
    """A store that says of these objects when each was written; real ones say when a test ran."""
    times = {f"auth0/{one.key}": one.written for one in objects} | dict.fromkeys((f"auth0/{note}" for note in notes), 0)
    told = {
        f"/logs/auth0/{one.key}": {
            "events": str(one.events), "first": one.first, "last": one.last, "content-sha256": one.sha256
        }
        for one in objects
    }  # fmt: skip

    def answer(received: Received) -> Reply:
        parts = urlsplit(received.path)
        if received.method == "HEAD":
            metadata = told[unquote(parts.path)]
            return Reply(
                200, headers={"ETag": '"1"', **{f"x-amz-meta-{name}": text for name, text in metadata.items()}}
            )
        asked = parse_qs(parts.query)
        prefix = asked["prefix"][0]
        keys = [key for key in sorted(times) if key.startswith(prefix)]
        if "delimiter" in asked:
            folders = sorted({f"{prefix}{key[len(prefix) :].split('/')[0]}/" for key in keys})
            named = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in folders)
        else:
            named = "".join(
                f"<Contents><Key>{key}</Key><LastModified>{moment(times[key]):%Y-%m-%dT%H:%M:%SZ}</LastModified></Contents>"
                for key in keys
            )
        return Reply(200, f"<ListBucketResult><Name>logs</Name>{named}</ListBucketResult>".encode())

    return answer


def found(*objects: Stored, foreign: tuple[str, ...] = ()) -> Found:
    return Found(list(objects), list(foreign))


class Lane:
    """What a daemon does with one source and one bucket, step by step."""

    def __init__(self, journal: SqliteJournal, handles: tuple[Any, Any], sink: S3, bucket: Bucket) -> None:
        self.journal, self.sink, self.bucket = journal, sink, bucket
        self._source, self._lane = handles
        self.desk = Desk(journal)

    async def stored(self, *events: Event, late: bool = False) -> None:
        """The source has served these."""
        highest = "" if late else max(one.id for one in events)
        await self._source.append(Page(list(events), b"c", 0, highest, late=late))

    async def delivered(self, *events: Event, late: bool = False, dead: int = 0) -> None:
        """These are in the bucket, but for so many last ones, which the store refused; all are settled."""
        await self.stored(*events, late=late)
        await self.acked(await self.written(dead=dead), dead=dead)

    async def written(self, dead: int = 0) -> int:
        """What waits is in the bucket and not acked. The number of the last event."""
        stretch = await self._lane.read(self._lane.figures.position, ALL)
        kept = stretch.events[: len(stretch.events) - dead]
        if kept:
            await self.sink.write(Batch(source=ORIGIN, events=kept, now=EPOCH))
        return int(stretch.last)

    async def acked(self, last: int, dead: int = 0) -> None:
        """It is settled."""
        await self._lane.ack(last, [Burial(last - n, "refused", "") for n in range(dead)])

    async def requeued_delivered(self) -> None:
        """The dead letters that were requeued are in the bucket, and settled."""
        queue = await self.journal.queue("acme", "archive")
        stretch = await queue.read(0, ALL)
        assert stretch is not None
        await self.sink.write(Batch(source=ORIGIN, events=stretch.events, now=EPOCH))
        await queue.ack(stretch.last)

    def closing(self) -> Closing:
        """As after a start of the daemon."""
        return Closing(self.sink, "acme", "archive", self.desk.answer, structlog.get_logger())

    async def digest(self, day_number: int) -> Digest:
        """A day's digest, as it stands in the bucket."""
        body = await self.sink.note(path_of("acme", day(day_number)))
        assert body is not None, f"day {day_number} has no digest"
        return parse(body)

    async def gap(self, since: int, until: int) -> None:
        await self._source.gap(since, until, may_be_empty=True)


@contextlib.asynccontextmanager
async def lane_into(bucket: Bucket, state_dir: Path) -> AsyncIterator[Lane]:
    """Over a new journal."""
    sink = make_sink(bucket.url, bucket.name)
    journal = await SqliteJournal.open(state_dir, max_bytes=1 << 30)
    try:
        source, _ = await journal.source("acme", "acme.us.auth0.com")
        lane, _ = await journal.lane("acme", "archive")
        yield Lane(journal, (source, lane), sink, bucket)
    finally:
        await journal.close()
        await sink.close()
