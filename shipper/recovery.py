"""What goes on without a journal: the place up to which every lane had settled everything, kept beside it.

The journal's checkpoint is ahead of what a lost journal still held, so reading can't go on there. It goes on where
`settled.json` says: that is older by some seconds at most, and starting there repeats events, but steps over none.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shipper.archive import Archive
from shipper.archive.recover import Resume, newest_ids
from shipper.journal import JournalBrokenError, Settled, UnknownNameError
from shipper.journal.files import synchronise
from shipper.journal.sqlite import FILE, SqliteJournal
from shipper.sources.chain import Checkpoint
from shipper.sources.start import embedded_time, synthetic_id

SETTLED = "settled.json"


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

    def write(self, settled: Iterable[Settled]) -> None:
        """Keeps these. A source that says nothing now keeps what it had. Raises OSError."""
        now = self._known | {place.tenant: place for place in settled}
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


async def recover(journal: SqliteJournal, state_dir: Path, sources: Mapping[str, str]) -> dict[str, Settled]:
    """Makes the sources of a new journal resume where every lane had settled everything. sources: tenant by name.

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


async def begin_behind(
    journal: SqliteJournal, archive: Archive, sink: str, sources: Mapping[str, str], overlap_secs: float
) -> dict[str, Resume]:
    """Makes an empty journal go on from what an archive holds. sources: tenant by name.

    The lane into the archive goes on right behind what is there; the sources are read again from so much earlier, so
    that the other lanes get what they may not have had. Raises UnknownNameError where a source has its place already,
    else as the archive does. Returns where each goes on, by name; nothing for those that the archive does not know.
    """
    for name in sources:
        figures = journal.figures.sources.get(name)
        if figures is not None and figures.checkpoint is not None:
            raise UnknownNameError("operator", f"the journal has a place for {name} already")
    found = {name: await newest_ids(archive, name) for name in sources}
    resumed = {name: place for name, place in found.items() if place is not None}
    for name, place in resumed.items():
        since = int((embedded_time(place.after) or place.since_ms) - overlap_secs * 1000)
        handle, _ = await journal.source(name, sources[name])
        await handle.begin("recovered", Checkpoint(synthetic_id(since)).encode(), since)
        await journal.lane(name, sink, f"id:{place.after}" if place.after else f"time:{place.since_ms}")
        await journal.audit("shipper", f"recover {name} from sink {sink}: behind {place.after}")
    return resumed


def start_afresh(state_dir: Path) -> None:
    """Someone says that nothing of what was before matters: the old places are kept, under another name."""
    settled = state_dir / "journal" / SETTLED
    if settled.exists():
        settled.rename(settled.with_name(f"settled-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"))
