"""What goes on without a journal: the place up to which every lane had settled everything, kept beside it.

The journal's checkpoint is ahead of what a lost journal still held, so reading can't go on there. It goes on where
`settled.json` says: that is older by some seconds at most, and starting there repeats events, but steps over none.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shipper.archive import Archive
from shipper.archive.recover import Resume, newest_ids
from shipper.journal import JournalBrokenError, Settled, UnknownNameError
from shipper.journal.files import synchronise
from shipper.journal.sqlite import FILE, SqliteJournal
from shipper.sources.kinds import places_of
from shipper.sources.start import embedded_time

SETTLED = "settled.json"
FORGOTTEN = "forgotten"
"""In the place of its start, the journal's word for a source that was given up."""


class _Kept(msgspec.Struct):
    """As it stands in the file; the checkpoint in base64."""

    name: str
    tenant: str
    checkpoint: str
    horizon: int


class SettledFile:
    """`settled.json`, replaced whole, and only when something in it has moved."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "journal" / SETTLED
        self._known = self.read()

    def read(self) -> dict[str, Settled]:
        """By tenant. Raises JournalBrokenError where it is there and can't be understood."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=list[_Kept])
            return {k.tenant: Settled(k.name, k.tenant, b64decode(k.checkpoint), k.horizon) for k in found}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise JournalBrokenError("io", f"{self._path}: can't be read ({type(error).__name__})") from None

    def write(self, settled: Iterable[Settled], forgotten: Collection[str] = ()) -> None:
        """Keeps these. A source that says nothing now keeps what it had, unless someone forgot it. Raises OSError."""
        kept_before = {tenant: place for tenant, place in self._known.items() if tenant not in forgotten}
        now = kept_before | {place.tenant: place for place in settled}
        if now == self._known:
            return
        kept = [_Kept(s.name, s.tenant, b64encode(s.checkpoint).decode(), s.horizon) for s in now.values()]
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(msgspec.json.encode(kept))
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._path)
        synchronise(self._path.parent)
        self._known = now


def expect_journal(state_dir: Path) -> None:
    """Raises JournalBrokenError where there was a journal, and is none: starting anew would step over what it held."""
    directory = state_dir / "journal"
    was_there = (directory / SETTLED).exists() or any(directory.glob("corrupt-*"))
    if was_there and not (directory / FILE).exists():
        raise JournalBrokenError(
            "io",
            f"{directory / FILE}: is gone: put it back, or `shipper run --recover` goes on from what every lane had "
            "settled; `shipper run --fresh` would begin anew",
        )


def unknown_sources(journal: SqliteJournal, sources: Mapping[str, str]) -> dict[str, str]:
    """Those of the sources (tenant by name) that this journal has never begun, nor been told to forget."""
    begun = {
        source.tenant
        for source in journal.figures.sources.values()
        if source.checkpoint is not None or source.start == FORGOTTEN
    }
    return {name: tenant for name, tenant in sources.items() if tenant not in begun}


def expect_begun(journal: SqliteJournal, state_dir: Path, sources: Mapping[str, str]) -> None:
    """Raises JournalBrokenError where an earlier journal had a place for a source (tenant by name), and this has none.

    So it is when `--recover` was cut off half-way, or left out a source that was not enabled then.
    """
    settled = SettledFile(state_dir).read()
    for name, tenant in unknown_sources(journal, sources).items():
        if tenant in settled:
            raise JournalBrokenError(
                "io",
                f"{state_dir}: an earlier journal had a place for {name}, and this one has none: "
                "`shipper run --recover` goes on there; `shipper run --fresh` begins anew",
            )


async def recover(journal: SqliteJournal, state_dir: Path, sources: Mapping[str, str]) -> dict[str, Settled]:
    """Makes sources resume where every lane had settled everything. sources: tenant by name, none begun yet.

    Returns those that had such a place, by name.
    """
    settled = SettledFile(state_dir).read()
    resumed = {}
    for name, tenant in sources.items():
        place = settled.get(tenant)
        if place is not None:
            handle, _ = await journal.source(name, tenant)
            await handle.begin("recovered", place.checkpoint, place.horizon)
            until = datetime.fromtimestamp(place.horizon / 1000, UTC).isoformat(timespec="seconds")
            await journal.audit("shipper", f"recover {name}: goes on behind what was settled up to {until}")
            resumed[name] = place
    return resumed


async def places_in(archive: Archive, sources: Iterable[str]) -> dict[str, Resume]:
    """Where each source's lane into an archive goes on; nothing for those that the archive does not know."""
    found = {name: await newest_ids(archive, name) for name in sources}
    return {name: place for name, place in found.items() if place is not None}


async def begin_behind(
    journal: SqliteJournal,
    places: Mapping[str, Resume],
    sink: str,
    sources: Mapping[str, str],
    overlap_secs: float,
    who: str,
) -> None:
    """Makes a journal go on from what an archive holds. sources: tenant by name. who: types it, for the audit list.

    The lane into the archive goes on right behind what is there; the sources are read again from so much earlier, so
    that the other lanes get what they may not have had. Raises UnknownNameError where all have their place already.
    """
    new = unknown_sources(journal, sources)
    if places and not any(name in new for name in places):
        raise UnknownNameError("operator", f"the journal has a place for {', '.join(places)} already")
    for name in new.keys() & places.keys():
        place = places[name]
        since = int((embedded_time(place.after) or place.since_ms) - overlap_secs * 1000)
        handle, _ = await journal.source(name, sources[name])
        # The lane first: a source that has begun is never begun again.
        await journal.lane(name, sink, f"id:{place.after}" if place.after else f"time:{place.since_ms}")
        await handle.begin("recovered", places_of(sources[name]).at_time(since).checkpoint, since)
        await journal.audit(who, f"recover {name} from sink {sink}: behind {place.after}")


def start_afresh(state_dir: Path) -> None:
    """Someone says that nothing of what was before matters: the old places are kept, under another name."""
    settled = state_dir / "journal" / SETTLED
    if settled.exists():
        settled.rename(settled.with_name(f"settled-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"))
