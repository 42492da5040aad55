"""The journal's directory: its own, private, on a local disk, and held by one process."""

import fcntl
import os
from pathlib import Path

from shipper.journal import JournalBrokenError, JournalInUseError

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "glusterfs", "beegfs", "gpfs", "ocfs2"}
)
"""SQLite's write-ahead log needs memory that all users of the file share: one host (sqlite.org/wal.html)."""


def prepare(state_dir: Path) -> Path:
    """The journal's own directory (0700), made where it is missing. Raises JournalBrokenError."""
    directory = state_dir / "journal"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise JournalBrokenError(
            "io", f"{directory}: {error.strerror}: make it a directory that this user may write, or set state_dir"
        ) from None
    kind = file_system(directory)
    if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse."):
        raise JournalBrokenError(
            "io", f"{directory}: is on a network file system ({kind}), where a journal is not safe: use a local disk"
        )
    return directory


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that holds this path, "" where the system doesn't say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    target, best, kind = path.resolve(), -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        mounted = Path(left.split()[4].encode().decode("unicode_escape"))
        # Of several mounts on one place the last one is seen, so an equal depth wins, too.
        if target.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), right.split()[0]
    return kind


def lock(directory: Path) -> int:
    """Takes the directory for this process's life; the descriptor holds it. Raises JournalInUseError.

    The lock is on a file of its own: closing any descriptor of the database would drop SQLite's own locks.
    """
    descriptor = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise JournalInUseError(
            "operator", f"{directory}: held by another process (pid {holder}): stop it, or use another state_dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
