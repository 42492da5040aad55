"""Where each lane stands, and what waits for it: from its start on, behind its position, and what is being written."""

from collections.abc import Callable, Sequence

from shipper.event import Event
from shipper.journal import Limits, Stretch
from shipper.journal.database import Database
from shipper.journal.pages import arrival
from shipper.journal.sieve import LOOK, Sieve, decoded, encoded, exactly, next_batch
from shipper.journal.stored_pages import StoredPages


class Lanes:
    """Works on the store's connection; `begin` and `move` within its transactions.

    now: milliseconds since 1970. moved: told a source's name when a lane of it has been looked for its start.
    """

    def __init__(self, db: Database, pages: StoredPages, now: Callable[[], int], moved: Callable[[str], None]) -> None:
        self._db = db
        self._pages = pages
        self._now = now
        self._moved = moved

    def begin(self, source: int, sink: str, start: str) -> None:
        """Makes the lane's row, or one that was forgotten new: at the oldest event, the end, or where `start` lies."""
        following, trimmed = self._db.rows("SELECT next, trimmed FROM source WHERE id = ?", source)[0]
        began = following - 1 if start == "latest" else trimmed
        pending = "" if start in ("earliest", "latest") else start
        self._db.execute(
            "INSERT INTO lane (source, sink, start, began, position, tallied) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (source, sink) DO UPDATE SET start = excluded.start, began = excluded.began,"
            " position = excluded.position, tallied = excluded.tallied, filtered = 0, given_up = 0, forgotten = 0,"
            " removed = 0, reserved_first = 0, reserved_last = 0",
            source, sink, pending, began, began, began,
        )  # fmt: skip
        if pending:
            self._seek(source, sink)

    def _seek(self, source: int, sink: str) -> None:
        """Moves a lane that has not reached its start yet past everything stored before it."""
        pending, position = self._lane(source, sink)[:2]
        stored = self._db.value("SELECT next - 1 FROM source WHERE id = ?", source)
        while pending and position < stored:
            for number, id_, time_ms in self._pages.look(source, position):
                if _reached(pending, id_, time_ms):
                    pending = ""
                    break
                position = number
        self._db.execute(
            "UPDATE lane SET start = ?, began = ?, position = ?, tallied = ? WHERE source = ? AND sink = ?",
            pending, position, position, position, source, sink,
        )  # fmt: skip

    def _lane(self, source: int, sink: str) -> tuple[str, int, int, int]:
        """Its start while that is pending, its position, and the range that is being written."""
        start, position, begins, ends = self._db.rows(
            "SELECT start, position, reserved_first, reserved_last FROM lane WHERE source = ? AND sink = ?",
            source, sink,
        )[0]  # fmt: skip
        return start, position, begins, ends

    def _started(self, name: str, sink: str) -> tuple[int, int, int, int, int] | None:
        """Source, its last number, the lane's position and its reserved range; None before the lane's start."""
        source, following = self._db.rows("SELECT id, next FROM source WHERE name = ?", name)[0]
        pending, position, begins, ends = self._lane(source, sink)
        if pending and position < following - 1:
            with self._db.transaction():
                self._seek(source, sink)
            self._moved(name)
            pending, position, begins, ends = self._lane(source, sink)
        return None if pending else (source, following - 1, position, begins, ends)

    def ready_in(self, name: str, sink: str, after: int, limits: Limits, sieve: Sieve | None) -> float | None:
        """Seconds until a batch behind this number is full or old enough; None where nothing waits."""
        lane = self._started(name, sink)
        if lane is None:
            return None
        source, stored, position, begins, _ = lane
        after = max(after, position)
        waiting = stored - after
        if waiting <= 0:
            return None
        if waiting >= (LOOK if sieve else limits.max_events) or begins == after + 1:
            return 0.0
        first, before, index = self._pages.index_of(source, after + 1)
        offset = after + 1 - first
        if sieve is None:
            raw_bytes = self._pages.raw_bytes_upto_end(source) - before - sum(index.lengths[:offset])
        elif not sieve.wants(index.types[offset]):
            return 0.0
        else:
            waiting, raw_bytes = sieve.waiting(self._pages, source, after)
        if waiting >= limits.max_events or raw_bytes + waiting * limits.overhead >= limits.max_bytes:
            return 0.0
        waited = (self._now() - arrival(index, offset)) / 1000
        # An event out of the future: the clock was set back, and how long it waits is not known.
        return max(0.0, limits.timeout_secs - waited) if waited >= 0 else 0.0

    def read(
        self,
        name: str,
        sink: str,
        after: int,
        limits: Limits,
        upto: int | None,
        without: Sequence[range],
        sieve: Sieve | None,
    ) -> Stretch | None:
        """The events behind this number: up to `upto`, else to the reserved range's end, else up to the limits.

        without: left out up to `upto`. A reserved range is without what was left out of it, whatever the sieve says.
        """
        lane = self._started(name, sink)
        if lane is None:
            return None
        source, last, position, begins, ends = lane
        after = max(after, position)
        if upto is None and begins == after + 1:
            upto, without = ends, self._reserved_without(source, sink)
        if upto is not None:
            last = upto
        elif begins > after:
            last = begins - 1
        if without and upto is not None:
            return exactly(self._pages, source, after, upto, without)
        if sieve is not None and upto is None:
            return next_batch(self._pages, source, after, last, limits, sieve.wants)
        events: list[Event] = []
        room = limits.max_bytes
        while after + len(events) < last:
            for event in self._pages.behind(source, after + len(events), last - after - len(events)):
                room -= len(event.raw) + limits.overhead
                if upto is None and events and (room < 0 or len(events) >= limits.max_events):
                    return Stretch(after + 1, events)
                events.append(event)
        return Stretch(after + 1, events) if events else None

    def _reserved_without(self, source: int, sink: str) -> Sequence[range]:
        return decoded(self._db.value("SELECT reserved_without FROM lane WHERE source = ? AND sink = ?", source, sink))

    def reserve(self, source: int, sink: str, first: int, last: int, left_out: Sequence[range]) -> bool:
        """Records the range that is about to be written, and what is left out of it; True: it was recorded already."""
        if self._lane(source, sink)[2:] == (first, last) and self._reserved_without(source, sink) == list(left_out):
            return True
        with self._db.transaction():
            self._db.execute(
                "UPDATE lane SET reserved_first = ?, reserved_last = ?, reserved_without = ?"
                " WHERE source = ? AND sink = ?",
                first, last, encoded(left_out), source, sink,
            )  # fmt: skip
        return False

    def move(self, source: int, sink: str, upto: int, tallied: int, left_out: Sequence[range]) -> None:
        """The position goes on to a number, never back; a reserved range up to there is done with."""
        self._db.execute(
            "UPDATE lane SET position = max(position, ?), tallied = ?, filtered = filtered + ?,"
            " reserved_first = CASE WHEN reserved_last <= ? THEN 0 ELSE reserved_first END,"
            " reserved_last = CASE WHEN reserved_last <= ? THEN 0 ELSE reserved_last END,"
            " reserved_without = CASE WHEN reserved_last <= ? THEN NULL ELSE reserved_without END"
            " WHERE source = ? AND sink = ?",
            upto, tallied, sum(map(len, left_out)), upto, upto, upto, source, sink,
        )  # fmt: skip


def _above(id_: str, highest: str) -> bool:
    return len(id_) == len(highest) and id_ > highest


def _reached(start: str, id_: str, time_ms: int) -> bool:
    kind, _, value = start.partition(":")
    return time_ms >= int(value) if kind == "time" else _above(id_, value)
