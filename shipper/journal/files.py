"""The journal's directory: its own, private, on a local disk, and held by one process."""

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

from shipper.journal import JournalBrokenError, JournalInUseError

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "glusterfs", "beegfs", "gpfs", "ocfs2"}
)
"""SQLite's write-ahead log needs memory that all users of the file share: one host (sqlite.org/wal.html)."""


MOUNTS = Path("/proc/self/mountinfo")


def prepare(state_dir: Path, mounts: Path = MOUNTS) -> Path:
    """The journal's own directory (0700), made where it is missing. Raises JournalBrokenError."""
    directory = state_dir.absolute() / "journal"
    try:
        missing = [place for place in (directory, *directory.parents) if not place.exists()]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        for made in missing:
            synchronise(made.parent)
    except OSError as error:
        raise _no_directory(directory, error) from None
    kind = file_system(directory, mounts)
    if kind in NETWORK_FILE_SYSTEMS or kind == "fuse" or kind.startswith("fuse."):
        raise JournalBrokenError(
            "io", f"{directory}: is on a network file system ({kind}), where a journal is not safe: use a local disk"
        )
    return directory


def expect_own(state_dir: Path) -> None:
    """Raises JournalBrokenError where another user has a journal there, whom files of ours would lock out."""
    directory = state_dir.absolute() / "journal"
    try:
        owner = directory.stat().st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise _no_directory(directory, error) from None
    if owner != os.geteuid():
        raise JournalBrokenError("io", f"{directory}: belongs to user {owner}: run as that one (sudo -u '#{owner}')")


def synchronise(path: Path) -> None:
    """Makes a file, or the names in a directory, survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds this path, "" where the system doesn't say.

    Walks down as the kernel does (proc(5), mountinfo): from a mount to the first of its children on the way. So a
    mount hides what was mounted before at or below its place.
    """
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return ""
    target, seen = path.resolve(), set()
    children: dict[bytes, list[tuple[int, bytes, str]]] = {}
    for line in lines:
        left, _, right = line.partition(b" - ")
        this, parent, _, _, mounted, *_ = left.split(b" ")
        place = Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), mounted)))
        seen.add(this)
        if target.is_relative_to(place):
            children.setdefault(parent, []).append((len(place.parts), this, os.fsdecode(right.split(b" ")[0])))
    kind, onward = "", [root for parent, below in children.items() if parent not in seen for root in below]
    while onward:
        _, this, kind = min(onward)
        onward = children.pop(this, [])
    return kind


def lock(directory: Path) -> int:
    """Takes the directory until the descriptor is closed. Raises JournalInUseError, JournalBrokenError.

    The lock is on a file of its own: closing any descriptor of the database would drop SQLite's own locks.
    """
    try:
        descriptor = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _no_directory(directory, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(descriptor, 0o600)
        with suppress(OSError):  # who holds it is worth knowing, but no reason not to start on a full disk
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise JournalInUseError(
            "operator", f"{directory}: held by another process (pid {holder}): stop it, or use another state_dir"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise _no_directory(directory, error) from None
    return descriptor


class Ballast:
    """A file that only takes room: on a full disk it makes way for what must be written to get out of that.

    SQLite can't even delete on a full disk, since a deletion is written first, too. So it is larger than the
    write-ahead log gets (16 MiB), which may have to be moved into the file before anything else.
    """

    BYTES = 24 << 20

    def __init__(self, directory: Path) -> None:
        self._path = directory / "ballast"
        self.spent = False
        self.restore()

    def release(self) -> bool:
        """Gives the room back to the file system. False: that was done already."""
        if self.spent:
            return False
        self.spent = True
        self._path.unlink(missing_ok=True)
        return True

    @staticmethod
    def remove(directory: Path) -> None:
        """Gives back the room of a ballast that an earlier process took."""
        (directory / "ballast").unlink(missing_ok=True)

    def restore(self) -> bool:
        """Takes its room, where there is some. Returns whether it has it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                os.posix_fallocate(descriptor, 0, self.BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            self.spent = True
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        else:
            self.spent = False
        return not self.spent


def move_aside(directory: Path, stamp: str) -> Path:
    """Moves a journal's files, whole, into a directory beside it. Returns that. Raises JournalBrokenError."""
    aside = directory / f"corrupt-{stamp}"
    try:
        aside.mkdir(mode=0o700)
        for name in ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"):
            with suppress(FileNotFoundError):
                (directory / name).rename(aside / name)
    except OSError as error:
        raise JournalBrokenError("io", f"{aside}: a damaged journal can't be moved there: {error.strerror}") from None
    return aside


def _no_directory(directory: Path, error: OSError) -> JournalBrokenError:
    return JournalBrokenError(
        "io", f"{directory}: {error.strerror}: make it a directory that this user may write, or set state_dir"
    )
