"""The S3 sink as an archive: what it holds, read back. For verify, replay, digests and recovery; delivery needs none.

LIST gives keys alone, so what an object's metadata tell takes one HEAD each: some at a time, each with a deadline of
its own, and never more connections than the lanes leave.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeVar

from shipper import Archive, Damaged, Found, Stored, Unavailable
from sinks.s3_layout import Object, day_of, lines_of, place_of, stored_of

if TYPE_CHECKING:
    from sinks.s3_store import Listing, Store

MAX_OBJECT_BYTES = 512 * 1024 * 1024
"""Of lines: twice the largest batch that can be configured."""
MAX_NOTE_BYTES = 64 * 1024 * 1024
MAX_DAYS_ASKED = 7
"""A longer range is first compared with the days that are there."""

T = TypeVar("T")
U = TypeVar("U")


class S3Archive(Archive):
    """The reading half of the S3 sink."""

    @abstractmethod
    async def ask(self, question: Callable[["Store"], T]) -> T:
        """The store's answer to what blocks, within one deadline. Raises Unavailable."""

    @abstractmethod
    def below_prefix(self, path: str) -> str:
        """The key of what stands at this path below the prefix."""

    async def days(self, source: str) -> list[date]:
        """The days (UTC) under which anything of this source stands, oldest first. Strangers' objects count."""
        above = f"source={source}/"
        listings = await self._listings(above, folders=True)
        names = [self._path(folder)[len(above) :] for listing in listings for folder in listing.folders]
        days = [day_of(name[3:-1]) for name in names if name.startswith("dt=")]
        return sorted(day for day in days if day is not None)

    async def objects(self, source: str, since_ms: int, until_ms: int, *, without: Collection[str] = ()) -> Found:
        """All that stands in the hours that touch the range. One LIST a thousand keys, one HEAD an object."""
        first, last = since_ms // 3_600_000, (until_ms - 1) // 3_600_000
        found, foreign = list[Stored](), list[str]()
        for day in await self._days_between(source, first, last):
            keys = {path: at for path, at in (await self._keys(source, day)).items() if path not in without}
            ours = {path: written for path, written in keys.items() if _hour_within(path, first, last)}
            foreign += [path for path in keys if place_of(path) is None]
            seen = await self._looked_at(ours)
            found += [stored for stored in seen.values() if stored is not None]
            foreign += [path for path, stored in seen.items() if stored is None]
        return Found(sorted(found, key=lambda stored: (stored.hour, stored.key)), sorted(foreign))

    async def newest(self, source: str) -> Stored | None:
        """The object of the newest hour, of several the one written last; None: there is none of ours."""
        for day in reversed(await self.days(source)):
            keys = await self._keys(source, day)
            places = {path: place for path in keys if (place := place_of(path)) is not None}
            for hour in sorted({place.hour for place in places.values()}, reverse=True):
                seen = await self._looked_at({path: keys[path] for path in places if places[path].hour == hour})
                ours = [stored for stored in seen.values() if stored is not None]
                if ours:
                    return max(ours, key=lambda stored: (stored.written, stored.key))
        return None

    async def lines(self, key: str) -> list[bytes]:
        """An object's envelopes, without their line ends. Raises Damaged where they are not what its metadata say."""
        return await self.ask(lambda store: self.lines_in(store, key))

    def lines_in(self, store: "Store", key: str) -> list[bytes]:
        """As `lines`. Blocks."""
        full = self.below_prefix(key)
        there = _allowed(lambda: store.pieces_of(full), "s3:GetObject")
        if there is None:
            raise Unavailable("not_found", f"{key} is not there any more")
        metadata, pieces = there
        with closing(pieces):
            stored = stored_of(key, metadata, 0)
            if stored is None:
                raise Damaged(f"{key}: its metadata are not those of an object of ours")
            return lines_of(stored, pieces, MAX_OBJECT_BYTES)

    async def notes(self, folder: str) -> list[str]:
        """The paths of the notes below a folder, in the order of their names."""
        return [self._path(key) for listing in await self._listings(folder) for key in listing.keys]

    async def note(self, path: str) -> bytes | None:
        """A note's content; None: it is not there."""
        full = self.below_prefix(path)

        def read(store: "Store") -> bytes | None:
            # Without s3:ListBucket, the store says 403 also where nothing is.
            there = _allowed(lambda: store.pieces_of(full), "s3:GetObject and s3:ListBucket")
            if there is None:
                return None
            with closing(there[1]) as pieces:
                return _joined(path, pieces)

        return await self.ask(read)

    async def put_note(self, path: str, body: bytes) -> bool:
        """Writes a note, unless there is one of this path: that is False, and what is there stays as it is."""
        note, full = Object.of(body, {}), self.below_prefix(path)
        return await self.ask(
            lambda store: store.put(full, note.body, note.checksum, note.metadata, kind="application/json")
        )

    # -- the store's answers -------------------------------------------------------------------------------------------

    def _path(self, key: str) -> str:
        return key[len(self.below_prefix("")) :]

    async def _days_between(self, source: str, first: int, last: int) -> Iterable[date]:
        if last - first < MAX_DAYS_ASKED * 24:
            return sorted({_day_of_hour(hour) for hour in range(first, last + 1)})
        there = await self.days(source)
        return [day for day in there if first // 24 <= (day - date(1970, 1, 1)).days <= last // 24]

    async def _keys(self, source: str, day: date) -> dict[str, int]:
        """Path → when it was written, of all that stands under a day."""
        listings = await self._listings(f"source={source}/dt={day}/")
        return {self._path(key): written for listing in listings for key, written in listing.keys.items()}

    async def _listings(self, path: str, *, folders: bool = False) -> list["Listing"]:
        full, listings, more = self.below_prefix(path), list["Listing"](), ""
        while not listings or more:
            listings.append(await self._listing(full, more, folders=folders))
            more = listings[-1].more
        return listings

    async def _listing(self, full: str, more: str, *, folders: bool) -> "Listing":
        return await self.ask(
            lambda store: _allowed(lambda: store.listing(full, more, folders=folders), "s3:ListBucket")
        )

    async def _looked_at(self, keys: dict[str, int]) -> dict[str, Stored | None]:
        """What each object's metadata tell; None: it is none of ours. What is gone by now is left out."""

        async def look(path: str) -> tuple[str, dict[str, str] | None]:
            full = self.below_prefix(path)
            return path, await self.ask(lambda store: _allowed(lambda: store.metadata_if_there(full), "s3:GetObject"))

        seen = await _some_at_a_time(look, keys, self.config.request.concurrency)
        return {path: stored_of(path, metadata, keys[path]) for path, metadata in seen if metadata is not None}


def _allowed(call: Callable[[], T], permission: str) -> T:
    try:
        return call()
    except PermissionError:
        raise Unavailable("forbidden", f"reading the bucket needs {permission}") from None


def _joined(path: str, pieces: Iterable[bytes]) -> bytes:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > MAX_NOTE_BYTES:
            raise Damaged(f"{path}: more than {MAX_NOTE_BYTES} bytes, which no note has")
    return bytes(body)


def _hour_within(path: str, first: int, last: int) -> bool:
    place = place_of(path)
    return place is not None and first <= place.hour <= last


def _day_of_hour(hour: int) -> date:
    return datetime.fromtimestamp(hour * 3600, UTC).date()


async def _some_at_a_time(look: Callable[[T], Awaitable[U]], things: Iterable[T], at_once: int) -> list[U]:
    slots = asyncio.Semaphore(at_once)

    async def one(thing: T) -> U:
        async with slots:
            return await look(thing)

    tasks = [asyncio.ensure_future(one(thing)) for thing in things]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
