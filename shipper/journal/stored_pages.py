"""The pages in the file: adding events to them, and finding events again by their numbers."""

from collections.abc import Iterator, Sequence

from shipper.event import Event
from shipper.journal import JournalError
from shipper.journal.database import Database
from shipper.journal.pages import Index, Packed, pack, unpack, unpack_index
from shipper.journal.recent import Recent

SMALL_PAGE_EVENTS = 50
SMALL_PAGE_BYTES = 128 * 1024
"""A live tail comes in ones and twos, which compress badly: they join the newest page while it is small."""

PAGES_PER_LOOK = 500
"""So many are looked through at once: what they hold beside their events is in memory then."""

FROM_PAGE_WITH = (
    " FROM page WHERE source = ? AND first >= (SELECT coalesce(max(first), 0) FROM page WHERE source = ?"
    " AND first <= ?) ORDER BY first"
)
"""Pages from the one that holds a number on, in a form that the index answers."""


class StoredPages:
    """Works on the store's connection, within its transactions."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._recent = Recent()

    def add(
        self, source: int, number: int, events: Sequence[Event], tally: bytes, checkpoint: bytes | None, now: int
    ) -> int:
        """Adds events from this number on, to the newest page while that is small. Returns by how much pages grew.

        tally: theirs, encoded. checkpoint: where the source resumes behind these; None where it has no such place
        (events that came late).
        """
        newest = self._db.rows(
            "SELECT first, raw_before, count, raw_bytes, times, idx,"
            " CASE WHEN count < ? AND raw_bytes < ? THEN body END"
            " FROM page WHERE source = ? ORDER BY first DESC LIMIT 1",
            SMALL_PAGE_EVENTS, SMALL_PAGE_BYTES, source,
        )  # fmt: skip
        before = 0
        if newest:
            first, before, *columns = newest[0]
            old = Packed(*columns)
            if old.body is not None:  # small, and not trimmed
                return self._join(source, first, old, events, checkpoint, now)
            before += old.raw_bytes
        new = pack(events, now)
        self._db.execute(
            "INSERT INTO page (source, first, count, raw_before, raw_bytes, stored, times, idx, body, tally,"
            " checkpoint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            source, number, new.count, before, new.raw_bytes, now, new.times, new.index, new.body,
            tally, checkpoint,
        )  # fmt: skip
        return new.size

    def _join(
        self, source: int, first: int, old: Packed, events: Sequence[Event], checkpoint: bytes | None, now: int
    ) -> int:
        new = pack(events, now, behind=old)
        # What the page's tally was is not worth keeping up: small pages are counted again when they are settled.
        self._db.execute(
            "UPDATE page SET count = ?, raw_bytes = ?, stored = ?, times = ?, idx = ?, body = ?, tally = NULL,"
            " checkpoint = coalesce(?, checkpoint) WHERE source = ? AND first = ?",
            new.count, new.raw_bytes, now, new.times, new.index, new.body, checkpoint, source, first,
        )  # fmt: skip
        return new.size - old.size

    def remember(self, source: int, number: int, events: Sequence[Event]) -> None:
        """These are committed: keeps the newest at hand."""
        self._recent.put(source, number, events)

    def ids_since(self, source: int, number: int) -> set[str]:
        """The ids of all events from this number on, as far as they are known."""
        known: set[str] = set()
        for first, idx in self._db.rows("SELECT first, idx" + FROM_PAGE_WITH, source, source, number):
            known.update(unpack_index(idx).ids[max(0, number - first) :])
        return known

    def id_at(self, source: int, number: int) -> str | None:
        """An event's id, None where it is no longer known."""
        found = self.columns(source, number, number)
        return found[0][0] if found[0] else None

    def columns(self, source: int, first: int, last: int) -> tuple[list[str], list[int]]:
        """Ids and times of these events, as far as they are known."""
        recent = self._recent.behind(source, first - 1, last - first + 1)
        if len(recent) == last - first + 1:
            return [event.id for event in recent], [event.time for event in recent]
        ids: list[str] = []
        times: list[int] = []
        for page, stored_times, idx in self._db.rows(
            "SELECT first, times, idx FROM page WHERE source = ? AND first <= ? AND first + count > ? ORDER BY first",
            source, last, first,
        ):  # fmt: skip
            a, b = max(0, first - page), last - page + 1
            some = unpack_index(idx).ids[a:b]
            ids += some
            times += [time_at(stored_times, a + i) for i in range(len(some))]
        return ids, times

    def times_upto(self, source: int, last: int) -> Iterator[int]:
        """The times of the events up to this number, as far as they are known."""
        for (times,) in self._db.rows("SELECT times FROM page WHERE source = ? AND first <= ?", source, last):
            for offset in range(len(times) // 8):
                yield time_at(times, offset)

    def behind(self, source: int, number: int, most: int) -> Sequence[Event]:
        """At least one and at most so many events behind this number, as far as their page goes."""
        recent = self._recent.behind(source, number, most)
        if recent:
            return recent
        rows = self._db.rows(
            "SELECT first, times, idx, body FROM page WHERE source = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            source, number + 1,
        )  # fmt: skip
        if rows and rows[0][3] is not None:
            first, times, idx, body = rows[0]
            events = unpack(times, idx, body, number + 1 - first, most)
            if events:
                return events
        raise JournalError("bug", f"event {number + 1} is not there although its lane has not settled it")

    def look(self, source: int, position: int) -> Iterator[tuple[int, str, int]]:
        """Number, id and time of each event behind a position, some pages far."""
        for first, times, idx in self._db.rows(
            "SELECT first, times, idx" + FROM_PAGE_WITH + " LIMIT ?", source, source, position + 1, PAGES_PER_LOOK
        ):
            ids = unpack_index(idx).ids
            for offset in range(max(0, position + 1 - first), len(ids)):
                yield first + offset, ids[offset], time_at(times, offset)

    def kinds(self, source: int, number: int) -> Iterator[tuple[str, int]]:
        """Type and length of each event behind a number."""
        for first, idx in self._db.rows("SELECT first, idx" + FROM_PAGE_WITH, source, source, number + 1):
            index = unpack_index(idx)
            skip = max(0, number + 1 - first)
            yield from zip(index.types[skip:], index.lengths[skip:], strict=True)

    def of_time(
        self, source: int, number: int, since: int, until: int, limit: int
    ) -> tuple[list[tuple[int, Event]], int]:
        """Events of a time range (ms) behind a number, with theirs, and how far it was looked: at the limit, or so."""
        found: list[tuple[int, Event]] = []
        for first, last, touched in self._touching(source, number, since, until):
            if touched:
                at = first - 1
                while at < last:
                    for event in self.behind(source, at, last - at):
                        at += 1
                        if since <= event.time < until:
                            found.append((at, event))
            number = last
            if len(found) >= limit:
                break
        return found, number

    def _touching(self, source: int, number: int, since: int, until: int) -> Iterator[tuple[int, int, bool]]:
        """First and last event of each page behind a number, some pages far, and whether any of it is of this time."""
        for first, count, times in self._db.rows(
            "SELECT first, count, times" + FROM_PAGE_WITH + " LIMIT ?", source, source, number + 1, PAGES_PER_LOOK
        ):
            if first + count - 1 > number:
                moments = [time_at(times, offset) for offset in range(count)]
                touched = any(since <= moment < until for moment in moments)
                yield max(first, number + 1), first + count - 1, touched

    def look_into(self, source: int, first: int) -> None:
        """Raises JournalDamagedError where a page can't be read."""
        times, idx, body = self._db.rows(
            "SELECT times, idx, body FROM page WHERE source = ? AND first = ?", source, first
        )[0]  # fmt: skip
        if body is None:
            unpack_index(idx)
        else:
            unpack(times, idx, body, 0, len(times))

    def index_of(self, source: int, number: int) -> tuple[int, int, Index]:
        """The page that holds this event: its first number, the bytes before it, and its index."""
        first, before, idx = self._db.rows(
            "SELECT first, raw_before, idx FROM page WHERE source = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            source, number,
        )[0]  # fmt: skip
        return first, before, unpack_index(idx)

    def raw_bytes_upto_end(self, source: int) -> int:
        """Bytes of all the source's events ever stored."""
        end = "SELECT raw_before + raw_bytes FROM page WHERE source = ? ORDER BY first DESC LIMIT 1"
        return int(self._db.value(end, source) or 0)


def time_at(times: bytes, offset: int) -> int:
    """The time of the event at this offset of its page, milliseconds since 1970 UTC."""
    return int.from_bytes(times[8 * offset : 8 * offset + 8], "little", signed=True)
