"""Opening: one process, a private directory, a local disk, and a file that is ours and whole; else one clear line."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import pytest
from journal_case import EVERYTHING, crashed, event, loud, numbers, page

from shipper.journal import JournalBrokenError, JournalInUseError
from shipper.journal.files import file_system, lock, prepare
from shipper.journal.sqlite import SqliteJournal
from shipper.journal.store import Store

SECOND = """
import asyncio, sys
from pathlib import Path
from shipper.journal import JournalInUseError
from shipper.journal.sqlite import SqliteJournal

async def main():
    try:
        await SqliteJournal.open(Path(sys.argv[1]), max_bytes=1 << 30)
    except JournalInUseError as error:
        print(error)
        sys.exit(75)

asyncio.run(main())
"""
MOUNTS = rb"""20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 0:5 / /proc rw - proc proc rw
30 20 0:30 / /srv/with\040space rw shared:1 - nfs4 server:/a rw
31 30 8:2 / /srv/with\040space/local rw - xfs /dev/sdb1 rw
40 20 0:40 / /data rw - cifs //server/data rw
41 40 8:3 / /data rw - ext4 /dev/sdc1 rw
50 20 0:50 / /deep/below rw - nfs server:/b rw
51 20 8:4 / /deep rw - btrfs /dev/sdd1 rw
60 20 0:60 / /sp\303\244t\134er rw - fuse.sshfs me@host rw
"""


def written(directory: Path, events: int = 3_000) -> Path:
    """A journal that was closed."""
    path = directory / "journal.sqlite"
    store = Store(path, max_bytes=1 << 30)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    for first in range(1, events, 100):
        store.append("acme", page([loud(n, 200) for n in range(first, first + 100)]))
    store.close()
    return path


def content(directory: Path) -> dict[str, bytes]:
    """What the files say; SQLite leaves an empty log, which says nothing."""
    return {
        path.name: path.read_bytes() for path in directory.iterdir() if path.stat().st_size or "-wal" not in path.name
    }


def refused(path: Path) -> str:
    """The one line with which a store refuses a file that it leaves as it was."""
    before = content(path.parent)
    with pytest.raises(JournalBrokenError) as caught:
        Store(path, max_bytes=1 << 30)
    assert content(path.parent) == before
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.reason == "io"
    return str(caught.value)


def flip(path: Path, *offsets: int) -> None:
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 0xFF
    path.write_bytes(data)


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0o022)

    def set_umask(mask: int) -> None:
        os.umask(mask)

    yield set_umask
    os.umask(before)


def run_second(state_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SECOND, state_dir], capture_output=True, text=True, timeout=20)


async def test_a_second_process_is_refused_at_once_and_the_first_goes_on(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path, max_bytes=1 << 30)
    source, _ = await journal.source("acme", "acme.example")
    second = await asyncio.to_thread(run_second, tmp_path)
    assert (second.returncode, second.stderr) == (75, "")
    assert f"held by another process (pid {os.getpid()})" in second.stdout
    assert (await source.append(page(numbers(1, 3)))).stored == 3
    await journal.close()


async def test_a_closed_journal_gives_its_directory_back(tmp_path: Path) -> None:
    for life in range(2):
        journal = await SqliteJournal.open(tmp_path, max_bytes=1 << 30)
        source, _ = await journal.source("acme", "acme.example")
        assert source.figures.stored == life
        await source.append(page([event(life)]))
        await journal.close()


async def test_a_journal_that_does_not_open_gives_its_directory_back(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "journal.sqlite").write_text("something else")
    for _ in range(2):
        with pytest.raises(JournalBrokenError, match="no journal of ours"):
            await SqliteJournal.open(tmp_path, max_bytes=1 << 30)


def test_a_held_directory_names_its_holder(tmp_path: Path) -> None:
    held = lock(tmp_path)
    with pytest.raises(JournalInUseError, match=f"pid {os.getpid()}"):
        lock(tmp_path)
    os.close(held)
    os.close(lock(tmp_path))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv", "ext4"),
        ("/srv/with space/state", "nfs4"),
        ("/srv/with spaces", "ext4"),
        ("/srv/with space/local/state", "xfs"),
        ("/data/state", "ext4"),
        ("/deep/below/state", "btrfs"),
        ("/spät\\er/state", "fuse.sshfs"),
    ],
)
def test_a_path_is_on_the_file_system_that_the_kernel_would_find(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(MOUNTS)
    assert file_system(Path(path), mounts) == kind


def test_names_that_are_no_text_and_a_missing_list_are_no_trouble(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(MOUNTS + b"70 20 0:70 / /\xff\xfe rw - nfs server:/c rw\n")
    assert file_system(Path("/etc"), mounts) == "ext4"
    assert file_system(Path(os.fsdecode(b"/\xff\xfe/state")), mounts) == "nfs"
    assert file_system(Path("/"), tmp_path / "missing") == ""


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(b"20 1 0:9 / / rw - nfs4 server:/ rw\n")
    with pytest.raises(JournalBrokenError, match="network file system \\(nfs4\\)"):
        prepare(tmp_path / "state", mounts)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
async def test_directory_and_files_are_private_under_any_umask(
    tmp_path: Path, umask: Callable[[int], None], mask: int
) -> None:
    (tmp_path / "state").mkdir()
    umask(mask)
    journal = await SqliteJournal.open(tmp_path / "state", max_bytes=1 << 30)
    await journal.source("acme", "acme.example")
    directory = tmp_path / "state" / "journal"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    await journal.close()
    assert modes == dict.fromkeys(["journal.sqlite", "journal.sqlite-wal", "LOCK", "ballast"], 0o600)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_a_relative_state_directory_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal = await SqliteJournal.open(Path("state"), max_bytes=1 << 30)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await journal.source("acme", "acme.example")
    await journal.close()
    assert (tmp_path / "state" / "journal" / "journal.sqlite").exists()


def test_a_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(JournalBrokenError, match="make it a directory that this user may write"):
        prepare(tmp_path / "state")


def test_a_directory_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o500)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        with pytest.raises(JournalBrokenError, match="Permission denied: make it a directory"):
            prepare(tmp_path / "state")
        with pytest.raises(JournalBrokenError, match="Permission denied"):
            lock(tmp_path / "state")
    finally:
        if was_root:
            os.seteuid(0)


def test_one_connection_writes_ahead_with_full_synchronisation(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal.sqlite", max_bytes=1 << 30)
    store.open_source("acme", "acme.example")
    db = store._db
    settings = {name: db.value(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "wal_autocheckpoint")}
    assert settings == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}
    descriptors = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert [path.readlink() for path in descriptors].count(tmp_path / "journal.sqlite") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.sqlite", "journal.sqlite-wal"]
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.sqlite"]


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    program = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('CREATE TABLE precious (x)'); d.commit()"
    )
    path = tmp_path / "journal.sqlite"
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert "no journal of ours" in refused(path)


@pytest.mark.parametrize("text", [b"", b"not a database at all" * 300, b"SQLite format 3\x00"])
def test_what_is_no_database_is_left_alone(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(text)
    assert "no journal of ours" in refused(path)


def test_a_journal_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = bytearray(path.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")
    path.write_bytes(data)
    assert "another version (99)" in refused(path)


@pytest.mark.parametrize("offset", [0, 16, 68])
def test_a_damaged_header_is_noticed(tmp_path: Path, offset: int) -> None:
    path = written(tmp_path)
    flip(path, offset)
    assert refused(path)


def test_a_damaged_leaf_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path)
    data = path.read_bytes()
    leaves = [at for at in range(4096, len(data), 4096) if data[at] == 0x0D]
    flip(path, *range(leaves[-1], leaves[-1] + 8))
    assert "damaged" in refused(path) or "malformed" in refused(path)


def test_a_truncated_file_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 8192 * 4096])
    assert refused(path)


def test_damage_beneath_a_log_from_a_crash_leaves_file_and_log_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = written(tmp_path / "a")
    store = Store(path, max_bytes=1 << 30)
    store.append("acme", page([event(10_000)]))
    left = crashed(tmp_path / "a", tmp_path / "b")
    store.close()
    data = left.read_bytes()
    leaves = [at for at in range(4096, len(data), 4096) if data[at] == 0x0D]
    for leaf in leaves:
        flip(left, leaf)
    assert left.with_name("journal.sqlite-wal").stat().st_size > 0
    assert refused(left)


def test_a_log_without_its_file_is_not_taken_for_a_new_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite-wal").write_bytes(b"all that is left")
    assert "put both back" in refused(tmp_path / "journal.sqlite")


def test_a_flipped_bit_in_an_events_bytes_is_noticed_when_they_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, 100)
    noise = [
        at for at in range(4096, path.stat().st_size, 4096) if path.read_bytes()[at] not in (0x0D, 0x05, 0x0A, 0x02)
    ]
    flip(path, noise[1] + 2_000)
    store = Store(path, max_bytes=1 << 30)
    with pytest.raises(JournalBrokenError, match="damaged"):
        store.read("acme", "siem", 0, EVERYTHING)
    store.close()


def test_a_crash_while_the_file_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite.new").write_bytes(b"half of a file")
    store = Store(tmp_path / "journal.sqlite", max_bytes=1 << 30)
    store.open_source("acme", "acme.example")
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.sqlite"]


def test_a_copy_of_a_closed_journal_opens(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    written(tmp_path / "a")
    copytree(tmp_path / "a", tmp_path / "b")
    store = Store(tmp_path / "b" / "journal.sqlite", max_bytes=1 << 30)
    assert store.figures.sources["acme"].stored == 3_000
    store.close()
