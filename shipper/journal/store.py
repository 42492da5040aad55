"""What stands in the journal: sources, pages, lanes, dead letters; each public method is one whole transaction.

Its parts share one connection: `intake` knows what a page brings, `lanes` what waits for whom, `letters` the dead ones,
`ledger` the counts by hour, `room` a full disk, `upkeep` what is given up, `census` the figures. Here they meet.

Nothing here is asynchronous: `sqlite.py` calls every method on one thread, so that no cancelled caller can split a
transaction. After each commit the figures of what changed are replaced, never altered, so that other threads may read
them at any time.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from shipper.event import Event, Page
from shipper.journal import (
    Appended,
    Burial,
    DeadLetter,
    JournalDamagedError,
    JournalError,
    Limits,
    Settled,
    Stretch,
    UnknownNameError,
    expect_tenant,
)
from shipper.journal.census import Census
from shipper.journal.database import Database
from shipper.journal.intake import Intake
from shipper.journal.lanes import Lanes
from shipper.journal.ledger import REQUEUED, Entry, Ledger
from shipper.journal.letters import Chosen, Letters, in_words
from shipper.journal.room import Room
from shipper.journal.sieve import Sieve
from shipper.journal.stored_pages import StoredPages
from shipper.journal.upkeep import KNOWN_IDS, Upkeep
from shipper.tally import tallies

T = TypeVar("T")

PAGES_PER_TRIM = 500
HORIZON_EVERY_MS = 60_000
BEYOND_LIMIT_BYTES = 64 << 20
"""How far the file may grow beyond what the limits promise: a page in hand, indexes, the ledger."""


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
        self._db = Database(path, observe, max_bytes + max_bytes // 10 + dead_letters_max_bytes + BEYOND_LIMIT_BYTES)
        self._keep_ms = int(keep_days * 86_400_000)
        self._clock = clock
        self.room = Room(self._db)
        self._horizons: dict[str, int] = {}
        self._pages = StoredPages(self._db)
        self._ledger = Ledger(self._db, self._pages)
        self._letters = Letters(self._db, dead_letters_max_bytes, self._now)
        self._intake = Intake(self._db, self._pages, self._ledger, self._now)
        self._lanes = Lanes(self._db, self._pages, self._now, self._changed)
        self._upkeep = Upkeep(self._db, self._ledger, clock)
        self._census = Census(self._db, max_bytes, self._letters, lambda: self.room.cramped)
        self.figures = self._census.take([name for (name,) in self._db.rows("SELECT name FROM source")])

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    # -- sources -------------------------------------------------------------------------------------------------------

    def open_source(self, name: str, tenant: str) -> str:
        """Registers the source; the same tenant under a new name goes on where it stood. Returns its former name.

        Raises WrongTenantError where the name belongs to another tenant.
        """
        known = dict(self._db.rows("SELECT name, tenant FROM source"))
        expect_tenant(known, name, tenant)
        former = next((old for old, of in known.items() if of == tenant), name)
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO source (tenant, name) VALUES (?, ?)"
                " ON CONFLICT (tenant) DO UPDATE SET name = excluded.name",
                tenant,
                name,
            )
            self._ledger.catch_up_source(self._id(name))
        self._horizons.pop(name, None)  # another tenant's, perhaps, that had this name before
        self.figures = self._census.take([name], gone=former)
        return former

    def begin(self, name: str, start: str, checkpoint: bytes, horizon: int) -> None:
        """Commits the resolved start of a source that has none yet."""
        with self._db.transaction():
            self._db.execute(
                "UPDATE source SET start = ?, checkpoint = ?, horizon = ?, began_checkpoint = ?, began_horizon = ?"
                " WHERE name = ? AND checkpoint IS NULL",
                start, checkpoint, horizon, checkpoint, horizon, name,
            )  # fmt: skip
        self._changed(name)

    def append(self, name: str, page: Page) -> Appended:
        """Stores what is new in the page, and its checkpoint, in one transaction. Raises NoRoomError.

        A late page moves neither checkpoint nor horizon; where `--recover` resumes stays before it until it is settled.
        """
        appended = self.room.for_page(partial(self._intake.append, name, page))
        self._changed(name)
        return appended

    def caught_up(self, name: str, horizon: int) -> None:
        """Everything up to the horizon is held. Kept in the figures at once, in the file at most every minute."""
        if horizon >= self._horizons.get(name, 0) + HORIZON_EVERY_MS:
            with self._db.transaction():
                self._db.execute(
                    "UPDATE source SET horizon = max(coalesce(horizon, 0), ?) WHERE name = ?", horizon, name
                )
            self._horizons[name] = horizon
        self.figures = self._census.take([name], horizon=horizon)

    def gap(self, name: str, since: int, until: int, may_be_empty: bool) -> None:
        """What the source's retention took before we came; the horizon moves behind it, so that it is told once."""
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO gap (source, since, until, at, may_be_empty) VALUES (?, ?, ?, ?, ?)",
                self._id(name), since, until, self._now(), may_be_empty,
            )  # fmt: skip
            self._db.execute(
                "UPDATE source SET gaps = gaps + 1, horizon = max(coalesce(horizon, 0), ?) WHERE name = ?", until, name
            )
        self.figures = self._census.take([name], horizon=until)

    def known_since(self, name: str, back: int) -> str | None:
        """The id of the event that stands so many before the newest one, or of the oldest known one."""
        source, following, known_from = self._db.rows(
            "SELECT id, next, known_from FROM source WHERE name = ?", name
        )[0]  # fmt: skip
        number = max(following - 1 - min(back, KNOWN_IDS - 1), known_from, 1)
        return self._pages.id_at(source, number) if number < following else None

    def newest_types(self, name: str, most: int) -> Counter[str]:
        """How often each type stands among the newest events, at most so many, as far as they are known."""
        newest: Counter[str] = Counter()
        for source, following in self._db.rows("SELECT id, next FROM source WHERE name = ?", name):
            newest.update(type_ for type_, _ in self._pages.kinds(source, max(0, following - 1 - most)))
        return newest

    # -- lanes ---------------------------------------------------------------------------------------------------------

    def open_lane(self, name: str, sink: str, start: str) -> bool:
        """Registers the lane; True where it is new.

        start: "earliest", "latest", "time:MILLISECONDS" or "id:EVENT_ID"; only for a lane that is new.
        """
        source = self._db.rows("SELECT id FROM source WHERE name = ?", name)[0][0]
        new: bool = self._db.value("SELECT forgotten FROM lane WHERE source = ? AND sink = ?", source, sink) != 0
        with self._db.transaction():
            if new:
                self._lanes.begin(source, sink, start)
                self._db.execute("UPDATE dead_count SET count = 0 WHERE source = ? AND sink = ?", source, sink)
            else:
                self._ledger.catch_up_lane(source, sink)
        self._changed(name)
        return new

    def ready_in(self, name: str, sink: str, after: int, limits: Limits, sieve: Sieve | None = None) -> float | None:
        """Seconds until a batch behind this number is full or old enough; None where nothing waits."""
        return self._lanes.ready_in(name, sink, after, limits, sieve)

    def read(
        self,
        name: str,
        sink: str,
        after: int,
        limits: Limits,
        upto: int | None = None,
        without: Sequence[range] = (),
        sieve: Sieve | None = None,
    ) -> Stretch | None:
        """The events behind this number: up to `upto`, else to the reserved range's end, else up to the limits."""
        return self._lanes.read(name, sink, after, limits, upto, without, sieve)

    def reserve(self, name: str, sink: str, first: int, last: int, left_out: Sequence[range] = ()) -> bool:
        """Records the range that is about to be written, and what is left out of it; True: it was recorded already."""
        return self._lanes.reserve(self._id(name), sink, first, last, left_out)

    def ack(self, name: str, sink: str, upto: int, dead: Sequence[Burial], left_out: Sequence[range] = ()) -> None:
        """Moves the lane's position, buries the named events and counts what was left out, in one transaction.

        Raises NoRoomError where the dead letters are at their limit: nothing was changed then.
        """
        source, following = self._db.rows("SELECT id, next FROM source WHERE name = ?", name)[0]
        position, done = self._db.rows(
            "SELECT position, tallied FROM lane WHERE source = ? AND sink = ?", source, sink
        )[0]
        buried = {burial.number for burial in dead}
        named = [*buried, *(number for hole in left_out for number in (hole.start, hole.stop - 1))]
        if upto >= following or not all(position < number <= upto for number in named):
            raise JournalError("bug", f"an ack of what does not wait: up to {upto} of {following - 1}, at {position}")
        with self._db.transaction():
            done = self._ledger.settle(source, sink, done, max(position, upto), buried, left_out)
            self._lanes.move(source, sink, upto, done, left_out)
            letters = [(burial, self._pages.behind(source, burial.number - 1, 1)[0]) for burial in dead]
            added = self._letters.bury(source, sink, letters)
        self._letters.bytes += added
        self._changed(name)

    # -- dead letters --------------------------------------------------------------------------------------------------

    def dead_letters(
        self,
        *,
        source: str = "",
        sink: str = "",
        reason: str = "",
        ids: Sequence[int] | None = None,
        after: int = 0,
        limit: int = 1000,
        whole: bool = True,
    ) -> list[DeadLetter]:
        """The oldest that fit, behind an id, "" standing for any; whole: with their events, which may be large."""
        return self._letters.listed(Chosen(source, sink, reason, ids), after, limit, whole=whole)

    def requeue(self, chosen: Chosen, who: str) -> int:
        """They go out again, to the sink that they were meant for. Returns how many."""
        with self._db.transaction():
            lanes = self._letters.requeue(chosen)
            self._upkeep.audit(who, f"dead requeue: {in_words(lanes)}")
        self._all_changed()
        return sum(lanes.values())

    def purge(self, chosen: Chosen, who: str) -> int:
        """Gives dead letters up for good, counted. who: "" where it is their age. Returns how many."""
        if not self._letters.listed(chosen, 0, 1, whole=False):
            return 0
        with self._db.transaction():
            lanes = self._letters.remove(chosen)
            if lanes:
                self._upkeep.audit(who or "shipper", f"dead letters removed: {in_words(lanes)}")
        self._letters.measure()
        self._all_changed()
        return sum(lanes.values())

    def read_queue(self, name: str, sink: str, after: int, limits: Limits, upto: int | None = None) -> Stretch | None:
        """A lane's requeued events behind a number of its queue."""
        return self._letters.queued(self._id(name), sink, after, limits, upto)

    def ack_queue(self, name: str, sink: str, upto: int, dead: Sequence[Burial]) -> None:
        """Those up to a number of the queue are delivered; the dead ones rest again."""
        source = self._id(name)
        with self._db.transaction():
            ids, times, freed = self._letters.settle_queue(source, sink, upto, dead)
            self._ledger.add(source, sink, REQUEUED, tallies(ids, times))
        self._letters.bytes -= freed
        self._changed(name)

    # -- space ---------------------------------------------------------------------------------------------------------

    def with_room(self, operation: Callable[[], T]) -> T:
        """An operation that adds next to nothing, or gives room back: on a full disk the ballast makes way for it."""
        return self.room.made(operation, self._changed)

    def trim(self) -> bool:
        """Gives up the bytes of delivered events that are too old, or whose space is needed; True: call it again.

        Raises JournalBrokenError where the file was taken away under us.
        """
        self._db.expect_in_place()
        self.room.regain()
        needed = self.room.spent or self.room.starved or self._census.tight
        before = None if needed else self._now() - self._keep_ms
        trimmed = 0
        for name in list(self.figures.sources):
            pages = self._upkeep.trim(name, before, PAGES_PER_TRIM - trimmed)
            if pages:
                trimmed += pages
                self._changed(name)
        if any(source.paused == "disk_full" for source in self.figures.sources.values()):
            self._changed()
        return trimmed >= PAGES_PER_TRIM

    # -- upkeep --------------------------------------------------------------------------------------------------------

    def set_checkpoint(self, name: str, checkpoint: bytes, audit: str, who: str, since: int | None = None) -> None:
        """Again from here: known ids are forgotten, so what comes again is stored again. since: the place's time."""
        self._upkeep.set_checkpoint(name, checkpoint, audit, who, since)
        self._changed(name)

    def forget_sink(self, sink: str, who: str) -> int:
        """Gives up what waits for this sink, in every lane. Returns how many events. Raises UnknownNameError."""
        waiting = self._upkeep.forget_sink(sink, who)
        self._all_changed()
        return waiting

    def forget_source(self, name: str, who: str) -> int:
        """Gives up the source's place and all its events; it would begin anew. Returns how many events waited."""
        self._id(name)
        waiting = sum(lane.lag for lane in self.figures.sources[name].lanes.values())
        self._upkeep.forget_source(name, waiting, who)
        self._horizons.pop(name, None)
        self.figures = self._census.take([name], gone=name)
        return waiting

    def rename_sink(self, old: str, new: str, who: str) -> None:
        """Carries a sink's places and dead letters to a new name. Raises UnknownNameError."""
        self._upkeep.rename_sink(old, new, who)
        self._all_changed()

    def replayed(self, name: str, sink: str, events: int) -> None:
        """So many events were sent to the sink once more. Raises UnknownNameError."""
        source = self._id(name)
        if not self._db.rows("SELECT 1 FROM lane WHERE source = ? AND sink = ?", source, sink):
            raise UnknownNameError("operator", f"the journal has no lane of {name!r} into a sink {sink!r}")
        with self._db.transaction():
            self._db.execute(
                "UPDATE lane SET replayed = replayed + ? WHERE source = ? AND sink = ?", events, source, sink
            )
        self._changed(name)

    def audit(self, who: str, what: str) -> None:
        """Keeps who did what."""
        with self._db.transaction():
            self._upkeep.audit(who, what)

    # -- looking -------------------------------------------------------------------------------------------------------

    def audits(self, after: int, limit: int) -> list[tuple[int, int, str, str]]:
        """The audit list behind an id: id, when (ms), who, what."""
        return self._db.rows(
            "SELECT rowid, at, who, what FROM audit WHERE rowid > ? ORDER BY rowid LIMIT ?", after, limit
        )

    def gaps(self, name: str) -> list[tuple[int, int, int, bool]]:
        """A source's gaps: since, until, when it was noticed (ms), and whether it may be empty."""
        return [
            (since, until, at, bool(may_be_empty))
            for since, until, at, may_be_empty in self._db.rows(
                "SELECT since, until, at, may_be_empty FROM gap WHERE source = ? ORDER BY at", self._id(name)
            )
        ]

    def ledger(self, name: str, since_hour: int, until_hour: int) -> list[Entry]:
        """The ledger's lines of a source, from an hour on, up to but without another."""
        return self._ledger.read(self._id(name), since_hour, until_hour)

    def events(
        self, name: str, since: int, until: int, after: int, limit: int
    ) -> tuple[list[tuple[int, Event]], int | None, int | None, int]:
        """Events of a time range (ms) behind a number, while the journal has them.

        Returns them with their numbers; the number to go on behind, None at the end; the time from which on all are
        here, None where none is; and the number up to which they were let go of.
        """
        source = self._id(name)
        stored, trimmed = self._db.rows("SELECT next - 1, trimmed FROM source WHERE id = ?", source)[0]
        oldest = self._pages.columns(source, trimmed + 1, trimmed + 1)[1]
        found, number = self._pages.of_time(source, max(after, trimmed), since, until, limit)
        whole_from = max([*oldest, *(time + 1 for time in self._pages.times_upto(source, trimmed))]) if oldest else None
        return found, number if number < stored else None, whole_from, trimmed

    def settled(self) -> list[Settled]:
        """For each source the place up to which every lane has settled everything, as far as it is known."""
        found = []
        for source in self.figures.sources.values():
            place = self._upkeep.settled(source.name)
            if place is not None:
                found.append(Settled(source.name, source.tenant, *place))
        return found

    def look_through(self) -> None:
        """Reads every page and dead letter. Raises JournalDamagedError, with the file closed."""
        try:
            for source, first in self._db.rows("SELECT source, first FROM page"):
                self._pages.look_into(source, first)
            self._letters.look_through()
        except JournalDamagedError:
            # Closed later, it would take the log away from the journal that stands in its place then.
            self.close()
            raise

    def last_audit(self, word: str, other: str) -> str | None:
        """The newest line of the audit list whose first word is one of these."""
        sql = "SELECT what FROM audit WHERE substr(what, 1, instr(what, ' ') - 1) IN (?, ?) ORDER BY rowid DESC LIMIT 1"
        found: str | None = self._db.value(sql, word, other)
        return found

    def hold(self) -> None:
        """The file stands still until `let_go`, and all that comes stands in its write-ahead log: to be copied."""
        self._db.move_log()
        self._db.held = True

    def let_go(self) -> None:
        """The file has been copied."""
        self._db.held = False

    # -- figures -------------------------------------------------------------------------------------------------------

    def _changed(self, *names: str) -> None:
        self.figures = self._census.take(names)

    def _all_changed(self) -> None:
        self._changed(*self.figures.sources)

    def _id(self, name: str) -> int:
        source: Any = self._db.value("SELECT id FROM source WHERE name = ?", name)
        if source is None:
            known = ", ".join(self.figures.sources) or "none"
            raise UnknownNameError("operator", f"the journal has no source {name!r} (it has: {known})")
        return int(source)

    def _now(self) -> int:
        return int(self._clock() * 1000)
