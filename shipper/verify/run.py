"""One verification of one source in one sink, hour by hour, and what it finds."""

from collections.abc import Callable, Collection
from datetime import date
from functools import partial

import msgspec

from shipper.archive import Archive
from shipper.archive.chain import walked
from shipper.archive.digest import begin_of
from shipper.ask import Ask
from shipper.replay.archived import patiently
from shipper.replay.supply import SourceSupply, Supply, SupplyError, moment
from shipper.shape.filter import Wants
from shipper.sources import SourceConfig
from shipper.tally import HOUR_MS, Tally, merged, tallies, tally
from shipper.verify.books import Books, books_of
from shipper.verify.compare import Difference, by_ids, by_tallies
from shipper.verify.held import Bucket, Exported

DEAD_AT_ONCE = 1000
FOREVER_MS = 253_402_300_800_000
"""The year 10000."""


class Findings(msgspec.Struct):
    """What a verification found. hours, events: how much was compared. left_out: what the source brought in them that
    was not to be there. repeated: how many are there once more, as the ledger says.
    open: hours with events on their way.

    unknown: hours of before the ledger that nothing speaks of. foreign: keys that are not ours. damaged, broken_chain:
    in words. gone: keys that a digest lists and nothing stands under. notes: what else a person should know.
    """

    source: str
    hours: int = 0
    events: int = 0
    left_out: int = 0
    repeated: int = 0
    differences: list[Difference] = []
    open: list[int] = []
    unknown: list[int] = []
    foreign: list[str] = []
    damaged: list[str] = []
    broken_chain: list[str] = []
    gone: list[str] = []
    notes: list[str] = []

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.differences or self.foreign or self.damaged or self.broken_chain)


class Verify:
    """since, until: whole hours, the latter not included. supplies: where the ids of an hour may be had from.

    held: what is compared with the ledger. wants: the sink's filter, None for all. reread: the source itself, None to
    leave it out. quick: believe the objects' metadata, and read only those of hours whose counts differ. progress:
    called with the hours done and all hours.
    """

    def __init__(
        self,
        ask: Ask,
        source: str,
        config: SourceConfig,
        sink: str,
        hours: range,
        *,
        supplies: list[Supply],
        archive: Archive | None,
        exported: Exported | None = None,
        wants: Wants | None = None,
        reread: SourceSupply | None = None,
        quick: bool = False,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        self._ask, self._source, self._config, self._sink, self._hours = ask, source, config, sink, hours
        self._supplies, self._reread, self._quick, self._progress = supplies, reread, quick, progress
        self._exported, self._archive, self._wants = exported, archive, wants
        self._bucket = Bucket(archive, source) if archive is not None and exported is None else None
        self._dead: frozenset[str] | None = None
        self.books: Books | None = None
        """As of the beginning of the last run."""

    async def run(self) -> Findings:
        """Reads both sides and compares them. Raises SupplyError where one can't be read."""
        found = Findings(self._source)
        self.books = books = await self._read_books()
        if self._bucket is not None:
            await self._bucket.look(self._hours.start * HOUR_MS, self._hours.stop * HOUR_MS)
            found.foreign = self._bucket.foreign
        reread, reread_from = await self._reread_source(found, books)
        interesting = self._interesting(books, reread)
        for done, hour in enumerate(interesting):
            self._progress(done, len(interesting))
            # Also where there is nothing to compare with: an altered object shows by itself.
            ids = await self._bucket.ids(hour) if self._bucket is not None and not self._quick else None
            if books.open(hour):
                found.open.append(hour)
                continue
            await self._compare(found, books, hour, reread.get(hour, Tally()) if hour >= reread_from else None, ids)
        self._progress(len(interesting), len(interesting))
        await self._forgive_what_moved(found, books)
        await self._walk_digests(found)
        await self._note_gaps(found)
        self._finish(found)
        return found

    def _interesting(self, books: Books, reread: dict[int, Tally]) -> list[int]:
        held = self._bucket.hours if self._bucket is not None else self._exported.hours if self._exported else set()
        known = books.stored.keys() | books.delivered.keys() | reread.keys() | held
        return sorted(hour for hour in known if hour in self._hours)

    async def _compare(
        self, found: Findings, books: Books, hour: int, source: Tally | None, ids: list[str] | None
    ) -> None:
        """source: what it still has of the hour, None where that is not known. ids: what the bucket holds, if read."""
        expected = books.expected(hour)
        if not books.known(hour):
            if source is None:
                found.unknown.append(hour)
                return
            expected = source if self._wants is None else await self._wanted_there(hour)
        elif source is not None:
            found.differences += filter(None, [await self._against_source(books, hour, source)])
        difference = await self._against_held(found, hour, expected, books.stored.get(hour, Tally()), ids)
        if difference is not None and not difference.missing and hour * HOUR_MS < books.began_ms:
            # A part of the hour is older than the journal: an earlier one may have brought it there.
            found.unknown.append(hour)
            return
        found.hours += 1
        found.events += expected.events
        found.left_out += max(0, books.stored.get(hour, Tally()).events - expected.events)
        found.differences += filter(None, [difference])

    async def _wanted_there(self, hour: int) -> Tally:
        """What the source has of this hour for this sink."""
        assert self._reread is not None, "the source was read for this hour"  # noqa: S101
        return tally(await _ids_from(self._reread, hour, self._wants))

    async def _against_held(
        self, found: Findings, hour: int, expected: Tally, stored: Tally, ids: list[str] | None
    ) -> Difference | None:
        if self._exported is not None:
            return await self._by_ids(found, hour, expected, stored, partial(self._exported.ids, hour))
        if self._bucket is None or (ids is None and self._bucket.counted(hour) == expected.events):
            return None
        there = await self._bucket.ids(hour) if ids is None else ids
        return await self._by_ids(found, hour, expected, stored, lambda _known: there)

    async def _by_ids(
        self,
        found: Findings,
        hour: int,
        expected: Tally,
        stored: Tally,
        ids: Callable[[Collection[str]], list[str]],
    ) -> Difference | None:
        """ids: those that are there, with the help of those that are known."""
        what = f"journal → {self._sink}"
        # All that the source brought is there, whoever delivered it: a lane begins behind what an earlier one did.
        for whole in (expected, stored):
            there = ids(())
            difference = by_ids(what, hour, whole, there, None)
            if difference is None or not (difference.missing or difference.extra):
                break
        else:
            known = await self._known_ids(hour)
            there = ids(known or ())
            difference = by_ids(what, hour, expected, there, known)
        # What else is there more than once was delivered so: someone had set a checkpoint back.
        found.repeated += len(there) - len(set(there)) - (difference.twice if difference else 0)
        return difference

    async def _against_source(self, books: Books, hour: int, source: Tally) -> Difference | None:
        what, stored = f"{self._source} → journal", books.stored.get(hour, Tally())
        if source.same(stored) or self._reread is None:
            return None
        there = await _ids_from(self._reread, hour)
        for supply in self._supplies:
            if supply.using == "journal" and not await supply.lacks(hour * HOUR_MS, (hour + 1) * HOUR_MS):
                # What came again, since someone set a checkpoint back, is in the journal each time, and lacks nothing.
                return by_ids(what, hour, source, list(dict.fromkeys(await _ids_from(supply, hour))), there)
        return by_tallies(what, hour, source, stored)

    # -- what is read --------------------------------------------------------------------------------------------------

    async def _read_books(self) -> Books:
        return await read_books(self._ask, self._source, self._sink)

    async def _reread_source(self, found: Findings, books: Books) -> tuple[dict[int, Tally], int]:
        """What the source still has, by hour, and the hour from which on that is everything."""
        nothing: tuple[dict[int, Tally], int] = {}, self._hours.stop
        if self._reread is None:
            return nothing
        from_ms = max(self._hours.start * HOUR_MS, self._reread.keeps_from_ms, books.began_ms)
        first = -(-from_ms // HOUR_MS)
        if first >= self._hours.stop:
            found.notes.append(f"{self._source} keeps nothing of this time any more: compared with the journal only")
            return nothing
        if first > self._hours.start:
            found.notes.append(f"{self._source} itself was compared from {hour_text(first)} on")
        hours: dict[int, Tally] = {}
        async for portion in self._reread.events(first * HOUR_MS, self._hours.stop * HOUR_MS):
            part = tallies([event.id for event in portion.events], [event.time for event in portion.events])
            hours = merged((hours, part))
        return hours, first

    async def _known_ids(self, hour: int) -> Collection[str] | None:
        """The ids that the destination should hold, as often as they were brought, from the first supply that has the
        whole hour; None: none has."""
        for supply in self._supplies:
            try:
                if await supply.lacks(hour * HOUR_MS, (hour + 1) * HOUR_MS):
                    continue
                dead = await self.dead()
                return [id_ for id_ in await _ids_from(supply, hour, self._wants) if id_ not in dead]
            except SupplyError:
                continue
        return None

    async def dead(self) -> frozenset[str]:
        """The ids of this lane's dead letters."""
        if self._dead is None:
            ids: set[str] = set()
            after = 0
            while True:
                question = {"source": self._source, "sink": self._sink, "reason": ""}
                letters = await self._ask("dead.list", {**question, "after": after, "limit": DEAD_AT_ONCE})
                ids |= {letter["event_id"] for letter in letters}
                if len(letters) < DEAD_AT_ONCE:
                    break
                after = letters[-1]["id"]
            self._dead = frozenset(ids)
        return self._dead

    # -- at the end ----------------------------------------------------------------------------------------------------

    async def _forgive_what_moved(self, found: Findings, before: Books) -> None:
        """An hour that got events while it was compared is no difference: it is open."""
        if not found.differences:
            return
        now = await self._read_books()
        moved = {
            difference.hour
            for difference in found.differences
            if not now.expected(difference.hour).same(before.expected(difference.hour))
            or not now.stored.get(difference.hour, Tally()).same(before.stored.get(difference.hour, Tally()))
        }
        found.differences = [difference for difference in found.differences if difference.hour not in moved]
        found.open = sorted({*found.open, *moved})

    async def _walk_digests(self, found: Findings) -> None:
        """The chain accounts for whole days, from the bucket alone. What stands among ours was found before."""
        if self._archive is None or self._bucket is None:
            return
        since, until = self._hours.start * HOUR_MS, self._hours.stop * HOUR_MS
        chain = await patiently(partial(walked, self._archive, self._source, since, until))
        found.gone = [one.key for one in chain.findings if one.kind == "missing_object"]
        for one in chain.findings:
            line = " ".join(filter(None, (str(one.day), one.kind, ascii(one.key)[1:-1], one.note)))
            if one.kind == "more_events" or (one.kind == "fewer_events" and self._all_there(found, one.day)):
                found.notes.append(f"the chain of digests: {line}")
            elif one.kind != "foreign_object":
                found.broken_chain.append(line)
        if chain.digests:
            account = f"{chain.digests} digests account for {chain.objects} objects with {chain.events} events"
            found.notes.append(f"{account}; the newest has the SHA-256 {chain.newest_sha256}")

    def _all_there(self, found: Findings, day: date) -> bool:
        """Whether every object of the day was read, and no event of the ledger is missing.

        Then the day was only counted higher: events that came again, since someone set a checkpoint back, and found
        their equal object in place.
        """
        first = begin_of(day) // HOUR_MS
        hours = set(range(first, first + 24))
        doubtful = {*found.open, *found.unknown, *(one.hour for one in found.differences if one.missing)}
        damaged = self._bucket.damaged.keys() if self._bucket is not None else set[int]()
        return not self._quick and hours <= set(self._hours) and not hours & {*doubtful, *damaged}

    async def _note_gaps(self, found: Findings) -> None:
        for gap in await self._ask("gaps", {"source": self._source}):
            if gap["since"] < self._hours.stop * HOUR_MS and gap["until"] > self._hours.start * HOUR_MS:
                empty = ", perhaps without events" if gap["may_be_empty"] else ""
                line = f"the source had let go of {moment(gap['since'])} to {moment(gap['until'])} before it was read"
                found.notes.append(f"a gap: {line}{empty}")

    def _finish(self, found: Findings) -> None:
        if self._bucket is not None:
            found.damaged = [text for texts in self._bucket.damaged.values() for text in texts]
        if self._exported is not None:
            outside = sum(len(self._exported.ids(hour)) for hour in self._exported.hours if hour not in self._hours)
            for count, what in (
                (outside, "ids of the file are of other hours"),
                (len(self._exported.unplaced), "ids of the file tell no time: they count where they are known"),
                (self._exported.unreadable, "lines of the file hold no id"),
            ):
                if count:
                    found.notes.append(f"{count} {what}")


async def read_books(ask: Ask, source: str, sink: str) -> Books:
    """The ledger as of now."""
    places = await ask("checkpoints", {})
    ledger = await ask("ledger", {"source": source, "since_ms": 0, "until_ms": FOREVER_MS})
    return books_of(ledger, next((row for row in places if row["source"] == source), {}), sink)


async def _ids_from(supply: Supply, hour: int, wants: Wants | None = None) -> list[str]:
    ids: list[str] = []
    async for portion in supply.events(hour * HOUR_MS, (hour + 1) * HOUR_MS):
        ids += [event.id for event in portion.events if wants is None or wants(event.type)]
    return ids


def hour_text(hour: int) -> str:
    """An hour (since 1970 UTC) for a person."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%d %H:00Z")
