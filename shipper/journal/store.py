"""What stands in the journal: sources, pages, lanes, dead letters; each public method is one whole transaction.

Nothing here is asynchronous: `sqlite.py` calls every method on one thread, so that no cancelled caller can split a
transaction. After each commit the figures of what changed are replaced, never altered, so that other threads may read
them at any time.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from shipper.event import Event, Page
from shipper.journal import (
    Appended,
    Burial,
    DeadLetter,
    Figures,
    JournalError,
    LaneFigures,
    Limits,
    NoRoomError,
    SourceFigures,
    Stretch,
    UnknownNameError,
    WrongTenantError,
)
from shipper.journal.database import Database
from shipper.journal.pages import Packed, arrival, pack, unpack, unpack_index
from shipper.journal.recent import Recent
from shipper.journal.upkeep import DEAD_LETTER_OVERHEAD, KNOWN_IDS, Upkeep
from shipper.reasons import Reason

SMALL_PAGE_EVENTS = 50
SMALL_PAGE_BYTES = 128 * 1024
"""A live tail comes in ones and twos, which compress badly: they join the newest page while it is small."""
RESUME_BELOW = 0.90
"""A full journal takes pages again below this share of its limit; delivered events never fill it further."""
PAGES_PER_TRIM = 500
PAGES_PER_LOOK = 500
HORIZON_EVERY_MS = 60_000

_FROM_PAGE_WITH = (
    " FROM page WHERE source = ? AND first >= (SELECT coalesce(max(first), 0) FROM page WHERE source = ?"
    " AND first <= ?) ORDER BY first"
)
"""Pages from the one that holds a number on, in a form that the index answers."""


_LANES = (
    "SELECT l.sink, l.began, l.position, l.filtered, l.given_up, l.forgotten, l.removed,"
    " (SELECT substr(p.times, 8 * (l.position + 1 - p.first) + 1, 8) FROM page p"
    " WHERE p.source = l.source AND p.first <= l.position + 1 ORDER BY p.first DESC LIMIT 1)"
    " FROM lane l WHERE l.source = ? ORDER BY l.sink"
)
"""With the time of the event behind the position."""


class Store:
    """The journal's content; not for use by two threads at once. clock: seconds since 1970."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        keep_days: float = 3.0,
        dead_letters_max_bytes: int = 1 << 30,
        clock: Callable[[], float] = time.time,
        observe: Callable[[float], None] = lambda _secs: None,
    ) -> None:
        self._db = Database(path, observe)
        self._max_bytes = max_bytes
        self._keep_ms = int(keep_days * 86_400_000)
        self._dead_max_bytes = dead_letters_max_bytes
        self._clock = clock
        self._full = False
        self._sources: dict[str, SourceFigures] = {}
        self._horizons: dict[str, int] = {}
        self._recent = Recent()
        self._upkeep = Upkeep(self._db, clock)
        self._dead_bytes: int = self._db.value(
            "SELECT coalesce(sum(length(raw) + length(CAST(detail AS BLOB)) + ?), 0) FROM dead_letter",
            DEAD_LETTER_OVERHEAD,
        )
        self.figures = self._all_figures([name for (name,) in self._db.rows("SELECT name FROM source")])

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    # -- sources -------------------------------------------------------------------------------------------------------

    def open_source(self, name: str, tenant: str) -> str:
        """Registers the source; the same tenant under a new name goes on where it stood. Returns its former name.

        Raises WrongTenantError where the name belongs to another tenant.
        """
        known = dict(self._db.rows("SELECT name, tenant FROM source"))
        if known.get(name, tenant) != tenant:
            raise WrongTenantError(
                "operator",
                f"sources.{name}: the journal knows this name as {known[name]}, but the configuration says {tenant}: "
                "give the new tenant a name of its own",
            )
        former = next((old for old, of in known.items() if of == tenant), name)
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO source (tenant, name) VALUES (?, ?)"
                " ON CONFLICT (tenant) DO UPDATE SET name = excluded.name",
                tenant,
                name,
            )
        self._sources.pop(former, None)
        self.figures = self._all_figures([name])
        return former

    def begin(self, name: str, start: str, checkpoint: bytes, horizon: int) -> None:
        """Commits the resolved start of a source that has none yet."""
        with self._db.transaction():
            self._db.execute(
                "UPDATE source SET start = ?, checkpoint = ?, horizon = ? WHERE name = ? AND checkpoint IS NULL",
                start,
                checkpoint,
                horizon,
                name,
            )
        self.figures = self._all_figures([name])

    def append(self, name: str, page: Page) -> Appended:
        """Stores what is new in the page, and its checkpoint, in one transaction."""
        with self._db.transaction():
            source, number, highest, known_from = self._db.rows(
                "SELECT id, next, highest, known_from FROM source WHERE name = ?", name
            )[0]
            fresh = self._fresh(source, page, highest, number, known_from)
            grown = self._add(source, number, fresh) if fresh else 0
            self._db.execute(
                "UPDATE source SET next = next + ?, bytes = bytes + ?, checkpoint = ?, highest = ?,"
                " horizon = max(coalesce(horizon, 0), ?) WHERE id = ?",
                len(fresh),
                grown,
                page.checkpoint,
                max(highest, page.highest, key=_rank),
                page.horizon,
                source,
            )
        if fresh:
            self._recent.put(source, number, fresh)
        self.figures = self._all_figures([name])
        return Appended(len(fresh), len(page.events) - len(fresh))

    def _fresh(self, source: int, page: Page, highest: str, number: int, known_from: int) -> list[Event]:
        """The page's events that are not stored yet, each once."""
        if _all_above([event.id for event in page.events], highest, page.highest):
            return list(page.events)
        seen = self._known_ids(source, max(known_from, number - KNOWN_IDS))
        fresh = []
        for event in page.events:
            if event.id not in seen:
                seen.add(event.id)
                fresh.append(event)
        return fresh

    def _known_ids(self, source: int, since: int) -> set[str]:
        known: set[str] = set()
        for first, idx in self._db.rows("SELECT first, idx" + _FROM_PAGE_WITH, source, source, since):
            known.update(unpack_index(idx).ids[max(0, since - first) :])
        return known

    def _add(self, source: int, number: int, events: list[Event]) -> int:
        """Adds the events, to the newest page while that is small. Returns by how many bytes the pages grew."""
        now = self._now()
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
                return self._join(source, first, old, events, now)
            before += old.raw_bytes
        new = pack(events, now)
        self._db.execute(
            "INSERT INTO page (source, first, count, raw_before, raw_bytes, stored, times, idx, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            source, number, new.count, before, new.raw_bytes, now, new.times, new.index, new.body,
        )  # fmt: skip
        return new.size

    def _join(self, source: int, first: int, old: Packed, events: list[Event], now: int) -> int:
        new = pack(events, now, behind=old)
        self._db.execute(
            "UPDATE page SET count = ?, raw_bytes = ?, stored = ?, times = ?, idx = ?, body = ?"
            " WHERE source = ? AND first = ?",
            new.count, new.raw_bytes, now, new.times, new.index, new.body, source, first,
        )  # fmt: skip
        return new.size - old.size

    def caught_up(self, name: str, horizon: int) -> None:
        """Everything up to the horizon is held. Kept in the figures at once, in the file at most every minute."""
        if horizon >= self._horizons.get(name, 0) + HORIZON_EVERY_MS:
            with self._db.transaction():
                self._db.execute(
                    "UPDATE source SET horizon = max(coalesce(horizon, 0), ?) WHERE name = ?", horizon, name
                )
            self._horizons[name] = horizon
        self.figures = self._all_figures([name], horizon=horizon)

    # -- lanes ---------------------------------------------------------------------------------------------------------

    def open_lane(self, name: str, sink: str, start: str) -> bool:
        """Registers the lane; True where it is new.

        start: "earliest", "latest", "time:MILLISECONDS" or "id:EVENT_ID"; only for a lane that is new.
        """
        source, following, trimmed = self._db.rows("SELECT id, next, trimmed FROM source WHERE name = ?", name)[0]
        known = self._db.value("SELECT forgotten FROM lane WHERE source = ? AND sink = ?", source, sink)
        if known == 0:
            return False
        began = following - 1 if start == "latest" else trimmed
        pending = "" if start in ("earliest", "latest") else start
        with self._db.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO lane (source, sink, start, began, position) VALUES (?, ?, ?, ?, ?)",
                source, sink, pending, began, began,
            )  # fmt: skip
            self._db.execute("UPDATE dead_count SET count = 0 WHERE source = ? AND sink = ?", source, sink)
            if pending:
                self._seek(source, sink)
        self.figures = self._all_figures([name])
        return True

    def _seek(self, source: int, sink: str) -> None:
        """Moves a lane that has not reached its start yet past everything stored before it."""
        pending, position = self._lane(source, sink)[:2]
        stored = self._db.value("SELECT next - 1 FROM source WHERE id = ?", source)
        while pending and position < stored:
            pages = self._db.rows(
                "SELECT first, times, idx" + _FROM_PAGE_WITH + " LIMIT ?", source, source, position + 1, PAGES_PER_LOOK
            )
            for number, id_, time_ms in _behind(position, pages):
                if _reached(pending, id_, time_ms):
                    pending = ""
                    break
                position = number
        self._db.execute(
            "UPDATE lane SET start = ?, began = ?, position = ? WHERE source = ? AND sink = ?",
            pending, position, position, source, sink,
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
            self.figures = self._all_figures([name])
            pending, position, begins, ends = self._lane(source, sink)
        return None if pending else (source, following - 1, position, begins, ends)

    def ready_in(self, name: str, sink: str, after: int, limits: Limits) -> float | None:
        """Seconds until a batch behind this number is full or old enough; None where nothing waits."""
        lane = self._started(name, sink)
        if lane is None:
            return None
        source, stored, position, begins, _ = lane
        after = max(after, position)
        waiting = stored - after
        if waiting <= 0:
            return None
        if waiting >= limits.max_events or begins == after + 1:
            return 0.0
        first, before, idx = self._db.rows(
            "SELECT first, raw_before, idx FROM page WHERE source = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            source, after + 1,
        )[0]  # fmt: skip
        index, offset = unpack_index(idx), after + 1 - first
        end = self._db.value(
            "SELECT raw_before + raw_bytes FROM page WHERE source = ? ORDER BY first DESC LIMIT 1", source
        )
        if end - before - sum(index.lengths[:offset]) + waiting * limits.overhead >= limits.max_bytes:
            return 0.0
        waited = (self._now() - arrival(index, offset)) / 1000
        # An event out of the future: the clock was set back, and how long it waits is not known.
        return max(0.0, limits.timeout_secs - waited) if waited >= 0 else 0.0

    def read(self, name: str, sink: str, after: int, limits: Limits, upto: int | None = None) -> Stretch | None:
        """The events behind this number: up to `upto`, else to the reserved range's end, else up to the limits."""
        lane = self._started(name, sink)
        if lane is None:
            return None
        source, last, position, begins, ends = lane
        after = max(after, position)
        if upto is None and begins == after + 1:
            upto = ends
        if upto is not None:
            last = upto
        elif begins > after:
            last = begins - 1
        events: list[Event] = []
        room = limits.max_bytes
        while after + len(events) < last:
            for event in self._events_behind(source, after + len(events), last - after - len(events)):
                room -= len(event.raw) + limits.overhead
                if upto is None and events and (room < 0 or len(events) >= limits.max_events):
                    return Stretch(after + 1, events)
                events.append(event)
        return Stretch(after + 1, events) if events else None

    def _events_behind(self, source: int, number: int, most: int) -> Sequence[Event]:
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

    def reserve(self, name: str, sink: str, first: int, last: int) -> bool:
        """Records the range that is about to be written; True: it was recorded already."""
        source = self._db.value("SELECT id FROM source WHERE name = ?", name)
        if self._lane(source, sink)[2:] == (first, last):
            return True
        with self._db.transaction():
            self._db.execute(
                "UPDATE lane SET reserved_first = ?, reserved_last = ? WHERE source = ? AND sink = ?",
                first, last, source, sink,
            )  # fmt: skip
        return False

    def ack(self, name: str, sink: str, upto: int, dead: Sequence[Burial]) -> None:
        """Moves the lane's position and buries the named events, in one transaction.

        Raises NoRoomError where the dead letters are at their limit: nothing was changed then.
        """
        source, following = self._db.rows("SELECT id, next FROM source WHERE name = ?", name)[0]
        position = self._lane(source, sink)[1]
        if upto >= following or not all(position < burial.number <= upto for burial in dead):
            raise JournalError("bug", f"an ack of what does not wait: up to {upto} of {following - 1}, at {position}")
        added = 0
        with self._db.transaction():
            self._db.execute(
                "UPDATE lane SET position = ? WHERE source = ? AND sink = ? AND position < ?", upto, source, sink, upto
            )
            self._db.execute(
                "UPDATE lane SET reserved_first = 0, reserved_last = 0"
                " WHERE source = ? AND sink = ? AND reserved_last <= ?",
                source, sink, upto,
            )  # fmt: skip
            for burial in dead:
                added += self._bury(source, sink, burial)
            if added and self._dead_bytes + added > self._dead_max_bytes:
                limit = self._dead_max_bytes
                raise NoRoomError("journal_full", f"the dead letters have reached dead_letters_max_bytes ({limit})")
        self._dead_bytes += added
        self.figures = self._all_figures([name])

    def _bury(self, source: int, sink: str, burial: Burial) -> int:
        event = self._events_behind(source, burial.number - 1, 1)[0]
        self._db.execute(
            "INSERT INTO dead_letter (source, sink, number, event_id, time, date, type, reason, detail, at, raw)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            source, sink, burial.number, event.id, event.time, event.date, event.type,
            burial.reason, burial.detail, self._now(), event.raw,
        )  # fmt: skip
        self._db.execute(
            "INSERT INTO dead_count (source, sink, reason, count, kept) VALUES (?, ?, ?, 1, 1)"
            " ON CONFLICT (source, sink, reason) DO UPDATE SET count = count + 1, kept = kept + 1",
            source, sink, burial.reason,
        )  # fmt: skip
        return len(event.raw) + len(burial.detail.encode()) + DEAD_LETTER_OVERHEAD

    def dead_letters(
        self, *, source: str = "", sink: str = "", reason: str = "", limit: int = 1000
    ) -> list[DeadLetter]:
        """The oldest dead letters that fit, "" standing for any."""
        return [
            DeadLetter(*row)
            for row in self._db.rows(
                "SELECT d.id, s.name, sink, number, event_id, time, type, reason, detail, at, raw"
                " FROM dead_letter d JOIN source s ON s.id = d.source"
                " WHERE ? IN ('', s.name) AND ? IN ('', sink) AND ? IN ('', reason) ORDER BY d.id LIMIT ?",
                source,
                sink,
                reason,
                limit,
            )
        ]

    # -- space ---------------------------------------------------------------------------------------------------------

    def trim(self) -> bool:
        """Gives up the bytes of delivered events that are too old, or whose space is needed; True: call it again."""
        tight = self._db.used_bytes() >= self._max_bytes * RESUME_BELOW
        before = None if tight else self._now() - self._keep_ms
        trimmed = 0
        for name in list(self._sources):
            pages = self._upkeep.trim(name, before, PAGES_PER_TRIM - trimmed)
            if pages:
                trimmed += pages
                self.figures = self._all_figures([name])
        return trimmed >= PAGES_PER_TRIM

    # -- upkeep --------------------------------------------------------------------------------------------------------

    def set_checkpoint(self, name: str, checkpoint: bytes, audit: str, who: str) -> None:
        """Again from here: known ids are forgotten, so what comes again is stored again."""
        self._upkeep.set_checkpoint(name, checkpoint, audit, who)
        self.figures = self._all_figures([name])

    def forget_sink(self, sink: str, who: str) -> int:
        """Gives up what waits for this sink, in every lane. Returns how many events. Raises UnknownNameError."""
        waiting = self._upkeep.forget_sink(sink, who)
        self.figures = self._all_figures(list(self._sources))
        return waiting

    def forget_source(self, name: str, who: str) -> int:
        """Gives up the source's place and all its events; it would begin anew. Returns how many events waited."""
        if name not in self._sources:
            raise UnknownNameError("operator", f"the journal has no source {name!r}")
        waiting = sum(lane.lag for lane in self._sources.pop(name).lanes.values())
        self._upkeep.forget_source(name, waiting, who)
        self.figures = self._all_figures([name])
        return waiting

    def rename_sink(self, old: str, new: str, who: str) -> None:
        """Carries a sink's places and dead letters to a new name. Raises UnknownNameError."""
        self._upkeep.rename_sink(old, new, who)
        self.figures = self._all_figures(list(self._sources))

    def remove_old_dead_letters(self, before: int) -> int:
        """Removes dead letters that were given up before this time (milliseconds), counted. Returns how many."""
        removed, size = self._upkeep.remove_old_dead_letters(before)
        if removed:
            self._dead_bytes -= size
            self.figures = self._all_figures(list(self._sources))
        return removed

    # -- figures -------------------------------------------------------------------------------------------------------

    def _all_figures(self, changed: Sequence[str], horizon: int | None = None) -> Figures:
        for name in changed:
            self._sources[name] = self._figures_of(name, horizon)
        used = self._db.used_bytes()
        self._full = used >= self._max_bytes * (RESUME_BELOW if self._full else 1)
        sources = dict(self._sources)
        if self._full:
            behind = [source for source in sources.values() if _has_backlog(source)]
            share = min(self._max_bytes, sum(source.bytes for source in behind)) / max(1, len(sources))
            for source in behind:
                if source.bytes >= share:
                    sources[source.name] = msgspec.structs.replace(source, paused=True)
        return Figures(sources, used, self._max_bytes, self._full, self._dead_bytes)

    def _figures_of(self, name: str, horizon: int | None) -> SourceFigures:
        source, tenant, following, checkpoint, start, stored_horizon, size = self._db.rows(
            "SELECT id, tenant, next, checkpoint, start, horizon, bytes FROM source WHERE name = ?", name
        )[0]
        dead: dict[str, dict[Reason, int]] = {}
        kept: dict[str, int] = {}
        for sink, reason, count, still in self._db.rows(
            "SELECT sink, reason, count, kept FROM dead_count WHERE source = ?", source
        ):
            dead.setdefault(sink, {})[reason] = count
            kept[sink] = kept.get(sink, 0) + still
        stored = following - 1
        lanes = {
            sink: LaneFigures(
                sink,
                began,
                position,
                lag := 0 if forgotten else stored - position,
                _time_at(oldest, 0) if lag else None,
                filtered,
                dead.get(sink, {}),
                kept.get(sink, 0),
                given_up,
                removed,
            )
            for sink, began, position, filtered, given_up, forgotten, removed, oldest in self._db.rows(_LANES, source)
        }
        known = self._sources[name].horizon if name in self._sources else None
        latest = max((at for at in (stored_horizon, known, horizon) if at is not None), default=None)
        return SourceFigures(name, tenant, stored, checkpoint, start, latest, bytes=size, paused=False, lanes=lanes)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _has_backlog(source: SourceFigures) -> bool:
    return not source.lanes or any(lane.lag for lane in source.lanes.values())


def _above(id_: str, highest: str) -> bool:
    return len(id_) == len(highest) and id_ > highest


def _rank(id_: str) -> tuple[int, str]:
    return len(id_), id_


def _all_above(ids: list[str], stored: str, highest: str) -> bool:
    """Whether these, each once, are above the highest stored id and not above their page's own highest one.

    An id above that one is none that the source orders: it would look new again when it comes again.
    """
    return (
        len(set(ids)) == len(ids)
        and set(map(len, ids)) == {len(stored)} == {len(highest)}
        and min(ids) > stored
        and max(ids) <= highest
    )


def _time_at(times: bytes, offset: int) -> int:
    return int.from_bytes(times[8 * offset : 8 * offset + 8], "little", signed=True)


def _behind(position: int, pages: Sequence[tuple[int, bytes, bytes]]) -> Iterator[tuple[int, str, int]]:
    """Number, id and time of each event of these pages behind a position."""
    for first, times, idx in pages:
        ids = unpack_index(idx).ids
        for offset in range(max(0, position + 1 - first), len(ids)):
            yield first + offset, ids[offset], _time_at(times, offset)


def _reached(start: str, id_: str, time_ms: int) -> bool:
    kind, _, value = start.partition(":")
    return time_ms >= int(value) if kind == "time" else _above(id_, value)
