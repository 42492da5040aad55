"""The journal that we ship: a SQLite file behind one thread, with waiting that loses no wake-up."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from shipper.event import Event, Page
from shipper.journal import (
    Appended,
    Burial,
    DeadLetter,
    Figures,
    JournalDamagedError,
    JournalError,
    LaneFigures,
    Limits,
    NoRoomError,
    Settled,
    SourceFigures,
    Stretch,
    UnknownNameError,
    WrongTenantError,
)
from shipper.journal.files import Ballast, lock, move_aside, prepare
from shipper.journal.ledger import Entry
from shipper.journal.letters import Chosen
from shipper.journal.sieve import Sieve
from shipper.journal.store import Store
from shipper.journal.thread import JournalThread
from shipper.reasons import Reason
from shipper.shape.filter import Wants

T = TypeVar("T")

FILE = "journal.sqlite"


class SqliteJournal:
    """Sources append, lanes read and ack; every operation is one transaction on the journal's own thread."""

    def __init__(
        self, store: Store, thread: JournalThread, lock_descriptor: int, failed: Callable[[Reason], None]
    ) -> None:
        self._store = store
        self._thread = thread
        self._lock = lock_descriptor
        self._failed = failed
        self._news: dict[str, asyncio.Event] = {}

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        *,
        max_bytes: int,
        keep_days: float = 3.0,
        dead_letters_max_bytes: int = 1 << 30,
        clock: Callable[[], float] = time.time,
        observe: Callable[[float], None] = lambda _secs: None,
        failed: Callable[[Reason], None] = lambda _reason: None,
        aside: bool = False,
        thorough: bool = False,
    ) -> "SqliteJournal":
        """Takes the state directory and opens the file in it. Raises JournalInUseError, JournalBrokenError.

        observe: told how many seconds each commit took. failed: told the reason of each operation that failed.
        aside: a damaged journal is moved aside, whole, before JournalDamagedError says so. thorough: look into every
        page for damage, which takes as long as reading the file.
        """
        make = partial(
            Store,
            max_bytes=max_bytes,
            keep_days=keep_days,
            dead_letters_max_bytes=dead_letters_max_bytes,
            clock=clock,
            observe=observe,
        )
        thread = JournalThread()
        try:
            store, descriptor = await thread.run(
                partial(_taken, state_dir, make, clock, aside=aside, thorough=thorough)
            )
        except BaseException:
            thread.end()
            raise
        return cls(store, thread, descriptor, failed)

    @property
    def figures(self) -> Figures:
        """All figures as of the last commit."""
        return self._store.figures

    async def run(self, operation: Callable[..., T], *args: object) -> T:
        """Runs one operation of the store on the journal's thread, then wakes those who wait for what it changed.

        A cancelled caller does not stop it, and is not needed for the wake-up. On a full disk everything but a page
        gets the ballast's room.
        """
        before = self._store.figures
        work: Callable[[], T] = partial(operation, *args)
        if operation != self._store.append:
            work = partial(self._store.with_room, work)
        try:
            return await self._thread.run(work, lambda: self._spread(before))
        except JournalError as error:
            # A name that somebody got wrong is no failure of the journal's.
            if not isinstance(error, UnknownNameError | WrongTenantError):
                self._failed(error.reason)
            raise

    def _spread(self, before: Figures) -> None:
        for name, source in self.figures.sources.items():
            old = before.sources.get(name)
            if old is source:
                continue
            if old is None or (old.stored, old.paused) != (source.stored, source.paused):
                self._news.pop(name, asyncio.Event()).set()

    def news(self, source: str) -> asyncio.Event:
        """An event that is set when this source has more events, or may or must not poll, from now on.

        Take it first, then look at the figures, then wait for it: whatever happens after the look sets it.
        """
        return self._news.setdefault(source, asyncio.Event())

    async def source(self, name: str, tenant: str) -> tuple["SqliteSource", str]:
        """The handle of a source, and the name that the journal knew it by before. Raises WrongTenantError."""
        former = await self.run(self._store.open_source, name, tenant)
        return SqliteSource(self, self._store, name), former

    async def lane(
        self, source: str, sink: str, start: str = "earliest", wants: Wants | None = None
    ) -> tuple["SqliteLane", bool]:
        """The handle of a lane, and whether it is new, in which case it begins at `start`.

        wants: which types of events it gets; None for all.
        """
        new = await self.run(self._store.open_lane, source, sink, start)
        return SqliteLane(self, self._store, source, sink, Sieve(wants) if wants else None), new

    async def trim(self) -> None:
        """Gives up what is delivered and too old, or whose space is needed."""
        while await self.run(self._store.trim):
            pass

    async def queue(self, source: str, sink: str) -> "SqliteQueue":
        """The handle of a lane's requeued dead letters."""
        return SqliteQueue(self, self._store, source, sink)

    async def dead_letters(
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
        """The oldest dead letters that fit, behind an id, "" standing for any; whole: with their events."""
        find = partial(
            self._store.dead_letters,
            source=source,
            sink=sink,
            reason=reason,
            ids=ids,
            after=after,
            limit=limit,
            whole=whole,
        )
        return await self.run(find)

    async def requeue(self, chosen: Chosen, who: str) -> int:
        """Sends dead letters again, to the sink that they were meant for. Returns how many."""
        count = await self.run(self._store.requeue, chosen, who)
        for news in list(self._news):
            self._news.pop(news).set()
        return count

    async def purge(self, chosen: Chosen, who: str) -> int:
        """Gives dead letters up for good, counted. Returns how many."""
        return await self.run(self._store.purge, chosen, who)

    async def set_checkpoint(
        self, source: str, checkpoint: bytes, audit: str, who: str, since: int | None = None
    ) -> None:
        """Makes the source resume elsewhere, at a place of this time (ms); kept in the audit list."""
        await self.run(self._store.set_checkpoint, source, checkpoint, audit, who, since)

    async def forget(self, kind: str, name: str, who: str) -> int:
        """Gives up what waits for a "sink", or everything of a "source". Returns how many events waited."""
        forget = self._store.forget_sink if kind == "sink" else self._store.forget_source
        return await self.run(forget, name, who)

    async def rename(self, old: str, new: str, who: str) -> None:
        """Carries a sink's places and dead letters to a new name."""
        await self.run(self._store.rename_sink, old, new, who)

    async def audit(self, who: str, what: str) -> None:
        """Keeps who did what."""
        await self.run(self._store.audit, who, what)

    async def audits(self, after: int = 0, limit: int = 1000) -> list[tuple[int, int, str, str]]:
        """The audit list behind an id: id, when (ms), who, what."""
        return await self.run(self._store.audits, after, limit)

    async def last_audit(self, word: str, other: str) -> str | None:
        """The newest line of the audit list whose first word is one of these."""
        return await self.run(self._store.last_audit, word, other)

    async def gaps(self, source: str) -> list[tuple[int, int, int, bool]]:
        """A source's gaps: since, until, when it was noticed (ms), and whether it may be empty."""
        return await self.run(self._store.gaps, source)

    async def ledger(self, source: str, since_hour: int, until_hour: int) -> list[Entry]:
        """The ledger's lines of a source, from an hour on, up to but without another."""
        return await self.run(self._store.ledger, source, since_hour, until_hour)

    async def events(
        self, source: str, since: int, until: int, after: int, limit: int
    ) -> tuple[list[tuple[int, Event]], int | None, int | None, int]:
        """Events of a time range (ms) behind a number, the number to go on behind, from when on all are here, and up to
        which number they were let go of.
        """
        return await self.run(self._store.events, source, since, until, after, limit)

    async def newest_types(self, source: str, most: int) -> Counter[str]:
        """How often each type stands among a source's newest events, at most so many."""
        return await self.run(self._store.newest_types, source, most)

    async def replayed(self, source: str, sink: str, events: int) -> None:
        """So many events were sent to the sink once more."""
        await self.run(self._store.replayed, source, sink, events)

    async def settled(self) -> list[Settled]:
        """For each source the place up to which every lane has settled everything, as far as it is known."""
        return await self.run(self._store.settled)

    async def hold(self) -> None:
        """The file stands still until `let_go`, so that it can be copied, and its write-ahead log behind it."""
        await self.run(self._store.hold)

    def let_go(self) -> None:
        """The file has been copied. A flag only: the next commit moves the log."""
        self._store.let_go()

    async def alive(self) -> None:
        """Returns once the journal's thread has answered."""
        await self._thread.run(int)

    async def close(self) -> None:
        """Lets the operation in hand finish, closes the file, ends the thread and gives the directory back."""
        try:
            await self._thread.run(self._store.close)
        finally:
            self._thread.end()
            os.close(self._lock)


def _taken(
    state_dir: Path, make: Callable[[Path], Store], clock: Callable[[], float], *, aside: bool, thorough: bool
) -> tuple[Store, int]:
    """The state directory's store, and the descriptor that holds its lock: closed again where there is no store."""
    directory = prepare(state_dir)
    descriptor = lock(directory)
    try:
        store = _with_ballast(make, directory)
        if thorough:
            store.look_through()
    except JournalDamagedError as error:
        told = _moved_aside(error, directory, clock()) if aside else error
        os.close(descriptor)
        raise told from None
    except BaseException:
        os.close(descriptor)
        raise
    return store, descriptor


def _with_ballast(make: Callable[[Path], Store], directory: Path) -> Store:
    """Opens the store; on a full disk an earlier process's ballast makes way for that."""
    try:
        store = make(directory / FILE)
    except NoRoomError:
        Ballast.remove(directory)
        store = make(directory / FILE)
    store.room.ballast = Ballast(directory)
    return store


def _moved_aside(error: JournalDamagedError, directory: Path, now: float) -> JournalDamagedError:
    place = move_aside(directory, f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}")
    return JournalDamagedError(
        error.reason,
        f"{error}: it was moved to {place}, whole, with its dead letters: `shipper run --recover` goes on from what "
        "every lane had settled",
    )


class SqliteSource:
    """A source's side."""

    def __init__(self, journal: SqliteJournal, store: Store, name: str) -> None:
        self._journal, self._store, self._name = journal, store, name

    @property
    def figures(self) -> SourceFigures:
        """As of the last commit."""
        return self._journal.figures.sources[self._name]

    async def begin(self, start: str, checkpoint: bytes, horizon: int) -> None:
        """Commits the resolved start."""
        await self._journal.run(self._store.begin, self._name, start, checkpoint, horizon)

    async def append(self, page: Page) -> Appended:
        """Stores a page with its checkpoint."""
        return await self._journal.run(self._store.append, self._name, page)

    async def caught_up(self, horizon: int) -> None:
        """Everything up to the horizon is held."""
        await self._journal.run(self._store.caught_up, self._name, horizon)

    async def gap(self, since: int, until: int, *, may_be_empty: bool) -> None:
        """Records durably what is gone at the source; the horizon moves behind it."""
        await self._journal.run(self._store.gap, self._name, since, until, may_be_empty)

    async def known_since(self, back: int) -> str | None:
        """The id of the event that stands so many before the newest, or of the oldest known one."""
        return await self._journal.run(self._store.known_since, self._name, back)

    async def room(self) -> None:
        """Returns once this source may poll."""
        while True:
            news = self._journal.news(self._name)
            if not self.figures.paused:
                return
            await news.wait()


class SqliteLane:
    """A lane's side."""

    def __init__(
        self, journal: SqliteJournal, store: Store, source: str, sink: str, sieve: Sieve | None = None
    ) -> None:
        self._journal, self._store = journal, store
        self._source, self._sink, self._sieve = source, sink, sieve

    @property
    def figures(self) -> LaneFigures:
        """As of the last commit."""
        return self._journal.figures.sources[self._source].lanes[self._sink]

    async def waiting(self, after: int, limits: Limits, *, eager: bool = False) -> None:
        """Returns once a batch waits behind this number; eager: however small."""
        while True:
            news, wait = self._journal.news(self._source), None
            if self._journal.figures.sources[self._source].stored > after:
                if eager or limits.timeout_secs == 0:
                    return
                wait = await self._journal.run(
                    self._store.ready_in, self._source, self._sink, after, limits, self._sieve
                )
                if wait == 0:
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await news.wait()

    async def read(
        self, after: int, limits: Limits, upto: int | None = None, without: Sequence[range] = ()
    ) -> Stretch | None:
        """The events behind this number."""
        return await self._journal.run(
            self._store.read, self._source, self._sink, after, limits, upto, without, self._sieve
        )

    async def reserve(self, first: int, last: int, left_out: Sequence[range] = ()) -> bool:
        """Records the range that is about to be written; True: it was recorded already."""
        return await self._journal.run(self._store.reserve, self._source, self._sink, first, last, left_out)

    async def ack(self, upto: int, dead: Sequence[Burial] = (), left_out: Sequence[range] = ()) -> None:
        """Moves the position; one transaction with the dead letters."""
        await self._journal.run(self._store.ack, self._source, self._sink, upto, dead, left_out)


class SqliteQueue:
    """A lane's requeued dead letters, as a lane of their own: numbered in the order in which they were requeued."""

    def __init__(self, journal: SqliteJournal, store: Store, source: str, sink: str) -> None:
        self._journal, self._store = journal, store
        self._source, self._sink = source, sink

    @property
    def figures(self) -> LaneFigures:
        """Position and lag within the queue, as of the last commit."""
        lane = self._journal.figures.sources[self._source].lanes[self._sink]
        waiting = lane.queue_last - lane.queue_position
        return LaneFigures(self._sink, 0, lane.queue_position, waiting, None, 0, {}, lane.dead_kept)

    async def waiting(self, after: int, _limits: Limits, *, eager: bool = False) -> None:  # noqa: ARG002  the protocol's
        """Returns once something is requeued behind this number: nobody collects these to fuller batches."""
        while True:
            news = self._journal.news(self._source)
            if self._journal.figures.sources[self._source].lanes[self._sink].queue_last > after:
                return
            await news.wait()

    async def read(
        self,
        after: int,
        limits: Limits,
        upto: int | None = None,
        without: Sequence[range] = (),  # noqa: ARG002  the protocol's
    ) -> Stretch | None:
        """The requeued events behind this number, whatever a filter says: an operator decided over them."""
        return await self._journal.run(self._store.read_queue, self._source, self._sink, after, limits, upto)

    async def reserve(self, _first: int, _last: int, _left_out: Sequence[range] = ()) -> bool:
        """An earlier write may always have brought them: their lane's, or one before a crash."""
        return True

    async def ack(self, upto: int, dead: Sequence[Burial] = (), left_out: Sequence[range] = ()) -> None:  # noqa: ARG002
        """Those up to this number are delivered; the dead ones rest again."""
        await self._journal.run(self._store.ack_queue, self._source, self._sink, upto, dead)
