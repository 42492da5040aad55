"""A sink whose destination can be read back: what it has to answer for verify, replay, digests and recovery.

An archive holds objects, each with the events of one source and one hour, one envelope a line. What it says of an
object comes from the object's key and metadata, so it is a claim until the lines are read: `lines` proves it. Beside
the objects it holds notes, small files below `_digest/`.

Keys and paths are always what stands below the sink's prefix, so that a copy of the bucket elsewhere reads the same.
Everything here raises `Unavailable` and `Rejected` as `Sink.write` does; a permission that lacks is `forbidden`, and
the note names it.
"""

from abc import abstractmethod
from collections.abc import Collection
from datetime import date

import msgspec

from shipper.sink import Sink


class Damaged(Exception):  # noqa: N818  an outcome, as Unavailable is
    """An object's content is not what its metadata say: altered, cut off, or not readable at all.

    The text is our own words and the object's key, safe to log.
    """


class Stored(msgspec.Struct, frozen=True):
    """One object as its key and metadata tell.

    hour: of its events' time, in hours since 1970 UTC. events: how many. first, last: the ids of its first and last
    event as they stand in keys (an id that is unfit for a key is its hash there).
    sha256: of the lines before compression, as hex digits. written: when the destination took it, by its own clock,
    in milliseconds since 1970 UTC; many keep whole seconds only.
    """

    key: str
    hour: int
    events: int
    first: str
    last: str
    sha256: str
    written: int = 0


class Found(msgspec.Struct, frozen=True):
    """What stands in some hours: our objects, by hour and key, and the keys of those that are not ours.

    Strangers chose the names in `foreign`: to be escaped where they are shown. One that stands under a day, and in no
    hour of ours, is named for every range that touches the day.
    """

    objects: list[Stored]
    foreign: list[str]


class Archive(Sink):
    """A sink whose destination can be read back."""

    @abstractmethod
    async def days(self, source: str) -> list[date]:
        """The days (UTC) under which anything of this source stands, oldest first. Strangers' objects count."""

    @abstractmethod
    async def objects(self, source: str, since_ms: int, until_ms: int, *, without: Collection[str] = ()) -> Found:
        """All that stands in the hours that touch the range from since_ms up to, not including, until_ms.

        A day can hold thousands of objects, so a caller with a long range asks for a day at a time.
        without: keys that are left out, and cost no look at their metadata.
        """

    @abstractmethod
    async def newest(self, source: str) -> Stored | None:
        """The object of the newest hour, of several the one written last; None: there is none of ours."""

    @abstractmethod
    async def lines(self, key: str) -> list[bytes]:
        """An object's envelopes, without their line ends. Raises Damaged where they are not what its metadata say."""

    @abstractmethod
    async def notes(self, folder: str) -> list[str]:
        """The paths of the notes below a folder, in the order of their names."""

    @abstractmethod
    async def note(self, path: str) -> bytes | None:
        """A note's content; None: it is not there."""

    @abstractmethod
    async def put_note(self, path: str, body: bytes) -> bool:
        """Writes a note, unless there is one of this path: that is False, and what is there stays as it is."""
