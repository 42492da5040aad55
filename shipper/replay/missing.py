"""Into an archive, a replay writes only what is not there, and nothing that a live lane is still to bring."""

import fcntl
import os
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec

from shipper.archive import Archive, Damaged
from shipper.journal import UnknownNameError
from shipper.replay.archived import id_in, patiently
from shipper.replay.supply import Portion
from shipper.tally import HOUR_MS

HOURS_KEPT = 30
"""Ids of so many hours are kept in memory. An hour that comes again after that is read anew."""


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Nobody else of this state directory fills an archive meanwhile. Raises UnknownNameError.

    Two at once would find the same events missing, and cut their objects at other ones, so that a key tells neither of
    the other. The lock is on the directory itself: that needs no file, which a full disk would not have.
    """
    descriptor = os.open(state_dir, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = "another replay, export or repair is writing into an archive: let it end first"
            raise UnknownNameError("operator", words) from None
        yield
    finally:
        os.close(descriptor)


class Missing:
    """Lets through what is wanted and the archive lacks. skipped: how many events it had already. None: no archive."""

    def __init__(self, archive: Archive | None, source: str, wanted: "Wanted") -> None:
        self._archive, self._source, self._wanted = archive, source, wanted
        self._hours: dict[int, set[str]] = {}
        self.skipped = 0

    async def of(self, portions: AsyncGenerator[Portion, None]) -> AsyncGenerator[Portion, None]:
        """Of these, what is wanted and missing, each event once."""
        async with aclosing(portions):
            async for portion in portions:
                events, places = [], []
                for event, place in zip(portion.events, portion.places, strict=True):
                    if self._wanted.takes(event.id, event.time // HOUR_MS) and await self._lacks(event.id, event.time):
                        events.append(event)
                        places.append(place)
                yield Portion(events, places)

    async def _lacks(self, id_: str, time_ms: int) -> bool:
        if self._archive is None:
            return True
        hour = time_ms // HOUR_MS
        if hour not in self._hours:
            while len(self._hours) >= HOURS_KEPT:
                del self._hours[next(iter(self._hours))]
            self._hours[hour] = set(await ids_of_hour(self._archive, self._source, hour))
        if id_ in self._hours[hour]:
            self.skipped += 1
            return False
        self._hours[hour].add(id_)
        return True


class Wanted(msgspec.Struct, frozen=True):
    """Which events may be written.

    hours, ids: only these; None for all. open: hours that a live lane still writes. dead: ids that were given up.
    """

    hours: Collection[int] | None = None
    ids: Collection[str] | None = None
    open: Callable[[int], bool] = lambda _hour: False
    dead: Collection[str] = frozenset()

    def takes(self, id_: str, hour: int) -> bool:
        """Whether this event may be written."""
        if (self.hours is not None and hour not in self.hours) or (self.ids is not None and id_ not in self.ids):
            return False
        return not self.open(hour) and id_ not in self.dead


async def ids_of_hour(archive: Archive, source: str, hour: int) -> list[str]:
    """Every id of an hour, as often as it is there, but for those of damaged objects. Raises SupplyError."""
    found = await patiently(partial(archive.objects, source, hour * HOUR_MS, (hour + 1) * HOUR_MS))
    ids: list[str] = []
    for stored in found.objects:
        with suppress(Damaged):
            ids += [id_in(line) for line in await patiently(partial(archive.lines, stored.key))]
    return ids
