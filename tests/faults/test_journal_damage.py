"""A journal whose bytes were changed or cut off (L4, L5), or that was taken away while in use (L6).

SQLite has no checksums of its own but in its log, so each page of ours carries them: events that come out are the ones
that went in, or nothing comes out. Single known places of damage: `tests/journal/test_journal_opening.py`. A disk that
fails or is full (L1 to L3), and processes that die (L8): `tests/crash/`. Two daemons, memory, descriptors (L7, L9,
L10): `tests/app/test_rough.py`. Earlier and later releases (L12): `tests/journal/test_journal_upgrade.py`.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from journal_damage_case import ISSUED, State, make, opened, verdict

from shipper.event import Page
from shipper.journal import JournalBrokenError

FILE, LOG = "journal.sqlite", "journal.sqlite-wal"
SECTOR = 512
POSITIONS = 50
CLOSED, CRASHED = "closed", "crashed"


Damage = Callable[[bytes, int], bytes]


class Journal:
    """A journal in a directory, whose files can be put back as they were."""

    def __init__(self, place: Path, states: Sequence[State]) -> None:
        self._place, self._states = place, states
        self._files = {name: (place / "journal" / name).read_bytes() for name in (FILE, LOG) if self._has(name)}

    def _has(self, name: str) -> bool:
        return (self._place / "journal" / name).exists()

    def bytes_of(self, name: str) -> bytes:
        return self._files[name]

    async def verdict_with(self, name: str, content: bytes) -> str:
        """What a start leads to with this in place of one of the files."""
        for old in (FILE, LOG):
            (self._place / "journal" / old).unlink(missing_ok=True)
        for file, was in {**self._files, name: content}.items():
            (self._place / "journal" / file).write_bytes(was)
        return await verdict(self._place, self._states)


@pytest.fixture
async def journals(in_memory_path: Path) -> dict[str, Journal]:
    """One that was closed, and one as a crash left it."""
    places = {name: in_memory_path / name for name in (CLOSED, CRASHED)}
    states = await make(places[CLOSED], places[CRASHED])
    return {name: Journal(place, states) for name, place in places.items()}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def zeroed(data: bytes, at: int) -> bytes:
    begin = at // SECTOR * SECTOR
    return data[:begin] + bytes(SECTOR) + data[begin + SECTOR :]


@pytest.mark.parametrize("damaged", [flipped, zeroed])
@pytest.mark.parametrize("kind", [CLOSED, CRASHED])
async def test_from_a_damaged_file_the_right_events_come_or_none(
    journals: dict[str, Journal], kind: str, damaged: Damage
) -> None:
    journal = journals[kind]
    data = journal.bytes_of(FILE)
    used = [at for at in range(len(data)) if data[at]]
    verdicts = Counter[str]()
    for at in [0, 16, 68, *random.Random(4).sample(used, POSITIONS)]:
        verdicts[await journal.verdict_with(FILE, damaged(data, at))] += 1
    assert verdicts["refused"] >= 10, verdicts
    assert "wrong events" not in verdicts
    assert "fewer events than the figures say" not in verdicts


@pytest.mark.parametrize("damaged", [flipped, zeroed])
async def test_from_a_damaged_log_a_state_comes_that_was_committed(
    journals: dict[str, Journal], damaged: Damage
) -> None:
    journal = journals[CRASHED]
    data = journal.bytes_of(LOG)
    # The log's head, a frame's head, and anything.
    for at in [0, 12, 24, 32, 40, *random.Random(5).sample(range(len(data)), POSITIONS)]:
        found = await journal.verdict_with(LOG, damaged(data, at))
        assert found in ("refused", "right", "earlier"), at


@pytest.mark.parametrize(("kind", "name"), [(CLOSED, FILE), (CRASHED, FILE), (CRASHED, LOG)])
async def test_a_truncated_journal_is_refused_or_in_a_state_that_was_committed(
    journals: dict[str, Journal], kind: str, name: str
) -> None:
    journal = journals[kind]
    data = journal.bytes_of(name)
    verdicts = Counter[str]()
    for length in [*range(0, len(data), SECTOR), len(data)]:
        verdicts[await journal.verdict_with(name, data[:length])] += 1
    assert set(verdicts) <= {"refused", "right", "earlier"}, verdicts
    assert verdicts["right"] >= 1, "a journal that is whole opens"
    assert verdicts["earlier" if name == LOG else "refused"] >= 50, verdicts


@pytest.mark.parametrize("way", ["deleted", "replaced", "moved"])
async def test_a_journal_that_was_taken_away_is_noticed_by_upkeep(in_memory_path: Path, way: str) -> None:
    journal = await opened(in_memory_path)
    source, _ = await journal.source("acme", "auth0:acme.us.auth0.com")
    path = in_memory_path / "journal" / FILE
    await journal.trim()
    if way == "replaced":
        shutil.copy(path, path.with_name("copy"))
        path.with_name("copy").replace(path)
    elif way == "moved":
        path.rename(path.with_name("elsewhere"))
    else:
        path.unlink()
    await source.append(Page(ISSUED[:1], b"c", ISSUED[0].time, ISSUED[0].id))
    with pytest.raises(JournalBrokenError, match="removed or replaced while in use") as caught:
        await journal.trim()
    assert caught.value.reason == "io"
    await journal.close()
