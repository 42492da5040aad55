"""Dead letters: events that a sink will never take, kept with the reason until someone decides.

A requeued one keeps its row and gets a number in its lane's queue, so that it goes out again behind everything that was
requeued before it; it leaves only when it is delivered, and rests again when it is refused again.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from zlib import crc32

import msgspec

from shipper.event import Event
from shipper.journal import Burial, DeadLetter, JournalDamagedError, Limits, NoRoomError, Stretch
from shipper.journal.database import Database

OVERHEAD = 256
"""What a dead letter takes beside its event and the destination's words, in bytes."""

_CHOSEN = (
    " FROM dead_letter WHERE ? IN ('', (SELECT s.name FROM source s WHERE s.id = dead_letter.source))"
    " AND ? IN ('', sink) AND ? IN ('', reason) AND at < ?"
    " AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))"
)


_REST_FOR_SOMEONE = (
    " AND queued IS NULL AND NOT (SELECT forgotten FROM lane l WHERE l.source = dead_letter.source"
    " AND l.sink = dead_letter.sink)"
)


class Chosen(msgspec.Struct, frozen=True):
    """Which dead letters: by their ids, or all that fit, "" standing for any; before: given up before (ms)."""

    source: str = ""
    sink: str = ""
    reason: str = ""
    ids: Sequence[int] | None = None
    before: int | None = None

    @property
    def values(self) -> tuple[object, ...]:
        """For the condition that chooses."""
        ids = None if self.ids is None else json.dumps(list(self.ids))
        return self.source, self.sink, self.reason, (1 << 62) if self.before is None else self.before, ids, ids


PerLane = dict[tuple[str, str], int]
"""How many, by source and sink."""


def in_words(lanes: PerLane) -> str:
    """For the audit list."""
    each = ", ".join(f"{count} of {source} to {sink}" for (source, sink), count in lanes.items())
    return each or "none"


class Letters:
    """Works on the store's connection, within its transactions. bytes: what all dead letters take."""

    def __init__(self, db: Database, max_bytes: int, now: Callable[[], int]) -> None:
        self._db = db
        self._max_bytes = max_bytes
        self._now = now
        self.bytes = self._measured()

    def _measured(self) -> int:
        size = "SELECT coalesce(sum(length(raw) + length(CAST(detail AS BLOB)) + ?), 0) FROM dead_letter"
        return int(self._db.value(size, OVERHEAD))

    def bury(self, source: int, sink: str, burials: Sequence[tuple[Burial, Event]]) -> int:
        """Adds dead letters. Returns their bytes, to be added once they are committed. Raises NoRoomError."""
        added = 0
        for burial, event in burials:
            self._db.execute(
                "INSERT INTO dead_letter (source, sink, number, event_id, time, date, type, reason, detail, at, raw,"
                " crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                source, sink, burial.number, event.id, event.time, event.date, event.type,
                burial.reason, burial.detail, self._now(), event.raw, crc32(event.raw),
            )  # fmt: skip
            self._count(source, sink, burial.reason, ever=1, kept=1)
            added += len(event.raw) + len(burial.detail.encode()) + OVERHEAD
        if added and self.bytes + added > self._max_bytes:
            raise NoRoomError(
                "journal_full", f"the dead letters have reached dead_letters_max_bytes ({self._max_bytes})"
            )
        return added

    def _count(self, source: int, sink: str, reason: str, *, ever: int = 0, kept: int) -> None:
        self._db.execute(
            "INSERT INTO dead_count (source, sink, reason, count, kept) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (source, sink, reason) DO UPDATE SET count = count + excluded.count,"
            " kept = kept + excluded.kept",
            source, sink, reason, ever, kept,
        )  # fmt: skip

    def listed(self, chosen: Chosen, after: int, limit: int, *, whole: bool = True) -> list[DeadLetter]:
        """The oldest that were chosen, behind an id; whole: with their events, which may be large."""
        names = dict(self._db.rows("SELECT id, name FROM source"))
        rows = self._db.rows(
            "SELECT source, id, sink, number, event_id, time, type, reason, detail, at,"
            " CASE WHEN ? THEN raw ELSE x'' END, queued IS NOT NULL, CASE WHEN ? THEN crc END"
            + _CHOSEN
            + " AND id > ? ORDER BY id LIMIT ?",
            whole,
            whole,
            *chosen.values,
            after,
            limit,
        )
        for row in rows:
            _expect_sound(row[1], row[-3], row[-1])
        return [DeadLetter(id_, names.get(source, "?"), *row) for source, id_, *row, _ in rows]

    def look_through(self) -> None:
        """Reads every event. Raises JournalDamagedError."""
        after = 0
        while some := self._db.rows("SELECT id, raw, crc FROM dead_letter WHERE id > ? ORDER BY id LIMIT 100", after):
            for id_, raw, crc in some:
                _expect_sound(id_, raw, crc)
            after = some[-1][0]

    # -- what an operator decides --------------------------------------------------------------------------------------

    def requeue(self, chosen: Chosen) -> PerLane:
        """Puts those that rest into their lanes' queues, oldest first. Returns how many of which lane."""
        rows = self._db.rows("SELECT id, source, sink" + _CHOSEN + _REST_FOR_SOMEONE + " ORDER BY id", *chosen.values)
        numbers: dict[tuple[int, str], int] = {}
        for id_, source, sink in rows:
            number = numbers.get((source, sink)) or self.queue(source, sink)[1] + 1
            self._db.execute("UPDATE dead_letter SET queued = ? WHERE id = ?", number, id_)
            numbers[source, sink] = number + 1
        for (source, sink), following in numbers.items():
            self._db.execute("UPDATE lane SET queue_next = ? WHERE source = ? AND sink = ?", following, source, sink)
        return self._named(Counter((source, sink) for _, source, sink in rows))

    def remove(self, chosen: Chosen) -> PerLane:
        """Gives up those that rest for good, counted. Returns how many of which lane."""
        found = self._db.rows(
            "SELECT source, sink, reason, count(*)" + _CHOSEN + " AND queued IS NULL GROUP BY source, sink, reason",
            *chosen.values,
        )
        self._db.execute("DELETE" + _CHOSEN + " AND queued IS NULL", *chosen.values)
        for source, sink, reason, count in found:
            self._count(source, sink, reason, kept=-count)
            self._db.execute("UPDATE lane SET removed = removed + ? WHERE source = ? AND sink = ?", count, source, sink)
        lanes: Counter[tuple[int, str]] = Counter()
        for source, sink, _, count in found:
            lanes[source, sink] += count
        return self._named(lanes)

    def _named(self, lanes: Mapping[tuple[int, str], int]) -> PerLane:
        names = dict(self._db.rows("SELECT id, name FROM source"))
        return {(names[source], sink): count for (source, sink), count in sorted(lanes.items())}

    def measure(self) -> None:
        """Once some have gone, and that is committed."""
        self.bytes = self._measured()

    # -- a lane's queue ------------------------------------------------------------------------------------------------

    def queue(self, source: int, sink: str) -> tuple[int, int]:
        """The position in a lane's queue, and the last number in it."""
        position, following = self._db.rows(
            "SELECT queue_position, queue_next FROM lane WHERE source = ? AND sink = ?", source, sink
        )[0]
        return position, following - 1

    def queued(self, source: int, sink: str, after: int, limits: Limits, upto: int | None) -> Stretch | None:
        """The requeued events behind a number: up to `upto`, else up to the limits."""
        events: list[Event] = []
        for number, id_, time, date, type_, raw, crc in self._db.rows(
            "SELECT id, event_id, time, date, type, raw, crc FROM dead_letter WHERE source = ? AND sink = ?"
            " AND queued > ? AND queued <= ? ORDER BY queued",
            source, sink, after, self._cut(source, sink, after, limits) if upto is None else upto,
        ):  # fmt: skip
            _expect_sound(number, raw, crc)
            events.append(Event(id_, time, date, type_, raw))
        return Stretch(after + 1, events) if events else None

    def _cut(self, source: int, sink: str, after: int, limits: Limits) -> int:
        """Up to which number a batch goes; lengths alone are read, since the events may be large."""
        last, room = after, limits.max_bytes
        for number, size in self._db.rows(
            "SELECT queued, length(raw) FROM dead_letter WHERE source = ? AND sink = ? AND queued > ? ORDER BY queued"
            " LIMIT ?",
            source, sink, after, limits.max_events,
        ):  # fmt: skip
            room -= size + limits.overhead
            if room < 0 and last > after:
                break
            last = number
        return last

    def settle_queue(
        self, source: int, sink: str, upto: int, dead: Collection[Burial]
    ) -> tuple[list[str], list[int], int]:
        """Those up to a number are delivered and leave; the dead ones rest again, for what was said this time.

        Returns ids and times of those that left, and how many bytes less all dead letters take, for `bytes`.
        """
        position, _ = self.queue(source, sink)
        freed = sum(self._rest_again(source, sink, burial) for burial in dead)
        delivered = self._db.rows(
            "SELECT reason, event_id, time, length(raw) + length(CAST(detail AS BLOB)) FROM dead_letter"
            " WHERE source = ? AND sink = ? AND queued > ? AND queued <= ?",
            source, sink, position, upto,
        )  # fmt: skip
        for reason, count in Counter(row[0] for row in delivered).items():
            self._count(source, sink, reason, kept=-count)
        self._db.execute(
            "DELETE FROM dead_letter WHERE source = ? AND sink = ? AND queued > ? AND queued <= ?",
            source, sink, position, upto,
        )  # fmt: skip
        self._db.execute(
            "UPDATE lane SET queue_position = max(queue_position, ?), requeued = requeued + ?"
            " WHERE source = ? AND sink = ?",
            upto, len(delivered), source, sink,
        )  # fmt: skip
        freed += sum(row[3] + OVERHEAD for row in delivered)
        return [row[1] for row in delivered], [row[2] for row in delivered], freed

    def _rest_again(self, source: int, sink: str, burial: Burial) -> int:
        freed = 0
        found = self._db.rows(
            "SELECT id, reason, length(CAST(detail AS BLOB)) FROM dead_letter WHERE source = ? AND sink = ?"
            " AND queued = ?",
            source, sink, burial.number,
        )  # fmt: skip
        for id_, reason, size in found:
            freed += size - len(burial.detail.encode())
            self._db.execute(
                "UPDATE dead_letter SET queued = NULL, reason = ?, detail = ?, at = ? WHERE id = ?",
                burial.reason, burial.detail, self._now(), id_,
            )  # fmt: skip
            self._count(source, sink, reason, kept=-1)
            self._count(source, sink, burial.reason, kept=1)
        return freed


def _expect_sound(id_: int, raw: object, crc: int | None) -> None:
    """SQLite has no checksums, and what the disk has changed must not go out as what the source sent."""
    # One bit makes SQLite take a blob for a text.
    if not isinstance(raw, bytes) or crc not in (None, crc32(raw)):
        raise JournalDamagedError(
            "io", f"dead letter {id_} is damaged on the disk: purge it; if it is queued, `shipper run --recover`"
        )
