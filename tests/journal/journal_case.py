"""Events, pages and stores for the journal's tests, and what must hold in any journal file whatever was done to it."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from shipper.event import Event, Page
from shipper.journal import Limits
from shipper.journal.letters import OVERHEAD
from shipper.journal.pages import unpack, unpack_index
from shipper.journal.store import Store

EPOCH_MS = 1_700_000_000_000
EVERYTHING = Limits(1_000_000, 1 << 30)


class Clock:
    """Seconds since 1970 that pass when a test says so."""

    def __init__(self) -> None:
        self.now = EPOCH_MS / 1000

    def __call__(self) -> float:
        return self.now


def in_memory() -> "tempfile.TemporaryDirectory[str]":
    """A directory where synchronising costs nothing, where there is one: for many commits."""
    shared_memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=shared_memory if os.access(shared_memory, os.W_OK) else None)


def event(number: int, size: int = 0) -> Event:
    """An event with an ordered id; `size` bytes longer than it needs to be."""
    raw = b'{"n":%d,"pad":"%s"}' % (number, b"x" * size)
    return Event(str(9 * 10**55 + number), EPOCH_MS + number, f"day {number}", "s", raw)


def loud(number: int, size: int) -> Event:
    """An event whose bytes don't compress."""
    noise = b"".join(sha256(b"%d %d" % (number, i)).hexdigest().encode() for i in range(size // 64 + 1))[:size]
    return Event(str(9 * 10**55 + number), EPOCH_MS + number, "", "s", b'"%s"' % noise)


def hashed(number: int) -> Event:
    """An event without an id of its own: nothing says what comes before it."""
    raw = b'{"no id":%d}' % number
    return Event(f"sha256-{sha256(raw).hexdigest()}", EPOCH_MS + number, "", "", raw)


def page(events: Sequence[Event], checkpoint: bytes = b"c", horizon: int = 0) -> Page:
    """One answer of a source, which knows an order of those ids that are no hashes."""
    highest = max((e.id for e in events if not e.id.startswith("sha256-")), default="")
    return Page(list(events), checkpoint, horizon, highest)


def numbers(first: int, last: int) -> list[Event]:
    """The events with these numbers, both included."""
    return [event(number) for number in range(first, last + 1)]


def crashed(directory: Path, elsewhere: Path) -> Path:
    """What kill -9 leaves behind of the open journal in a directory, in another one."""
    shutil.copytree(directory, elsewhere)
    return elsewhere / "journal.sqlite"


def check_file(store: Store) -> None:
    """Pages without gap or overlap, sums that are sums, nothing unsettled trimmed, figures as the file has them."""
    db = store._db
    for source, name, following, trimmed, size in db.rows("SELECT id, name, next, trimmed, bytes FROM source"):
        taken = "SELECT coalesce(sum(length(times) + length(idx) + coalesce(length(body), 0)), 0) FROM page"
        assert size == db.value(f"{taken} WHERE source = ?", source)
        settled = db.value("SELECT min(position) FROM lane WHERE source = ? AND NOT forgotten", source)
        assert settled is None or trimmed <= settled, "only what every lane has settled is trimmed"
        expected, before = None, None
        for first, count, raw_before, raw_bytes, times, idx, body in db.rows(
            "SELECT first, count, raw_before, raw_bytes, times, idx, body FROM page WHERE source = ? ORDER BY first",
            source,
        ):
            assert expected in (None, first), "a gap or an overlap"
            assert before in (None, raw_before)
            assert len(times) == 8 * count
            assert len(unpack_index(idx).ids) == count
            assert (body is None) == (first + count - 1 <= trimmed)
            if body is not None:
                assert sum(len(e.raw) for e in unpack(times, idx, body, 0, count)) == raw_bytes
            expected, before = first + count, raw_before + raw_bytes
        assert expected in (None, following), "the newest page ends before the next number"
        figures = store.figures.sources[name]
        assert (figures.stored, figures.bytes) == (following - 1, size)
    dead = "SELECT coalesce(sum(length(raw) + length(CAST(detail AS BLOB)) + ?), 0) FROM dead_letter"
    assert store.figures.dead_bytes == db.value(dead, OVERHEAD)
    used = (db.value("PRAGMA page_count") - db.value("PRAGMA freelist_count")) * db.value("PRAGMA page_size")
    assert store.figures.used_bytes == used
    assert db.value("PRAGMA foreign_key_check") is None
