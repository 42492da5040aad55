"""What is there: the objects of a bucket, or the ids that a SIEM exported."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import msgspec

from shipper.archive import Archive, Damaged, Found, Stored
from shipper.replay.archived import days_of, id_in, patiently
from shipper.sources.split import MAX_ID
from shipper.sources.start import embedded_time
from shipper.tally import HOUR_MS


class Bucket:
    """What an archive holds of a source. Raises SupplyError where it can't be read."""

    def __init__(self, archive: Archive, source: str) -> None:
        self._archive, self._source = archive, source
        self._objects: dict[int, list[Stored]] = {}
        self.foreign: list[str] = []
        self.damaged: dict[int, list[str]] = {}

    async def look(self, since_ms: int, until_ms: int) -> None:
        """Lists the range, with each object's metadata."""
        for since, until in days_of(since_ms, until_ms):
            found: Found = await patiently(partial(self._archive.objects, self._source, since, until))
            self.foreign += found.foreign
            for stored in found.objects:
                self._objects.setdefault(stored.hour, []).append(stored)

    @property
    def hours(self) -> set[int]:
        """Where anything stands."""
        return set(self._objects)

    def counted(self, hour: int) -> int:
        """Events of an hour, by the metadata."""
        return sum(stored.events for stored in self._objects.get(hour, ()))

    async def ids(self, hour: int) -> list[str]:
        """Every id, as often as it is there; those of a damaged object can't be believed, and are not among them."""
        ids: list[str] = []
        for stored in self._objects.get(hour, ()):
            try:
                lines = await patiently(partial(self._archive.lines, stored.key))
            except Damaged as damaged:
                self.damaged.setdefault(hour, []).append(str(damaged))
            else:
                ids += [id_in(line) for line in lines]
        return ids


class Exported:
    """The ids in a file: one JSON object a line with `log_id`, `data.log_id` or `_id`, a JSON string, or a plain id.

    unplaced: ids that tell no time. unreadable: how many lines hold no id.
    """

    def __init__(self, by_hour: Mapping[int, list[str]], unplaced: list[str], unreadable: int) -> None:
        self._by_hour, self.unplaced, self.unreadable = by_hour, unplaced, unreadable

    @property
    def hours(self) -> set[int]:
        """Of which there is any id."""
        return set(self._by_hour)

    def ids(self, hour: int, known: Collection[str] = ()) -> list[str]:
        """Every id of an hour, as often as it is there. known: the hour's ids, for those that tell no time."""
        return [*self._by_hour.get(hour, ()), *(id_ for id_ in self.unplaced if id_ in known)]

    @classmethod
    def read(cls, file: Path) -> "Exported":
        """Raises OSError."""
        by_hour: dict[int, list[str]] = {}
        unplaced: list[str] = []
        unreadable = 0
        with file.open("rb") as stream:
            for line in stream:
                if not line.strip():
                    continue
                id_ = exported_id(line.strip())
                time_ms = embedded_time(id_)
                if not id_:
                    unreadable += 1
                elif time_ms is None:
                    unplaced.append(id_)
                else:
                    by_hour.setdefault(time_ms // HOUR_MS, []).append(id_)
        return cls(by_hour, unplaced, unreadable)


class _Data(msgspec.Struct):
    log_id: str = ""


class _Line(msgspec.Struct):
    log_id: str = ""
    data: _Data | None = None
    object_id: str = msgspec.field(name="_id", default="")


def exported_id(line: bytes) -> str:
    """The id that a line of an export names, "" where it names none."""
    try:
        if line[:1] == b"{":
            found = msgspec.json.decode(line, type=_Line)
            return found.log_id or (found.data.log_id if found.data else "") or found.object_id
        if line[:1] == b'"':
            return msgspec.json.decode(line, type=str)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    text = line.decode("utf-8", "replace")
    return text if text.isprintable() and " " not in text and len(text) <= MAX_ID else ""
